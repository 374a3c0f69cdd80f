/*
 * The one process of the bridge that keeps its rights, and does nothing with them but to start accounts'
 * processes: each reads its secret, its authorities and its server's address, then gives up root and
 * files for good, then connects (session.h).
 *
 *	restante --- bridge (worker.h) --- launcher --- one process an account
 *	             confined: when, status  |           confined: one remote server
 *	                  ^                  `- is told a number, never more: which account
 *	                  '--- reports --------------------------'
 *
 * It is forked before the bridge confines itself, knows the accounts from the supervisor, and hears
 * nobody but the bridge.
 */
#ifndef BRIDGE_LAUNCHER_H
#define BRIDGE_LAUNCHER_H

#include "base/text.h"
#include "bridge/session.h"

struct launcher_options {
	const struct bridge_settings *settings;
	const struct bridge_account *accounts;
	size_t count;
	const char *hostname;
	bool syslog;
	uint32_t uid; /* for accounts' processes, when started as root */
};

/* The socket to a new launcher, or -1 after logging why. It ends when that is closed. */
int launcher_start(const struct launcher_options *options);

/*
 * Start that account's process. 1; 0 when the launcher has too much to do, and is to be asked later; -1
 * when it is gone. The answer comes by launcher_take().
 */
int launcher_ask(int launcher, uint32_t account, struct text hint);

struct launcher_answer {
	uint32_t account;
	int32_t number; /* errno, when there is no process */
	int reports;    /* the socket to its process, the caller's to close; -1: there is none */
};

/* The launcher's side of it; reports stays the caller's. 0, or -1 with errno. */
int launcher_give(int bridge, const struct launcher_answer *answer);

/* 1: an answer; 0: nothing has come; -1: the launcher is gone. */
int launcher_take(int launcher, struct launcher_answer *answer);

/*
 * A process that runs one session; *reports is the socket to it. Its id, or -1 with errno. CONTROL_FD is
 * closed there: what is said over it is not for somebody who talks to strangers.
 */
pid_t launcher_fork(const struct session_options *options, int *reports);

#endif

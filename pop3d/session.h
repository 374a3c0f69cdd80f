/*
 * One POP3 session (RFC 1939): a connection, its state, its maildrop, and its one connection to the store.
 *
 * Commands are answered in the order in which they came. While one waits for the store or for the client
 * to read, `waiting` is set and what came behind it stays in the input.
 */
#ifndef POP3D_SESSION_H
#define POP3D_SESSION_H

#include <stdbool.h>
#include <sys/queue.h>

#include "base/limits.h"
#include "base/text.h"
#include "pop3d/ahead.h"
#include "pop3d/language.h"
#include "pop3d/maildrop.h"
#include "pop3d/transfer.h"
#include "pop3d/uids.h"
#include "pop3d/worker.h"

struct conn;
struct store_client;

/* "100000 65f1c2ab00018698" and CRLF. */
enum { SESSION_LIST_LINE = TEXT_NUMBER + 1 + TEXT_NUMBER + 2 };

enum session_state {
	SESSION_AUTHORIZATION = 1,
	SESSION_TRANSACTION = 2,
	SESSION_UPDATE = 4, /* QUIT was given; nothing more is read */
};

struct session {
	LIST_ENTRY(session) link;
	struct worker *worker;
	struct conn *conn;
	struct limits_client place; /* among all sessions of its address */
	struct store_client *store; /* NULL before PASS */
	enum session_state state;
	enum language language;
	bool waiting; /* for the store */
	bool held;    /* the connection, while waiting */
	bool running; /* inside session_run() */
	bool tls_listener;
	bool proxied;      /* the header of a load balancer is awaited */
	bool answering;    /* the next line is not a command but an answer to a challenge of AUTH */
	uint32_t exchange; /* the store's number of it */
	unsigned login_failures;
	unsigned junk;
	char *user; /* as given with USER; canonical once logged in; NULL before */
	struct maildrop maildrop;
	struct transfer transfer;
	struct ahead *ahead; /* NULL until the first RETR or TOP */
	/* A long list on its way: the line for message list_at and its octets. NULL: none is under way. */
	size_t (*list_line)(
		const struct maildrop *maildrop, uint32_t number, char line[SESSION_LIST_LINE]);
	uint32_t list_at;
	uint32_t wanted; /* message number that RETR or TOP waits for; 0: none */
	int64_t wanted_lines;
	struct wire_lines lines;
	uint64_t begun_ms;
	uint64_t retrieved, octets;
	uint32_t deleted;
	uint32_t transfer_uid; /* of the message under way */
	struct uids pulled, removed;
	const char *ending; /* why, for the log */
};

/* Takes fd. */
void session_new(struct worker *worker, int fd, bool tls_listener);

/* Idle ones are closed at once; those with a transfer or an UPDATE in progress when it is done. */
void session_stop(struct session *session);

/* ---- for commands.c and auth.c ---- */

void session_ok(struct session *session, const char *format, ...)
	__attribute__((format(printf, 2, 3)));
/* Counts as junk; the session ends after too many. */
void session_error(struct session *session, const char *format, ...)
	__attribute__((format(printf, 2, 3)));
/* Not the client's fault. code: "SYS/TEMP", "IN-USE", "AUTH" (RFC 2449 section 8, RFC 3206). */
void session_refuse(struct session *session, const char *code, const char *sentence);

/* Whether a password may come as it is: see cleartext-login in pop3d/settings.c. */
bool session_takes_passwords(const struct session *session);

/* Write out what is queued, then close. ending: for the log. */
void session_finish(struct session *session, const char *ending);

/* The store has answered: go on with what waits in the input. */
void session_resume(struct session *session);

/* ---- what is asked of the store: session_store.c ---- */

/* Seconds that have to lie between two logins of a user. */
uint32_t session_login_spacing(const struct session *session);
void session_connect_store(struct session *session);
/* The store said who it is: select the mailbox, then answer. */
void session_logged_in(struct session *session, struct text user);
void session_login_failed(struct session *session, enum store_failure failure);
/* The client's or our own decision, nobody's failure. */
void session_abandon_login(struct session *session, const char *sentence);

/* From AUTHORIZATION: log in at the store, select the mailbox, answer PASS. */
void session_login(struct session *session, struct text password);

/* Answer RETR (TRANSFER_ALL) or TOP for a message that exists. */
void session_fetch(struct session *session, uint32_t number, int64_t lines);

/* QUIT in TRANSACTION: the UPDATE state, then good-bye. */
void session_update(struct session *session);

#endif

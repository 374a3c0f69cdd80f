/*
 * One session with one remote server, in a process of its own: pull what is new, hand it to the delivery
 * agent, delete there what the account says, and perhaps wait for more. It blocks.
 *
 *	session.c    beginning and end; what is common to both protocols
 *	imap.c       IMAP: connection, login, folders
 *	imap_pull.c  IMAP: one folder
 *	imap_guard.c IMAP: what the parser is spared
 *	imap_wait.c  IMAP: IDLE
 *	pop3.c       POP3: connection, login
 *	pop3_pull.c  POP3: the maildrop
 *
 * Exactly once: a message is deleted remotely, or taken for done, only after the 250 for it, or after the
 * store has said that its once-key counts already. Everything else that is remembered saves work only.
 */
#ifndef BRIDGE_SESSION_H
#define BRIDGE_SESSION_H

#include "base/buf.h"
#include "bridge/lmtp.h"
#include "bridge/refused.h"
#include "bridge/report.h"
#include "bridge/secret.h"
#include "bridge/settings.h"
#include "bridge/stream.h"

enum session_purpose {
	SESSION_SERVE, /* pull, and stay where the account wants it */
	SESSION_PULL,  /* once, and tell how it goes on */
	SESSION_TEST,  /* tell what would be pulled */
};

enum {
	SESSION_CHUNK = 500,     /* messages looked at together */
	SESSION_HEAD = 16 << 10, /* octets of a message that the return-path is looked for in */
	SESSION_WHY = 200,       /* octets of a reason */
	/* What a protocol may leave in the hint. */
	SESSION_HINT = REPORT_HINT_LIMIT - REFUSED_OCTETS - SESSION_WHY - 8,
	SESSION_MESSAGES_MOST = 1000000, /* in one folder or maildrop */
};

struct session_options {
	const struct bridge_settings *settings;
	const struct bridge_account *account;
	const char *hostname;
	enum session_purpose purpose;
	int report;       /* socket for reports; readable or closed: stop */
	uint32_t uid;     /* to run as, when started as root */
	struct text hint; /* of the session before */
};

struct session {
	struct session_options options;
	struct secret secret;
	struct stream stream;
	struct lmtp *lmtp;
	struct fault fault;
	struct bridge_report report;
	char folder[600];
	char notices[REPORT_NOTICES][FAULT_SENTENCE + 1]; /* "": it does not hold */
	struct buf hint; /* for the next session, beside what session.c keeps there */
	struct refused refused;
	char why[SESSION_WHY + 1]; /* the last message that stays there does so, perhaps told by a
				      session before */
	int64_t reported;          /* milliseconds */
	/* What became of the message with that cookie. May be NULL. */
	void (*settled)(void *owner, uint64_t cookie, bool stored);
	void *settled_owner;
};

/*
 * Everything from the secret to the last report. Gives up root, confines itself; the process is to end
 * afterwards with what it returns (sysexits.h).
 */
int session_run(const struct session_options *options);

/* ---- for both protocols ---- */

/* session->lmtp, whose verdicts are counted and told. */
void session_open_host(struct session *session);

/* -1 when there is a fault: of the session, its stream or its way into this host, gathered in fault. */
int session_check(struct session *session);

void session_say(struct session *session, enum report_state state);

/* A sentence for the one who tests. */
void session_tell(struct session *session, const char *format, ...)
	__attribute__((format(printf, 2, 3)));

/* The same for the log and for status, when something is not as wished and the session goes on. */
void session_notice(struct session *session, enum report_notice kind, const char *format, ...)
	__attribute__((format(printf, 3, 4)));

/* A message stays there, and why; then, once all was looked at, how many do so. */
void session_stays(struct session *session, const char *format, ...)
	__attribute__((format(printf, 2, 3)));
void session_say_staying(struct session *session, uint64_t count);

/* Progress, not more often than is of use. */
void session_progress(struct session *session);

/* Too large for this host or its settings: counted and said. */
bool session_too_large(struct session *session, uint64_t octets);

/*
 * What the delivery agent refused for good is remembered, and passed by in later sessions until it is
 * due again.
 */
void session_refused(struct session *session, const struct once_key *key);
bool session_was_refused(struct session *session, const struct once_key *key);

/* The reverse-path in a Return-Path field at the start of a message, or "". In head. */
struct text session_sender(struct text head);

/* A whole message. 0, or -1 with a fault. message->sender is filled in. */
int session_give(struct session *session, struct lmtp_message *message, struct text octets);

/* Which are here: lmtp_known(). */
int session_known(
	struct session *session, const struct once_key *keys, size_t count, int64_t *when);

int imap_serve(struct session *session);
int pop3_serve(struct session *session);

#endif

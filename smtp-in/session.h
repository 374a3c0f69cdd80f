/*
 * One SMTP session (RFC 5321): a client's connection, its state and its transaction.
 *
 * Commands are answered in the order in which they came. What cannot be answered yet, because verdicts
 * of the LMTP server are awaited before it, stays in the input.
 */
#ifndef SMTP_IN_SESSION_H
#define SMTP_IN_SESSION_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/queue.h>

#include "mail/reply.h"
#include "mail/wire.h"
#include "smtp-in/bdat.h"
#include "smtp-in/guard.h"
#include "smtp-in/worker.h"

struct auth;
struct transaction;

enum session_state {
	SESSION_PROXY,    /* the header of a load balancer is awaited */
	SESSION_GREETING, /* the client has to wait, and be silent */
	SESSION_SECURING, /* TLS handshake, at the start or after STARTTLS */
	SESSION_COMMANDS,
	SESSION_AUTHENTICATING, /* the store's answer about a login is awaited */
	SESSION_ANSWER,         /* the client's answer to a challenge of AUTH is the next line */
	SESSION_SENDER,         /* whether MAIL names a sender of theirs is asked */
	SESSION_ASKING,         /* DATA or BDAT was passed on, 354 is awaited */
	SESSION_MESSAGE,        /* octets of DATA come */
	SESSION_CHUNK,          /* octets of BDAT come */
	SESSION_VERDICT,        /* the message has ended, the verdict is awaited */
	SESSION_CLOSING,
};

struct session_listener {
	const char *name;
	bool tls;        /* from the first octet */
	bool submission; /* of authenticated users only */
};

struct session {
	LIST_ENTRY(session) link;
	struct worker *worker;
	const struct session_listener *listener;
	struct conn *conn;
	enum session_state state;
	struct transaction *transaction; /* NULL: no MAIL was given */
	struct text helo; /* what the client calls itself, on the heap; ptr NULL: it has not said */
	bool esmtp;       /* it said EHLO */
	struct auth *auth; /* NULL: nothing of AUTH yet */
	bool held;         /* reading is stopped */
	bool waiting;      /* the next command waits for the LMTP server's word */
	bool delayed;      /* replies are kept back, and nothing more is read */
	bool owes_mail;    /* the reply to MAIL, which leaves together with the next */
	bool lone;         /* nothing has come behind the command that is being run */
	struct wire_lines lines;
	struct bdat_chunk chunk; /* CHUNK: this one */
	unsigned errors, junk;   /* since the last message */
	struct guard_client guard;
	int64_t message_since; /* milliseconds: it began, or its chunk; plus what we held it up */
	int64_t held_since;
	int64_t deadline; /* worker_seconds() at which it has timed out; 0: it is not its turn */
};

/*
 * Takes fd, and what the guard gave the client. proxied: it is a load balancer, and the guard has not yet
 * been asked about its client.
 */
void session_new(struct worker *worker, const struct session_listener *listener, int fd,
	const struct guard_client *client, bool proxied);

/* Once a second, when it has not come to its deadline. */
void session_tick(struct session *session);

/* Ends at once, or after the message in progress. */
void session_stop(struct session *session);

/* Its deadline is over. */
void session_expire(struct session *session);

/* Ends without a word. */
void session_free(struct session *session);

/* Its state may be another one: read on or hold, and begin to count its time anew. */
void session_settle(struct session *session);

/* ---- for commands and transactions ---- */

/* 5xx counts as an error; the session ends after too many. */
void session_reply(struct session *session, struct reply reply);

/* One of several replies to one command: never an error of the client's. */
void session_reply_part(struct session *session, const struct reply *reply);

/*
 * The good reply to MAIL. It goes out together with the replies to the RCPTs that came with it, as RFC 2920
 * section 3.2 would have it, or alone when none did.
 */
void session_reply_mail(struct session *session);

/* One line of a longer reply. */
void session_reply_line(struct session *session, unsigned code, bool last, struct text text);

/* "421 4.x.y host: sentence", and the end of the session. */
void session_close(struct session *session, struct reply reply);

/* Keep back what is said from now on, and read nothing more, for so long; 0: not at all. */
void session_delay(struct session *session, unsigned milliseconds);

/* A command that leads to nothing; the session ends after too many. False: it has. */
bool session_count_junk(struct session *session);

/* Octets of a message, or of a chunk of it, come from here on: MESSAGE or CHUNK. */
void session_begin_octets(struct session *session, enum session_state state);

/* Forget EHLO and MAIL. */
void session_reset(struct session *session);

/* What was awaited from the LMTP server has come: go on with the input. */
void session_resume(struct session *session);

#endif

/*
 * One LMTP client (RFC 2033).
 *
 * Commands are taken in order and answered in order. Recipients may be looked up side by side: a RCPT
 * that has to ask the store leaves its place in the queue of answers and the next RCPT is read; any other
 * command waits until the queue is empty. While the store has the message, the client is held.
 *
 *	session.c   the connection: lines in, replies out, limits, the end
 *	commands.c  the table of commands, their arguments
 *	envelope.c  MAIL and RCPT: a transaction and its recipients' answers
 *	delivery.c  DATA: the body, the commit, the verdict
 *	chunk.c     BDAT: the body in chunks
 */
#ifndef MDA_SESSION_H
#define MDA_SESSION_H

#include "base/conn.h"
#include "base/id.h"
#include "mail/dsn.h"
#include "mail/reply.h"
#include "mail/wire.h"
#include "mda/body.h"
#include "mda/commit.h"
#include "mda/plan.h"
#include "mda/worker.h"

enum { SESSION_IDLE_LIMIT = 200 }; /* commands without a message */

enum session_phase {
	SESSION_COMMANDS,
	SESSION_BODY,   /* after 354 */
	SESSION_CHUNK,  /* after BDAT */
	SESSION_COMMIT, /* the store has the message */
	SESSION_ENDING, /* the last reply is queued */
};

/* One RCPT that is not answered yet; in the transaction's arena. */
struct session_answer {
	struct session *session;
	struct plan_recipient *recipient; /* NULL: the command itself was at fault */
	struct plan_wish wish;
	struct reply reply;
	bool ready;
	struct session_answer *next;
};

/* From MAIL to the verdict. */
struct session_mail {
	struct arena *arena;
	struct id id;
	struct address sender;
	uint64_t size; /* announced, or 0 */
	bool utf8;     /* SMTPUTF8 */
	bool chunked;  /* BDAT has begun the message: no DATA, no further recipients */
	bool each;     /* recipients get verdicts of their own */
	int64_t date;  /* the message's internal date, seconds since 1970; 0: now */
	struct dsn_message dsn;
	struct plan plan;
	struct session_answer *first_answer, **last_answer;
	size_t answers; /* in the queue */
	struct body body;
	struct commit commit;
	struct session_have *have;  /* XHAVE that waits for the store; NULL: none */
	int64_t begun, handed_over; /* milliseconds of the monotonic clock */
};

struct session_chunk {
	uint64_t left; /* octets still to come */
	bool last;
	const struct reply *
		refusal; /* the octets go nowhere, and this is said; NULL: they are the message's */
};

struct session {
	struct worker *worker;
	struct session *next, **at;
	struct conn *conn; /* NULL: the client left while the store had its message */
	bool trusted;
	bool held; /* a command waits until all recipients are answered */
	enum session_phase phase;
	unsigned errors;        /* commands at fault since the last message */
	unsigned idle_commands; /* commands that move no mail, likewise */
	struct wire_lines lines;
	char *client;              /* what it called itself; NULL before LHLO */
	struct session_mail *mail; /* NULL: none */
	struct session_chunk chunk;
};

/* ---- session.c ---- */

struct session *session_new(struct worker *worker, int fd, bool trusted);
void session_free(struct session *session);

/* End it; inside a message, after that. */
void session_stop(struct session *session);

void session_reply(struct session *session, const struct reply *reply);

/* One line of a longer reply. */
void session_reply_line(struct session *session, unsigned code, bool last, struct text text);

/* A command at fault: the reply, and the end of a client that goes on like that. */
void session_fault(struct session *session, const struct reply *reply);

/* This reply, then the end. */
void session_end(struct session *session, const struct reply *reply);

/* How long the client may be silent in the state that it is in now. */
void session_set_timeout(struct session *session);

int64_t session_now(void);

/* ---- envelope.c ---- */

struct session_sender {
	struct address address; /* copied */
	uint64_t size;
	struct id id; /* empty: make one */
	bool utf8;
	bool each; /* see struct session_mail */
	struct dsn_message dsn;
	int64_t date; /* likewise */
};

void session_begin_mail(struct session *session, const struct session_sender *sender);

/* Forget the transaction, whatever state it is in; what the store is still asked for comes to nothing. */
void session_drop_mail(struct session *session);

struct parameters;

/* A RCPT that is well formed: look the address up and answer in turn. Texts are in the mail's arena. */
void session_add_recipient(struct session *session, const struct address *address,
	const struct parameters *parameters);

/* A RCPT that is not: answer in turn. */
void session_refuse_recipient(struct session *session, const struct reply *reply);

/* ---- delivery.c ---- */

/* 354, and what comes is the message. There is at least one recipient. */
void session_begin_body(struct session *session);

/* Take what the client sent of the message. True: go on with the next command. */
bool session_take_body(struct session *session);

/* The message begins; chunked: by BDAT. */
void session_prepare_body(struct session *session, bool chunked);

/* All of it is here. */
void session_end_body(struct session *session);

/* ---- chunk.c ---- */

/*
 * So many octets follow, of a message for which there is at least one recipient; refusal: they go
 * nowhere, and the client hears this.
 */
void session_begin_chunk(
	struct session *session, uint64_t octets, bool last, const struct reply *refusal);
bool session_take_chunk(struct session *session);

#endif

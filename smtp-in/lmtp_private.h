/*
 * The inside of the LMTP client, shared by lmtp.c (the protocol), lmtp_message.c (a message, by DATA or by
 * BDAT) and lmtp_pool.c (making, keeping and closing connections). Nobody else includes this.
 *
 *	CONNECTING -> GREETING -> HELLO -> BUSY <-> IDLE
 *	                                    |         ^
 *	                                    '-> RESETTING
 *
 * In BUSY a connection has an owner; IDLE and RESETTING it has none. Up to HELLO it has one unless it is
 * the one made ahead (`asking`), which the next transaction takes as it is.
 */
#ifndef SMTP_IN_LMTP_PRIVATE_H
#define SMTP_IN_LMTP_PRIVATE_H

#include <event2/event.h>
#include <event2/event_struct.h>
#include <sys/queue.h>

#include "base/buf.h"
#include "base/conn.h"
#include "mail/wire.h"
#include "smtp-in/accepted.h"
#include "smtp-in/lmtp.h"

enum lmtp_state {
	LMTP_CONNECTING,
	LMTP_GREETING,
	LMTP_HELLO,
	LMTP_BUSY,
	LMTP_RESETTING,
	LMTP_IDLE,
	LMTP_CLOSING, /* QUIT goes out */
};

enum lmtp_message {
	LMTP_MESSAGE_NONE,
	LMTP_MESSAGE_ASKED, /* DATA is to be sent, or the first BDAT may be soon */
	LMTP_MESSAGE_SENT,  /* DATA was sent */
	LMTP_MESSAGE_OPEN,  /* 354 came, or is not needed */
	LMTP_MESSAGE_ENDED,
};

LIST_HEAD(lmtp_list, lmtp);

struct lmtp_pool {
	struct event_base *loop;
	struct lmtp_options options; /* its hostname is ours to free */
	struct conn_limits limits;
	struct lmtp_list open;
	struct lmtp_list idle; /* the last used first, so that what is not needed gets old */
	struct lmtp_counts counts;
	int64_t away_until;  /* seconds of the monotonic clock: it let us wait in vain just now */
	struct lmtp *asking; /* made ahead, and not at its LHLO's reply yet */
	bool known;          /* what the server offers: */
	bool dsn;
	struct accepted accepted; /* recipients, lately */
	struct buf scratch;
};

struct lmtp {
	LIST_ENTRY(lmtp) in_open;
	LIST_ENTRY(lmtp) in_idle;
	struct lmtp_pool *pool;
	struct smtp_in_hand_over server; /* that it leads to */
	enum lmtp_state state;
	int fd; /* while CONNECTING; then conn's */
	unsigned tries;
	struct event waiting; /* while CONNECTING */
	struct conn *conn;
	unsigned idle_seconds; /* of conn, as last set */
	bool in_input;         /* freeing waits for its end */
	bool dead;
	bool kept; /* had a transaction before this one */

	struct wire_lines lines;
	struct reply_reader reader;
	bool pipelining, size, eight_bit, utf8, xid, dsn, chunking; /* what the server offers */

	/* The transaction. */
	const struct lmtp_envelope *envelope;
	const struct lmtp_handlers *handlers; /* NULL: none */
	void *owner;
	struct lmtp_recipient *first, *last;
	struct lmtp_recipient *unsent; /* from here on */
	struct lmtp_recipient *asked;  /* whose verdict is awaited next */
	bool answered;                 /* a reply came: it cannot be moved to another connection */
	bool mail_sent, mail_answered;
	struct reply refusal; /* of MAIL; code 0: none. Its text is in refusal_text. */
	struct buf refusal_text;
	size_t awaited; /* replies to RCPT; when RESETTING, replies of any kind */
	size_t accepted;
	enum lmtp_message message;
	enum lmtp_body body;
	bool by_chunks;              /* BDAT, not DATA */
	struct buf small;            /* octets that wait for more to make a chunk with */
	size_t chunks;               /* replies to BDATs but the last, still to come */
	struct wire_encode encode;   /* a plain body on its way through DATA */
	struct wire_unstuff unstuff; /* a stuffed one on its way through BDAT */
	size_t verdicts;             /* still to come */
};

/* lmtp_pool.c */

/* The connection is no longer any good: the transaction moves to a fresh one, or fails. */
void lmtp_broke(struct lmtp *lmtp, const char *reason);

/* It has no owner, and nothing is under way: it waits for the next transaction. */
void lmtp_keep(struct lmtp *lmtp);

/* How long a reply may be waited for; 0: none is. */
void lmtp_idle_limit(struct lmtp *lmtp, unsigned seconds);

/* What the server offers was heard, or will not be. */
void lmtp_asked(struct lmtp *lmtp);

/* For lmtp_pool_foresees(). */
void lmtp_note_verdict(
	struct lmtp *lmtp, const struct lmtp_recipient *recipient, const struct reply *reply);

/* lmtp_message.c */

/* A message of this kind goes by BDAT. */
bool lmtp_takes_chunks(const struct lmtp *lmtp);

/* It may begin without a word of the server's. */
bool lmtp_message_is_ready(const struct lmtp *lmtp);
void lmtp_message_begin(struct lmtp *lmtp);

/* A reply that belongs to the message. False: it makes no sense. */
bool lmtp_message_reply(struct lmtp *lmtp, const struct reply *reply);

/* lmtp.c */

/* Replies to anything but the message's octets are awaited. */
bool lmtp_awaits_reply(const struct lmtp *lmtp);

/* Send what may be sent, soon or now: handlers are the loop's to call. */
void lmtp_advance_soon(struct lmtp *lmtp);

void lmtp_on_input(void *owner);
void lmtp_on_drained(void *owner);

/* The transaction begins anew: nothing of it was sent. */
void lmtp_rewind(struct lmtp *lmtp);

#endif

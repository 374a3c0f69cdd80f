/*
 * The client side of LMTP (RFC 2033): a pool of connections to one server, each kept and used again.
 *
 * One struct lmtp is one transaction on one connection. What is asked of it before the server is ready
 * waits and goes out as soon and as much together as the server allows (PIPELINING): nothing of this is
 * the owner's care, who only hears the verdicts, in order.
 *
 * A kept connection may have been closed by a server that was started anew. As long as nothing was
 * answered on it, the transaction is moved to a fresh connection and the owner does not hear of it.
 */
#ifndef SMTP_IN_LMTP_H
#define SMTP_IN_LMTP_H

#include <stdbool.h>
#include <stdint.h>

#include "base/text.h"
#include "mail/dsn.h"
#include "mail/reply.h"
#include "smtp-in/settings.h"

struct event_base;
struct lmtp;
struct lmtp_envelope;
struct lmtp_pool;
struct lmtp_recipient;

struct lmtp_options {
	struct smtp_in_hand_over server;
	struct text hostname;    /* for LHLO; copied */
	size_t connections;      /* at once */
	unsigned seconds;        /* waiting for a reply */
	unsigned end_seconds;    /* the same at the end of a message */
	unsigned memory_seconds; /* for lmtp_pool_foresees(); 0: it never does */
	/* lmtp_pool_is_asking() no more; called by the loop. NULL: nobody cares. */
	void (*asked)(void *owner);
	void *owner;
};

struct lmtp_pool *lmtp_pool_new(struct event_base *loop, const struct lmtp_options *options);

/* From the next transaction on; idle connections to another server than this one are closed. */
void lmtp_pool_change(struct lmtp_pool *pool, const struct lmtp_options *options);

/*
 * Make a connection ahead, so that the first message finds it and it is known what the server offers.
 * Nothing happens when that is known already.
 */
void lmtp_pool_ask(struct lmtp_pool *pool);

/* Every connection that there may be has a transaction: the next one cannot be had. */
bool lmtp_pool_is_full(const struct lmtp_pool *pool);

/* The server is being asked: what it offers will soon be known, or that it is away. */
bool lmtp_pool_is_asking(const struct lmtp_pool *pool);

/* As it said last. False while it has never been heard. */
bool lmtp_pool_offers_dsn(const struct lmtp_pool *pool);

/*
 * The server has just accepted this recipient for such a message, and nothing is known to have changed.
 * Who takes its word for given has to ask it all the same before the message goes on.
 */
bool lmtp_pool_foresees(struct lmtp_pool *pool, const struct lmtp_envelope *envelope,
	const struct lmtp_recipient *recipient);

/* Closes idle connections, politely. */
void lmtp_pool_drain(struct lmtp_pool *pool);

/* No transaction may be left. */
void lmtp_pool_free(struct lmtp_pool **pool);

struct lmtp_counts {
	uint64_t connections; /* made */
	uint64_t reuses;      /* transactions on a kept connection */
	uint64_t failures; /* of transactions: the server was away, broke off or talked nonsense */
	size_t open;
	size_t idle;
};

void lmtp_pool_count(const struct lmtp_pool *pool, struct lmtp_counts *counts);

/* Sender and what was said about the message. Texts live as long as the transaction. */
struct lmtp_envelope {
	struct text sender; /* without brackets; empty: the null reverse-path */
	uint64_t size;      /* as declared; 0: it was not */
	bool eight_bit;     /* BODY=8BITMIME */
	bool utf8;          /* SMTPUTF8: for servers that know it only, others get no recipient */
	struct text id;     /* given to servers that know XID: ours */
	struct dsn_message
		dsn; /* for servers that know DSN only; others get no recipient for now */
};

struct lmtp_recipient {
	struct lmtp_recipient *next; /* the transaction's list; set by lmtp_add_recipient() */
	struct text address;         /* without brackets; lives as long as the transaction */
	struct dsn_recipient dsn;    /* as the envelope's */
};

struct lmtp_handlers {
	/* 2xx, 4xx or 5xx for the next recipient that was added; never 421. reply: during the call only. */
	void (*recipient)(void *owner, const struct reply *reply);
	/* 354, or a refusal. Comes after the verdicts on all recipients. */
	void (*data)(void *owner, const struct reply *reply);
	/* After the last of the message, once for each accepted recipient. */
	void (*delivered)(void *owner, const struct reply *reply);
	/* The message is refused for all before its end: 4xx or 5xx. Nothing more can be added. */
	void (*refused)(void *owner, const struct reply *reply);
	/* lmtp_is_full() no more. */
	void (*drained)(void *owner);
	/* The server is away, or broke off. The lmtp is gone; no further call comes. reason: for the log. */
	void (*failed)(void *owner, const char *reason);
};

/*
 * A transaction. NULL with a reason when no connection can be had: the server does not listen, or too
 * many are in use. handlers and envelope must outlive it. Handlers are called by the loop only; each may
 * end this transaction.
 */
struct lmtp *lmtp_begin(struct lmtp_pool *pool, const struct lmtp_envelope *envelope,
	const struct lmtp_handlers *handlers, void *owner, const char **reason);

void lmtp_add_recipient(struct lmtp *lmtp, struct lmtp_recipient *recipient);

/* How the owner has the message. */
enum lmtp_body {
	/* As DATA brings it: dots stuffed, the terminator at its end. By BDAT where there is CHUNKING. */
	LMTP_BODY_STUFFED,
	LMTP_BODY_PLAIN, /* as BDAT brings it; for servers without CHUNKING dots are stuffed here */
};

/* After the recipients; `data` says when it may begin. */
void lmtp_start_message(struct lmtp *lmtp, enum lmtp_body body);

/*
 * After 354: the next octets of the message, in pieces for the owner's convenience, copied. They end in
 * CRLF when they are the last.
 */
void lmtp_add_message(struct lmtp *lmtp, const struct text *pieces, size_t count, bool last);
bool lmtp_is_full(const struct lmtp *lmtp);

/*
 * The owner is done with it. The connection is kept when it stands between transactions, or is reset; amid
 * the octets of DATA it is closed, so that the server cannot deliver what has no end.
 */
void lmtp_end(struct lmtp **lmtp);

#endif

/*
 * One mail transaction (RFC 5321 section 3.3): the envelope, its way to the LMTP server, and the verdict.
 *
 * A message is passed on while it comes in: nothing of it is kept here. Only a good one gets its end
 * passed on; for any other the connection to the LMTP server is cut before, so it cannot be delivered.
 */
#ifndef SMTP_IN_TRANSACTION_H
#define SMTP_IN_TRANSACTION_H

#include <stdbool.h>
#include <stdint.h>

#include "base/id.h"
#include "mail/address.h"
#include "mail/reply.h"
#include "mail/wire.h"
#include "smtp-in/lmtp.h"

struct arena;
struct submission;
struct session;
struct transaction_recipient;

struct transaction {
	struct transaction *next_spare;
	struct session *session;
	struct arena *arena; /* everything the envelope points to */
	struct id id;
	int64_t begun_ms;
	struct lmtp_envelope envelope;
	struct lmtp *lmtp; /* NULL: not yet, or no more */
	bool failed;       /* the LMTP server was away: no recipient can be had any more */

	struct transaction_recipient *next_verdict;
	const struct address *only; /* the recipient accepted last, for the trace field */
	size_t recipients;          /* that were asked for */
	size_t awaited;             /* verdicts not yet given to the client */
	size_t accepted;

	bool traced; /* our trace field was passed on */
	struct wire_data data;
	struct reply verdict; /* code 0: none yet. Its text is in the arena, or a constant. */
	/* Of a submission, until its header is over (sender.h, submission.h). */
	struct submission *submission;
	struct buf header; /* filtered, and kept back until it is known that it may go on */
	struct address *authors;
	size_t authors_left; /* about whom the store has not been asked */
	struct text author;  /* about whom it has */
	bool judging;
	bool ended;          /* while judging: so has the message */
	uint64_t refused_at; /* size when the message was refused before its end */
	size_t verdicts;     /* of the LMTP server, at the end of the message */
	size_t delivered;
};

struct transaction *transaction_new(struct session *session);

/* Whatever is under way is given up. */
void transaction_free(struct transaction **transaction);

/* Replies to RCPT are awaited: nothing else may be answered before them. */
bool transaction_is_awaited(const struct transaction *transaction);

/* RCPT. The LMTP server's verdict becomes the reply. The address is copied. */
void transaction_add_recipient(struct transaction *transaction, const struct address *address);

/* DATA. The session is ASKING, until the LMTP server's 354 or refusal. */
void transaction_start(struct transaction *transaction);

/* Take message octets from the session's input. False: there is nothing to be done for now. */
bool transaction_read(struct transaction *transaction);

/* Nothing more is passed on; verdict is the reply at the end, if there is none yet. */
void transaction_refuse(struct transaction *transaction, struct reply verdict);

/* It was judging, and is no more. */
void transaction_go_on(struct transaction *transaction);

/* The LMTP server is behind, or the store's answer is awaited: take no more for now. */
bool transaction_is_full(const struct transaction *transaction);

/* A message was begun and will not come to its end. reason: for the log. */
void transaction_log_lost(struct transaction *transaction, const char *reason);

#endif

/*
 * One mail transaction (RFC 5321 section 3.3): the envelope and its way to the LMTP server. The message
 * itself is message.h's.
 */
#ifndef SMTP_IN_TRANSACTION_H
#define SMTP_IN_TRANSACTION_H

#include <stdbool.h>
#include <stdint.h>

#include "base/id.h"
#include "mail/address.h"
#include "mail/dsn.h"
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
	bool prdr; /* the client wants a verdict for each recipient, after one message for all */

	struct transaction_recipient *next_verdict;
	struct transaction_recipient *first_accepted, *last_accepted;
	struct transaction_recipient *untold; /* from here on the LMTP server has not been asked */
	size_t again;  /* of the awaited, those that the client was told before are accepted */
	size_t lapsed; /* accepted ones that the server refused when it was asked again */
	const struct address *only; /* the recipient accepted last, for the trace field */
	size_t recipients;          /* that were asked for */
	size_t awaited;             /* verdicts not yet given to the client */
	size_t accepted;

	int64_t octets_since; /* milliseconds: `begun` is true; plus what we held it up */
	bool begun;           /* the client was told to send the message, or sends it by BDAT */
	bool invited; /* by DATA, and the LMTP server has not said yet that it will take it */
	bool chunked; /* by BDAT */
	bool traced;  /* our trace field was passed on */
	struct wire_data data;
	struct reply verdict; /* code 0: none yet. Its text is in the arena, or a constant. */
	struct reply *each;   /* one by one, for PRDR; NULL: they are not told so */
	/* Of a submission, until its header is over (sender.h, submission.h). */
	struct submission *submission;
	struct buf header; /* filtered, and kept back until it is known that it may go on */
	struct address *authors;
	size_t authors_left; /* about whom the store has not been asked */
	struct text author;  /* about whom it has */
	bool judging;
	bool ended;          /* its last octet has come */
	uint64_t refused_at; /* size when the message was refused before its end */
	size_t verdicts;     /* on accepted recipients, at the end of the message */
	size_t delivered;
};

struct transaction *transaction_new(struct session *session);

/* Whatever is under way is given up. */
void transaction_free(struct transaction **transaction);

/* Replies to RCPT are awaited: nothing else may be answered before them. */
bool transaction_is_awaited(const struct transaction *transaction);

/*
 * RCPT. The LMTP server's verdict becomes the reply. Of a message's further recipients a client that waits
 * for each reply hears at once what the server has just said of them; it is asked again together with the
 * next, or with the message; when it says no then, see transaction_lapse(). The address is copied; dsn's
 * texts are not.
 */
void transaction_add_recipient(struct transaction *transaction, const struct address *address,
	const struct dsn_recipient *dsn);

/*
 * The LMTP server's connection is given back while the client says nothing; transaction_take_up() tells the
 * server all of it again, and what it was not told before, or finds it away: false.
 */
void transaction_rest(struct transaction *transaction);
bool transaction_take_up(struct transaction *transaction);

/* Its message, or a part of it, is on its way. */
bool transaction_is_begun(const struct transaction *transaction);

/* A message was begun and will not come to its end. reason: for the log. */
void transaction_log_lost(struct transaction *transaction, const char *reason);

/* ---- for message.c ---- */

/* The one line about a message. */
void transaction_log(
	const struct transaction *transaction, const char *event, const struct reply *reply);

struct text transaction_id(const struct transaction *transaction);

/* 451 4.3.0 */
struct reply transaction_unavailable(void);

/* The LMTP server's reply as it may be given to a client: every one has an enhanced code. */
struct reply transaction_pass_reply(const struct reply *reply);

/*
 * Recipients have lapsed, and nobody gets the message: the one reply for all. What is temporary is told as
 * the server said it; what is not, only when it holds for everybody, as a client gives up all of them for it.
 */
struct reply transaction_lapse(const struct transaction *transaction);

/* Why each of the accepted recipients has lapsed, in their order; code 0: it has not. */
void transaction_list_lapses(const struct transaction *transaction, struct reply *each);

/* It is over, and the session ready for the next. */
void transaction_end(struct session *session);

#endif

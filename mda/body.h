/*
 * A message while it comes in: trace fields, then what the client sends, in memory up to what fits a
 * request to the store, beyond that in a spool file of the store's. When many clients at once send
 * middling messages, and do so slowly, those go to files as well: memory is bounded whatever they do.
 *
 * As stored, a message is our trace fields and then byte for byte what came, with LF line ends. One
 * octet may stand between: when what came has no header section at all (its first line is neither a
 * field nor blank), a blank line keeps that text from being read as part of our header. And a Return-Path
 * that came is left out, as there is one, ours; but for pulled mail, which stays as it lay there.
 */
#ifndef MDA_BODY_H
#define MDA_BODY_H

#include "base/digest.h"
#include "mail/reply.h"
#include "mail/wire.h"

struct store_link;

struct body_options {
	struct store_link *link;
	uint64_t limit;       /* octets, as SIZE counts them */
	uint64_t size_hint;   /* what the client announced, or 0 */
	bool chunked;         /* by BDAT: no dots to undo, and body_end() says when it ends */
	bool tell_duplicates; /* make body->same */
	bool pulled;          /* from a remote account: byte for byte, its own Return-Path too */
	bool has_received; /* its first field is smtp-in's trace field and no proof of a header */
	struct text
		delivered_to; /* who must not have got it before; "": several, only hops count */
	unsigned hops;        /* Received fields it may have */
	size_t *shared;       /* octets that all bodies of this worker hold in memory */
	void (*ready)(void *owner); /* after BODY_WAIT: go on feeding */
	void *owner;
};

enum body_result {
	BODY_MORE, /* all was used */
	BODY_WAIT, /* feed nothing until `ready` */
	BODY_END,  /* the final dot was read */
};

struct body {
	struct body_options options;
	struct wire_data data;
	struct buf text;     /* what is not in the spool file */
	size_t trace_length; /* of text; what follows came from the client */
	bool begun;          /* trace fields are complete */
	bool settled;        /* its head was looked at */
	bool waiting;        /* for the spool file */
	bool spooled;        /* something was written there */
	bool ended;          /* the final dot was read */
	int fd;              /* of the spool file, or -1 */
	uint32_t spool;      /* 0: none */
	uint64_t generation; /* of the link that it came through */
	size_t counted;      /* of text, in *shared */
	struct digest
		*digest; /* to tell duplicates by; NULL: nobody asks, or it has no Message-ID */
	char same[DIGEST_HEX + 1]; /* at the end: what the message is; "": not to be told */
	struct reply refusal;      /* code 0: none yet. Its text is constant. */
};

/* Begin anew. Add the trace fields to what it returns before the first body_feed(). */
struct buf *body_begin(struct body *body, const struct body_options *options);

/* The client's octets after 354. Writes of at most that many octets, and what was gathered before. */
enum body_result body_feed(struct body *body, struct text in, size_t *used);

/* The last octet of a chunked body was fed. */
void body_end(struct body *body);

/*
 * After BODY_END or body_end(): why it is refused, or NULL. Then body->spool, or body->text, is the message;
 * the spool file is closed.
 */
const struct reply *body_finish(struct body *body);

/*
 * Text and spool file belong to the store now. Until body_release() they count as memory in use: the request
 * may still wait to be sent.
 */
void body_hand_over(struct body *body);

/* Give back what it holds, at any time; a spool file not handed over is dropped. */
void body_release(struct body *body);

#endif

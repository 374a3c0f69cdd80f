/*
 * The way into this host: messages to the delivery agent by LMTP (RFC 2033) over its socket for the
 * bridge, blocking, over several connections at once, so that many messages share one flush of the
 * store's journal while this process reads the next one.
 *
 * A message is begun, given piece by piece, and ended; what became of it is told by the verdict
 * callback, later, from within one of these functions. Each goes with a once-key: given again, it is
 * answered as success and changes nothing.
 */
#ifndef BRIDGE_LMTP_H
#define BRIDGE_LMTP_H

#include <stdbool.h>

#include "base/text.h"
#include "bridge/fault.h"
#include "bridge/once.h"

struct lmtp;

enum { LMTP_LANES = 16 };

struct lmtp_verdict {
	uint64_t cookie;
	uint64_t octets;
	unsigned code;     /* 200 to 599 */
	const char *reply; /* the last line, for a person */
};

struct lmtp_options {
	const char *path;     /* of the socket */
	const char *hostname; /* of this host, for LHLO */
	const char *to;       /* recipient */
	int watch;            /* as in stream.h */
	void (*verdict)(void *owner, const struct lmtp_verdict *verdict);
	void *owner;
};

struct lmtp_message {
	struct once_key key;
	struct text sender;   /* reverse-path without brackets; "" */
	const char *mailbox;  /* UTF-8; "" or NULL: INBOX */
	const char *flags;    /* letters of Maildir; "" */
	const char *keywords; /* blanks between; "" or NULL */
	int64_t date;         /* internal date, seconds since 1970; 0: now */
	uint64_t size;        /* octets as the server tells; 0: not known */
	uint64_t cookie;      /* for the verdict */
};

/* Nothing is connected before it is needed. */
struct lmtp *lmtp_new(const struct lmtp_options *options);
void lmtp_free(struct lmtp **lmtp);

/* Why it returned -1. */
const struct fault *lmtp_fault(const struct lmtp *lmtp);

/* The largest message the agent takes, once something was asked; 0: it does not say. */
uint64_t lmtp_size_limit(const struct lmtp *lmtp);

/*
 * Which of these messages are here already. when[i]: seconds since 1970 of that acceptance, -1: it is not
 * here. 0, or -1 with a fault.
 */
int lmtp_known(struct lmtp *lmtp, const struct once_key *keys, size_t count, int64_t *when);

/* 1: give the message, then end it; 0: it is refused, and the verdict was told; -1: fault. */
int lmtp_begin(struct lmtp *lmtp, const struct lmtp_message *message);

/* Octets as the server gave them, with CRLF line ends. 0, or -1 with a fault. */
int lmtp_add(struct lmtp *lmtp, struct text octets);
int lmtp_end(struct lmtp *lmtp);

/* The message was not all had: cut its connection, so that nothing of it is delivered. */
void lmtp_abandon(struct lmtp *lmtp);

/* All verdicts that are due. 0, or -1 with a fault. */
int lmtp_settle(struct lmtp *lmtp);

#endif

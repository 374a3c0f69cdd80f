/*
 * XHAVE, for trusted clients inside a transaction: which of these once-keys count for its recipients
 * already, so that what they stand for need not be fetched at all.
 *
 *	C: MAIL FROM:<>
 *	C: RCPT TO:<anna@example.org>
 *	C: XHAVE bridge/1 bridge/2 bridge/3
 *	S: 250 2.0.0 1700000000 - 1700000020
 *
 * One word a key: when it was accepted, seconds since 1970, or "-". Several users: a key counts when it
 * does for each of them, since the last.
 */
#ifndef MDA_HAVE_H
#define MDA_HAVE_H

#include "base/text.h"

struct session;

enum { HAVE_KEYS_LIMIT = 16 };

/* Answer now or when the store has; the client is held meanwhile. There is at least one recipient. */
void have_run(struct session *session, struct text argument);

/* The transaction goes: what the store is still asked comes to nothing. */
void have_forget(struct session *session);

#endif

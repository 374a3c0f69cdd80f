/*
 * What the mda says of the ways in which the store can fail.
 */
#ifndef MDA_VERDICT_H
#define MDA_VERDICT_H

#include "mail/reply.h"
#include "store/failure.h"

/*
 * The reply for an outcome, the same at RCPT and after DATA. What is wrong on this host, and not with
 * the message or its recipient, is always temporary: no message is turned away for our faults.
 */
struct reply verdict_reply(enum store_failure failure);

/* The same after the last octet of a message for one recipient. */
struct reply verdict_at_end(enum store_failure failure);

#endif

/*
 * The closed list of ways in which the store can fail to do what it was asked. Each protocol maps it to
 * its own reply in one switch; the detail goes to the log.
 */
#ifndef STORE_FAILURE_H
#define STORE_FAILURE_H

#include <stdbool.h>

enum store_failure {
	STORE_OK,
	STORE_NO_SUCH_USER,
	STORE_NO_SUCH_MAILBOX,
	STORE_NO_SUCH_MESSAGE, /* expunged meanwhile, or never there */
	STORE_BAD_LOGIN,       /* user or password wrong; which one is not told */
	STORE_ALREADY_EXISTS,
	STORE_OVER_QUOTA,
	STORE_TOO_LARGE,   /* beyond what the store takes at all */
	STORE_LOCKED,      /* another session holds the mailbox exclusively */
	STORE_NO_SPACE,    /* the disk, or the quota of the host's file system */
	STORE_NOT_DURABLE, /* written, but the flush failed: must be taken as not accepted */
	STORE_DAMAGED,     /* the index or a file is not as it must be */
	STORE_BUSY,        /* try again: a limit of the moment */
	STORE_REFUSED,     /* this connection has no right to that */
	STORE_INVALID,     /* the request makes no sense */
	STORE_AWAY,        /* the store cannot be reached; said by the client library only */
	STORE_FAILURES
};

/* "over quota" … for logs and command output. */
const char *store_failure_name(enum store_failure failure);

/* Whether the same request may succeed later without anybody changing anything. */
bool store_failure_is_temporary(enum store_failure failure);

#endif

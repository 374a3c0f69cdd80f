/*
 * Warnings about what was put off. A crowd of clients can cause any number of them, and so can one that
 * insists: of each kind one line is written in TROUBLE_SECONDS, with the number of those that were not.
 */
#ifndef STORE_TROUBLE_H
#define STORE_TROUBLE_H

#include <stdint.h>

#include "base/text.h"

enum { TROUBLE_SECONDS = 10 };

enum trouble {
	TROUBLE_LOGINS_WAITING,   /* store.login-waiting */
	TROUBLE_LOGINS_FAILED,    /* store.login-failures */
	TROUBLE_PASSWORD_CHANGED, /* while the one before was checked */
	TROUBLE_PASSWORD_UNCHECKED,
	TROUBLE_CLOSED,      /* the user is, or the store */
	TROUBLE_DIRECTORIES, /* of a mailbox could not be read */
	TROUBLE_LISTING,     /* of a mailbox could not be made */
	TROUBLES
};

/* All zero at first. */
struct troubles {
	struct {
		int64_t until; /* milliseconds, monotonic: no line before */
		uint64_t untold;
	} kind[TROUBLES];
};

/* detail: empty, or what is known beyond the kind. */
void trouble_tell(
	struct troubles *troubles, enum trouble kind, struct text user, struct text detail);

#endif

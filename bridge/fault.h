/*
 * Why a session with a remote server ended, as a kind that decides when to try again, and a sentence
 * for the one who set the account up.
 */
#ifndef BRIDGE_FAULT_H
#define BRIDGE_FAULT_H

#include <stdbool.h>

enum fault_kind {
	FAULT_NONE,
	FAULT_STOPPED,  /* we were told to end; no fault at all */
	FAULT_SETTINGS, /* a file, a command or a name of the account is not what it should be */
	FAULT_NETWORK,  /* not reached, reset, silent */
	FAULT_TLS,      /* no TLS, or not with whom we meant */
	FAULT_LOGIN,    /* the server refused user and password */
	FAULT_SERVER,   /* it said no, or something that makes no sense */
	FAULT_LOCAL,    /* this host cannot take mail now */
	FAULT_FULL,     /* there is no room for it, and asking for it again costs */
	FAULT_KINDS
};

enum { FAULT_SENTENCE = 400 };

/* The first fault stays: what comes after it follows from it. */
struct fault {
	enum fault_kind kind;
	char sentence[FAULT_SENTENCE + 1];
};

/* Always -1, for the caller to return. */
int fault_set(struct fault *fault, enum fault_kind kind, const char *format, ...)
	__attribute__((format(printf, 3, 4)));

/* "network" … for logs and lists. */
const char *fault_kind_name(enum fault_kind kind);

/*
 * Seconds until the next try after so many failures in a row (1 or more), before jitter. A refused login
 * is tried rarely: it may lock the account.
 */
unsigned fault_pause(enum fault_kind kind, unsigned failures);

/* What a server said, for a sentence: without control characters, at most 200 octets. */
struct fault_quote {
	char string[201];
};
struct fault_quote fault_quote(const char *octets);

#endif

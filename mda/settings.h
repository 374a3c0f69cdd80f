/*
 * The mda's section of the settings file.
 */
#ifndef MDA_SETTINGS_H
#define MDA_SETTINGS_H

#include "base/settings.h"

/* The most that `recipients` can be set to: what one transaction of the store takes. */
enum { MDA_RECIPIENTS_MOST = 1000 };

struct mda_settings {
	uint64_t workers;
	char *socket;                /* name of the public socket below STATE/run */
	char *socket_mode;           /* its permissions, octal */
	struct settings_list listen; /* LMTP over TCP as well: "127.0.0.1:24" */
	uint64_t message_size;       /* octets, as SIZE counts them */
	uint64_t hops;               /* Received fields of a message that is not a loop yet */
	uint64_t recipients;         /* of one message */
	uint64_t sessions;           /* at once, each worker */
	uint64_t duplicates;         /* seconds in which a message is kept once only; 0: off */
	bool dsn;                    /* offer RFC 3461 */
	uint64_t command_timeout;    /* seconds a client may think before a command */
	uint64_t data_timeout;       /* seconds it may pause inside a message */
};

extern const struct settings_section mda_section;

#endif

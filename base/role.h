/*
 * The skeleton that every role's main.c fills: settings, listeners, certificates, confinement, loop,
 * reload, counters and stop are the same for all and live here.
 *
 * Order of a start: role_main() reads descriptor 3 (base/control.h) up to GO, enters the role's
 * directory (the supervisor started it there), calls prepare() while it may still open files, drops to
 * its uid, confines itself, calls start(), says READY and runs the loop.
 */
#ifndef BASE_ROLE_H
#define BASE_ROLE_H

#include <stdbool.h>

#include "base/common.h"
#include "base/priv.h"
#include "base/settings.h"

struct event_base;
struct limits;
struct net_address;
struct tls;

/* What one process of a role works with: every role has a struct of this name for itself. */
struct worker;

struct role_context {
	struct event_base *loop;
	const struct common_settings *common;
	const void *settings; /* the role's own section */
	struct worker *state; /* what start() made; NULL before */
	struct tls
		*tls; /* NULL when there is no certificate; role_main() replaces it at a reload */
	struct limits *limits; /* shared with the other workers; NULL: the role has none */
	unsigned worker;       /* which of the processes of the role this is: 0 and up */
	/*
	 * Of the client that accept() is given, also when it has gone again: the socket does not know it
	 * any more then. NULL: it came by a unix socket.
	 */
	const struct net_address *peer;
	/* accept() may set it: no more clients for now, until those who are here had their turn. */
	bool enough;
	/* accept() may set it: somebody is not to be heard from now on (limits_shun()). */
	bool shunned;
};

struct role {
	const char *name; /* "smtp-in" */
	enum priv_role priv;
	const struct settings_section *section;
	/* What the settings need beyond the role's row: enum priv_extra, or'ed. May be NULL. */
	unsigned (*priv_extra)(struct role_context *context);
	/* Before the sandbox: open what needs a path. May be NULL. 0, or -1 after logging why. */
	int (*prepare)(struct role_context *context);
	/* Confined: build what the calls below are given. NULL after logging why. */
	struct worker *(*start)(struct role_context *context);
	/* A client on the listener of that name. Takes fd. */
	void (*accept)(struct worker *worker, const char *listener, int fd);
	/* New settings and certificates are in the context. May be NULL. */
	void (*reload)(struct role_context *context);
	/* Add "name=number\n" lines; role_main() has added "uptime" in seconds. May be NULL. */
	void (*count)(const struct worker *worker, struct buf *out);
	/*
	 * No more clients will come. End idle sessions now, let transfers finish. May be NULL.
	 * The loop ends when busy() says false, or after the seconds the supervisor gave.
	 */
	void (*stop)(struct worker *worker);
	bool (*busy)(const struct worker *worker);
	/* Last call before exit, after the loop: flush, close. May be NULL. */
	void (*end)(struct worker **worker);
};

/* main() of a role. Returns the exit status. */
int role_main(int argc, char **argv, const struct role *role);

/*
 * The role stops accepting clients while this is in force (limit of sessions reached, out of
 * descriptors). Calls do not nest.
 */
void role_pause(struct role_context *context, bool paused);

#endif

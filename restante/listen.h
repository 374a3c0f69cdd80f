/*
 * The sockets of the host, all bound before any role starts: as root, and so that a role that is
 * starting keeps its clients waiting instead of turning them away.
 */
#ifndef RESTANTE_LISTEN_H
#define RESTANTE_LISTEN_H

#include "restante/settings.h"

struct listener {
	const char *name; /* as the role knows it: "smtp", "store-mda" */
	enum host_role_id role;
	const struct host_service *service; /* NULL: a unix socket */
	char *where;                        /* "127.0.0.1:10025", or the socket's file name */
	int fd;
};

struct listeners {
	size_t count;
	struct listener *list;
	int admin; /* the supervisor's own; -1: none */
};

/*
 * Everything a running host listens on. The working directory must be STATE/run. 0, or -1 after having
 * reported each address that cannot be had, and last the advice when some are taken by others.
 */
int listeners_bind(struct listeners *listeners, const struct host_settings *settings,
	const char *advice, host_report *report, void *owner);

/* The store's socket for commands only, for a store that runs alone. */
int listeners_bind_store_admin(struct listeners *listeners, const struct host_settings *settings,
	host_report *report, void *owner);

/* Close them and remove the sockets' files. */
void listeners_free(struct listeners *listeners);

#endif

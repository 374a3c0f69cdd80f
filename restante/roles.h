/*
 * The roles of this host: one row each, from which starting, binding, handing out and stopping follow.
 */
#ifndef RESTANTE_ROLES_H
#define RESTANTE_ROLES_H

#include <stdbool.h>

#include "base/priv.h"
#include "base/settings.h"

enum host_role_id { HOST_STORE, HOST_MDA, HOST_SMTP_IN, HOST_POP3D, HOST_BRIDGE, HOST_ROLES };

/*
 * Roles stop in this order, each group when the one before is gone: what a client was told is
 * accepted still finds its way.
 */
enum host_stop { HOST_STOP_NETWORK, HOST_STOP_MDA, HOST_STOP_STORE, HOST_STOPS };

struct host_role {
	const char *name; /* of the program and in the log */
	enum priv_role priv;
	const struct settings_section *section;
	enum host_stop stop;
	bool tls;               /* gets the certificates */
	bool limits;            /* its workers count together what clients take */
	unsigned ready_seconds; /* from start to READY; the store may have a long log to replay */
};

extern const struct host_role host_roles[HOST_ROLES];

/* TCP addresses come from a list of the role's section. */
struct host_service {
	const char *name; /* of the listener, as the role knows it */
	enum host_role_id role;
	const char *item;    /* "listen": a list of endpoints */
	const char *purpose; /* for people */
};

enum { HOST_SERVICES = 7 };
extern const struct host_service host_services[HOST_SERVICES];

#endif

/*
 * Keeps every role running, from the first start to a stop in which nothing is lost.
 */
#ifndef RESTANTE_SUPERVISOR_H
#define RESTANTE_SUPERVISOR_H

#include "restante/host.h"

struct supervisor_hooks {
	void (*ready)(void *owner); /* every process has been ready once; may be NULL */
	void *owner;
};

/*
 * Read settings and certificates, enter the state directory unless it is open, bind, start all roles and
 * supervise them until SIGTERM or SIGINT. SIGHUP reloads. Returns an exit status; what is wrong at the
 * start is said on standard error, with the advice when addresses are taken by others.
 */
int supervisor_run(struct host *host, const char *advice, const struct supervisor_hooks *hooks);

#endif

/* For supervisor.c and what of it lies in supervisor_status.c. */
#ifndef RESTANTE_SUPERVISOR_PRIVATE_H
#define RESTANTE_SUPERVISOR_PRIVATE_H

#include <event2/event_struct.h>
#include <time.h>

#include "restante/backoff.h"
#include "restante/child.h"
#include "restante/supervisor.h"

/* A place in which a process of a role shall run. */
struct slot {
	struct supervisor *supervisor;
	struct child child;
	struct backoff backoff;
	struct event restart;
	uint32_t restarts;
	bool was_ready;
	bool counting; /* its counters are awaited */
	char *counters;
};

struct supervisor {
	struct host *host;
	const struct supervisor_hooks *hooks;
	struct slot *slots;
	size_t count;
	struct event term, interrupt, hangup, deadline, census, renewal, log;
	struct admin *admin;
	struct feed *feed;
	struct shunning *shunning;
	time_t since;
	bool announced; /* everything was ready once */
	bool stopping, hurrying;
	enum host_stop stage; /* of a stop: what is being waited for */
	bool has_terminal;    /* at the start */
	bool ignored_hangup;  /* whoever started us wants us to outlive the terminal */
	int status;
};

static inline const struct host_role *slot_role(const struct slot *slot)
{
	return &host_roles[slot->child.role];
}

/* ---- supervisor_status.c ---- */

/* Once the loop and the socket are there, and before the children. */
void supervisor_status_init(struct supervisor *supervisor);
void supervisor_status_deinit(struct supervisor *supervisor);

/* Of child_handlers; owner: the slot. */
void supervisor_on_counters(void *owner, struct text lines);

#endif

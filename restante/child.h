/*
 * One process of a role, from start to its end.
 *
 *	DOWN --start--> STARTING --READY--> RUNNING --stop--> STOPPING
 *	  ^-----------------'------- it ended -----'--------------'
 */
#ifndef RESTANTE_CHILD_H
#define RESTANTE_CHILD_H

#include <event2/event_struct.h>
#include <stdint.h>
#include <sys/types.h>

#include "restante/host.h"

struct child;
struct ipc;

enum child_state { CHILD_DOWN, CHILD_STARTING, CHILD_RUNNING, CHILD_STOPPING };

struct child_handlers {
	void (*ready)(void *owner);                       /* after a start; may be NULL */
	void (*counters)(void *owner, struct text lines); /* may be NULL */
	void (*shun)(void *owner); /* it will not hear somebody; may be NULL */
	/* It ended and is DOWN. lived: milliseconds; status: of waitpid(2). */
	void (*ended)(void *owner, int status, int64_t lived);
};

struct child {
	const struct host *host;
	enum host_role_id role;
	uint32_t worker;
	const struct child_handlers *handlers;
	void *owner;
	enum child_state state;
	pid_t pid;
	int64_t since;   /* seconds since 1970 of its start */
	int64_t started; /* milliseconds on the monotonic clock */
	bool reconfigured; /* since its start: the bridge then ends, to be started with the new settings */
	struct ipc *ipc;
	struct event reaper, patience; /* SIGCHLD; READY is late */
};

/* In place: the child must not move. */
void child_init(struct child *child, const struct host *host, enum host_role_id role,
	uint32_t worker, const struct child_handlers *handlers, void *owner);

/* A process that still runs is left to itself: it sees the end of its control socket. */
void child_deinit(struct child *child);

/* Spawn it and hand everything over. 0, or -1 with errno. */
int child_start(struct child *child);

/* The host's settings and certificates have changed. Only when it runs. */
void child_reconfigure(struct child *child);

/* The keys of its session tickets have been replaced. Only when it runs. */
void child_renew_tickets(struct child *child);

/* The log file has been replaced. Only when it runs. */
void child_renew_log(struct child *child);

/* Ask for its counters. False: it is not in a state to answer. */
bool child_count(struct child *child);

/* Finish what is in transfer within so many seconds. May be said again with fewer. */
void child_stop(struct child *child, uint32_t seconds);

void child_kill(struct child *child);

/* "down", "starting" … */
const char *child_state_name(enum child_state state);

/* Milliseconds on the monotonic clock. */
int64_t child_now(void);

#endif

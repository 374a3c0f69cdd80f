/*
 * The loop of a role: libevent's, which looks again for a moment before it sleeps (adaptive busy polling).
 *
 * To sleep and be woken costs more than what most commands ask for: some 50 microseconds where the core
 * went idle meanwhile, and a message passes through three processes and back. While something has been
 * coming every half millisecond or sooner, the loop looks for 300 microseconds before it sleeps, and leaves
 * the core to whoever else wants it between two looks. It stops looking for a quarter of a second when more
 * than two looks of five were in vain, and a role that nobody talks to sleeps at once.
 */
#ifndef BASE_LOOP_H
#define BASE_LOOP_H

#include <stdint.h>

struct event_base;

struct loop_counts {
	uint64_t looks, sleeps;
};

/* Until event_base_loopbreak(), or until there is no event left. One at a time in a process. */
void loop_run(struct event_base *loop);

/* Something has come: called by every reader of a descriptor, before it reads. */
void loop_came(void);

/* Of this process, since its start. */
struct loop_counts loop_counts(void);

#endif

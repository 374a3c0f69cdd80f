/*
 * The bridge's own process: which account is due when, what each one did last. It speaks to nobody
 * outside; accounts' processes do (launcher.h).
 */
#ifndef BRIDGE_WORKER_H
#define BRIDGE_WORKER_H

#include "base/buf.h"
#include "bridge/settings.h"

struct event_base;
struct worker;

struct worker_options {
	struct event_base *loop;
	const struct bridge_account *accounts; /* outlive it */
	size_t count;
	int launcher;              /* socket */
	void (*lost)(void *owner); /* the launcher is gone: nothing can be started any more */
	void *owner;
};

/* Every enabled account starts within the first moments. */
struct worker *worker_new(const struct worker_options *options);
void worker_free(struct worker **worker);

/* "NAME.pulled=number" and the like, a line each. */
void worker_count(const struct worker *worker, struct buf *out);

/* Tell all processes to end; nothing new is started. */
void worker_stop(struct worker *worker);
bool worker_is_busy(const struct worker *worker);

#endif

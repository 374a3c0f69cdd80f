/*
 * A thread that does one thing at a time and tells the loop when it is done: for what would block the
 * main thread, which is syncing.
 */
#ifndef STORE_WORKER_H
#define STORE_WORKER_H

#include <stdbool.h>

struct event_base;
struct worker;

/* NULL with errno. name: at most 15 octets, for ps and top. */
struct worker *worker_new(struct event_base *loop, const char *name);

/*
 * Run work(owner) in the thread, then done(owner) on the loop with what it gave. Nothing else may be
 * under way.
 */
void worker_start(struct worker *worker, int (*work)(void *owner),
	void (*done)(void *owner, int result), void *owner);

bool worker_is_busy(const struct worker *worker);

/* Wait until the thread is done and call done() now. Nothing when it has nothing to do. */
void worker_finish(struct worker *worker);

/* Waits for work under way; done() is not called for it. */
void worker_free(struct worker **worker);

#endif

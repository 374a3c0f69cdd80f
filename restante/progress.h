/*
 * A bar on the terminal of who waits; nothing at all when standard error is none.
 */
#ifndef RESTANTE_PROGRESS_H
#define RESTANTE_PROGRESS_H

#include <stdbool.h>
#include <stdint.h>

struct progress {
	bool on;
	int64_t drawn; /* when, in milliseconds of the monotonic clock */
};

void progress_init(struct progress *progress);

/* "at of of what"; as often as it may change, it is drawn ten times a second, and at the end. */
void progress_show(struct progress *progress, uint64_t at, uint64_t of, const char *what);

/* Before other words are written. */
void progress_clear(struct progress *progress);

#endif

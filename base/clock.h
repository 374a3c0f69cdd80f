/*
 * The monotonic clock: for deadlines and for how long something took.
 */
#ifndef BASE_CLOCK_H
#define BASE_CLOCK_H

#include <stdint.h>
#include <time.h>

static inline int64_t clock_read(clockid_t clock)
{
	struct timespec now;

	clock_gettime(clock, &now);
	return (int64_t)now.tv_sec * 1000000000 + now.tv_nsec;
}

static inline int64_t clock_nanoseconds(void)
{
	return clock_read(CLOCK_MONOTONIC);
}

static inline int64_t clock_milliseconds(void)
{
	return clock_read(CLOCK_MONOTONIC) / 1000000;
}

/* Cheaper, and some milliseconds behind. */
static inline int64_t clock_coarse_milliseconds(void)
{
	return clock_read(CLOCK_MONOTONIC_COARSE) / 1000000;
}

#endif

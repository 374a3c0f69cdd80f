/*
 * Work for an engine, what the engine answered, and whether a store keeps it.
 *
 * Deliveries small and large, to one or several mailboxes, with and without once-keys, flags, keywords,
 * expunges, copies, moves, mailboxes made, renamed and deleted, subscriptions, users;
 * some wait for their answers, some overlap. Time is a number that `now` gives
 * and that only grows: a promise made at or before `at` must be kept by a store as it was at `at`.
 */
#ifndef TESTS_CRASH_WORKLOAD_H
#define TESTS_CRASH_WORKLOAD_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "store/engine.h"

struct workload;

/* now may be NULL: then everything is at 0. */
struct workload *workload_new(uint32_t seed, size_t (*now)(void));
void workload_free(struct workload **workload);

/*
 * With faults a request may be refused for the moment, and a message may not be read for the moment.
 * Whatever is refused in another way than "not durable" must not happen.
 */
void workload_expect_faults(struct workload *workload, bool expected);
/* Most of what it does from now on is to mailboxes: the same few names again and again. */
void workload_reshape(struct workload *workload);

/* Whether the last run had opened the store. */
bool workload_is_open(const struct workload *workload);

/* Opens, works, closes. False: it did not open, or found what must not be. */
bool workload_run(struct workload *workload, const char *directory, unsigned steps);

/* How many promises were made, and how many requests were refused. */
size_t workload_kept(const struct workload *workload);
size_t workload_refused(const struct workload *workload);

/* Why the last call gave false. */
const char *workload_finding(const struct workload *workload);

/*
 * Opens the store and looks for every promise made at or before `at`, then adds to it, and looks again
 * after another opening; thorough: and once more with an index made anew.
 */
bool workload_check(struct workload *workload, const char *directory, size_t at, bool thorough);

#endif

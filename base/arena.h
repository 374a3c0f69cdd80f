/*
 * Memory with one lifetime: allocate freely, release all at once.
 *
 * A connection has one arena, a transaction on it another that is emptied at its end. What outlives
 * both is plain heap (mem.h).
 */
#ifndef BASE_ARENA_H
#define BASE_ARENA_H

#include <stddef.h>

struct arena;

/* No memory is taken before the first allocation; block is the usual chunk size in octets. */
struct arena *arena_new(size_t block);

/* Zeroed, aligned for any type, never NULL. */
void *arena_take(struct arena *arena, size_t size) __attribute__((returns_nonnull));

/* Everything taken is gone; at most one chunk is kept for the next use. */
void arena_empty(struct arena *arena);

/* Octets asked for since the arena was last empty: what a limit can be held against. */
size_t arena_used(const struct arena *arena);

void arena_free(struct arena **arena);

#endif

/*
 * Heap memory that is never NULL.
 *
 * A role that runs out of memory writes one line to its log and dies; the supervisor starts it anew
 * and no acknowledged message is lost by that. So no caller has an out-of-memory branch to get wrong.
 */
#ifndef BASE_MEM_H
#define BASE_MEM_H

#include <stddef.h>

/* Zeroed memory. size may be 0. Release with mem_free. */
void *mem_new(size_t size) __attribute__((malloc, returns_nonnull));

/* Like calloc: count * size is checked for overflow. */
void *mem_array(size_t count, size_t size) __attribute__((malloc, returns_nonnull));

/* Like realloc, never NULL; what is added is not zeroed. */
void *mem_resize(void *old, size_t size) __attribute__((returns_nonnull));

/* A copy of octets[0..size) with a NUL after it. */
char *mem_copy(const void *octets, size_t size) __attribute__((malloc, returns_nonnull));

void mem_free(void *block);

/* Overwrite what held a secret; never optimised away. */
void mem_wipe(void *block, size_t size);

#endif

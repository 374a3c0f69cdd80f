#include "base/arena.h"

#include <stdalign.h>
#include <stdint.h>
#include <string.h>

#include "base/log.h"
#include "base/mem.h"
#include "base/sanitizer.h"

/* Chunks in the order of use, newest first; only the newest has room worth looking at. */
struct chunk {
	struct chunk *next;
	size_t size;
	size_t taken;
	alignas(max_align_t) char octets[];
};

struct arena {
	struct chunk *chunks;
	size_t block;
	size_t used;
};

struct arena *arena_new(size_t block)
{
	struct arena *arena = mem_new(sizeof(*arena));

	arena->block = block ? block : 1;
	return arena;
}

static struct chunk *chunk_new(size_t size)
{
	struct chunk *chunk = mem_resize(NULL, sizeof(*chunk) + size);

	chunk->next = NULL;
	chunk->size = size;
	chunk->taken = 0;
	return chunk;
}

/* An oversize chunk goes behind the newest, whose room stays in use. */
static struct chunk *chunk_with_room(struct arena *arena, size_t size)
{
	struct chunk *newest = arena->chunks;

	if (newest && newest->size - newest->taken >= size)
		return newest;
	struct chunk *fresh = chunk_new(size > arena->block ? size : arena->block);
	if (newest && size > arena->block) {
		fresh->next = newest->next;
		newest->next = fresh;
	} else {
		fresh->next = newest;
		arena->chunks = fresh;
	}
	return fresh;
}

void *arena_take(struct arena *arena, size_t size)
{
	const size_t step = alignof(max_align_t);

	if (size > SIZE_MAX / 2)
		LOG_FATAL("out-of-memory", LOG_NUMBER("octets", size));
	size_t rounded = (size + step - 1) / step * step;
	if (rounded == 0)
		rounded = step;
	struct chunk *chunk = chunk_with_room(arena, rounded);
	void *block = chunk->octets + chunk->taken;
	chunk->taken += rounded;
	arena->used += size;
	return memset(block, 0, rounded);
}

static void free_chunks(struct chunk *chunk)
{
	while (chunk) {
		struct chunk *next = chunk->next;
		mem_free(chunk);
		chunk = next;
	}
}

void arena_empty(struct arena *arena)
{
	struct chunk *kept = NULL;

	/* Under the sanitizer nothing is kept, so that use after this is found. */
	for (struct chunk **at = &arena->chunks; *at && !BASE_ADDRESS_SANITIZER;
		at = &(*at)->next) {
		if ((*at)->size == arena->block) {
			kept = *at;
			*at = kept->next;
			kept->next = NULL;
			kept->taken = 0;
			break;
		}
	}
	free_chunks(arena->chunks);
	arena->chunks = kept;
	arena->used = 0;
}

size_t arena_used(const struct arena *arena)
{
	return arena->used;
}

void arena_free(struct arena **arena)
{
	if (!*arena)
		return;
	free_chunks((*arena)->chunks);
	mem_free(*arena);
	*arena = NULL;
}

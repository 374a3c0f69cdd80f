#include "base/mem.h"

#include <stdlib.h>
#include <string.h>

#include "base/log.h"

static void __attribute__((noreturn)) out_of_memory(size_t size)
{
	LOG_FATAL("out-of-memory", LOG_NUMBER("octets", size));
}

void *mem_new(size_t size)
{
	void *block = calloc(1, size ? size : 1);

	if (!block)
		out_of_memory(size);
	return block;
}

void *mem_array(size_t count, size_t size)
{
	size_t total;

	if (__builtin_mul_overflow(count, size, &total))
		out_of_memory(SIZE_MAX);
	return mem_new(total);
}

void *mem_resize(void *old, size_t size)
{
	void *block = realloc(old, size ? size : 1);

	if (!block)
		out_of_memory(size);
	return block;
}

char *mem_copy(const void *octets, size_t size)
{
	char *copy;

	if (size == SIZE_MAX || !(copy = malloc(size + 1)))
		out_of_memory(size);
	if (size)
		memcpy(copy, octets, size);
	copy[size] = '\0';
	return copy;
}

void mem_free(void *block)
{
	free(block);
}

void mem_wipe(void *block, size_t size)
{
	if (size)
		explicit_bzero(block, size);
}

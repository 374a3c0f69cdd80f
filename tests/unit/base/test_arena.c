/* Memory with one lifetime: aligned, zeroed, and gone all at once. */
#include <setjmp.h>
#include <stdalign.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "base/arena.h"
#include "base/sanitizer.h"

static void every_block_is_aligned_zeroed_and_its_own(void **state)
{
	unsigned char *blocks[300];
	size_t sizes[300], sum = 0;
	struct arena *arena = arena_new(256);

	(void)state;
	for (int round = 0; round < 3; round++) {
		sum = 0;
		for (size_t i = 0; i < 300; i++) {
			sizes[i] = i % 17 == 0 ? 1000 + i : i % 40; /* some larger than a chunk */
			blocks[i] = arena_take(arena, sizes[i]);
			sum += sizes[i];
			assert_int_equal((uintptr_t)blocks[i] % alignof(max_align_t), 0);
			for (size_t at = 0; at < sizes[i]; at++)
				assert_int_equal(blocks[i][at], 0);
			memset(blocks[i], (int)(i % 255) + 1, sizes[i]);
		}
		assert_int_equal(arena_used(arena), sum);
		for (size_t i = 0; i < 300; i++) {
			for (size_t at = 0; at < sizes[i]; at++)
				assert_int_equal(blocks[i][at], i % 255 + 1);
		}
		arena_empty(arena);
		assert_int_equal(arena_used(arena), 0);
	}
	arena_free(&arena);
	assert_null(arena);
	arena_free(&arena);
}

static void an_empty_arena_keeps_one_chunk(void **state)
{
	struct arena *arena = arena_new(4096);

	(void)state;
	arena_take(arena, 100);
	for (int i = 0; i < 100; i++)
		arena_take(arena, 3000);
	arena_take(arena, 100000);
	arena_empty(arena);
	void *again = arena_take(arena, 100);
	arena_empty(arena);
	if (!BASE_ADDRESS_SANITIZER)
		assert_ptr_equal(arena_take(arena, 10), again);
	arena_free(&arena);
}

/* A large block must not waste the room in the chunk that is in use. */
static void small_blocks_stay_together(void **state)
{
	struct arena *arena = arena_new(4096);
	char *first = arena_take(arena, 16);

	(void)state;
	arena_take(arena, 100000);
	char *second = arena_take(arena, 16);
	assert_int_equal(second - first, 16);
	arena_free(&arena);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(every_block_is_aligned_zeroed_and_its_own),
		cmocka_unit_test(an_empty_arena_keeps_one_chunk),
		cmocka_unit_test(small_blocks_stay_together),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

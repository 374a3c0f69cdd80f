/* Octets in at the end, out at the start: held against a plain array, and against wasted work. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "base/buf.h"

static void what_goes_in_comes_out(void **state)
{
	static char model[1 << 16];
	size_t from = 0, to = 0;
	struct buf buf = { 0 };
	uint32_t x = 88172645;

	(void)state;
	for (int step = 0; step < 20000; step++) {
		x ^= x << 13, x ^= x >> 17, x ^= x << 5;
		size_t amount = x % 200;
		if (x & 0x100000 && to - from >= amount) {
			buf_consume(&buf, amount);
			from += amount;
		} else if (to + amount < sizeof(model)) {
			for (size_t i = 0; i < amount; i++)
				model[to + i] = (char)(to + i * 7 + x);
			if (x & 0x200000) {
				memcpy(buf_room(&buf, amount), model + to, amount);
				buf_commit(&buf, amount);
			} else {
				buf_add(&buf, (struct text){ .ptr = model + to, .len = amount });
			}
			to += amount;
		} else {
			memmove(model, model + from, to - from);
			to -= from;
			from = 0;
			buf_consume(&buf, to);
			to = 0;
		}
		assert_int_equal(buf_length(&buf), to - from);
		assert_memory_equal(buf_text(&buf).ptr, model + from, to - from);
	}
	buf_release(&buf);
}

static void building_text(void **state)
{
	struct buf buf = { 0 };

	(void)state;
	assert_true(text_equal(buf_text(&buf), TEXT("")));
	assert_non_null(buf_text(&buf).ptr);
	buf_add_char(&buf, 'a');
	buf_add_string(&buf, "bc");
	buf_format(&buf, "%03d", 7);
	buf_add(&buf, (struct text){ 0 });
	assert_true(text_equal(buf_text(&buf), TEXT("abc007")));
	buf_format(&buf, "%*d", 5000, 1);
	assert_int_equal(buf_length(&buf), 5006);
	assert_int_equal(buf_text(&buf).ptr[5005], '1');
	buf_clear(&buf);
	assert_int_equal(buf_length(&buf), 0);
	assert_non_null(buf.block);
	buf_release(&buf);
	assert_null(buf.block);
	buf_release(&buf);
}

/* A queue that is drained as fast as it is filled must not grow with what went through it. */
static void a_queue_keeps_its_size(void **state)
{
	struct buf buf = { 0 };
	char octets[1000] = { 0 };

	(void)state;
	for (int i = 0; i < 20; i++)
		buf_add(&buf, (struct text){ .ptr = octets, .len = sizeof(octets) });
	for (int i = 0; i < 100000; i++) {
		buf_add(&buf, (struct text){ .ptr = octets, .len = sizeof(octets) });
		buf_consume(&buf, sizeof(octets));
	}
	assert_int_equal(buf_length(&buf), 20000);
	assert_true(buf.size <= 128 << 10);
	buf_release(&buf);
}

static void consuming_leaves_the_rest_in_place(void **state)
{
	struct buf buf = { 0 };

	(void)state;
	buf_add_string(&buf, "command rest");
	const char *command = buf_text(&buf).ptr;
	buf_consume(&buf, 8);
	assert_memory_equal(command, "command ", 8);
	assert_ptr_equal(buf_text(&buf).ptr, command + 8);
	buf_release(&buf);
}

static void what_was_secret_is_overwritten(void **state)
{
	struct buf buf = { 0 }, none = { 0 };
	char memory[64] = "a password";

	(void)state;
	text_wipe((struct text){ .ptr = memory + 2, .len = 8 });
	assert_memory_equal(memory, "a \0\0\0\0\0\0\0\0", 11);
	text_wipe(TEXT(""));
	buf_add_string(&buf, "a password");
	buf_wipe(&buf);
	buf_wipe(&none);
	assert_int_equal(buf_length(&buf), 0);
	assert_null(buf.block);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(what_goes_in_comes_out),
		cmocka_unit_test(building_text),
		cmocka_unit_test(a_queue_keeps_its_size),
		cmocka_unit_test(consuming_leaves_the_rest_in_place),
		cmocka_unit_test(what_was_secret_is_overwritten),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

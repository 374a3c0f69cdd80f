#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdio.h>
#include <string.h>

#include "bridge/refused.h"

enum { NOW = 1800000000 };

static struct once_key key(unsigned number)
{
	struct once_key made;

	snprintf(made.string, sizeof(made.string), "bridge/%064u", number);
	return made;
}

static bool has(const struct refused *refused, unsigned number, int64_t now)
{
	const struct once_key wanted = key(number);

	return refused_has(refused, &wanted, now);
}

static void add(struct refused *refused, unsigned number, int64_t now)
{
	const struct once_key added = key(number);

	refused_add(refused, &added, now);
}

static void test_for_a_day(void **state)
{
	static const struct {
		int64_t when, now;
		bool held;
	} cases[] = {
		{ NOW, NOW, true },
		{ NOW, NOW + REFUSED_SECONDS - 1, true },
		{ NOW, NOW + REFUSED_SECONDS, false },
		{ NOW, NOW - 1, false }, /* the clock was set back */
		{ NOW, INT64_MAX, false },
		{ 0, NOW, false },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct refused refused = { 0 };
		struct buf hint = { 0 };
		add(&refused, 1, cases[i].when);
		assert_int_equal(has(&refused, 1, cases[i].now), cases[i].held);
		assert_false(has(&refused, 2, cases[i].now));
		refused_store(&refused, cases[i].now, &hint);
		assert_int_equal(buf_length(&hint) != 0, cases[i].held);
		buf_release(&hint);
	}
}

/* Refused again, it counts from then on, and once. */
static void test_again(void **state)
{
	struct refused refused = { 0 };

	(void)state;
	add(&refused, 1, NOW);
	add(&refused, 1, NOW + 100);
	assert_int_equal(refused.count, 1);
	assert_true(has(&refused, 1, NOW + REFUSED_SECONDS + 99));
}

/* The oldest makes room, also after the list went through a hint. */
static void test_the_oldest_goes(void **state)
{
	struct refused refused = { 0 }, again = { 0 };
	struct buf hint = { 0 };

	(void)state;
	for (unsigned i = 0; i < REFUSED_MOST + 5; i++)
		add(&refused, i, NOW + i);
	assert_false(has(&refused, 4, NOW + 1000));
	assert_true(has(&refused, 5, NOW + 1000));
	refused_store(&refused, NOW + 1000, &hint);
	assert_true(buf_length(&hint) <= REFUSED_OCTETS);
	refused_load(&again, buf_text(&hint));
	assert_int_equal(again.count, REFUSED_MOST);
	add(&again, 1000, NOW + 1000);
	assert_false(has(&again, 5, NOW + 1000));
	assert_true(has(&again, 6, NOW + 1000));
	assert_true(has(&again, REFUSED_MOST + 4, NOW + 1000));
	assert_true(has(&again, 1000, NOW + 1000));
	buf_release(&hint);
}

/* What is no line of this kind is passed by, and nothing behind it is lost. */
static void test_odd_lines(void **state)
{
	static const char *const lines[] = {
		"",
		"refused",
		"refused ",
		"refused short 1800000000",
		"refused bridge/0000000000000000000000000000000000000000000000000000000000000001",
		"refused bridge/0000000000000000000000000000000000000000000000000000000000000001 ",
		"refused bridge/0000000000000000000000000000000000000000000000000000000000000001 "
		"-1",
		"refused bridge/0000000000000000000000000000000000000000000000000000000000000001 "
		"1x",
		"refused bridge/0000000000000000000000000000000000000000000000000000000000000001 "
		"9223372036854775808",
		"refused bridge/00000000000000000000000000000000000000000000000000000000000000010 "
		"1",
		"why it is refused bridge/0",
		"7 12 0 0 0 INBOX",
	};

	(void)state;
	for (size_t i = 0; i < sizeof(lines) / sizeof(lines[0]); i++) {
		struct refused refused = { 0 };
		struct buf hint = { 0 };
		buf_format(&hint, "%s\nrefused %s %d\n", lines[i], key(2).string, NOW);
		refused_load(&refused, buf_text(&hint));
		assert_int_equal(refused.count, 1);
		assert_true(has(&refused, 2, NOW));
		buf_release(&hint);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_for_a_day),
		cmocka_unit_test(test_again),
		cmocka_unit_test(test_the_oldest_goes),
		cmocka_unit_test(test_odd_lines),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

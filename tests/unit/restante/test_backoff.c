/* Pauses between the starts of a role that keeps dying. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "restante/backoff.h"

static void test_doubles_to_the_most(void **state)
{
	static const uint32_t pauses[] = { 0, 100, 200, 400, 800, 1600, 3200, 6400, 10000, 10000 };
	struct backoff backoff = { 0 };

	(void)state;
	for (size_t i = 0; i < sizeof(pauses) / sizeof(pauses[0]); i++)
		assert_int_equal(backoff_next(&backoff, 9999), pauses[i]);
	assert_int_equal(backoff.deaths, sizeof(pauses) / sizeof(pauses[0]));
}

static void test_health_is_forgiveness(void **state)
{
	struct backoff backoff = { 0 };

	(void)state;
	for (int i = 0; i < 20; i++)
		backoff_next(&backoff, 0);
	assert_int_equal(backoff_next(&backoff, BACKOFF_HEALTH), 0);
	assert_int_equal(backoff.deaths, 1);
	assert_int_equal(backoff_next(&backoff, 5), BACKOFF_FIRST);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_doubles_to_the_most),
		cmocka_unit_test(test_health_is_forgiveness),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

/* The clock of the limits: which delays grow how, and when a sender is too slow. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "base/role.h"
#include "smtp-in/guard.h"
#include "smtp-in/settings.h"

static void delays_double_up_to_the_most(void **state)
{
	static const struct {
		uint64_t nth, first, most;
		unsigned delay;
	} cases[] = {
		{ 1, 1000, 30000, 1000 },
		{ 2, 1000, 30000, 2000 },
		{ 5, 1000, 30000, 16000 },
		{ 6, 1000, 30000, 30000 },
		{ UINT64_MAX, 1000, 30000, 30000 },
		{ UINT64_MAX, 0, 30000, 0 },
		{ 3, 0, 0, 0 },
		{ 3, 1000, 0, 0 },
		{ 0, 1000, 30000, 1000 }, /* nothing is counted: it does not grow */
		{ 1, 50000, 30000, 30000 },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++)
		assert_int_equal(guard_growing_delay(cases[i].nth, cases[i].first, cases[i].most),
			cases[i].delay);
}

static void a_sender_is_slow_on_average_and_not_at_once(void **state)
{
	const struct smtp_in_settings settings = { .minimum_rate = 50, .minimum_rate_after = 120 };
	struct role_context context = { .settings = &settings };
	const struct guard guard = { .context = &context };
	static const struct {
		uint64_t octets;
		int64_t milliseconds;
		bool slow;
	} cases[] = {
		{ 0, 0, false },
		{ 0, 119999, false },
		{ 0, 120000, true },
		{ 5999, 120000, true },
		{ 6000, 120000, false },
		{ 6000, 121000, true },
		{ UINT64_C(1) << 40, INT64_C(1) << 40, false },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++)
		assert_int_equal(guard_is_slow(&guard, cases[i].octets, cases[i].milliseconds),
			cases[i].slow);
}

static void a_sender_is_in_the_way_earlier_than_it_is_slow(void **state)
{
	const struct smtp_in_settings settings = { .minimum_rate = 50,
		.minimum_rate_after = 120,
		.minimum_rate_pressed = 1024,
		.hand_over_hold_seconds = 10 };
	struct role_context context = { .settings = &settings };
	const struct guard guard = { .context = &context };

	(void)state;
	assert_false(guard_is_in_the_way(&guard, 0, 9999));
	assert_true(guard_is_in_the_way(&guard, 10239, 10000));
	assert_false(guard_is_in_the_way(&guard, 10240, 10000));
	assert_false(guard_is_slow(&guard, 0, 10000));
}

static void no_rate_is_no_limit(void **state)
{
	const struct smtp_in_settings settings = { .minimum_rate = 0,
		.minimum_rate_after = 1,
		.minimum_rate_pressed = 0,
		.hand_over_hold_seconds = 1 };
	struct role_context context = { .settings = &settings };
	const struct guard guard = { .context = &context };

	(void)state;
	assert_false(guard_is_slow(&guard, 0, INT64_MAX / 2));
	assert_false(guard_is_in_the_way(&guard, 0, INT64_MAX / 2));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(delays_double_up_to_the_most),
		cmocka_unit_test(a_sender_is_slow_on_average_and_not_at_once),
		cmocka_unit_test(a_sender_is_in_the_way_earlier_than_it_is_slow),
		cmocka_unit_test(no_rate_is_no_limit),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

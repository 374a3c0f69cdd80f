/* UIDs as words for the log. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <string.h>

#include "pop3d/uids.h"

static void runs_are_joined(void **state)
{
	static const struct {
		uint32_t uids[8];
		const char *text;
	} cases[] = {
		{ { 0 }, "" },
		{ { 1 }, "1" },
		{ { 1, 2 }, "1-2" },
		{ { 1, 3 }, "1,3" },
		{ { 1, 2, 3, 7, 9, 10 }, "1-3,7,9-10" },
		{ { 3, 2, 1 }, "3,2,1" },
		{ { 5, 5 }, "5,5" },
		{ { 4294967294, 4294967295 }, "4294967294-4294967295" },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct uids uids = { 0 };

		for (size_t j = 0; cases[i].uids[j]; j++)
			uids_add(&uids, cases[i].uids[j]);
		assert_true(text_equal(uids_text(&uids), text_of(cases[i].text)));
	}
}

static void what_does_not_fit_is_left_off(void **state)
{
	struct uids uids = { 0 };

	(void)state;
	for (uint32_t uid = 1; uid < 100000; uid += 2)
		uids_add(&uids, uid * 30000);
	const struct text text = uids_text(&uids);
	assert_in_range(text.len, UIDS_TEXT / 2, UIDS_TEXT);
	assert_memory_equal(text.ptr + text.len - 5, "0,...", 5);
	assert_true(text_begins(text, TEXT("30000,90000,")));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(runs_are_joined),
		cmocka_unit_test(what_does_not_fit_is_left_off),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

/* What reaches an admin's terminal. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "restante/terminal.h"

static void test_only_characters(void **state)
{
	static const struct {
		struct text in;
		const char *one, *lines;
	} cases[] = {
		{ { "plain", 5 }, "plain", "plain" },
		{ { "", 0 }, "", "" },
		{ { "a\nb\n", 4 }, "a?b?", "a\nb\n" },
		{ { "\n\nb", 3 }, "??b", "\n\nb" },
		{ { "\x1b[2J\r\0\x7f", 7 }, "?[2J???", "?[2J???" },
		{ { "M\xc3\xbcller \xc3", 9 }, "M\xc3\xbcller ?", "M\xc3\xbcller ?" },
		{ { "\xc2\x9b\x31m \xe2\x80\xa8", 8 }, "??1m ???", "??1m ???" },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct buf one = { 0 }, lines = { 0 };

		terminal_add(&one, cases[i].in);
		terminal_add_lines(&lines, cases[i].in);
		assert_int_equal(buf_length(&one), cases[i].in.len);
		assert_int_equal(buf_length(&lines), cases[i].in.len);
		buf_add_char(&one, '\0');
		buf_add_char(&lines, '\0');
		assert_string_equal(buf_text(&one).ptr, cases[i].one);
		assert_string_equal(buf_text(&lines).ptr, cases[i].lines);
		buf_release(&one);
		buf_release(&lines);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_only_characters),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

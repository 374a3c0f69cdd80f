#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <string.h>

#include "base/buf.h"
#include "bridge/imap_guard.h"

enum { MANY = IMAP_GUARD_LISTS + 1 };

/* before, then so many times again, then after; fine: whole and octet by octet. */
static void test_guard(void **state)
{
	static const struct {
		const char *before, *again;
		unsigned times;
		const char *after;
		bool fine;
	} cases[] = {
		{ "", "", 0, "", true },
		{ "* 1 FETCH (UID 1 FLAGS ())\r\n", "", 0, "1 OK\r\n", true },
		{ "* 1 FETCH ", "(", IMAP_GUARD_LISTS, "\r\n", true },
		{ "* 1 FETCH ", "(", MANY, "\r\n", false },
		{ "* 1 FETCH ", "(\")\"", MANY, "\r\n", false },
		/* Each response by itself. */
		{ "", "* 1 FETCH (UID 1 FLAGS (a))\r\n", MANY, "", true },
		{ "", "* LIST () \"/\" a\n", MANY, "", true },
		/* A message may hold what it likes. */
		{ "* 1 FETCH (UID 1 BODY[] {101}\r\n", "(", 101, ")\r\n", true },
		{ "* 1 FETCH (UID 1 BODY[] {101}\n", "(", 101, ")\r\n", true },
		{ "* 1 FETCH (UID 1 BODY[] {0}\r\n", "(", 101, ")\r\n", false },
		{ "* 1 FETCH (UID 1 BODY[] {1}\r\n", "(", 102, ")\r\n", false },
		{ "* 1 FETCH (UID 1 BODY[] {4}\r\n\r\n\r\n", "(", MANY, ")\r\n", false },
		/* What looks as if it were a literal. */
		{ "* OK {500} of it ", "(", MANY, "\r\n", false },
		{ "* OK {500}\r ", "(", MANY, "\r\n", false },
		{ "* OK {5x00}\r\n", "(", MANY, "\r\n", false },
		{ "* OK {{500\r\n", "(", MANY, "\r\n", false },
		{ "* OK {", "(", MANY, "\r\n", false },
		{ "* OK {1}", "(", MANY, "\r\n", false },
		{ "* OK {99999999999999999999999}\r\n", "(", MANY, "\r\n", false },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct imap_guard whole = { 0 }, pieces = { 0 };
		struct buf octets = { 0 };
		bool fine = true;
		buf_add_string(&octets, cases[i].before);
		for (unsigned k = 0; k < cases[i].times; k++)
			buf_add_string(&octets, cases[i].again);
		buf_add_string(&octets, cases[i].after);
		assert_int_equal(imap_guard_take(&whole, buf_text(&octets)), cases[i].fine);
		for (struct text rest = buf_text(&octets); rest.len; rest = text_from(rest, 1))
			fine = imap_guard_take(&pieces, text_head(rest, 1));
		assert_int_equal(fine, cases[i].fine);
		/* Once it is too much, it stays so. */
		assert_int_equal(imap_guard_take(&whole, TEXT("\r\n")), cases[i].fine);
		buf_release(&octets);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_guard),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

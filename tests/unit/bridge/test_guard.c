#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <string.h>

#include "base/buf.h"
#include "bridge/imap_guard.h"

enum { MANY = IMAP_GUARD_LISTS + 1, MOST = 1000 };

/* before, then so many times again, then after; whole and octet by octet. */
static void test_guard(void **state)
{
	static const struct {
		const char *before, *again;
		unsigned times;
		const char *after;
		enum imap_guard_verdict verdict;
	} cases[] = {
		{ "", "", 0, "", IMAP_GUARD_FINE },
		{ "* 1 FETCH (UID 1 FLAGS ())\r\n", "", 0, "1 OK\r\n", IMAP_GUARD_FINE },
		{ "* 1 FETCH ", "(", IMAP_GUARD_LISTS, "\r\n", IMAP_GUARD_FINE },
		{ "* 1 FETCH ", "(", MANY, "\r\n", IMAP_GUARD_TOO_DEEP },
		{ "* 1 FETCH ", "(\")\"", MANY, "\r\n", IMAP_GUARD_TOO_DEEP },
		/* Each response by itself. */
		{ "", "* 1 FETCH (UID 1 FLAGS (a))\r\n", MANY, "", IMAP_GUARD_FINE },
		{ "", "* LIST () \"/\" a\n", MANY, "", IMAP_GUARD_FINE },
		/* A message may hold what it likes. */
		{ "* 1 FETCH (UID 1 BODY[] {101}\r\n", "(", 101, ")\r\n", IMAP_GUARD_FINE },
		{ "* 1 FETCH (UID 1 BODY[] {101}\n", "(", 101, ")\r\n", IMAP_GUARD_FINE },
		{ "* 1 FETCH (UID 1 BODY[] {0}\r\n", "(", 101, ")\r\n", IMAP_GUARD_TOO_DEEP },
		{ "* 1 FETCH (UID 1 BODY[] {1}\r\n", "(", 102, ")\r\n", IMAP_GUARD_TOO_DEEP },
		{ "* 1 FETCH (UID 1 BODY[] {4}\r\n\r\n\r\n", "(", MANY, ")\r\n",
			IMAP_GUARD_TOO_DEEP },
		/* What looks as if it were a literal. */
		{ "* OK {500} of it ", "(", MANY, "\r\n", IMAP_GUARD_TOO_DEEP },
		{ "* OK {500}\r ", "(", MANY, "\r\n", IMAP_GUARD_TOO_DEEP },
		{ "* OK {5x00}\r\n", "(", MANY, "\r\n", IMAP_GUARD_TOO_DEEP },
		{ "* OK {{500\r\n", "(", MANY, "\r\n", IMAP_GUARD_TOO_DEEP },
		{ "* OK {", "(", MANY, "\r\n", IMAP_GUARD_TOO_DEEP },
		{ "* OK {1}", "(", MANY, "\r\n", IMAP_GUARD_TOO_DEEP },
		{ "* LIST {99999999999999999999999}\r\n", "", 0, "", IMAP_GUARD_TOO_LARGE },
		/* Words are for people, and no literal is in them. */
		{ "* OK {500}\r\n", "(", MANY, "\r\n", IMAP_GUARD_TOO_DEEP },
		{ "* 2 FETCH (UID 1)\r\n * \t oK\t[ALERT] {500}\n", "(", MANY, "\r\n",
			IMAP_GUARD_TOO_DEEP },
		{ "* OK{500}\r\n", "(", MANY, "\r\n", IMAP_GUARD_TOO_DEEP },
		{ "17 NO a {500}\r\n", "(", MANY, "\r\n", IMAP_GUARD_TOO_DEEP },
		{ "17 BAD a {500}\r\n", "(", MANY, "\r\n", IMAP_GUARD_TOO_DEEP },
		{ "* BYE a {500}\r\n", "(", MANY, "\r\n", IMAP_GUARD_TOO_DEEP },
		{ "* PREAUTH {500}\r\n", "(", MANY, "\r\n", IMAP_GUARD_TOO_DEEP },
		{ "+{500}\r\n", "(", MANY, "\r\n", IMAP_GUARD_TOO_DEEP },
		{ " + go on {500}\r\n", "(", MANY, "\r\n", IMAP_GUARD_TOO_DEEP },
		{ "* OK {4294967295}\r\n* 1 FETCH (BODY[] {101}\r\n", "(", 101, ")\r\n",
			IMAP_GUARD_FINE },
		{ "* OK * OK\r\n* LIST OK {101}\r\n", "(", 101, ")\r\n", IMAP_GUARD_FINE },
		{ "OK {101}\r\n", "(", 101, ")\r\n", IMAP_GUARD_FINE },
		{ "* 1 FETCH (BODY[] {1000}\r\n", "", 0, "", IMAP_GUARD_FINE },
		{ "* 1 FETCH (BODY[] {1001}\r\n", "", 0, "", IMAP_GUARD_TOO_LARGE },
		/* Some think of a literal even without a line's end. */
		{ "* 1 FETCH (BODY[] {4294967295}  ", "", 0, "", IMAP_GUARD_TOO_LARGE },
		{ "* 1 FETCH (BODY[] {0}\r\n{4294967295}\r\n", "", 0, "", IMAP_GUARD_TOO_LARGE },
		{ "* 1 FETCH (BODY[] {12}\r\n{4294967295}\r\n", "", 0, "", IMAP_GUARD_FINE },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct imap_guard whole = { 0 }, pieces = { 0 };
		struct buf octets = { 0 };
		enum imap_guard_verdict verdict = IMAP_GUARD_FINE;
		buf_add_string(&octets, cases[i].before);
		for (unsigned k = 0; k < cases[i].times; k++)
			buf_add_string(&octets, cases[i].again);
		buf_add_string(&octets, cases[i].after);
		assert_int_equal(
			imap_guard_take(&whole, buf_text(&octets), MOST), cases[i].verdict);
		for (struct text rest = buf_text(&octets); rest.len; rest = text_from(rest, 1))
			verdict = imap_guard_take(&pieces, text_head(rest, 1), MOST);
		assert_int_equal(verdict, cases[i].verdict);
		/* Once it is too much, it stays so. */
		assert_int_equal(imap_guard_take(&whole, TEXT("\r\n"), MOST), cases[i].verdict);
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

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <string.h>

#include "bridge/folder.h"

/* Modified UTF-7 (RFC 3501 section 5.1.3); NULL: it is none. */
static void test_decode(void **state)
{
	static const struct {
		const char *in, *out;
	} cases[] = {
		{ "INBOX", "INBOX" },
		{ "", "" },
		{ "Gesch&AOQ-ft", "Gesch\u00e4ft" },
		{ "~peter/mail/&U,BTFw-/&ZeVnLIqe-",
			"~peter/mail/\u53f0\u5317/\u65e5\u672c\u8a9e" },
		{ "R&-D", "R&D" },
		{ "&2D3eAA-", "\U0001f600" },
		{ "&2D0-", NULL },       /* half a surrogate pair */
		{ "&3gA-", NULL },       /* the other half alone */
		{ "&AOQ", NULL },        /* no end */
		{ "&A-", NULL },         /* bits of no character */
		{ "&AOR-", NULL },       /* bits left over */
		{ "&AAA-", NULL },       /* NUL */
		{ "&AA0-", NULL },       /* CR */
		{ "&AIU-", NULL },       /* a C1 control */
		{ "&A*Q-", NULL },       /* no base64 */
		{ "&ICg-", NULL },       /* a line separator */
		{ "caf\xc3\xa9", NULL }, /* not ASCII */
		{ "a\tb", NULL },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct buf out = { 0 };
		const int result = folder_decode(text_of(cases[i].in), &out);
		assert_int_equal(result, cases[i].out ? 0 : -1);
		if (cases[i].out)
			assert_true(text_equal(buf_text(&out), text_of(cases[i].out)));
		else
			assert_int_equal(buf_length(&out), 0);
		buf_release(&out);
	}
}

static void test_readable(void **state)
{
	static const struct {
		const char *remote;
		char separator;
		const char *name; /* NULL: cannot be */
	} cases[] = {
		{ "inbox", '.', "INBOX" },
		{ "InBox.Sent", '.', "INBOX/Sent" },
		{ "Inboxes", '.', "Inboxes" },
		{ "a.b.c", '.', "a/b/c" },
		{ "a.b/c", '.', "a/b_c" },
		{ "a/b", '/', "a/b" },
		{ "a/b", 0, "a_b" },
		{ "Gesch&AOQ-ft.Neu", '.', "Gesch\u00e4ft/Neu" },
		{ "caf\xc3\xa9", '/', "caf\u00e9" },
		{ "a.", '.', "a" },
		{ "a..b", '.', NULL },
		{ ".a", '.', NULL },
		{ ".", '.', NULL },
		{ "", '.', NULL },
		{ "a\001b", '.', NULL },
		{ "\xff", '.', NULL },
		{ "\xc2\xa0", '.', "\xc2\xa0" },
		{ "\xc2\x9b", '.', NULL },
		{ "a\xe2\x80\xa8", '.', NULL },
		{ "a\xe2\x80\xa9z", '.', NULL },
		{ "a\xe2\x80\xa7", '.', "a\xe2\x80\xa7" },
		{ "&AC8-", '.', "_" },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		char name[FOLDER_NAME_LIMIT + 1];
		const int result =
			folder_readable(text_of(cases[i].remote), cases[i].separator, name);
		assert_int_equal(result, cases[i].name ? 0 : -1);
		if (cases[i].name)
			assert_string_equal(name, cases[i].name);
	}
}

static void test_too_long(void **state)
{
	char remote[300], name[FOLDER_NAME_LIMIT + 1];

	(void)state;
	memset(remote, 'a', sizeof(remote));
	assert_int_equal(folder_readable((struct text){ remote, 255 }, '/', name), 0);
	assert_int_equal(folder_readable((struct text){ remote, 256 }, '/', name), -1);
}

static void test_wanted_and_mapped(void **state)
{
	char star[] = "*", spam[] = "Spam", old[] = "Spam/Old", work[] = "Work=Arbeit",
	     deep[] = "Work/Deep=Tief";
	char *all[] = { star }, *skipped[] = { spam, old }, *maps[] = { work, deep };
	const struct bridge_account account = {
		.folders = { 1, all }, .skip = { 2, skipped }, .map = { 2, maps }
	};
	static const struct {
		const char *name, *local; /* NULL: not wanted */
	} cases[] = {
		{ "INBOX", "INBOX" },
		{ "Spam", NULL },
		{ "Spam/Old", NULL },
		{ "Spam/New", "Spam/New" },
		{ "Work", "Arbeit" },
		{ "Work/Easy", "Arbeit/Easy" },
		{ "Work/Deep", "Tief" },
		{ "Work/Deep/Er", "Tief/Er" },
		{ "Workshop", "Workshop" },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		char local[FOLDER_NAME_LIMIT + 1];
		assert_int_equal(folder_is_wanted(&account, cases[i].name), !!cases[i].local);
		if (!cases[i].local)
			continue;
		assert_int_equal(folder_local(&account, cases[i].name, local), 0);
		assert_string_equal(local, cases[i].local);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_decode),
		cmocka_unit_test(test_readable),
		cmocka_unit_test(test_too_long),
		cmocka_unit_test(test_wanted_and_mapped),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "restante/dovecot.h"
#include "store/protocol.h"

static void test_uidlists(void **state)
{
	static const struct {
		const char *octets;
		unsigned line; /* of the error; 0: none */
		uint32_t uidvalidity, uidnext;
		size_t count;
		const char *last;
	} cases[] = {
		{ "3 V7 N1\n", 0, 7, 1, 0, NULL },
		{ "3 V7 N9 G0833721b996f026b9313000083ecc375\n1 :a,S=1\n2 W266 S5 :b:2,S\n", 0, 7,
			9, 2, "b" },
		{ "3 N1 V7\n8 :1795321753.M47P50.host,S=14,W=17\n", 0, 7, 9, 1,
			"1795321753.M47P50.host,S=14,W=17" },
		{ "3 V7 N1\n1 :with blanks : and more\n", 0, 7, 2, 1, "with blanks " },
		{ "3 V4278190079 N2147483646\n", 0, 4278190079, 2147483646, 0, NULL },
		{ "", 1, 0, 0, 0, NULL },
		{ "3 V7 N1", 1, 0, 0, 0, NULL },
		{ "1 7 1\n", 1, 0, 0, 0, NULL },
		{ "3\n", 1, 0, 0, 0, NULL },
		{ "3 V7\n", 1, 0, 0, 0, NULL },
		{ "3 V7 N0\n", 1, 0, 0, 0, NULL },
		{ "3 V N1\n", 1, 0, 0, 0, NULL },
		{ "3 V-7 N1\n", 1, 0, 0, 0, NULL },
		{ "3 V4278190080 N1\n", 1, 0, 0, 0, NULL },
		{ "3 V7 N2147483647\n", 1, 0, 0, 0, NULL },
		{ "3 V7 N1\n\n", 2, 0, 0, 0, NULL },
		{ "3 V7 N1\n0 :a\n", 2, 0, 0, 0, NULL },
		{ "3 V7 N1\n1 :a\n1 :b\n", 3, 0, 0, 0, NULL },
		{ "3 V7 N1\n2 :a\n1 :b\n", 3, 0, 0, 0, NULL },
		{ "3 V7 N1\n1 :a\n2147483647 :b\n", 3, 0, 0, 0, NULL },
		{ "3 V7 N1\n1 :a\n99999999999999999999 :b\n", 3, 0, 0, 0, NULL },
		{ "3 V7 N1\n1\n", 2, 0, 0, 0, NULL },
		{ "3 V7 N1\n1 \n", 2, 0, 0, 0, NULL },
		{ "3 V7 N1\n1 a\n", 2, 0, 0, 0, NULL },
		{ "3 V7 N1\n1 S5 W6\n", 2, 0, 0, 0, NULL },
		{ "3 V7 N1\n1 :\n", 2, 0, 0, 0, NULL },
		{ "3 V7 N1\n1 ::2,S\n", 2, 0, 0, 0, NULL },
		{ "3 V7 N1\n1 :../../etc/passwd\n", 2, 0, 0, 0, NULL },
		{ "3 V7 N1\n1 :a\n2 :b", 3, 0, 0, 0, NULL },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct arena *arena = arena_new(256);
		struct dovecot_uidlist list;
		struct dovecot_error error = { 0 };
		const int result =
			dovecot_uidlist_parse(arena, text_of(cases[i].octets), &list, &error);
		assert_int_equal(result, cases[i].line ? -1 : 0);
		assert_int_equal(error.line, cases[i].line);
		if (result == 0) {
			assert_int_equal(list.uidvalidity, cases[i].uidvalidity);
			assert_int_equal(list.uidnext, cases[i].uidnext);
			assert_int_equal(list.count, cases[i].count);
		}
		if (result == 0 && cases[i].last)
			assert_true(
				text_equal(list.uids[list.count - 1].base, text_of(cases[i].last)));
		arena_free(&arena);
	}
}

static void test_keywords(void **state)
{
	static const struct {
		const char *octets;
		unsigned line;
		unsigned index;
		const char *name;
	} cases[] = {
		{ "", 0, 0, "" },
		{ "0 $Forwarded\n1 work\n", 0, 1, "work" },
		{ "25 z\n", 0, 25, "z" },
		{ "26 beyond\n0 a\n", 0, 0, "a" },
		{ "0 a", 1, 0, NULL },
		{ "a\n", 1, 0, NULL },
		{ "0 \n", 1, 0, NULL },
		{ "0 two words\n", 1, 0, NULL },
		{ "0 a\n0 b\n", 2, 0, NULL },
		{ "0 a\n1 \\Seen\n", 2, 0, NULL },
		{ "-1 a\n", 1, 0, NULL },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct text names[DOVECOT_KEYWORDS];
		struct dovecot_error error = { 0 };
		const int result = dovecot_keywords_parse(text_of(cases[i].octets), names, &error);
		assert_int_equal(result, cases[i].line ? -1 : 0);
		assert_int_equal(error.line, cases[i].line);
		if (result == 0)
			assert_true(text_equal(names[cases[i].index], text_of(cases[i].name)));
	}
}

static void test_subscriptions(void **state)
{
	static const struct {
		const char *octets;
		char separator;
		unsigned line;
		const char *folders;
	} cases[] = {
		{ "", '.', 0, "" },
		{ "V\t2\n\nINBOX\nLists\tLinux\nEntw&APw-rfe\n", '.', 0,
			"\n.Lists.Linux\n.Entw&APw-rfe\n" },
		{ "inbox\nLists.Linux\n", '.', 0, "\n.Lists.Linux\n" },
		{ "Lists/Linux 6.1\n", '/', 0, ".Lists.Linux 6&AC4-1\n" },
		{ "V\t2\n\nLists\t\tLinux\n", '.', 3, NULL },
		{ "a..b\n", '.', 1, NULL },
		{ "a.\n", '.', 1, NULL },
		{ ".a\n", '.', 1, NULL },
		{ "../../etc\n", '.', 1, NULL },
		{ "a\nb", '.', 2, NULL },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct buf folders = { 0 };
		struct dovecot_error error = { 0 };
		const int result = dovecot_subscriptions_parse(
			text_of(cases[i].octets), cases[i].separator, &folders, &error);
		assert_int_equal(result, cases[i].line ? -1 : 0);
		assert_int_equal(error.line, cases[i].line);
		if (result == 0)
			assert_true(text_equal(buf_text(&folders), text_of(cases[i].folders)));
		buf_release(&folders);
	}
}

static void test_names(void **state)
{
	static const struct {
		const char *name, *base;
		uint32_t flags, keywords;
	} cases[] = {
		{ "a,S=1", "a,S=1", 0, 0 },
		{ "a:2,", "a", 0, 0 },
		{ "a:2,SRFTDP", "a",
			STORE_FLAG_SEEN | STORE_FLAG_ANSWERED | STORE_FLAG_FLAGGED |
				STORE_FLAG_DELETED | STORE_FLAG_DRAFT | STORE_FLAG_PASSED,
			0 },
		{ "a:2,Sabz", "a", STORE_FLAG_SEEN, 1 | 2 | 1 << 25 },
		{ "a:2,?X9", "a", 0, 0 },
		{ "a:1,S", "a", 0, 0 },
		{ "a:2,S:2,F", "a", STORE_FLAG_SEEN | STORE_FLAG_FLAGGED, 0 },
		{ "", "", 0, 0 },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct dovecot_name name;
		dovecot_name_parse(text_of(cases[i].name), &name);
		assert_true(text_equal(name.base, text_of(cases[i].base)));
		assert_int_equal(name.flags, cases[i].flags);
		assert_int_equal(name.keywords, cases[i].keywords);
	}
}

static void test_compressed(void **state)
{
	(void)state;
	assert_true(dovecot_is_compressed(TEXT("\x1f\x8b\x08")));
	assert_true(dovecot_is_compressed(TEXT("BZh91AY")));
	assert_true(dovecot_is_compressed(TEXT("\x28\xb5\x2f\xfdx")));
	assert_false(dovecot_is_compressed(TEXT("")));
	assert_false(dovecot_is_compressed(TEXT("\x1f")));
	assert_false(dovecot_is_compressed(TEXT("From: somebody\n")));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_uidlists),
		cmocka_unit_test(test_keywords),
		cmocka_unit_test(test_subscriptions),
		cmocka_unit_test(test_names),
		cmocka_unit_test(test_compressed),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

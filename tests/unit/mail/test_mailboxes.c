#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

/* After the headers that it needs. */
#include <cmocka.h>

#include "base/arena.h"
#include "mail/mailboxes.h"

static void test_lists(void **state)
{
	static const struct {
		const char *value, *addresses; /* blanks between; NULL: it cannot be read */
	} cases[] = {
		{ " alice@example.test", "alice@example.test" },
		{ "alice@Example.TEST", "alice@example.test" },
		{ " Alice <alice@example.test>", "alice@example.test" },
		{ " Alice B. <alice@example.test> ", "alice@example.test" },
		{ " \"Alice, <b@c>\" <alice@example.test>", "alice@example.test" },
		{ " \"a\\\"b\" <alice@example.test>", "alice@example.test" },
		{ " =?utf-8?q?=C3=A4?= <alice@example.test>", "alice@example.test" },
		{ " \xc3\xa4 <alice@example.test>", "alice@example.test" },
		{ " alice@example.test (Alice (at home) \\) )", "alice@example.test" },
		{ " (c) Alice (d) <alice@example.test> (e)", "alice@example.test" },
		{ "\r\n Alice\r\n\t<alice@example.test>\r\n", "alice@example.test" },
		{ " a@b.test, B <c@d.test>", "a@b.test c@d.test" },
		{ " \"a b\"@c.test", "\"a b\"@c.test" },
		{ " \"a@b\"@c.test", "\"a@b\"@c.test" },
		{ " alice@[192.0.2.1]", "alice@[192.0.2.1]" },
		{ " \xc3\xa4@\xc3\xb6.test", "\xc3\xa4@\xc3\xb6.test" },
		/* About these programs disagree, or nobody is named. */
		{ "", NULL },
		{ " ", NULL },
		{ " ()", NULL },
		{ " alice", NULL },
		{ " <>", NULL },
		{ " Alice <alice>", NULL },
		{ " Alice <postmaster>", NULL },
		{ " ceo@bank.test <alice@example.test>", NULL },
		{ " <alice@example.test> <ceo@bank.test>", NULL },
		{ " <alice@example.test> ceo@bank.test", NULL },
		{ " Alice alice@example.test", NULL },
		{ " alice@example.test Alice", NULL },
		{ " alice @example.test", NULL },
		{ " alice@ example.test", NULL },
		{ " alice@example.test,", NULL },
		{ ", alice@example.test", NULL },
		{ " a@b.test,, c@d.test", NULL },
		{ " a@b.test; c@d.test", NULL },
		{ " Friends: a@b.test, c@d.test;", NULL },
		{ " undisclosed:;", NULL },
		{ " alice@example.test (open", NULL },
		{ " \"open <alice@example.test>", NULL },
		{ " Alice <alice@example.test", NULL },
		{ " <alice@example.test (comment)>", NULL },
		{ " [x] <alice@example.test>", NULL },
		{ " a\\b <alice@example.test>", NULL },
		{ " a@b.test, c@d.test, e@f.test, g@h.test", NULL }, /* more than asked for */
		{ " ((((((((((((((((((a)))))))))))))))))) a@b.test", NULL },
	};
	struct arena *arena = arena_new(1024);

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct address list[3];
		const int count = mailboxes_parse(arena, text_of(cases[i].value), list, 3);
		char found[400] = "";
		for (int k = 0; k < count; k++) {
			const struct text one = address_print(arena, &list[k]);
			strcat(found, k ? " " : "");
			strncat(found, one.ptr, one.len);
		}
		if (!cases[i].addresses && count >= 0)
			fail_msg("\"%s\" was taken for \"%s\"", cases[i].value, found);
		if (cases[i].addresses && strcmp(cases[i].addresses, found) != 0)
			fail_msg("\"%s\" gave %d \"%s\"", cases[i].value, count, found);
	}
	arena_free(&arena);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_lists),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

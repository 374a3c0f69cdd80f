/* Lines of settings: where an item or one word of its list stands. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "restante/locate.h"

static const char file[] = "# listen = nowhere\n"                   /* 1 */
			   "domains = { \"a.example\",\n"           /* 2 */
			   "	b.example }\n"                      /* 3 */
			   "smtp-in { listen = { \"*:25\",\n"       /* 4 */
			   "  /* \"*:26\"\n"                        /* 5 */
			   "  */ '*:26' // \"*:27\"\n"              /* 6 */
			   "  , *:28 } }\n"                         /* 7 */
			   "pop3d {\n"                              /* 8 */
			   "  greeting = \"listen = { } \\\" }\"\n" /* 9 */
			   "  listen = *:110\n"                     /* 10 */
			   "}\n"                                    /* 11 */
			   "state = \"/open quote\n"                /* 12 */
			   "listen-tls = x";                        /* 13 */

static void test_lines(void **state)
{
	static const struct {
		const char *section, *name, *value;
		unsigned line;
	} cases[] = {
		{ NULL, "domains", NULL, 2 },
		{ NULL, "domains", "a.example", 2 },
		{ NULL, "domains", "b.example", 3 },
		{ NULL, "domains", "c.example", 2 },
		{ "smtp-in", "listen", NULL, 4 },
		{ "smtp-in", "listen", "*:26", 6 },
		{ "smtp-in", "listen", "*:28", 7 },
		{ "smtp-in", "listen", "*:27", 4 },
		{ "pop3d", "listen", "*:110", 10 },
		{ "pop3d", "greeting", NULL, 9 },
		{ NULL, "listen", NULL, 0 },
		{ NULL, "state", NULL, 12 },
		{ NULL, "listen-tls", "x", 13 },
		{ "mda", "listen", NULL, 0 },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++)
		assert_int_equal(
			locate_item(text_of(file), cases[i].section, cases[i].name, cases[i].value),
			cases[i].line);
}

static void test_sections(void **state)
{
	static const char sections[] = "bridge-a { x = { y } }\n"
				       "bridge-b = { bridge-c { } }\n"
				       "# bridge-d { }\n"
				       "bridge-e{}\n"
				       "bridge-a { z = 1 }\n"
				       "smtp-in { }\n";
	static const char first[] = "bridge-a { x = { y } }", third[] = "bridge-e{}";
	const struct text all = text_of(sections);
	struct text names[3];
	size_t from, to;

	(void)state;
	assert_int_equal(locate_sections(all, TEXT("bridge-"), names, 3), 2);
	assert_true(text_equal(names[0], TEXT("bridge-a")));
	assert_true(text_equal(names[1], TEXT("bridge-e")));
	names[1] = TEXT("untouched");
	assert_int_equal(locate_sections(all, TEXT("bridge-"), names, 1), 1);
	assert_true(text_equal(names[1], TEXT("untouched")));
	assert_int_equal(locate_sections(all, TEXT("bridge-"), names, 0), 0);
	assert_int_equal(locate_sections(all, TEXT("pop"), names, 3), 0);
	assert_true(locate_section(all, TEXT("bridge-a"), &from, &to));
	assert_true(text_equal(text_from(text_head(all, to), from), text_of(first)));
	assert_true(locate_section(all, TEXT("bridge-e"), &from, &to));
	assert_true(text_equal(text_from(text_head(all, to), from), text_of(third)));
	assert_false(locate_section(all, TEXT("bridge-d"), &from, &to));
}

static void test_ends_anywhere(void **state)
{
	(void)state;
	for (size_t length = 0; length <= sizeof(file) - 1; length++) {
		/* On the heap, so that a step beyond the end is seen. */
		char *part = malloc(length ? length : 1);
		memcpy(part, file, length);
		assert_true(locate_item((struct text){ part, length }, "pop3d", "listen",
				    "*:110") <= 13);
		free(part);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_lines),
		cmocka_unit_test(test_sections),
		cmocka_unit_test(test_ends_anywhere),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

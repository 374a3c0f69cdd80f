#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "pop3d/language.h"

#include <cmocka.h>

/* The next conversion of a format, from '%' to its letter; "" at the end. */
static struct text conversion(const char **format)
{
	const char *begin = strchr(*format, '%');

	if (begin == NULL)
		return TEXT("");
	const size_t length = 1 + strcspn(begin + 1, "diuxsc%") + 1;
	*format = begin + length;
	return (struct text){ .ptr = begin, .len = length };
}

/* A translation with other conversions would read what was not given. */
static void conversions_agree(void **state)
{
	const char *key;

	(void)state;
	for (size_t i = 0; (key = language_key(i)) != NULL; i++) {
		const char *english = key, *german = language_text(LANGUAGE_GERMAN, key);

		assert_string_not_equal(english, german);
		assert_string_equal(language_text(LANGUAGE_ENGLISH, key), key);
		assert_string_equal(language_text(LANGUAGE_DEFAULT, key), key);
		assert_null(strpbrk(german, "\r\n"));
		for (struct text want; (want = conversion(&english)).len > 0;)
			assert_true(text_equal(want, conversion(&german)));
		assert_int_equal(conversion(&german).len, 0);
		for (size_t k = i + 1; language_key(k) != NULL; k++)
			assert_string_not_equal(key, language_key(k));
	}
}

static void ranges(void **state)
{
	static const struct {
		const char *range;
		int found;
		enum language language;
	} cases[] = { { "de", 0, LANGUAGE_GERMAN }, { "DE", 0, LANGUAGE_GERMAN },
		{ "de-AT-1996", 0, LANGUAGE_GERMAN }, { "en-GB", 0, LANGUAGE_ENGLISH },
		{ "*", 0, LANGUAGE_DEFAULT }, { "i-default", 0, LANGUAGE_DEFAULT }, { "fr", -1, 0 },
		{ "deu", -1, 0 }, { "", -1, 0 }, { "-", -1, 0 }, { "i", -1, 0 } };

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		enum language language = LANGUAGES;

		assert_int_equal(language_find(text_of(cases[i].range), &language), cases[i].found);
		if (cases[i].found == 0)
			assert_int_equal(language, cases[i].language);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(conversions_agree),
		cmocka_unit_test(ranges),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

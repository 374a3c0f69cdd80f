/* Texts that end where their length says, and nowhere else. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/arena.h"
#include "base/text.h"

/* Without a NUL after it, and with more behind: what must not be looked at. */
static struct text part_of(const char *all, size_t from, size_t len)
{
	return (struct text){ .ptr = all + from, .len = len };
}

static const struct text nothing = { .ptr = NULL, .len = 0 };

static void comparing(void **state)
{
	static const struct {
		struct text a, b;
		int order;
		bool equal_nocase;
	} cases[] = {
		{ { "", 0 }, { "", 0 }, 0, true }, { { NULL, 0 }, { "", 0 }, 0, true },
		{ { "a", 1 }, { "", 0 }, 1, false }, { { "abc", 3 }, { "abd", 3 }, -1, false },
		{ { "abc", 3 }, { "ab", 2 }, 1, false },
		{ { "ab\0c", 4 }, { "ab\0d", 4 }, -1, false },
		{ { "Postmaster", 10 }, { "pOSTMASTER", 10 }, -1, true },
		{ { "[", 1 }, { "{", 1 }, -1, false }, /* apart by the bit that letters differ in */
		{ { "\xc4", 1 }, { "\xe4", 1 }, -1, false },
		{ { "\xff", 1 }, { "a", 1 }, 1, false }, /* octets are not signed */
	};

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		const struct text a = cases[i].a, b = cases[i].b;
		const int order = text_compare(a, b), reverse = text_compare(b, a);
		assert_int_equal((order > 0) - (order < 0), cases[i].order);
		assert_int_equal((reverse > 0) - (reverse < 0), -cases[i].order);
		assert_int_equal(text_equal(a, b), cases[i].order == 0);
		assert_int_equal(text_equal_nocase(a, b), cases[i].equal_nocase);
	}
}

static void beginnings(void **state)
{
	(void)state;
	assert_true(text_begins(TEXT("MAIL FROM:<>"), TEXT("MAIL FROM:")));
	assert_true(text_begins(TEXT("MAIL"), TEXT("MAIL")));
	assert_true(text_begins(TEXT("MAIL"), TEXT("")));
	assert_true(text_begins(nothing, TEXT("")));
	assert_false(text_begins(TEXT("MAI"), TEXT("MAIL")));
	assert_false(text_begins(part_of("MAIL", 0, 3), TEXT("MAIL")));
	assert_false(text_begins(TEXT("mail"), TEXT("MAIL")));
	assert_true(text_begins_nocase(TEXT("mail from"), TEXT("MAIL")));
	assert_false(text_begins_nocase(TEXT("mai"), TEXT("MAIL")));
}

static void finding(void **state)
{
	(void)state;
	assert_int_equal(text_find(TEXT("a.b.c"), '.'), 1);
	assert_int_equal(text_find_last(TEXT("a.b.c"), '.'), 3);
	assert_int_equal(text_find(TEXT("abc"), '.'), -1);
	assert_int_equal(text_find_last(TEXT("abc"), '.'), -1);
	assert_int_equal(text_find(part_of("abc.", 0, 3), '.'), -1);
	assert_int_equal(text_find(TEXT("a\0b"), '\0'), 1);
	assert_int_equal(text_find(nothing, 'a'), -1);
	assert_int_equal(text_find_last(nothing, 'a'), -1);
	assert_true(text_is_ascii(TEXT("a\0\x7f")));
	assert_true(text_is_ascii(nothing));
	assert_true(text_is_ascii(part_of("a\x80", 0, 1)));
	assert_false(text_is_ascii(TEXT("a\x80")));
}

static void cutting(void **state)
{
	(void)state;
	assert_true(text_equal(text_trim(TEXT(" \t a b \t")), TEXT("a b")));
	assert_true(text_equal(text_trim(TEXT(" \t")), TEXT("")));
	assert_true(text_equal(text_trim(TEXT("\ra\n")), TEXT("\ra\n")));
	assert_true(text_equal(text_trim(nothing), TEXT("")));
	assert_true(text_equal(text_from(TEXT("abc"), 1), TEXT("bc")));
	assert_true(text_equal(text_from(TEXT("abc"), 3), TEXT("")));
	assert_true(text_equal(text_from(TEXT("abc"), SIZE_MAX), TEXT("")));
	assert_true(text_equal(text_from(nothing, 4), TEXT("")));
	assert_true(text_equal(text_head(TEXT("abc"), 2), TEXT("ab")));
	assert_true(text_equal(text_head(TEXT("abc"), 4), TEXT("abc")));
}

static void splitting(void **state)
{
	struct text rest = TEXT("a,,b,"), part;

	(void)state;
	assert_true(text_split(&rest, ',', &part));
	assert_true(text_equal(part, TEXT("a")));
	assert_true(text_split(&rest, ',', &part));
	assert_true(text_equal(part, TEXT("")));
	assert_true(text_split(&rest, ',', &part));
	assert_true(text_equal(part, TEXT("b")));
	assert_true(text_split(&rest, ',', &part)); /* behind the last separator */
	assert_true(text_equal(part, TEXT("")));
	assert_false(text_split(&rest, ',', &part));
	assert_false(text_split(&rest, ',', &part));
	rest = TEXT("");
	assert_true(text_split(&rest, ',', &part));
	assert_int_equal(part.len, 0);
	assert_false(text_split(&rest, ',', &part));
}

static void numbers(void **state)
{
	static const struct {
		const char *in;
		uint64_t max;
		int result;
		uint64_t value;
	} cases[] = {
		{ "0", 0, 0, 0 },
		{ "007", 7, 0, 7 },
		{ "8", 7, -1, 0 },
		{ "18446744073709551615", UINT64_MAX, 0, UINT64_MAX },
		{ "18446744073709551616", UINT64_MAX, -1, 0 },
		{ "99999999999999999999999999", UINT64_MAX, -1, 0 },
		{ "", 9, -1, 0 },
		{ "+1", 9, -1, 0 },
		{ "-1", 9, -1, 0 },
		{ " 1", 9, -1, 0 },
		{ "1 ", 9, -1, 0 },
		{ "1x", 99, -1, 0 },
		{ "0x1", 99, -1, 0 },
		{ "1/", 99, -1, 0 }, /* the octets around the digits */
		{ "1:", 99, -1, 0 },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		uint64_t value = 4711;
		assert_int_equal(text_to_number(text_of(cases[i].in), cases[i].max, &value),
			cases[i].result);
		assert_true(value == (cases[i].result == 0 ? cases[i].value : 4711));
	}
	uint64_t value;
	assert_int_equal(text_to_number(part_of("123", 0, 2), 999, &value), 0);
	assert_int_equal(value, 12);
}

static void printing_numbers(void **state)
{
	static const struct {
		uint64_t number;
		const char *digits;
	} cases[] = {
		{ 0, "0" },
		{ 9, "9" },
		{ 10, "10" },
		{ 99, "99" },
		{ 100, "100" },
		{ 1234567, "1234567" },
		{ UINT64_C(9999999999999999999), "9999999999999999999" },
		{ UINT64_C(10000000000000000000), "10000000000000000000" },
		{ 100200300, "100200300" },
		{ UINT64_MAX, "18446744073709551615" },
	};
	char out[TEXT_NUMBER];

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		const size_t length = text_number(cases[i].number, out);
		assert_true(text_equal(
			(struct text){ .ptr = out, .len = length }, text_of(cases[i].digits)));
	}
}

static void into_the_arena(void **state)
{
	struct arena *arena = arena_new(64);

	(void)state;
	assert_string_equal(text_string(arena, part_of("abcdef", 1, 3)), "bcd");
	assert_string_equal(text_string(arena, nothing), "");
	assert_null(text_string(arena, TEXT("a\0b")));
	struct text copy = text_copy(arena, TEXT("a\0b"));
	assert_true(text_equal(copy, TEXT("a\0b")));
	assert_int_equal(copy.ptr[3], '\0');
	assert_true(text_equal(text_format(arena, "%d-%.*s", 42, TEXT_ARG(copy)), TEXT("42-a")));
	assert_int_equal(text_format(arena, "%5000d", 1).len, 5000);
	assert_int_equal(text_of(NULL).len, 0);
	assert_non_null(text_of(NULL).ptr);
	arena_free(&arena);
	assert_null(arena);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(comparing),
		cmocka_unit_test(beginnings),
		cmocka_unit_test(finding),
		cmocka_unit_test(cutting),
		cmocka_unit_test(splitting),
		cmocka_unit_test(numbers),
		cmocka_unit_test(printing_numbers),
		cmocka_unit_test(into_the_arena),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

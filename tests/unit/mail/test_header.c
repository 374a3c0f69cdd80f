#include "tests/unit/mail/check.h"

#include "base/arena.h"
#include "base/buf.h"
#include "mail/header.h"

/* said: each field as "name=value;", then "end" or "bad", then '|' and what is left. */
static const struct {
	struct text in;
	struct text said;
} next_cases[] = {
	{ T(""), T("end|") },
	{ T("\n"), T("end|") },
	{ T("\r\n"), T("end|") },
	{ T("\nbody\n"), T("end|body\n") },
	{ T("\r\nbody\r\n"), T("end|body\r\n") },
	{ T("\n\nbody"), T("end|\nbody") },
	{ T("A: b\n\nbody\n"), T("A= b;end|body\n") },
	{ T("A: b\r\n\r\nbody\r\n"), T("A= b;end|body\r\n") },
	{ T("A: b\r\n\nbody"), T("A= b;end|body") },
	{ T("A: b\nC: d\n\n"), T("A= b;C= d;end|") },
	{ T("A: b\nA: c\n\n"), T("A= b;A= c;end|") },
	{ T("A:b\n\n"), T("A=b;end|") },
	{ T("A:\n\n"), T("A=;end|") },
	{ T("A: \n\n"), T("A= ;end|") },
	{ T("A: b: c\n\n"), T("A= b: c;end|") },
	{ T("A::\n\n"), T("A=:;end|") },
	{ T("A \t: b\n\n"), T("A= b;end|") },
	{ T("X-!#$%&'*+.^_`|~/()<>@,;\\\"[]?={}: b\n\n"),
		T("X-!#$%&'*+.^_`|~/()<>@,;\\\"[]?={}= b;end|") },
	{ T("A: \xff\0\r\x01\n\n"), T("A= \xff\0\r\x01;end|") },
	/* no final line end, no blank line */
	{ T("A: b"), T("A= b;end|") },
	{ T("A: b\n"), T("A= b;end|") },
	{ T("A: b\r"), T("A= b\r;end|") },
	{ T("A:"), T("A=;end|") },
	{ T("A: b\n c"), T("A= b\n c;end|") },
	/* folding */
	{ T("A: b\n c\nD: e\n\n"), T("A= b\n c;D= e;end|") },
	{ T("A: b\r\n\tc\r\n d\r\nD: e\r\n\r\n"), T("A= b\r\n\tc\r\n d;D= e;end|") },
	{ T("A:\n b\n\n"), T("A=\n b;end|") },
	{ T("A: b\n \nC: d\n\n"), T("A= b\n ;C= d;end|") },
	{ T("A: b\n \t\r\n c\n\nx"), T("A= b\n \t\r\n c;end|x") },
	{ T("A: b\n c: d\n\n"), T("A= b\n c: d;end|") },
	{ T("A: b\n \n\nbody"), T("A= b\n ;end|body") },
	/* lines that are no fields */
	{ T("body\n"), T("bad|body\n") },
	{ T("body"), T("bad|body") },
	{ T("\r"), T("bad|\r") },
	{ T(" A: b\n"), T("bad| A: b\n") },
	{ T("\tA: b\n"), T("bad|\tA: b\n") },
	{ T(": b\n"), T("bad|: b\n") },
	{ T(" : b\n"), T("bad| : b\n") },
	{ T("A b: c\n"), T("bad|A b: c\n") },
	{ T("From a@b Thu Jan  1 00:00:00 1970\nA: b\n"),
		T("bad|From a@b Thu Jan  1 00:00:00 1970\nA: b\n") },
	{ T("\xc3\xbc: b\n"), T("bad|\xc3\xbc: b\n") },
	{ T("A\0: b\n"), T("bad|A\0: b\n") },
	{ T("A\x7f: b\n"), T("bad|A\x7f: b\n") },
	{ T("A\rB: c\n"), T("bad|A\rB: c\n") },
	{ T("A: b\nbody\n\nC: d\n"), T("A= b;bad|body\n\nC: d\n") },
	{ T("A: b\nbody: \nc"), T("A= b;body= ;bad|c") },
	{ T("\rA: b\n"), T("bad|\rA: b\n") },
};

static void fields_are_read(void **state)
{
	(void)state;
	for (size_t i = 0; i < COUNT(next_cases); i++) {
		struct text rest = next_cases[i].in;
		struct header_field field;
		struct buf said = { 0 };
		const char *at = rest.ptr;
		int result;

		while ((result = header_next(&rest, &field)) == 1) {
			/* Whole fields follow each other without a gap. */
			assert_ptr_equal(field.whole.ptr, at);
			at += field.whole.len;
			assert_ptr_equal(rest.ptr, at);
			buf_add(&said, field.name);
			buf_add_char(&said, '=');
			buf_add(&said, field.value);
			buf_add_char(&said, ';');
		}
		buf_add_string(&said, result == 0 ? "end|" : "bad|");
		buf_add(&said, rest);
		CHECK_TEXT(buf_text(&said), next_cases[i].said, next_cases[i].in);
		buf_release(&said);
	}
}

static void the_header_ends_at_the_first_blank_line(void **state)
{
	static const struct {
		struct text in;
		size_t length;
	} cases[] = {
		{ T(""), 0 },
		{ T("\n"), 1 },
		{ T("\r\n"), 2 },
		{ T("\nA: b\n"), 1 },
		{ T("A: b\n\nbody\n\n"), 6 },
		{ T("A: b\r\n\r\nbody"), 8 },
		{ T("A: b\r\n\nbody"), 7 },
		{ T("A: b\n c\n\nbody"), 9 },
		{ T("A: b\n \n\nbody"), 8 },
		{ T("A: b\n\r\nbody"), 7 },
		{ T("A: b\n\r\r\nbody\n\n"), 14 },
		{ T("A: b\nbroken\nC: d\n\nbody"), 18 },
		{ T("A: b"), 4 },
		{ T("A: b\n"), 5 },
		{ T("A: b\n\r"), 6 },
		{ T("body"), 4 },
	};

	(void)state;
	for (size_t i = 0; i < COUNT(cases); i++)
		CHECK_NUMBER(header_length(cases[i].in), cases[i].length, cases[i].in);
}

static void fields_are_counted(void **state)
{
	const struct text message = TEXT("Received: a\nreceived: b\n RECEIVED: no\nX: y\n"
					 "Received-SPF: no\nRECEIVED : c\nbroken line\n"
					 "Received: d\n\nReceived: body\n");

	(void)state;
	assert_int_equal(header_count(message, TEXT("Received")), 4);
	assert_int_equal(header_count(message, TEXT("x")), 1);
	assert_int_equal(header_count(message, TEXT("Y")), 0);
	assert_int_equal(header_count((struct text){ 0 }, TEXT("Y")), 0);
}

static void hundreds_of_fields_are_walked(void **state)
{
	enum { FIELDS = 5000 };
	struct buf message = { 0 };
	struct arena *arena = arena_new(1024);
	struct text value;

	(void)state;
	for (int i = 0; i < FIELDS; i++)
		buf_format(&message, "X-%d: a%s b%d\r\n", i % 500, i % 3 == 0 ? "\r\n\t" : "", i);
	buf_add_string(&message, "\r\nX-1: body\r\n");
	assert_int_equal(header_count(buf_text(&message), TEXT("X-1")), FIELDS / 500);
	assert_int_equal(header_count(buf_text(&message), TEXT("x-499")), FIELDS / 500);
	assert_true(header_find(arena, buf_text(&message), TEXT("X-498"), &value));
	CHECK_TEXT(value, TEXT("a\t b498"), TEXT("X-498"));
	assert_int_equal(header_length(buf_text(&message)), buf_length(&message) - 11);
	arena_free(&arena);
	buf_release(&message);
}

static void values_are_unfolded(void **state)
{
	static const struct {
		struct text in;
		bool found;
		struct text value;
	} cases[] = {
		{ T("Subject: a\n\n"), true, T("a") },
		{ T("SUBJECT:a\r\n\r\n"), true, T("a") },
		{ T("Subject: \t a b \t\n\n"), true, T("a b") },
		{ T("Subject: a\n b\r\n\tc\n\n"), true, T("a b\tc") },
		{ T("Subject:\n a\n\n"), true, T("a") },
		{ T("Subject:\n \n\n"), true, T("") },
		{ T("Subject:"), true, T("") },
		{ T("Subject: a\rBcc: b\n\n"), true, T("aBcc: b") },
		{ T("Subject: a\nSubject: b\n\n"), true, T("a") },
		{ T("broken\nSubject: a\n\n"), true, T("a") },
		{ T("X: y\n\nSubject: a\n"), false, T("") },
		{ T("Subject : a\n"), true, T("a") },
		{ T("Subjects: a\n"), false, T("") },
		{ T(""), false, T("") },
	};
	struct arena *arena = arena_new(1024);

	(void)state;
	for (size_t i = 0; i < COUNT(cases); i++) {
		struct text value = TEXT("");

		CHECK_NUMBER(header_find(arena, cases[i].in, TEXT("Subject"), &value),
			cases[i].found, cases[i].in);
		CHECK_TEXT(value, cases[i].value, cases[i].in);
	}
	arena_free(&arena);
}

static void monstrous_values_are_cut(void **state)
{
	struct arena *arena = arena_new(1024);
	struct buf message = { 0 };
	struct text value;

	(void)state;
	buf_add_string(&message, "X:");
	for (int i = 0; i < 2 * HEADER_VALUE_LIMIT; i++)
		buf_add_char(&message, 'y');
	assert_true(header_find(arena, buf_text(&message), TEXT("X"), &value));
	assert_int_equal(value.len, HEADER_VALUE_LIMIT);
	assert_true(arena_used(arena) < HEADER_VALUE_LIMIT + 100);
	buf_release(&message);
	arena_free(&arena);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(fields_are_read),
		cmocka_unit_test(the_header_ends_at_the_first_blank_line),
		cmocka_unit_test(fields_are_counted),
		cmocka_unit_test(hundreds_of_fields_are_walked),
		cmocka_unit_test(values_are_unfolded),
		cmocka_unit_test(monstrous_values_are_cut),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

/* The header of a submission: what is added, what is left out, whatever the pieces it comes in. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* After the headers that it needs. */
#include <cmocka.h>

#include "base/arena.h"
#include "smtp-in/submission.h"

#define FROM "From: <alice@example.test>\r\n"
#define DATE "Date: Sun, 22 Nov 2026 01:02:03 +0000\r\n"
#define ID "Message-ID: <id@mx.example.test>\r\n"
#define ALL "From: a@b.test\r\nDate: x\r\nMessage-ID: <x>\r\n"

static struct submission *begin(bool dot_ends)
{
	return submission_new(&(struct submission_options){
		.dot_ends = dot_ends,
		.sender = TEXT("alice@example.test"),
		.id = TEXT("id"),
		.host = TEXT("mx.example.test"),
		.when = 1795309323,
	});
}

/* In pieces of so many octets. The octets behind the header are added as they are. */
static void filter(struct submission *submission, struct text in, size_t piece, struct buf *out)
{
	while (in.len && !submission_is_over(submission)) {
		const struct text part = text_head(in, piece);
		const size_t taken = submission_take(submission, part, out);
		assert_true(taken == part.len || submission_is_over(submission));
		in = text_from(in, taken);
	}
	submission_finish(submission, out);
	buf_add(out, in);
}

static void test_headers(void **state)
{
	static const struct {
		const char *in, *out;
		bool bdat;
	} cases[] = {
		/* Complete, and nothing of it. */
		{ ALL "\r\nbody\r\n.\r\n", ALL "\r\nbody\r\n.\r\n", false },
		{ "\r\nbody\r\n.\r\n", FROM DATE ID "\r\nbody\r\n.\r\n", false },
		{ "Subject: x\r\n\r\n.\r\n", "Subject: x\r\n" FROM DATE ID "\r\n.\r\n", false },
		{ "from : a@b.test\r\nDATE: x\r\nmessage-id: <x>\r\n\r\n",
			"from : a@b.test\r\nDATE: x\r\nmessage-id: <x>\r\n\r\n", false },
		/* Without a body, or anything. */
		{ "Subject: x\r\n.\r\n", "Subject: x\r\n" FROM DATE ID ".\r\n", false },
		{ ".\r\n", FROM DATE ID ".\r\n", false },
		{ ALL, ALL, true },
		{ "", FROM DATE ID, true },
		{ ALL "X: y", ALL "X: y\r\n", true },
		{ ALL "Bcc: y", ALL, true },
		{ ALL "word", ALL "\r\nword", true },
		{ ALL ".\r\nx", ALL "\r\n.\r\nx", true },
		/* Bcc, with all that belongs to it. */
		{ ALL "Bcc: a@b.test,\r\n\tc@d.test\r\n e\r\nX: y\r\n\r\nBcc: z\r\n",
			ALL "X: y\r\n\r\nBcc: z\r\n", false },
		{ "bcc: a@b.test\r\n" ALL "resent-BCC : x\r\n\r\n", ALL "\r\n", false },
		{ ALL "Bccx: y\r\nXBcc: y\r\n\r\n", ALL "Bccx: y\r\nXBcc: y\r\n\r\n", false },
		{ ALL "Bcc:\r\n\r\n", ALL "\r\n", false },
		{ ALL "X: Bcc: y\r\n Bcc: z\r\n\r\n", ALL "X: Bcc: y\r\n Bcc: z\r\n\r\n", false },
		/* What is no field ends the header. */
		{ ALL "no field\r\nBcc: x\r\n\r\n", ALL "\r\nno field\r\nBcc: x\r\n\r\n", false },
		{ ALL "b c: x\r\n\r\n", ALL "\r\nb c: x\r\n\r\n", false },
		{ ALL ": x\r\n\r\n", ALL "\r\n: x\r\n\r\n", false },
		{ ALL "..\r\n\r\n", ALL "\r\n..\r\n\r\n", false },
		{ " X: y\r\n\r\n", FROM DATE ID "\r\n X: y\r\n\r\n", false },
		/* Stuffed dots are none of a field's name, of what a line goes on with, or of the end. */
		{ ALL ".Bcc: x\r\n y\r\n.\tz\r\n.X: y\r\n\r\n", ALL ".X: y\r\n\r\n", false },
		{ ALL "X: y\r\n. z: z\r\n.bcc : x\r\n\r\n", ALL "X: y\r\n. z: z\r\n\r\n", false },
		{ ".From: a@b.test\r\n.Date: x\r\n.Message-ID: <x>\r\n\r\n",
			".From: a@b.test\r\n.Date: x\r\n.Message-ID: <x>\r\n\r\n", false },
		{ ALL "..Bcc: x\r\n\r\n", ALL "..Bcc: x\r\n\r\n", false },
		{ ". X: y\r\n\r\n", FROM DATE ID "\r\n. X: y\r\n\r\n", false },
		{ ".From alice\r\n" ALL "\r\n", ALL "\r\n", false },
		{ ALL ".Bcc: x\r\n. y\r\n\r\n", ALL ".Bcc: x\r\n\r\n. y\r\n\r\n", true },
		/* A mailbox file's line before the first field, and only there. */
		{ "From alice Sun Nov 22 01:02:03 2026\r\n" ALL "\r\n", ALL "\r\n", false },
		{ ">From alice\r\n" ALL "\r\n", ALL "\r\n", false },
		{ ALL "From alice\r\n\r\n", ALL "\r\nFrom alice\r\n\r\n", false },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		for (size_t piece = 1; piece < 100; piece++) {
			struct submission *submission = begin(!cases[i].bdat);
			struct buf out = { 0 };
			filter(submission, text_of(cases[i].in), piece, &out);
			if (!text_equal(buf_text(&out), text_of(cases[i].out)))
				fail_msg("case %zu, pieces of %zu: \"%.*s\"", i, piece,
					TEXT_ARG(buf_text(&out)));
			buf_release(&out);
			submission_free(&submission);
		}
	}
}

static void test_the_terminator_is_the_end(void **state)
{
	static const char in[] = "Subject: x\r\n.\r\nMAIL FROM:<>\r\n";
	struct submission *submission = begin(true);
	struct buf out = { 0 };

	(void)state;
	assert_int_equal(submission_take(submission, text_of(in), &out), 15);
	assert_true(submission_is_over(submission));
	buf_release(&out);
	submission_free(&submission);
}

static void test_long_lines_pass(void **state)
{
	struct submission *submission = begin(true);
	struct buf in = { 0 }, out = { 0 };

	(void)state;
	buf_add_string(&in, ALL "X: ");
	for (int i = 0; i < 100000; i++)
		buf_add_char(&in, 'x');
	buf_add_string(&in, "\r\n\r\n");
	filter(submission, buf_text(&in), 4096, &out);
	assert_true(text_equal(buf_text(&in), buf_text(&out)));
	buf_release(&in);
	buf_release(&out);
	submission_free(&submission);
}

static void test_authors(void **state)
{
	static const struct {
		const char *header;
		int count;
		const char *first;
	} cases[] = {
		{ "Subject: x\r\n\r\n", 0, NULL },
		{ "From: a@b.test\r\n\r\n", 1, "a@b.test" },
		{ "From:\r\n A\r\n <a@b.test>\r\nX: y\r\n\r\n", 1, "a@b.test" },
		{ "FROM: a@b.test, c@d.test\r\n\r\n", 2, "a@b.test" },
		{ "From: a@b.test\r\nFrom: a@b.test\r\n\r\n", -1, NULL },
		{ "From: a@b.test\r\nX: y\r\nfrom: c@d.test\r\n\r\n", -1, NULL },
		{ "From:\r\n\r\n", -1, NULL },
		{ "From: nobody\r\n\r\n", -1, NULL },
		{ ".From: a@b.test,\r\n. c@d.test\r\n\r\n", 2, "a@b.test" },
		{ "From: a@b.test\r\n.From: c@d.test\r\n\r\n", -1, NULL },
		/* In the body it claims nothing. */
		{ "From: a@b.test\r\n\r\nFrom: c@d.test\r\n", 1, "a@b.test" },
		{ "From: a@b.test\r\nno field\r\nFrom: c@d.test\r\n\r\n", 1, "a@b.test" },
	};
	struct arena *arena = arena_new(1024);

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct submission *submission = begin(true);
		struct address list[SUBMISSION_AUTHORS];
		struct buf out = { 0 };
		filter(submission, text_of(cases[i].header), 7, &out);
		assert_int_equal(submission_authors(submission, arena, list), cases[i].count);
		if (cases[i].first)
			assert_true(text_equal(
				address_print(arena, &list[0]), text_of(cases[i].first)));
		buf_release(&out);
		submission_free(&submission);
	}
	arena_free(&arena);
}

static void test_a_monstrous_from(void **state)
{
	struct submission *submission = begin(true);
	struct address list[SUBMISSION_AUTHORS];
	struct arena *arena = arena_new(1024);
	struct buf in = { 0 }, out = { 0 };

	(void)state;
	buf_add_string(&in, "From: (");
	for (int i = 0; i < 20000; i++)
		buf_add_string(&in, "xxxx\r\n ");
	buf_add_string(&in, ") a@b.test\r\n\r\n");
	filter(submission, buf_text(&in), 1000, &out);
	assert_int_equal(submission_authors(submission, arena, list), -1);
	buf_release(&in);
	buf_release(&out);
	arena_free(&arena);
	submission_free(&submission);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_headers),
		cmocka_unit_test(test_the_terminator_is_the_end),
		cmocka_unit_test(test_long_lines_pass),
		cmocka_unit_test(test_authors),
		cmocka_unit_test(test_a_monstrous_from),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

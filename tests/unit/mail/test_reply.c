#include "tests/unit/mail/check.h"

#include "base/buf.h"
#include "mail/reply.h"

static void replies_are_printed(void **state)
{
	static const struct {
		unsigned code;
		unsigned char enhanced[3];
		struct text text;
		const char *printed;
	} cases[] = {
		{ 250, { 2, 1, 5 }, T("fine"), "250 2.1.5 fine\r\n" },
		{ 250, { 0 }, T("mail.example.test"), "250 mail.example.test\r\n" },
		{ 354, { 0 }, T("end with CRLF.CRLF"), "354 end with CRLF.CRLF\r\n" },
		{ 550, { 5, 7, 255 }, T("no"), "550 5.7.255 no\r\n" },
		{ 451, { 4, 10, 100 }, T("later"), "451 4.10.100 later\r\n" },
		{ 250, { 2, 0, 0 }, T(""), "250 2.0.0 \r\n" },
		{ 250, { 0 }, T(""), "250 \r\n" },
		{ 500, { 5, 5, 2 }, T("a\r\n250 b"), "500 5.5.2 a??250 b\r\n" },
		{ 500, { 0 }, T("a\0b\x1b[2Jc\x7f\td"), "500 a?b?[2Jc?\td\r\n" },
		{ 550, { 5, 1, 1 }, T("<\xc3\xbc@b>"), "550 5.1.1 <\xc3\xbc@b>\r\n" },
	};

	(void)state;
	for (size_t i = 0; i < COUNT(cases); i++) {
		struct reply reply = { .code = cases[i].code, .text = cases[i].text };
		struct buf out = { 0 };

		memcpy(reply.enhanced, cases[i].enhanced, 3);
		reply_print(&out, &reply);
		CHECK_TEXT(buf_text(&out), text_of(cases[i].printed), cases[i].text);
		buf_release(&out);
	}
}

static void lines_are_printed(void **state)
{
	struct buf out = { 0 };

	(void)state;
	reply_print_line(&out, 250, false, TEXT("mail.example.test"));
	reply_print_line(&out, 250, false, TEXT("SIZE 100\r\nX"));
	reply_print_line(&out, 250, true, TEXT("HELP"));
	reply_print_line(&out, 211, true, (struct text){ 0 });
	CHECK_TEXT(buf_text(&out),
		TEXT("250-mail.example.test\r\n250-SIZE 100??X\r\n250 HELP\r\n211 \r\n"),
		TEXT("four lines"));
	buf_release(&out);
}

static void long_lines_are_cut(void **state)
{
	char octets[600];
	struct reply reply = REPLY(250, 2, 0, 0, "");

	(void)state;
	for (size_t shift = 0; shift < 3; shift++) {
		struct buf out = { 0 };
		struct text line;

		memset(octets, 'x', shift);
		for (size_t i = shift; i + 3 <= sizeof(octets); i += 3)
			memcpy(octets + i, "\xe2\x82\xac", 3);
		reply.text = (struct text){ .ptr = octets, .len = 597 };
		reply_print(&out, &reply);
		line = buf_text(&out);
		assert_in_range(line.len, REPLY_LINE_LIMIT - 2, REPLY_LINE_LIMIT);
		assert_memory_equal(line.ptr, "250 2.0.0 ", 10);
		/* Whole characters only. */
		assert_int_equal((line.len - 12 - shift) % 3, 0);
		assert_memory_equal(line.ptr + 10, octets, line.len - 12);
		assert_memory_equal(line.ptr + line.len - 2, "\r\n", 2);
		buf_release(&out);
	}
}

/* said, line by line: "more" or "last", then code, enhanced code and text; "bad" ends it. */
static const struct {
	const char *lines[5];
	const char *said;
} read_cases[] = {
	{ { "250 ok" }, "last 250 0.0.0 ok" },
	{ { "250 2.1.5 fine" }, "last 250 2.1.5 fine" },
	{ { "250" }, "last 250 0.0.0 " },
	{ { "250 " }, "last 250 0.0.0 " },
	{ { "250 2.0.0" }, "last 250 2.0.0 " },
	{ { "250 2.0.0 " }, "last 250 2.0.0 " },
	{ { "250  2.0.0 a" }, "last 250 0.0.0  2.0.0 a" },
	{ { "250 2.0.0  a " }, "last 250 2.0.0  a " },
	{ { "550 5.7.255 a" }, "last 550 5.7.255 a" },
	{ { "599 x" }, "last 599 0.0.0 x" },
	{ { "200 x" }, "last 200 0.0.0 x" },
	{ { "220 mail.example.test ESMTP" }, "last 220 0.0.0 mail.example.test ESMTP" },
	{ { "354 go on" }, "last 354 0.0.0 go on" },
	/* several lines */
	{ { "250-a", "250-SIZE 1", "250 HELP" },
		"more 250 0.0.0 a,more 250 0.0.0 SIZE 1,last 250 0.0.0 HELP" },
	{ { "550-5.1.1 no", "550-5.1.1 such", "550 5.1.1 user" },
		"more 550 5.1.1 no,more 550 5.1.1 such,last 550 5.1.1 user" },
	{ { "550-5.1.1 no", "550 such user" }, "more 550 5.1.1 no,last 550 0.0.0 such user" },
	{ { "250-", "250" }, "more 250 0.0.0 ,last 250 0.0.0 " },
	{ { "250 a", "550 b" }, "last 250 0.0.0 a,last 550 0.0.0 b" },
	{ { "250-a", "250 b", "354 c" }, "more 250 0.0.0 a,last 250 0.0.0 b,last 354 0.0.0 c" },
	{ { "250-a", "251 b" }, "more 250 0.0.0 a,bad" },
	{ { "250-a", "550-b" }, "more 250 0.0.0 a,bad" },
	{ { "250-a", "b" }, "more 250 0.0.0 a,bad" },
	{ { "250-a", "" }, "more 250 0.0.0 a,bad" },
	/* what only looks like an enhanced code is text */
	{ { "250 5.1.1 a" }, "last 250 0.0.0 5.1.1 a" },
	{ { "354 3.0.0 a" }, "last 354 0.0.0 3.0.0 a" },
	{ { "354 2.0.0 a" }, "last 354 0.0.0 2.0.0 a" },
	{ { "550 5.7.256 a" }, "last 550 0.0.0 5.7.256 a" },
	{ { "550 5.7.509 a" }, "last 550 0.0.0 5.7.509 a" },
	{ { "550 5.7.99999999999999999999 a" }, "last 550 0.0.0 5.7.99999999999999999999 a" },
	{ { "250 2.1 a" }, "last 250 0.0.0 2.1 a" },
	{ { "250 2.1." }, "last 250 0.0.0 2.1." },
	{ { "250 2..1 a" }, "last 250 0.0.0 2..1 a" },
	{ { "250 2.1.5a" }, "last 250 0.0.0 2.1.5a" },
	{ { "250 2.1.5.6 a" }, "last 250 0.0.0 2.1.5.6 a" },
	{ { "250 2.01.5 a" }, "last 250 0.0.0 2.01.5 a" },
	{ { "250 02.1.5 a" }, "last 250 0.0.0 02.1.5 a" },
	{ { "250 2.1.5-a" }, "last 250 0.0.0 2.1.5-a" },
	{ { "250 2" }, "last 250 0.0.0 2" },
	{ { "250 2.0.10.example.test" }, "last 250 0.0.0 2.0.10.example.test" },
	/* no replies */
	{ { "" }, "bad" },
	{ { "2" }, "bad" },
	{ { "25" }, "bad" },
	{ { "25 a" }, "bad" },
	{ { "2500" }, "bad" },
	{ { "2500 a" }, "bad" },
	{ { "250a" }, "bad" },
	{ { "250\ta" }, "bad" },
	{ { "250_a" }, "bad" },
	{ { " 250 a" }, "bad" },
	{ { "100 a" }, "bad" },
	{ { "199 a" }, "bad" },
	{ { "600 a" }, "bad" },
	{ { "000 a" }, "bad" },
	{ { "-50 a" }, "bad" },
	{ { "2x0 a" }, "bad" },
	{ { "25x a" }, "bad" },
	{ { "+OK" }, "bad" },
	{ { "* OK IMAP4rev1" }, "bad" },
	{ { "HTTP/1.1 400 Bad Request" }, "bad" },
	{ { "SSH-2.0-OpenSSH_9.2" }, "bad" },
	{ { "\xb2\xb5\xb0 a" }, "bad" },
};

static void replies_are_read(void **state)
{
	(void)state;
	for (size_t i = 0; i < COUNT(read_cases); i++) {
		struct reply_reader reader = { 0 };
		struct buf said = { 0 };

		for (size_t k = 0; k < 5 && read_cases[i].lines[k] != NULL; k++) {
			const struct text line = text_of(read_cases[i].lines[k]);
			struct reply reply;
			const int result = reply_read_line(&reader, line, &reply);

			if (k > 0)
				buf_add_char(&said, ',');
			if (result < 0) {
				buf_add_string(&said, "bad");
				break;
			}
			buf_format(&said, "%s %u %u.%u.%u %.*s", result == 0 ? "more" : "last",
				reply.code, reply.enhanced[0], reply.enhanced[1], reply.enhanced[2],
				TEXT_ARG(reply.text));
		}
		CHECK_TEXT(buf_text(&said), text_of(read_cases[i].said),
			text_of(read_cases[i].lines[0]));
		buf_release(&said);
	}
}

static void endless_replies_are_refused(void **state)
{
	struct reply_reader reader = { 0 };
	struct reply reply;

	(void)state;
	for (int i = 0; i < REPLY_LINES_LIMIT - 1; i++)
		assert_int_equal(reply_read_line(&reader, TEXT("250-x"), &reply), 0);
	struct reply_reader again = reader;
	assert_int_equal(reply_read_line(&again, TEXT("250 x"), &reply), 1);
	assert_int_equal(again.lines, 0);
	assert_int_equal(reply_read_line(&reader, TEXT("250-x"), &reply), 0);
	assert_int_equal(reply_read_line(&reader, TEXT("250 x"), &reply), -1);
}

/* A peer's reply is handed on with the same code and the same text. */
static void what_is_read_is_printed_the_same(void **state)
{
	static const char *const lines[] = {
		"250 2.1.5 fine",
		"550 5.7.509 refused",
		"451 later",
		"552 5.3.4 ",
	};

	(void)state;
	for (size_t i = 0; i < COUNT(lines); i++) {
		struct reply_reader reader = { 0 };
		struct buf out = { 0 };
		struct reply reply;

		assert_int_equal(reply_read_line(&reader, text_of(lines[i]), &reply), 1);
		reply_print(&out, &reply);
		CHECK_TEXT(text_head(buf_text(&out), buf_length(&out) - 2), text_of(lines[i]),
			text_of(lines[i]));
		buf_release(&out);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(replies_are_printed),
		cmocka_unit_test(lines_are_printed),
		cmocka_unit_test(long_lines_are_cut),
		cmocka_unit_test(replies_are_read),
		cmocka_unit_test(endless_replies_are_refused),
		cmocka_unit_test(what_is_read_is_printed_the_same),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

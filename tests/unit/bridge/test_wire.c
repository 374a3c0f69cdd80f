#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <string.h>

#include "bridge/pop3_wire.h"
#include "bridge/repair.h"

#define BOTH(literal) \
	{ \
		.ptr = (literal), .len = sizeof(literal) - 1 \
	}

struct octets {
	const char *ptr;
	size_t len;
};

static struct text text(struct octets octets)
{
	return (struct text){ .ptr = octets.ptr, .len = octets.len };
}

/* Whole, and octet by octet. */
static void test_repair(void **state)
{
	static const struct {
		struct octets in, out;
	} cases[] = {
		{ BOTH(""), BOTH(".\r\n") },
		{ BOTH("a\r\nb\r\n"), BOTH("a\r\nb\r\n.\r\n") },
		{ BOTH("a"), BOTH("a\r\n.\r\n") },
		{ BOTH(".\r\n..\r\na.b\r\n"), BOTH("..\r\n...\r\na.b\r\n.\r\n") },
		{ BOTH("a\nb\n"), BOTH("a\r\nb\r\n.\r\n") },
		{ BOTH("a\n.\nb"), BOTH("a\r\n..\r\nb\r\n.\r\n") },
		{ BOTH("a\rb\r"), BOTH("a\r\nb\r\n.\r\n") },
		{ BOTH("a\r.\r\n"), BOTH("a\r\n..\r\n.\r\n") },
		{ BOTH("a\r\r\nb"), BOTH("a\r\n\r\nb\r\n.\r\n") },
		{ BOTH("a\0b\r\n\0"), BOTH("a\x80"
					   "b\r\n\x80\r\n.\r\n") },
		{ BOTH("\r\n\r\n"), BOTH("\r\n\r\n.\r\n") },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		for (size_t piece = 1; piece < 100; piece += 98) {
			struct repair repair = { 0 };
			struct buf out = { 0 };
			for (struct text in = text(cases[i].in); in.len; in = text_from(in, piece))
				repair_add(&repair, text_head(in, piece < in.len ? piece : in.len),
					&out);
			repair_end(&repair, &out);
			assert_true(text_equal(buf_text(&out), text(cases[i].out)));
			buf_release(&out);
		}
	}
}

/* used: octets up to and with the end; 0: there is none. */
static void test_body(void **state)
{
	static const struct {
		struct octets in, out;
		size_t used;
	} cases[] = {
		{ BOTH(".\r\n+OK"), BOTH(""), 3 },
		{ BOTH("a\r\n.\r\n"), BOTH("a\r\n"), 6 },
		{ BOTH("..a\r\n.b\r\n.\r\n"), BOTH(".a\r\nb\r\n"), 12 },
		{ BOTH("a\n.\nb\r\n.\r\n"), BOTH("a\n.\nb\r\n"), 10 },
		{ BOTH("a\n.\r\n.\r\n"), BOTH("a\n.\r\n"), 8 },
		{ BOTH("a\r.\r\nb\r\n.\r\n"), BOTH("a\r.\r\nb\r\n"), 11 },
		{ BOTH(".\r\r\n.\r\n"), BOTH("\r\r\n"), 7 },
		{ BOTH(".\rx\r\n.\r\n"), BOTH("\rx\r\n"), 8 },
		{ BOTH("a\r\n."), BOTH("a\r\n"), 0 },
		{ BOTH("a\0\r\n.\r\n"), BOTH("a\0\r\n"), 7 },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		for (size_t piece = 1; piece < 100; piece += 98) {
			struct pop3_body body = { 0 };
			struct text in = text(cases[i].in);
			struct buf out = { 0 };
			size_t total = 0, used;
			bool ended = false;
			while (in.len && !ended) {
				ended = pop3_body_take(&body,
					text_head(in, piece < in.len ? piece : in.len), &used,
					&out);
				total += used;
				in = text_from(in, used);
			}
			assert_int_equal(ended, cases[i].used != 0);
			if (ended)
				assert_int_equal(total, cases[i].used);
			assert_true(text_equal(buf_text(&out), text(cases[i].out)));
			buf_release(&out);
		}
	}
}

static void test_lines(void **state)
{
	static const struct {
		const char *line;
		int status;
		const char *text;
	} replies[] = {
		{ "+OK", 1, "" },
		{ "+ok ready", 1, "ready" },
		{ "-ERR [AUTH] no", 0, "[AUTH] no" },
		{ "+ cGxlYXNl", 2, "cGxlYXNl" },
		{ "+", 2, "" },
		{ "+OKAY", -1, NULL },
		{ "* OK", -1, NULL },
		{ "", -1, NULL },
	};
	static const struct {
		const char *line;
		uint32_t number; /* 0: at fault */
		const char *rest;
	} numbered[] = {
		{ "1 120", 1, "120" },
		{ "4294967295 x", UINT32_MAX, "x" },
		{ "4294967296 x", 0, NULL },
		{ "0 x", 0, NULL },
		{ "-1 x", 0, NULL },
		{ "1", 0, NULL },
		{ " 1 x", 0, NULL },
		{ "", 0, NULL },
	};
	struct text rest;
	uint32_t number;

	(void)state;
	for (size_t i = 0; i < sizeof(replies) / sizeof(replies[0]); i++) {
		assert_int_equal(pop3_status(text_of(replies[i].line), &rest), replies[i].status);
		if (replies[i].text)
			assert_true(text_equal(rest, text_of(replies[i].text)));
	}
	for (size_t i = 0; i < sizeof(numbered) / sizeof(numbered[0]); i++) {
		const int result = pop3_numbered(text_of(numbered[i].line), &number, &rest);
		assert_int_equal(result, numbered[i].number ? 0 : -1);
		if (result == 0) {
			assert_int_equal(number, numbered[i].number);
			assert_true(text_equal(rest, text_of(numbered[i].rest)));
		}
	}
}

static void test_uidl(void **state)
{
	char longest[POP3_UIDL_LIMIT + 1];

	(void)state;
	memset(longest, 'u', sizeof(longest));
	assert_true(pop3_is_uidl(TEXT("0001a")));
	assert_true(pop3_is_uidl((struct text){ longest, POP3_UIDL_LIMIT }));
	assert_false(pop3_is_uidl((struct text){ longest, POP3_UIDL_LIMIT + 1 }));
	assert_false(pop3_is_uidl(TEXT("")));
	assert_false(pop3_is_uidl(TEXT("a b")));
	assert_false(pop3_is_uidl(TEXT("a\0b")));
	assert_false(pop3_is_uidl(TEXT("\xc3\xa4")));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_repair),
		cmocka_unit_test(test_body),
		cmocka_unit_test(test_lines),
		cmocka_unit_test(test_uidl),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

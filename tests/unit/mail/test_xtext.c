#include "mail/xtext.h"

#include "tests/unit/mail/check.h"

static void xtext_is_decoded(void **state)
{
	static const struct {
		struct text in;
		bool is_xtext;
		struct text out;
	} cases[] = {
		{ T(""), true, T("") },
		{ T("abc"), true, T("abc") },
		{ T("a+2Bb+3Dc"), true, T("a+b=c") },
		{ T("+41+42"), true, T("AB") },
		{ T("+00+0A+FF"), true, T("\0\n\xff") },
		{ T("a+20b"), true, T("a b") },
		{ T("+2B41"), true, T("+41") },
		{ T("!\"#$%&'()*,-./:;<>?@[\\]^_`{|}~"), true,
			T("!\"#$%&'()*,-./:;<>?@[\\]^_`{|}~") },
		{ T("+"), false, T("") },
		{ T("a+"), false, T("") },
		{ T("a+2"), false, T("") },
		{ T("+2b"), false, T("") },
		{ T("+G0"), false, T("") },
		{ T("+0G"), false, T("") },
		{ T("+:0"), false, T("") },
		{ T("++20"), false, T("") },
		{ T("+2\0"), false, T("") },
		{ T("a=b"), false, T("") },
		{ T("a=41"), false, T("") },
		{ T("a 41"), false, T("") },
		{ T("a b"), false, T("") },
		{ T("a\0b"), false, T("") },
		{ T("a\x7f"), false, T("") },
		{ T("\xc3\xbc"), false, T("") },
		{ T("a\r\nb"), false, T("") },
	};

	(void)state;
	for (size_t i = 0; i < COUNT(cases); i++) {
		struct buf out = { 0 };

		buf_add_char(&out, '-');
		CHECK_NUMBER(xtext_decode(cases[i].in, &out), cases[i].is_xtext, cases[i].in);
		buf_consume(&out, 1);
		CHECK_TEXT(buf_text(&out), cases[i].out, cases[i].in);
		buf_release(&out);
	}
}

static void what_is_written_in_full(void **state)
{
	static const struct {
		struct text in, out;
	} cases[] = {
		{ T(""), T("") },
		{ T("rfc822;alice@example.test"), T("rfc822;alice@example.test") },
		{ T("a+b=c d\xff"), T("a+2Bb+3Dc+20d+FF") },
		{ T("!~"), T("!~") },
		{ T("\0\t\r\n\x7f"), T("+00+09+0D+0A+7F") },
		{ T("Entw\xc3\xbcrfe/2026"), T("Entw+C3+BCrfe/2026") },
	};

	(void)state;
	for (size_t i = 0; i < COUNT(cases); i++) {
		struct buf out = { 0 };

		xtext_encode(&out, cases[i].in);
		CHECK_TEXT(buf_text(&out), cases[i].out, cases[i].in);
		buf_release(&out);
	}
}

static void every_octet_comes_back(void **state)
{
	struct buf encoded = { 0 }, decoded = { 0 };
	char octets[256];
	const struct text all = { .ptr = octets, .len = sizeof(octets) };

	(void)state;
	for (size_t i = 0; i < sizeof(octets); i++)
		octets[i] = (char)i;
	xtext_encode(&encoded, all);
	const struct text coded = buf_text(&encoded);
	for (size_t i = 0; i < coded.len; i++)
		assert_in_range(coded.ptr[i], '!', '~');
	assert_true(xtext_decode(coded, &decoded));
	CHECK_TEXT(buf_text(&decoded), all, all);
	buf_release(&encoded);
	buf_release(&decoded);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(xtext_is_decoded),
		cmocka_unit_test(what_is_written_in_full),
		cmocka_unit_test(every_octet_comes_back),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

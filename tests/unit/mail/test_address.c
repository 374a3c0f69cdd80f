#include "tests/unit/mail/check.h"

#include "base/arena.h"
#include "base/buf.h"
#include "base/mem.h"
#include "mail/address.h"
#include "mail/utf8.h"

enum { ASCII, UTF8 };

/* rest: what stands after the path and is left alone. */
struct path_case {
	struct text in;
	bool utf8;
	enum address_fault fault;
	struct text local;
	struct text domain;
	struct text rest;
};

#define GOOD(text, l, d) \
	{ \
		.in = T(text), .fault = ADDRESS_OK, .local = T(l), .domain = T(d), .rest = T("") \
	}
#define REST(text, l, d, r) \
	{ \
		.in = T(text), .fault = ADDRESS_OK, .local = T(l), .domain = T(d), .rest = T(r) \
	}
#define INTERNATIONAL(text, l, d) \
	{ \
		.in = T(text), .utf8 = true, .fault = ADDRESS_OK, .local = T(l), .domain = T(d), \
		.rest = T("") \
	}
#define BAD(text) \
	{ \
		.in = T(text), .fault = ADDRESS_SYNTAX \
	}
#define FAULT(text, mode, what) \
	{ \
		.in = T(text), .utf8 = (mode), .fault = (what) \
	}

#define TEN "0123456789"
#define FIFTY TEN TEN TEN TEN TEN
#define HUNDRED FIFTY FIFTY
#define LABEL63 FIFTY TEN "012"

static const struct path_case path_cases[] = {
	/* the two without a domain */
	GOOD("<>", "", ""),
	GOOD("<postmaster>", "postmaster", ""),
	GOOD("<PostMaster>", "PostMaster", ""),
	GOOD("<\"postmaster\">", "postmaster", ""),
	BAD("<alice>"),
	BAD("<postmaster@>"),
	/* Dot-string and domain */
	GOOD("<a@b>", "a", "b"),
	GOOD("<alice@example.test>", "alice", "example.test"),
	GOOD("<Alice@Example.TEST>", "Alice", "example.test"),
	GOOD("<a.b.c@d.e.f>", "a.b.c", "d.e.f"),
	GOOD("<!#$%&'*+-/=?^_`{|}~@x>", "!#$%&'*+-/=?^_`{|}~", "x"),
	GOOD("</etc/passwd@x>", "/etc/passwd", "x"),
	BAD("<../../etc/passwd@x>"),
	GOOD("<a+tag@x-y.z>", "a+tag", "x-y.z"),
	GOOD("<1@2>", "1", "2"),
	GOOD("<a@1.2.3.4>", "a", "1.2.3.4"),
	GOOD("<a@xn--bcher-kva.test>", "a", "xn--bcher-kva.test"),
	GOOD("<-a-@b>", "-a-", "b"),
	GOOD("<a@b--c>", "a", "b--c"),
	REST("<a@b> SIZE=1", "a", "b", " SIZE=1"),
	REST("<a@b>>", "a", "b", ">"),
	REST("<>x", "", "", "x"),
	BAD(""),
	BAD("<"),
	BAD("a@b"),
	BAD("<a@b"),
	BAD(" <a@b>"),
	BAD("< a@b>"),
	BAD("<a@b >"),
	BAD("<a @b>"),
	BAD("<a@ b>"),
	BAD("<<a@b>>"),
	BAD("< >"),
	BAD("<@>"),
	BAD("<@b>"),
	BAD("<a@>"),
	BAD("<a@@b>"),
	BAD("<a@b@c>"),
	BAD("<a b@c>"),
	BAD("<.a@b>"),
	BAD("<a.@b>"),
	BAD("<a..b@c>"),
	BAD("<.@b>"),
	BAD("<a(comment)@b>"),
	BAD("<a,b@c>"),
	BAD("<a;b@c>"),
	BAD("<a:b@c>"),
	BAD("<a\\b@c>"),
	BAD("<a[b@c>"),
	BAD("<a\tb@c>"),
	BAD("<a\rb@c>"),
	BAD("<a\nb@c>"),
	BAD("<a\0b@c>"),
	BAD("<\0@c>"),
	BAD("<a\x7f@c>"),
	BAD("<Alice <alice@example.test>>"),
	/* domains */
	BAD("<a@.b>"),
	BAD("<a@b.>"),
	BAD("<a@b..c>"),
	BAD("<a@-b>"),
	BAD("<a@b->"),
	BAD("<a@b-.c>"),
	BAD("<a@b.-c>"),
	BAD("<a@b_c>"),
	BAD("<a@b/c>"),
	BAD("<a@b\0c>"),
	BAD("<a@b:25>"),
	BAD("<a@\"b\">"),
	BAD("<a@b%c>"),
	/* Quoted-string: stored as it is meant */
	GOOD("<\"a\"@b>", "a", "b"),
	GOOD("<\"a b\"@c>", "a b", "c"),
	GOOD("<\" \"@c>", " ", "c"),
	GOOD("<\"a@b\"@c>", "a@b", "c"),
	GOOD("<\"a>b\"@c>", "a>b", "c"),
	GOOD("<\"<a>\"@c>", "<a>", "c"),
	GOOD("<\"a\\\"b\"@c>", "a\"b", "c"),
	GOOD("<\"a\\\\b\"@c>", "a\\b", "c"),
	GOOD("<\"\\a\\b\"@c>", "ab", "c"),
	GOOD("<\"\\ \"@c>", " ", "c"),
	GOOD("<\"..\"@c>", "..", "c"),
	GOOD("<\" ~\\ \\~\"@c>", " ~ ~", "c"),
	GOOD("<\"../../etc/passwd\"@c>", "../../etc/passwd", "c"),
	GOOD("<\"(),:;<>@[]\"@c>", "(),:;<>@[]", "c"),
	BAD("<\"\"@c>"),
	BAD("<\"\">"),
	BAD("<\"a@c>"),
	BAD("<\"a\"b@c>"),
	BAD("<a\"b\"@c>"),
	BAD("<\"a\".b@c>"),
	BAD("<\"a\"\"b\"@c>"),
	BAD("<\"a\\\"@c>"),
	BAD("<\"a\\"),
	BAD("<\"a"),
	BAD("<\""),
	BAD("<\"a\tb\"@c>"),
	BAD("<\"a\\\tb\"@c>"),
	BAD("<\"a\nb\"@c>"),
	BAD("<\"a\\\nb\"@c>"),
	BAD("<\"a\\\0b\"@c>"),
	BAD("<\"a\rb\"@c>"),
	BAD("<\"a\0b\"@c>"),
	BAD("<\"a\x7f\"@c>"),
	/* source routes */
	GOOD("<@x:a@b>", "a", "b"),
	GOOD("<@x,@y.z:a@b>", "a", "b"),
	GOOD("<@x:\"a b\"@c>", "a b", "c"),
	BAD("<@x>"),
	BAD("<@x:>"),
	BAD("<@x,:a@b>"),
	BAD("<@x,y:a@b>"),
	BAD("<@x, @y:a@b>"),
	BAD("<@x@y:a@b>"),
	BAD("<@:a@b>"),
	BAD("<@x:@y:a@b>"),
	BAD("<@[192.0.2.1]:a@b>"),
	/* address literals */
	GOOD("<a@[192.0.2.1]>", "a", "[192.0.2.1]"),
	GOOD("<a@[255.255.255.255]>", "a", "[255.255.255.255]"),
	GOOD("<a@[IPv6:2001:DB8::1]>", "a", "[ipv6:2001:db8::1]"),
	GOOD("<a@[ipv6:::]>", "a", "[ipv6:::]"),
	GOOD("<a@[IPv6:::ffff:192.0.2.1]>", "a", "[ipv6:::ffff:192.0.2.1]"),
	GOOD("<a@[IPv6:1:2:3:4:5:6:7:8]>", "a", "[ipv6:1:2:3:4:5:6:7:8]"),
	GOOD("<a@[X-y:z]>", "a", "[x-y:z]"),
	GOOD("<a@[t:!~]>", "a", "[t:!~]"),
	GOOD("<a@[tag:a@b<c>]>", "a", "[tag:a@b<c>]"),
	GOOD("<a@[IPv6:ffff:ffff:ffff:ffff:ffff:ffff:255.255.255.255]>", "a",
		"[ipv6:ffff:ffff:ffff:ffff:ffff:ffff:255.255.255.255]"),
	BAD("<a@[IPv6:ffff:ffff:ffff:ffff:ffff:ffff:255.255.255.2550]>"),
	BAD("<a@[192.168.100.2000]>"),
	BAD("<a@[]>"),
	BAD("<a@[192.0.2.1>"),
	BAD("<a@[192.0.2.1]b>"),
	BAD("<a@192.0.2.1]>"),
	BAD("<a@[192.0.2]>"),
	BAD("<a@[192.0.2.256]>"),
	BAD("<a@[192.0.2.1.1]>"),
	BAD("<a@[192.0.02.1]>"),
	BAD("<a@[192.0.2.1 ]>"),
	BAD("<a@[192.0.2.1\0]>"),
	BAD("<a@[0xc0.0.2.1]>"),
	BAD("<a@[IPv6:]>"),
	BAD("<a@[IPv6:2001:db8:::1]>"),
	BAD("<a@[IPv6:2001:db8::1%eth0]>"),
	BAD("<a@[IPv6:1:2:3:4:5:6:7:8:9]>"),
	BAD("<a@[IPv6:192.0.2.1]>"),
	BAD("<a@[IPv6:::\0]>"),
	BAD("<a@[2001:db8::1 ]>"),
	BAD("<a@[tag:]>"),
	BAD("<a@[:x]>"),
	BAD("<a@[tag-:x]>"),
	BAD("<a@[t_g:x]>"),
	BAD("<a@[tag:a b]>"),
	BAD("<a@[tag:a\\b]>"),
	BAD("<a@[tag:[]>"),
	BAD("<a@[tag:a\0b]>"),
	BAD("<a@[192.0.2.1].b>"),
	BAD("<[192.0.2.1]>"),
	/* beyond ASCII */
	FAULT("<b\xc3\xbc"
	      "cher@x>",
		ASCII, ADDRESS_8BIT),
	FAULT("<\"b\xc3\xbc"
	      "cher\"@x>",
		ASCII, ADDRESS_8BIT),
	FAULT("<a@b\xc3\xbc"
	      "cher>",
		ASCII, ADDRESS_8BIT),
	FAULT("<\xff@x>", ASCII, ADDRESS_8BIT),
	FAULT("<@\xc3\xbc:a@x>", ASCII, ADDRESS_8BIT),
	INTERNATIONAL("<a@b>", "a", "b"),
	INTERNATIONAL("<b\xc3\xbc"
		      "cher@B\xc3\x9c.x>",
		"b\xc3\xbc"
		"cher",
		"b\xc3\x9c.x"),
	INTERNATIONAL("<\"b\xc3\xbc cher\"@x>", "b\xc3\xbc cher", "x"),
	INTERNATIONAL("<\xe2\x82\xac@\xe2\x82\xac>", "\xe2\x82\xac", "\xe2\x82\xac"),
	INTERNATIONAL("<\xf0\x9f\x93\xae@x>", "\xf0\x9f\x93\xae", "x"),
	INTERNATIONAL("<\xf4\x8f\xbf\xbf@x>", "\xf4\x8f\xbf\xbf", "x"),
	INTERNATIONAL("<a@\xe4\xbe\x8b.test>", "a", "\xe4\xbe\x8b.test"),
	INTERNATIONAL("<\"\xc3\xbc\"@x>", "\xc3\xbc", "x"),
	INTERNATIONAL("<\"\xc3\xbc\\\"\"@x>", "\xc3\xbc\"", "x"),
	FAULT("<\xc3@x>", UTF8, ADDRESS_SYNTAX),
	FAULT("<\xc3", UTF8, ADDRESS_SYNTAX),
	FAULT("<\xbc@x>", UTF8, ADDRESS_SYNTAX),
	FAULT("<\xc0\xaf@x>", UTF8, ADDRESS_SYNTAX),
	FAULT("<\xe0\x80\xaf@x>", UTF8, ADDRESS_SYNTAX),
	FAULT("<\xf0\x80\x80\xaf@x>", UTF8, ADDRESS_SYNTAX),
	FAULT("<\xed\xa0\x80@x>", UTF8, ADDRESS_SYNTAX),
	FAULT("<\xf4\x90\x80\x80@x>", UTF8, ADDRESS_SYNTAX),
	FAULT("<\xf8\x88\x80\x80\x80@x>", UTF8, ADDRESS_SYNTAX),
	FAULT("<\xc2\x85@x>", UTF8, ADDRESS_SYNTAX),
	FAULT("<\xe2\x80\xa8@x>", UTF8, ADDRESS_SYNTAX),
	FAULT("<\"\xff\"@x>", UTF8, ADDRESS_SYNTAX),
	FAULT("<\"\\\xc3\xbc\"@x>", UTF8, ADDRESS_SYNTAX),
	FAULT("<a@\xff>", UTF8, ADDRESS_SYNTAX),
	FAULT("<a@[tag:\xc3\xbc]>", UTF8, ADDRESS_SYNTAX),
	/* lengths */
	GOOD("<" HUNDRED HUNDRED "@b>", HUNDRED HUNDRED, "b"),
	FAULT("<" HUNDRED HUNDRED "0@b>", ASCII, ADDRESS_LOCAL_TOO_LONG),
	FAULT("<\"" HUNDRED HUNDRED "\"@b>", ASCII, ADDRESS_LOCAL_TOO_LONG),
	GOOD("<a@" LABEL63 "." LABEL63 ">", "a", LABEL63 "." LABEL63),
	FAULT("<a@" LABEL63 "3." LABEL63 ">", ASCII, ADDRESS_DOMAIN_TOO_LONG),
	FAULT("<a@" LABEL63 "." LABEL63 "3>", ASCII, ADDRESS_DOMAIN_TOO_LONG),
	/* 256 octets with the brackets, and one more */
	GOOD("<a@" LABEL63 "." LABEL63 "." LABEL63 "." FIFTY TEN ">", "a",
		LABEL63 "." LABEL63 "." LABEL63 "." FIFTY TEN),
	FAULT("<a@" LABEL63 "." LABEL63 "." LABEL63 "." FIFTY TEN "0>", ASCII,
		ADDRESS_DOMAIN_TOO_LONG),
	FAULT("<a@" LABEL63 "." LABEL63 "." LABEL63 "." LABEL63 "." LABEL63 ">", ASCII,
		ADDRESS_DOMAIN_TOO_LONG),
	FAULT("<" HUNDRED FIFTY "@" HUNDRED FIFTY ">", ASCII, ADDRESS_DOMAIN_TOO_LONG),
	FAULT("<" HUNDRED FIFTY TEN "@" FIFTY "." FIFTY ">", ASCII, ADDRESS_LOCAL_TOO_LONG),
	FAULT("<a@[tag:" HUNDRED HUNDRED FIFTY "]>", ASCII, ADDRESS_DOMAIN_TOO_LONG),
};

/* Into heap memory of just its size, so that the sanitizer sees any octet read beyond it. */
static struct text exact(struct text t)
{
	return (struct text){ .ptr = memcpy(mem_new(t.len + (t.len == 0)), t.ptr, t.len),
		.len = t.len };
}

static void paths_are_read(void **state)
{
	struct arena *arena = arena_new(1024);

	(void)state;
	for (size_t i = 0; i < COUNT(path_cases); i++) {
		const struct path_case *c = &path_cases[i];
		const struct text in = exact(c->in);
		struct address address = { .local = TEXT("untouched") };
		size_t used = SIZE_MAX;

		CHECK_NUMBER(
			address_parse_path(arena, in, c->utf8, &address, &used), c->fault, c->in);
		if (c->fault == ADDRESS_OK) {
			CHECK_TEXT(address.local, c->local, c->in);
			CHECK_TEXT(address.domain, c->domain, c->in);
			CHECK_TEXT(text_from(c->in, used), c->rest, c->in);
		} else {
			CHECK_NUMBER(used, SIZE_MAX, c->in);
			CHECK_TEXT(address.local, TEXT("untouched"), c->in);
		}
		mem_free((void *)in.ptr);
		arena_empty(arena);
	}
	arena_free(&arena);
}

/* Every good path without its brackets is an address, and what is printed is read back the same. */
static void addresses_survive_printing(void **state)
{
	struct arena *arena = arena_new(1024);
	size_t checked = 0;

	(void)state;
	for (size_t i = 0; i < COUNT(path_cases); i++) {
		const struct path_case *c = &path_cases[i];
		struct address first, second;
		struct buf out = { 0 };
		struct text printed;
		size_t used;

		if (c->fault != ADDRESS_OK)
			continue;
		assert_int_equal(address_parse_path(arena, c->in, c->utf8, &first, &used), 0);
		printed = address_print(arena, &first);
		assert_true(printed.len <= ADDRESS_PATH_LIMIT - 2);
		assert_int_equal(printed.ptr[printed.len], '\0');
		address_add(&out, &first);
		CHECK_TEXT(buf_text(&out), printed, c->in);
		buf_release(&out);
		if (c->domain.len == 0) {
			CHECK_NUMBER(address_parse(arena, printed, c->utf8, &second),
				ADDRESS_SYNTAX, c->in);
			continue;
		}
		CHECK_NUMBER(address_parse(arena, printed, c->utf8, &second), ADDRESS_OK, printed);
		CHECK_TEXT(second.local, c->local, printed);
		CHECK_TEXT(second.domain, c->domain, printed);
		checked++;
	}
	assert_true(checked > 30);
	arena_free(&arena);
}

static const struct {
	struct text in;
	enum address_fault fault;
	struct text printed;
	struct text canonical;
} address_cases[] = {
	{ T("a@b"), ADDRESS_OK, T("a@b"), T("a@b") },
	{ T("Alice@Example.Test"), ADDRESS_OK, T("Alice@example.test"), T("alice@example.test") },
	{ T("aLICE.b@c"), ADDRESS_OK, T("aLICE.b@c"), T("alice.b@c") },
	{ T("\"alice\"@b"), ADDRESS_OK, T("alice@b"), T("alice@b") },
	{ T("\"A.b\"@c"), ADDRESS_OK, T("A.b@c"), T("a.b@c") },
	{ T("\"a..b\"@c"), ADDRESS_OK, T("\"a..b\"@c"), T("a..b@c") },
	{ T("\".\"@c"), ADDRESS_OK, T("\".\"@c"), T(".@c") },
	{ T("\"a b\"@c"), ADDRESS_OK, T("\"a b\"@c"), T("a b@c") },
	{ T("\"\\a\\\"\\\\\"@c"), ADDRESS_OK, T("\"a\\\"\\\\\"@c"), T("a\"\\@c") },
	{ T("\"a@b\"@c"), ADDRESS_OK, T("\"a@b\"@c"), T("a@b@c") },
	{ T("a@[192.0.2.1]"), ADDRESS_OK, T("a@[192.0.2.1]"), T("a@[192.0.2.1]") },
	{ T(""), ADDRESS_SYNTAX, T(""), T("") },
	{ T("a"), ADDRESS_SYNTAX, T(""), T("") },
	{ T("postmaster"), ADDRESS_SYNTAX, T(""), T("") },
	{ T("<a@b>"), ADDRESS_SYNTAX, T(""), T("") },
	{ T("a@b "), ADDRESS_SYNTAX, T(""), T("") },
	{ T(" a@b"), ADDRESS_SYNTAX, T(""), T("") },
	{ T("a@b\n"), ADDRESS_SYNTAX, T(""), T("") },
	{ T("a@b\0"), ADDRESS_SYNTAX, T(""), T("") },
	{ T("a@b,c@d"), ADDRESS_SYNTAX, T(""), T("") },
	{ T("@x:a@b"), ADDRESS_SYNTAX, T(""), T("") },
	{ T("\xc3\xbc@b"), ADDRESS_8BIT, T(""), T("") },
	{ T("a@" LABEL63 "." LABEL63 "." LABEL63 "." FIFTY TEN "0"), ADDRESS_DOMAIN_TOO_LONG, T(""),
		T("") },
};

static void addresses_are_read_and_printed(void **state)
{
	struct arena *arena = arena_new(1024);

	(void)state;
	for (size_t i = 0; i < COUNT(address_cases); i++) {
		const struct text in = address_cases[i].in;
		struct address address;

		CHECK_NUMBER(address_parse(arena, in, false, &address), address_cases[i].fault, in);
		if (address_cases[i].fault != ADDRESS_OK)
			continue;
		CHECK_TEXT(address_print(arena, &address), address_cases[i].printed, in);
		CHECK_TEXT(address_canonical(arena, &address), address_cases[i].canonical, in);
	}
	arena_free(&arena);
}

static void short_forms_are_printed(void **state)
{
	struct arena *arena = arena_new(1024);
	const struct address null = { .local = TEXT(""), .domain = TEXT("") };
	const struct address nothing = { .local = { 0 } };
	const struct address postmaster = { .local = TEXT("Postmaster"), .domain = TEXT("") };

	(void)state;
	CHECK_TEXT(address_print(arena, &null), TEXT(""), TEXT("null path"));
	CHECK_TEXT(address_print(arena, &nothing), TEXT(""), TEXT("nothing"));
	CHECK_TEXT(address_canonical(arena, &nothing), TEXT(""), TEXT("nothing"));
	CHECK_TEXT(address_print(arena, &postmaster), TEXT("Postmaster"), TEXT("postmaster"));
	CHECK_TEXT(address_canonical(arena, &postmaster), TEXT("postmaster"), TEXT("postmaster"));
	arena_free(&arena);
}

static void domains_and_literals_are_told_apart(void **state)
{
	static const struct {
		struct text in;
		bool domain, utf8_domain, literal;
	} cases[] = {
		{ T("a"), true, true, false },
		{ T("mail.example.test"), true, true, false },
		{ T("192.0.2.1"), true, true, false },
		{ T("b\xc3\xbc"
		    "cher"),
			false, true, false },
		{ T("b\xc3"), false, false, false },
		{ T(""), false, false, false },
		{ T("."), false, false, false },
		{ T("a."), false, false, false },
		{ T("a b"), false, false, false },
		{ T("a\r\nb"), false, false, false },
		{ T("a\0"), false, false, false },
		{ T("a_b"), false, false, false },
		{ T("[192.0.2.1]"), false, false, true },
		{ T("[IPv6:::1]"), false, false, true },
		{ T("[tag:x]"), false, false, true },
		{ T("[::1]"), false, false, false },
		{ T("["), false, false, false },
		{ T("[]"), false, false, false },
		{ T("[192.0.2.1"), false, false, false },
		{ T("192.0.2.1]"), false, false, false },
		{ T("[192.0.2.1]]"), false, false, false },
		{ T("[tag:\r\n]"), false, false, false },
		/* 255 octets and one more */
		{ T(LABEL63 "." LABEL63 "." LABEL63 "." LABEL63), true, true, false },
		{ T(LABEL63 "." LABEL63 "." LABEL63 "." LABEL63 "."), false, false, false },
		{ T(LABEL63 "." LABEL63 "." LABEL63 "." FIFTY TEN ".a"), true, true, false },
		{ T(LABEL63 "." LABEL63 "." LABEL63 "." FIFTY TEN ".ab"), true, true, false },
		{ T(LABEL63 "." LABEL63 "." LABEL63 "." FIFTY TEN ".abc"), false, false, false },
		{ T("[t:" HUNDRED HUNDRED FIFTY "0]"), false, false, true },
		{ T("[t:" HUNDRED HUNDRED FIFTY "01]"), false, false, false },
	};

	(void)state;
	for (size_t i = 0; i < COUNT(cases); i++) {
		CHECK_NUMBER(address_is_domain(cases[i].in, false), cases[i].domain, cases[i].in);
		CHECK_NUMBER(
			address_is_domain(cases[i].in, true), cases[i].utf8_domain, cases[i].in);
		CHECK_NUMBER(address_is_literal(cases[i].in), cases[i].literal, cases[i].in);
	}
	assert_false(address_is_domain((struct text){ 0 }, true));
	assert_false(address_is_literal((struct text){ 0 }));
}

/* Against the definition: every code point as it is encoded, and every other sequence of its length. */
static void utf8_is_what_the_table_says(void **state)
{
	(void)state;
	for (uint32_t point = 0x80; point < 0x200000; point++) {
		const size_t n = point < 0x800 ? 2 : point < 0x10000 ? 3 : 4;
		const bool good = point <= 0x10ffff && !(point >= 0xd800 && point < 0xe000) &&
				  point >= 0xa0 && point != 0x2028 && point != 0x2029;
		char octets[4];

		for (size_t i = n; i-- > 1;)
			octets[i] = (char)(0x80 | (point >> 6 * (n - 1 - i) & 0x3f));
		octets[0] = (char)((0xf0 << (4 - n) & 0xff) | point >> 6 * (n - 1));
		if (utf8_length((struct text){ .ptr = octets, .len = n }) != (good ? n : 0))
			fail_msg("U+%X", point);
		if (utf8_length((struct text){ .ptr = octets, .len = n - 1 }) != 0)
			fail_msg("U+%X, cut off", point);
		octets[n - 1] &= 0x7f;
		if (utf8_length((struct text){ .ptr = octets, .len = n }) != 0)
			fail_msg("U+%X, broken", point);
	}
	for (int first = 0; first < 0xc2; first++) {
		const char octets[4] = { (char)first, '\x80', '\x80', '\x80' };

		if (utf8_length((struct text){ .ptr = octets, .len = 4 }) != 0)
			fail_msg("begins with %02x", (unsigned)first);
	}
}

static void faults_have_sentences(void **state)
{
	(void)state;
	for (enum address_fault fault = ADDRESS_OK; fault <= ADDRESS_8BIT; fault++) {
		assert_non_null(address_fault_text(fault));
		for (enum address_fault other = ADDRESS_OK; other < fault; other++)
			assert_string_not_equal(
				address_fault_text(fault), address_fault_text(other));
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(paths_are_read),
		cmocka_unit_test(addresses_survive_printing),
		cmocka_unit_test(addresses_are_read_and_printed),
		cmocka_unit_test(short_forms_are_printed),
		cmocka_unit_test(domains_and_literals_are_told_apart),
		cmocka_unit_test(utf8_is_what_the_table_says),
		cmocka_unit_test(faults_have_sentences),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

#include "tests/unit/mail/check.h"

#include "base/arena.h"
#include "base/buf.h"
#include "mail/header.h"
#include "mail/trace.h"

static const struct address recipient = { .local = T("bob"), .domain = T("example.test") };
static const struct address odd_recipient = { .local = T("a (b;\" c"), .domain = T("d") };

/* when: Sun, 22 Nov 2026 01:02:03 +0000 */
#define WHEN 1795309323

static const struct {
	struct trace_received received;
	const char *written;
} received_cases[] = {
	{ { .helo = T("client.example.test"),
		  .peer = T("192.0.2.1"),
		  .by = T("mx.example.test"),
		  .with = T("ESMTP"),
		  .id = T("0123456789abcdefghij"),
		  .when = WHEN },
		"Received: from client.example.test ([192.0.2.1]) by mx.example.test with\n"
		"\tESMTP id 0123456789abcdefghij; Sun, 22 Nov 2026 01:02:03 +0000\n" },
	{ { .helo = T("[192.0.2.1]"),
		  .peer = T("192.0.2.1"),
		  .by = T("mx"),
		  .with = T("ESMTPS"),
		  .tls_version = "TLSv1.3",
		  .tls_cipher = "TLS_AES_256_GCM_SHA384",
		  .id = T("i"),
		  .recipient = &recipient,
		  .when = WHEN },
		"Received: from [192.0.2.1] ([192.0.2.1]) by mx with ESMTPS (TLSv1.3\n"
		"\tTLS_AES_256_GCM_SHA384) id i for <bob@example.test>;\n"
		"\tSun, 22 Nov 2026 01:02:03 +0000\n" },
	{ { .helo = T("a"),
		  .peer = T("2001:db8::1"),
		  .peer_ipv6 = true,
		  .by = T("mx"),
		  .with = T("SMTP"),
		  .tls_version = "TLSv1.2",
		  .id = T("i"),
		  .when = 0 },
		"Received: from a ([IPv6:2001:db8::1]) by mx with SMTP (TLSv1.2) id i;\n"
		"\tThu, 01 Jan 1970 00:00:00 +0000\n" },
	{ { .helo = T("~mx"),
		  .peer = T("local"),
		  .by = T("mx"),
		  .with = T("LMTP"),
		  .id = T("i"),
		  .when = WHEN },
		"Received: from ~mx by mx with LMTP id i; Sun, 22 Nov 2026 01:02:03 +0000\n" },
	{ { .helo = T(""),
		  .peer = T("local"),
		  .by = T("mx"),
		  .with = T("LMTP"),
		  .id = T("i"),
		  .when = WHEN },
		"Received: by mx with LMTP id i; Sun, 22 Nov 2026 01:02:03 +0000\n" },
	{ { .helo = T(""),
		  .peer = T("192.0.2.1"),
		  .by = T("mx"),
		  .with = T("SMTP"),
		  .id = T("i"),
		  .when = WHEN },
		"Received: from unknown ([192.0.2.1]) by mx with SMTP id i;\n"
		"\tSun, 22 Nov 2026 01:02:03 +0000\n" },
	{ { .helo = T("a"),
		  .peer = T("local"),
		  .by = T("mx"),
		  .with = T("LMTP"),
		  .id = T("i"),
		  .recipient = &odd_recipient,
		  .when = WHEN },
		"Received: from a by mx with LMTP id i for <\"a (b;\\\" c\"@d>;\n"
		"\tSun, 22 Nov 2026 01:02:03 +0000\n" },
	/* nothing a client says gets out of its place */
	{ { .helo = T("a\r\nSubject: b"),
		  .peer = T("local"),
		  .by = T("mx"),
		  .with = T("SMTP"),
		  .id = T("i"),
		  .when = WHEN },
		"Received: from a??Subject:?b by mx with SMTP id i;\n"
		"\tSun, 22 Nov 2026 01:02:03 +0000\n" },
	{ { .helo = T("a\n\nb\0c\x7f\x1b\t\xc3\xbc"),
		  .peer = T("local"),
		  .by = T("mx"),
		  .with = T("SMTP"),
		  .id = T("i"),
		  .when = WHEN },
		"Received: from a??b?c????? by mx with SMTP id i;\n"
		"\tSun, 22 Nov 2026 01:02:03 "
		"+0000\n" },
	{ { .helo = T("a (b) \"c\" <d>; e, f\\"),
		  .peer = T("local"),
		  .by = T("mx"),
		  .with = T("SMTP"),
		  .id = T("i"),
		  .when = WHEN },
		"Received: from a??b???c???d???e??f? by mx with SMTP id i;\n"
		"\tSun, 22 Nov 2026 01:02:03 +0000\n" },
	{ { .helo = T("a"),
		  .peer = T("1]) by x\r\n"),
		  .by = T("m\nx"),
		  .with = T("S)\r"),
		  .tls_version = "T)\n",
		  .tls_cipher = "(\r",
		  .id = T("\n;"),
		  .when = WHEN },
		"Received: from a ([1]??by?x??]) by m?x with S?? (T?? ?\?) id ??;\n"
		"\tSun, 22 Nov 2026 01:02:03 +0000\n" },
};

static void received_is_written(void **state)
{
	(void)state;
	for (size_t i = 0; i < COUNT(received_cases); i++) {
		struct buf out = { 0 };

		trace_add_received(&out, &received_cases[i].received, "\n");
		CHECK_TEXT(buf_text(&out), text_of(received_cases[i].written),
			received_cases[i].received.helo);
		buf_release(&out);
	}
}

/* On the wire it is the same with CRLF, and one field to those who read it. */
static void received_is_one_field(void **state)
{
	(void)state;
	for (size_t i = 0; i < COUNT(received_cases); i++) {
		struct buf stored = { 0 }, wire = { 0 };
		struct header_field field;
		struct text rest;
		size_t k = 0;

		trace_add_received(&stored, &received_cases[i].received, "\n");
		trace_add_received(&wire, &received_cases[i].received, "\r\n");
		rest = buf_text(&wire);
		assert_int_equal(header_next(&rest, &field), 1);
		assert_int_equal(rest.len, 0);
		CHECK_TEXT(field.name, TEXT("Received"), buf_text(&wire));
		for (size_t n = 0; n < field.whole.len; n++) {
			if (field.whole.ptr[n] == '\r' && field.whole.ptr[n + 1] == '\n')
				continue;
			assert_int_equal(field.whole.ptr[n], buf_text(&stored).ptr[k++]);
		}
		assert_int_equal(k, buf_length(&stored));
		buf_release(&stored);
		buf_release(&wire);
	}
}

static void long_words_are_folded_and_bounded(void **state)
{
	char octets[2000];
	struct trace_received received = {
		.peer = TEXT("192.0.2.1"),
		.by = TEXT("mx"),
		.with = TEXT("SMTP"),
		.id = TEXT("i"),
		.when = WHEN,
	};

	(void)state;
	memset(octets, 'x', sizeof(octets));
	for (size_t length = 1; length <= sizeof(octets); length++) {
		struct buf out = { 0 };
		struct text rest, line;

		received.helo = (struct text){ .ptr = octets, .len = length };
		trace_add_received(&out, &received, "\n");
		rest = buf_text(&out);
		assert_true(text_begins(rest, TEXT("Received: ")));
		while (text_split(&rest, '\n', &line)) {
			/* Only a line of one word may be long. */
			if (line.len >= 78)
				assert_true(text_find(text_from(line, 1), ' ') < 0);
			assert_true(line.len <= 998);
		}
		buf_release(&out);
	}
}

static void return_path_and_delivered_to_are_written(void **state)
{
	const struct address null = { .local = TEXT(""), .domain = TEXT("") };
	const struct address forged = { .local = TEXT("a\r\nX: y"), .domain = TEXT("b\n\nc") };
	struct buf out = { 0 };

	(void)state;
	trace_add_return_path(&out, &recipient, "\n");
	trace_add_return_path(&out, &null, "\r\n");
	trace_add_return_path(&out, &odd_recipient, "\n");
	trace_add_return_path(&out, &forged, "\n");
	trace_add_delivered_to(&out, TEXT("bob@example.test"), "\n");
	trace_add_delivered_to(&out, TEXT("bob@example.test"), "\r\n");
	trace_add_delivered_to(&out, TEXT("a\nb\0\r\n"), "\n");
	CHECK_TEXT(buf_text(&out),
		TEXT("Return-Path: <bob@example.test>\n"
		     "Return-Path: <>\r\n"
		     "Return-Path: <\"a (b;\\\" c\"@d>\n"
		     "Return-Path: <\"a??X: y\"@b??c>\n"
		     "Delivered-To: bob@example.test\n"
		     "Delivered-To: bob@example.test\r\n"
		     "Delivered-To: a?b???\n"),
		TEXT("one-line fields"));
	buf_release(&out);
}

static void dates_are_in_utc(void **state)
{
	static const struct {
		time_t when;
		const char *date;
	} cases[] = {
		{ 0, "Thu, 01 Jan 1970 00:00:00 +0000" },
		{ 59, "Thu, 01 Jan 1970 00:00:59 +0000" },
		{ 68255999, "Tue, 29 Feb 1972 23:59:59 +0000" },
		{ 951782400, "Tue, 29 Feb 2000 00:00:00 +0000" },
		{ 1000000000, "Sun, 09 Sep 2001 01:46:40 +0000" },
		{ 1234567890, "Fri, 13 Feb 2009 23:31:30 +0000" },
		{ WHEN, "Sun, 22 Nov 2026 01:02:03 +0000" },
		{ 2147483647, "Tue, 19 Jan 2038 03:14:07 +0000" },
		{ 2147483648, "Tue, 19 Jan 2038 03:14:08 +0000" },
		{ 4102444800, "Fri, 01 Jan 2100 00:00:00 +0000" },
		{ 253402300799, "Fri, 31 Dec 9999 23:59:59 +0000" },
		{ 253402300800, "Fri, 31 Dec 9999 23:59:59 +0000" },
		{ INT64_MAX, "Fri, 31 Dec 9999 23:59:59 +0000" },
		{ -1, "Thu, 01 Jan 1970 00:00:00 +0000" },
		{ INT64_MIN, "Thu, 01 Jan 1970 00:00:00 +0000" },
	};

	(void)state;
	for (size_t i = 0; i < COUNT(cases); i++) {
		char date[TRACE_DATE_LENGTH + 1];

		memset(date, 'x', sizeof(date));
		trace_date(cases[i].when, date);
		assert_int_equal(strlen(date), TRACE_DATE_LENGTH);
		assert_string_equal(date, cases[i].date);
	}
}

static void every_month_and_day_has_its_name(void **state)
{
	(void)state;
	for (int day = 0; day < 800; day++) {
		const time_t when = (time_t)day * 86400;
		char date[TRACE_DATE_LENGTH + 1], wanted[64];
		struct tm tm;

		gmtime_r(&when, &tm);
		/* The C locale, which a test runs in, has these names. */
		strftime(wanted, sizeof(wanted), "%a, %d %b %Y %H:%M:%S +0000", &tm);
		trace_date(when, date);
		assert_string_equal(date, wanted);
	}
}

static void loops_are_found(void **state)
{
	static const struct {
		struct text header;
		struct text to;
		unsigned hops;
		bool loop;
	} cases[] = {
		{ T("Delivered-To: a@b\n\n"), T("a@b"), 100, true },
		{ T("Delivered-To: A@B\r\n\r\n"), T("a@b"), 100, true },
		{ T("DELIVERED-TO:a@b\n\n"), T("a@b"), 100, true },
		{ T("Delivered-To:\r\n\ta@b \r\n\r\n"), T("a@b"), 100, true },
		{ T("X: y\nDelivered-To: c@d\nDelivered-To: a@b\n\n"), T("a@b"), 100, true },
		{ T("broken line\nDelivered-To: a@b\n\n"), T("a@b"), 100, true },
		{ T("Delivered-To: a@b"), T("a@b"), 100, true },
		{ T("Delivered-To: a@bc\n\n"), T("a@b"), 100, false },
		{ T("Delivered-To: a@b, c@d\n\n"), T("a@b"), 100, false },
		{ T("X-Delivered-To: a@b\n\n"), T("a@b"), 100, false },
		{ T("To: a@b\n\n"), T("a@b"), 100, false },
		{ T("X: y\n Delivered-To: a@b\n\n"), T("a@b"), 100, false },
		{ T("X: y\n\nDelivered-To: a@b\n"), T("a@b"), 100, false },
		{ T("Delivered-To: \n\n"), T(""), 100, false },
		{ T(""), T("a@b"), 0, false },
		{ T("Received: a\nReceived: b\nReceived: c\n\n"), T("a@b"), 3, false },
		{ T("Received: a\nReceived: b\nRECEIVED: c\n\n"), T("a@b"), 2, true },
		{ T("Received: a\nReceived: b\n\nReceived: c\n"), T("a@b"), 2, false },
		{ T("Received: a\nreceived-spf: b\n\n"), T("a@b"), 1, false },
		{ T("Received: a\nbroken\nReceived: b\n\n"), T("a@b"), 1, true },
		{ T("Received: a\n"), T(""), 0, true },
	};

	(void)state;
	for (size_t i = 0; i < COUNT(cases); i++) {
		const char *why = trace_find_loop(cases[i].header, cases[i].to, cases[i].hops);

		CHECK_NUMBER(why != NULL, cases[i].loop, cases[i].header);
		if (why != NULL)
			assert_true(why[0] != '\0');
	}
}

/* What this host writes, this host recognises. */
static void own_fields_are_recognised(void **state)
{
	const struct text address = TEXT("Bob.Long-Name+tag@a-rather-long-host-name.and-its-domain."
					 "example.test");
	struct buf out = { 0 };

	(void)state;
	for (unsigned hops = 0; hops < TRACE_HOPS_LIMIT; hops++)
		trace_add_received(
			&out, &received_cases[hops % COUNT(received_cases)].received, "\n");
	assert_null(trace_find_loop(buf_text(&out), address, TRACE_HOPS_LIMIT));
	trace_add_delivered_to(&out, address, "\n");
	assert_non_null(trace_find_loop(buf_text(&out), address, TRACE_HOPS_LIMIT));
	assert_null(trace_find_loop(buf_text(&out), TEXT("carol@example.test"), TRACE_HOPS_LIMIT));
	trace_add_received(&out, &received_cases[0].received, "\n");
	assert_non_null(
		trace_find_loop(buf_text(&out), TEXT("carol@example.test"), TRACE_HOPS_LIMIT));
	buf_release(&out);
}

static void own_received_ends_with_its_date(void **state)
{
	static const char *const ends[] = { "\n", "\r\n" };
	static const struct {
		struct text message;
		size_t length;
	} others[] = {
		{ T("Received: x\n y\nA: b\n"), 15 },
		{ T("Received: x; Sun, 22 Nov 2026 10:00:00 +0000"), 44 },
		{ T("Received: x Sun, 22 Nov 2026 10:00:00 +0000,\n y\n\n"), 48 },
		{ T("Received: x Sun, 22 Nov 2026 10-00:00 +0000\n y\n\n"), 47 },
		{ T("no field\n"), 0 },
		{ T("\nA: b\n"), 0 },
		{ T(""), 0 },
	};
	struct buf out = { 0 };

	(void)state;
	for (size_t i = 0; i < 2 * COUNT(received_cases); i++) {
		buf_clear(&out);
		trace_add_received(&out, &received_cases[i / 2].received, ends[i % 2]);
		const size_t length = buf_length(&out);

		CHECK_NUMBER(trace_received_length(buf_text(&out)), length, buf_text(&out));
		buf_add_string(&out, "\tby x; Sun, 22 Nov 2026 10:00:00 +0000\nA: b\n");
		CHECK_NUMBER(trace_received_length(buf_text(&out)), length, buf_text(&out));
	}
	buf_release(&out);
	for (size_t i = 0; i < COUNT(others); i++)
		CHECK_NUMBER(trace_received_length(others[i].message), others[i].length,
			others[i].message);
}

static void protocols_are_named(void **state)
{
	static const struct {
		struct trace_with with;
		struct text name;
	} cases[] = {
		{ { 0 }, T("SMTP") },
		{ { .tls = true }, T("SMTP") },
		{ { .esmtp = true }, T("ESMTP") },
		{ { .esmtp = true, .tls = true }, T("ESMTPS") },
		{ { .esmtp = true, .authenticated = true }, T("ESMTPA") },
		{ { .esmtp = true, .tls = true, .authenticated = true }, T("ESMTPSA") },
		{ { .esmtp = true, .utf8 = true }, T("UTF8SMTP") },
		{ { .esmtp = true, .utf8 = true, .tls = true }, T("UTF8SMTPS") },
		{ { .esmtp = true, .utf8 = true, .authenticated = true }, T("UTF8SMTPA") },
		{ { .esmtp = true, .utf8 = true, .tls = true, .authenticated = true },
			T("UTF8SMTPSA") },
	};

	(void)state;
	for (size_t i = 0; i < COUNT(cases); i++)
		CHECK_TEXT(trace_protocol(cases[i].with), cases[i].name, cases[i].name);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(received_is_written),
		cmocka_unit_test(received_is_one_field),
		cmocka_unit_test(long_words_are_folded_and_bounded),
		cmocka_unit_test(return_path_and_delivered_to_are_written),
		cmocka_unit_test(dates_are_in_utc),
		cmocka_unit_test(every_month_and_day_has_its_name),
		cmocka_unit_test(loops_are_found),
		cmocka_unit_test(own_fields_are_recognised),
		cmocka_unit_test(own_received_ends_with_its_date),
		cmocka_unit_test(protocols_are_named),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

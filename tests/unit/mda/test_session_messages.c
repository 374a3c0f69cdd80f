/* LMTP sessions: messages, their verdicts, and what reaches the store. */
#include "tests/unit/mda/session_case.h"
#include "tests/unit/outcomes.h"

static void check_body(const struct harness *h, const char *pattern)
{
	if (fnmatch(pattern, h->body, 0) != 0)
		fail_msg("expected \"%s\" but the store got \"%s\"", pattern, h->body);
}

static void trace_fields_stand_first(void **state)
{
	struct harness *h = *state;

	harness_greet(h, false);
	harness_envelope(h, "alice@example.test");
	harness_say(h, "Subject: one\r\n\r\nbody\r\n..dot\r\n.\r\n");
	harness_expect(h, "250 2.0.0 * stored");
	check_body(h, "Return-Path: <sender@elsewhere.test>\nDelivered-To: alice@example.test\n"
		      "Received: from client.test *by mail.example.test*with LMTP*"
		      "for <alice@example.test>*\nSubject: one\n\nbody\n.dot\n");
	assert_int_equal(strlen(h->id), 20);

	harness_envelope(h, "alice@example.test bob@example.test");
	harness_say(h, "Subject: two\r\n\r\n.\r\n");
	harness_expect(h, "250 2.0.0 * stored");
	harness_expect(h, "250 2.0.0 * stored");
	assert_null(strstr(h->body, "Delivered-To"));
	assert_null(strstr(h->body, "for <"));
	assert_string_equal(h->recipients, "alice@example.test/INBOX bob@example.test/INBOX ");

	/* The same mailbox twice is for the store to see, which keeps one copy. */
	deliver_empty(h, "bob@example.test BOB@example.test", "250 2.0.0 * stored");
	assert_string_equal(h->recipients, "bob@example.test/INBOX bob@example.test/INBOX ");
	assert_non_null(strstr(h->body, "\nDelivered-To: bob@example.test\n"));
	harness_expect_nothing(h);
}

static void smtp_in_names_the_message(void **state)
{
	struct harness *h = *state;

	harness_greet(h, true);
	harness_say(h,
		"MAIL FROM:<a@b.test> XID=abcDEF123\r\nRCPT TO:<alice@example.test>\r\nDATA\r\n");
	harness_expect(h, "250 *");
	harness_expect(h, "250 *");
	harness_expect(h, "354 *");
	harness_say(h, "Received: from x\r\n\tby y; now\r\nSubject: z\r\n\r\n.\r\n");
	harness_expect(h, "250 2.0.0 abcDEF123 stored");
	assert_string_equal(h->id, "abcDEF123");
	assert_string_equal(h->body, "Return-Path: <a@b.test>\nDelivered-To: alice@example.test\n"
				     "Received: from x\n\tby y; now\nSubject: z\n\n");
	harness_say(h, "MAIL FROM:<a@b.test> XID=abc-def\r\n");
	harness_expect(h, "501 5.5.4 *");
	harness_say(h, "MAIL FROM:<a@b.test> XID=abcdefghijklmnopqrstu\r\n");
	harness_expect(h, "501 5.5.4 *");
}

#define RECEIVED(end) \
	"Received: from x ([192.0.2.1]) by y with ESMTP id 1;" end "\tSun, 22 Nov 2026 10:00:00 " \
	"+0000" end

static void a_text_without_header_stays_a_body(void **state)
{
	static const struct {
		bool trusted;
		const char *sent, *stored; /* behind the trace fields */
	} table[] = {
		{ false, "hello world\r\n", "\nhello world\n" },
		{ false, "\r\nhello\r\n", "\nhello\n" },
		{ false, "", "" },
		{ false, "Subject: x\r\n", "Subject: x\n" },
		{ false, "Subject: x\r\nno field\r\n", "Subject: x\nno field\n" },
		{ false, " leading blank\r\n", "\n leading blank\n" },
		{ false, "From me Sun Nov 22 2026\r\nSubject: x\r\n\r\ny\r\n",
			"From me Sun Nov 22 2026\nSubject: x\n\ny\n" },
		{ false, "From here on it is text\r\nno field\r\n",
			"\nFrom here on it is text\nno field\n" },
		{ false, "From here\r\n", "\nFrom here\n" },
		{ true, "Received: x\r\n y\r\nhello\r\n", "Received: x\n y\n\nhello\n" },
		{ true, "Received: x\r\n\r\nhello\r\n", "Received: x\n\nhello\n" },
		{ true, "Received: x\r\nSubject: y\r\n\r\nz\r\n",
			"Received: x\nSubject: y\n\nz\n" },
		{ true, "Received: x\r\n", "Received: x\n" },
		/* Nor does it go on with our trace field, as a forged part of that. */
		{ true, RECEIVED("\r\n") " by bank.test\r\nhello\r\n",
			RECEIVED("\n") "\n by bank.test\nhello\n" },
		{ true, RECEIVED("\r\n") "\tReturn-Path: <x@y>\r\n\r\nz\r\n",
			RECEIVED("\n") "\n\tReturn-Path: <x@y>\n\nz\n" },
		{ true, RECEIVED("\r\n") "Subject: y\r\n\r\nz\r\n",
			RECEIVED("\n") "Subject: y\n\nz\n" },
		/* What looks like a field there is text. */
		{ false, "hello\r\nReturn-Path: <x@y>\r\nbye\r\n",
			"\nhello\nReturn-Path: <x@y>\nbye\n" },
		{ true, "Received: x\r\nhello\r\nReturn-Path: <x@y>\r\n",
			"Received: x\n\nhello\nReturn-Path: <x@y>\n" },
		{ false, "hello\r\nDelivered-To: alice@example.test\r\n",
			"\nhello\nDelivered-To: alice@example.test\n" },
	};
	struct harness *h = *state;

	for (size_t i = 0; i < sizeof(table) / sizeof(table[0]); i++) {
		harness_greet(h, table[i].trusted);
		harness_envelope(h, "alice@example.test");
		harness_say(h, table[i].sent);
		harness_say(h, ".\r\n");
		harness_expect(h, "250 2.0.0 *");
		size_t length = strlen(table[i].stored);
		assert_true(h->body_size > length);
		assert_string_equal(h->body + h->body_size - length, table[i].stored);
		/* The trace fields end right before. */
		assert_int_equal(h->body[h->body_size - length - 1], '\n');
		assert_int_not_equal(h->body[h->body_size - length - 2], '\n');
	}
}

static void faults_in_the_body_are_refused(void **state)
{
	static const struct {
		struct text sent;
		const char *expect;
	} table[] = {
		{ TEXT("a\nb\r\n.\r\n"), "554 5.6.0 bare LF*" },
		{ TEXT("a\rb\r\n.\r\n"), "554 5.6.0 bare CR*" },
		{ TEXT("a\0b\r\n.\r\n"), "554 5.6.0 NUL*" },
		{ TEXT("a\n.\nMAIL FROM:<evil@x.test>\r\n.\r\n"), "554 5.6.0 bare LF*" },
		{ TEXT("a\r\n.\nQUIT\r\n.\r\n"), "554 5.6.0 bare LF*" },
		{ TEXT("a\n.\r\nb\r\n.\r\n"), "554 5.6.0 bare LF*" },
	};
	struct harness *h = *state;

	for (size_t i = 0; i < sizeof(table) / sizeof(table[0]); i++) {
		harness_greet(h, false);
		harness_envelope(h, "alice@example.test bob@example.test");
		harness_send(h, table[i].sent);
		harness_expect(h, table[i].expect);
		harness_expect(h, table[i].expect);
		harness_expect_nothing(h);
	}
	assert_int_equal(h->deliveries, 0);
}

static void loops_are_stopped(void **state)
{
	struct harness *h = *state;

	harness_greet(h, false);
	harness_envelope(h, "alice@example.test");
	harness_say(h, "Subject: x\r\nDelivered-To: Alice@example.test\r\n\r\n.\r\n");
	harness_expect(h, "554 5.4.6 *");
	harness_envelope(h, "bob@example.test");
	harness_say(h, "Subject: x\r\nDelivered-To: alice@example.test\r\n\r\n.\r\n");
	harness_expect(h, "250 2.0.0 *");
	/* In the body it is only text. */
	harness_envelope(h, "alice@example.test");
	harness_say(h, "Subject: x\r\n\r\nDelivered-To: alice@example.test\r\n.\r\n");
	harness_expect(h, "250 2.0.0 *");
	harness_envelope(h, "alice@example.test");
	for (int i = 0; i < 101; i++)
		harness_say(h, "Received: from a by b; now\r\n");
	harness_say(h, "\r\n.\r\n");
	harness_expect(h, "554 5.4.6 *");
	harness_envelope(h, "alice@example.test");
	for (int i = 0; i < 100; i++)
		harness_say(h, "Received: from a by b; now\r\n");
	harness_say(h, "\r\n.\r\n");
	harness_expect(h, "250 2.0.0 *");
	assert_int_equal(h->deliveries, 3);
}

/* But for STORE_AWAY, which no store can say: see without_a_store_all_is_temporary(). */
static void every_failure_of_a_delivery_is_told(void **state)
{
	struct harness *h = *state;

	harness_greet(h, false);
	for (int failure = 0; failure < STORE_AWAY; failure++) {
		h->deliver_failure = failure;
		harness_envelope(h, "alice@example.test Alice@example.test");
		harness_say(h, "Subject: x\r\n\r\n.\r\n");
		expect_outcome(h, outcomes[failure].end);
		expect_outcome(h, outcomes[failure].end);
		harness_expect_nothing(h);
	}
}

static void a_user_who_is_gone_costs_others_nothing(void **state)
{
	struct harness *h = *state;

	harness_greet(h, true);
	h->deliver_failure = STORE_NO_SUCH_USER;
	h->deliver_user = "alice@example.test";
	deliver_empty(h, "alice@example.test bob@example.test", "451 4.3.0 a recipient is gone*");
	deliver_empty(h, "alice@example.test ALICE@example.test", "550 5.1.1 *");
}

/* Between smtp-in and us all get the message or none, unless it says PRDR; to others each is told. */
static void verdicts_are_for_all_or_for_each(void **state)
{
	static const char three[] = "RCPT TO:<alice@example.test>\r\nRCPT TO:<bob@example.test>\r\n"
				    "RCPT TO:<carol@example.test>\r\n";
	static const struct {
		bool trusted;
		const char *mail;
		const char *groups;
		const char *verdicts; /* of the store */
		enum store_failure failure;
		const char *expect[3];
	} cases[] = {
		{ false, "", "0,,0,0, 1,,0,0, 2,,0,0, ", "060", STORE_OK,
			{ "250 2.0.0 * stored", "452 4.2.2 message would take the mailbox*",
				"250 2.0.0 * stored" } },
		{ false, "", "0,,0,0, 1,,0,0, 2,,0,0, ", "115", STORE_OK,
			{ "550 5.1.1 *", "550 5.1.1 *", "250 2.0.0 * already here" } },
		{ false, "", "0,,0,0, 1,,0,0, 2,,0,0, ", "666", STORE_OVER_QUOTA,
			{ "452 4.2.2 *", "452 4.2.2 *", "452 4.2.2 *" } },
		{ false, "", "0,,0,0, 1,,0,0, 2,,0,0, ", NULL, STORE_NO_SPACE,
			{ "452 4.3.1 *", "452 4.3.1 *", "452 4.3.1 *" } },
		{ true, " PRDR", "0,,0,0, 1,,0,0, 2,,0,0, ", "006", STORE_OK,
			{ "250 2.0.0 * stored", "250 2.0.0 * stored", "452 4.2.2 *" } },
		{ true, "", "0,,0,0, 0,,0,0, 0,,0,0, ", NULL, STORE_OVER_QUOTA,
			{ "452 4.2.2 *, try each alone", "452 4.2.2 *, try each alone",
				"452 4.2.2 *, try each alone" } },
		{ true, "", "0,,0,0, 0,,0,0, 0,,0,0, ", "500", STORE_OK,
			{ "250 2.0.0 * stored", "250 2.0.0 * stored", "250 2.0.0 * stored" } },
		{ true, "", "0,,0,0, 0,,0,0, 0,,0,0, ", "555", STORE_OK,
			{ "250 2.0.0 * already here", "250 2.0.0 * already here",
				"250 2.0.0 * already here" } },
	};
	struct harness *h = *state;

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		h->deliver_verdicts = cases[i].verdicts;
		h->deliver_failure = cases[i].failure;
		harness_greet(h, cases[i].trusted);
		harness_say(h, "MAIL FROM:<>");
		harness_say(h, cases[i].mail);
		harness_say(h, "\r\n");
		harness_expect(h, "250 2.1.0 *");
		harness_say(h, three);
		for (int j = 0; j < 3; j++)
			harness_expect(h, "250 2.1.5 *");
		harness_say(h, "DATA\r\n");
		harness_expect(h, "354 *");
		harness_say(h, "Subject: x\r\n\r\n.\r\n");
		for (int j = 0; j < 3; j++)
			harness_expect(h, cases[i].expect[j]);
		assert_string_equal(h->wishes, cases[i].groups);
		harness_expect_nothing(h);
	}
}

/* What smtp-in and the bridge may say and nobody else. */
static void trusted_clients_have_wishes(void **state)
{
	static const struct {
		const char *parameters;
		const char *reply;
		const char *recipients, *wishes;
	} cases[] = {
		{ "", "250 2.1.5 *", "alice@example.test/INBOX ", "0,,0,0, " },
		{ " XONCE=a+20b XFLAGS=SF", "250 2.1.5 *", "alice@example.test/INBOX ",
			"0,a b,0,5, " },
		{ " XMAILBOX=Entw+C3+BCrfe/2026 XKEYWORDS=$Forwarded+20work", "250 2.1.5 *",
			"alice@example.test/Entw\xc3\xbcrfe/2026 ", "0,,0,0,$Forwarded work " },
		{ " xflags=PRSTDF", "250 2.1.5 *", "alice@example.test/INBOX ", "0,,0,63, " },
		{ " XFLAGS=X", "501 5.5.4 *", NULL, NULL },
		{ " XFLAGS=s", "501 5.5.4 *", NULL, NULL },
		{ " XONCE", "501 5.5.4 *", NULL, NULL },
		{ " XONCE=+0", "501 5.5.4 *", NULL, NULL },
		{ " XMAILBOX=a//b", "501 5.5.4 *", NULL, NULL },
		{ " XMAILBOX=/a", "501 5.5.4 *", NULL, NULL },
		{ " XMAILBOX=a/", "501 5.5.4 *", NULL, NULL },
		{ " XMAILBOX=a+0Ab", "501 5.5.4 *", NULL, NULL },
		{ " XMAILBOX=+FF", "501 5.5.4 *", NULL, NULL },
		{ " XKEYWORDS=+00", "501 5.5.4 *", NULL, NULL },
		{ " XDATE=5", "555 5.5.4 *", NULL, NULL },
		{ " PRDR", "555 5.5.4 *", NULL, NULL },
		{ " XONCE=a XONCE=b", "501 5.5.4 *", NULL, NULL },
	};
	struct harness *h = *state;

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		harness_greet(h, true);
		harness_say(h, "MAIL FROM:<> XDATE=1234567890 XID=abc\r\n");
		harness_expect(h, "250 2.1.0 *");
		harness_say(h, "RCPT TO:<alice@example.test>");
		harness_say(h, cases[i].parameters);
		harness_say(h, "\r\n");
		harness_expect(h, cases[i].reply);
		if (!cases[i].recipients)
			continue;
		harness_say(h, "DATA\r\n");
		harness_expect(h, "354 *");
		harness_say(h, "Subject: x\r\n\r\n.\r\n");
		harness_expect(h, "250 2.0.0 abc stored");
		assert_string_equal(h->recipients, cases[i].recipients);
		assert_string_equal(h->wishes, cases[i].wishes);
		assert_int_equal(h->received, 1234567890);
	}
	/* A long line is for the trusted alone. */
	harness_greet(h, true);
	harness_say(h, "MAIL FROM:<>\r\nRCPT TO:<alice@example.test> XONCE=");
	for (int i = 0; i < 255; i++)
		harness_say(h, "+41");
	harness_say(h, " XMAILBOX=");
	for (int i = 0; i < 255; i++)
		harness_say(h, "+42");
	harness_say(h, "\r\n");
	harness_expect(h, "250 2.1.0 *");
	harness_expect(h, "250 2.1.5 *");
	for (int mail = 0; mail < 2; mail++) {
		harness_greet(h, false);
		harness_say(h, mail ? "MAIL FROM:<> PRDR\r\n"
				    : "MAIL FROM:<>\r\nRCPT TO:<alice@example.test> XONCE=a\r\n");
		if (!mail)
			harness_expect(h, "250 2.1.0 *");
		harness_expect(h, "555 5.5.4 *");
	}
}

/* Of an earlier delivery: one, and folded, and several; and text that only looks like it stays. */
static void return_paths_of_others_are_dropped(void **state)
{
	static const struct {
		const char *message, *stored;
	} cases[] = {
		{ "Return-Path: <x@y>\r\nA: b\r\n\r\nReturn-Path: body\r\n.\r\n",
			" +0000\nA: b\n\nReturn-Path: body\n" },
		{ "A: b\r\nreturn-path:\r\n <x@y>\r\nC: d\r\nRETURN-PATH: <>\r\n\r\nx\r\n.\r\n",
			" +0000\nA: b\nC: d\n\nx\n" },
		{ "Return-Path: <x@y>\r\n\r\nx\r\n.\r\n", " +0000\n\nx\n" },
		{ "Return-Path: <x@y>\r\n.\r\n", " +0000\n" },
		{ "Return-Path: <x@y>\r\nhello\r\n.\r\n", " +0000\n\nhello\n" },
		{ "X-Return-Path: a\r\n\r\nx\r\n.\r\n", "X-Return-Path: a\n\nx\n" },
	};
	struct harness *h = *state;

	harness_greet(h, false);
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		harness_envelope(h, "alice@example.test");
		harness_say(h, cases[i].message);
		harness_expect(h, "250 2.0.0 *");
		const size_t length = strlen(cases[i].stored);
		assert_true(h->body_size > length);
		assert_memory_equal(h->body + h->body_size - length, cases[i].stored, length);
		assert_int_equal(strncmp(h->body, "Return-Path: <sender@", 21), 0);
	}
}

/* The same key for what a reader could not tell apart, another one for all else. */
static void duplicates_are_named_by_all_that_is_read(void **state)
{
	static const char first[] =
		"Message-ID: <1@x>\r\nFrom: a\r\nSubject: s\r\n\r\nbody\r\n.\r\n";
	static const struct {
		const char *message;
		bool same;
	} cases[] = {
		{ first, true },
		{ "Received: from a by b; c\r\nmessage-id:  <1@x> \r\nSubject: s\r\nX: y\r\nFrom: "
		  "a\r\n"
		  "\r\nbody\r\n.\r\n",
			true },
		{ "Message-ID: <2@x>\r\nFrom: a\r\nSubject: s\r\n\r\nbody\r\n.\r\n", false },
		{ "Message-ID: <1@x>\r\nFrom: b\r\nSubject: s\r\n\r\nbody\r\n.\r\n", false },
		{ "Message-ID: <1@x>\r\nFrom: a\r\nSubject: t\r\n\r\nbody\r\n.\r\n", false },
		{ "Message-ID: <1@x>\r\nFrom: a\r\nSubject: s\r\nDate: d\r\n\r\nbody\r\n.\r\n",
			false },
		{ "Message-ID: <1@x>\r\nFrom: a\r\nSubject: s\r\n\r\nbody\r\n\r\n.\r\n", false },
		{ "Message-ID: <1@x>\r\nFrom: a\r\nSubject: s\r\n\r\nBody\r\n.\r\n", false },
	};
	static const char end[] = " INBOX,3600,0, ";
	struct harness *h = *state;
	char *key = NULL;

	harness_set(h, "duplicates", "1h");
	harness_greet(h, false);
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		harness_envelope(h, "alice@example.test");
		harness_say(h, cases[i].message);
		harness_expect(h, "250 2.0.0 *");
		const size_t length = strlen(h->wishes);
		assert_int_equal(strncmp(h->wishes, "0,same ", 7), 0);
		assert_true(length > sizeof(end));
		assert_string_equal(h->wishes + length - (sizeof(end) - 1), end);
		if (!key)
			key = mem_copy(h->wishes, length);
		assert_int_equal(strcmp(key, h->wishes) == 0, cases[i].same);
	}
	mem_free(key);
	/* Without a Message-ID, and where it is not switched on, nothing is a duplicate. */
	harness_envelope(h, "alice@example.test");
	harness_say(h, "From: a\r\nMessage-ID: \r\n\r\nbody\r\n.\r\n");
	harness_expect(h, "250 2.0.0 *");
	assert_string_equal(h->wishes, "0,,0,0, ");
	harness_set(h, "duplicates", "0");
	harness_envelope(h, "alice@example.test");
	harness_say(h, first);
	harness_expect(h, "250 2.0.0 *");
	assert_string_equal(h->wishes, "0,,0,0, ");
}

static void a_user_who_is_full_is_asked_for_anew(void **state)
{
	struct harness *h = *state;

	harness_greet(h, false);
	h->deliver_failure = STORE_OVER_QUOTA;
	h->deliver_user = "alice@example.test";
	deliver_empty(h, "alice@example.test bob@example.test", "452 4.2.2 *");
	assert_int_equal(resolve_cached(h->worker->resolve), 1);
	h->lookup_failure = STORE_OVER_QUOTA;
	h->deliver_failure = STORE_OK;
	harness_say(h,
		"MAIL FROM:<>\r\nRCPT TO:<alice@example.test>\r\nRCPT TO:<bob@example.test>\r\n");
	harness_expect(h, "250 *");
	harness_expect(h, "452 4.2.2 *");
	harness_expect(h, "250 2.1.5 *");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(trace_fields_stand_first),
		TEST(smtp_in_names_the_message),
		TEST(a_text_without_header_stays_a_body),
		TEST(faults_in_the_body_are_refused),
		TEST(loops_are_stopped),
		TEST(every_failure_of_a_delivery_is_told),
		TEST(a_user_who_is_gone_costs_others_nothing),
		TEST(verdicts_are_for_all_or_for_each),
		TEST(trusted_clients_have_wishes),
		TEST(return_paths_of_others_are_dropped),
		TEST(duplicates_are_named_by_all_that_is_read),
		TEST(a_user_who_is_full_is_asked_for_anew),
	};

	log_open("test", LOG_LEVEL_ERROR);
	return cmocka_run_group_tests(tests, NULL, NULL);
}

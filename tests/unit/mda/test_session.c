/* LMTP sessions as a whole: replies, their order, limits, and what reaches the store. */
#include "tests/unit/mda/harness.h"
#include "tests/unit/outcomes.h"

static int set_up(void **state)
{
	*state = harness_start();
	return 0;
}

static int tear_down(void **state)
{
	harness_stop(*state);
	return 0;
}

/* ---- commands ---- */

struct exchange {
	const char *say;
	const char *expect;
};

static void play(struct harness *h, const struct exchange *exchange, size_t count)
{
	for (size_t i = 0; i < count; i++) {
		harness_say(h, exchange[i].say);
		harness_expect(h, exchange[i].expect);
	}
	harness_expect_nothing(h);
}

static void commands_need_their_place(void **state)
{
	static const struct exchange before[] = {
		{ "MAIL FROM:<>\r\n", "503 5.5.1 say LHLO first" },
		{ "RCPT TO:<alice@example.test>\r\n", "503 5.5.1 *" },
		{ "DATA\r\n", "503 5.5.1 *" },
		{ "HELO client.test\r\n", "500 5.5.1 this is LMTP*LHLO" },
		{ "EHLO client.test\r\n", "500 5.5.1 this is LMTP*LHLO" },
		{ "NOOP anything\r\n", "250 2.0.0 *" },
		{ "RSET\r\n", "250 2.0.0 *" },
		{ "VRFY alice\r\n", "252 2.0.0 *" },
		{ "VRFY\r\n", "501 5.5.4 *" },
		{ "RSET now\r\n", "501 5.5.4 *" },
		{ "LHLO\r\n", "501 5.5.4 *" },
		{ "LHLO two words\r\n", "501 5.5.4 *" },
		{ "lhlo (comment)\r\n", "501 5.5.4 *" },
		{ "XYZZY\r\n", "500 5.5.2 *" },
	};
	static const struct exchange after[] = {
		{ "RCPT TO:<alice@example.test>\r\n", "503 5.5.1 say MAIL first" },
		{ "DATA\r\n", "503 5.5.1 say MAIL first" },
		{ "mail from:<a@b.test>\r\n", "250 2.1.0 *" },
		{ "MAIL FROM:<a@b.test>\r\n", "503 5.5.1 a message is under way*" },
		{ "DATA\r\n", "503 5.5.1 no recipient was accepted" },
		{ "rcpt to:<nobody@example.test>\r\n", "550 5.1.1 *" },
		{ "DATA\r\n", "503 5.5.1 no recipient was accepted" },
		{ "RSET\r\n", "250 2.0.0 *" },
		{ "RCPT TO:<alice@example.test>\r\n", "503 5.5.1 say MAIL first" },
		{ "MAIL FROM:<a@b.test>\r\n", "250 2.1.0 *" },
		{ "RCPT TO:<alice@example.test>\r\n", "250 2.1.5 *" },
		{ "DATA now\r\n", "501 5.5.4 *" },
	};
	struct harness *h = *state;

	harness_new_client(h, false);
	harness_expect(h, "220 *");
	play(h, before, sizeof(before) / sizeof(before[0]));
	harness_greet(h, false);
	play(h, after, sizeof(after) / sizeof(after[0]));
	harness_say(h, "QUIT\r\n");
	harness_expect(h, "221 2.0.0 *");
	harness_expect_end(h);
}

static void parameters_are_checked(void **state)
{
	static const struct exchange table[] = {
		{ "MAIL FROM:<a@b.test> SIZE=1000 BODY=8BITMIME\r\n", "250 2.1.0 *" },
		{ "RSET\r\n", "250 *" },
		{ "MAIL FROM:<> BODY=7bit\r\n", "250 2.1.0 *" },
		{ "RCPT TO:<alice@example.test> NOTIFY=NEVER\r\n", "250 2.1.5 *" },
		{ "RCPT TO:<alice@example.test> NOTIFY=SUCCESS,DELAY ORCPT=rfc822;a@b.test\r\n",
			"250 2.1.5 *" },
		{ "RCPT TO:<alice@example.test> NOTIFY=NEVER,FAILURE\r\n", "501 5.5.4 *" },
		{ "RCPT TO:<alice@example.test> ORCPT=rfc822\r\n", "501 5.5.4 *" },
		{ "RCPT TO:<alice@example.test> RET=FULL\r\n", "555 5.5.4 *" },
		{ "RCPT TO:<>\r\n", "501 5.1.3 *" },
		{ "RCPT TO:<alice@@example.test>\r\n", "501 5.1.3 *" },
		{ "RCPT TO:alice@example.test\r\n", "501 5.5.4 *" },
		{ "RCPT TO:<\xc3\xa4@example.test>\r\n", "553 5.6.7 *" },
		{ "RSET\r\n", "250 *" },
		{ "MAIL FROM:<a@b.test> SIZE=37748736\r\n", "250 2.1.0 *" },
		{ "RSET\r\n", "250 *" },
		{ "MAIL FROM:<a@b.test> SIZE=37748737\r\n", "552 5.3.4 *" },
		{ "MAIL FROM:<a@b.test> SIZE=\r\n", "501 5.5.4 *" },
		{ "MAIL FROM:<a@b.test> SIZE=1k\r\n", "501 5.5.4 *" },
		{ "MAIL FROM:<a@b.test> SIZE=99999999999999999999\r\n", "501 5.5.4 *" },
		{ "MAIL FROM:<a@b.test> BODY=BINARYMIME\r\n", "501 5.5.4 *" },
		{ "MAIL FROM:<a@b.test> BODY\r\n", "501 5.5.4 *" },
		{ "MAIL FROM:<a@b.test> SIZE=1 SIZE=2\r\n", "501 5.5.4 *" },
		{ "MAIL FROM:<a@b.test> XID=abc\r\n", "555 5.5.4 *" },
		{ "MAIL FROM:<a@b.test> RET=HALF\r\n", "501 5.5.4 *" },
		{ "MAIL FROM:<a@b.test> ENVID=a+2\r\n", "501 5.5.4 *" },
		{ "MAIL FROM:<a@b.test> NOTIFY=NEVER\r\n", "555 5.5.4 *" },
		{ "MAIL FROM:<a@b.test> RET=HDRS ENVID=a+2Bb\r\n", "250 2.1.0 *" },
		{ "RSET\r\n", "250 *" },
		{ "MAIL FROM:<postmaster>\r\n", "501 5.1.7 *" },
		{ "MAIL FROM:<\xc3\xa4@b.test>\r\n", "553 5.6.7 *" },
		{ "MAIL FROM:<\xc3\xa4@b.test> SMTPUTF8=1\r\n", "501 5.5.4 *" },
		{ "MAIL FROM:<\xc3(@b.test> SMTPUTF8\r\n", "501 5.1.7 *" },
		{ "MAIL FROM:<\xc3\xa4@\xc3\xb6.test> SMTPUTF8 SIZE=5\r\n", "250 2.1.0 *" },
		{ "RCPT TO:<\xc3\xa4@example.test>\r\n", "550 5.1.1 *" },
		{ "RCPT TO:<alice@\xc3\xb6.test>\r\n", "550 5.7.1 *" },
		{ "RSET\r\n", "250 *" },
		{ "MAIL FROM:<a@b.test>\r\n", "250 2.1.0 *" },
		{ "RCPT TO:<\xc3\xa4@example.test>\r\n", "553 5.6.7 *" },
		{ "RSET\r\n", "250 *" },
		{ "MAIL FROM:<a b@c.test>\r\n", "501 5.1.7 *" },
		{ "MAIL TO:<a@b.test>\r\n", "501 5.5.4 *" },
	};
	struct harness *h = *state;

	harness_greet(h, false);
	/* In two halves, as a client with so many errors is sent away. */
	play(h, table, 12);
	harness_greet(h, false);
	play(h, table + 12, sizeof(table) / sizeof(table[0]) - 12);
}

static void help_lists_what_is_offered(void **state)
{
	static const char *const lines[] = { "LHLO *", "MAIL *", "RCPT *", "DATA", "BDAT *", "RSET",
		"NOOP", "QUIT", "VRFY *", "HELP" };
	struct harness *h = *state;
	char pattern[64];

	harness_new_client(h, false);
	harness_expect(h, "220 *");
	harness_say(h, "HELP\r\n");
	for (size_t i = 0; i < sizeof(lines) / sizeof(lines[0]); i++) {
		snprintf(pattern, sizeof(pattern), "214-%s", lines[i]);
		harness_expect(h, pattern);
	}
	harness_expect(h, "214 *");
	harness_expect_nothing(h);
}

static void lines_at_fault_cost_one_reply(void **state)
{
	struct harness *h = *state;
	char line[4096];

	harness_greet(h, false);
	harness_say(h, "NOOP\nQUIT\r\nNOOP\r\n");
	harness_expect(h, "500 5.5.2 bare LF*");
	harness_expect(h, "500 5.5.2 bare LF*");
	harness_expect(h, "250 *");
	memset(line, 'x', sizeof(line));
	harness_send(h, (struct text){ .ptr = line, .len = sizeof(line) });
	harness_say(h, "\r\nNOOP\r\n");
	harness_expect(h, "500 5.5.2 line too long");
	harness_expect(h, "250 *");
	harness_send(h, TEXT("NO\0OP\r\n"));
	harness_expect(h, "500 5.5.2 NUL octet");
	harness_expect_nothing(h);
}

static void a_client_of_errors_is_sent_away(void **state)
{
	struct harness *h = *state;

	harness_greet(h, false);
	for (int i = 0; i < 19; i++) {
		harness_say(h, "BOGUS\r\n");
		harness_expect(h, "500 5.5.2 *");
	}
	harness_say(h, "BOGUS\r\n");
	harness_expect(h, "421 4.7.0 too many errors");
	harness_expect_end(h);
}

static void errors_among_recipients_count_too(void **state)
{
	struct harness *h = *state;

	harness_greet(h, false);
	harness_say(h, "MAIL FROM:<>\r\n");
	harness_expect(h, "250 *");
	for (int i = 0; i < 30; i++)
		harness_say(h, "RCPT TO:<>\r\n");
	for (int i = 0; i < 19; i++)
		harness_expect(h, "501 5.1.3 *");
	harness_expect(h, "421 4.7.0 *");
	harness_expect_end(h);
}

static void a_client_that_only_chats_is_sent_away(void **state)
{
	struct harness *h = *state;

	harness_greet(h, false);
	for (int i = 0; i < 199; i++) {
		harness_say(h, "NOOP\r\n");
		harness_expect(h, "250 *");
	}
	harness_say(h, "NOOP\r\n");
	harness_expect(h, "421 4.7.0 *");
	harness_expect_end(h);
}

/* ---- recipients ---- */

static void recipients_get_their_verdicts(void **state)
{
	static const struct exchange table[] = {
		{ "MAIL FROM:<a@b.test>\r\n", "250 *" },
		{ "RCPT TO:<alice@example.test>\r\n", "250 2.1.5 *" },
		{ "RCPT TO:<ALICE@Example.TEST>\r\n", "250 2.1.5 *" },
		{ "RCPT TO:<\"alice\"@example.test>\r\n", "250 2.1.5 *" },
		{ "RCPT TO:<@route.test:alice@example.test>\r\n", "250 2.1.5 *" },
		{ "RCPT TO:<user1@second.test>\r\n", "550 5.1.1 *" },
		{ "RCPT TO:<nobody@example.test>\r\n", "550 5.1.1 *" },
		{ "RCPT TO:<alice@elsewhere.test>\r\n", "550 5.7.1 *" },
		{ "RCPT TO:<alice@[127.0.0.1]>\r\n", "550 5.7.1 *" },
		{ "RCPT TO:<alice@sub.example.test>\r\n", "550 5.7.1 *" },
		{ "RCPT TO:<postmaster>\r\n", "250 2.1.5 *" },
		{ "RCPT TO:<PostMaster>\r\n", "250 2.1.5 *" },
	};
	struct harness *h = *state;

	harness_greet(h, false);
	play(h, table, sizeof(table) / sizeof(table[0]));
	/* alice four ways is one question; so is postmaster twice. Who is not there is asked for anew. */
	assert_int_equal(h->lookups, 7);
	assert_int_equal(resolve_cached(h->worker->resolve), 2);
}

static void failures_of_the_store_are_told(void **state)
{
	struct harness *h = *state;

	harness_greet(h, false);
	harness_say(h, "MAIL FROM:<>\r\n");
	harness_expect(h, "250 *");
	h->lookup_failure = STORE_OVER_QUOTA;
	harness_say(h, "RCPT TO:<alice@example.test>\r\n");
	harness_expect(h, "452 4.2.2 *");
	h->lookup_failure = STORE_DAMAGED;
	harness_say(h, "RCPT TO:<alice@example.test>\r\n");
	harness_expect(h, "451 4.3.0 *");
	h->lookup_failure = STORE_OK;
	harness_say(h, "RCPT TO:<alice@example.test>\r\n");
	harness_expect(h, "250 2.1.5 *");
}

static void pipelined_recipients_are_asked_side_by_side(void **state)
{
	struct harness *h = *state;

	harness_greet(h, false);
	harness_say(h, "MAIL FROM:<>\r\nRCPT TO:<bob@example.test>\r\n");
	harness_expect(h, "250 2.1.0 *");
	harness_expect(h, "250 2.1.5 *");
	h->manual = true;
	/* Four wait for the store; the others could be answered at once. */
	harness_say(h, "RCPT TO:<alice@example.test>\r\n"
		       "RCPT TO:<bob@example.test>\r\n"
		       "RCPT TO:<nobody@example.test>\r\n"
		       "RCPT TO:<x@elsewhere.test>\r\n"
		       "RCPT TO:<carol@example.test>\r\n"
		       "RCPT TO:<>\r\n"
		       "DATA\r\n");
	harness_expect_nothing(h);
	assert_int_equal(h->request_count, 4);
	harness_answer(h, 3); /* carol */
	harness_expect_nothing(h);
	harness_answer(h, 0); /* alice */
	harness_expect(h, "250 2.1.5 *");
	harness_expect(h, "250 2.1.5 *");
	harness_expect_nothing(h);
	harness_answer(h, 0); /* nobody */
	harness_expect(h, "550 5.1.1 *");
	harness_expect_nothing(h);
	harness_answer(h, 0); /* x@elsewhere.test */
	harness_expect(h, "550 5.7.1 *");
	harness_expect(h, "250 2.1.5 *");
	harness_expect(h, "501 5.1.3 *");
	harness_expect(h, "354 *");
	harness_say(h, "Subject: x\r\n\r\n.\r\n");
	harness_settle(h);
	harness_answer(h, 0);
	for (int i = 0; i < 4; i++)
		harness_expect(h, "250 2.0.0 *");
	assert_string_equal(h->recipients,
		"bob@example.test/INBOX alice@example.test/INBOX bob@example.test/INBOX "
		"carol@example.test/INBOX ");
	harness_expect_nothing(h);
}

static void many_recipients_wait_in_bounded_number(void **state)
{
	struct harness *h = *state;
	struct buf lines = { 0 };

	harness_greet(h, false);
	h->manual = true;
	harness_say(h, "MAIL FROM:<>\r\n");
	harness_expect(h, "250 *");
	for (int i = 0; i < 900; i++)
		buf_format(&lines, "RCPT TO:<user%d@example.test>\r\n", i);
	harness_send(h, buf_text(&lines));
	buf_release(&lines);
	harness_expect_nothing(h);
	assert_int_equal(h->request_count, 256);
	h->manual = false;
	while (h->request_count)
		harness_answer(h, 0);
	for (int i = 0; i < 900; i++)
		harness_expect(h, "250 2.1.5 *");
	harness_expect_nothing(h);
}

static void recipients_have_a_limit(void **state)
{
	struct harness *h = *state;
	char line[64];

	harness_set(h, "recipients", "100");
	harness_greet(h, false);
	harness_say(h, "MAIL FROM:<>\r\n");
	harness_expect(h, "250 *");
	for (int i = 0; i < 100; i++) {
		snprintf(line, sizeof(line), "RCPT TO:<user%d@example.test>\r\n", i);
		harness_say(h, line);
		harness_expect(h, "250 2.1.5 *");
	}
	harness_say(h, "RCPT TO:<alice@example.test>\r\n");
	harness_expect(h, "452 4.5.3 *");
	harness_say(h, "DATA\r\n");
	harness_expect(h, "354 *");
	harness_say(h, "\r\n.\r\n");
	for (int i = 0; i < 100; i++)
		harness_expect(h, "250 2.0.0 *");
	harness_expect_nothing(h);
	assert_int_equal(h->deliveries, 1);
}

static void refused_recipients_take_no_end_of_memory(void **state)
{
	struct harness *h = *state;
	const struct text end = TEXT("421 4.7.0 too many recipients in one message\r\n");
	int refused = 0;

	harness_greet(h, false);
	harness_say(h, "MAIL FROM:<>\r\n");
	harness_expect(h, "250 *");
	for (;; refused++) {
		assert_true(refused < 100000);
		harness_say(h, "RCPT TO:<alice@elsewhere.test>\r\n");
		harness_wait(h, harness_has_line);
		if (text_equal(buf_text(&h->got), end))
			break;
		harness_expect(h, "550 5.7.1 *");
	}
	assert_true(refused > 2000);
	buf_clear(&h->got);
	harness_expect_end(h);
}

static void a_client_that_leaves_is_forgotten(void **state)
{
	struct harness *h = *state;

	harness_greet(h, false);
	h->manual = true;
	harness_say(h,
		"MAIL FROM:<>\r\nRCPT TO:<alice@example.test>\r\nRCPT TO:<bob@example.test>\r\n");
	harness_expect(h, "250 *");
	harness_settle(h);
	assert_int_equal(h->request_count, 2);
	close(h->client);
	h->client = -1;
	harness_settle(h);
	assert_int_equal(h->worker->session_count, 0);
	harness_answer(h, 0);
	harness_answer(h, 0);
	harness_settle(h);
	h->manual = false;
	harness_greet(h, false);
}

/* ---- messages ---- */

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
	harness_envelope(h, "bob@example.test BOB@example.test");
	harness_say(h, "\r\n.\r\n");
	harness_expect(h, "250 2.0.0 * stored");
	harness_expect(h, "250 2.0.0 * stored");
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

/* As the reply begins, with any text behind it. */
static void expect_outcome(struct harness *h, const char *reply)
{
	char pattern[16];

	snprintf(pattern, sizeof(pattern), "%s *", reply);
	harness_expect(h, pattern);
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
	harness_envelope(h, "alice@example.test bob@example.test");
	harness_say(h, "\r\n.\r\n");
	harness_expect(h, "451 4.3.0 a recipient is gone*");
	harness_expect(h, "451 4.3.0 a recipient is gone*");
	harness_envelope(h, "alice@example.test ALICE@example.test");
	harness_say(h, "\r\n.\r\n");
	harness_expect(h, "550 5.1.1 *");
	harness_expect(h, "550 5.1.1 *");
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

/* A message that went through a file is named like one that did not, octet by octet. */
static void large_duplicates_are_named_too(void **state)
{
	struct harness *h = *state;
	char *key = NULL;

	harness_set(h, "duplicates", "1h");
	harness_greet(h, false);
	for (int i = 0; i < 3; i++) {
		harness_envelope(h, "alice@example.test");
		harness_say(h, "Message-ID: <1@x>\r\n\r\n");
		for (int j = 0; j < 20000; j++)
			harness_say(h, "0123456789012345678901234567890123456789\r\n");
		harness_say(h, i < 2 ? "last\r\n.\r\n" : "Last\r\n.\r\n");
		harness_expect(h, "250 2.0.0 *");
		if (!key)
			key = mem_copy(h->wishes, strlen(h->wishes));
		assert_int_equal(strcmp(key, h->wishes) == 0, i < 2);
	}
	assert_int_equal(h->spools, 3);
	mem_free(key);
}

static void a_user_who_is_full_is_asked_for_anew(void **state)
{
	struct harness *h = *state;

	harness_greet(h, false);
	h->deliver_failure = STORE_OVER_QUOTA;
	h->deliver_user = "alice@example.test";
	harness_envelope(h, "alice@example.test bob@example.test");
	harness_say(h, "\r\n.\r\n");
	harness_expect(h, "452 4.2.2 *");
	harness_expect(h, "452 4.2.2 *");
	assert_int_equal(resolve_cached(h->worker->resolve), 1);
	h->lookup_failure = STORE_OVER_QUOTA;
	h->deliver_failure = STORE_OK;
	harness_say(h,
		"MAIL FROM:<>\r\nRCPT TO:<alice@example.test>\r\nRCPT TO:<bob@example.test>\r\n");
	harness_expect(h, "250 *");
	harness_expect(h, "452 4.2.2 *");
	harness_expect(h, "250 2.1.5 *");
}

/* ---- large messages ---- */

enum { LINES = 20000 };

/* The same text as the client sends it and as it is stored. */
static void make_large(struct buf *wire, struct buf *stored)
{
	buf_add_string(wire, "Subject: large\r\n\r\n");
	buf_add_string(stored, "Subject: large\n\n");
	for (int i = 0; i < LINES; i++) {
		buf_format(wire, "line %d of a message that is larger than one request\r\n", i);
		buf_format(stored, "line %d of a message that is larger than one request\n", i);
	}
}

static void large_messages_go_to_a_file(void **state)
{
	struct harness *h = *state;
	struct buf wire = { 0 }, stored = { 0 };

	make_large(&wire, &stored);
	harness_greet(h, false);
	harness_envelope(h, "alice@example.test");
	harness_send(h, buf_text(&wire));
	harness_say(h, ".\r\n");
	harness_expect(h, "250 2.0.0 *");
	assert_int_equal(h->spools, 1);
	assert_int_equal(h->deliveries, 1);
	assert_int_equal(h->drops, 0);
	assert_true(h->body_size > buf_length(&stored));
	assert_memory_equal(h->body + h->body_size - buf_length(&stored), buf_text(&stored).ptr,
		buf_length(&stored));
	assert_int_equal(strncmp(h->body, "Return-Path: <sender@", 21), 0);
	buf_release(&wire);
	buf_release(&stored);
}

static void large_texts_without_header_stay_bodies(void **state)
{
	struct harness *h = *state;
	struct buf text = { 0 };

	for (int i = 0; i < LINES; i++)
		buf_format(&text, "line %d of a text without any header\r\n", i);
	harness_greet(h, false);
	harness_envelope(h, "alice@example.test");
	harness_send(h, buf_text(&text));
	harness_say(h, ".\r\n");
	harness_expect(h, "250 2.0.0 *");
	assert_int_equal(h->spools, 1);
	const char *body = strstr(h->body, "\n\n");
	assert_non_null(body);
	assert_int_equal(strncmp(body, "\n\nline 0 of a text", 18), 0);
	assert_int_equal(h->body_size - (size_t)(body + 2 - h->body), buf_length(&text) - LINES);
	buf_release(&text);
}

/* The border between a request and a file, octet by octet around it. */
static void no_octet_is_lost_at_the_border(void **state)
{
	struct harness *h = *state;
	struct buf text = { 0 };

	for (size_t size = STORE_INLINE_LIMIT - 400; size < STORE_INLINE_LIMIT + 400; size += 7) {
		buf_clear(&text);
		buf_add_string(&text, "Subject: x\r\n\r\n");
		while (buf_length(&text) + 902 < size)
			buf_format(&text, "%0900d\r\n", 7);
		buf_format(&text, "%0*d\r\n", (int)(size - buf_length(&text)), 8);
		harness_greet(h, false);
		harness_envelope(h, "alice@example.test");
		harness_send(h, buf_text(&text));
		harness_say(h, ".\r\n");
		harness_expect(h, "250 2.0.0 *");
		const char *own = strstr(h->body, "Subject: x\n\n");
		assert_non_null(own);
		size_t lines = 0;
		for (const char *at = own; (at = strchr(at, '\n')); at++)
			lines++;
		assert_int_equal(h->body_size - (size_t)(own - h->body) + lines, buf_length(&text));
	}
	assert_true(h->spools > 0 && h->spools < h->deliveries);
	buf_release(&text);
}

enum { CROWD = 140 };

/* When many slow clients hold much memory, messages that would fit a request go to files, too. */
static void memory_is_bounded_over_all_clients(void **state)
{
	struct harness *h = *state;
	struct buf text = { 0 };
	int crowd[CROWD];

	buf_add_string(&text, "Subject: x\r\n\r\n");
	while (buf_length(&text) < 250 * 1024)
		buf_format(&text, "%0990d\r\n", 1);
	for (int i = 0; i < CROWD; i++) {
		harness_greet(h, false);
		harness_envelope(h, "alice@example.test");
		harness_send(h, buf_text(&text));
		crowd[i] = h->client;
		h->client = -1;
	}
	assert_true(h->worker->body_octets > 31 << 20);
	assert_true(h->worker->body_octets < 35 << 20);
	assert_true(h->spools > 0);
	harness_greet(h, false);
	harness_envelope(h, "alice@example.test");
	harness_send(h, buf_text(&text));
	harness_say(h, ".\r\n");
	harness_expect(h, "250 2.0.0 *");
	for (int i = 0; i < CROWD; i++)
		close(crowd[i]);
	close(h->client);
	h->client = -1;
	harness_settle(h);
	assert_int_equal(h->worker->session_count, 0);
	assert_int_equal(h->worker->body_octets, 0);
	buf_release(&text);
}

static void the_client_is_held_until_there_is_a_file(void **state)
{
	struct harness *h = *state;
	struct buf wire = { 0 }, stored = { 0 };

	make_large(&wire, &stored);
	harness_greet(h, false);
	harness_envelope(h, "alice@example.test");
	h->manual = true;
	/* More than fits the mda's memory and the sockets between would stop the sender for good. */
	harness_send(h, text_head(buf_text(&wire), 300 * 1024));
	harness_settle(h);
	assert_int_equal(h->request_count, 1);
	h->manual = false;
	harness_answer(h, 0);
	harness_send(h, text_from(buf_text(&wire), 300 * 1024));
	harness_say(h, ".\r\n");
	harness_expect(h, "250 2.0.0 *");
	assert_memory_equal(h->body + h->body_size - buf_length(&stored), buf_text(&stored).ptr,
		buf_length(&stored));
	buf_release(&wire);
	buf_release(&stored);
}

static void a_file_that_is_not_needed_is_dropped(void **state)
{
	struct harness *h = *state;
	struct buf wire = { 0 }, stored = { 0 };

	make_large(&wire, &stored);
	/* A fault behind the first part. */
	harness_greet(h, false);
	harness_envelope(h, "alice@example.test");
	harness_send(h, buf_text(&wire));
	harness_say(h, "bare\n\r\n.\r\n");
	harness_expect(h, "554 5.6.0 *");
	assert_int_equal(h->drops, 1);
	/* The client leaves. */
	harness_envelope(h, "alice@example.test");
	harness_send(h, buf_text(&wire));
	close(h->client);
	h->client = -1;
	harness_settle(h);
	assert_int_equal(h->drops, 2);
	/* It leaves while the file is asked for. */
	harness_greet(h, false);
	harness_envelope(h, "alice@example.test");
	h->manual = true;
	harness_send(h, text_head(buf_text(&wire), 280 * 1024));
	harness_settle(h);
	assert_int_equal(h->request_count, 1);
	worker_stop(h->worker);
	session_free(h->worker->sessions);
	harness_answer(h, 0);
	harness_settle(h);
	assert_int_equal(h->drops, 3);
	assert_int_equal(h->deliveries, 0);
	buf_release(&wire);
	buf_release(&stored);
}

static void no_file_means_no_message(void **state)
{
	struct harness *h = *state;
	struct buf wire = { 0 }, stored = { 0 };

	make_large(&wire, &stored);
	h->spool_failure = STORE_NO_SPACE;
	harness_greet(h, false);
	harness_envelope(h, "alice@example.test");
	harness_send(h, buf_text(&wire));
	harness_say(h, ".\r\n");
	harness_expect(h, "452 4.3.1 *");
	assert_int_equal(h->deliveries, 0);
	buf_release(&wire);
	buf_release(&stored);
}

static void too_large_is_refused_at_the_end(void **state)
{
	struct harness *h = *state;
	struct buf wire = { 0 }, stored = { 0 };

	make_large(&wire, &stored);
	harness_set(h, "message-size", "300K");
	harness_new_client(h, false);
	harness_expect(h, "220 *");
	harness_say(h, "LHLO x\r\n");
	for (int i = 0; i < 7; i++)
		harness_expect(h, "250-*");
	harness_expect(h, "250 SIZE 307200");
	harness_envelope(h, "alice@example.test");
	harness_send(h, buf_text(&wire));
	harness_say(h, ".\r\n");
	harness_expect(h, "552 5.3.4 *");
	harness_say(h, "NOOP\r\n");
	harness_expect(h, "250 *");
	assert_int_equal(h->deliveries, 0);
	assert_int_equal(h->drops, h->spools);
	buf_release(&wire);
	buf_release(&stored);
}

/* ---- the store goes away ---- */

static void without_a_store_all_is_temporary(void **state)
{
	struct harness *h = *state;

	harness_greet(h, false);
	harness_envelope(h, "alice@example.test");
	h->refuse_connections = true;
	harness_store_dies(h);
	harness_settle(h);
	harness_say(h, "\r\n.\r\n");
	expect_outcome(h, outcomes[STORE_AWAY].end);
	harness_say(h, "MAIL FROM:<>\r\nRCPT TO:<alice@example.test>\r\n");
	harness_expect(h, "250 *");
	expect_outcome(h, outcomes[STORE_AWAY].rcpt);
	/* It may be a domain that was added while the host runs. */
	harness_say(h, "RCPT TO:<alice@elsewhere.test>\r\nRSET\r\n");
	harness_expect(h, "451 4.3.0 *");
	harness_expect(h, "250 *");
	h->refuse_connections = false;
	harness_wait_for_store(h);
	harness_envelope(h, "alice@example.test");
	harness_say(h, "\r\n.\r\n");
	harness_expect(h, "250 2.0.0 *");
}

static void what_was_asked_of_a_lost_store_is_temporary(void **state)
{
	struct harness *h = *state;

	harness_greet(h, false);
	h->manual = true;
	harness_say(h,
		"MAIL FROM:<>\r\nRCPT TO:<alice@example.test>\r\nRCPT TO:<bob@example.test>\r\n");
	harness_expect(h, "250 *");
	harness_settle(h);
	assert_int_equal(h->request_count, 2);
	harness_store_dies(h);
	harness_expect(h, "451 4.3.0 *");
	harness_expect(h, "451 4.3.0 *");
	h->manual = false;
	harness_wait_for_store(h);
	harness_say(h, "RSET\r\n");
	harness_expect(h, "250 *");
	/* While it has the message. */
	harness_envelope(h, "alice@example.test");
	h->manual = true;
	harness_say(h, "\r\n.\r\nNOOP\r\n");
	harness_expect_nothing(h);
	assert_int_equal(h->deliveries, 1);
	harness_store_dies(h);
	harness_expect(h, "451 4.3.0 *");
	harness_expect(h, "250 2.0.0 ok");
}

static void a_file_of_a_lost_store_is_no_message(void **state)
{
	struct harness *h = *state;
	struct buf wire = { 0 }, stored = { 0 };

	make_large(&wire, &stored);
	harness_greet(h, false);
	harness_envelope(h, "alice@example.test");
	harness_send(h, buf_text(&wire));
	assert_int_equal(h->spools, 1);
	harness_store_dies(h);
	harness_wait_for_store(h);
	harness_say(h, ".\r\n");
	harness_expect(h, "451 4.3.0 *");
	assert_int_equal(h->deliveries, 0);
	assert_int_equal(h->drops, 0);
	buf_release(&wire);
	buf_release(&stored);
}

static void what_the_store_said_holds_until_it_says_otherwise(void **state)
{
	struct harness *h = *state;

	harness_greet(h, false);
	harness_envelope(h, "alice@example.test");
	harness_say(h, "\r\n.\r\n");
	harness_expect(h, "250 *");
	harness_envelope(h, "alice@example.test");
	harness_say(h, "\r\n.\r\n");
	harness_expect(h, "250 *");
	assert_int_equal(h->lookups, 1);
	harness_directory_changed(h);
	harness_settle(h);
	assert_int_equal(resolve_cached(h->worker->resolve), 0);
	h->lookup_failure = STORE_NO_SUCH_USER;
	harness_say(h, "MAIL FROM:<>\r\nRCPT TO:<alice@example.test>\r\n");
	harness_expect(h, "250 *");
	harness_expect(h, "550 5.1.1 *");
	assert_int_equal(h->lookups, 2);
}

/* A larger message than any before has to be asked about again. */
static void room_is_asked_for_by_announced_size(void **state)
{
	static const struct {
		const char *parameter;
		unsigned lookups;
		uint64_t asked;
	} messages[] = {
		{ "", 1, 0 },
		{ " SIZE=1000", 2, 1000 },
		{ " SIZE=999", 2, 1000 },
		{ "", 2, 1000 },
		{ " SIZE=1001", 3, 1001 },
	};
	struct harness *h = *state;
	char line[80];

	harness_greet(h, false);
	for (size_t i = 0; i < sizeof(messages) / sizeof(messages[0]); i++) {
		snprintf(line, sizeof(line),
			"MAIL FROM:<>%s\r\nRCPT TO:<alice@example.test>\r\nRSET\r\n",
			messages[i].parameter);
		harness_say(h, line);
		harness_expect(h, "250 *");
		harness_expect(h, "250 *");
		harness_expect(h, "250 *");
		assert_int_equal(h->lookups, messages[i].lookups);
		assert_int_equal(h->lookup_size, messages[i].asked);
	}
	h->lookup_failure = STORE_OVER_QUOTA;
	harness_say(h, "MAIL FROM:<> SIZE=2000\r\nRCPT TO:<alice@example.test>\r\nRSET\r\n");
	harness_expect(h, "250 *");
	harness_expect(h, "452 4.2.2 *");
	harness_expect(h, "250 *");
	assert_int_equal(h->lookup_size, 2000);
}

/* A change that overtakes an answer must not be remembered over. */
static void an_answer_from_before_a_change_is_not_kept(void **state)
{
	struct harness *h = *state;

	harness_greet(h, false);
	h->manual = true;
	harness_say(h, "MAIL FROM:<>\r\nRCPT TO:<alice@example.test>\r\n");
	harness_expect(h, "250 *");
	harness_settle(h);
	harness_directory_changed(h);
	harness_answer(h, 0);
	harness_expect(h, "250 2.1.5 *");
	assert_int_equal(resolve_cached(h->worker->resolve), 0);
}

static const char *return_path(const struct harness *h)
{
	static char line[200];

	snprintf(line, sizeof(line), "%.*s", (int)strcspn(h->body, "\n"), h->body);
	return line;
}

static void one_delivery(struct harness *h, const char *sender, const char *to)
{
	struct text rest = text_of(to), one;

	harness_say(h, "MAIL FROM:<");
	harness_say(h, sender);
	harness_say(h, ">\r\n");
	harness_expect(h, "250 *");
	while (rest.len && text_split(&rest, ' ', &one)) {
		char line[400];
		snprintf(line, sizeof(line), "RCPT TO:<%.*s>\r\n", TEXT_ARG(one));
		harness_say(h, line);
		harness_expect(h, "250 2.1.5 *");
	}
	harness_say(h, "DATA\r\n");
	harness_expect(h, "354 *");
	harness_say(h, "Subject: x\r\n\r\n.\r\n");
	for (rest = text_of(to); rest.len && text_split(&rest, ' ', &one);)
		harness_expect(h, "250 2.0.0 *");
}

static void errors_of_a_list_go_to_its_owner(void **state)
{
	static const struct {
		const char *sender, *to, *path;
	} table[] = {
		{ "a@b.test", "team@example.test", "Return-Path: <carol@example.test>" },
		{ "a@b.test", "alice@example.test", "Return-Path: <a@b.test>" },
		{ "a@b.test", "team@example.test user7@example.test", "Return-Path: <a@b.test>" },
		{ "a@b.test", "user7@example.test team@example.test", "Return-Path: <a@b.test>" },
		{ "", "team@example.test", "Return-Path: <>" },
	};
	struct harness *h = *state;

	harness_greet(h, false);
	for (size_t i = 0; i < sizeof(table) / sizeof(table[0]); i++) {
		one_delivery(h, table[i].sender, table[i].to);
		assert_string_equal(return_path(h), table[i].path);
	}
	assert_string_equal(h->recipients, "alice@example.test/INBOX bob@example.test/INBOX ");
}

/* A thousand mailboxes are one transaction; one more is for another message. */
static void a_list_of_a_thousand_is_one_delivery(void **state)
{
	struct harness *h = *state;

	harness_greet(h, false);
	one_delivery(h, "a@b.test", "crowd@example.test");
	assert_int_equal(h->deliveries, 1);
	size_t count = 0;
	for (const char *at = h->recipients; *at; at++)
		count += *at == ' ';
	assert_int_equal(count, 1000);

	harness_say(h, "MAIL FROM:<a@b.test>\r\nRCPT TO:<crowd@example.test>\r\n"
		       "RCPT TO:<alice@example.test>\r\n");
	harness_expect(h, "250 *");
	harness_expect(h, "250 2.1.5 *");
	harness_expect(h, "452 4.5.3 *");
}

static void what_does_not_last_is_asked_anew(void **state)
{
	struct harness *h = *state;

	h->once_only = true;
	harness_greet(h, false);
	for (int i = 0; i < 3; i++)
		one_delivery(h, "a@b.test", "alice@example.test");
	assert_int_equal(h->lookups, 3);
	assert_int_equal(resolve_cached(h->worker->resolve), 0);
}

static void every_failure_of_an_address_is_told(void **state)
{
	struct harness *h = *state;

	harness_greet(h, false);
	harness_say(h, "MAIL FROM:<a@b.test>\r\n");
	harness_expect(h, "250 *");
	/* What went well would be remembered: last. */
	for (int failure = STORE_AWAY - 1; failure >= 0; failure--) {
		h->lookup_failure = failure;
		harness_say(h, "RCPT TO:<alice@example.test>\r\n");
		expect_outcome(h, outcomes[failure].rcpt);
	}
}

/* ---- the end ---- */

static void a_client_that_leaves_at_the_end_loses_nothing(void **state)
{
	struct harness *h = *state;

	harness_greet(h, false);
	harness_envelope(h, "alice@example.test");
	h->manual = true;
	harness_say(h, "\r\n.\r\n");
	harness_settle(h);
	assert_int_equal(h->deliveries, 1);
	shutdown(h->client, SHUT_WR);
	harness_settle(h);
	harness_answer(h, 0);
	harness_expect(h, "250 2.0.0 *");
	harness_expect_end(h);
	assert_int_equal(h->worker->session_count, 0);
}

static void half_a_message_is_none(void **state)
{
	struct harness *h = *state;

	harness_greet(h, false);
	harness_envelope(h, "alice@example.test");
	harness_say(h, "Subject: half\r\n\r\nand no");
	close(h->client);
	h->client = -1;
	harness_settle(h);
	assert_int_equal(h->worker->session_count, 0);
	assert_int_equal(h->deliveries, 0);
}

static void a_stop_lets_messages_finish(void **state)
{
	struct harness *h = *state;

	harness_greet(h, false);
	harness_say(h, "MAIL FROM:<>\r\n");
	harness_expect(h, "250 *");
	int idle = h->client;
	h->client = -1;
	harness_greet(h, false);
	harness_envelope(h, "alice@example.test");
	harness_say(h, "Subject: x\r\n");
	worker_stop(h->worker);
	harness_settle(h);
	assert_int_equal(h->worker->session_count, 2); /* the first waits for its client to close */
	char reply[64] = "";
	assert_true(recv(idle, reply, sizeof(reply) - 1, 0) > 0);
	assert_int_equal(strncmp(reply, "421 4.3.2 ", 10), 0);
	close(idle);
	harness_settle(h);
	assert_int_equal(h->worker->session_count, 1);
	harness_say(h, "\r\n.\r\n");
	harness_expect(h, "250 2.0.0 *");
	harness_expect(h, "421 4.3.2 *");
	harness_expect_end(h);
	harness_settle(h);
	assert_int_equal(h->worker->session_count, 0);
	assert_int_equal(h->deliveries, 1);
}

static void silent_clients_are_cut(void **state)
{
	struct harness *h = *state;

	harness_set(h, "command-timeout", "1");
	harness_greet(h, false);
	harness_expect_end(h);
	/* Ours may be silent, but not inside a transaction. */
	harness_greet(h, true);
	harness_say(h, "MAIL FROM:<>\r\n");
	harness_expect(h, "250 *");
	harness_expect_end(h);
	harness_set(h, "command-timeout", "5m");
	harness_set(h, "data-timeout", "1");
	harness_greet(h, false);
	harness_envelope(h, "alice@example.test");
	harness_expect_end(h);
}

static unsigned told_full, told_room;

static void on_full(void *owner, bool full)
{
	(void)owner;
	if (full)
		told_full++;
	else
		told_room++;
}

static void the_number_of_sessions_is_bounded(void **state)
{
	struct harness *h = *state;

	h->worker->options.full = on_full;
	harness_set(h, "sessions", "1");
	harness_greet(h, false);
	assert_int_equal(told_full, 1);
	assert_int_equal(told_room, 0);
	harness_say(h, "QUIT\r\n");
	harness_expect(h, "221 *");
	harness_expect_end(h);
	harness_settle(h);
	assert_int_equal(told_room, 1);
}

static void counters_add_up(void **state)
{
	struct harness *h = *state;
	struct buf out = { 0 };

	harness_greet(h, false);
	harness_envelope(h, "alice@example.test bob@example.test");
	harness_say(h, "12345678\r\n.\r\n");
	harness_expect(h, "250 *");
	harness_expect(h, "250 *");
	harness_say(h, "BOGUS\r\nMAIL FROM:<>\r\nRCPT TO:<nobody@example.test>\r\n");
	harness_expect(h, "500 *");
	harness_expect(h, "250 *");
	harness_expect(h, "550 *");
	worker_count(h->worker, &out);
	buf_add_char(&out, '\0');
	assert_string_equal(buf_text(&out).ptr,
		"connections=1\nmessages=1\nrecipients=2\noctets=10\nmessages-refused=0\n"
		"messages-deferred=0\nrecipients-refused=1\nrecipients-deferred=0\n"
		"protocol-errors=1\nsessions-now=1\nusers-cached=2\n");
	buf_release(&out);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(commands_need_their_place),
		TEST(parameters_are_checked),
		TEST(help_lists_what_is_offered),
		TEST(lines_at_fault_cost_one_reply),
		TEST(a_client_of_errors_is_sent_away),
		TEST(errors_among_recipients_count_too),
		TEST(a_client_that_only_chats_is_sent_away),
		TEST(recipients_get_their_verdicts),
		TEST(failures_of_the_store_are_told),
		TEST(pipelined_recipients_are_asked_side_by_side),
		TEST(many_recipients_wait_in_bounded_number),
		TEST(recipients_have_a_limit),
		TEST(refused_recipients_take_no_end_of_memory),
		TEST(a_client_that_leaves_is_forgotten),
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
		TEST(large_duplicates_are_named_too),
		TEST(a_user_who_is_full_is_asked_for_anew),
		TEST(large_messages_go_to_a_file),
		TEST(large_texts_without_header_stay_bodies),
		TEST(no_octet_is_lost_at_the_border),
		TEST(memory_is_bounded_over_all_clients),
		TEST(the_client_is_held_until_there_is_a_file),
		TEST(a_file_that_is_not_needed_is_dropped),
		TEST(no_file_means_no_message),
		TEST(too_large_is_refused_at_the_end),
		TEST(without_a_store_all_is_temporary),
		TEST(what_was_asked_of_a_lost_store_is_temporary),
		TEST(a_file_of_a_lost_store_is_no_message),
		TEST(what_the_store_said_holds_until_it_says_otherwise),
		TEST(room_is_asked_for_by_announced_size),
		TEST(an_answer_from_before_a_change_is_not_kept),
		TEST(errors_of_a_list_go_to_its_owner),
		TEST(a_list_of_a_thousand_is_one_delivery),
		TEST(what_does_not_last_is_asked_anew),
		TEST(every_failure_of_an_address_is_told),
		TEST(a_client_that_leaves_at_the_end_loses_nothing),
		TEST(half_a_message_is_none),
		TEST(a_stop_lets_messages_finish),
		TEST(silent_clients_are_cut),
		TEST(the_number_of_sessions_is_bounded),
		TEST(counters_add_up),
	};

	log_open("test", LOG_LEVEL_ERROR);
	return cmocka_run_group_tests(tests, NULL, NULL);
}

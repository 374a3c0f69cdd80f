/* LMTP sessions: commands and their replies, limits, and how a session ends. */
#include "tests/unit/mda/session_case.h"

/* ---- commands ---- */

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
	client_leaves(h);
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

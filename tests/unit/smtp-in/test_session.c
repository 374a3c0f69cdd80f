/* Sessions: what goes through octet for octet; stop, reload and counters. */
#include "smtp-in/session.h"
#include "tests/unit/smtp-in/session_fixture.h"

/* ---- what goes through ---- */

static void test_octets_and_id_go_through(void **state)
{
	struct fixture *fixture = *state;
	char id[21], expected[256];

	client_comes(fixture);
	say(fixture->client, "MAIL FROM:<s@client.test> SIZE=9 BODY=8BITMIME\r\n"
			     "RCPT TO:<\"a\"@EXAMPLE.test>\r\nDATA\r\n");
	server_comes(fixture);
	hear_until(fixture, fixture->server, "DATA\r\n");
	assert_int_equal(
		sscanf(fixture->heard,
			"MAIL FROM:<s@client.test> SIZE=9 BODY=8BITMIME XID=%20[0-9a-z]", id),
		1);
	snprintf(expected, sizeof(expected),
		"MAIL FROM:<s@client.test> SIZE=9 BODY=8BITMIME XID=%s\r\n"
		"RCPT TO:<a@example.test>\r\nDATA\r\n",
		id);
	assert_string_equal(fixture->heard, expected);
	/* The reply to MAIL waits for those to RCPT, and goes with them. */
	hear_nothing(fixture, fixture->client);
	say(fixture->server, "250 2.1.0 ok\r\n250 2.1.5 fine\r\n354 go\r\n");
	hear(fixture, fixture->client, MAIL_OK "250 2.1.5 fine\r\n" GO);
	say(fixture->client, "..\xff\r\n\r\n.");
	say(fixture->client, "\r\n");
	hear_until(fixture, fixture->server, "\r\n..\xff\r\n\r\n.\r\n");
	assert_non_null(strstr(fixture->heard, id));
	assert_non_null(strstr(fixture->heard, " by mx.example.test with SMTP "));
	assert_non_null(strstr(fixture->heard, "<a@example.test>;"));
	say(fixture->server, "250 2.0.0 done\r\n");
	snprintf(expected, sizeof(expected), "250 2.0.0 Accepted as %s\r\n", id);
	hear(fixture, fixture->client, expected);
}

static void test_utf8_is_passed_on_and_told(void **state)
{
	struct fixture *fixture = *state;

	client_comes(fixture);
	say(fixture->client, "MAIL FROM:<s\xc3\xa4@\xc3\xb6.test> SMTPUTF8\r\n"
			     "RCPT TO:<\xc3\xbc@example.test>\r\nDATA\r\n");
	server_comes(fixture);
	hear_until(fixture, fixture->server, "DATA\r\n");
	assert_non_null(
		strstr(fixture->heard, "MAIL FROM:<s\xc3\xa4@\xc3\xb6.test> SMTPUTF8 XID="));
	assert_non_null(strstr(fixture->heard, "RCPT TO:<\xc3\xbc@example.test>\r\n"));
	say(fixture->server, "250 2.1.0 ok\r\n250 2.1.5 fine\r\n354 go\r\n");
	hear(fixture, fixture->client, MAIL_OK "250 2.1.5 fine\r\n" GO);
	say(fixture->client, "x\r\n.\r\n");
	hear_until(fixture, fixture->server, "\r\n.\r\n");
	assert_non_null(strstr(fixture->heard, " with UTF8SMTP "));
	assert_non_null(strstr(fixture->heard, "<\xc3\xbc@example.test>;"));
}

static void test_no_for_with_several_recipients(void **state)
{
	struct fixture *fixture = *state;

	client_comes(fixture);
	open_message(fixture, 2);
	assert_null(strstr(fixture->heard, "for"));
}

static void test_verdicts_on_recipients_are_passed_on(void **state)
{
	struct fixture *fixture = *state;

	client_comes(fixture);
	begin_message(fixture, 4);
	say(fixture->server,
		"250 ok\r\n250 fine\r\n550 no\r\n451-a\r\n451 4.2.1 b\r\n251 2.1.5 c\r\n");
	hear(fixture, fixture->client,
		MAIL_OK "250 2.0.0 fine\r\n550 5.0.0 no\r\n451 4.2.1 b\r\n251 2.1.5 c\r\n");
}

static void test_refused_data_is_passed_on(void **state)
{
	struct fixture *fixture = *state;

	client_comes(fixture);
	begin_message(fixture, 1);
	say(fixture->server, "250 ok\r\n250 fine\r\n452 4.3.1 no room\r\n");
	hear(fixture, fixture->client, MAIL_OK "250 2.0.0 fine\r\n452 4.3.1 no room\r\n");
	hear(fixture, fixture->server, "RSET\r\n");
	say(fixture->server, "250 ok\r\n");
	assert_whole_message_works(fixture);
}

static void test_verdicts_are_joined(void **state)
{
	static const struct {
		const char *said;
		const char *heard;
	} cases[] = {
		{ "552 5.2.2 full\r\n552 5.2.2 full\r\n", "552 5.2.2 full\r\n" },
		{ "550 5.1.1 gone\r\n552 5.2.2 full\r\n", "550 5.1.1 gone\r\n" },
		{ "452 4.3.1 no room\r\n451 4.3.0 busy\r\n", "452 4.3.1 no room\r\n" },
		{ "250 2.0.0 done\r\n552 5.2.2 full\r\n", AWAY },
		{ "552 5.2.2 full\r\n250 2.0.0 done\r\n", AWAY },
		{ "452 4.3.1 no room\r\n550 5.1.1 gone\r\n", AWAY },
		{ "552\r\n552\r\n", "552 5.0.0 \r\n" },
	};
	struct fixture *fixture = *state;

	client_comes(fixture);
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		open_message(fixture, 2);
		say(fixture->client, "x\r\n.\r\n");
		hear(fixture, fixture->server, "x\r\n.\r\n");
		say(fixture->server, cases[i].said);
		hear(fixture, fixture->client, cases[i].heard);
	}
	assert_whole_message_works(fixture);
}

static void test_a_message_at_fault_never_ends(void **state)
{
	struct fixture *fixture = *state;

	client_comes(fixture);
	open_message(fixture, 1);
	say(fixture->client, "fine\r\n");
	hear(fixture, fixture->server, "fine\r\n");
	say(fixture->client, "then\n.\r\nmore\r\n.\r\nRSET\r\n");
	hear_end(fixture, fixture->server);
	hear(fixture, fixture->client,
		"550 5.6.0 Message refused: bare LF; lines end in CRLF\r\n250 2.0.0 Reset\r\n");
	server_goes(fixture);
	assert_whole_message_works(fixture);
}

static void test_slow_server_holds_the_client(void **state)
{
	static char octets[65536];
	struct fixture *fixture = *state;
	size_t sent = 0, taken = 0;
	int idle = 0;

	memset(octets, 'x', sizeof(octets));
	for (size_t i = 998; i < sizeof(octets); i += 1000)
		memcpy(octets + i, "\r\n", 2);
	client_comes(fixture);
	open_message(fixture, 1);
	/* Nobody reads at the far end: before long nothing more is taken from the client. */
	while (idle < 50) {
		ssize_t n = send(fixture->client, octets + sent % sizeof(octets),
			sizeof(octets) - sent % sizeof(octets), MSG_DONTWAIT);
		idle = n > 0 ? 0 : idle + 1;
		sent += n > 0 ? (size_t)n : 0;
		turn(fixture);
		assert_true(sent < 4 << 20);
	}
	/* And all of it arrives once somebody does. */
	while (taken < sent) {
		ssize_t n =
			recv(fixture->server, fixture->heard, sizeof(fixture->heard), MSG_DONTWAIT);
		taken += n > 0 ? (size_t)n : 0;
		turn(fixture);
	}
	assert_int_equal(taken, sent);
	say(fixture->client, "\r\n.\r\n");
	hear(fixture, fixture->server, "\r\n.\r\n");
	say(fixture->server, "250 2.0.0 done\r\n");
	expect_accepted(fixture);
}

static void test_client_that_has_ended_still_delivers(void **state)
{
	struct fixture *fixture = *state;

	client_comes(fixture);
	open_message(fixture, 1);
	say(fixture->client, "x\r\n.\r\nQUIT\r\n");
	shutdown(fixture->client, SHUT_WR);
	hear(fixture, fixture->server, "x\r\n.\r\n");
	hear_nothing(fixture, fixture->client);
	say(fixture->server, "250 2.0.0 done\r\n");
	hear_until(fixture, fixture->client, "Goodbye\r\n");
	assert_memory_equal(fixture->heard, "250 2.0.0 Accepted as ", 22);
	hear_end(fixture, fixture->client);
}

static void test_client_gone_amid_a_message_cuts_it(void **state)
{
	struct fixture *fixture = *state;

	client_comes(fixture);
	open_message(fixture, 1);
	say(fixture->client, "half\r\n");
	hear(fixture, fixture->server, "half\r\n");
	client_goes(fixture);
	hear_end(fixture, fixture->server);
	assert_int_equal(fixture->worker->total.lost_messages, 1);
	assert_int_equal(fixture->worker->session_count, 0);
}

static void wait_for_sessions(struct fixture *fixture, unsigned count)
{
	struct timespec begin;

	clock_gettime(CLOCK_MONOTONIC, &begin);
	while (fixture->worker->session_count != count) {
		assert_false(is_late(&begin));
		turn(fixture);
	}
}

/* The server says nothing, so nothing is ever sent to whoever has left. */
static void test_client_gone_before_verdicts_is_noticed(void **state)
{
	static const char *const behind[] = { "", "NOOP\r\n", "DATA\r\n" };
	struct fixture *fixture = *state;

	for (size_t i = 0; i < sizeof(behind) / sizeof(behind[0]); i++) {
		client_comes(fixture);
		say(fixture->client, ENVELOPE);
		server_comes(fixture);
		hear_until(fixture, fixture->server, "RCPT TO:<a@example.test>\r\n");
		say(fixture->client, behind[i]);
		hear_nothing(fixture, fixture->client);
		client_goes(fixture);
		wait_for_sessions(fixture, 0);
		server_goes(fixture);
	}
	assert_int_equal(fixture->worker->total.lost_messages, 0);
}

static void test_client_gone_while_bad_news_wait_is_noticed(void **state)
{
	struct fixture *fixture = *state;

	client_comes(fixture);
	say(fixture->client, ENVELOPE);
	server_comes(fixture);
	hear_until(fixture, fixture->server, "RCPT TO:<a@example.test>\r\n");
	session_delay(LIST_FIRST(&fixture->worker->sessions), 3600 * 1000);
	say(fixture->server, "250 2.1.0 ok\r\n550 5.1.1 no\r\n");
	hear_nothing(fixture, fixture->client);
	client_goes(fixture);
	wait_for_sessions(fixture, 0);
}

/* It is the server's, and is counted as what it becomes. */
static void test_client_gone_before_the_verdict_still_delivers(void **state)
{
	struct fixture *fixture = *state;

	client_comes(fixture);
	open_message(fixture, 1);
	say(fixture->client, "x\r\n.\r\nNOOP\r\n");
	hear(fixture, fixture->server, "x\r\n.\r\n");
	client_goes(fixture);
	/* Another one that has left at the same time tells that the look was taken. */
	const struct session *first = LIST_FIRST(&fixture->worker->sessions);
	client_comes(fixture);
	session_delay(LIST_FIRST(&fixture->worker->sessions), 3600 * 1000);
	say(fixture->client, "NOOP\r\n");
	client_goes(fixture);
	wait_for_sessions(fixture, 1);
	assert_ptr_equal(LIST_FIRST(&fixture->worker->sessions), first);
	say(fixture->server, "250 2.0.0 done\r\n");
	wait_for_sessions(fixture, 0);
	assert_int_equal(fixture->worker->total.messages, 1);
	assert_int_equal(fixture->worker->total.lost_messages, 0);
}

/* Octet by octet there is no more time for a command than at once. */
static void test_slow_command_times_out(void **state)
{
	struct fixture *fixture = *state;
	struct timespec start;
	char octet;

	client_comes(fixture);
	fixture->settings.command_seconds = 1;
	say(fixture->client, "NOOP\r\n");
	hear(fixture, fixture->client, "250 2.0.0 Ok\r\n");
	clock_gettime(CLOCK_MONOTONIC, &start);
	while (recv(fixture->client, &octet, 1, MSG_PEEK | MSG_DONTWAIT) < 0) {
		assert_false(is_late(&start));
		say(fixture->client, "N");
		for (int i = 0; i < 100; i++)
			turn(fixture);
	}
	hear(fixture, fixture->client,
		"421 4.4.2 mx.example.test: Timeout, closing the connection\r\n");
	assert_int_equal(fixture->worker->total.timeouts, 1);
}

/* ---- stop, reload, counters ---- */

static void test_stop_ends_idle_sessions(void **state)
{
	struct fixture *fixture = *state;

	client_comes(fixture);
	worker_stop(fixture->worker);
	hear(fixture, fixture->client, "421 4.3.2 mx.example.test: Shutting down\r\n");
	hear_end(fixture, fixture->client);
	client_goes(fixture);
	turn(fixture);
	assert_false(worker_is_busy(fixture->worker));
}

static void test_stop_lets_a_message_finish(void **state)
{
	struct fixture *fixture = *state;

	client_comes(fixture);
	open_message(fixture, 1);
	worker_stop(fixture->worker);
	assert_true(worker_is_busy(fixture->worker));
	hear_nothing(fixture, fixture->client);
	say(fixture->client, "x\r\n.\r\nMAIL FROM:<>\r\n");
	hear(fixture, fixture->server, "x\r\n.\r\n");
	say(fixture->server, "250 2.0.0 done\r\n");
	hear_until(fixture, fixture->client, "down\r\n");
	assert_memory_equal(fixture->heard, "250 2.0.0 Accepted as ", 22);
	assert_non_null(strstr(fixture->heard, "\r\n421 4.3.2 mx.example.test: Shutting down\r\n"));
	hear_end(fixture, fixture->client);
	client_goes(fixture);
	for (int i = 0; i < 5; i++)
		turn(fixture);
	assert_false(worker_is_busy(fixture->worker));
}

#define DOWN "421 4.3.2 mx.example.test: Shutting down\r\n"

static void test_stop_ends_who_is_turned_down(void **state)
{
	struct fixture *fixture = *state;

	client_comes(fixture);
	begin_message(fixture, 1);
	worker_stop(fixture->worker);
	say(fixture->server, BROUGHT "451 4.3.2 not now\r\n");
	hear(fixture, fixture->client, MAIL_OK "250 2.1.5 fine\r\n451 4.3.2 not now\r\n" DOWN);
	hear_end(fixture, fixture->client);
}

static void test_stop_ends_who_sends_a_chunk_for_nobody(void **state)
{
	struct fixture *fixture = *state;

	client_comes(fixture);
	say(fixture->client, "BDAT 3\r\n");
	turn(fixture);
	worker_stop(fixture->worker);
	say(fixture->client, "x\r\n");
	hear(fixture, fixture->client, "503 5.5.1 MAIL first\r\n" DOWN);
	hear_end(fixture, fixture->client);
}

static void test_reload_changes_limits_at_once(void **state)
{
	struct fixture *fixture = *state;

	client_comes(fixture);
	fixture->settings.message_size = 5000;
	fixture->settings.recipients = 1;
	worker_reload(fixture->worker);
	say(fixture->client, "MAIL FROM:<> SIZE=5001\r\n");
	hear(fixture, fixture->client, "552 5.3.4 Message over 5000 octets\r\n");
	say(fixture->client,
		"MAIL FROM:<>\r\nRCPT TO:<a@example.test>\r\nRCPT TO:<b@example.test>\r\n");
	server_comes(fixture);
	hear_until(fixture, fixture->server, "a@example.test>\r\n");
	say(fixture->server, "250 ok\r\n250 2.1.5 fine\r\n");
	hear(fixture, fixture->client,
		MAIL_OK "250 2.1.5 fine\r\n452 4.5.3 Too many recipients\r\n");
}

static void test_counters(void **state)
{
	struct fixture *fixture = *state;
	struct buf lines = { 0 };

	client_comes(fixture);
	assert_whole_message_works(fixture);
	say(fixture->client, "WHAT\r\n");
	hear(fixture, fixture->client, "500 5.5.2 Command unknown\r\n");
	worker_count(fixture->worker, &lines);
	buf_add_char(&lines, '\0');
	static const char *const expected[] = { "sessions=1\n", "connections=1\n", "messages=1\n",
		"octets=5\n", "recipients=1\n", "hand-over-connections=1\n", "hand-over-idle=1\n",
		"reply-220=1\n", "reply-250=4\n", "reply-354=1\n", "reply-500=1\n" };
	for (size_t i = 0; i < sizeof(expected) / sizeof(expected[0]); i++) {
		if (!strstr(buf_text(&lines).ptr, expected[i]))
			fail_msg("%s is not in\n%s", expected[i], buf_text(&lines).ptr);
	}
	buf_release(&lines);
}

static void test_tls_listener_without_certificate(void **state)
{
	struct fixture *fixture = *state;
	int pair[2];

	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, pair), 0);
	worker_accept(fixture->worker, "smtps", pair[1]);
	hear_end(fixture, pair[0]);
	close(pair[0]);
	client_comes(fixture);
	server_comes(fixture);
	say(fixture->client, "STARTTLS\r\nEHLO client.test\r\n");
	hear_until(fixture, fixture->client, "250 SIZE 36700160\r\n");
	assert_memory_equal(fixture->heard, "454 4.7.0 TLS is not available\r\n", 32);
	assert_null(strstr(fixture->heard, "STARTTLS"));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(octets_and_id_go_through),
		TEST(utf8_is_passed_on_and_told),
		TEST(no_for_with_several_recipients),
		TEST(verdicts_on_recipients_are_passed_on),
		TEST(refused_data_is_passed_on),
		TEST(verdicts_are_joined),
		TEST(a_message_at_fault_never_ends),
		TEST(slow_server_holds_the_client),
		TEST(client_that_has_ended_still_delivers),
		TEST(client_gone_amid_a_message_cuts_it),
		TEST(client_gone_before_verdicts_is_noticed),
		TEST(client_gone_while_bad_news_wait_is_noticed),
		TEST(client_gone_before_the_verdict_still_delivers),
		TEST(slow_command_times_out),
		TEST(stop_ends_idle_sessions),
		TEST(stop_lets_a_message_finish),
		TEST(stop_ends_who_is_turned_down),
		TEST(stop_ends_who_sends_a_chunk_for_nobody),
		TEST(reload_changes_limits_at_once),
		TEST(counters),
		TEST(tls_listener_without_certificate),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

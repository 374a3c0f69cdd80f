/* Sessions whose server is slow to come, refuses, breaks off, or is not there. */
#include "smtp-in/session.h"
#include "smtp-in/transaction.h"
#include "tests/unit/outcomes.h"
#include "tests/unit/smtp-in/session_fixture.h"

/* ---- the server is away ---- */

static void test_nobody_to_hand_over_to(void **state)
{
	struct fixture *fixture = *state;

	close(fixture->listener);
	client_comes(fixture);
	say(fixture->client,
		"MAIL FROM:<>\r\nRCPT TO:<a@example.test>\r\nRCPT TO:<b@example.test>\r\n"
		"DATA\r\nRSET\r\n");
	hear(fixture, fixture->client, MAIL_OK AWAY AWAY AWAY "250 2.0.0 Reset\r\n");
	/* It comes back, and the same session delivers. */
	listen_anew(fixture);
	assert_whole_message_works(fixture);
}

static void test_broken_off_before_verdicts_on_recipients(void **state)
{
	struct fixture *fixture = *state;

	client_comes(fixture);
	begin_message(fixture, 2);
	server_goes(fixture);
	hear(fixture, fixture->client, MAIL_OK AWAY AWAY AWAY);
	assert_whole_message_works(fixture);
}

static void test_broken_off_between_recipients_and_data(void **state)
{
	struct fixture *fixture = *state;

	client_comes(fixture);
	say(fixture->client, "MAIL FROM:<>\r\nRCPT TO:<a@example.test>\r\n");
	server_comes(fixture);
	hear_until(fixture, fixture->server, "example.test>\r\n");
	say(fixture->server, "250 ok\r\n250 2.1.5 fine\r\n");
	hear(fixture, fixture->client, MAIL_OK "250 2.1.5 fine\r\n");
	server_goes(fixture);
	turn(fixture);
	say(fixture->client, "RCPT TO:<b@example.test>\r\nDATA\r\n");
	hear(fixture, fixture->client, AWAY AWAY);
	assert_whole_message_works(fixture);
}

static void test_421_of_the_server_is_not_ours(void **state)
{
	struct fixture *fixture = *state;

	client_comes(fixture);
	begin_message(fixture, 1);
	say(fixture->server, "250 ok\r\n421 4.3.2 bye\r\n");
	hear(fixture, fixture->client, MAIL_OK AWAY AWAY);
}

/* A recipient and a message that fared so: the client hears the same code, of a lone message "Accepted". */
static void assert_is_passed_on(struct fixture *fixture, const struct outcome *outcome)
{
	char rcpt[40], end[40];

	snprintf(rcpt, sizeof(rcpt), "%s why\r\n", outcome->rcpt);
	snprintf(end, sizeof(end), "%s why\r\n", outcome->end);
	client_comes(fixture);
	begin_message(fixture, 2);
	say(fixture->server, "250 2.1.0 ok\r\n");
	say(fixture->server, rcpt);
	say(fixture->server, "250 2.1.5 fine\r\n354 go\r\n");
	hear(fixture, fixture->client, MAIL_OK);
	hear(fixture, fixture->client, rcpt);
	hear(fixture, fixture->client, "250 2.1.5 fine\r\n" GO);
	say(fixture->client, "x\r\n.\r\n");
	hear_until(fixture, fixture->server, "x\r\n.\r\n");
	say(fixture->server, end);
	if (outcome->rcpt[0] == '2')
		say(fixture->server, end);
	if (outcome->end[0] != '2') {
		hear(fixture, fixture->client, end);
		return;
	}
	expect_accepted(fixture);
}

static void test_every_failure_is_passed_on(void **state)
{
	for (size_t i = 0; i < STORE_FAILURES; i++)
		assert_is_passed_on(*state, &outcomes[i]);
}

static void test_broken_off_amid_a_message(void **state)
{
	struct fixture *fixture = *state;

	client_comes(fixture);
	open_message(fixture, 1);
	say(fixture->client, "half\r\n");
	hear(fixture, fixture->server, "half\r\n");
	server_goes(fixture);
	hear_nothing(fixture, fixture->client);
	say(fixture->client, "MAIL FROM:<>\r\nthis is still text\r\n.\r\n");
	hear(fixture, fixture->client, AWAY);
	assert_whole_message_works(fixture);
}

static void test_broken_off_before_the_verdict(void **state)
{
	struct fixture *fixture = *state;

	client_comes(fixture);
	open_message(fixture, 2);
	say(fixture->client, "x\r\n.\r\n");
	hear(fixture, fixture->server, "x\r\n.\r\n");
	say(fixture->server, "250 2.0.0 done\r\n");
	server_goes(fixture);
	hear(fixture, fixture->client, AWAY);
	assert_whole_message_works(fixture);
}

static void test_server_started_anew_is_not_noticed(void **state)
{
	struct fixture *fixture = *state;

	client_comes(fixture);
	assert_whole_message_works(fixture);
	server_goes(fixture);
	assert_whole_message_works(fixture);
	assert_int_equal(fixture->worker->total.replies[451], 0);
}

/* ---- EHLO waits to hear what may be offered ---- */

static void test_ehlo_waits_for_the_server(void **state)
{
	struct fixture *fixture = *state;

	client_comes(fixture);
	say(fixture->client, "EHLO client.test\r\nNOOP\r\n");
	hear_nothing(fixture, fixture->client);
	server_comes_with(fixture, "DSN");
	hear_until(fixture, fixture->client, "250 2.0.0 Ok\r\n");
	assert_non_null(strstr(fixture->heard, "250-DSN\r\n"));
	say(fixture->client, "MAIL FROM:<s@client.test> RET=HDRS ENVID=x\r\n"
			     "RCPT TO:<a@example.test> NOTIFY=NEVER\r\n");
	hear_until(fixture, fixture->server, " NOTIFY=NEVER\r\n");
	assert_non_null(strstr(fixture->heard, " RET=HDRS ENVID=x "));
}

static void test_dsn_is_not_offered_for_others(void **state)
{
	struct fixture *fixture = *state;

	client_comes(fixture);
	server_comes(fixture);
	say(fixture->client, "EHLO client.test\r\n");
	hear_until(fixture, fixture->client, "250 SIZE 36700160\r\n");
	assert_null(strstr(fixture->heard, "DSN"));
	say(fixture->client, "MAIL FROM:<s@client.test> RET=HDRS\r\n");
	hear(fixture, fixture->client, "555 5.5.4 MAIL has no parameter RET\r\n");
	say(fixture->client, "MAIL FROM:<s@client.test>\r\nRCPT TO:<a@b.test> NOTIFY=NEVER\r\n");
	hear(fixture, fixture->client, MAIL_OK "555 5.5.4 RCPT has no parameter NOTIFY\r\n");
}

static void test_ehlo_when_nobody_is_there(void **state)
{
	struct fixture *fixture = *state;

	client_comes(fixture);
	say(fixture->client, "EHLO client.test\r\n");
	hear_nothing(fixture, fixture->client);
	fixture->server = accept(fixture->listener, NULL, NULL);
	assert_true(fixture->server >= 0);
	server_goes(fixture);
	hear_until(fixture, fixture->client, "250 SIZE 36700160\r\n");
	assert_null(strstr(fixture->heard, "DSN"));
}

/* ---- a client that stops after RCPT ---- */

static void let_rest(struct fixture *fixture)
{
	char error[200];

	assert_int_equal(settings_set(&smtp_in_section, &fixture->settings, "hand-over-hold",
				 TEXT("1"), error, sizeof(error)),
		0);
	client_comes(fixture);
	say(fixture->client, ENVELOPE "RCPT TO:<no@example.test>\r\n");
	server_comes(fixture);
	hear_until(fixture, fixture->server, "RCPT TO:<no@example.test>\r\n");
	say(fixture->server, BROUGHT "550 5.1.1 no\r\n");
	hear(fixture, fixture->client, MAIL_OK "250 2.1.5 fine\r\n550 5.1.1 no\r\n");
	hear(fixture, fixture->server, "RSET\r\n");
	say(fixture->server, "250 2.0.0 ok\r\n");
	hear_nothing(fixture, fixture->client);
}

/* Only those who were accepted are told again, and the client hears nothing of it. */
static void test_a_silent_client_gives_the_connection_back(void **state)
{
	struct fixture *fixture = *state;

	let_rest(fixture);
	say(fixture->client, "RCPT TO:<b@example.test>\r\nDATA\r\n");
	hear_until(fixture, fixture->server, "DATA\r\n");
	assert_non_null(strstr(fixture->heard, "\r\nRCPT TO:<a@example.test>\r\n"
					       "RCPT TO:<b@example.test>\r\nDATA\r\n"));
	say(fixture->server, BROUGHT "250 2.1.5 b\r\n354 go\r\n");
	hear(fixture, fixture->client, "250 2.1.5 b\r\n" GO);
	say(fixture->client, "x\r\n.\r\n");
	hear_until(fixture, fixture->server, "x\r\n.\r\n");
	say(fixture->server, "250 2.0.0 a\r\n250 2.0.0 b\r\n");
	expect_accepted(fixture);
	assert_whole_message_works(fixture);
}

static void test_a_recipient_that_has_gone_meanwhile(void **state)
{
	struct fixture *fixture = *state;

	let_rest(fixture);
	say(fixture->client, "DATA\r\n");
	hear_until(fixture, fixture->server, "DATA\r\n");
	say(fixture->server, "250 2.1.0 ok\r\n550 5.1.1 gone\r\n503 5.5.1 nobody\r\n");
	hear(fixture, fixture->client, "550 5.1.1 gone\r\n");
	hear(fixture, fixture->server, "RSET\r\n");
	say(fixture->server, "250 2.0.0 ok\r\n");
	assert_whole_message_works(fixture);
}

/* Told while the client still adds others: of those it heard 250 for, one would not get the message. */
static void test_a_recipient_that_has_gone_before_data(void **state)
{
	struct fixture *fixture = *state;

	let_rest(fixture);
	say(fixture->client, "RCPT TO:<b@example.test>\r\n");
	hear_until(fixture, fixture->server, "RCPT TO:<b@example.test>\r\n");
	say(fixture->server, "250 2.1.0 ok\r\n550 5.1.1 gone\r\n250 2.1.5 b\r\n");
	hear(fixture, fixture->client, "250 2.1.5 b\r\n");
	say(fixture->client, "DATA\r\n");
	hear(fixture, fixture->server, "DATA\r\n");
	say(fixture->server, "354 go\r\n");
	hear(fixture, fixture->client, AWAY);
	hear_end(fixture, fixture->server);
	server_goes(fixture);
	assert_whole_message_works(fixture);
}

static void test_a_server_that_has_gone_meanwhile(void **state)
{
	struct fixture *fixture = *state;

	let_rest(fixture);
	close(fixture->listener);
	server_goes(fixture);
	say(fixture->client, "BDAT 6 LAST\r\nNOOP\r\n");
	hear(fixture, fixture->client, AWAY);
	say(fixture->client, "NOOP\r\n");
	hear(fixture, fixture->client, "250 2.0.0 Ok\r\n");
	listen_anew(fixture);
	assert_whole_message_works(fixture);
}

/* ---- DATA when all recipients are accepted ---- */

#define WHOLE "Subject: x\r\n\r\nx\r\n.\r\n"

/* The client is told to go on, and sends that, before the server has said that it will take a message. */
static void send_ahead(struct fixture *fixture, const char *octets)
{
	client_comes(fixture);
	say(fixture->client, "MAIL FROM:<s@client.test>\r\nRCPT TO:<a@example.test>\r\n");
	server_comes(fixture);
	hear_until(fixture, fixture->server, "example.test>\r\n");
	say(fixture->server, BROUGHT);
	hear(fixture, fixture->client, MAIL_OK "250 2.1.5 fine\r\n");
	say(fixture->client, "DATA\r\n");
	hear(fixture, fixture->client, GO);
	hear(fixture, fixture->server, "DATA\r\n");
	say(fixture->client, octets);
	hear_nothing(fixture, fixture->server);
	hear_nothing(fixture, fixture->client);
}

static void test_a_message_waits_for_the_server(void **state)
{
	struct fixture *fixture = *state;

	send_ahead(fixture, WHOLE);
	say(fixture->server, "354 go\r\n");
	hear_until(fixture, fixture->server, "\r\nSubject: x\r\n\r\nx\r\n.\r\n");
	hear_nothing(fixture, fixture->client);
	say(fixture->server, "250 2.0.0 kept\r\n");
	hear_until(fixture, fixture->client, "\r\n");
	assert_memory_equal(fixture->heard, "250 2.0.0 Accepted as ", 22);
	assert_whole_message_works(fixture);
}

/* Of a minute for half a message the server took all but a moment: nobody is slow. */
static void test_what_the_server_took_is_not_the_client_s(void **state)
{
	struct fixture *fixture = *state;

	send_ahead(fixture, "Subject: x\r\n\r\n");
	struct session *session = LIST_FIRST(&fixture->worker->sessions);
	session->held_since -= 60000;
	session->message_since -= 60000;
	session->transaction->octets_since -= 60000;
	say(fixture->server, "354 go\r\n");
	hear_until(fixture, fixture->server, "\r\nSubject: x\r\n\r\n");
	fixture->worker->pressed = true;
	session_tick(session);
	hear_nothing(fixture, fixture->client);
	finish_message(fixture);
}

static void test_a_server_that_refuses_data_is_heard_at_the_end(void **state)
{
	struct fixture *fixture = *state;

	send_ahead(fixture, WHOLE);
	say(fixture->server, "452 4.3.1 full\r\n");
	hear(fixture, fixture->client, "452 4.3.1 full\r\n");
	hear(fixture, fixture->server, "RSET\r\n");
	say(fixture->server, "250 2.0.0 ok\r\n");
	assert_whole_message_works(fixture);
}

static void test_broken_off_before_it_takes_data(void **state)
{
	struct fixture *fixture = *state;

	send_ahead(fixture, WHOLE);
	close(fixture->server);
	fixture->server = -1;
	hear(fixture, fixture->client, AWAY);
	assert_whole_message_works(fixture);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(nobody_to_hand_over_to),
		TEST(broken_off_before_verdicts_on_recipients),
		TEST(broken_off_between_recipients_and_data),
		TEST(421_of_the_server_is_not_ours),
		TEST(every_failure_is_passed_on),
		TEST(broken_off_amid_a_message),
		TEST(broken_off_before_the_verdict),
		TEST(server_started_anew_is_not_noticed),
		TEST(ehlo_waits_for_the_server),
		TEST(dsn_is_not_offered_for_others),
		TEST(ehlo_when_nobody_is_there),
		TEST(a_silent_client_gives_the_connection_back),
		TEST(a_recipient_that_has_gone_meanwhile),
		TEST(a_recipient_that_has_gone_before_data),
		TEST(a_server_that_has_gone_meanwhile),
		TEST(a_message_waits_for_the_server),
		TEST(what_the_server_took_is_not_the_client_s),
		TEST(a_server_that_refuses_data_is_heard_at_the_end),
		TEST(broken_off_before_it_takes_data),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

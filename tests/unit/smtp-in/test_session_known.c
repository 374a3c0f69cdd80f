/* Recipients that the server has accepted a moment ago: told at once, asked before the message. */
#include "smtp-in/session.h"
#include "smtp-in/transaction.h"
#include "tests/unit/smtp-in/session_fixture.h"

#define TO_A "RCPT TO:<a@example.test>\r\n"
#define TO_B "RCPT TO:<b@example.test>\r\n"
#define TO_C "RCPT TO:<c@example.test>\r\n"
#define OK_AT_ONCE "250 2.1.5 recipient ok\r\n"

static void set(struct fixture *fixture, const char *name, const char *value)
{
	char error[200];

	assert_int_equal(settings_set(&smtp_in_section, &fixture->settings, name, text_of(value),
				 error, sizeof(error)),
		0);
	worker_reload(fixture->worker);
}

static struct session *session_of(const struct fixture *fixture)
{
	return LIST_FIRST(&fixture->worker->sessions);
}

static void server_resets(struct fixture *fixture)
{
	hear(fixture, fixture->server, "RSET\r\n");
	say(fixture->server, "250 2.0.0 ok\r\n");
	hear_nothing(fixture, fixture->client);
}

static void reset(struct fixture *fixture)
{
	say(fixture->client, "RSET\r\n");
	hear(fixture, fixture->client, "250 2.0.0 Reset\r\n");
	server_resets(fixture);
}

/* a and b are named by a client that sends all at once. */
static void name_both(struct fixture *fixture)
{
	say(fixture->client, ENVELOPE TO_B "RSET\r\n");
	if (fixture->server < 0)
		server_comes(fixture);
	hear_until(fixture, fixture->server, TO_B);
	say(fixture->server, BROUGHT "250 2.1.5 fine\r\n");
	hear(fixture, fixture->client,
		MAIL_OK "250 2.1.5 fine\r\n250 2.1.5 fine\r\n250 2.0.0 Reset\r\n");
	server_resets(fixture);
}

static void make_known_at(struct fixture *fixture, const char *extension)
{
	set(fixture, "hand-over-memory", "60");
	client_comes(fixture);
	server_comes_with(fixture, extension);
	name_both(fixture);
}

static void make_known(struct fixture *fixture)
{
	make_known_at(fixture, "ENHANCEDSTATUSCODES");
}

/* The first of a message is asked about, known or not. */
static void begin_with(struct fixture *fixture, const char *mail, const char *rcpt)
{
	say(fixture->client, mail);
	say(fixture->client, rcpt);
	hear_until(fixture, fixture->server, rcpt);
	say(fixture->server, BROUGHT);
	hear(fixture, fixture->client, MAIL_OK "250 2.1.5 fine\r\n");
}

static void begin_with_a(struct fixture *fixture)
{
	begin_with(fixture, "MAIL FROM:<s@client.test>\r\n", TO_A);
}

/* The client is told of it, and the server hears nothing yet. */
static void name_known(struct fixture *fixture, const char *rcpt)
{
	say(fixture->client, rcpt);
	hear(fixture, fixture->client, OK_AT_ONCE);
	hear_nothing(fixture, fixture->server);
}

static void begin_with_a_and_b(struct fixture *fixture)
{
	begin_with_a(fixture);
	name_known(fixture, TO_B);
}

/* The server is asked, and this is what it says. */
static void name_asked(struct fixture *fixture, const char *rcpt, const char *verdict)
{
	say(fixture->client, rcpt);
	hear(fixture, fixture->server, rcpt);
	say(fixture->server, verdict);
	hear(fixture, fixture->client, verdict);
}

static void finish_with(struct fixture *fixture, const char *verdicts)
{
	hear(fixture, fixture->client, GO);
	say(fixture->client, "x\r\n.\r\n");
	hear_until(fixture, fixture->server, "x\r\n.\r\n");
	hear_nothing(fixture, fixture->client);
	say(fixture->server, verdicts);
	expect_accepted(fixture);
}

static void test_known_is_told_at_once_and_asked_before_the_message(void **state)
{
	struct fixture *fixture = *state;

	make_known(fixture);
	for (int i = 0; i < 2; i++) {
		begin_with_a_and_b(fixture);
		name_known(fixture, TO_A);
		say(fixture->client, "DATA\r\n");
		hear(fixture, fixture->server, TO_B TO_A "DATA\r\n");
		say(fixture->server, "250 2.1.5 b\r\n");
		hear_nothing(fixture, fixture->client);
		say(fixture->server, "250 2.1.5 a\r\n354 go\r\n");
		finish_with(fixture, "250 2.0.0 a\r\n250 2.0.0 b\r\n250 2.0.0 a\r\n");
	}
	assert_int_equal(fixture->worker->total.messages, 2);
	assert_int_equal(fixture->worker->total.recipients, 8);
}

/* One that is not known takes those before it along; those behind it wait for the message again. */
static void test_known_and_unknown_one_by_one(void **state)
{
	struct fixture *fixture = *state;

	make_known(fixture);
	begin_with_a_and_b(fixture);
	say(fixture->client, TO_C);
	hear(fixture, fixture->server, TO_B TO_C);
	say(fixture->server, "250 2.1.5 b\r\n");
	hear_nothing(fixture, fixture->client);
	say(fixture->server, "250 2.1.5 c\r\n");
	hear(fixture, fixture->client, "250 2.1.5 c\r\n");
	name_known(fixture, TO_A);
	say(fixture->client, "DATA\r\n");
	hear(fixture, fixture->server, TO_A "DATA\r\n");
	say(fixture->server, "250 2.1.5 a\r\n354 go\r\n");
	finish_with(fixture, "250 2.0.0 a\r\n250 2.0.0 b\r\n250 2.0.0 c\r\n250 2.0.0 a\r\n");
}

/* It is asked about like the unknown one before it, and like those that come together with it. */
static void test_known_does_not_overtake(void **state)
{
	struct fixture *fixture = *state;

	make_known(fixture);
	begin_with_a(fixture);
	say(fixture->client, TO_C);
	hear(fixture, fixture->server, TO_C);
	say(fixture->client, TO_B);
	hear(fixture, fixture->server, TO_B);
	hear_nothing(fixture, fixture->client);
	say(fixture->server, "550 5.1.1 c\r\n250 2.1.5 b\r\n");
	hear(fixture, fixture->client, "550 5.1.1 c\r\n250 2.1.5 b\r\n");
	say(fixture->client, TO_B TO_A);
	hear(fixture, fixture->server, TO_B TO_A);
	hear_nothing(fixture, fixture->client);
	say(fixture->server, "452 4.2.2 b\r\n250 2.1.5 a\r\n");
	hear(fixture, fixture->client, "452 4.2.2 b\r\n250 2.1.5 a\r\n");
	reset(fixture);
	assert_whole_message_works(fixture);
}

static void test_anything_else_is_asked(void **state)
{
	static const struct {
		const char *mail, *rcpt;
	} cases[] = {
		{ "MAIL FROM:<t@client.test>\r\n", TO_A },
		{ "MAIL FROM:<>\r\n", TO_A },
		{ "MAIL FROM:<s@client.test> SIZE=1\r\n", TO_A },
		{ "MAIL FROM:<s@client.test> BODY=8BITMIME\r\n", TO_A },
		{ "MAIL FROM:<s@client.test> SMTPUTF8\r\n", TO_A },
		{ "MAIL FROM:<s@client.test> RET=HDRS\r\n", TO_A },
		{ "MAIL FROM:<s@client.test>\r\n", "RCPT TO:<A@example.test>\r\n" },
		{ "MAIL FROM:<s@client.test>\r\n", "RCPT TO:<a@example.test> NOTIFY=NEVER\r\n" },
		{ "MAIL FROM:<s@client.test>\r\n", TO_C },
	};
	struct fixture *fixture = *state;

	make_known_at(fixture, "DSN");
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		begin_with(fixture, cases[i].mail, "RCPT TO:<x@example.test>\r\n");
		name_asked(fixture, cases[i].rcpt, "250 2.1.5 not known yet\r\n");
		name_known(fixture, cases[i].rcpt);
		reset(fixture);
	}
}

/*
 * Nobody has that message, and who names the recipient again hears why. What is not for ever is said at
 * once; for the rest the client is not to give up the other recipient.
 */
static void test_known_and_gone(void **state)
{
	static const struct {
		const char *begin, *verdict, *reply;
	} cases[] = {
		{ "DATA\r\n", "550 5.1.1 gone\r\n", AWAY },
		{ "BDAT 3 LAST\r\nx\r\n", "550 5.1.1 gone\r\n", AWAY },
		{ "DATA\r\n", "452 4.2.2 full\r\n", "452 4.2.2 full\r\n" },
		{ "BDAT 3 LAST\r\nx\r\n", "452 4.2.2 full\r\n", "452 4.2.2 full\r\n" },
	};
	struct fixture *fixture = *state;

	make_known_at(fixture, "CHUNKING");
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		begin_with_a_and_b(fixture);
		say(fixture->client, cases[i].begin);
		hear(fixture, fixture->server, TO_B);
		say(fixture->server, cases[i].verdict);
		hear(fixture, fixture->client, cases[i].reply);
		server_resets(fixture);
		begin_with_a(fixture);
		name_asked(fixture, TO_B, "452 4.2.2 full\r\n");
		name_asked(fixture, TO_B, "550 5.1.1 gone\r\n");
		name_asked(fixture, TO_B, "250 2.1.5 here again\r\n");
		reset(fixture);
	}
	assert_int_equal(fixture->worker->total.refused_recipients, 12);
	assert_int_equal(fixture->worker->total.messages, 0);
}

/* Three recipients have been accepted, and the server is asked about all of them again. */
static void rest_and_go_on(struct fixture *fixture, const char *mail)
{
	begin_with(fixture, mail, TO_A);
	name_known(fixture, TO_B);
	name_known(fixture, TO_A);
	transaction_rest(session_of(fixture)->transaction);
	server_resets(fixture);
	say(fixture->client, "DATA\r\n");
	hear_until(fixture, fixture->server, TO_A TO_B TO_A "DATA\r\n");
	say(fixture->server, "250 2.1.0 ok\r\n");
}

static void test_all_are_gone(void **state)
{
	static const struct {
		const char *verdicts, *reply;
	} cases[] = {
		{ "550 5.1.1 a\r\n550 5.1.1 b\r\n550 5.1.1 a\r\n", "550 5.1.1 a\r\n" },
		{ "550 5.1.1 a\r\n452 4.2.2 b\r\n550 5.1.1 a\r\n", "452 4.2.2 b\r\n" },
	};
	struct fixture *fixture = *state;

	make_known(fixture);
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		name_both(fixture);
		rest_and_go_on(fixture, "MAIL FROM:<s@client.test>\r\n");
		say(fixture->server, cases[i].verdicts);
		say(fixture->server, "503 5.5.1 nobody\r\n");
		hear(fixture, fixture->client, cases[i].reply);
		server_resets(fixture);
	}
	assert_int_equal(fixture->worker->total.refused_messages, 2);
}

/* The others get the message, and each is told its own; also when the server goes before it has said all. */
static void test_gone_with_prdr(void **state)
{
	struct fixture *fixture = *state;

	make_known(fixture);
	for (int gone = 1; gone < 7; gone++) {
		for (int stays = 0; stays < 2; stays++) {
			char each[200] = "353 What each recipient has to say, then the end\r\n";
			name_both(fixture);
			rest_and_go_on(fixture, "MAIL FROM:<s@client.test> PRDR\r\n");
			for (int i = 0; i < 3; i++)
				say(fixture->server,
					gone & 1 << i ? "452 4.2.2 full\r\n" : "250 2.1.5 ok\r\n");
			say(fixture->server, "354 go\r\n");
			hear(fixture, fixture->client, GO);
			say(fixture->client, "x\r\n.\r\n");
			hear_until(fixture, fixture->server, "x\r\n.\r\n");
			hear_nothing(fixture, fixture->client);
			for (int i = 0; i < 3; i++) {
				if (stays && !(gone & 1 << i))
					say(fixture->server, "250 2.0.0 kept\r\n");
				strcat(each, gone & 1 << i ? "452 4.2.2 full\r\n"
					     : stays       ? "250 2.0.0 kept\r\n"
							   : AWAY);
			}
			if (!stays)
				server_goes(fixture);
			hear(fixture, fixture->client, each);
			if (stays)
				expect_accepted(fixture);
			else
				hear(fixture, fixture->client, AWAY);
		}
	}
	assert_int_equal(fixture->worker->total.messages, 6);
}

static void test_the_server_goes_between_recipients(void **state)
{
	struct fixture *fixture = *state;

	make_known(fixture);
	begin_with_a_and_b(fixture);
	close(fixture->listener);
	server_goes(fixture);
	for (int i = 0; i < 1000 && !session_of(fixture)->transaction->failed; i++)
		turn(fixture);
	say(fixture->client, TO_A);
	hear(fixture, fixture->client, AWAY);
	say(fixture->client, "DATA\r\n");
	hear(fixture, fixture->client, AWAY);
	/* Who is there next has said nothing yet. */
	listen_anew(fixture);
	say(fixture->client, ENVELOPE);
	server_comes(fixture);
	hear_until(fixture, fixture->server, TO_A);
	say(fixture->server, BROUGHT);
	hear(fixture, fixture->client, MAIL_OK "250 2.1.5 fine\r\n");
	name_asked(fixture, TO_B, "250 2.1.5 fine\r\n");
}

static void test_the_server_goes_before_data(void **state)
{
	struct fixture *fixture = *state;

	make_known(fixture);
	begin_with_a_and_b(fixture);
	close(fixture->listener);
	server_goes(fixture);
	say(fixture->client, "DATA\r\n");
	hear(fixture, fixture->client, AWAY);
	say(fixture->client, ENVELOPE);
	hear(fixture, fixture->client, MAIL_OK AWAY);
	say(fixture->client, "RSET\r\n");
	hear(fixture, fixture->client, "250 2.0.0 Reset\r\n");
	listen_anew(fixture);
	assert_whole_message_works(fixture);
}

static void test_a_reload_forgets(void **state)
{
	struct fixture *fixture = *state;

	make_known(fixture);
	begin_with_a_and_b(fixture);
	worker_reload(fixture->worker);
	say(fixture->client, TO_A);
	hear(fixture, fixture->server, TO_B TO_A);
	say(fixture->server, "250 2.1.5 b\r\n250 2.1.5 a\r\n");
	hear(fixture, fixture->client, "250 2.1.5 a\r\n");
}

static void test_nothing_is_known_when_it_is_not_wanted(void **state)
{
	struct fixture *fixture = *state;

	make_known(fixture);
	set(fixture, "hand-over-memory", "0");
	begin_with_a(fixture);
	name_asked(fixture, TO_B, "250 2.1.5 b\r\n");
	name_asked(fixture, TO_B, "250 2.1.5 b\r\n");
}

static void test_known_count_as_recipients(void **state)
{
	struct fixture *fixture = *state;

	set(fixture, "recipients", "3");
	make_known(fixture);
	begin_with_a_and_b(fixture);
	name_known(fixture, TO_A);
	say(fixture->client, TO_B);
	hear(fixture, fixture->client, "452 4.5.3 Too many recipients\r\n");
}

/* The server owes nothing: it is the client that is late. */
static void test_a_client_that_stops_has_timed_out(void **state)
{
	struct fixture *fixture = *state;

	make_known(fixture);
	begin_with_a_and_b(fixture);
	session_expire(session_of(fixture));
	hear(fixture, fixture->client,
		"421 4.4.2 mx.example.test: Timeout, closing the connection\r\n");
	hear_end(fixture, fixture->client);
	hear(fixture, fixture->server, "RSET\r\n");
}

static void test_a_client_that_rests_and_goes_on(void **state)
{
	struct fixture *fixture = *state;

	make_known(fixture);
	begin_with_a_and_b(fixture);
	transaction_rest(session_of(fixture)->transaction);
	server_resets(fixture);
	name_known(fixture, TO_A);
	say(fixture->client, "DATA\r\n");
	hear_until(fixture, fixture->server, "DATA\r\n");
	assert_non_null(strstr(fixture->heard, "\r\n" TO_A TO_B TO_A "DATA\r\n"));
	say(fixture->server, BROUGHT "250 2.1.5 b\r\n250 2.1.5 a\r\n354 go\r\n");
	finish_with(fixture, "250 2.0.0 a\r\n250 2.0.0 b\r\n250 2.0.0 a\r\n");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(known_is_told_at_once_and_asked_before_the_message),
		TEST(known_and_unknown_one_by_one),
		TEST(known_does_not_overtake),
		TEST(anything_else_is_asked),
		TEST(known_and_gone),
		TEST(all_are_gone),
		TEST(gone_with_prdr),
		TEST(the_server_goes_between_recipients),
		TEST(the_server_goes_before_data),
		TEST(a_reload_forgets),
		TEST(nothing_is_known_when_it_is_not_wanted),
		TEST(known_count_as_recipients),
		TEST(a_client_that_stops_has_timed_out),
		TEST(a_client_that_rests_and_goes_on),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

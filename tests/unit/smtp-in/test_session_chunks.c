/* Sessions with BDAT and with PRDR. */
#include "tests/unit/smtp-in/session_fixture.h"

/* ---- BDAT ---- */

/* To a server that knows chunks; the client has said this behind its envelope, which was passed on. */
static void begin_chunks(struct fixture *fixture, const char *chunks)
{
	client_comes(fixture);
	server_comes_with(fixture, "CHUNKING");
	say(fixture->client, ENVELOPE);
	say(fixture->client, chunks);
	hear_until(fixture, fixture->server, "RCPT TO:<a@example.test>\r\n");
}

/* A message by DATA, for which the server is sent a chunk and is not asked for a 354. */
static void assert_data_goes_as_chunk(struct fixture *fixture)
{
	const char *at;
	size_t length;

	say(fixture->client, ENVELOPE "DATA\r\n");
	hear_until(fixture, fixture->server, "RCPT TO:<a@example.test>\r\n");
	say(fixture->server, BROUGHT);
	hear(fixture, fixture->client, MAIL_OK "250 2.1.5 fine\r\n" GO);
	say(fixture->client, "\r\n..\r\n");
	hear_nothing(fixture, fixture->server);
	say(fixture->client, ".\r\n");
	hear_until(fixture, fixture->server, "\r\n.\r\n");
	assert_int_equal(sscanf(fixture->heard, "BDAT %zu LAST\r\n", &length), 1);
	at = strstr(fixture->heard, "\r\n") + 2;
	assert_memory_equal(at, "Received: from client.test", 26);
	assert_string_equal(at + length - 12, "+0000\r\n\r\n.\r\n");
	say(fixture->server, "250 2.0.0 done\r\n");
	expect_accepted(fixture);
}

/* No recipient is left, or the client goes: nothing of a message that was begun may be delivered. */
static void test_data_to_a_server_of_chunks(void **state)
{
	struct fixture *fixture = *state;

	client_comes(fixture);
	server_comes_with(fixture, "CHUNKING");
	assert_data_goes_as_chunk(fixture);
	say(fixture->client, ENVELOPE "DATA\r\n");
	hear_until(fixture, fixture->server, "RCPT TO:<a@example.test>\r\n");
	say(fixture->server, "250 2.1.0 ok\r\n550 5.1.1 no\r\n");
	hear(fixture, fixture->client, MAIL_OK "550 5.1.1 no\r\n554 5.5.1 No valid recipients\r\n");
	hear(fixture, fixture->server, "RSET\r\n");
	say(fixture->server, "250 2.0.0 ok\r\n");
	say(fixture->client, ENVELOPE "DATA\r\n");
	hear_until(fixture, fixture->server, "RCPT TO:<a@example.test>\r\n");
	say(fixture->server, BROUGHT);
	hear(fixture, fixture->client, MAIL_OK "250 2.1.5 fine\r\n" GO);
	say(fixture->client, "a\r\n");
	client_goes(fixture);
	hear(fixture, fixture->server, "RSET\r\n");
	assert_int_equal(fixture->worker->total.lost_messages, 1);
}

static void test_chunks_go_through_as_chunks(void **state)
{
	struct fixture *fixture = *state;
	const char *at;
	size_t length;

	begin_chunks(fixture, "BDAT 6\r\n.a\r\n\r\nBDAT 1 last\r\nx");
	say(fixture->server, BROUGHT);
	/* The trace field goes with the octets, and the end of the last line is added. */
	hear_until(fixture, fixture->server, "\r\nx\r\n");
	assert_int_equal(sscanf(fixture->heard, "BDAT %zu LAST\r\n", &length), 1);
	at = strstr(fixture->heard, "\r\n") + 2;
	assert_memory_equal(at, "Received: from client.test", 26);
	assert_string_equal(at + length - 9, ".a\r\n\r\nx\r\n");
	hear(fixture, fixture->client, MAIL_OK "250 2.1.5 fine\r\n250 2.0.0 6 octets\r\n");
	say(fixture->server, "250 2.0.0 done\r\n");
	expect_accepted(fixture);
	assert_data_goes_as_chunk(fixture);
}

static void test_chunks_go_through_as_data(void **state)
{
	struct fixture *fixture = *state;

	client_comes(fixture);
	server_comes(fixture);
	say(fixture->client, ENVELOPE "BDAT 4\r\n.a\r\n");
	hear_until(fixture, fixture->server, "DATA\r\n");
	say(fixture->server, BROUGHT "354 go\r\n");
	hear_until(fixture, fixture->server, "\r\n..a\r\n");
	hear(fixture, fixture->client, MAIL_OK "250 2.1.5 fine\r\n250 2.0.0 4 octets\r\n");
	say(fixture->client, "BDAT 0 LAST\r\n");
	hear(fixture, fixture->server, ".\r\n");
	say(fixture->server, "250 2.0.0 done\r\n");
	expect_accepted(fixture);
	assert_whole_message_works(fixture);
}

/* Between two chunks a client has as long as for a command. */
static void test_silence_between_chunks(void **state)
{
	struct fixture *fixture = *state;

	begin_chunks(fixture, "BDAT 4\r\n.a\r\n");
	fixture->settings.command_seconds = 1;
	say(fixture->server, BROUGHT);
	hear(fixture, fixture->client,
		MAIL_OK "250 2.1.5 fine\r\n250 2.0.0 4 octets\r\n"
			"421 4.4.2 mx.example.test: Timeout, closing the connection\r\n");
	assert_int_equal(fixture->worker->total.timeouts, 1);
}

/* The server has said no: what is on its way is thrown away. */
static void test_a_chunk_that_the_server_refuses(void **state)
{
	struct fixture *fixture = *state;
	char octets[5001] = "";

	client_comes(fixture);
	server_comes_with(fixture, "CHUNKING");
	memset(octets, 'x', sizeof(octets) - 1);
	memcpy(octets + sizeof(octets) - 3, "\r\n", 2);
	say(fixture->client, ENVELOPE "BDAT 5000\r\n");
	say(fixture->client, octets);
	hear_until(fixture, fixture->server, "RCPT TO:<a@example.test>\r\n");
	say(fixture->server, BROUGHT);
	hear(fixture, fixture->client, MAIL_OK "250 2.1.5 fine\r\n250 2.0.0 5000 octets\r\n");
	say(fixture->server, "452 4.3.1 full\r\n");
	hear_until(fixture, fixture->server, "RSET\r\n");
	say(fixture->server, "250 2.0.0 ok\r\n");
	say(fixture->client, "BDAT 6\r\nNOOP\r\nBDAT 6 LAST\r\nNOOP\r\n");
	hear(fixture, fixture->client, "452 4.3.1 full\r\n503 5.5.1 MAIL first\r\n");
	assert_data_goes_as_chunk(fixture);
}

static void test_no_recipient_for_a_chunk(void **state)
{
	struct fixture *fixture = *state;

	begin_chunks(fixture, "BDAT 6 LAST\r\nNOOP\r\n");
	say(fixture->server, "250 2.1.0 ok\r\n550 5.1.1 no\r\n");
	hear(fixture, fixture->client, MAIL_OK "550 5.1.1 no\r\n554 5.5.1 No valid recipients\r\n");
	hear(fixture, fixture->server, "RSET\r\n");
	say(fixture->server, "250 2.0.0 ok\r\n");
	assert_data_goes_as_chunk(fixture);
}

static void test_server_goes_amid_chunks(void **state)
{
	struct fixture *fixture = *state;

	begin_chunks(fixture, "BDAT 3\r\na\r\n");
	say(fixture->server, BROUGHT);
	hear(fixture, fixture->client, MAIL_OK "250 2.1.5 fine\r\n250 2.0.0 3 octets\r\n");
	server_goes(fixture);
	say(fixture->client, "BDAT 6 LAST\r\nNOOP\r\n");
	hear(fixture, fixture->client, AWAY);
	assert_whole_message_works(fixture);
}

/* The client is gone between two chunks: nothing may be delivered. */
static void test_client_goes_amid_chunks(void **state)
{
	struct fixture *fixture = *state;

	begin_chunks(fixture, "BDAT 3\r\na\r\nBDAT 100 LAST\r\nb");
	say(fixture->server, BROUGHT);
	hear(fixture, fixture->client, MAIL_OK "250 2.1.5 fine\r\n250 2.0.0 3 octets\r\n");
	client_goes(fixture);
	hear(fixture, fixture->server, "RSET\r\n");
	assert_int_equal(fixture->worker->total.lost_messages, 1);
}

/* ---- PRDR ---- */

#define EACH "353 What each recipient has to say, then the end\r\n"

/* A message for two, whose text may come. */
static void open_for_each(struct fixture *fixture)
{
	say(fixture->client, "MAIL FROM:<s@client.test> PRDR\r\nRCPT TO:<a@b.test>\r\n"
			     "RCPT TO:<c@b.test>\r\nDATA\r\n");
	hear_until(fixture, fixture->server, "DATA\r\n");
	say(fixture->server, BROUGHT "250 2.1.5 fine\r\n354 go\r\n");
	hear(fixture, fixture->client, MAIL_OK "250 2.1.5 fine\r\n250 2.1.5 fine\r\n" GO);
}

/* And it has come. */
static void send_text(struct fixture *fixture)
{
	say(fixture->client, "x\r\n.\r\n");
	hear_until(fixture, fixture->server, "x\r\n.\r\n");
}

static void test_verdicts_one_by_one(void **state)
{
	static const struct {
		const char *said;
		const char *heard; /* "Accepted" after these */
		const char *last;
	} cases[] = {
		{ "250 2.0.0 a\r\n250 2.0.0 b\r\n", EACH "250 2.0.0 a\r\n250 2.0.0 b\r\n", NULL },
		{ "250 2.0.0 a\r\n552 5.2.2 full\r\n", EACH "250 2.0.0 a\r\n552 5.2.2 full\r\n",
			NULL },
		{ "451 4.3.0 busy\r\n250 2.0.0 b\r\n", EACH "451 4.3.0 busy\r\n250 2.0.0 b\r\n",
			NULL },
		{ "550 5.7.1 no\r\n552 5.2.2 full\r\n", EACH "550 5.7.1 no\r\n552 5.2.2 full\r\n",
			"550 5.7.1 no\r\n" },
		{ "452 4.2.2 full\r\n552 5.2.2 full\r\n",
			EACH "452 4.2.2 full\r\n552 5.2.2 full\r\n", AWAY },
	};
	struct fixture *fixture = *state;

	client_comes(fixture);
	server_comes(fixture);
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		open_for_each(fixture);
		send_text(fixture);
		say(fixture->server, cases[i].said);
		hear(fixture, fixture->client, cases[i].heard);
		if (cases[i].last) {
			hear(fixture, fixture->client, cases[i].last);
			continue;
		}
		expect_accepted(fixture);
	}
	assert_whole_message_works(fixture);
}

/* One recipient needs no list; and what has no verdicts, none either. */
static void test_prdr_with_nothing_to_list(void **state)
{
	struct fixture *fixture = *state;

	client_comes(fixture);
	server_comes(fixture);
	say(fixture->client, "MAIL FROM:<s@client.test> PRDR\r\nRCPT TO:<a@b.test>\r\nDATA\r\n");
	hear_until(fixture, fixture->server, "DATA\r\n");
	say(fixture->server, BROUGHT "354 go\r\n");
	hear(fixture, fixture->client, MAIL_OK "250 2.1.5 fine\r\n" GO);
	send_text(fixture);
	say(fixture->server, "552 5.2.2 full\r\n");
	hear(fixture, fixture->client, "552 5.2.2 full\r\n");
	open_for_each(fixture);
	say(fixture->client, "a\nb\r\n.\r\n");
	hear(fixture, fixture->client, "550 5.6.0 Message refused: bare LF; lines end in CRLF\r\n");
	hear_end(fixture, fixture->server);
}

/* Those who were delivered to are told, though the server is gone. */
static void test_prdr_and_the_server_goes(void **state)
{
	struct fixture *fixture = *state;

	client_comes(fixture);
	server_comes(fixture);
	open_for_each(fixture);
	send_text(fixture);
	say(fixture->server, "250 2.0.0 a\r\n");
	server_goes(fixture);
	hear(fixture, fixture->client, EACH "250 2.0.0 a\r\n" AWAY "250 2.0.0 Accepted as ");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(data_to_a_server_of_chunks),
		TEST(chunks_go_through_as_chunks),
		TEST(chunks_go_through_as_data),
		TEST(silence_between_chunks),
		TEST(a_chunk_that_the_server_refuses),
		TEST(no_recipient_for_a_chunk),
		TEST(server_goes_amid_chunks),
		TEST(client_goes_amid_chunks),
		TEST(verdicts_one_by_one),
		TEST(prdr_with_nothing_to_list),
		TEST(prdr_and_the_server_goes),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

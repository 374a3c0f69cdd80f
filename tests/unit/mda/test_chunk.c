/*
 * BDAT: messages in chunks, in every place where a chunk may be refused, and what is read as a command
 * afterwards.
 */
#include "tests/unit/mda/harness.h"

#define MAIL "MAIL FROM:<>\r\n"
#define RCPT "RCPT TO:<alice@example.test>\r\n"
#define MAIL_RCPT "250 2.1.0 *|250 2.1.5 *|"
#define TAKEN "250 2.0.0 chunk taken*|"
#define STORED "250 2.0.0 * stored|"

/* What the client sends after LHLO; the replies; the end of the body that was stored (NULL: none was). */
static const struct {
	const char *say;
	const char *replies;
	const char *body;
	bool ends; /* the connection */
} cases[] = {
	{ MAIL RCPT "BDAT 9 LAST\r\nA: b\r\n\r\nx", MAIL_RCPT STORED, "A: b\n\nx\n", false },
	{ MAIL RCPT "bdat 11 last\r\nA: b\r\n\r\nx\r\n", MAIL_RCPT STORED, "A: b\n\nx\n", false },
	{ MAIL RCPT "BDAT 4\r\nA: bBDAT 7 LAST\r\n\r\n\r\nx\r\n", MAIL_RCPT TAKEN STORED,
		"A: b\n\nx\n", false },
	{ MAIL RCPT "BDAT 11\r\nA: b\r\n\r\nx\r\nBDAT 0 LAST\r\n", MAIL_RCPT TAKEN STORED,
		"A: b\n\nx\n", false },
	/* Dots are dots, and what looks like the end of DATA is not. */
	{ MAIL RCPT "BDAT 23 LAST\r\nA: b\r\n\r\n..\r\n.\r\nQUIT\r\n\r\n", MAIL_RCPT STORED,
		"A: b\n\n..\n.\nQUIT\n\n", false },
	/* A line end in two chunks. */
	{ MAIL RCPT "BDAT 5\r\nA: b\rBDAT 5 LAST\r\n\n\r\nx\n",
		MAIL_RCPT TAKEN "554 5.6.0 bare LF*|", NULL, false },
	{ MAIL RCPT "BDAT 5\r\nA: b\rBDAT 6 LAST\r\n\n\r\nx\r\n", MAIL_RCPT TAKEN STORED,
		"A: b\n\nx\n", false },
	{ MAIL RCPT "BDAT 5 LAST\r\nA: b\r", MAIL_RCPT "554 5.6.0 bare CR*|", NULL, false },
	/* One reply for each recipient, and one only before the last chunk. */
	{ MAIL RCPT "RCPT TO:<bob@example.test>\r\nBDAT 8\r\nA: b\r\n\r\nBDAT 1 LAST\r\nx",
		MAIL_RCPT "250 2.1.5 *|" TAKEN STORED STORED, "A: b\n\nx\n", false },
	/* What is at fault is told at once and at the end, and not stored. */
	{ MAIL RCPT "BDAT 3\r\na\nbBDAT 1\r\nxBDAT 1 LAST\r\nx",
		MAIL_RCPT "554 5.6.0 *|554 5.6.0 *|554 5.6.0 *|", NULL, false },
	{ MAIL RCPT "BDAT 3\r\na\nbRSET\r\n" MAIL RCPT "BDAT 8 LAST\r\nA: b\r\n\r\n",
		MAIL_RCPT "554 5.6.0 *|250 2.0.0 *|" MAIL_RCPT STORED, "A: b\n\n", false },
	/* Octets of a chunk that is out of place are never read as commands. */
	{ "BDAT 6\r\nQUIT\r\n", "503 5.5.1 say MAIL*|", NULL, false },
	{ "BDAT 6 LAST\r\nQUIT\r\n", "503 5.5.1 say MAIL*|", NULL, false },
	{ MAIL "BDAT 6 LAST\r\nQUIT\r\n", "250 2.1.0 *|503 5.5.1 no recipient*|", NULL, false },
	{ MAIL "RCPT TO:<nobody@example.test>\r\nBDAT 6 LAST\r\nQUIT\r\n",
		"250 2.1.0 *|550 5.1.1 *|503 5.5.1 no recipient*|", NULL, false },
	{ "BDAT 0\r\n", "503 5.5.1 *|", NULL, false },
	/* No length, no next command. */
	{ MAIL RCPT "BDAT\r\nQUIT\r\n", MAIL_RCPT "501 5.5.4 *|", NULL, true },
	{ MAIL RCPT "BDAT x\r\nQUIT\r\n", MAIL_RCPT "501 5.5.4 *|", NULL, true },
	{ MAIL RCPT "BDAT -1\r\nQUIT\r\n", MAIL_RCPT "501 5.5.4 *|", NULL, true },
	{ MAIL RCPT "BDAT 5 FIRST\r\nQUIT\r\n", MAIL_RCPT "501 5.5.4 *|", NULL, true },
	{ MAIL RCPT "BDAT 5 LAST x\r\nQUIT\r\n", MAIL_RCPT "501 5.5.4 *|", NULL, true },
	{ MAIL RCPT "BDAT 18446744073709551616 LAST\r\nQUIT\r\n", MAIL_RCPT "501 5.5.4 *|", NULL,
		true },
	{ MAIL RCPT "BDAT 18446744073709551615 LAST\r\nQUIT\r\n", MAIL_RCPT "552 5.3.4 *|", NULL,
		true },
	/* A message is either in chunks or not. */
	{ MAIL RCPT "BDAT 1\r\nxDATA\r\nRCPT TO:<bob@example.test>\r\nMAIL FROM:<>\r\nNOOP\r\n"
		    "BDAT 1 LAST\r\ny",
		MAIL_RCPT TAKEN "503 5.5.1 *|503 5.5.1 *|503 5.5.1 *|250 2.0.0 ok|" STORED,
		"\nxy\n", false },
	{ MAIL RCPT "BDAT 1 LAST\r\nxBDAT 1 LAST\r\ny", MAIL_RCPT STORED "503 5.5.1 *|", "\nx\n",
		false },
	{ MAIL RCPT "BDAT 0 LAST\r\n", MAIL_RCPT STORED, " +0000\n", false },
	/* A loop is one here, too. */
	{ MAIL RCPT "BDAT 34 LAST\r\nDelivered-To: alice@example.test\r\n",
		MAIL_RCPT "554 5.4.6 *|", NULL, false },
};

static void expect_all(struct harness *h, const char *replies)
{
	struct text rest = text_of(replies), pattern;

	while (rest.len && text_split(&rest, '|', &pattern)) {
		char *string = mem_copy(pattern.ptr, pattern.len);
		harness_expect(h, string);
		mem_free(string);
	}
}

static void chunks_become_messages(void **state)
{
	struct harness *h = *state;

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		const unsigned before = h->deliveries;

		print_message("case %zu\n", i);
		harness_greet(h, false);
		harness_say(h, cases[i].say);
		expect_all(h, cases[i].replies);
		harness_expect_nothing(h);
		assert_int_equal(h->deliveries - before, cases[i].body != NULL);
		assert_int_equal(harness_read(h), cases[i].ends);
		if (!cases[i].body)
			continue;
		const size_t length = strlen(cases[i].body);
		assert_true(h->body_size >= length);
		assert_memory_equal(h->body + h->body_size - length, cases[i].body, length);
	}
}

/* However the octets are cut, by chunks and by the network, the message is the same. */
static void cuts_do_not_matter(void **state)
{
	static const char message[] = "Subject: cut\r\n\r\n.one\r\n..\r\n\r\nlast\r\n";
	static const char stored[] = "Subject: cut\n\n.one\n..\n\nlast\n";
	struct harness *h = *state;
	const size_t length = sizeof(message) - 1;

	for (size_t chunk = 1; chunk <= length; chunk++) {
		struct buf all = { 0 };
		size_t replies = 0;

		for (size_t at = 0; at < length; at += chunk, replies++) {
			const size_t octets = length - at < chunk ? length - at : chunk;
			buf_format(&all, "BDAT %zu%s\r\n", octets,
				at + octets == length ? " LAST" : "");
			buf_add(&all, (struct text){ .ptr = message + at, .len = octets });
		}
		harness_greet(h, false);
		harness_say(h, MAIL RCPT);
		expect_all(h, MAIL_RCPT);
		for (size_t at = 0; at < buf_length(&all); at += 7)
			harness_send(h, text_head(text_from(buf_text(&all), at), 7));
		for (size_t i = 1; i < replies; i++)
			harness_expect(h, "250 2.0.0 chunk taken*");
		harness_expect(h, "250 2.0.0 * stored");
		harness_expect_nothing(h);
		assert_memory_equal(
			h->body + h->body_size - (sizeof(stored) - 1), stored, sizeof(stored) - 1);
		buf_release(&all);
	}
}

enum { LARGE = 700 * 1024 };

static void say_large(struct harness *h, const char *command)
{
	char piece[1024];

	harness_say(h, command);
	memset(piece, 'x', sizeof(piece));
	piece[sizeof(piece) - 2] = '\r';
	piece[sizeof(piece) - 1] = '\n';
	for (size_t i = 0; i < LARGE / sizeof(piece); i++)
		harness_send(h, (struct text){ .ptr = piece, .len = sizeof(piece) });
}

static void large_chunks_go_to_a_file(void **state)
{
	struct harness *h = *state;

	harness_greet(h, false);
	harness_say(h, MAIL RCPT);
	say_large(h, "BDAT 716800\r\n");
	say_large(h, "BDAT 716801 LAST\r\n");
	harness_say(h, "z");
	expect_all(h, MAIL_RCPT TAKEN STORED);
	assert_int_equal(h->spools, 1);
	assert_true(h->body_size > 2 * (LARGE - LARGE / 1024));
	assert_memory_equal(h->body + h->body_size - 4, "x\nz\n", 4);
	assert_int_equal(h->drops, 0);
}

/* Who breaks off between chunks or inside one leaves nothing, and RSET does the same. */
static void half_a_message_is_dropped(void **state)
{
	struct harness *h = *state;

	for (int how = 0; how < 3; how++) {
		const unsigned drops = h->drops;
		harness_greet(h, false);
		harness_say(h, MAIL RCPT);
		say_large(h, how == 1 ? "BDAT 716801\r\n" : "BDAT 716800\r\n");
		expect_all(h, how == 1 ? MAIL_RCPT : MAIL_RCPT TAKEN);
		if (how == 2) {
			harness_say(h, "RSET\r\n");
			harness_expect(h, "250 2.0.0 *");
		} else {
			close(h->client);
			h->client = -1;
		}
		harness_settle(h);
		assert_int_equal(h->deliveries, 0);
		assert_int_equal(h->drops, drops + 1);
	}
}

static void a_message_over_the_limit_is_refused(void **state)
{
	struct harness *h = *state;

	harness_set(h, "message-size", "800K");
	harness_new_client(h, false);
	harness_say(h, "LHLO x\r\n");
	for (int i = 0; i < 9; i++)
		harness_expect(h, "2*");
	harness_say(h, MAIL RCPT);
	say_large(h, "BDAT 716800\r\n");
	say_large(h, "BDAT 716800\r\n");
	say_large(h, "BDAT 716800 LAST\r\n");
	harness_say(h, "NOOP\r\n");
	expect_all(h, MAIL_RCPT TAKEN "552 5.3.4 *|552 5.3.4 *|250 2.0.0 ok|");
	assert_int_equal(h->deliveries, 0);
	assert_int_equal(h->drops, 1);
}

/* Chunks of nothing move no mail. */
static void empty_chunks_come_to_an_end(void **state)
{
	struct harness *h = *state;

	harness_greet(h, false);
	harness_say(h, MAIL RCPT);
	expect_all(h, MAIL_RCPT);
	for (int i = 0; i < SESSION_IDLE_LIMIT - 1; i++) {
		harness_say(h, "BDAT 0\r\n");
		harness_expect(h, "250 2.0.0 *");
	}
	harness_say(h, "BDAT 0\r\n");
	harness_expect(h, "421 4.7.0 *");
}

/* A chunk that belongs to no message keeps nobody when the host stops. */
static void a_stop_amid_a_refused_chunk_is_told(void **state)
{
	struct harness *h = *state;

	harness_greet(h, false);
	harness_say(h, MAIL "BDAT 4\r\nab");
	harness_expect(h, "250 *");
	worker_stop(h->worker);
	harness_settle(h);
	harness_expect_nothing(h);
	harness_say(h, "cd");
	expect_all(h, "503 5.5.1 *|421 4.3.2 *|");
}

static int set_up(void **state)
{
	log_open("test", LOG_LEVEL_ERROR + 1);
	*state = harness_start();
	harness_settle(*state);
	return 0;
}

static int tear_down(void **state)
{
	harness_stop(*state);
	return 0;
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(chunks_become_messages),
		TEST(cuts_do_not_matter),
		TEST(large_chunks_go_to_a_file),
		TEST(half_a_message_is_dropped),
		TEST(a_message_over_the_limit_is_refused),
		TEST(empty_chunks_come_to_an_end),
		TEST(a_stop_amid_a_refused_chunk_is_told),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

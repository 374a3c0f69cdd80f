/* Connections that the LMTP client keeps, and that are none any more; a connection ahead of any message. */
#include "tests/unit/smtp-in/lmtp_peer.h"

/* ---- kept connections that are none any more ---- */

static void test_kept_and_closed_is_replaced(void **state)
{
	struct fixture *fixture = *state;

	keep_one(fixture);
	/* Both at once: the close is not yet seen when the message begins. */
	begin_message(fixture);
	peer_close(fixture);
	peer_greet(fixture, EVERYTHING);
	finish_message(fixture);
}

static void test_kept_and_closed_while_idle(void **state)
{
	struct fixture *fixture = *state;

	keep_one(fixture);
	peer_close(fixture);
	assert_idle(fixture, 0);
	begin_message(fixture);
	peer_greet(fixture, EVERYTHING);
	finish_message(fixture);
}

static void test_kept_and_says_421_is_replaced(void **state)
{
	struct fixture *fixture = *state;

	keep_one(fixture);
	begin_message(fixture);
	peer_hear(fixture, MESSAGE);
	peer_say(fixture, "421 4.3.2 shutting down\r\n");
	peer_greet(fixture, "250-new\r\n250 PIPELINING\r\n");
	peer_hear(fixture, "MAIL FROM:<s@client.test>\r\nRCPT TO:<a@b.test>\r\nDATA\r\n");
	peer_say(fixture, "250 ok\r\n250 ok\r\n354 go\r\n");
	expect_heard(fixture, "r250 0.0.0 ok|d354 0.0.0 go|");
}

static void test_kept_and_broken_after_an_answer_fails(void **state)
{
	struct fixture *fixture = *state;

	keep_one(fixture);
	begin_message(fixture);
	peer_hear(fixture, MESSAGE);
	peer_say(fixture, "250 2.1.0 ok\r\n");
	turn(fixture);
	peer_close(fixture);
	expect_heard(fixture, "f|");
	assert_idle(fixture, 0);
}

static void test_fresh_and_closed_fails(void **state)
{
	struct fixture *fixture = *state;

	open_message(fixture);
	peer_close(fixture);
	expect_heard(fixture, "f|");
	assert_idle(fixture, 0);
}

static void test_closed_before_the_verdict_fails(void **state)
{
	struct fixture *fixture = *state;

	begin_for_two(fixture);
	lmtp_start_message(fixture->lmtp, LMTP_BODY_STUFFED);
	peer_greet(fixture, EVERYTHING);
	peer_hear(fixture, ENVELOPE_FOR_TWO "DATA\r\n");
	peer_say(fixture, "250 ok\r\n250 ok\r\n250 ok\r\n354 go\r\n");
	expect_heard(fixture, "r250 0.0.0 ok|r250 0.0.0 ok|d354 0.0.0 go|");
	give(fixture, TEXT(".\r\n"), true);
	peer_hear(fixture, ".\r\n");
	peer_say(fixture, "250 2.0.0 done\r\n250 2.0");
	turn(fixture);
	peer_close(fixture);
	expect_heard(fixture, "v250 2.0.0 done|f|");
}

/* What comes unasked must never be taken for the answer to the next message. */
static void test_kept_that_speaks_unasked_is_closed(void **state)
{
	struct fixture *fixture = *state;

	keep_one(fixture);
	peer_say(fixture, "250 2.0.0 and another\r\n");
	peer_hear_end(fixture);
	assert_idle(fixture, 0);
}

static void test_more_verdicts_than_recipients_is_closed(void **state)
{
	struct fixture *fixture = *state;

	open_data(fixture);
	give(fixture, TEXT(".\r\n"), true);
	peer_hear(fixture, ".\r\n");
	peer_say(fixture, "250 one\r\n250 two\r\n");
	expect_heard(fixture, "v250 0.0.0 one|f|");
	assert_idle(fixture, 0);
}

/* The second verdict must not become the answer to the next MAIL. */
static void test_more_verdicts_than_recipients_in_a_hurry(void **state)
{
	struct fixture *fixture = *state;

	open_data(fixture);
	give(fixture, TEXT(".\r\n"), true);
	peer_hear(fixture, ".\r\n");
	fixture->hurried = true;
	peer_say(fixture, "250 one\r\n250 two\r\n");
	expect_heard(fixture, "v250 0.0.0 one|");
	peer_greet(fixture, EVERYTHING);
	finish_message(fixture);
}

/* ---- a connection ahead of any message ---- */

static void note_asked(void *owner)
{
	struct fixture *fixture = owner;

	buf_add_string(&fixture->heard, "a|");
}

static void ask(struct fixture *fixture)
{
	fixture->options.asked = note_asked;
	fixture->options.owner = fixture;
	lmtp_pool_change(fixture->pool, &fixture->options);
	lmtp_pool_ask(fixture->pool);
	assert_true(lmtp_pool_is_asking(fixture->pool));
	assert_false(lmtp_pool_offers_dsn(fixture->pool));
}

static void test_a_connection_ahead(void **state)
{
	struct fixture *fixture = *state;

	ask(fixture);
	peer_greet(fixture, WITH_DSN);
	expect_heard(fixture, "a|");
	assert_false(lmtp_pool_is_asking(fixture->pool));
	assert_true(lmtp_pool_offers_dsn(fixture->pool));
	assert_int_equal(counts(fixture).idle, 1);
	/* It is known: no further one. */
	lmtp_pool_ask(fixture->pool);
	assert_int_equal(counts(fixture).open, 1);
	begin(fixture);
	add(fixture, 0, TEXT("a@b.test"));
	peer_hear(fixture, "MAIL FROM:<s@client.test> XID=id1\r\nRCPT TO:<a@b.test>\r\n");
}

static void test_a_message_takes_the_connection_ahead(void **state)
{
	struct fixture *fixture = *state;

	ask(fixture);
	begin(fixture);
	add(fixture, 0, TEXT("a@b.test"));
	assert_int_equal(counts(fixture).open, 1);
	peer_greet(fixture, WITH_DSN);
	expect_heard(fixture, "a|");
	peer_hear(fixture, "MAIL FROM:<s@client.test> XID=id1\r\nRCPT TO:<a@b.test>\r\n");
	assert_int_equal(counts(fixture).idle, 0);
}

static void test_a_message_leaves_the_connection_ahead(void **state)
{
	struct fixture *fixture = *state;

	ask(fixture);
	begin(fixture);
	add(fixture, 0, TEXT("a@b.test"));
	lmtp_end(&fixture->lmtp);
	peer_greet(fixture, WITH_DSN);
	expect_heard(fixture, "a|");
	peer_hear_nothing(fixture);
	assert_true(lmtp_pool_offers_dsn(fixture->pool));
	assert_int_equal(counts(fixture).idle, 1);
}

static void test_nobody_to_ask(void **state)
{
	struct fixture *fixture = *state;

	ask(fixture);
	peer_accept(fixture);
	peer_close(fixture);
	expect_heard(fixture, "a|");
	assert_false(lmtp_pool_is_asking(fixture->pool));
	assert_false(lmtp_pool_offers_dsn(fixture->pool));
	/* The first message finds out. */
	begin(fixture);
	add(fixture, 0, TEXT("a@b.test"));
	peer_greet(fixture, WITH_DSN);
	peer_hear(fixture, "MAIL FROM:<s@client.test> XID=id1\r\nRCPT TO:<a@b.test>\r\n");
	assert_true(lmtp_pool_offers_dsn(fixture->pool));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(kept_and_closed_is_replaced),
		TEST(kept_and_closed_while_idle),
		TEST(kept_and_says_421_is_replaced),
		TEST(kept_and_broken_after_an_answer_fails),
		TEST(fresh_and_closed_fails),
		TEST(closed_before_the_verdict_fails),
		TEST(kept_that_speaks_unasked_is_closed),
		TEST(more_verdicts_than_recipients_is_closed),
		TEST(more_verdicts_than_recipients_in_a_hurry),
		TEST(a_connection_ahead),
		TEST(a_message_takes_the_connection_ahead),
		TEST(a_message_leaves_the_connection_ahead),
		TEST(nobody_to_ask),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

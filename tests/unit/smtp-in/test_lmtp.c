/* The LMTP client: what goes over the wire, in what pieces, and what is refused. */
#include "tests/unit/smtp-in/lmtp_peer.h"

/* ---- what is sent ---- */

static void test_whole_message_pipelined(void **state)
{
	struct fixture *fixture = *state;

	begin(fixture);
	add(fixture, 0, TEXT("a@b.test"));
	add(fixture, 1, TEXT("\"x y\"@b.test"));
	add(fixture, 2, TEXT("c@b.test"));
	lmtp_start_message(fixture->lmtp, LMTP_BODY_STUFFED);
	peer_greet(fixture, EVERYTHING);
	peer_hear(fixture, MAIL "RCPT TO:<a@b.test>\r\nRCPT TO:<\"x y\"@b.test>\r\n"
				"RCPT TO:<c@b.test>\r\nDATA\r\n");
	peer_say(fixture, "250 2.1.0 ok\r\n250 2.1.5 a\r\n550 5.1.1 none\r\n250 c\r\n354 go\r\n");
	expect_heard(fixture, "r250 2.1.5 a|r550 5.1.1 none|r250 0.0.0 c|d354 0.0.0 go|");
	give(fixture, TEXT("Subject: x\r\n"), false);
	give(fixture, TEXT("\r\n..\r\n.\r\n"), true);
	peer_hear(fixture, "Subject: x\r\n\r\n..\r\n.\r\n");
	peer_say(fixture, "250 2.0.0 a\r\n452 4.2.2 full\r\n");
	expect_heard(fixture, "v250 2.0.0 a|v452 4.2.2 full|");
	lmtp_end(&fixture->lmtp);
	assert_idle(fixture, 1);
}

static void test_kept_connection_is_used_again(void **state)
{
	struct fixture *fixture = *state;
	struct lmtp_counts counts;

	keep_one(fixture);
	for (int i = 0; i < 3; i++) {
		begin_message(fixture);
		finish_message(fixture);
	}
	lmtp_pool_count(fixture->pool, &counts);
	assert_int_equal(counts.connections, 1);
	assert_int_equal(counts.reuses, 3);
	assert_int_equal(counts.failures, 0);
}

static void test_without_extensions_one_by_one(void **state)
{
	struct fixture *fixture = *state;

	begin_for_two(fixture);
	lmtp_start_message(fixture->lmtp, LMTP_BODY_STUFFED);
	peer_greet(fixture, "250 PIPELINING is my name\r\n");
	peer_hear(fixture, "MAIL FROM:<s@client.test>\r\n");
	peer_hear_nothing(fixture);
	peer_say(fixture, "250 ok\r\n");
	peer_hear(fixture, "RCPT TO:<a@b.test>\r\n");
	peer_hear_nothing(fixture);
	peer_say(fixture, "250 ok\r\n");
	peer_hear(fixture, "RCPT TO:<c@b.test>\r\n");
	peer_hear_nothing(fixture);
	peer_say(fixture, "550 no\r\n");
	peer_hear(fixture, "DATA\r\n");
	peer_say(fixture, "354 go\r\n");
	expect_heard(fixture, "r250 0.0.0 ok|r550 0.0.0 no|d354 0.0.0 go|");
}

static void test_replies_in_pieces(void **state)
{
	static const char *const pieces[] = { "2", "50-two", "\r", "\n250-lines", "\r\n",
		"250 2.1.0 ok\r", "\n250 2.1.5 good\r\n35", "4", " go\r", "\n" };
	struct fixture *fixture = *state;

	open_message(fixture);
	for (size_t i = 0; i < sizeof(pieces) / sizeof(pieces[0]); i++) {
		peer_say(fixture, pieces[i]);
		turn(fixture);
	}
	expect_heard(fixture, "r250 2.1.5 good|d354 0.0.0 go|");
}

static void test_sender_null_and_nothing_declared(void **state)
{
	struct fixture *fixture = *state;

	fixture->envelope = (struct lmtp_envelope){ .sender = TEXT(""), .id = TEXT("id1") };
	begin_message(fixture);
	peer_greet(fixture, EVERYTHING);
	peer_hear(fixture, "MAIL FROM:<> XID=id1\r\nRCPT TO:<a@b.test>\r\nDATA\r\n");
}

static void test_nothing_is_sent_without_recipient(void **state)
{
	struct fixture *fixture = *state;

	keep_one(fixture);
	begin(fixture);
	peer_hear_nothing(fixture);
	lmtp_end(&fixture->lmtp);
	peer_hear_nothing(fixture);
	assert_idle(fixture, 1);
}

static void test_recipient_after_the_first_verdicts(void **state)
{
	struct fixture *fixture = *state;

	begin(fixture);
	add(fixture, 0, TEXT("a@b.test"));
	peer_greet(fixture, EVERYTHING);
	peer_hear(fixture, MAIL "RCPT TO:<a@b.test>\r\n");
	peer_say(fixture, "250 ok\r\n250 a\r\n");
	expect_heard(fixture, "r250 0.0.0 a|");
	add(fixture, 1, TEXT("c@b.test"));
	peer_hear(fixture, "RCPT TO:<c@b.test>\r\n");
	peer_say(fixture, "451 4.0.0 later\r\n");
	expect_heard(fixture, "r451 4.0.0 later|");
	lmtp_start_message(fixture->lmtp, LMTP_BODY_STUFFED);
	peer_hear(fixture, "DATA\r\n");
}

static void test_output_is_bounded(void **state)
{
	static char octets[16384];
	struct fixture *fixture = *state;
	size_t added = 0, taken = 0;

	memset(octets, 'x', sizeof(octets));
	open_data(fixture);
	while (!lmtp_is_full(fixture->lmtp)) {
		give(fixture, (struct text){ octets, sizeof(octets) }, false);
		added += sizeof(octets);
		turn(fixture);
		assert_true(added < 16 << 20);
	}
	while (taken < added) {
		ssize_t n = recv(fixture->peer, octets, sizeof(octets), 0);
		if (n > 0)
			taken += (size_t)n;
		else
			turn(fixture);
	}
	expect_heard(fixture, "D|");
	assert_false(lmtp_is_full(fixture->lmtp));
}

/* ---- refusals ---- */

static void test_refused_sender_is_every_verdict(void **state)
{
	struct fixture *fixture = *state;

	begin_for_two(fixture);
	peer_greet(fixture, EVERYTHING);
	peer_hear(fixture, ENVELOPE_FOR_TWO);
	peer_say(fixture, "552 5.3.4 too big\r\n503 5.5.1 MAIL first\r\n503 5.5.1 MAIL first\r\n");
	expect_heard(fixture, "r552 5.3.4 too big|r552 5.3.4 too big|");
	lmtp_end(&fixture->lmtp);
	peer_hear(fixture, "RSET\r\n");
	peer_say(fixture, "250 ok\r\n");
	assert_idle(fixture, 1);
	/* The next is judged by itself. */
	begin_message(fixture);
	finish_message(fixture);
}

static void test_refused_data(void **state)
{
	struct fixture *fixture = *state;

	open_message(fixture);
	peer_say(fixture, "250 ok\r\n550 5.1.1 no\r\n503 5.5.1 no recipients\r\n");
	expect_heard(fixture, "r550 5.1.1 no|d503 5.5.1 no recipients|");
	lmtp_end(&fixture->lmtp);
	peer_hear(fixture, "RSET\r\n");
	peer_say(fixture, "250 ok\r\n");
	assert_idle(fixture, 1);
}

static void test_data_for_nobody_is_cut(void **state)
{
	struct fixture *fixture = *state;

	open_message(fixture);
	peer_say(fixture, "250 ok\r\n550 no\r\n354 go\r\n");
	expect_heard(fixture, "r550 0.0.0 no|d354 0.0.0 go|");
	lmtp_end(&fixture->lmtp);
	peer_hear_end(fixture);
	assert_idle(fixture, 0);
}

static void test_message_given_up_is_cut(void **state)
{
	struct fixture *fixture = *state;

	open_data(fixture);
	give(fixture, TEXT("half\r\n"), false);
	peer_hear(fixture, "half\r\n");
	lmtp_end(&fixture->lmtp);
	peer_hear_end(fixture);
	assert_idle(fixture, 0);
}

static void test_reset_swallows_what_was_awaited(void **state)
{
	struct fixture *fixture = *state;

	keep_one(fixture);
	begin_for_two(fixture);
	lmtp_end(&fixture->lmtp);
	peer_hear(fixture, ENVELOPE_FOR_TWO "RSET\r\n");
	peer_say(fixture, "250 ok\r\n250 ok\r\n550 no\r\n");
	peer_hear_nothing(fixture);
	peer_say(fixture, "250 reset\r\n");
	assert_idle(fixture, 1);
	begin_message(fixture);
	finish_message(fixture);
}

static void test_reset_refused_is_closed(void **state)
{
	struct fixture *fixture = *state;

	keep_one(fixture);
	begin(fixture);
	add(fixture, 0, TEXT("a@b.test"));
	lmtp_end(&fixture->lmtp);
	peer_hear(fixture, MAIL "RCPT TO:<a@b.test>\r\nRSET\r\n");
	peer_say(fixture, "250 ok\r\n250 ok\r\n500 what\r\n");
	peer_hear_end(fixture);
	assert_idle(fixture, 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(whole_message_pipelined),
		TEST(kept_connection_is_used_again),
		TEST(without_extensions_one_by_one),
		TEST(replies_in_pieces),
		TEST(sender_null_and_nothing_declared),
		TEST(nothing_is_sent_without_recipient),
		TEST(recipient_after_the_first_verdicts),
		TEST(output_is_bounded),
		TEST(refused_sender_is_every_verdict),
		TEST(refused_data),
		TEST(data_for_nobody_is_cut),
		TEST(message_given_up_is_cut),
		TEST(reset_swallows_what_was_awaited),
		TEST(reset_refused_is_closed),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

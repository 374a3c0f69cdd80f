/* The LMTP client: messages in chunks, by BDAT or stuffed into DATA. */
#include "tests/unit/smtp-in/lmtp_peer.h"

#define CHUNKING \
	"250-peer\r\n250-PIPELINING\r\n250-SIZE\r\n250-8BITMIME\r\n250-XID\r\n250 CHUNKING\r\n"

/* A plain message for a@b.test may begin, at a peer of these extensions. */
static void open_plain(struct fixture *fixture, const char *extensions)
{
	begin(fixture);
	add(fixture, 0, TEXT("a@b.test"));
	lmtp_start_message(fixture->lmtp, LMTP_BODY_PLAIN);
	peer_greet(fixture, extensions);
}

static void open_chunks(struct fixture *fixture)
{
	open_plain(fixture, CHUNKING);
	peer_hear(fixture, ENVELOPE);
	peer_say(fixture, "250 2.1.0 ok\r\n250 2.1.5 ok\r\n");
	expect_heard(fixture, "r250 2.1.5 ok|d354 0.0.0 |");
}

/* A chunk that is large enough to go at once. */
enum { LARGE = 4096 };

static struct text large(void)
{
	static char octets[LARGE + 1];

	memset(octets, 'x', LARGE);
	memcpy(octets + LARGE - 2, "\r\n", 2);
	return (struct text){ .ptr = octets, .len = LARGE };
}

static void give_large(struct fixture *fixture)
{
	char wanted[2 * LARGE];

	give(fixture, large(), false);
	snprintf(wanted, sizeof(wanted), "BDAT 4096\r\n%s", large().ptr);
	peer_hear(fixture, wanted);
}

static void test_chunks_go_by_bdat(void **state)
{
	struct fixture *fixture = *state;
	const struct text pieces[] = { TEXT("T: x\r\n"), large(), TEXT(".a\r\n") };
	char wanted[2 * LARGE];

	open_chunks(fixture);
	lmtp_add_message(fixture->lmtp, pieces, 3, false);
	snprintf(wanted, sizeof(wanted), "BDAT 4106\r\nT: x\r\n%s.a\r\n", large().ptr);
	peer_hear(fixture, wanted);
	give_large(fixture);
	/* Little waits for more, or for the end. */
	give(fixture, TEXT(""), false);
	give(fixture, TEXT("b\r\n"), false);
	give(fixture, TEXT(".\r\n"), false);
	peer_hear_nothing(fixture);
	give(fixture, TEXT("c\r\n"), true);
	peer_hear(fixture, "BDAT 9 LAST\r\nb\r\n.\r\nc\r\n");
	peer_say(fixture, "250 4106\r\n250 4096\r\n250 2.0.0 done\r\n");
	expect_heard(fixture, "v250 2.0.0 done|");
	lmtp_end(&fixture->lmtp);
	peer_hear_nothing(fixture);
	assert_int_equal(counts(fixture).idle, 1);
}

static void test_nothing_is_the_last_chunk(void **state)
{
	struct fixture *fixture = *state;

	open_chunks(fixture);
	give_large(fixture);
	give(fixture, TEXT(""), true);
	peer_hear(fixture, "BDAT 0 LAST\r\n");
	peer_say(fixture, "250 4096\r\n250 2.0.0 done\r\n");
	expect_heard(fixture, "v250 2.0.0 done|");
}

/* Verdicts that were there before the message was asked for. */
static void test_chunks_after_the_verdicts(void **state)
{
	struct fixture *fixture = *state;

	begin(fixture);
	add(fixture, 0, TEXT("a@b.test"));
	peer_greet(fixture, CHUNKING);
	peer_hear(fixture, ENVELOPE);
	peer_say(fixture, "250 2.1.0 ok\r\n250 2.1.5 ok\r\n");
	expect_heard(fixture, "r250 2.1.5 ok|");
	lmtp_start_message(fixture->lmtp, LMTP_BODY_PLAIN);
	expect_heard(fixture, "d354 0.0.0 |");
	give(fixture, TEXT("x\r\n"), true);
	peer_hear(fixture, "BDAT 3 LAST\r\nx\r\n");
	peer_say(fixture, "250 2.0.0 done\r\n");
	expect_heard(fixture, "v250 2.0.0 done|");
}

static void test_chunks_are_stuffed_without_chunking(void **state)
{
	struct fixture *fixture = *state;

	open_plain(fixture, EVERYTHING);
	peer_hear(fixture, MESSAGE);
	peer_say(fixture, "250 2.1.0 ok\r\n250 2.1.5 ok\r\n354 go\r\n");
	expect_heard(fixture, "r250 2.1.5 ok|d354 0.0.0 go|");
	give(fixture, TEXT(".a\r\n\r"), false);
	give(fixture, TEXT("\n.\r\n"), false);
	give(fixture, TEXT("..\r\n"), true);
	peer_hear(fixture, "..a\r\n\r\n..\r\n...\r\n.\r\n");
	peer_say(fixture, "250 2.0.0 done\r\n");
	expect_heard(fixture, "v250 2.0.0 done|");
}

/* DATA's octets to a server that takes chunks, cut at every place where something might go wrong. */
static void test_stuffed_goes_by_bdat(void **state)
{
	struct fixture *fixture = *state;

	open_message_at(fixture, CHUNKING);
	peer_hear(fixture, ENVELOPE);
	peer_say(fixture, "250 2.1.0 ok\r\n250 2.1.5 ok\r\n");
	expect_heard(fixture, "r250 2.1.5 ok|d354 0.0.0 |");
	give(fixture, TEXT("T: x\r\n\r\n."), false);
	give(fixture, TEXT(".a\r"), false);
	give(fixture, TEXT("\n..\r\nb.\r\n.\r"), false);
	peer_hear_nothing(fixture);
	give(fixture, TEXT("\n"), true);
	peer_hear(fixture, "BDAT 19 LAST\r\nT: x\r\n\r\n.a\r\n.\r\nb.\r\n");
	peer_say(fixture, "250 2.0.0 done\r\n");
	expect_heard(fixture, "v250 2.0.0 done|");
	lmtp_end(&fixture->lmtp);
	assert_int_equal(counts(fixture).idle, 1);
}

/* The reply to a chunk must not be waited for, so without PIPELINING it is DATA. */
static void test_stuffed_goes_by_data_without_pipelining(void **state)
{
	struct fixture *fixture = *state;

	open_message_at(fixture, "250-peer\r\n250 CHUNKING\r\n");
	peer_hear(fixture, "MAIL FROM:<s@client.test>\r\n");
	peer_say(fixture, "250 ok\r\n");
	peer_hear(fixture, "RCPT TO:<a@b.test>\r\n");
	peer_say(fixture, "250 2.1.5 ok\r\n");
	peer_hear(fixture, "DATA\r\n");
	peer_say(fixture, "354 go\r\n");
	expect_heard(fixture, "r250 2.1.5 ok|d354 0.0.0 go|");
	give(fixture, TEXT("..\r\n.\r\n"), true);
	peer_hear(fixture, "..\r\n.\r\n");
}

static void test_a_refused_chunk(void **state)
{
	struct fixture *fixture = *state;

	open_chunks(fixture);
	give_large(fixture);
	give_large(fixture);
	peer_say(fixture, "552 5.3.4 big\r\n");
	expect_heard(fixture, "x552 5.3.4 big|");
	lmtp_end(&fixture->lmtp);
	peer_hear(fixture, "RSET\r\n");
	/* The reply to the second is nobody's; then the connection is as good as new. */
	peer_say(fixture, "503 5.5.1 no\r\n250 2.0.0 reset\r\n");
	expect_heard(fixture, "");
	assert_int_equal(counts(fixture).idle, 1);
}

static void test_a_given_up_message_of_chunks_is_reset(void **state)
{
	struct fixture *fixture = *state;

	open_chunks(fixture);
	give_large(fixture);
	give(fixture, TEXT("a\r\n"), false);
	lmtp_end(&fixture->lmtp);
	peer_hear(fixture, "RSET\r\n");
	peer_say(fixture, "250 4096\r\n250 2.0.0 reset\r\n");
	expect_heard(fixture, "");
	assert_int_equal(counts(fixture).idle, 1);
}

/* How many replies a server gives to the last chunk is known when all is well only. */
static void test_given_up_after_the_last_chunk(void **state)
{
	struct fixture *fixture = *state;

	open_chunks(fixture);
	give_large(fixture);
	give(fixture, TEXT("b\r\n"), true);
	peer_say(fixture, "452 4.3.1 full\r\n");
	expect_heard(fixture, "x452 4.3.1 full|");
	lmtp_end(&fixture->lmtp);
	peer_hear(fixture, "BDAT 3 LAST\r\nb\r\n");
	peer_hear_end(fixture);
}

static void test_a_reply_to_no_chunk(void **state)
{
	struct fixture *fixture = *state;

	open_chunks(fixture);
	peer_say(fixture, "250 what\r\n");
	expect_heard(fixture, "f|");
	peer_hear_end(fixture);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(chunks_go_by_bdat),
		TEST(nothing_is_the_last_chunk),
		TEST(chunks_after_the_verdicts),
		TEST(chunks_are_stuffed_without_chunking),
		TEST(stuffed_goes_by_bdat),
		TEST(stuffed_goes_by_data_without_pipelining),
		TEST(a_refused_chunk),
		TEST(a_given_up_message_of_chunks_is_reset),
		TEST(given_up_after_the_last_chunk),
		TEST(a_reply_to_no_chunk),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

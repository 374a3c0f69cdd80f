/* The LMTP client: SMTPUTF8 and DSN go only to a peer that offers them, and are not lost at another. */
#include "tests/unit/smtp-in/lmtp_peer.h"

/* ---- SMTPUTF8 ---- */

static void test_utf8_goes_to_who_knows_it(void **state)
{
	struct fixture *fixture = *state;

	fixture->envelope.utf8 = true;
	fixture->envelope.sender = TEXT("s\xc3\xa4@client.test");
	begin_message(fixture);
	peer_greet(fixture, "250-peer\r\n250-PIPELINING\r\n250 smtputf8\r\n");
	peer_hear(fixture, "MAIL FROM:<s\xc3\xa4@client.test> SMTPUTF8\r\n"
			   "RCPT TO:<a@b.test>\r\nDATA\r\n");
}

/* Not a word of it goes to any other server, whose connection is as good as before. */
static void test_utf8_is_refused_where_unknown(void **state)
{
	struct fixture *fixture = *state;
	const char *heard = "r550 5.6.7 Where mail goes from here, SMTPUTF8 is not known|"
			    "d554 5.5.1 No valid recipients|";

	fixture->envelope.utf8 = true;
	begin_message(fixture);
	peer_greet(fixture, EVERYTHING);
	expect_heard(fixture, heard);
	peer_hear_nothing(fixture);
	lmtp_end(&fixture->lmtp);
	begin_message(fixture);
	expect_heard(fixture, heard);
	peer_hear_nothing(fixture);
	lmtp_end(&fixture->lmtp);
	fixture->envelope.utf8 = false;
	begin_message(fixture);
	finish_message(fixture);
}

/* ---- DSN ---- */

static void say_dsn(struct fixture *fixture)
{
	fixture->envelope = (struct lmtp_envelope){ .sender = TEXT("s@client.test"),
		.id = TEXT("id1"),
		.dsn = { .content = DSN_RETURN_HEADERS, .envelope_id = TEXT("e+2B1") } };
	fixture->recipient[0].dsn =
		(struct dsn_recipient){ .notify = DSN_NOTIFY_SUCCESS | DSN_NOTIFY_DELAY,
			.original = TEXT("rfc822;o@b.test") };
}

static void test_dsn_is_handed_on(void **state)
{
	struct fixture *fixture = *state;

	say_dsn(fixture);
	begin_for_two(fixture);
	peer_greet(fixture, WITH_DSN);
	peer_hear(fixture, "MAIL FROM:<s@client.test> RET=HDRS ENVID=e+2B1 XID=id1\r\n"
			   "RCPT TO:<a@b.test> NOTIFY=SUCCESS,DELAY ORCPT=rfc822;o@b.test\r\n"
			   "RCPT TO:<c@b.test>\r\n");
}

static void test_dsn_is_not_lost(void **state)
{
	struct fixture *fixture = *state;

	say_dsn(fixture);
	begin(fixture);
	add(fixture, 0, TEXT("a@b.test"));
	lmtp_start_message(fixture->lmtp, LMTP_BODY_STUFFED);
	peer_greet(fixture, EVERYTHING);
	expect_heard(fixture,
		"r451 4.3.0 Where mail goes from here, DSN is not known any more, try again|"
		"d554 5.5.1 No valid recipients|");
	peer_hear_nothing(fixture);
}

/* Of one recipient only: the others get the message, and every reply has its place. */
static void test_dsn_of_one_recipient_is_not_lost(void **state)
{
	struct fixture *fixture = *state;

	fixture->recipient[1].dsn.notify = DSN_NOTIFY_NEVER;
	begin_for_two(fixture);
	add(fixture, 2, TEXT("d@b.test"));
	lmtp_start_message(fixture->lmtp, LMTP_BODY_STUFFED);
	peer_greet(fixture, EVERYTHING);
	peer_hear(fixture, ENVELOPE);
	peer_say(fixture, "250 2.1.0 ok\r\n250 2.1.5 ok\r\n");
	peer_hear(fixture, "RCPT TO:<d@b.test>\r\nDATA\r\n");
	peer_say(fixture, "250 2.1.5 ok\r\n354 go\r\n");
	expect_heard(fixture,
		"r250 2.1.5 ok|"
		"r451 4.3.0 Where mail goes from here, DSN is not known any more, try again|"
		"r250 2.1.5 ok|d354 0.0.0 go|");
	give(fixture, TEXT("x\r\n.\r\n"), true);
	peer_say(fixture, "250 2.0.0 a\r\n250 2.0.0 d\r\n");
	expect_heard(fixture, "v250 2.0.0 a|v250 2.0.0 d|");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(utf8_goes_to_who_knows_it),
		TEST(utf8_is_refused_where_unknown),
		TEST(dsn_is_handed_on),
		TEST(dsn_is_not_lost),
		TEST(dsn_of_one_recipient_is_not_lost),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

/* LMTP sessions: what becomes of RCPT, and how the store is asked about it. */
#include "tests/unit/mda/session_case.h"

static void recipients_get_their_verdicts(void **state)
{
	static const struct exchange table[] = {
		{ "MAIL FROM:<a@b.test>\r\n", "250 *" },
		{ "RCPT TO:<alice@example.test>\r\n", "250 2.1.5 *" },
		{ "RCPT TO:<ALICE@Example.TEST>\r\n", "250 2.1.5 *" },
		{ "RCPT TO:<\"alice\"@example.test>\r\n", "250 2.1.5 *" },
		{ "RCPT TO:<@route.test:alice@example.test>\r\n", "250 2.1.5 *" },
		{ "RCPT TO:<user1@second.test>\r\n", "550 5.1.1 *" },
		{ "RCPT TO:<nobody@example.test>\r\n", "550 5.1.1 *" },
		{ "RCPT TO:<alice@elsewhere.test>\r\n", "550 5.7.1 *" },
		{ "RCPT TO:<alice@[127.0.0.1]>\r\n", "550 5.7.1 *" },
		{ "RCPT TO:<alice@sub.example.test>\r\n", "550 5.7.1 *" },
		{ "RCPT TO:<postmaster>\r\n", "250 2.1.5 *" },
		{ "RCPT TO:<PostMaster>\r\n", "250 2.1.5 *" },
	};
	struct harness *h = *state;

	harness_greet(h, false);
	play(h, table, sizeof(table) / sizeof(table[0]));
	/* alice four ways is one question; so is postmaster twice. Who is not there is asked for anew. */
	assert_int_equal(h->lookups, 7);
	assert_int_equal(resolve_cached(h->worker->resolve), 2);
}

static void pipelined_recipients_are_asked_side_by_side(void **state)
{
	struct harness *h = *state;

	harness_greet(h, false);
	harness_say(h, "MAIL FROM:<>\r\nRCPT TO:<bob@example.test>\r\n");
	harness_expect(h, "250 2.1.0 *");
	harness_expect(h, "250 2.1.5 *");
	h->manual = true;
	/* Four wait for the store; the others could be answered at once. */
	harness_say(h, "RCPT TO:<alice@example.test>\r\n"
		       "RCPT TO:<bob@example.test>\r\n"
		       "RCPT TO:<nobody@example.test>\r\n"
		       "RCPT TO:<x@elsewhere.test>\r\n"
		       "RCPT TO:<carol@example.test>\r\n"
		       "RCPT TO:<>\r\n"
		       "DATA\r\n");
	harness_expect_nothing(h);
	assert_int_equal(h->request_count, 4);
	harness_answer(h, 3); /* carol */
	harness_expect_nothing(h);
	harness_answer(h, 0); /* alice */
	harness_expect(h, "250 2.1.5 *");
	harness_expect(h, "250 2.1.5 *");
	harness_expect_nothing(h);
	harness_answer(h, 0); /* nobody */
	harness_expect(h, "550 5.1.1 *");
	harness_expect_nothing(h);
	harness_answer(h, 0); /* x@elsewhere.test */
	harness_expect(h, "550 5.7.1 *");
	harness_expect(h, "250 2.1.5 *");
	harness_expect(h, "501 5.1.3 *");
	harness_expect(h, "354 *");
	harness_say(h, "Subject: x\r\n\r\n.\r\n");
	harness_settle(h);
	harness_answer(h, 0);
	for (int i = 0; i < 4; i++)
		harness_expect(h, "250 2.0.0 *");
	assert_string_equal(h->recipients,
		"bob@example.test/INBOX alice@example.test/INBOX bob@example.test/INBOX "
		"carol@example.test/INBOX ");
	harness_expect_nothing(h);
}

static void many_recipients_wait_in_bounded_number(void **state)
{
	struct harness *h = *state;
	struct buf lines = { 0 };

	harness_greet(h, false);
	h->manual = true;
	harness_say(h, "MAIL FROM:<>\r\n");
	harness_expect(h, "250 *");
	for (int i = 0; i < 900; i++)
		buf_format(&lines, "RCPT TO:<user%d@example.test>\r\n", i);
	harness_send(h, buf_text(&lines));
	buf_release(&lines);
	harness_expect_nothing(h);
	assert_int_equal(h->request_count, 256);
	h->manual = false;
	while (h->request_count)
		harness_answer(h, 0);
	for (int i = 0; i < 900; i++)
		harness_expect(h, "250 2.1.5 *");
	harness_expect_nothing(h);
}

static void recipients_have_a_limit(void **state)
{
	struct harness *h = *state;
	char line[64];

	harness_set(h, "recipients", "100");
	harness_greet(h, false);
	harness_say(h, "MAIL FROM:<>\r\n");
	harness_expect(h, "250 *");
	for (int i = 0; i < 100; i++) {
		snprintf(line, sizeof(line), "RCPT TO:<user%d@example.test>\r\n", i);
		harness_say(h, line);
		harness_expect(h, "250 2.1.5 *");
	}
	harness_say(h, "RCPT TO:<alice@example.test>\r\n");
	harness_expect(h, "452 4.5.3 *");
	harness_say(h, "DATA\r\n");
	harness_expect(h, "354 *");
	harness_say(h, "\r\n.\r\n");
	for (int i = 0; i < 100; i++)
		harness_expect(h, "250 2.0.0 *");
	harness_expect_nothing(h);
	assert_int_equal(h->deliveries, 1);
}

static void refused_recipients_take_no_end_of_memory(void **state)
{
	struct harness *h = *state;
	const struct text end = TEXT("421 4.7.0 too many recipients in one message\r\n");
	int refused = 0;

	harness_greet(h, false);
	harness_say(h, "MAIL FROM:<>\r\n");
	harness_expect(h, "250 *");
	for (;; refused++) {
		assert_true(refused < 100000);
		harness_say(h, "RCPT TO:<alice@elsewhere.test>\r\n");
		harness_wait(h, harness_has_line);
		if (text_equal(buf_text(&h->got), end))
			break;
		harness_expect(h, "550 5.7.1 *");
	}
	assert_true(refused > 2000);
	buf_clear(&h->got);
	harness_expect_end(h);
}

static void a_client_that_leaves_is_forgotten(void **state)
{
	struct harness *h = *state;

	harness_greet(h, false);
	h->manual = true;
	harness_say(h,
		"MAIL FROM:<>\r\nRCPT TO:<alice@example.test>\r\nRCPT TO:<bob@example.test>\r\n");
	harness_expect(h, "250 *");
	harness_settle(h);
	assert_int_equal(h->request_count, 2);
	client_leaves(h);
	assert_int_equal(h->worker->session_count, 0);
	harness_answer(h, 0);
	harness_answer(h, 0);
	harness_settle(h);
	h->manual = false;
	harness_greet(h, false);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(recipients_get_their_verdicts),
		TEST(pipelined_recipients_are_asked_side_by_side),
		TEST(many_recipients_wait_in_bounded_number),
		TEST(recipients_have_a_limit),
		TEST(refused_recipients_take_no_end_of_memory),
		TEST(a_client_that_leaves_is_forgotten),
	};

	log_open("test", LOG_LEVEL_ERROR);
	return cmocka_run_group_tests(tests, NULL, NULL);
}

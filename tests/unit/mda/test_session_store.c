/* LMTP sessions: a store that goes away, changes its mind, or knows lists. */
#include "tests/unit/mda/session_case.h"
#include "tests/unit/outcomes.h"

static void without_a_store_all_is_temporary(void **state)
{
	struct harness *h = *state;

	harness_greet(h, false);
	harness_envelope(h, "alice@example.test");
	h->refuse_connections = true;
	harness_store_dies(h);
	harness_settle(h);
	harness_say(h, "\r\n.\r\n");
	expect_outcome(h, outcomes[STORE_AWAY].end);
	harness_say(h, "MAIL FROM:<>\r\nRCPT TO:<alice@example.test>\r\n");
	harness_expect(h, "250 *");
	expect_outcome(h, outcomes[STORE_AWAY].rcpt);
	/* It may be a domain that was added while the host runs. */
	harness_say(h, "RCPT TO:<alice@elsewhere.test>\r\nRSET\r\n");
	harness_expect(h, "451 4.3.0 *");
	harness_expect(h, "250 *");
	h->refuse_connections = false;
	harness_wait_for_store(h);
	deliver_empty(h, "alice@example.test", "250 2.0.0 *");
}

static void what_was_asked_of_a_lost_store_is_temporary(void **state)
{
	struct harness *h = *state;

	harness_greet(h, false);
	h->manual = true;
	harness_say(h,
		"MAIL FROM:<>\r\nRCPT TO:<alice@example.test>\r\nRCPT TO:<bob@example.test>\r\n");
	harness_expect(h, "250 *");
	harness_settle(h);
	assert_int_equal(h->request_count, 2);
	harness_store_dies(h);
	harness_expect(h, "451 4.3.0 *");
	harness_expect(h, "451 4.3.0 *");
	h->manual = false;
	harness_wait_for_store(h);
	harness_say(h, "RSET\r\n");
	harness_expect(h, "250 *");
	/* While it has the message. */
	harness_envelope(h, "alice@example.test");
	h->manual = true;
	harness_say(h, "\r\n.\r\nNOOP\r\n");
	harness_expect_nothing(h);
	assert_int_equal(h->deliveries, 1);
	harness_store_dies(h);
	harness_expect(h, "451 4.3.0 *");
	harness_expect(h, "250 2.0.0 ok");
}

static void what_the_store_said_holds_until_it_says_otherwise(void **state)
{
	struct harness *h = *state;

	harness_greet(h, false);
	deliver_empty(h, "alice@example.test", "250 *");
	deliver_empty(h, "alice@example.test", "250 *");
	assert_int_equal(h->lookups, 1);
	harness_directory_changed(h);
	harness_settle(h);
	assert_int_equal(resolve_cached(h->worker->resolve), 0);
	h->lookup_failure = STORE_NO_SUCH_USER;
	harness_say(h, "MAIL FROM:<>\r\nRCPT TO:<alice@example.test>\r\n");
	harness_expect(h, "250 *");
	harness_expect(h, "550 5.1.1 *");
	assert_int_equal(h->lookups, 2);
}

/* A larger message than any before has to be asked about again. */
static void room_is_asked_for_by_announced_size(void **state)
{
	static const struct {
		const char *parameter;
		unsigned lookups;
		uint64_t asked;
	} messages[] = {
		{ "", 1, 0 },
		{ " SIZE=1000", 2, 1000 },
		{ " SIZE=999", 2, 1000 },
		{ "", 2, 1000 },
		{ " SIZE=1001", 3, 1001 },
	};
	struct harness *h = *state;
	char line[80];

	harness_greet(h, false);
	for (size_t i = 0; i < sizeof(messages) / sizeof(messages[0]); i++) {
		snprintf(line, sizeof(line),
			"MAIL FROM:<>%s\r\nRCPT TO:<alice@example.test>\r\nRSET\r\n",
			messages[i].parameter);
		harness_say(h, line);
		harness_expect(h, "250 *");
		harness_expect(h, "250 *");
		harness_expect(h, "250 *");
		assert_int_equal(h->lookups, messages[i].lookups);
		assert_int_equal(h->lookup_size, messages[i].asked);
	}
	h->lookup_failure = STORE_OVER_QUOTA;
	harness_say(h, "MAIL FROM:<> SIZE=2000\r\nRCPT TO:<alice@example.test>\r\nRSET\r\n");
	harness_expect(h, "250 *");
	harness_expect(h, "452 4.2.2 *");
	harness_expect(h, "250 *");
	assert_int_equal(h->lookup_size, 2000);
}

/* A change that overtakes an answer must not be remembered over. */
static void an_answer_from_before_a_change_is_not_kept(void **state)
{
	struct harness *h = *state;

	harness_greet(h, false);
	h->manual = true;
	harness_say(h, "MAIL FROM:<>\r\nRCPT TO:<alice@example.test>\r\n");
	harness_expect(h, "250 *");
	harness_settle(h);
	harness_directory_changed(h);
	harness_answer(h, 0);
	harness_expect(h, "250 2.1.5 *");
	assert_int_equal(resolve_cached(h->worker->resolve), 0);
}

static const char *return_path(const struct harness *h)
{
	static char line[200];

	snprintf(line, sizeof(line), "%.*s", (int)strcspn(h->body, "\n"), h->body);
	return line;
}

static void one_delivery(struct harness *h, const char *sender, const char *to)
{
	struct text rest = text_of(to), one;

	harness_say(h, "MAIL FROM:<");
	harness_say(h, sender);
	harness_say(h, ">\r\n");
	harness_expect(h, "250 *");
	while (rest.len && text_split(&rest, ' ', &one)) {
		char line[400];
		snprintf(line, sizeof(line), "RCPT TO:<%.*s>\r\n", TEXT_ARG(one));
		harness_say(h, line);
		harness_expect(h, "250 2.1.5 *");
	}
	harness_say(h, "DATA\r\n");
	harness_expect(h, "354 *");
	harness_say(h, "Subject: x\r\n\r\n.\r\n");
	for (rest = text_of(to); rest.len && text_split(&rest, ' ', &one);)
		harness_expect(h, "250 2.0.0 *");
}

static void errors_of_a_list_go_to_its_owner(void **state)
{
	static const struct {
		const char *sender, *to, *path;
	} table[] = {
		{ "a@b.test", "team@example.test", "Return-Path: <carol@example.test>" },
		{ "a@b.test", "alice@example.test", "Return-Path: <a@b.test>" },
		{ "a@b.test", "team@example.test user7@example.test", "Return-Path: <a@b.test>" },
		{ "a@b.test", "user7@example.test team@example.test", "Return-Path: <a@b.test>" },
		{ "", "team@example.test", "Return-Path: <>" },
	};
	struct harness *h = *state;

	harness_greet(h, false);
	for (size_t i = 0; i < sizeof(table) / sizeof(table[0]); i++) {
		one_delivery(h, table[i].sender, table[i].to);
		assert_string_equal(return_path(h), table[i].path);
	}
	assert_string_equal(h->recipients, "alice@example.test/INBOX bob@example.test/INBOX ");
}

/* A thousand mailboxes are one transaction; one more is for another message. */
static void a_list_of_a_thousand_is_one_delivery(void **state)
{
	struct harness *h = *state;

	harness_greet(h, false);
	one_delivery(h, "a@b.test", "crowd@example.test");
	assert_int_equal(h->deliveries, 1);
	size_t count = 0;
	for (const char *at = h->recipients; *at; at++)
		count += *at == ' ';
	assert_int_equal(count, 1000);

	harness_say(h, "MAIL FROM:<a@b.test>\r\nRCPT TO:<crowd@example.test>\r\n"
		       "RCPT TO:<alice@example.test>\r\n");
	harness_expect(h, "250 *");
	harness_expect(h, "250 2.1.5 *");
	harness_expect(h, "452 4.5.3 *");
}

static void what_does_not_last_is_asked_anew(void **state)
{
	struct harness *h = *state;

	h->once_only = true;
	harness_greet(h, false);
	for (int i = 0; i < 3; i++)
		one_delivery(h, "a@b.test", "alice@example.test");
	assert_int_equal(h->lookups, 3);
	assert_int_equal(resolve_cached(h->worker->resolve), 0);
}

static void every_failure_of_an_address_is_told(void **state)
{
	struct harness *h = *state;

	harness_greet(h, false);
	harness_say(h, "MAIL FROM:<a@b.test>\r\n");
	harness_expect(h, "250 *");
	/* What went well would be remembered: last. */
	for (int failure = STORE_AWAY - 1; failure >= 0; failure--) {
		h->lookup_failure = failure;
		harness_say(h, "RCPT TO:<alice@example.test>\r\n");
		expect_outcome(h, outcomes[failure].rcpt);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(without_a_store_all_is_temporary),
		TEST(what_was_asked_of_a_lost_store_is_temporary),
		TEST(what_the_store_said_holds_until_it_says_otherwise),
		TEST(room_is_asked_for_by_announced_size),
		TEST(an_answer_from_before_a_change_is_not_kept),
		TEST(errors_of_a_list_go_to_its_owner),
		TEST(a_list_of_a_thousand_is_one_delivery),
		TEST(what_does_not_last_is_asked_anew),
		TEST(every_failure_of_an_address_is_told),
	};

	log_open("test", LOG_LEVEL_ERROR);
	return cmocka_run_group_tests(tests, NULL, NULL);
}

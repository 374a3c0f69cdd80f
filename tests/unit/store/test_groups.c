/*
 * Deliveries whose recipients stand or fall alone, or in groups: what each is told, and what is there
 * afterwards.
 */
#include <time.h>

#include "tests/unit/store/engine_fixture.h"

enum { MOST = 6 };

/* alice has room for twelve octets, carol for ten, bob for one message; dave is nobody. */
struct groups_case {
	const char *body;
	struct {
		const char *user, *mailbox;
		uint32_t group;
		const char *once;
	} recipients[MOST];
	const char *verdicts; /* a hexadecimal digit each; NULL: one for all */
	enum store_failure failure;
	const char *user;           /* whom it names */
	unsigned alice, bob, carol; /* messages afterwards */
};

#define ALICE "alice@example.test"
#define BOB "bob@example.test"
#define CAROL "carol@example.test"
#define DAVE "dave@example.test"

static const struct groups_case cases[] = {
	/* Each for himself. */
	{ "small\n", { { ALICE, "", 0, "" }, { BOB, "", 1, "" }, { CAROL, "", 2, "" } }, "000",
		STORE_OK, "", 1, 1, 1 },
	{ "small\n", { { ALICE, "", 0, "" }, { DAVE, "", 1, "" }, { CAROL, "", 2, "" } }, "010",
		STORE_OK, DAVE, 1, 0, 1 },
	{ "small\n", { { DAVE, "", 0, "" }, { BOB, "", 1, "" } }, "10", STORE_OK, DAVE, 0, 1, 0 },
	{ "over ten octets\n", { { ALICE, "", 0, "" }, { BOB, "", 1, "" }, { CAROL, "", 2, "" } },
		"606", STORE_OK, ALICE, 0, 1, 0 },
	{ "over ten octets\n", { { ALICE, "", 0, "" }, { DAVE, "", 1, "" } }, "61",
		STORE_OVER_QUOTA, ALICE, 0, 0, 0 },
	{ "small\n", { { DAVE, "", 0, "" }, { DAVE, "", 1, "" } }, "11", STORE_NO_SUCH_USER, DAVE,
		0, 0, 0 },
	/* One mailbox twice is one copy, and needs room once. */
	{ "small\n", { { BOB, "", 0, "" }, { BOB, "", 1, "" }, { CAROL, "", 2, "" } }, "000",
		STORE_OK, "", 0, 1, 1 },
	/* Two mailboxes need room twice. */
	{ "small\n", { { BOB, "", 0, "" }, { BOB, "Other", 1, "" }, { CAROL, "", 2, "" } }, "060",
		STORE_OK, BOB, 0, 1, 1 },
	/* Who stand together fall together, and then leave room for others. */
	{ "small\n", { { BOB, "Other", 0, "" }, { DAVE, "", 0, "" }, { BOB, "", 1, "" } }, "110",
		STORE_OK, DAVE, 0, 1, 0 },
	{ "small\n",
		{ { ALICE, "", 0, "" }, { BOB, "", 1, "" }, { BOB, "Other", 1, "" },
			{ ALICE, "Lists", 2, "" } },
		"0660", STORE_OK, BOB, 2, 0, 0 },
	/* One group: all or none, as ever. */
	{ "small\n", { { ALICE, "", 0, "" }, { DAVE, "", 0, "" } }, NULL, STORE_NO_SUCH_USER, DAVE,
		0, 0, 0 },
	{ "small\n", { { ALICE, "", 7, "" }, { DAVE, "", 7, "" } }, NULL, STORE_NO_SUCH_USER, DAVE,
		0, 0, 0 },
	/* Keys are each recipient's own; who has it already needs no room. */
	{ "small\n", { { ALICE, "", 0, "known" }, { CAROL, "", 1, "new" } }, "50", STORE_OK, "", 0,
		0, 1 },
	{ "over ten octets\n", { { ALICE, "", 0, "known" }, { CAROL, "", 1, "new" } }, "56",
		STORE_OK, CAROL, 0, 0, 0 },
	{ "over ten octets\n", { { ALICE, "", 0, "known" }, { DAVE, "", 1, "known" } }, "51",
		STORE_OK, DAVE, 0, 0, 0 },
};

static void set_quota(struct fixture *fixture, const char *user, uint64_t octets, uint64_t messages)
{
	struct fixture_answer answer = { 0 };

	engine_user_quota(fixture->engine, text_of(user), octets, messages, fixture_done, &answer);
	fixture_wait(fixture, &answer);
	assert_int_equal(answer.result.failure, STORE_OK);
}

/* Makes a key known without a message that counts. */
static void note_key(struct fixture *fixture)
{
	const struct engine_recipient recipient = { .user = TEXT(ALICE),
		.mailbox = TEXT(""),
		.keywords = TEXT(""),
		.once = TEXT("known") };
	struct fixture_answer answer = { 0 };

	engine_deliver(fixture->engine,
		&(struct engine_delivery){ .id = TEXT("test"),
			.once = TEXT(""),
			.body = TEXT("k\n"),
			.recipients = &recipient,
			.count = 1 },
		fixture_done, &answer);
	fixture_wait(fixture, &answer);
	assert_int_equal(answer.result.failure, STORE_OK);
}

struct heard {
	struct fixture_answer answer;
	char verdicts[MOST + 1];
	uint32_t uids[MOST];
	char file[64];
};

static void on_heard(void *owner, const struct engine_result *result)
{
	struct heard *heard = owner;

	assert_true(result->verdicts.len <= MOST);
	for (size_t i = 0; i < result->verdicts.len; i++) {
		heard->verdicts[i] = "0123456789abcdef"[(unsigned char)result->verdicts.ptr[i]];
		heard->uids[i] = result->uids ? result->uids[i] : 0;
	}
	snprintf(heard->file, sizeof(heard->file), "%.*s", TEXT_ARG(result->file));
	fixture_done(&heard->answer, result);
}

static unsigned messages_of(struct fixture *fixture, const char *user)
{
	uint32_t messages;
	uint64_t octets;

	assert_int_equal(
		engine_usage(fixture->engine, text_of(user), &messages, &octets), STORE_OK);
	return messages;
}

static void run_case(struct fixture *fixture, const struct groups_case *at, bool has_key)
{
	struct engine_recipient recipients[MOST];
	struct heard heard = { 0 };
	size_t count = 0;

	for (; count < MOST && at->recipients[count].user; count++)
		recipients[count] = (struct engine_recipient){
			.user = text_of(at->recipients[count].user),
			.mailbox = text_of(at->recipients[count].mailbox),
			.keywords = TEXT(""),
			.once = text_of(at->recipients[count].once),
			.group = at->recipients[count].group,
		};
	engine_deliver(fixture->engine,
		&(struct engine_delivery){ .id = TEXT("test"),
			.once = TEXT(""),
			.body = text_of(at->body),
			.recipients = recipients,
			.count = count },
		on_heard, &heard);
	fixture_wait(fixture, &heard.answer);
	assert_int_equal(heard.answer.result.failure, at->failure);
	assert_string_equal(heard.answer.user, at->user);
	if (at->verdicts)
		assert_string_equal(heard.verdicts, at->verdicts);
	else
		assert_string_equal(heard.verdicts, at->failure == STORE_OK ? heard.verdicts : "");
	for (size_t i = 0; heard.verdicts[i]; i++)
		assert_int_equal(heard.uids[i] != 0, heard.verdicts[i] == '0');
	assert_int_equal(heard.file[0] != '\0', strchr(heard.verdicts, '0') != NULL);
	assert_null(strchr(heard.file, ','));
	assert_int_equal(messages_of(fixture, ALICE) - has_key, at->alice);
	assert_int_equal(messages_of(fixture, BOB), at->bob);
	assert_int_equal(messages_of(fixture, CAROL), at->carol);
}

static void groups_stand_or_fall_alone(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		void *fixture;
		const bool has_key = strcmp(cases[i].recipients[0].once, "known") == 0;

		print_message("case %zu\n", i);
		assert_int_equal(fixture_setup(&fixture), 0);
		for (size_t j = 0; j < 3; j++)
			assert_int_equal(
				fixture_add_user(fixture, (const char *[]){ ALICE, BOB, CAROL }[j]),
				STORE_OK);
		if (has_key)
			note_key(fixture);
		set_quota(fixture, ALICE, has_key ? 2 : 12, 0);
		set_quota(fixture, BOB, 0, 1);
		set_quota(fixture, CAROL, 10, 0);
		run_case(fixture, &cases[i], has_key);
		fixture_teardown(&fixture);
	}
}

static struct heard deliver_once(struct fixture *fixture, uint32_t seconds, int64_t received)
{
	const struct engine_recipient recipient = { .user = TEXT(ALICE),
		.mailbox = TEXT(""),
		.keywords = TEXT(""),
		.once = TEXT("key"),
		.once_seconds = seconds };
	struct heard heard = { 0 };

	engine_deliver(fixture->engine,
		&(struct engine_delivery){ .id = TEXT("test"),
			.once = TEXT(""),
			.received = received,
			.body = TEXT("k\n"),
			.recipients = &recipient,
			.count = 1 },
		on_heard, &heard);
	fixture_wait(fixture, &heard.answer);
	return heard;
}

/* A key that counts for a while only: the store's clock says how old it is, whatever the message's date. */
static void keys_may_grow_old(void **state)
{
	static const struct {
		uint32_t seconds;
		int64_t received;
		const char *verdict;
	} steps[] = { { 1000, 5, "0" }, { 1000, 5, "5" }, { 0, 0, "5" },
		{ 1000, 4000000000, "5" } };
	struct fixture *fixture = *state;
	const time_t end = time(NULL) + 20;

	assert_int_equal(fixture_add_user(fixture, ALICE), STORE_OK);
	for (size_t i = 0; i < sizeof(steps) / sizeof(steps[0]); i++)
		assert_string_equal(
			deliver_once(fixture, steps[i].seconds, steps[i].received).verdicts,
			steps[i].verdict);
	while (strcmp(deliver_once(fixture, 1, 0).verdicts, "5") == 0)
		assert_true(time(NULL) < end);
	assert_int_equal(messages_of(fixture, ALICE), 2);
	/* From then on it is as new. */
	assert_string_equal(deliver_once(fixture, 1000, 0).verdicts, "5");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(groups_stand_or_fall_alone),
		cmocka_unit_test_setup_teardown(keys_may_grow_old, fixture_setup, fixture_teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

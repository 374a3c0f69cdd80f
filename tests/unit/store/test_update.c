/*
 * Updates of many messages: piece by piece, so that others are not held up. Of an expunge a crash leaves all
 * or nothing, of flags the first ones by UID.
 */
#include "tests/unit/store/engine_fixture.h"

#define ALICE "alice@example.test"
#define BOB "bob@example.test"

enum { MESSAGES = 9, PIECE = 2 };

static void prepare(struct fixture *fixture)
{
	fixture->options.update_messages = PIECE;
	fixture_restart(fixture);
	assert_int_equal(fixture_add_user(fixture, ALICE), STORE_OK);
	assert_int_equal(fixture_add_user(fixture, BOB), STORE_OK);
	for (int i = 0; i < MESSAGES; i++)
		assert_int_equal(fixture_deliver(fixture, ALICE, "x\n"), STORE_OK);
}

static void deliver(struct fixture *fixture, const char *user, struct fixture_answer *answer)
{
	const struct engine_recipient recipient = {
		.user = text_of(user), .mailbox = TEXT(""), .keywords = TEXT("")
	};

	engine_deliver(fixture->engine,
		&(struct engine_delivery){ .id = TEXT(""),
			.once = TEXT(""),
			.body = TEXT("y\n"),
			.recipients = &recipient,
			.count = 1 },
		fixture_done, answer);
}

static void expect_uids(struct engine_view *view, const uint32_t *uids, size_t count)
{
	struct store_listing *listing = fixture_list(view, NULL);

	assert_int_equal(listing->count, count);
	for (size_t i = 0; i < count; i++)
		assert_int_equal(listing->entry[i].uid, uids[i]);
	free(listing);
}

/* In any order, named twice, gone before, or arriving while it goes on. */
static void test_expunge(void **state)
{
	static const uint32_t first[] = { 4 }, left[] = { 9, 10 },
			      uids[] = { 8, 1, 2, 3, 10, 3, 5, 4, 6, 7 };
	struct fixture *fixture = *state;
	struct fixture_answer expunged = { 0 }, to_alice = { 0 }, to_bob = { 0 };
	struct engine_status status;

	prepare(fixture);
	struct engine_view *view = fixture_open(fixture, ALICE, "INBOX");
	fixture_update(fixture, view, STORE_UPDATE_EXPUNGE, 0, "", first, 1);
	engine_view_update(view, STORE_UPDATE_EXPUNGE, 0, TEXT(""), uids,
		sizeof(uids) / sizeof(uids[0]), fixture_done, &expunged);
	deliver(fixture, ALICE, &to_alice);
	deliver(fixture, BOB, &to_bob);
	fixture_wait(fixture, &to_bob);
	/* Nobody else waits for the last piece, and every piece can be seen. */
	assert_false(expunged.done);
	struct store_listing *listing = fixture_list(view, NULL);
	assert_in_range(listing->count, 3, MESSAGES);
	free(listing);
	fixture_wait(fixture, &expunged);
	assert_true(to_alice.done);
	assert_int_equal(expunged.result.failure, STORE_OK);
	assert_int_equal(expunged.result.changed, 7);
	expect_uids(view, left, 2);
	free(fixture_list(view, &status));
	assert_int_equal(expunged.result.modseq, status.modseq);
	engine_view_close(&view);
}

static void test_flags(void **state)
{
	static const uint32_t uids[] = { 1, 2, 3, 4, 5 }, gone[] = { 1, 2, 3, 4 };
	struct fixture *fixture = *state;
	struct engine_status status;

	prepare(fixture);
	struct engine_view *view = fixture_open(fixture, ALICE, "INBOX");
	struct engine_result result = fixture_update(
		fixture, view, STORE_UPDATE_FLAGS_ADD, STORE_FLAG_SEEN, "work", uids, 5);
	assert_int_equal(result.changed, 5);
	struct store_listing *listing = fixture_list(view, &status);
	assert_string_equal(status.keywords.ptr, "work");
	for (size_t i = 0; i < MESSAGES; i++) {
		assert_int_equal(listing->entry[i].flags, i < 5 ? STORE_FLAG_SEEN : 0);
		assert_int_equal(listing->entry[i].keywords, i < 5);
	}
	free(listing);
	/* Pieces that alter nothing, before one that does. */
	fixture_update(fixture, view, STORE_UPDATE_EXPUNGE, 0, "", gone, 4);
	result = fixture_update(
		fixture, view, STORE_UPDATE_FLAGS_SET, STORE_FLAG_DELETED, "new", uids, 5);
	assert_int_equal(result.failure, STORE_OK);
	assert_int_equal(result.changed, 1);
	/* And none at all. */
	result = fixture_update(
		fixture, view, STORE_UPDATE_FLAGS_SET, STORE_FLAG_DELETED, "", gone, 4);
	assert_int_equal(result.failure, STORE_OK);
	assert_int_equal(result.changed, 0);
	engine_view_close(&view);
}

/* Another session's request for the same mailbox does not get in between. */
static void test_in_turn(void **state)
{
	static const uint32_t uids[] = { 1, 2, 3, 4, 5, 6 };
	struct fixture *fixture = *state;
	struct fixture_answer marked = { 0 }, expunged = { 0 };

	prepare(fixture);
	struct engine_view *view = fixture_open(fixture, ALICE, "INBOX");
	struct engine_view *other = fixture_open(fixture, ALICE, "INBOX");
	engine_view_update(view, STORE_UPDATE_FLAGS_ADD, STORE_FLAG_SEEN, TEXT(""), uids, 6,
		fixture_done, &marked);
	engine_view_update(
		other, STORE_UPDATE_EXPUNGE, 0, TEXT(""), uids, 6, fixture_done, &expunged);
	fixture_wait(fixture, &expunged);
	assert_true(marked.done);
	assert_int_equal(marked.result.changed, 6);
	assert_int_equal(expunged.result.changed, 6);
	engine_view_close(&view);
	engine_view_close(&other);
}

static void test_mailbox_deleted(void **state)
{
	static const uint32_t uids[] = { 1, 2, 3, 4, 5, 6 };
	struct fixture *fixture = *state;
	struct fixture_answer renamed = { 0 }, marked = { 0 }, deleted = { 0 };

	prepare(fixture);
	engine_rename(
		fixture->engine, TEXT(ALICE), TEXT("INBOX"), TEXT("Old"), fixture_done, &renamed);
	fixture_wait(fixture, &renamed);
	assert_int_equal(renamed.result.failure, STORE_OK);
	struct engine_view *view = fixture_open(fixture, ALICE, "Old");
	engine_view_update(view, STORE_UPDATE_FLAGS_ADD, STORE_FLAG_SEEN, TEXT(""), uids, 6,
		fixture_done, &marked);
	while (!event_base_loop(fixture->loop, EVLOOP_ONCE)) {
		struct store_listing *listing = fixture_list(view, NULL);
		const uint32_t flags = listing->entry[0].flags;
		free(listing);
		if (flags)
			break;
	}
	assert_false(marked.done);
	engine_delete(fixture->engine, TEXT(ALICE), TEXT("Old"), fixture_done, &deleted);
	fixture_wait(fixture, &deleted);
	assert_int_equal(deleted.result.failure, STORE_OK);
	if (!marked.done)
		fixture_wait(fixture, &marked);
	if (marked.result.failure == STORE_OK)
		assert_int_equal(marked.result.changed, 6);
	else
		assert_int_equal(marked.result.failure, STORE_NO_SUCH_MAILBOX);
	assert_in_range(marked.result.changed, PIECE, 6);
	engine_view_close(&view);
}

/* The last one is nobody's yet. */
static const uint32_t wanted[] = { 8, 1, 2, 3, 4, 5, 6, 3, MESSAGES + 1 };

static void work_until_a_piece(struct fixture *fixture)
{
	struct engine_view *view = fixture_open(fixture, ALICE, "INBOX");
	struct fixture_answer expunged = { 0 };
	uint64_t count = MESSAGES;

	engine_view_update(view, STORE_UPDATE_EXPUNGE, 0, TEXT(""), wanted,
		sizeof(wanted) / sizeof(wanted[0]), fixture_done, &expunged);
	while (count == MESSAGES) {
		event_base_loop(fixture->loop, EVLOOP_ONCE);
		struct store_listing *listing = fixture_list(view, NULL);
		count = listing->count;
		free(listing);
	}
	assert_in_range(count, MESSAGES - PIECE, MESSAGES - 1);
	fixture_die();
}

/* What a start resumes is interrupted as well. */
static void work_until_resumed(struct fixture *fixture)
{
	event_base_loop(fixture->loop, EVLOOP_ONCE);
	fixture_die();
}

/* All of it, and whoever looks first sees no part of it. */
static void test_killed(void **state)
{
	static const uint32_t left[] = { 7, 9 }, later[] = { 7, 9, 10 };
	struct fixture *fixture = *state;

	prepare(fixture);
	fixture_in_child(fixture, work_until_a_piece);
	for (int i = 0; i < 3; i++)
		fixture_in_child(fixture, work_until_resumed);
	fixture_start(fixture);
	struct engine_view *view = fixture_open(fixture, ALICE, "INBOX");
	expect_uids(view, left, 2);
	engine_view_close(&view);
	/* Nothing of it comes back, not even for a message with a UID that was named before it was given. */
	assert_int_equal(fixture_deliver(fixture, ALICE, "x\n"), STORE_OK);
	fixture_restart(fixture);
	view = fixture_open(fixture, ALICE, "INBOX");
	expect_uids(view, later, 3);
	engine_view_close(&view);
}

/* The next start has hardly begun with what is left when the mailbox goes. */
static void test_killed_and_deleted(void **state)
{
	static const uint32_t uids[] = { 7, 9 };
	struct fixture *fixture = *state;
	struct fixture_answer renamed = { 0 }, deleted = { 0 };

	prepare(fixture);
	fixture_in_child(fixture, work_until_a_piece);
	fixture_start(fixture);
	engine_rename(
		fixture->engine, TEXT(ALICE), TEXT("INBOX"), TEXT("Old"), fixture_done, &renamed);
	fixture_wait(fixture, &renamed);
	assert_int_equal(renamed.result.failure, STORE_OK);
	struct engine_view *view = fixture_open(fixture, ALICE, "Old");
	struct store_listing *listing = fixture_list(view, NULL);
	assert_int_equal(listing->count, sizeof(uids) / sizeof(uids[0]));
	free(listing);
	engine_view_close(&view);
	engine_delete(fixture->engine, TEXT(ALICE), TEXT("Old"), fixture_done, &deleted);
	fixture_wait(fixture, &deleted);
	assert_int_equal(deleted.result.failure, STORE_OK);
	fixture_restart(fixture);
	view = fixture_open(fixture, ALICE, "INBOX");
	expect_uids(view, NULL, 0);
	engine_view_close(&view);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, fixture_setup, fixture_teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(test_expunge),
		TEST(test_flags),
		TEST(test_in_turn),
		TEST(test_mailbox_deleted),
		TEST(test_killed),
		TEST(test_killed_and_deleted),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

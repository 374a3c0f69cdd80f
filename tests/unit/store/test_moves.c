/*
 * Moves of many messages: piece by piece, so that others are not held up, and by ascending UID, so that it is
 * known what a crash leaves.
 */
#include "tests/unit/store/mailboxes_fixture.h"

enum { MESSAGES = 9, PIECE = 2 };

static void prepare(struct fixture *fixture, const char *mailbox)
{
	char body[16];

	fixture->options.update_messages = PIECE;
	fixture_restart(fixture);
	assert_int_equal(fixture_add_user(fixture, ALICE), STORE_OK);
	for (int i = 1; i <= MESSAGES; i++) {
		snprintf(body, sizeof(body), "%d\n", i);
		assert_int_equal(deliver(fixture, mailbox, body, i % 2 ? "odd" : ""), STORE_OK);
	}
}

static uint64_t count(struct engine_view *view)
{
	struct store_listing *listing = fixture_list(view, NULL);
	const uint64_t messages = listing->count;

	free(listing);
	return messages;
}

static void wait_for_a_piece(struct fixture *fixture, struct engine_view *view)
{
	const uint64_t before = count(view);

	while (count(view) == before)
		assert_int_equal(event_base_loop(fixture->loop, EVLOOP_ONCE), 0);
}

/* In any order, named twice, gone before, or arriving at either end while it goes on. */
static void test_move(void **state)
{
	static const uint32_t first[] = { 4 }, uids[] = { 8, 1, 2, 3, 10, 3, 5, 4, 6, 7 },
			      went[] = { 1, 2, 3, 5, 6, 7, 8 };
	struct fixture *fixture = *state;
	struct copied moved = { 0 };

	prepare(fixture, "");
	assert_int_equal(create(fixture, "Box"), STORE_OK);
	struct engine_view *view = fixture_open(fixture, ALICE, "INBOX");
	struct engine_view *other = fixture_open(fixture, ALICE, "INBOX");
	fixture_update(fixture, view, STORE_UPDATE_EXPUNGE, 0, "", first, 1);
	engine_view_copy(view, TEXT("Box"), true, uids, 10, on_copied, &moved);
	wait_for_a_piece(fixture, other);
	assert_false(moved.done);
	assert_int_equal(count(other), MESSAGES - 1 - PIECE);
	/* Nobody waits for the last piece. */
	assert_int_equal(deliver(fixture, "", "new\n", ""), STORE_OK);
	assert_int_equal(deliver(fixture, "Box", "between\n", ""), STORE_OK);
	assert_false(moved.done);
	while (!moved.done)
		assert_int_equal(event_base_loop(fixture->loop, EVLOOP_ONCE), 0);
	assert_int_equal(moved.failure, STORE_OK);
	assert_int_equal(moved.pairs, 7);
	for (size_t i = 0; i < 7; i++) {
		assert_int_equal(moved.from[i], went[i]);
		assert_true(i == 0 || moved.to[i] > moved.to[i - 1]);
	}
	assert_int_equal(moved.to[6], 8);
	engine_view_close(&view);
	engine_view_close(&other);
	expect_mailboxes_thrice(fixture, "INBOX:2 Box:8 ");
	for (size_t i = 0; i < 7; i++) {
		char body[16];
		snprintf(body, sizeof(body), "%u\n", went[i]);
		expect_message(fixture, "Box", moved.to[i], body);
	}
	expect_message(fixture, "INBOX", 9, "9\n");
	expect_message(fixture, "INBOX", 10, "new\n");
	view = fixture_open(fixture, ALICE, "Box");
	struct store_listing *listing = fixture_list(view, NULL);
	assert_int_equal(listing->entry[0].keywords, 1);
	assert_int_equal(listing->entry[1].keywords, 0);
	free(listing);
	engine_view_close(&view);
}

/* To itself: what has got a new UID is not moved once more. */
static void test_within(void **state)
{
	static const uint32_t uids[] = { 1, 2, 3, 4, 5, 10, 11, 12 };
	struct fixture *fixture = *state;

	prepare(fixture, "");
	struct engine_view *view = fixture_open(fixture, ALICE, "INBOX");
	const struct copied moved = copy(fixture, view, "INBOX", true, uids, 8);
	assert_int_equal(moved.failure, STORE_OK);
	assert_int_equal(moved.pairs, 5);
	assert_int_equal(moved.to[4], MESSAGES + 5);
	assert_int_equal(count(view), MESSAGES);
	/* Pieces of which nothing is there any more, and a last one that is. */
	static const uint32_t gone[] = { 1, 2, 3, 4, 5, 6 };
	assert_int_equal(copy(fixture, view, "INBOX", true, gone, 6).pairs, 1);
	assert_int_equal(copy(fixture, view, "INBOX", true, gone, 6).pairs, 0);
	engine_view_close(&view);
	expect_mailboxes_thrice(fixture, "INBOX:9 ");
}

/* What has gone before stays there, and is told. */
static void test_target_goes(void **state)
{
	static const uint32_t uids[] = { 1, 2, 3, 4, 5, 6, 7, 8, 9 };
	struct fixture *fixture = *state;
	struct copied moved = { 0 };

	prepare(fixture, "From");
	assert_int_equal(create(fixture, "Box"), STORE_OK);
	struct engine_view *view = fixture_open(fixture, ALICE, "From");
	engine_view_copy(view, TEXT("Box"), true, uids, MESSAGES, on_copied, &moved);
	wait_for_a_piece(fixture, view);
	assert_int_equal(rename_to(fixture, "Box", "Old"), STORE_OK);
	assert_false(moved.done);
	assert_int_equal(delete (fixture, "Old"), STORE_OK);
	while (!moved.done)
		assert_int_equal(event_base_loop(fixture->loop, EVLOOP_ONCE), 0);
	assert_int_equal(moved.failure, STORE_NO_SUCH_MAILBOX);
	assert_in_range(moved.pairs, PIECE, MESSAGES - 1);
	assert_int_equal(moved.pairs % PIECE, 0);
	assert_int_equal(moved.from[moved.pairs - 1], moved.pairs);
	assert_int_equal(count(view), MESSAGES - moved.pairs);
	engine_view_close(&view);
}

static void test_store_ends(void **state)
{
	static const uint32_t uids[] = { 1, 2, 3, 4, 5, 6, 7, 8, 9 };
	struct fixture *fixture = *state;
	struct copied moved = { 0 };
	struct fixture_answer renamed = { 0 };

	prepare(fixture, "");
	assert_int_equal(create(fixture, "Box"), STORE_OK);
	struct engine_view *view = fixture_open(fixture, ALICE, "INBOX");
	engine_view_copy(view, TEXT("Box"), true, uids, MESSAGES, on_copied, &moved);
	engine_rename(
		fixture->engine, TEXT(ALICE), TEXT("INBOX"), TEXT("Old"), fixture_done, &renamed);
	wait_for_a_piece(fixture, view);
	fixture_restart(fixture);
	assert_true(moved.done);
	assert_int_equal(moved.failure, STORE_BUSY);
	assert_true(renamed.done);
	assert_int_equal(renamed.result.failure, STORE_BUSY);
	view = fixture_open(fixture, ALICE, "INBOX");
	assert_int_equal(count(view), MESSAGES - moved.pairs);
	engine_view_close(&view);
	view = fixture_open(fixture, ALICE, "Box");
	assert_int_equal(count(view), moved.pairs);
	engine_view_close(&view);
}

static void test_rename_inbox(void **state)
{
	struct fixture *fixture = *state;
	struct fixture_answer renamed = { 0 }, deleted = { 0 };

	prepare(fixture, "");
	struct engine_view *view = fixture_open(fixture, ALICE, "INBOX");
	engine_rename(
		fixture->engine, TEXT(ALICE), TEXT("INBOX"), TEXT("Old"), fixture_done, &renamed);
	engine_delete(fixture->engine, TEXT(ALICE), TEXT("Old"), fixture_done, &deleted);
	wait_for_a_piece(fixture, view);
	assert_false(renamed.done);
	assert_int_equal(deliver(fixture, "", "new\n", ""), STORE_OK);
	assert_int_equal(deliver(fixture, "Old", "between\n", ""), STORE_OK);
	assert_int_equal(deliver(fixture, "Older", "made meanwhile\n", ""), STORE_OK);
	assert_false(renamed.done);
	fixture_wait(fixture, &renamed);
	assert_int_equal(renamed.result.failure, STORE_OK);
	assert_int_equal(renamed.result.pairs, 0);
	assert_int_equal(count(view), 1);
	engine_view_close(&view);
	/* It waited for all of it. */
	if (!deleted.done)
		fixture_wait(fixture, &deleted);
	assert_int_equal(deleted.result.failure, STORE_OK);
	expect_mailboxes_thrice(fixture, "INBOX:1 Older:1 ");
	expect_message(fixture, "INBOX", MESSAGES + 1, "new\n");
}

/* Nothing moves, because there is nothing or its files are gone: no change is left unseen. */
static void test_nothing_moves(void **state)
{
	static const uint32_t uids[] = { 1 };
	struct fixture *fixture = *state;
	struct dirent **names;
	char path[600];

	prepare(fixture, "Box");
	assert_int_equal(rename_to(fixture, "INBOX", "Old"), STORE_OK);
	expect_sound(fixture, "INBOX");
	expect_sound(fixture, "Old");
	assert_int_equal(deliver(fixture, "", "x\n", ""), STORE_OK);
	struct engine_view *view = fixture_open(fixture, ALICE, "INBOX");
	assert_int_equal(fixture_names(fixture, HOME "/new", &names), 1);
	snprintf(path, sizeof(path), "%s/" HOME "/new/%s", fixture->directory, names[0]->d_name);
	free(names[0]);
	free(names);
	assert_int_equal(unlink(path), 0);
	const struct copied copied = copy(fixture, view, "Old", false, uids, 1);
	assert_int_equal(copied.failure, STORE_OK);
	assert_int_equal(copied.pairs, 0);
	expect_sound(fixture, "Old");
	engine_view_close(&view);
}

static void rename_until_a_piece(struct fixture *fixture)
{
	struct engine_view *view = fixture_open(fixture, ALICE, "INBOX");
	struct fixture_answer renamed = { 0 };

	engine_rename(
		fixture->engine, TEXT(ALICE), TEXT("INBOX"), TEXT("Old"), fixture_done, &renamed);
	wait_for_a_piece(fixture, view);
	fixture_die();
}

static void move_until_a_piece(struct fixture *fixture)
{
	static const uint32_t uids[] = { 1, 2, 3, 4, 5, 6, 7, 8, 9 };
	struct engine_view *view = fixture_open(fixture, ALICE, "INBOX");
	struct copied moved = { 0 };

	engine_view_copy(view, TEXT("Old"), true, uids, MESSAGES, on_copied, &moved);
	wait_for_a_piece(fixture, view);
	fixture_die();
}

/* The first so many are in the one mailbox and the others in the other, each once. */
static void expect_split(struct fixture *fixture)
{
	char body[16];

	struct engine_view *view = fixture_open(fixture, ALICE, "Old");
	const uint32_t went = (uint32_t)count(view);
	engine_view_close(&view);
	assert_in_range(went, PIECE, MESSAGES);
	assert_true(went % PIECE == 0 || went == MESSAGES);
	view = fixture_open(fixture, ALICE, "INBOX");
	assert_int_equal(count(view), MESSAGES - went);
	engine_view_close(&view);
	for (uint32_t uid = 1; uid <= MESSAGES; uid++) {
		snprintf(body, sizeof(body), "%u\n", uid);
		expect_message(fixture, uid <= went ? "Old" : "INBOX", uid, body);
	}
}

static void test_killed(void **state)
{
	struct fixture *fixture = *state;

	prepare(fixture, "");
	fixture_in_child(fixture, rename_until_a_piece);
	fixture_start(fixture);
	expect_split(fixture);
	forget_index(fixture);
	expect_split(fixture);
	assert_int_equal(rename_to(fixture, "INBOX", "Old"), STORE_ALREADY_EXISTS);
}

static void test_killed_move(void **state)
{
	struct fixture *fixture = *state;

	prepare(fixture, "");
	assert_int_equal(create(fixture, "Old"), STORE_OK);
	fixture_in_child(fixture, move_until_a_piece);
	fixture_start(fixture);
	expect_split(fixture);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(test_move),
		TEST(test_within),
		TEST(test_target_goes),
		TEST(test_store_ends),
		TEST(test_rename_inbox),
		TEST(test_nothing_moves),
		TEST(test_killed),
		TEST(test_killed_move),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

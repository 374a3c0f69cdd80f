/*
 * Copies of many messages: piece by piece, so that others are not held up, and all or nothing for whoever
 * looks, over a crash, too.
 */
#include "tests/unit/store/mailboxes_fixture.h"

enum { MESSAGES = 9, PIECE = 2, THERE = 2, CEILING_BLOCK = 16384 };

#define COPIES HOME "/.a"

static const uint32_t all[] = { 9, 8, 1, 2, 3, 4, 5, 6, 7, 3, 70 };
static const size_t all_count = sizeof(all) / sizeof(all[0]);

static void prepare(struct fixture *fixture)
{
	fixture->options.update_messages = PIECE;
	fixture_restart(fixture);
	assert_int_equal(fixture_add_user(fixture, ALICE), STORE_OK);
	for (int i = 0; i < MESSAGES; i++)
		assert_int_equal(deliver(fixture, "", "x\n", i % 4 == 3 ? "red" : ""), STORE_OK);
	for (int i = 0; i < THERE; i++)
		assert_int_equal(deliver(fixture, "a", "there\n", "blue"), STORE_OK);
}

/* Files of messages in the mailbox, seen by sessions or not. */
static int files(const struct fixture *fixture)
{
	return fixture_count(fixture, COPIES "/new") + fixture_count(fixture, COPIES "/cur");
}

static void start(struct engine_view *view, const char *to, struct copied *copied)
{
	*copied = (struct copied){ 0 };
	engine_view_copy(view, text_of(to), false, all, all_count, on_copied, copied);
}

static void turn(struct fixture *fixture)
{
	assert_int_equal(event_base_loop(fixture->loop, EVLOOP_ONCE), 0);
}

static void work_until_a_piece(struct fixture *fixture, int before)
{
	while (files(fixture) < before + PIECE)
		turn(fixture);
}

/* The first piece of a copy from INBOX is made, and it goes on. */
static struct engine_view *begin(struct fixture *fixture, struct copied *copied)
{
	struct engine_view *view = fixture_open(fixture, ALICE, "INBOX");

	start(view, "a", copied);
	work_until_a_piece(fixture, THERE);
	assert_false(copied->done);
	return view;
}

static void finish(struct fixture *fixture, const struct copied *copied)
{
	while (!copied->done)
		turn(fixture);
}

static void expect_count(struct engine_view *view, uint64_t count)
{
	struct store_listing *listing = fixture_list(view, NULL);

	assert_int_equal(listing->count, count);
	for (uint64_t i = 1; i < count; i++)
		assert_true(listing->entry[i].uid > listing->entry[i - 1].uid);
	free(listing);
}

static void verify_all(struct fixture *fixture)
{
	expect_sound(fixture, "");
	expect_sound(fixture, "INBOX");
	expect_sound(fixture, "a");
}

/* Until nothing of a copy that was refused or interrupted is left. */
static void wait_for_files(struct fixture *fixture, int count)
{
	for (unsigned i = 0; files(fixture) != count; i++) {
		assert_true(i < 100000);
		turn(fixture);
	}
}

/* Deliveries are seen as they come; the copies all at once, after them, and as a change. */
static void test_all_at_once(void **state)
{
	struct fixture *fixture = *state;
	struct engine_status before, after;
	struct copied copied;

	prepare(fixture);
	struct engine_view *reader = fixture_open(fixture, ALICE, "a");
	struct engine_view *view = begin(fixture, &copied);
	assert_int_equal(deliver(fixture, "a", "new\n", ""), STORE_OK);
	assert_false(copied.done);
	expect_count(reader, THERE + 1);
	expect_usage(fixture, 2 * MESSAGES + THERE + 1, 4 * MESSAGES + 6 * THERE + 4);
	expect_mailboxes(fixture, "INBOX:9 a:3 ");
	free(fixture_list(reader, &before));
	verify_all(fixture);
	while (!copied.done) {
		turn(fixture);
		struct store_listing *listing = fixture_list(reader, NULL);
		assert_int_equal(listing->count, copied.done || listing->count > THERE + 1
							 ? THERE + 1 + MESSAGES
							 : THERE + 1);
		free(listing);
	}
	assert_int_equal(copied.failure, STORE_OK);
	assert_int_equal(copied.pairs, MESSAGES);
	for (uint32_t i = 0; i < MESSAGES; i++) {
		assert_int_equal(copied.from[i], i + 1);
		assert_int_equal(copied.to[i], copied.to[0] + i);
	}
	assert_true(copied.to[0] >= before.uidnext);
	struct store_listing *listing = fixture_list(reader, &after);
	assert_int_equal(listing->entry[THERE + 1].uid, copied.to[0]);
	assert_true(listing->entry[THERE + 1].modseq > before.modseq);
	assert_int_equal(listing->entry[THERE + 1].modseq, after.modseq);
	assert_int_equal(listing->entry[THERE + 1].keywords, 0);
	assert_int_equal(listing->entry[THERE + 4].keywords, 2);
	assert_int_equal(after.uidnext, copied.to[MESSAGES - 1] + 1);
	free(listing);
	engine_view_close(&view);
	engine_view_close(&reader);
	expect_usage(fixture, 2 * MESSAGES + THERE + 1, 4 * MESSAGES + 6 * THERE + 4);
	verify_all(fixture);
	assert_int_equal(deliver(fixture, "a", "later\n", ""), STORE_OK);
	expect_message(fixture, "a", after.uidnext, "later\n");
	expect_message(fixture, "a", copied.to[MESSAGES - 1], "x\n");
	expect_mailboxes_thrice(fixture, "INBOX:9 a:13 ");
	verify_all(fixture);
}

/* Who selects the mailbox meanwhile, and what others drop there. */
static void test_looked_at(void **state)
{
	struct fixture *fixture = *state;
	struct copied copied;

	prepare(fixture);
	struct engine_view *view = begin(fixture, &copied);
	fixture_tick();
	fixture_write(fixture, COPIES "/new/1700000000.dropped", "dropped\n");
	struct engine_view *reader = fixture_open(fixture, ALICE, "a");
	assert_false(copied.done);
	expect_count(reader, THERE + 1);
	finish(fixture, &copied);
	expect_count(reader, THERE + 1 + MESSAGES);
	engine_view_close(&reader);
	engine_view_close(&view);
	expect_mailboxes_thrice(fixture, "INBOX:9 a:12 ");
	verify_all(fixture);
}

static void work_until_killed(struct fixture *fixture)
{
	struct copied copied;

	begin(fixture, &copied);
	assert_int_equal(deliver(fixture, "a", "new\n", ""), STORE_OK);
	assert_false(copied.done);
	fixture_die();
}

/* What a start takes back is interrupted as well. */
static void work_for_a_turn(struct fixture *fixture)
{
	turn(fixture);
	fixture_die();
}

static void test_killed(void **state)
{
	struct fixture *fixture = *state;
	struct engine_status status;
	struct copied copied;

	prepare(fixture);
	fixture_in_child(fixture, work_until_killed);
	assert_true(files(fixture) >= THERE + 1 + PIECE);
	for (int i = 0; i < 3; i++)
		fixture_in_child(fixture, work_for_a_turn);
	fixture_start(fixture);
	expect_usage(fixture, MESSAGES + THERE + 1, 2 * MESSAGES + 6 * THERE + 4);
	struct engine_view *reader = fixture_open(fixture, ALICE, "a");
	expect_count(reader, THERE + 1);
	wait_for_files(fixture, THERE + 1);
	free(fixture_list(reader, &status));
	struct engine_view *view = fixture_open(fixture, ALICE, "INBOX");
	verify_all(fixture);
	start(view, "a", &copied);
	finish(fixture, &copied);
	assert_int_equal(copied.failure, STORE_OK);
	assert_true(copied.to[0] >= status.uidnext);
	expect_count(reader, THERE + 1 + MESSAGES);
	engine_view_close(&view);
	engine_view_close(&reader);
	expect_mailboxes_thrice(fixture, "INBOX:9 a:12 ");
	verify_all(fixture);
}

/* A stop that is no crash: who asked is told, and the next start takes it back. */
static void test_stopped(void **state)
{
	struct fixture *fixture = *state;
	struct copied copied;

	prepare(fixture);
	begin(fixture, &copied);
	fixture_restart(fixture);
	assert_true(copied.done);
	assert_int_equal(copied.failure, STORE_BUSY);
	wait_for_files(fixture, THERE);
	expect_mailboxes_thrice(fixture, "INBOX:9 a:2 ");
	verify_all(fixture);
}

static void set_quota(struct fixture *fixture, uint64_t octets, uint64_t messages)
{
	struct fixture_answer answer = { 0 };

	engine_user_quota(fixture->engine, TEXT(ALICE), octets, messages, fixture_done, &answer);
	fixture_wait(fixture, &answer);
	assert_int_equal(answer.result.failure, STORE_OK);
}

/* Refused before anything is done; and what is being made counts for others. */
static void test_quota(void **state)
{
	struct fixture *fixture = *state;
	struct copied copied;

	prepare(fixture);
	set_quota(fixture, 0, 2 * MESSAGES + THERE - 1);
	struct engine_view *view = fixture_open(fixture, ALICE, "INBOX");
	start(view, "a", &copied);
	finish(fixture, &copied);
	assert_int_equal(copied.failure, STORE_OVER_QUOTA);
	assert_int_equal(files(fixture), THERE);
	set_quota(fixture, 4 * MESSAGES + 6 * THERE - 1, 0);
	start(view, "a", &copied);
	finish(fixture, &copied);
	assert_int_equal(copied.failure, STORE_OVER_QUOTA);
	assert_int_equal(files(fixture), THERE);
	set_quota(fixture, 4 * MESSAGES + 6 * THERE, 0);
	start(view, "a", &copied);
	work_until_a_piece(fixture, THERE);
	assert_int_equal(deliver(fixture, "", "y\n", ""), STORE_OVER_QUOTA);
	finish(fixture, &copied);
	assert_int_equal(copied.failure, STORE_OK);
	engine_view_close(&view);
	expect_mailboxes_thrice(fixture, "INBOX:9 a:11 ");
}

static void test_mailbox_deleted(void **state)
{
	struct fixture *fixture = *state;
	struct copied copied;

	prepare(fixture);
	/* While INBOX is at work, renames and deletions wait for their turn at it. */
	assert_int_equal(rename_to(fixture, "INBOX", "old"), STORE_OK);
	struct engine_view *view = fixture_open(fixture, ALICE, "old");
	start(view, "a", &copied);
	work_until_a_piece(fixture, THERE);
	assert_int_equal(rename_to(fixture, "a", "b"), STORE_OK);
	assert_false(copied.done);
	assert_int_equal(delete (fixture, "b"), STORE_OK);
	finish(fixture, &copied);
	assert_int_equal(copied.failure, STORE_NO_SUCH_MAILBOX);
	assert_int_equal(copied.pairs, 0);
	engine_view_close(&view);
	expect_usage(fixture, MESSAGES, 2 * MESSAGES);
	expect_mailboxes_thrice(fixture, "INBOX:0 old:9 ");
	/* The source goes. */
	assert_int_equal(create(fixture, "a"), STORE_OK);
	view = fixture_open(fixture, ALICE, "old");
	start(view, "a", &copied);
	work_until_a_piece(fixture, 0);
	assert_int_equal(delete (fixture, "old"), STORE_OK);
	finish(fixture, &copied);
	assert_int_equal(copied.failure, STORE_NO_SUCH_MAILBOX);
	engine_view_close(&view);
	wait_for_files(fixture, 0);
	expect_usage(fixture, 0, 0);
	verify_all(fixture);
	expect_mailboxes_thrice(fixture, "INBOX:0 a:0 ");
	verify_all(fixture);
}

static enum store_failure deliver_as(struct fixture *fixture, uint32_t uid)
{
	struct fixture_answer answer = { 0 };
	const struct engine_recipient recipient = {
		.user = TEXT(ALICE), .mailbox = TEXT("a"), .keywords = TEXT(""), .uid = uid
	};

	engine_deliver(fixture->engine,
		&(struct engine_delivery){ .id = TEXT("test"),
			.once = TEXT(""),
			.body = TEXT("y\n"),
			.recipients = &recipient,
			.count = 1 },
		fixture_done, &answer);
	fixture_wait(fixture, &answer);
	return answer.result.failure;
}

/* As far as others can get before the UIDs of the copies of all messages of the other mailbox. */
static uint32_t room_before(struct fixture *fixture)
{
	struct engine_view *view = fixture_open(fixture, ALICE, "INBOX");
	struct copied copied;

	start(view, "a", &copied);
	finish(fixture, &copied);
	engine_view_close(&view);
	return copied.to[0] - (THERE + 1);
}

/* With more deliveries than there is room for before them, the copies would come too late. */
static void test_overtaken(void **state)
{
	struct fixture *fixture = *state;
	struct engine_status status;
	struct copied copied;

	prepare(fixture);
	const uint32_t room = room_before(fixture);
	struct engine_view *view = fixture_open(fixture, ALICE, "INBOX");
	struct engine_view *reader = fixture_open(fixture, ALICE, "a");
	free(fixture_list(reader, &status));
	start(view, "a", &copied);
	work_until_a_piece(fixture, THERE + MESSAGES);
	assert_int_equal(deliver_as(fixture, status.uidnext + room), STORE_BUSY);
	assert_int_equal(deliver_as(fixture, status.uidnext + room - 1), STORE_OK);
	/* The last UID before theirs is given: this one comes after all of them. */
	assert_int_equal(deliver(fixture, "a", "y\n", ""), STORE_OK);
	assert_false(copied.done);
	finish(fixture, &copied);
	assert_int_equal(copied.failure, STORE_BUSY);
	wait_for_files(fixture, THERE + MESSAGES + 2);
	expect_count(reader, THERE + MESSAGES + 2);
	struct store_listing *listing = fixture_list(reader, NULL);
	assert_int_equal(
		listing->entry[THERE + MESSAGES + 1].uid, status.uidnext + room + MESSAGES);
	free(listing);
	verify_all(fixture);
	engine_view_close(&reader);
	engine_view_close(&view);
	expect_mailboxes_thrice(fixture, "INBOX:9 a:13 ");
}

/*
 * Overtaken, they are below the UIDs that everybody sees, and yet there is none of them for who selects the
 * mailbox just then, and names their UIDs.
 */
static void test_below_others(void **state)
{
	struct fixture *fixture = *state;
	struct fixture_answer selected = { 0 };
	struct copied copied, moved = { 0 };
	uint32_t uids[3 * MESSAGES];

	prepare(fixture);
	const uint32_t room = room_before(fixture);
	/* Nothing is in memory of who looked before. */
	fixture_restart(fixture);
	const uint32_t next = THERE + 1 + room + MESSAGES;
	struct engine_view *view = fixture_open(fixture, ALICE, "INBOX");
	start(view, "a", &copied);
	work_until_a_piece(fixture, THERE + MESSAGES);
	assert_int_equal(deliver_as(fixture, next + room - 1), STORE_OK);
	assert_int_equal(deliver(fixture, "a", "y\n", ""), STORE_OK);
	assert_false(copied.done);
	engine_select(fixture->engine, TEXT(ALICE), TEXT("a"), STORE_SELECT_SHARED, fixture_done,
		&selected);
	fixture_wait(fixture, &selected);
	assert_int_equal(selected.result.failure, STORE_OK);
	struct engine_view *reader = selected.result.view;
	expect_count(reader, THERE + MESSAGES + 2);
	for (uint32_t i = 0; i < 3 * MESSAGES; i++)
		uids[i] = next + room + i - MESSAGES;
	struct engine_result updated = fixture_update(
		fixture, reader, STORE_UPDATE_FLAGS_ADD, STORE_FLAG_SEEN, "", uids, 3 * MESSAGES);
	assert_int_equal(updated.failure, STORE_OK);
	assert_int_equal(updated.changed, 2);
	engine_view_copy(reader, TEXT("INBOX"), true, uids, 3 * MESSAGES, on_copied, &moved);
	finish(fixture, &moved);
	assert_int_equal(moved.failure, STORE_OK);
	assert_int_equal(moved.pairs, 2);
	finish(fixture, &copied);
	assert_int_equal(copied.failure, STORE_BUSY);
	wait_for_files(fixture, THERE + MESSAGES);
	verify_all(fixture);
	engine_view_close(&reader);
	engine_view_close(&view);
	expect_mailboxes_thrice(fixture, "INBOX:11 a:11 ");
}

/* What takes them away is not behind somebody in the queue who waits for that. */
static void test_awaited(void **state)
{
	static const uint32_t there[] = { 1, 2, 3, 4 };
	struct fixture *fixture = *state;
	struct copied copied, other = { 0 };

	prepare(fixture);
	assert_int_equal(rename_to(fixture, "INBOX", "old"), STORE_OK);
	struct engine_view *view = fixture_open(fixture, ALICE, "old");
	struct engine_view *reader = fixture_open(fixture, ALICE, "a");
	start(view, "a", &copied);
	work_until_a_piece(fixture, THERE);
	engine_view_copy(reader, TEXT("a"), false, there, sizeof(there) / sizeof(there[0]),
		on_copied, &other);
	assert_int_equal(delete (fixture, "old"), STORE_OK);
	finish(fixture, &copied);
	assert_int_equal(copied.failure, STORE_NO_SUCH_MAILBOX);
	finish(fixture, &other);
	assert_int_equal(other.failure, STORE_OK);
	assert_int_equal(other.pairs, THERE);
	expect_count(reader, 2 * THERE);
	engine_view_close(&reader);
	engine_view_close(&view);
	wait_for_files(fixture, 2 * THERE);
	verify_all(fixture);
	expect_mailboxes_thrice(fixture, "INBOX:0 a:4 ");
}

/* Nothing is to be copied, again and again: no UID is used up. */
static void test_none_there(void **state)
{
	static const uint32_t none[] = { 70, 71, 72, 73 };
	struct fixture *fixture = *state;
	struct engine_status before, after;

	prepare(fixture);
	struct engine_view *view = fixture_open(fixture, ALICE, "INBOX");
	struct engine_view *reader = fixture_open(fixture, ALICE, "a");
	free(fixture_list(reader, &before));
	for (int i = 0; i < 20; i++) {
		const struct copied copied = copy(fixture, view, "a", false, none, 4);
		assert_int_equal(copied.failure, STORE_OK);
		assert_int_equal(copied.pairs, 0);
		assert_int_equal(copied.uidvalidity, before.uidvalidity);
	}
	free(fixture_list(reader, &after));
	assert_int_equal(after.uidnext, before.uidnext);
	assert_true(after.modseq == before.modseq);
	engine_view_close(&reader);
	engine_view_close(&view);
	verify_all(fixture);
	expect_mailboxes_thrice(fixture, "INBOX:9 a:2 ");
}

/* Others drop so many that they get UIDs beyond theirs, and beyond what was reserved for theirs. */
static void test_many_dropped(void **state)
{
	enum { DROPPED = 500 };
	struct fixture *fixture = *state;
	struct copied copied;

	prepare(fixture);
	const uint32_t room = room_before(fixture);
	const uint32_t ceiling = 1 + CEILING_BLOCK;
	/* So near to the ceiling that it is beyond them by fewer than are dropped. */
	const uint32_t first = ceiling - DROPPED - MESSAGES / 2;
	assert_int_equal(deliver_as(fixture, first - room - 1), STORE_OK);
	struct engine_view *view = fixture_open(fixture, ALICE, "INBOX");
	start(view, "a", &copied);
	work_until_a_piece(fixture, THERE + MESSAGES + 1);
	assert_int_equal(deliver_as(fixture, first - 1), STORE_OK);
	assert_false(copied.done);
	fixture_tick();
	for (unsigned i = 0; i < DROPPED; i++) {
		char name[64];
		snprintf(name, sizeof(name), COPIES "/new/17%08u.dropped", i);
		fixture_write(fixture, name, "x\n");
	}
	struct engine_view *reader = fixture_open(fixture, ALICE, "a");
	expect_count(reader, THERE + MESSAGES + 2 + DROPPED);
	finish(fixture, &copied);
	assert_int_equal(copied.failure, STORE_BUSY);
	wait_for_files(fixture, THERE + MESSAGES + 2 + DROPPED);
	struct store_listing *listing = fixture_list(reader, NULL);
	assert_true(listing->entry[listing->count - 1].uid >= ceiling);
	free(listing);
	engine_view_close(&reader);
	engine_view_close(&view);
	verify_all(fixture);
}

/* Two into one mailbox come one after the other; one may go to where it comes from. */
static void test_two(void **state)
{
	struct fixture *fixture = *state;
	struct copied copied, other, same;

	prepare(fixture);
	assert_int_equal(create(fixture, "b"), STORE_OK);
	struct engine_view *view = fixture_open(fixture, ALICE, "INBOX");
	start(view, "b", &copied);
	finish(fixture, &copied);
	struct engine_view *second = fixture_open(fixture, ALICE, "b");
	struct store_listing *listing = fixture_list(second, NULL);
	uint32_t uids[MESSAGES];
	for (size_t i = 0; i < MESSAGES; i++)
		uids[i] = listing->entry[i].uid;
	free(listing);
	start(view, "a", &copied);
	other = (struct copied){ 0 };
	engine_view_copy(second, TEXT("a"), false, uids, MESSAGES, on_copied, &other);
	start(view, "INBOX", &same);
	finish(fixture, &copied);
	finish(fixture, &other);
	finish(fixture, &same);
	assert_int_equal(copied.failure, STORE_OK);
	assert_int_equal(other.failure, STORE_OK);
	assert_int_equal(other.pairs, MESSAGES);
	assert_int_equal(same.failure, STORE_OK);
	assert_int_equal(same.pairs, MESSAGES);
	assert_true(other.to[0] > copied.to[MESSAGES - 1] || copied.to[0] > other.to[MESSAGES - 1]);
	engine_view_close(&second);
	engine_view_close(&view);
	expect_mailboxes_thrice(fixture, "INBOX:18 a:20 b:9 ");
	verify_all(fixture);
}

/* Files that others took away are passed over, even all of them. */
static void test_gone(void **state)
{
	struct fixture *fixture = *state;
	struct dirent **names;
	struct copied copied;
	char path[600];

	prepare(fixture);
	struct engine_view *view = fixture_open(fixture, ALICE, "INBOX");
	const int count = fixture_names(fixture, HOME "/new", &names);
	for (int i = 0; i < count; i++) {
		snprintf(path, sizeof(path), "%s/" HOME "/new/%s", fixture->directory,
			names[i]->d_name);
		assert_int_equal(unlink(path), 0);
		free(names[i]);
	}
	free(names);
	start(view, "a", &copied);
	finish(fixture, &copied);
	assert_int_equal(copied.failure, STORE_OK);
	assert_int_equal(copied.pairs, MESSAGES - count);
	engine_view_close(&view);
	expect_message(fixture, "INBOX", 1, NULL);
	expect_usage(fixture, (uint32_t)(2 * (MESSAGES - count) + THERE),
		(uint64_t)(4 * (MESSAGES - count) + 6 * THERE));
	view = fixture_open(fixture, ALICE, "INBOX");
	start(view, "a", &copied);
	finish(fixture, &copied);
	assert_int_equal(copied.failure, STORE_OK);
	engine_view_close(&view);
	verify_all(fixture);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(test_all_at_once),
		TEST(test_looked_at),
		TEST(test_killed),
		TEST(test_stopped),
		TEST(test_quota),
		TEST(test_mailbox_deleted),
		TEST(test_overtaken),
		TEST(test_below_others),
		TEST(test_awaited),
		TEST(test_none_there),
		TEST(test_many_dropped),
		TEST(test_two),
		TEST(test_gone),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

/*
 * Expunges of many messages of which a piece is refused: who asked is told how far it came, what is gone
 * stays gone, and the rest stays, whatever happens later, unless the note of it cannot be taken back: then,
 * as after a crash or a stop, the next start goes on with it.
 *
 * The refusal comes from env.h, in whose place this stands (--wrap).
 */
#include "store/env.h"
#include "tests/unit/store/mailboxes_fixture.h"

enum { MESSAGES = 9, PIECE = 2, PIECES = 4, WANTED = 7, OCTETS = 2 };

static const uint32_t wanted[WANTED] = { 8, 1, 2, 3, 4, 5, 6 };
/* By ascending UID: what goes, and what is left of the whole. */
static const uint32_t going[WANTED] = { 1, 2, 3, 4, 5, 6, 8 }, left[] = { 7, 9 };

static struct {
	unsigned records, refused_record; /* from 1 on; 0: none */
	bool notes_stay;
} disk;

int __real_env_log(struct env *env, struct env_txn *txn, struct buf *record);
int __wrap_env_log(struct env *env, struct env_txn *txn, struct buf *record);
int __real_env_delete(struct env *env, struct env_txn *txn, enum env_table table, struct text key);
int __wrap_env_delete(struct env *env, struct env_txn *txn, enum env_table table, struct text key);

int __wrap_env_log(struct env *env, struct env_txn *txn, struct buf *record)
{
	return ++disk.records == disk.refused_record ? ENOSPC : __real_env_log(env, txn, record);
}

int __wrap_env_delete(struct env *env, struct env_txn *txn, enum env_table table, struct text key)
{
	return disk.notes_stay && table == ENV_EXPUNGING ? ENOSPC
							 : __real_env_delete(env, txn, table, key);
}

/* Each piece is one record. */
static void refuse_piece(unsigned piece)
{
	disk.records = 0;
	disk.refused_record = piece;
}

static void prepare(struct fixture *fixture)
{
	disk.refused_record = 0;
	disk.notes_stay = false;
	fixture->options.update_messages = PIECE;
	fixture_restart(fixture);
	assert_int_equal(fixture_add_user(fixture, ALICE), STORE_OK);
	for (int i = 0; i < MESSAGES; i++)
		assert_int_equal(fixture_deliver(fixture, ALICE, "x\n"), STORE_OK);
}

static void expect_uids(struct fixture *fixture, const uint32_t *uids, size_t count)
{
	struct engine_view *view = fixture_open(fixture, ALICE, "INBOX");
	struct store_listing *listing = fixture_list(view, NULL);

	assert_int_equal(listing->count, count);
	for (size_t i = 0; i < count; i++)
		assert_int_equal(listing->entry[i].uid, uids[i]);
	free(listing);
	engine_view_close(&view);
	expect_usage(fixture, (uint32_t)count, OCTETS * count);
	assert_int_equal(
		fixture_count(fixture, HOME "/new") + fixture_count(fixture, HOME "/cur"), count);
	expect_sound(fixture, "INBOX");
	expect_sound(fixture, "");
}

/* All but the first `gone` of those that were to go. */
static void expect_rest(struct fixture *fixture, size_t gone)
{
	uint32_t uids[MESSAGES];
	size_t count = 0, next = 0;

	for (uint32_t uid = 1; uid <= MESSAGES; uid++) {
		if (next < gone && going[next] == uid)
			next++;
		else
			uids[count++] = uid;
	}
	expect_uids(fixture, uids, count);
}

static struct engine_result expunge(struct fixture *fixture)
{
	struct engine_view *view = fixture_open(fixture, ALICE, "INBOX");
	const struct engine_result result =
		fixture_update(fixture, view, STORE_UPDATE_EXPUNGE, 0, "", wanted, WANTED);
	struct engine_status status;

	free(fixture_list(view, &status));
	assert_int_equal(result.modseq, status.modseq);
	engine_view_close(&view);
	return result;
}

/* ---- the note is taken back ---- */

static void expect_refused(struct fixture *fixture, unsigned piece)
{
	refuse_piece(piece);
	const struct engine_result result = expunge(fixture);
	assert_int_equal(result.failure, STORE_NO_SPACE);
	assert_int_equal(result.changed, PIECE * (piece - 1));
}

static void test_refused(void **state)
{
	struct fixture *fixture = *state;

	prepare(fixture);
	expect_refused(fixture, 1);
	expect_rest(fixture, 0);
	fixture_restart(fixture);
	expect_rest(fixture, 0);
	/* Of what was asked for before, the first two pieces are done. */
	expect_refused(fixture, 3);
	expect_rest(fixture, 4);
	fixture_restart(fixture);
	expect_rest(fixture, 4);
	assert_int_equal(fixture_deliver(fixture, ALICE, "x\n"), STORE_OK);
	const struct engine_result result = expunge(fixture);
	assert_int_equal(result.failure, STORE_OK);
	assert_int_equal(result.changed, WANTED - 4);
	expect_uids(fixture, (const uint32_t[]){ 7, 9, MESSAGES + 1 }, 3);
}

static void test_last_refused(void **state)
{
	struct fixture *fixture = *state;

	prepare(fixture);
	expect_refused(fixture, PIECES);
	expect_rest(fixture, WANTED - 1);
	forget_index(fixture);
	expect_rest(fixture, WANTED - 1);
}

static void work_until_refused(struct fixture *fixture)
{
	expect_refused(fixture, 3);
	fixture_die();
}

/* Who was told that it does not go on can rely on it. */
static void test_refused_and_killed(void **state)
{
	struct fixture *fixture = *state;

	prepare(fixture);
	fixture_in_child(fixture, work_until_refused);
	fixture_start(fixture);
	expect_rest(fixture, 4);
}

/* ---- the note stays ---- */

static void expect_not_durable(struct fixture *fixture)
{
	refuse_piece(3);
	disk.notes_stay = true;
	const struct engine_result result = expunge(fixture);
	disk.notes_stay = false;
	assert_int_equal(result.failure, STORE_NOT_DURABLE);
	assert_int_equal(result.changed, 4);
}

static void test_note_stays(void **state)
{
	struct fixture *fixture = *state;

	prepare(fixture);
	expect_not_durable(fixture);
	expect_rest(fixture, 4);
	fixture_restart(fixture);
	expect_uids(fixture, left, 2);
	/* And then it is gone: nothing more goes. */
	assert_int_equal(fixture_deliver(fixture, ALICE, "x\n"), STORE_OK);
	fixture_restart(fixture);
	expect_uids(fixture, (const uint32_t[]){ 7, 9, MESSAGES + 1 }, 3);
}

static void work_until_not_durable(struct fixture *fixture)
{
	expect_not_durable(fixture);
	fixture_die();
}

/* What is resumed may be refused again, for nobody: the start after it does the rest. */
static void test_resumed_and_refused(void **state)
{
	struct fixture *fixture = *state;

	prepare(fixture);
	fixture_in_child(fixture, work_until_not_durable);
	/* A start logs nothing of its own. */
	refuse_piece(2);
	fixture_start(fixture);
	while (engine_is_busy(fixture->engine))
		assert_int_equal(event_base_loop(fixture->loop, EVLOOP_ONCE), 0);
	expect_rest(fixture, WANTED - 1);
	fixture_restart(fixture);
	expect_uids(fixture, left, 2);
}

/* A stop that is no crash: who asked is told how far it came, and the next start goes on. */
static void test_stopped(void **state)
{
	struct fixture *fixture = *state;
	struct fixture_answer expunged = { 0 };
	struct engine_view *view;
	uint64_t count = MESSAGES;

	prepare(fixture);
	view = fixture_open(fixture, ALICE, "INBOX");
	engine_view_update(
		view, STORE_UPDATE_EXPUNGE, 0, TEXT(""), wanted, WANTED, fixture_done, &expunged);
	while (count == MESSAGES) {
		assert_int_equal(event_base_loop(fixture->loop, EVLOOP_ONCE), 0);
		struct store_listing *listing = fixture_list(view, NULL);
		count = listing->count;
		free(listing);
	}
	assert_false(expunged.done);
	fixture_stop(fixture);
	assert_true(expunged.done);
	assert_int_equal(expunged.result.failure, STORE_BUSY);
	assert_in_range(expunged.result.changed, PIECE, WANTED - 1);
	fixture_start(fixture);
	expect_uids(fixture, left, 2);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(test_refused),
		TEST(test_last_refused),
		TEST(test_refused_and_killed),
		TEST(test_note_stays),
		TEST(test_resumed_and_refused),
		TEST(test_stopped),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

/*
 * Syncs that fail once, and say nothing the next time: what they should have covered is written again by the
 * next start before anything is built on it.
 */
#include <stdatomic.h>

#include "base/mem.h"
#include "base/sys.h"
#include "store/engine_private.h"
#include "tests/unit/store/engine_fixture.h"

#define ALICE "alice@example.test"
#define NOTE "env.unwritten"

enum { FILES = 256 };

static bool broken;

static void on_broken(void *owner)
{
	(void)owner;
	broken = true;
}

static int setup(void **state)
{
	fixture_setup(state);
	struct fixture *fixture = *state;
	fixture_stop(fixture);
	fixture->options.checkpoint_octets = 20000;
	fixture->options.broken = on_broken;
	fixture_start(fixture);
	assert_int_equal(fixture_add_user(fixture, ALICE), STORE_OK);
	fixture_restart(fixture);
	broken = false;
	/* What fails here is meant to. */
	log_open("test", LOG_LEVEL_ERROR + 1);
	return 0;
}

static bool note_is_there(const struct fixture *fixture)
{
	char path[256];

	snprintf(path, sizeof(path), "%s/" NOTE, fixture->directory);
	return access(path, F_OK) == 0;
}

/* ---- calls that fail once ---- */

static struct sys kernel;
static atomic_int left; /* calls until the one that fails */
static int failure;

static bool fails(void)
{
	if (atomic_fetch_sub(&left, 1) != 0)
		return false;
	errno = failure;
	return true;
}

static int failing_syncfs(int fd)
{
	return fails() ? -1 : kernel.syncfs(fd);
}

static int failing_fsync(int fd)
{
	return fails() ? -1 : kernel.fsync(fd);
}

static int failing_fdatasync(int fd)
{
	return fails() ? -1 : kernel.fdatasync(fd);
}

static void fail_once(int after, int error)
{
	kernel = sys;
	failure = error;
	left = after;
}

/* ---- what is written and then synced ---- */

static struct {
	ino_t inodes[FILES];
	bool written[FILES], synced[FILES];
	size_t count;
} watched;

static void note_write(int fd)
{
	struct stat st;

	assert_int_equal(kernel.fstat(fd, &st), 0);
	for (size_t i = 0; i < watched.count; i++)
		watched.written[i] |= watched.inodes[i] == st.st_ino;
}

static ssize_t watched_write(int fd, const void *octets, size_t size)
{
	note_write(fd);
	return kernel.write(fd, octets, size);
}

static int watched_syncfs(int fd)
{
	memcpy(watched.synced, watched.written, sizeof(watched.synced));
	return kernel.syncfs(fd);
}

static int watched_fsync(int fd)
{
	struct stat st;

	assert_int_equal(kernel.fstat(fd, &st), 0);
	for (size_t i = 0; i < watched.count; i++)
		watched.synced[i] |= watched.written[i] && watched.inodes[i] == st.st_ino;
	return kernel.fsync(fd);
}

static void watch(const struct fixture *fixture, const char *directory)
{
	struct dirent **names;
	const int count = fixture_names(fixture, directory, &names);

	assert_true(count > 0 && watched.count + (size_t)count <= FILES);
	for (int i = 0; i < count; i++) {
		watched.inodes[watched.count++] = names[i]->d_ino;
		free(names[i]);
	}
	free(names);
}

/* The start writes every file of the index and every message that the log has, and syncs them. */
static void expect_rewriting_start(struct fixture *fixture)
{
	memset(&watched, 0, sizeof(watched));
	watch(fixture, "env");
	watch(fixture, "mail/example.test/alice/new");
	kernel = sys;
	sys.write = watched_write;
	sys.syncfs = watched_syncfs;
	sys.fsync = watched_fsync;
	fixture_start(fixture);
	sys = kernel;
	for (size_t i = 0; i < watched.count; i++)
		assert_true(watched.written[i] && watched.synced[i]);
	assert_false(note_is_there(fixture));
}

/* So many, and perhaps one more that was on its way. */
static void expect_about(struct fixture *fixture, uint64_t count, uint64_t more)
{
	struct engine_view *view = fixture_open(fixture, ALICE, "INBOX");
	struct store_listing *listing = fixture_list(view, NULL);

	assert_in_range(listing->count, count, count + more);
	for (uint64_t i = 0; i < listing->count; i++) {
		char *octets = fixture_fetch(view, listing->entry[i].uid);
		assert_string_equal(octets, "message\n");
		free(octets);
	}
	free(listing);
	engine_view_close(&view);
}

static void expect_count(struct fixture *fixture, uint64_t count)
{
	expect_about(fixture, count, 0);
}

/* A checkpoint that it began is over, however long its thread takes. */
static enum store_failure deliver(struct fixture *fixture)
{
	const enum store_failure result = fixture_deliver(fixture, ALICE, "message\n");

	while (fixture->engine->checkpoint.marker && !broken)
		assert_int_equal(event_base_loop(fixture->loop, EVLOOP_ONCE), 0);
	return result;
}

/* Until the engine breaks. How many were acknowledged. */
static uint64_t deliver_until_broken(struct fixture *fixture)
{
	uint64_t count = 0;

	while (!broken) {
		assert_true(count < FILES);
		const enum store_failure result = deliver(fixture);
		if (result == STORE_OK)
			count++;
		else
			assert_true(result == STORE_NOT_DURABLE || result == STORE_BUSY);
	}
	return count;
}

/* ---- the mail ---- */

static void checkpoint_fails(struct fixture *fixture, int error)
{
	fail_once(0, error);
	sys.syncfs = failing_syncfs;
	const uint64_t count = deliver_until_broken(fixture);
	sys = kernel;
	assert_true(note_is_there(fixture));
	fixture_stop(fixture);
	expect_rewriting_start(fixture);
	expect_about(fixture, count, 1);
}

static void test_checkpoint(void **state)
{
	checkpoint_fails(*state, EIO);
}

/* It goes on until it sees that there is room to write again. */
static void test_checkpoint_without_room(void **state)
{
	checkpoint_fails(*state, ENOSPC);
}

/* Without room nobody is sent away, and no checkpoint is taken that would pass over it. */
static void test_no_room(void **state)
{
	struct fixture *fixture = *state;
	uint64_t count = 0;

	fail_once(0, ENOSPC);
	sys.syncfs = failing_syncfs;
	for (; !note_is_there(fixture); count++)
		assert_int_equal(deliver(fixture), STORE_OK);
	assert_int_equal(deliver(fixture), STORE_OK);
	assert_false(broken);
	fixture_stop(fixture);
	sys = kernel;
	/* The one that failed was the only one. */
	assert_int_equal(left, -1);
	assert_true(note_is_there(fixture));
	expect_rewriting_start(fixture);
	expect_count(fixture, count + 1);
}

/* ---- the log ---- */

/* Of the second delivery. */
static enum store_failure deliver_with(struct fixture *fixture, int error)
{
	assert_int_equal(fixture_deliver(fixture, ALICE, "message\n"), STORE_OK);
	fail_once(0, error);
	sys.fdatasync = failing_fdatasync;
	const enum store_failure result = fixture_deliver(fixture, ALICE, "message\n");
	sys = kernel;
	return result;
}

static char *read_table(const struct fixture *fixture, size_t *size)
{
	const int root = open(fixture->directory, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	char *octets = sys_read_file(root, "env/messages.db", 1 << 20, size);

	assert_non_null(octets);
	close(root);
	return octets;
}

static void log_fails(struct fixture *fixture, int error)
{
	size_t size, size_then;

	assert_int_equal(deliver_with(fixture, error), STORE_NOT_DURABLE);
	assert_true(broken && note_is_there(fixture));
	char *table = read_table(fixture, &size);
	fixture_stop(fixture);
	/* What the log may not have is not in the tables either. */
	char *then = read_table(fixture, &size_then);
	assert_int_equal(size_then, size);
	assert_memory_equal(then, table, size);
	mem_free(table);
	mem_free(then);
	expect_rewriting_start(fixture);
	/* What was not acknowledged is in the log all the same: here nothing was lost. */
	expect_count(fixture, 2);
}

static void test_log(void **state)
{
	log_fails(*state, EIO);
}

static void test_log_without_room(void **state)
{
	log_fails(*state, ENOSPC);
}

static void test_log_interrupted(void **state)
{
	assert_int_equal(deliver_with(*state, EINTR), STORE_OK);
	assert_false(broken || note_is_there(*state));
	expect_count(*state, 2);
}

/* ---- a start that fails itself ---- */

static void work_and_die(struct fixture *fixture)
{
	for (int i = 0; i < 5; i++)
		assert_int_equal(fixture_deliver(fixture, ALICE, "message\n"), STORE_OK);
	fixture_die();
}

static void expect_no_start(struct fixture *fixture)
{
	fixture_expect_no_start(fixture);
	sys = kernel;
	assert_true(note_is_there(fixture));
}

/* Berkeley DB would write in another way, and take the next answer. */
static void test_recovery(void **state)
{
	struct fixture *fixture = *state;

	fixture_in_child(fixture, work_and_die);
	fail_once(0, EIO);
	sys.syncfs = failing_syncfs;
	expect_no_start(fixture);
	/* Again, of what is written again: the first sync only asks what was not told yet. */
	fail_once(1, EIO);
	sys.syncfs = failing_syncfs;
	expect_no_start(fixture);
	fail_once(1, ENOSPC);
	sys.fsync = failing_fsync;
	expect_no_start(fixture);
	fail_once(0, EIO);
	sys.fdatasync = failing_fdatasync;
	expect_no_start(fixture);
	expect_rewriting_start(fixture);
	expect_count(fixture, 5);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, fixture_teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(test_checkpoint),
		TEST(test_checkpoint_without_room),
		TEST(test_no_room),
		TEST(test_log),
		TEST(test_log_without_room),
		TEST(test_log_interrupted),
		TEST(test_recovery),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

/*
 * Starts that end amid recovery, for reasons that pass: the next one finds all as if they had not been.
 */
#include "base/sys.h"
#include "tests/unit/store/engine_fixture.h"

#define ALICE "alice@example.test"
#define MESSAGE "message\n"
#define NEW "mail/example.test/alice/new"
#define TABLE "env/mailboxes.db"

enum { PAGE = 4096 };

static int setup(void **state)
{
	fixture_setup(state);
	assert_int_equal(fixture_add_user(*state, ALICE), STORE_OK);
	fixture_restart(*state);
	/* What fails here is meant to. */
	log_open("test", LOG_LEVEL_ERROR + 1);
	return 0;
}

/* ---- calls that fail ---- */

static struct sys kernel;
static unsigned failed;

static int refuse(void)
{
	failed++;
	errno = EIO;
	return -1;
}

/* Once. */
static ssize_t failing_write(int fd, const void *octets, size_t size)
{
	return size == strlen(MESSAGE) && !failed ? refuse() : kernel.write(fd, octets, size);
}

static int failing_unlinkat(int dir, const char *path, int flags)
{
	return strncmp(path, "new/", 4) == 0 ? refuse() : kernel.unlinkat(dir, path, flags);
}

static void expect_no_start(struct fixture *fixture)
{
	failed = 0;
	fixture_expect_no_start(fixture);
	sys = kernel;
	assert_int_not_equal(failed, 0);
}

/* ---- what is there ---- */

static unsigned indexes_set_aside(const struct fixture *fixture)
{
	struct dirent **names;
	const int count = fixture_names(fixture, "", &names);
	unsigned found = 0;

	for (int i = 0; i < count; i++) {
		found += strncmp(names[i]->d_name, "env.damaged", 11) == 0;
		free(names[i]);
	}
	free(names);
	return found;
}

static void expect_count(struct fixture *fixture, uint64_t count)
{
	struct engine_view *view = fixture_open(fixture, ALICE, "INBOX");
	struct store_listing *listing = fixture_list(view, NULL);

	assert_int_equal(listing->count, count);
	free(listing);
	engine_view_close(&view);
}

static void deliver_and_die(struct fixture *fixture)
{
	assert_int_equal(fixture_deliver(fixture, ALICE, MESSAGE), STORE_OK);
	fixture_die();
}

/* Berkeley DB says of it what it says of a damaged index: that it needs a recovery. */
static void test_redo_fails(void **state)
{
	struct fixture *fixture = *state;
	char path[600];

	fixture_in_child(fixture, deliver_and_die);
	fixture_only_file(fixture, NEW, path, sizeof(path));
	assert_int_equal(unlink(path), 0);
	kernel = sys;
	sys.write = failing_write;
	expect_no_start(fixture);
	fixture_start(fixture);
	assert_int_equal(indexes_set_aside(fixture), 0);
	expect_count(fixture, 1);
}

/* Of the first page of a table. */
static void exchange(const struct fixture *fixture, const char in[PAGE], char out[PAGE])
{
	char path[600];

	snprintf(path, sizeof(path), "%s/" TABLE, fixture->directory);
	const int fd = open(path, O_RDWR | O_CLOEXEC);
	assert_int_equal(pread(fd, out, PAGE, 0), PAGE);
	assert_int_equal(pwrite(fd, in, PAGE, 0), PAGE);
	close(fd);
}

/* It had brought back what was expunged long ago, and had not come to where the log says so. */
static void test_salvage_is_cut_short(void **state)
{
	struct fixture *fixture = *state;
	char sound[PAGE], damaged[PAGE] = { 0 };

	assert_int_equal(fixture_deliver(fixture, ALICE, MESSAGE), STORE_OK);
	struct engine_view *view = fixture_open(fixture, ALICE, "INBOX");
	assert_int_equal(fixture_update(fixture, view, STORE_UPDATE_EXPUNGE, 0, "",
				 &(const uint32_t){ 1 }, 1)
				 .changed,
		1);
	engine_view_close(&view);
	fixture_stop(fixture);
	exchange(fixture, damaged, sound);
	kernel = sys;
	sys.unlinkat = failing_unlinkat;
	expect_no_start(fixture);
	assert_int_equal(fixture_count(fixture, NEW), 1);
	exchange(fixture, sound, damaged);
	fixture_start(fixture);
	expect_count(fixture, 0);
	assert_int_equal(indexes_set_aside(fixture), 1);
	fixture_restart(fixture);
	assert_int_equal(indexes_set_aside(fixture), 1);
	expect_count(fixture, 0);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, fixture_teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(test_redo_fails),
		TEST(test_salvage_is_cut_short),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

/*
 * Log files made ahead of time: only whole ones are used, and recovery reads what was written into them.
 */
#include "base/sys.h"
#include "store/ahead.h"
#include "tests/unit/store/engine_fixture.h"

#define ALICE "alice@example.test"

enum { OCTETS = 1 << 20, BODY = 128 * 1024, MANY = 400 };

static struct sys kernel;

static int no_fsync(int fd)
{
	(void)fd;
	errno = EIO;
	return -1;
}

static ssize_t no_write(int fd, const void *octets, size_t size)
{
	(void)fd, (void)octets, (void)size;
	errno = ENOSPC;
	return -1;
}

/* ---- the file alone ---- */

struct place {
	char directory[64];
	char log[96];
	struct ahead *ahead;
};

static int setup(void **state)
{
	struct place *place = calloc(1, sizeof(*place));

	kernel = sys;
	strcpy(place->directory, "/tmp/test-ahead.XXXXXX");
	assert_non_null(mkdtemp(place->directory));
	snprintf(place->log, sizeof(place->log), "%s/log.0000000002", place->directory);
	place->ahead = ahead_new(place->directory, OCTETS);
	assert_non_null(place->ahead);
	*state = place;
	return 0;
}

static int teardown(void **state)
{
	struct place *place = *state;

	sys = kernel;
	ahead_free(&place->ahead);
	assert_null(place->ahead);
	fixture_remove_tree(place->directory);
	free(place);
	return 0;
}

static off_t opened_size(struct place *place, const char *path)
{
	struct stat st;
	const int fd = ahead_open(place->ahead, path, O_RDWR | O_CREAT, 0600);

	assert_true(fd >= 0);
	assert_true(fcntl(fd, F_GETFD) & FD_CLOEXEC);
	assert_int_equal(fstat(fd, &st), 0);
	close(fd);
	return st.st_size;
}

static size_t pages_in_memory(const char *octets)
{
	const size_t page = (size_t)sysconf(_SC_PAGESIZE);
	unsigned char pages[OCTETS / 4096];
	size_t count = 0;

	assert_int_equal(mincore((void *)octets, OCTETS, pages), 0);
	for (size_t i = 0; i < OCTETS / page; i++)
		count += pages[i] & 1;
	return count;
}

static bool has_next(const struct place *place)
{
	char path[96];

	snprintf(path, sizeof(path), "%s/next.log", place->directory);
	return access(path, F_OK) == 0;
}

static void test_taken_once(void **state)
{
	struct place *place = *state;
	char third[96], zeros[OCTETS] = { 0 }, octets[OCTETS];

	assert_false(ahead_is_taken_care_of(place->ahead));
	assert_int_equal(ahead_make(place->ahead), 0);
	assert_true(ahead_is_taken_care_of(place->ahead));
	assert_int_equal(opened_size(place, place->log), OCTETS);
	assert_false(ahead_is_taken_care_of(place->ahead));
	assert_false(has_next(place));
	const int fd = open(place->log, O_RDONLY);
	assert_int_equal(read(fd, octets, OCTETS), OCTETS);
	assert_memory_equal(octets, zeros, OCTETS);
	close(fd);
	snprintf(third, sizeof(third), "%s/log.0000000003", place->directory);
	assert_int_equal(opened_size(place, third), 0);
}

static void test_only_for_new_log_files(void **state)
{
	struct place *place = *state;
	char table[96];

	assert_int_equal(opened_size(place, place->log), 0);
	assert_int_equal(ahead_make(place->ahead), 0);
	snprintf(table, sizeof(table), "%s/users.db", place->directory);
	assert_int_equal(opened_size(place, table), 0);
	assert_int_equal(opened_size(place, place->log), 0);
	assert_int_equal(ahead_open(place->ahead, "/nowhere/log.0000000009", O_RDWR, 0), -1);
	assert_true(has_next(place));
}

/* One that was left half made, or with a log's octets in it, is zeros again before it is used. */
static void test_leftover_is_cleared(void **state)
{
	struct place *place = *state;
	char path[96], octets[OCTETS + 100], zeros[OCTETS] = { 0 };

	memset(octets, 'x', sizeof(octets));
	snprintf(path, sizeof(path), "%s/next.log", place->directory);
	int fd = open(path, O_WRONLY | O_CREAT, 0600);
	assert_int_equal(write(fd, octets, sizeof(octets)), sizeof(octets));
	close(fd);
	assert_int_equal(opened_size(place, place->log), 0);
	unlink(place->log);
	assert_int_equal(ahead_make(place->ahead), 0);
	assert_int_equal(opened_size(place, place->log), OCTETS);
	fd = open(place->log, O_RDONLY);
	assert_int_equal(read(fd, octets, sizeof(octets)), OCTETS);
	assert_memory_equal(octets, zeros, OCTETS);
	close(fd);
}

static void test_failures_leave_nothing(void **state)
{
	struct place *place = *state;

	sys.write = no_write;
	assert_int_equal(ahead_make(place->ahead), ENOSPC);
	sys = kernel;
	sys.fsync = no_fsync;
	assert_int_equal(ahead_make(place->ahead), EIO);
	assert_false(has_next(place));
	assert_false(ahead_is_taken_care_of(place->ahead));
	sys = kernel;
	assert_int_equal(opened_size(place, place->log), 0);
}

/* A name that is not on disk would lose the file with all that is flushed into it. */
static void test_name_must_be_durable(void **state)
{
	struct place *place = *state;

	assert_int_equal(ahead_make(place->ahead), 0);
	sys.fsync = no_fsync;
	errno = 0;
	assert_int_equal(ahead_open(place->ahead, place->log, O_RDWR | O_CREAT, 0600), -1);
	assert_int_equal(errno, EIO);
}

/* ---- under the engine ---- */

static char body[BODY];

static int engine_setup(void **state)
{
	kernel = sys;
	memset(body, 'b', sizeof(body) - 1);
	body[sizeof(body) - 2] = '\n';
	return fixture_setup(state);
}

static bool is_there(const struct fixture *fixture, const char *name)
{
	char path[128];

	snprintf(path, sizeof(path), "%s/env/%s", fixture->directory, name);
	return access(path, F_OK) == 0;
}

/* Until the file has been made, and then until it has been taken. */
static unsigned deliver_until(struct fixture *fixture, bool made)
{
	unsigned count = 0;

	while (is_there(fixture, "next.log") != made) {
		assert_true(++count < MANY);
		assert_int_equal(fixture_deliver(fixture, ALICE, body), STORE_OK);
	}
	return count;
}

static int dying_fsync(int fd)
{
	(void)fd;
	fixture_die();
	return -1;
}

static void work_until_taken(struct fixture *fixture)
{
	deliver_until(fixture, true);
	deliver_until(fixture, false);
	fixture_deliver(fixture, ALICE, body);
	fixture_die();
}

static void work_until_taking(struct fixture *fixture)
{
	deliver_until(fixture, true);
	sys.fsync = dying_fsync;
	deliver_until(fixture, false);
}

static void expect_gapless(struct fixture *fixture)
{
	struct engine_view *view = fixture_open(fixture, ALICE, "INBOX");
	struct store_listing *listing = fixture_list(view, NULL);

	assert_true(listing->count > 8);
	for (uint32_t i = 0; i < listing->count; i++) {
		assert_int_equal(listing->entry[i].uid, i + 1);
		assert_int_equal(listing->entry[i].size, BODY - 1);
	}
	assert_int_equal(fixture_count(fixture, "mail/example.test/alice/new"), listing->count);
	free(listing);
	engine_view_close(&view);
	assert_int_equal(fixture_deliver(fixture, ALICE, "after\n"), STORE_OK);
}

static void test_recovery_reads_it(void **state)
{
	struct fixture *fixture = *state;

	assert_int_equal(fixture_add_user(fixture, ALICE), STORE_OK);
	fixture_in_child(fixture, work_until_taken);
	fixture_start(fixture);
	expect_gapless(fixture);
}

static void test_killed_while_taking_it(void **state)
{
	struct fixture *fixture = *state;

	assert_int_equal(fixture_add_user(fixture, ALICE), STORE_OK);
	fixture_in_child(fixture, work_until_taking);
	fixture_start(fixture);
	expect_gapless(fixture);
}

static void test_what_the_kernel_let_go_of_comes_back(void **state)
{
	struct place *place = *state;
	const size_t half = OCTETS / 2 / (size_t)sysconf(_SC_PAGESIZE);

	assert_int_equal(ahead_make(place->ahead), 0);
	assert_int_equal(opened_size(place, place->log), OCTETS);
	const int fd = open(place->log, O_RDONLY);
	const char *octets = mmap(NULL, OCTETS, PROT_READ, MAP_SHARED, fd, 0);
	assert_ptr_not_equal(octets, MAP_FAILED);
	assert_int_equal(posix_fadvise(fd, 0, 0, POSIX_FADV_DONTNEED), 0);
	ahead_fetch(place->ahead, 2, OCTETS / 2, OCTETS / 2);
	for (int i = 0; i < 120000 && pages_in_memory(octets) < half; i++)
		usleep(1000);
	assert_true(pages_in_memory(octets) >= half);
	ahead_fetch(place->ahead, 3, 0, OCTETS); /* not there: nothing happens */
	munmap((void *)octets, OCTETS);
	close(fd);
}

#define ALONE(test) cmocka_unit_test_setup_teardown(test, setup, teardown)
#define ENGINE(test) cmocka_unit_test_setup_teardown(test, engine_setup, fixture_teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		ALONE(test_what_the_kernel_let_go_of_comes_back),
		ALONE(test_taken_once),
		ALONE(test_only_for_new_log_files),
		ALONE(test_leftover_is_cleared),
		ALONE(test_failures_leave_nothing),
		ALONE(test_name_must_be_durable),
		ENGINE(test_recovery_reads_it),
		ENGINE(test_killed_while_taking_it),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

/* A change that the times of the directories do not show is seen, whatever becomes of the clock. */
#include <sys/syscall.h>
#include <time.h>

#include "tests/unit/store/engine_fixture.h"

#define ALICE "alice@example.test"
#define NEW "mail/example.test/alice/new"

/* Seconds by which each clock is off what the kernel says. */
static time_t wall, awake;

int clock_gettime(clockid_t clock, struct timespec *now)
{
	const long result = syscall(SYS_clock_gettime, clock, now);

	if (result == 0)
		now->tv_sec += clock == CLOCK_REALTIME    ? wall
			       : clock == CLOCK_MONOTONIC ? awake
							  : 0;
	return (int)result;
}

static uint64_t count(struct fixture *fixture)
{
	struct engine_view *view = fixture_open(fixture, ALICE, "INBOX");
	struct store_listing *listing = fixture_list(view, NULL);
	const uint64_t messages = listing->count;

	free(listing);
	engine_view_close(&view);
	return messages;
}

/* A message of another program, within the tick of the clock in which we looked. */
static void drop_unseen(struct fixture *fixture)
{
	char path[256];
	struct stat st;

	snprintf(path, sizeof(path), "%s/" NEW, fixture->directory);
	assert_int_equal(stat(path, &st), 0);
	fixture_write(fixture, NEW "/1000000001.M1P1.other", "other\n");
	assert_int_equal(
		utimensat(AT_FDCWD, path, (const struct timespec[]){ st.st_atim, st.st_mtim }, 0),
		0);
}

static void check(struct fixture *fixture, time_t set)
{
	assert_int_equal(fixture_add_user(fixture, ALICE), STORE_OK);
	assert_int_equal(fixture_deliver(fixture, ALICE, "ours\n"), STORE_OK);
	assert_int_equal(count(fixture), 1);
	drop_unseen(fixture);
	assert_int_equal(count(fixture), 1);
	wall = set;
	assert_int_equal(count(fixture), 1);
	awake = 60;
	assert_int_equal(count(fixture), 2);
	wall = awake = 0;
}

static void test_set_back(void **state)
{
	check(*state, -3600);
}

/* It does not seem late before it is. */
static void test_set_forward(void **state)
{
	check(*state, 3600);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, fixture_setup, fixture_teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(test_set_back),
		TEST(test_set_forward),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

/*
 * Once-keys: over a lost index, over torn lines, and until they are forgotten.
 */
#include <signal.h>
#include <sys/wait.h>
#include <time.h>

#include "base/sys.h"
#include "tests/unit/store/engine_fixture.h"

#define ALICE "alice@example.test"

static const char *const alice[] = { ALICE };

static void expect_messages(struct fixture *fixture, uint32_t expected)
{
	uint32_t messages;
	uint64_t octets;

	assert_int_equal(engine_usage(fixture->engine, TEXT(ALICE), &messages, &octets), STORE_OK);
	assert_int_equal(messages, expected);
}

static void offer(struct fixture *fixture, struct text key)
{
	assert_int_equal(fixture_deliver_to(fixture, alice, 1, TEXT("one\n"), key), STORE_OK);
}

static void forget_index(const struct fixture *fixture)
{
	char path[128];

	snprintf(path, sizeof(path), "%s/env", fixture->directory);
	fixture_remove_tree(path);
}

/* "once/2026-11" below the store's directory. */
static void key_file(char path[64])
{
	const time_t now = time(NULL);
	struct tm tm;

	gmtime_r(&now, &tm);
	strftime(path, 64, "once/%Y-%m", &tm);
}

static void test_index_lost(void **state)
{
	struct fixture *fixture = *state;

	assert_int_equal(fixture_add_user(fixture, ALICE), STORE_OK);
	offer(fixture, TEXT("key 1"));
	offer(fixture, TEXT("key 2"));
	offer(fixture, TEXT("100%\n\001"));
	for (int i = 0; i < 2; i++) {
		fixture_stop(fixture);
		forget_index(fixture);
		fixture_start(fixture);
		offer(fixture, TEXT("key 1"));
		offer(fixture, TEXT("key 2"));
		offer(fixture, TEXT("100%\n\001"));
		expect_messages(fixture, 3);
	}
	offer(fixture, TEXT("key"));
	expect_messages(fixture, 4);
}

/* Killed before any checkpoint: the log alone has the keys, whether or not the tables can be used. */
static void test_killed(void **state)
{
	struct fixture *fixture = *state;
	char path[256];
	int status;

	assert_int_equal(fixture_add_user(fixture, ALICE), STORE_OK);
	fixture_stop(fixture);
	const pid_t child = fork();
	assert_true(child >= 0);
	if (child == 0) {
		fixture_start(fixture);
		offer(fixture, TEXT("key 1"));
		raise(SIGKILL);
	}
	assert_int_equal(waitpid(child, &status, 0), child);
	assert_true(WIFSIGNALED(status));
	snprintf(path, sizeof(path), "%s/env/once.db", fixture->directory);
	assert_int_equal(truncate(path, 100), 0);
	log_open("test", LOG_LEVEL_ERROR + 1);
	fixture_start(fixture);
	offer(fixture, TEXT("key 1"));
	expect_messages(fixture, 1);
	fixture_stop(fixture);
	forget_index(fixture);
	fixture_start(fixture);
	offer(fixture, TEXT("key 1"));
	expect_messages(fixture, 1);
}

/* Of what a power cut has torn nothing is believed. */
static void test_torn(void **state)
{
	struct fixture *fixture = *state;
	char path[64], whole[256], octets[256] = "";

	assert_int_equal(fixture_add_user(fixture, ALICE), STORE_OK);
	offer(fixture, TEXT("key 12"));
	fixture_stop(fixture);
	key_file(path);
	snprintf(whole, sizeof(whole), "%s/%s", fixture->directory, path);
	FILE *file = fopen(whole, "r");
	assert_non_null(file);
	const size_t size = fread(octets, 1, sizeof(octets) - 1, file);
	fclose(file);
	assert_true(size > 10);
	assert_int_equal(truncate(whole, (off_t)size - 2), 0);
	forget_index(fixture);
	fixture_start(fixture);
	offer(fixture, TEXT("key 1"));
	offer(fixture, TEXT("key 12"));
	expect_messages(fixture, 3);
	fixture_stop(fixture);
	forget_index(fixture);
	fixture_start(fixture);
	offer(fixture, TEXT("key 1"));
	offer(fixture, TEXT("key 12"));
	expect_messages(fixture, 3);
}

static void test_files_expire(void **state)
{
	struct fixture *fixture = *state;
	char path[256];

	fixture_stop(fixture);
	snprintf(path, sizeof(path), "%s/once", fixture->directory);
	assert_int_equal(mkdir(path, 0700), 0);
	fixture_write(fixture, "once/2001-01", "00000000 1 978307200 key\n");
	fixture->options.once_days = 400;
	fixture_start(fixture);
	for (unsigned i = 0; fixture_count(fixture, "once") > 0; i++) {
		assert_true(i < 1000);
		event_base_loop(fixture->loop, EVLOOP_ONCE);
	}
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, fixture_setup, fixture_teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(test_index_lost),
		TEST(test_killed),
		TEST(test_torn),
		TEST(test_files_expire),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

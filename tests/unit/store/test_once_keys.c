/*
 * Once-keys: over a lost index, over torn lines, and until they are forgotten.
 */
#include <time.h>

#include "base/sys.h"
#include "store/once_keys.h"
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

static void offer_and_die(struct fixture *fixture)
{
	offer(fixture, TEXT("key 1"));
	fixture_die();
}

/* Killed before any checkpoint: the log alone has the keys, whether or not the tables can be used. */
static void test_killed(void **state)
{
	struct fixture *fixture = *state;
	char path[256];

	assert_int_equal(fixture_add_user(fixture, ALICE), STORE_OK);
	fixture_in_child(fixture, offer_and_die);
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

/* A line of the user who was added first, in a file of that month, and an index made anew. */
static void restart_with(struct fixture *fixture, const char *month, int64_t time, unsigned days)
{
	char path[256];
	struct buf line = { 0 };

	fixture_stop(fixture);
	forget_index(fixture);
	snprintf(path, sizeof(path), "%s/once", fixture->directory);
	assert_true(mkdir(path, S_IRWXU) == 0 || errno == EEXIST);
	once_print(&line, 1, &(struct index_once){ .time = time, .asked = time }, TEXT("old"));
	buf_add_char(&line, '\0');
	snprintf(path, sizeof(path), "once/%s", month);
	fixture_write(fixture, path, buf_text(&line).ptr);
	buf_release(&line);
	fixture->options.once_days = days;
	fixture_start(fixture);
}

struct asked {
	bool done;
	int64_t time;
};

static void on_asked(void *owner, const struct engine_result *result)
{
	struct asked *asked = owner;

	assert_int_equal(result->failure, STORE_OK);
	struct message_reader in = { .at = result->times.ptr, .left = result->times.len };
	asked->time = message_get_i64(&in, 0);
	assert_true(!in.bad && in.left == 0);
	asked->done = true;
}

/* When it was accepted; -1: it does not count. */
static int64_t ask(struct fixture *fixture, struct text key)
{
	struct asked asked = { 0 };
	struct buf keys = { 0 };

	store_once_key_pack(&keys, &(struct store_once_key){ .key = key });
	engine_once(fixture->engine, TEXT(ALICE), buf_text(&keys), on_asked, &asked);
	buf_release(&keys);
	while (!asked.done)
		assert_int_equal(event_base_loop(fixture->loop, EVLOOP_ONCE), 0);
	return asked.time;
}

/* What is asked for, or offered again, is kept from then on, and yet no younger: old mail is told by that. */
static void test_renewed(void **state)
{
	struct fixture *fixture = *state;
	const int64_t old = time(NULL) - (int64_t)100 * 86400;
	char month[16], path[64], whole[256];
	struct tm tm;

	assert_int_equal(fixture_add_user(fixture, ALICE), STORE_OK);
	gmtime_r(&(time_t){ (time_t)old }, &tm);
	strftime(month, sizeof(month), "%Y-%m", &tm);
	for (int offered = 0; offered <= 1; offered++) {
		restart_with(fixture, month, old, 400);
		if (offered) {
			offer(fixture, TEXT("old"));
			expect_messages(fixture, 0);
		}
		assert_int_equal(ask(fixture, TEXT("old")), old);
		assert_int_equal(ask(fixture, TEXT("old")), old);
		/* By the index, and by the file. */
		for (int lost = 0; lost <= 1; lost++) {
			fixture_stop(fixture);
			if (lost)
				forget_index(fixture);
			fixture->options.once_days = 50;
			fixture_start(fixture);
			assert_int_equal(ask(fixture, TEXT("old")), old);
		}
		/* The second time begins with the old one alone. */
		fixture_stop(fixture);
		key_file(path);
		snprintf(whole, sizeof(whole), "%s/%s", fixture->directory, path);
		assert_int_equal(unlink(whole), 0);
		fixture_start(fixture);
	}
}

static void ask_and_die(struct fixture *fixture)
{
	ask(fixture, TEXT("old"));
	fixture_die();
}

/* The same when the log alone has it. */
static void test_renewed_and_killed(void **state)
{
	struct fixture *fixture = *state;
	const int64_t old = time(NULL) - (int64_t)100 * 86400;
	char path[256];

	assert_int_equal(fixture_add_user(fixture, ALICE), STORE_OK);
	restart_with(fixture, "2026-01", old, 400);
	fixture_stop(fixture);
	fixture_in_child(fixture, ask_and_die);
	snprintf(path, sizeof(path), "%s/env/once.db", fixture->directory);
	assert_int_equal(truncate(path, 100), 0);
	log_open("test", LOG_LEVEL_ERROR + 1);
	fixture->options.once_days = 50;
	fixture_start(fixture);
	assert_int_equal(ask(fixture, TEXT("old")), old);
}

/* A key that is young enough is left as it is. */
static void test_not_renewed(void **state)
{
	struct fixture *fixture = *state;
	const int64_t young = time(NULL) - (int64_t)40 * 86400;

	assert_int_equal(fixture_add_user(fixture, ALICE), STORE_OK);
	restart_with(fixture, "2026-01", young, 400);
	assert_int_equal(ask(fixture, TEXT("old")), young);
	assert_int_equal(ask(fixture, TEXT("old")), young);
	restart_with(fixture, "2026-01", young, 0);
	assert_int_equal(ask(fixture, TEXT("old")), young);
}

static void test_expires(void **state)
{
	struct fixture *fixture = *state;

	assert_int_equal(fixture_add_user(fixture, ALICE), STORE_OK);
	restart_with(fixture, "2001-01", 978307200, 0);
	assert_int_equal(ask(fixture, TEXT("old")), 978307200);
	/* It counts no more before it is out of the index. */
	fixture_stop(fixture);
	fixture->options.once_days = 400;
	fixture_start(fixture);
	assert_int_equal(ask(fixture, TEXT("old")), -1);
	for (unsigned i = 0; fixture_count(fixture, "once") > 0; i++) {
		assert_true(i < 1000);
		event_base_loop(fixture->loop, EVLOOP_ONCE);
	}
	fixture_stop(fixture);
	fixture->options.once_days = 0;
	fixture_start(fixture);
	assert_int_equal(ask(fixture, TEXT("old")), -1);
	offer(fixture, TEXT("old"));
	expect_messages(fixture, 1);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, fixture_setup, fixture_teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(test_index_lost),
		TEST(test_killed),
		TEST(test_torn),
		TEST(test_files_expire),
		TEST(test_renewed),
		TEST(test_renewed_and_killed),
		TEST(test_not_renewed),
		TEST(test_expires),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

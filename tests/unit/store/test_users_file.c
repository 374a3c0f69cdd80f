/* The text file of the users, and users by their numbers. */
#include <pthread.h>
#include <semaphore.h>

#include "store/users.h"
#include "tests/unit/store/engine_fixture.h"

#define ALICE "alice@example.test"
#define BOB "bob@example.test"

/* ---- one writes it at a time ---- */

static int (*real_openat)(int dir, const char *path, int flags, mode_t mode);
static pthread_t main_thread;
static sem_t gate;
static const struct engine *watched;
static unsigned by_main;
static bool at_once;

/* The thread does not get on before the gate is open. */
static int watching_openat(int dir, const char *path, int flags, mode_t mode)
{
	if (strcmp(path, "users.new") == 0) {
		if (pthread_equal(pthread_self(), main_thread)) {
			by_main++;
			at_once |= worker_is_busy(watched->chores);
		} else {
			sem_wait(&gate);
			sem_post(&gate);
		}
	}
	return real_openat(dir, path, flags, mode);
}

static void on_broken(void *owner)
{
	(void)owner;
}

/* A rebuild is asked for while one change is being written and the next one waits for that. */
static void test_rebuild_asked_for(void **state)
{
	struct fixture *fixture = *state;
	struct fixture_answer alice = { 0 }, bob = { 0 };

	fixture_stop(fixture);
	fixture->options.broken = on_broken;
	fixture_start(fixture);
	real_openat = sys.openat;
	main_thread = pthread_self();
	watched = fixture->engine;
	sem_init(&gate, 0, 0);
	sys.openat = watching_openat;
	engine_user_add(fixture->engine, TEXT(ALICE), fixture_hash, fixture_done, &alice);
	engine_user_add(fixture->engine, TEXT(BOB), fixture_hash, fixture_done, &bob);
	while (!engine_user_find(fixture->engine, TEXT(BOB)))
		assert_int_equal(event_base_loop(fixture->loop, EVLOOP_ONCE), 0);
	assert_false(alice.done || bob.done);
	assert_false(STAILQ_EMPTY(&fixture->engine->users_waiting));
	sem_post(&gate);
	engine_rebuild(fixture->engine);
	sys.openat = real_openat;
	sem_destroy(&gate);
	assert_int_equal(by_main, 1);
	assert_false(at_once);
	while (!alice.done || !bob.done)
		assert_int_equal(event_base_loop(fixture->loop, EVLOOP_ONCE), 0);
	assert_int_equal(alice.result.failure, STORE_OK);
	assert_int_equal(bob.result.failure, STORE_OK);
	fixture_restart(fixture);
	assert_non_null(engine_user_find(fixture->engine, TEXT(ALICE)));
	assert_non_null(engine_user_find(fixture->engine, TEXT(BOB)));
}

/* ---- numbers ---- */

static void address_of(unsigned i, char address[40])
{
	/* Not in the order of their numbers. */
	snprintf(address, 40, "%c%u@example.test", 'a' + (char)(i * 7 % 26), i);
}

static void expect_number(struct fixture *fixture, unsigned i, bool is_there)
{
	char address[40];

	address_of(i, address);
	const struct user *user = users_with_number(fixture->engine, i + 1);
	assert_true((user != NULL) == is_there);
	if (is_there)
		assert_string_equal(user->address, address);
}

static void test_by_number(void **state)
{
	enum { COUNT = 70 };
	struct fixture *fixture = *state;
	char address[40];

	assert_null(users_with_number(fixture->engine, 0));
	assert_null(users_with_number(fixture->engine, 1));
	for (unsigned i = 0; i < COUNT; i++) {
		address_of(i, address);
		assert_int_equal(fixture_add_user(fixture, address), STORE_OK);
		assert_int_equal(
			engine_user_find(fixture->engine, text_of(address))->number, i + 1);
	}
	for (unsigned i = 0; i < COUNT; i += 3) {
		struct fixture_answer answer = { 0 };
		address_of(i, address);
		engine_user_remove(fixture->engine, text_of(address), fixture_done, &answer);
		fixture_wait(fixture, &answer);
		assert_int_equal(answer.result.failure, STORE_OK);
	}
	for (int again = 0; again < 2; again++) {
		for (unsigned i = 0; i < COUNT; i++)
			expect_number(fixture, i, i % 3 != 0);
		assert_null(users_with_number(fixture->engine, COUNT + 1));
		fixture_restart(fixture);
	}
}

/* ---- it cannot be written ---- */

static int full_openat(int dir, const char *path, int flags, mode_t mode)
{
	if (strcmp(path, "users.new") != 0)
		return real_openat(dir, path, flags, mode);
	errno = ENOSPC;
	return -1;
}

static enum store_failure set_hash(struct fixture *fixture, const char *hash)
{
	struct fixture_answer answer = { 0 };

	engine_user_password(fixture->engine, TEXT(ALICE), hash, fixture_done, &answer);
	fixture_wait(fixture, &answer);
	return answer.result.failure;
}

static void expect_hash(const struct fixture *fixture, const char *hash)
{
	assert_string_equal(engine_user_find(fixture->engine, TEXT(ALICE))->hash, hash);
}

/* Nobody is told that it is kept while an index that is lost would take it along. */
static void test_not_written(void **state)
{
	struct fixture *fixture = *state;
	char path[256];

	assert_int_equal(fixture_add_user(fixture, ALICE), STORE_OK);
	assert_int_equal(set_hash(fixture, "first"), STORE_OK);
	log_open("test", LOG_LEVEL_ERROR + 1);
	real_openat = sys.openat;
	sys.openat = full_openat;
	assert_int_equal(set_hash(fixture, "second"), STORE_NOT_DURABLE);
	sys.openat = real_openat;
	log_open("test", LOG_LEVEL_ERROR);
	expect_hash(fixture, "second");
	assert_int_equal(set_hash(fixture, "third"), STORE_OK);
	fixture_stop(fixture);
	snprintf(path, sizeof(path), "%s/env", fixture->directory);
	fixture_remove_tree(path);
	fixture_start(fixture);
	expect_hash(fixture, "third");
}

/* ---- numbers that two have ---- */

/* Two who would have the same mailboxes: nobody's mail is shown to another. */
static void test_same_number(void **state)
{
	struct fixture *fixture = *state;
	char path[256];

	fixture_stop(fixture);
	snprintf(path, sizeof(path), "%s/env", fixture->directory);
	fixture_remove_tree(path);
	fixture_write(fixture, "users",
		"restante-users 1\nnext 3\nuser alice@example.test 1 0 0 x\n"
		"user bob@example.test 1 0 0 x\n");
	log_open("test", LOG_LEVEL_ERROR + 1);
	fixture_expect_no_start(fixture);
	log_open("test", LOG_LEVEL_ERROR);
	assert_int_equal(fixture_count(fixture, "env"), -1);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, fixture_setup, fixture_teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(test_rebuild_asked_for),
		TEST(test_by_number),
		TEST(test_not_written),
		TEST(test_same_number),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

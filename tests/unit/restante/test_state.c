/* The state directory: made whole, locked, and its store not taken from somebody else. */
#include <fcntl.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "restante/state.h"

enum { UID = 54321 };

static char top[64], path[100];

static int set_up(void **unused)
{
	(void)unused;
	snprintf(top, sizeof(top), "/tmp/restante-test-XXXXXX");
	if (!mkdtemp(top))
		return -1;
	snprintf(path, sizeof(path), "%s/a/b", top);
	return 0;
}

static void remove_one(const char *below)
{
	char whole[200];

	snprintf(whole, sizeof(whole), "%s%s", top, below);
	remove(whole);
}

static int tear_down(void **unused)
{
	static const char *const parts[] = { "/a/b/run/lock", "/a/b/run", "/a/b/store", "/a/b",
		"/a", "" };

	(void)unused;
	for (size_t i = 0; i < sizeof(parts) / sizeof(parts[0]); i++)
		remove_one(parts[i]);
	return 0;
}

static struct stat look(const char *below)
{
	char whole[200];
	struct stat st;

	snprintf(whole, sizeof(whole), "%s%s", path, below);
	assert_int_equal(stat(whole, &st), 0);
	return st;
}

static void test_made_and_locked(void **unused)
{
	struct state state, second;
	pid_t holder;
	char error[300] = "";

	(void)unused;
	assert_int_equal(state_open(&state, path, &holder, error, sizeof(error)), STATE_OPEN);
	assert_int_equal(state_open_store(&state, path, UID, UID, error, sizeof(error)), 0);
	assert_int_equal(look("/store").st_mode & 07777, 0700);
	assert_int_equal(look("/run").st_mode & 07777, 0755);
	assert_int_equal(look("/store").st_uid, geteuid() == 0 ? UID : geteuid());

	assert_int_equal(state_open(&second, path, &holder, error, sizeof(error)), STATE_IN_USE);
	assert_int_equal(holder, getpid());
	assert_int_equal(second.run, -1);
	state_close(&state);
	assert_int_equal(state_open(&state, path, &holder, error, sizeof(error)), STATE_OPEN);
	/* A second time: everything is there already. */
	assert_int_equal(state_open_store(&state, path, UID, UID, error, sizeof(error)), 0);
	state_close(&state);
	const int run = state_open_run(path);
	assert_true(run >= 0);
	close(run);
}

static void test_foreign_store_is_left_alone(void **unused)
{
	struct state state;
	pid_t holder;
	char error[300] = "";

	(void)unused;
	if (geteuid() != 0)
		skip();
	assert_int_equal(state_open(&state, path, &holder, error, sizeof(error)), STATE_OPEN);
	assert_int_equal(state_open_store(&state, path, UID, UID, error, sizeof(error)), 0);
	close(state.store);
	state.store = -1;
	assert_int_equal(state_open_store(&state, path, UID + 1, UID, error, sizeof(error)), -1);
	assert_non_null(strstr(error, "belongs to user id 54321"));
	assert_int_equal(look("/store").st_uid, UID);
	state_close(&state);
}

static void test_impossible_places(void **unused)
{
	static const char *const places[] = { "/proc/restante/x", "/dev/null/x", "/dev/null" };
	struct state state;
	pid_t holder;

	(void)unused;
	for (size_t i = 0; i < sizeof(places) / sizeof(places[0]); i++) {
		char error[300] = "";
		assert_int_equal(
			state_open(&state, places[i], &holder, error, sizeof(error)), STATE_FAILED);
		assert_non_null(strstr(error, places[i]));
		assert_int_equal(state.lock, -1);
	}
}

/* The lock must not outlive its process, however that ended. */
static void test_lock_dies_with_its_process(void **unused)
{
	struct state state;
	pid_t holder;
	char error[300] = "", octet;
	int ready[2];

	(void)unused;
	assert_int_equal(pipe(ready), 0);
	const pid_t child = fork();
	if (child == 0) {
		state_open(&state, path, &holder, error, sizeof(error));
		if (write(ready[1], "x", 1) == 1)
			pause();
		_exit(1);
	}
	assert_int_equal(read(ready[0], &octet, 1), 1);
	assert_int_equal(state_open(&state, path, &holder, error, sizeof(error)), STATE_IN_USE);
	assert_int_equal(holder, child);
	kill(child, SIGKILL);
	assert_int_equal(waitpid(child, NULL, 0), child);
	assert_int_equal(state_open(&state, path, &holder, error, sizeof(error)), STATE_OPEN);
	state_close(&state);
	close(ready[0]);
	close(ready[1]);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_made_and_locked, set_up, tear_down),
		cmocka_unit_test_setup_teardown(
			test_foreign_store_is_left_alone, set_up, tear_down),
		cmocka_unit_test(test_impossible_places),
		cmocka_unit_test_setup_teardown(test_lock_dies_with_its_process, set_up, tear_down),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

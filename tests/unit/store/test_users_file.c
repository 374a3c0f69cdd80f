/* The text file of the users, and users by their numbers. */
#include "store/users.h"
#include "tests/unit/store/engine_fixture.h"

#define ALICE "alice@example.test"
#define BOB "bob@example.test"

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
	fixture->loop = event_base_new();
	assert_null(engine_open(fixture->loop, fixture->directory, &fixture->options));
	event_base_free(fixture->loop);
	fixture->loop = NULL;
	log_open("test", LOG_LEVEL_ERROR);
	assert_int_equal(fixture_count(fixture, "env"), -1);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, fixture_setup, fixture_teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(test_by_number),
		TEST(test_same_number),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

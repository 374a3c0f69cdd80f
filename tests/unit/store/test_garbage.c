/* What is left of deleted mailboxes when the disk does not let it go at once. */
#include "tests/unit/store/mailboxes_fixture.h"

/* Checkpoints come with deliveries, and what is to go goes between two turns. */
static void deliver_until(struct fixture *fixture, bool (*is_done)(const struct fixture *fixture))
{
	const struct timeval tick = { .tv_usec = 20000 };

	for (unsigned i = 0; !is_done(fixture); i++) {
		assert_true(i < 6000);
		assert_int_equal(deliver(fixture, "", "x\n", ""), STORE_OK);
		event_base_loopexit(fixture->loop, &tick);
		event_base_loop(fixture->loop, EVLOOP_ONCE);
	}
}

static bool is_refused(const struct fixture *fixture)
{
	(void)fixture;
	return fixture_refusal.times > 0;
}

static bool is_first_gone(const struct fixture *fixture)
{
	return fixture_count(fixture, HOME "/restante-deleted.2") < 0;
}

static bool is_second_gone(const struct fixture *fixture)
{
	return fixture_count(fixture, HOME "/restante-deleted.3") < 0;
}

/* Two are deleted, of which the disk does not let go of the first, and of the second only. */
static void delete_two(struct fixture *fixture)
{
	fixture->options.checkpoint_octets = 1;
	fixture_restart(fixture);
	assert_int_equal(fixture_add_user(fixture, ALICE), STORE_OK);
	assert_int_equal(deliver(fixture, "a", "one\n", ""), STORE_OK);
	assert_int_equal(deliver(fixture, "b", "two\n", ""), STORE_OK);
	fixture_refuse_to_open(HOME "/restante-deleted.2", EMFILE);
	assert_int_equal(delete (fixture, "a"), STORE_OK);
	assert_int_equal(delete (fixture, "b"), STORE_OK);
	log_open("test", LOG_LEVEL_ERROR + 1);
	deliver_until(fixture, is_refused);
	deliver_until(fixture, is_second_gone);
	log_open("test", LOG_LEVEL_ERROR);
	assert_int_equal(fixture_count(fixture, HOME "/restante-deleted.2/new"), 1);
}

static void test_tried_again(void **state)
{
	struct fixture *fixture = *state;

	delete_two(fixture);
	fixture_let_open();
	deliver_until(fixture, is_first_gone);
}

static void test_found_by_a_start(void **state)
{
	struct fixture *fixture = *state;

	delete_two(fixture);
	fixture_let_open();
	fixture_restart(fixture);
	assert_int_equal(fixture_count(fixture, HOME "/restante-deleted.2/new"), 1);
	deliver_until(fixture, is_first_gone);
}

/* What has its path by then is somebody else's. */
static void test_user_removed(void **state)
{
	struct fixture *fixture = *state;
	struct fixture_answer answer = { 0 };
	char path[256];

	delete_two(fixture);
	engine_user_remove(fixture->engine, TEXT(ALICE), fixture_done, &answer);
	fixture_wait(fixture, &answer);
	assert_int_equal(answer.result.failure, STORE_OK);
	assert_int_equal(fixture_add_user(fixture, ALICE), STORE_OK);
	snprintf(path, sizeof(path), "%s/" HOME "/restante-deleted.2", fixture->directory);
	assert_int_equal(mkdir(path, 0700), 0);
	fixture_let_open();
	/* The turn of what is deleted now comes after that of what was before. */
	assert_int_equal(deliver(fixture, "c", "three\n", ""), STORE_OK);
	assert_int_equal(deliver(fixture, "d", "four\n", ""), STORE_OK);
	assert_int_equal(delete (fixture, "d"), STORE_OK);
	deliver_until(fixture, is_second_gone);
	assert_int_equal(fixture_count(fixture, HOME "/restante-deleted.2"), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(test_tried_again),
		TEST(test_found_by_a_start),
		TEST(test_user_removed),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

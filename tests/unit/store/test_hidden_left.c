/* What is left of a copy that could not be taken back holds nobody up who wants all of it to go. */
#include "store/hidden.h"
#include "store/mailbox.h"
#include "tests/unit/store/engine_fixture.h"

#define ALICE "alice@example.test"

static struct mailbox *mailbox_of(struct fixture *fixture, const char *name)
{
	struct account *account;

	assert_int_equal(account_of(fixture->engine, TEXT(ALICE), &account), STORE_OK);
	return account_find(account, text_of(name));
}

/* As when the disk refused to take it back. */
static void leave_a_copy(struct fixture *fixture)
{
	struct fixture_answer answer = { 0 };

	assert_int_equal(fixture_add_user(fixture, ALICE), STORE_OK);
	engine_create(fixture->engine, TEXT(ALICE), TEXT("a"), fixture_done, &answer);
	fixture_wait(fixture, &answer);
	assert_int_equal(answer.result.failure, STORE_OK);
	struct mailbox *mailbox = mailbox_of(fixture, "a");
	assert_int_equal(hidden_begin(fixture->engine, mailbox, 0, 0), STORE_OK);
	mailbox->hidden->is_noted = true;
	mailbox->hidden->is_left = true;
}

static enum store_failure remove_alice(struct fixture *fixture)
{
	struct fixture_answer answer = { 0 };

	engine_user_remove(fixture->engine, TEXT(ALICE), fixture_done, &answer);
	fixture_wait(fixture, &answer);
	return answer.result.failure;
}

static void test_mailbox_deleted(void **state)
{
	struct fixture *fixture = *state;
	struct fixture_answer answer = { 0 };

	leave_a_copy(fixture);
	const struct account *account = mailbox_of(fixture, "a")->account;
	engine_delete(fixture->engine, TEXT(ALICE), TEXT("a"), fixture_done, &answer);
	fixture_wait(fixture, &answer);
	assert_int_equal(answer.result.failure, STORE_OK);
	for (unsigned i = 0; account->orphans; i++) {
		assert_true(i < 1000);
		event_base_loop(fixture->loop, EVLOOP_NONBLOCK);
	}
	assert_true(LIST_EMPTY(&fixture->engine->orphans));
	assert_int_equal(remove_alice(fixture), STORE_OK);
}

static void test_user_removed(void **state)
{
	struct fixture *fixture = *state;

	leave_a_copy(fixture);
	struct engine_view *view = fixture_open(fixture, ALICE, "a");
	assert_int_equal(remove_alice(fixture), STORE_LOCKED);
	engine_view_close(&view);
	assert_int_equal(remove_alice(fixture), STORE_OK);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, fixture_setup, fixture_teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(test_mailbox_deleted),
		TEST(test_user_removed),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

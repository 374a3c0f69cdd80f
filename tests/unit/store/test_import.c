#include "base/sys.h"
#include "store/import.h"
#include "tests/unit/store/engine_fixture.h"

#define ALICE "alice@example.test"

static enum store_failure mailbox(
	struct fixture *fixture, const char *name, uint32_t uidvalidity, uint32_t uidnext)
{
	struct fixture_answer answer = { 0 };

	engine_import_mailbox(fixture->engine,
		&(struct engine_import){ .user = TEXT(ALICE),
			.mailbox = text_of(name),
			.uidvalidity = uidvalidity,
			.uidnext = uidnext },
		fixture_done, &answer);
	fixture_wait(fixture, &answer);
	return answer.result.failure;
}

static enum store_failure message(struct fixture *fixture, const char *name, uint32_t uid,
	const char *keywords, const char *body)
{
	struct fixture_answer answer = { 0 };
	const struct engine_recipient recipient = { .user = TEXT(ALICE),
		.mailbox = text_of(name),
		.flags = STORE_FLAG_SEEN,
		.keywords = text_of(keywords),
		.once = TEXT(""),
		.uid = uid };

	engine_deliver(fixture->engine,
		&(struct engine_delivery){ .id = TEXT("x"),
			.once = TEXT(""),
			.received = 1000000000 + uid,
			.body = text_of(body),
			.recipients = &recipient,
			.count = 1,
			.is_import = true },
		fixture_done, &answer);
	fixture_wait(fixture, &answer);
	return answer.result.failure;
}

static void expect_uids(struct fixture *fixture, const char *name, uint32_t uidnext,
	const uint32_t *uids, size_t count)
{
	struct buf found = { 0 };
	uint32_t next = 0;

	assert_int_equal(
		engine_import_uids(fixture->engine, TEXT(ALICE), text_of(name), &next, &found),
		STORE_OK);
	assert_int_equal(next, uidnext);
	assert_int_equal(buf_length(&found), 4 * count);
	if (count)
		assert_memory_equal(buf_text(&found).ptr, uids, 4 * count);
	buf_release(&found);
}

static enum store_failure begin(struct fixture *fixture)
{
	bool resumed;

	return engine_import_begin(fixture->engine, TEXT(ALICE), &resumed);
}

static void expect_begun(struct fixture *fixture, bool expected)
{
	bool resumed = !expected;

	assert_int_equal(engine_import_begin(fixture->engine, TEXT(ALICE), &resumed), STORE_OK);
	assert_int_equal(resumed, expected);
}

static enum store_failure end(struct fixture *fixture, const char *subscriptions)
{
	struct fixture_answer answer = { 0 };

	engine_import_end(
		fixture->engine, TEXT(ALICE), text_of(subscriptions), fixture_done, &answer);
	fixture_wait(fixture, &answer);
	return answer.result.failure;
}

static void expect_imported(struct fixture *fixture)
{
	struct engine_view *view = fixture_open(fixture, ALICE, "INBOX");
	struct engine_status status;
	struct store_listing *listing = fixture_list(view, &status);

	assert_int_equal(status.uidvalidity, 4711);
	assert_int_equal(listing->count, 2);
	assert_int_equal(listing->entry[0].uid, 3);
	assert_int_equal(listing->entry[1].uid, 40000);
	assert_int_equal(listing->entry[1].received, 1000000000 + 40000);
	assert_int_equal(listing->entry[1].flags, STORE_FLAG_SEEN);
	assert_int_equal(listing->entry[1].keywords, 2);
	assert_string_equal(status.keywords.ptr, "work $Junk");
	free(listing);
	engine_view_close(&view);
}

static void test_taken_over(void **state)
{
	static const uint32_t uids[] = { 3, 40000 };
	struct fixture *fixture = *state;
	struct engine_view *view;

	fixture->options.quota_messages = 1;
	fixture_restart(fixture);
	assert_int_equal(begin(fixture), STORE_NO_SUCH_USER);
	assert_int_equal(fixture_add_user(fixture, ALICE), STORE_OK);
	assert_int_equal(mailbox(fixture, "INBOX", 4711, 0), STORE_REFUSED);
	expect_begun(fixture, false);
	expect_begun(fixture, true);
	assert_int_equal(mailbox(fixture, "INBOX", 4711, 0), STORE_OK);
	expect_uids(fixture, "INBOX", 1, NULL, 0);
	/* Whatever the quota says, and beyond the ceiling. */
	assert_int_equal(message(fixture, "INBOX", 3, "work", "three\n"), STORE_OK);
	assert_int_equal(message(fixture, "INBOX", 40000, "$Junk", "many\n"), STORE_OK);
	assert_int_equal(message(fixture, "INBOX", 40000, "", "again\n"), STORE_INVALID);
	assert_int_equal(message(fixture, "INBOX", 39999, "", "before\n"), STORE_INVALID);
	assert_int_equal(mailbox(fixture, "INBOX", 4711, 50000), STORE_OK);
	assert_int_equal(mailbox(fixture, "Lists/Linux", 4712, 9), STORE_OK);
	expect_uids(fixture, "INBOX", 50000, uids, 2);
	expect_uids(fixture, "Lists/Linux", 9, NULL, 0);
	/* Closed, to deliveries and to sessions. */
	assert_int_equal(engine_lookup(fixture->engine, TEXT(ALICE), 0), STORE_BUSY);
	assert_int_equal(fixture_deliver(fixture, ALICE, "x\n"), STORE_BUSY);
	assert_int_equal(
		fixture_select(fixture, ALICE, "INBOX", STORE_SELECT_SHARED, &view), STORE_BUSY);
	assert_int_equal(end(fixture, "Lists/Linux\nINBOX\n"), STORE_OK);
	assert_int_equal(end(fixture, ""), STORE_REFUSED);
	expect_imported(fixture);
	/* From the Maildirs alone it is the same. */
	engine_close(&fixture->engine);
	char path[128];
	snprintf(path, sizeof(path), "%s/env", fixture->directory);
	fixture_remove_tree(path);
	event_base_free(fixture->loop);
	fixture_start(fixture);
	expect_imported(fixture);
}

static void test_goes_on(void **state)
{
	static const uint32_t uids[] = { 1, 2, 5 };
	struct fixture *fixture = *state;

	assert_int_equal(fixture_add_user(fixture, ALICE), STORE_OK);
	assert_int_equal(begin(fixture), STORE_OK);
	assert_int_equal(mailbox(fixture, "INBOX", 7, 0), STORE_OK);
	assert_int_equal(message(fixture, "INBOX", 1, "", "1\n"), STORE_OK);
	assert_int_equal(message(fixture, "INBOX", 2, "", "2\n"), STORE_OK);
	/* A restart in between does not open the user. */
	fixture_restart(fixture);
	assert_int_equal(fixture_deliver(fixture, ALICE, "x\n"), STORE_BUSY);
	assert_int_equal(begin(fixture), STORE_OK);
	assert_int_equal(mailbox(fixture, "INBOX", 7, 0), STORE_OK);
	expect_uids(fixture, "INBOX", 3, uids, 2);
	assert_int_equal(message(fixture, "INBOX", 5, "", "5\n"), STORE_OK);
	expect_uids(fixture, "INBOX", 6, uids, 3);
	assert_int_equal(end(fixture, ""), STORE_OK);
	fixture_restart(fixture);
	assert_int_equal(fixture_deliver(fixture, ALICE, "x\n"), STORE_OK);
	assert_int_equal(fixture_count(fixture, "mail/example.test/alice/cur"), 3);
	assert_int_equal(fixture_count(fixture, "mail/example.test/alice/new"), 1);
}

static void test_refused(void **state)
{
	struct fixture *fixture = *state;

	assert_int_equal(fixture_add_user(fixture, ALICE), STORE_OK);
	assert_int_equal(fixture_deliver(fixture, ALICE, "mine\n"), STORE_OK);
	struct engine_view *view = fixture_open(fixture, ALICE, "INBOX");
	assert_int_equal(begin(fixture), STORE_LOCKED);
	engine_view_close(&view);
	assert_int_equal(begin(fixture), STORE_OK);
	assert_int_equal(mailbox(fixture, "INBOX", 7, 0), STORE_ALREADY_EXISTS);
	assert_int_equal(mailbox(fixture, "a//b", 7, 0), STORE_INVALID);
	assert_int_equal(mailbox(fixture, "a", UINT32_MAX, 0), STORE_INVALID);
	assert_int_equal(mailbox(fixture, "a", 7, UINT32_MAX), STORE_INVALID);
	/* One that has no numbers gets ours, and what was begun can be ended by removing the user. */
	assert_int_equal(mailbox(fixture, "a", 0, 0), STORE_OK);
	struct fixture_answer answer = { 0 };
	engine_user_remove(fixture->engine, TEXT(ALICE), fixture_done, &answer);
	fixture_wait(fixture, &answer);
	assert_int_equal(answer.result.failure, STORE_OK);
	assert_int_equal(message(fixture, "INBOX", 9, "", "x\n"), STORE_NO_SUCH_USER);
	assert_int_equal(fixture_add_user(fixture, ALICE), STORE_OK);
	assert_int_equal(fixture_deliver(fixture, ALICE, "x\n"), STORE_OK);
}

static void subscribe_and_import(struct fixture *fixture)
{
	struct fixture_answer answer = { 0 };

	engine_subscribe(fixture->engine, TEXT(ALICE), TEXT("a"), true, fixture_done, &answer);
	fixture_wait(fixture, &answer);
	if (begin(fixture) == STORE_OK && end(fixture, "b\nINBOX\n") == STORE_OK)
		fixture_die();
}

static struct sys kernel;

static int failing_fsync(int fd)
{
	struct stat st;

	if (fstat(fd, &st) != 0 || !S_ISDIR(st.st_mode))
		return kernel.fsync(fd);
	errno = EIO;
	return -1;
}

/* One that could not be begun has not closed the user, neither now nor after a restart. */
static void test_not_begun(void **state)
{
	struct fixture *fixture = *state;

	assert_int_equal(fixture_add_user(fixture, ALICE), STORE_OK);
	kernel = sys;
	sys.fsync = failing_fsync;
	assert_int_not_equal(begin(fixture), STORE_OK);
	sys = kernel;
	assert_int_equal(fixture_deliver(fixture, ALICE, "x\n"), STORE_OK);
	fixture_restart(fixture);
	assert_int_equal(fixture_deliver(fixture, ALICE, "y\n"), STORE_OK);
}

/* What was subscribed before an import is redone from the log after it; neither takes the other's place. */
static void test_killed_after(void **state)
{
	struct fixture *fixture = *state;
	struct buf names = { 0 };

	assert_int_equal(fixture_add_user(fixture, ALICE), STORE_OK);
	fixture_in_child(fixture, subscribe_and_import);
	fixture_start(fixture);
	assert_int_equal(engine_subscriptions(fixture->engine, TEXT(ALICE), &names), STORE_OK);
	assert_int_equal(buf_length(&names), strlen("INBOX\na\nb\n"));
	assert_memory_equal(buf_text(&names).ptr, "INBOX\na\nb\n", buf_length(&names));
	buf_release(&names);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, fixture_setup, fixture_teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(test_taken_over),
		TEST(test_goes_on),
		TEST(test_refused),
		TEST(test_not_begun),
		TEST(test_killed_after),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

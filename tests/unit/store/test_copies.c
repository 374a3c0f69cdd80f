/* Messages that are copied and moved between mailboxes. */
#include "tests/unit/store/mailboxes_fixture.h"

/* Names of the body that the one message of this mark has. */
static unsigned links_of(const struct fixture *fixture, const char *directory, const char *mark)
{
	struct dirent **names;
	const int count = fixture_names(fixture, directory, &names);
	struct stat one = { 0 };
	char path[600];

	for (int i = 0; i < count; i++) {
		if (strstr(names[i]->d_name, mark)) {
			assert_int_equal(one.st_nlink, 0);
			snprintf(path, sizeof(path), "%s/%s/%s", fixture->directory, directory,
				names[i]->d_name);
			assert_int_equal(stat(path, &one), 0);
		}
		free(names[i]);
	}
	free(names);
	return (unsigned)one.st_nlink;
}

static void test_copy(void **state)
{
	struct fixture *fixture = *state;
	const uint32_t uids[] = { 3, 1, 3, 77 }, none[] = { 77 };
	struct store_listing *listing;
	struct engine_status status;

	assert_int_equal(fixture_add_user(fixture, ALICE), STORE_OK);
	assert_int_equal(deliver(fixture, "", "one\n", "red green"), STORE_OK);
	assert_int_equal(deliver(fixture, "", "two\n", "blue"), STORE_OK);
	assert_int_equal(deliver(fixture, "", "three\n", "green"), STORE_OK);
	assert_int_equal(deliver(fixture, "Copies", "there\n", "yellow"), STORE_OK);
	struct engine_view *view = fixture_open(fixture, ALICE, "INBOX");
	assert_int_equal(
		copy(fixture, view, "None", false, uids, 4).failure, STORE_NO_SUCH_MAILBOX);
	const struct copied copied = copy(fixture, view, "Copies", false, uids, 4);
	assert_int_equal(copied.failure, STORE_OK);
	assert_int_equal(copied.pairs, 2);
	assert_int_equal(copied.from[0], 1);
	assert_int_equal(copied.to[0], 2);
	assert_int_equal(copied.from[1], 3);
	assert_int_equal(copied.to[1], 3);
	assert_int_equal(copy(fixture, view, "Copies", false, none, 1).pairs, 0);
	assert_int_equal(copy(fixture, view, "Copies", true, none, 1).failure, STORE_OK);
	/* To where it comes from, too. */
	const struct copied same = copy(fixture, view, "inbox", false, uids + 1, 1);
	assert_int_equal(same.pairs, 1);
	assert_int_equal(same.to[0], 4);
	listing = fixture_list(view, NULL);
	assert_int_equal(listing->count, 4);
	assert_int_equal(listing->entry[3].keywords, listing->entry[0].keywords);
	free(listing);
	engine_view_close(&view);
	expect_usage(fixture, 7, 4 + 4 + 6 + 6 + 4 + 6 + 4);
	view = fixture_open(fixture, ALICE, "Copies");
	listing = fixture_list(view, &status);
	assert_int_equal(status.uidvalidity, copied.uidvalidity);
	assert_true(text_equal(status.keywords, TEXT("yellow red green")));
	assert_int_equal(listing->entry[1].keywords, 2 | 4);
	assert_int_equal(listing->entry[2].keywords, 4);
	assert_int_equal(listing->entry[1].received, 1700000000);
	free(listing);
	engine_view_close(&view);
	expect_mailboxes_thrice(fixture, "INBOX:4 Copies:3 ");
	expect_message(fixture, "Copies", 2, "one\n");
	expect_message(fixture, "Copies", 3, "three\n");
	expect_message(fixture, "INBOX", 4, "one\n");
	/* One body for all. */
	assert_int_equal(fixture_count(fixture, HOME "/.Copies/cur"), 3);
	assert_int_equal(links_of(fixture, HOME "/.Copies/cur", ",U=1:"), 1);
	assert_int_equal(links_of(fixture, HOME "/.Copies/cur", ",U=2:"), 3);
	assert_int_equal(links_of(fixture, HOME "/.Copies/cur", ",U=3:"), 2);
}

static void test_move(void **state)
{
	struct fixture *fixture = *state;
	const uint32_t uids[] = { 2, 1 };
	struct engine_view *view, *reader;
	struct store_listing *listing;
	struct buf vanished = { 0 };
	struct engine_changes changes;

	assert_int_equal(fixture_add_user(fixture, ALICE), STORE_OK);
	assert_int_equal(deliver(fixture, "", "one\n", "work"), STORE_OK);
	assert_int_equal(deliver(fixture, "", "two\n", ""), STORE_OK);
	assert_int_equal(deliver(fixture, "", "three\n", ""), STORE_OK);
	assert_int_equal(create(fixture, "Moved"), STORE_OK);
	view = fixture_open(fixture, ALICE, "INBOX");
	assert_int_equal(
		fixture_select(fixture, ALICE, "INBOX", STORE_SELECT_READ_ONLY, &reader), STORE_OK);
	assert_int_equal(copy(fixture, reader, "Moved", true, uids, 2).failure, STORE_REFUSED);
	listing = fixture_list(view, NULL);
	const uint64_t before = listing->entry[2].modseq;
	free(listing);
	const struct copied moved = copy(fixture, view, "Moved", true, uids, 2);
	assert_int_equal(moved.failure, STORE_OK);
	assert_int_equal(moved.pairs, 2);
	assert_int_equal(moved.from[0], 1);
	assert_int_equal(moved.to[0], 1);
	listing = fixture_list(reader, NULL);
	assert_int_equal(listing->count, 1);
	free(listing);
	assert_int_equal(engine_view_changes(reader, before, &changes, &vanished), STORE_OK);
	assert_true(changes.complete);
	close(changes.fd);
	assert_int_equal(buf_length(&vanished), 8);
	buf_release(&vanished);
	assert_null(fixture_fetch(view, 1));
	/* Within the mailbox it is a message with another UID. */
	const uint32_t third[] = { 3 };
	const struct copied within = copy(fixture, view, "INBOX", true, third, 1);
	assert_int_equal(within.pairs, 1);
	assert_int_equal(within.to[0], 4);
	engine_view_close(&view);
	engine_view_close(&reader);
	expect_usage(fixture, 3, 14);
	expect_mailboxes_thrice(fixture, "INBOX:1 Moved:2 ");
	expect_message(fixture, "Moved", 1, "one\n");
	expect_message(fixture, "Moved", 2, "two\n");
	expect_message(fixture, "INBOX", 4, "three\n");
	assert_int_equal(fixture_count(fixture, HOME "/cur"), 0);
	expect_usage(fixture, 3, 14);
}

static void test_copy_and_quota(void **state)
{
	struct fixture *fixture = *state;
	const uint32_t uids[] = { 1, 2 };
	struct fixture_answer answer = { 0 };

	assert_int_equal(fixture_add_user(fixture, ALICE), STORE_OK);
	assert_int_equal(create(fixture, "a"), STORE_OK);
	assert_int_equal(deliver(fixture, "", "one\n", ""), STORE_OK);
	assert_int_equal(deliver(fixture, "", "two\n", ""), STORE_OK);
	engine_user_quota(fixture->engine, TEXT(ALICE), 0, 3, fixture_done, &answer);
	fixture_wait(fixture, &answer);
	struct engine_view *view = fixture_open(fixture, ALICE, "INBOX");
	assert_int_equal(copy(fixture, view, "a", false, uids, 2).failure, STORE_OVER_QUOTA);
	expect_mailboxes(fixture, "INBOX:2 a:0 ");
	assert_int_equal(fixture_count(fixture, HOME "/.a/tmp"), 0);
	assert_int_equal(copy(fixture, view, "a", false, uids, 1).failure, STORE_OK);
	assert_int_equal(copy(fixture, view, "a", true, uids, 2).failure, STORE_OK);
	engine_view_close(&view);
	expect_mailboxes_thrice(fixture, "INBOX:0 a:3 ");
}

/* Octets that a copy needs stay on the disk until the copy is durable, and then go. */
static void test_copied_and_expunged(void **state)
{
	struct fixture *fixture = *state;
	const uint32_t uids[] = { 1 };

	assert_int_equal(fixture_add_user(fixture, ALICE), STORE_OK);
	assert_int_equal(create(fixture, "a"), STORE_OK);
	assert_int_equal(deliver(fixture, "", "one\n", ""), STORE_OK);
	struct engine_view *view = fixture_open(fixture, ALICE, "INBOX");
	assert_int_equal(copy(fixture, view, "a", false, uids, 1).failure, STORE_OK);
	assert_int_equal(
		fixture_update(fixture, view, STORE_UPDATE_EXPUNGE, 0, "", uids, 1).changed, 1);
	assert_int_equal(fixture_count(fixture, HOME "/tmp"), 1);
	engine_view_close(&view);
	fixture->options.checkpoint_octets = 1;
	fixture_restart(fixture);
	view = fixture_open(fixture, ALICE, "INBOX");
	assert_int_equal(fixture_count(fixture, HOME "/tmp"), 0);
	engine_view_close(&view);
	view = fixture_open(fixture, ALICE, "a");
	assert_int_equal(copy(fixture, view, "INBOX", false, uids, 1).failure, STORE_OK);
	assert_int_equal(copy(fixture, view, "INBOX", true, uids, 1).failure, STORE_OK);
	engine_view_close(&view);
	for (unsigned i = 0; fixture_count(fixture, HOME "/.a/tmp") > 0; i++) {
		assert_true(i < 100000);
		event_base_loop(fixture->loop, EVLOOP_ONCE);
	}
	expect_mailboxes_thrice(fixture, "INBOX:2 a:0 ");
}

/* A file that another program took away is not copied; the rest is. */
static void test_copy_of_what_is_gone(void **state)
{
	struct fixture *fixture = *state;
	const uint32_t uids[] = { 1, 2 };
	char path[600];

	assert_int_equal(fixture_add_user(fixture, ALICE), STORE_OK);
	assert_int_equal(create(fixture, "a"), STORE_OK);
	assert_int_equal(deliver(fixture, "", "one\n", ""), STORE_OK);
	fixture_only_file(fixture, HOME "/new", path, sizeof(path));
	assert_int_equal(deliver(fixture, "", "two\n", ""), STORE_OK);
	struct engine_view *view = fixture_open(fixture, ALICE, "INBOX");
	assert_int_equal(unlink(path), 0);
	const struct copied copied = copy(fixture, view, "a", false, uids, 2);
	assert_int_equal(copied.failure, STORE_OK);
	assert_int_equal(copied.pairs, 1);
	assert_int_equal(copied.from[0], 2);
	engine_view_close(&view);
	expect_message(fixture, "a", copied.to[0], "two\n");
	expect_message(fixture, "INBOX", 1, NULL);
	expect_mailboxes_thrice(fixture, "INBOX:1 a:1 ");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(test_copy),
		TEST(test_move),
		TEST(test_copy_and_quota),
		TEST(test_copied_and_expunged),
		TEST(test_copy_of_what_is_gone),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

/* Changes of mailboxes that a crash cuts off, or that recovery is killed over. */
#include "base/sys.h"
#include "tests/unit/store/mailboxes_fixture.h"

static void work_of_all_kinds(struct fixture *fixture)
{
	const uint32_t uids[] = { 1, 2, 3 };

	assert_int_equal(fixture_add_user(fixture, ALICE), STORE_OK);
	assert_int_equal(deliver(fixture, "", "one\n", "work"), STORE_OK);
	assert_int_equal(deliver(fixture, "", "two\n", ""), STORE_OK);
	assert_int_equal(deliver(fixture, "", "three\n", ""), STORE_OK);
	assert_int_equal(create(fixture, "a"), STORE_OK);
	assert_int_equal(create(fixture, "b"), STORE_OK);
	assert_int_equal(subscribe(fixture, "a", true), STORE_OK);
	struct engine_view *view = fixture_open(fixture, ALICE, "INBOX");
	assert_int_equal(copy(fixture, view, "a", false, uids, 2).failure, STORE_OK);
	assert_int_equal(copy(fixture, view, "b", true, uids + 1, 2).failure, STORE_OK);
	assert_int_equal(
		fixture_update(fixture, view, STORE_UPDATE_EXPUNGE, 0, "", uids, 1).changed, 1);
	engine_view_close(&view);
	/* a takes the place of b, which takes that of a; a third one goes between. */
	assert_int_equal(rename_to(fixture, "a", "c"), STORE_OK);
	assert_int_equal(rename_to(fixture, "b", "a"), STORE_OK);
	assert_int_equal(deliver(fixture, "b", "other\n", ""), STORE_OK);
	assert_int_equal(delete (fixture, "b"), STORE_OK);
	assert_int_equal(rename_to(fixture, "c", "b"), STORE_OK);
	assert_int_equal(deliver(fixture, "c", "new\n", ""), STORE_OK);
	assert_int_equal(deliver(fixture, "b", "last\n", ""), STORE_OK);
	fixture_die();
}

static void expect_all_kinds(struct fixture *fixture)
{
	expect_mailboxes(fixture, "INBOX:0 a:2 b:3 c:1 ");
	expect_message(fixture, "a", 1, "two\n");
	expect_message(fixture, "a", 2, "three\n");
	expect_message(fixture, "b", 1, "one\n");
	expect_message(fixture, "b", 2, "two\n");
	expect_message(fixture, "b", 3, "last\n");
	expect_message(fixture, "c", 1, "new\n");
	expect_subscriptions(fixture, "a\n");
}

static int remove_message(const char *path, const struct stat *st, int flag, struct FTW *ftw)
{
	(void)ftw, (void)st;
	return flag == FTW_F ? remove(path) : 0;
}

/* By what is in the log and on the disk, and with an index made anew. */
static void expect_recovery(struct fixture *fixture)
{
	fixture_start(fixture);
	expect_all_kinds(fixture);
	forget_index(fixture);
	expect_all_kinds(fixture);
}

static void work_afresh(struct fixture *fixture)
{
	fixture_stop(fixture);
	fixture_remove_tree(fixture->directory);
	assert_int_equal(mkdir(fixture->directory, 0700), 0);
	fixture_in_child(fixture, work_of_all_kinds);
}

static void test_crash(void **state)
{
	struct fixture *fixture = *state;
	char mail[512];

	fixture_in_child(fixture, work_of_all_kinds);
	fixture_start(fixture);
	expect_all_kinds(fixture);
	fixture_restart(fixture);
	expect_all_kinds(fixture);
	forget_index(fixture);
	expect_all_kinds(fixture);
	/* Every file gone, directories as they were at the end: all in the log. */
	work_afresh(fixture);
	snprintf(mail, sizeof(mail), "%s/mail", fixture->directory);
	nftw(mail, remove_message, 32, FTW_PHYS);
	expect_recovery(fixture);
	/* And the directories as well. */
	work_afresh(fixture);
	fixture_remove_tree(mail);
	assert_int_equal(mkdir(mail, 0700), 0);
	expect_recovery(fixture);
}

/* Killed in the middle of recovery, at every rename of it. */
static int (*real_renameat)(int, const char *, int, const char *);
static int renames_left;

static int renameat_or_die(int from_dir, const char *from, int to_dir, const char *to)
{
	if (renames_left-- == 0)
		raise(SIGKILL);
	return real_renameat(from_dir, from, to_dir, to);
}

static void test_killed_while_recovering(void **state)
{
	struct fixture *fixture = *state;
	bool whole = false;
	int killed = 0;
	char mail[512];

	fixture_in_child(fixture, work_of_all_kinds);
	snprintf(mail, sizeof(mail), "%s/mail", fixture->directory);
	real_renameat = sys.renameat;
	for (; !whole; killed += !whole) {
		int status;
		assert_true(killed < 500);
		if (killed % 3 == 0)
			nftw(mail, remove_message, 32, FTW_PHYS);
		const pid_t child = fork();
		assert_true(child >= 0);
		if (child == 0) {
			sys.renameat = renameat_or_die;
			renames_left = killed;
			fixture_start(fixture);
			_exit(0);
		}
		assert_int_equal(waitpid(child, &status, 0), child);
		whole = WIFEXITED(status);
		/* A start that fails leaves by another code. */
		assert_int_equal(status, whole ? 0 : SIGKILL);
	}
	assert_true(killed > 0);
	expect_recovery(fixture);
}

static int renameat_but_one(int from_dir, const char *from, int to_dir, const char *to)
{
	if (strcmp(from, HOME "/.a") != 0)
		return real_renameat(from_dir, from, to_dir, to);
	errno = EIO;
	return -1;
}

/* Whose directory is still there under the name that the next one would have. */
static void test_deleted_late(void **state)
{
	struct fixture *fixture = *state;

	assert_int_equal(fixture_add_user(fixture, ALICE), STORE_OK);
	assert_int_equal(deliver(fixture, "a", "one\n", ""), STORE_OK);
	log_open("test", LOG_LEVEL_ERROR + 1);
	real_renameat = sys.renameat;
	sys.renameat = renameat_but_one;
	assert_int_equal(delete (fixture, "a"), STORE_OK);
	assert_int_equal(deliver(fixture, "a", "two\n", ""), STORE_BUSY);
	sys.renameat = real_renameat;
	log_open("test", LOG_LEVEL_ERROR);
	assert_int_equal(deliver(fixture, "", "to INBOX\n", ""), STORE_OK);
	assert_int_equal(deliver(fixture, "a", "three\n", ""), STORE_OK);
	expect_message(fixture, "a", 1, "three\n");
	expect_mailboxes_thrice(fixture, "INBOX:1 a:1 ");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(test_deleted_late),
		TEST(test_crash),
		TEST(test_killed_while_recovering),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

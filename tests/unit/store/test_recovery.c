/*
 * What a crash leaves. A child process opens the store, works, and is killed at a chosen point; whatever
 * it had answered by then must be there after the next start, even when every Maildir file is gone.
 */
#include "base/sys.h"
#include "tests/unit/store/engine_fixture.h"

#define ALICE "alice@example.test"
#define BOB "bob@example.test"

static const char *const both[] = { ALICE, BOB };

static int remove_message(const char *path, const struct stat *st, int flag, struct FTW *ftw)
{
	(void)ftw, (void)st;
	return flag == FTW_F && (strstr(path, "/new/") || strstr(path, "/cur/")) ? remove(path) : 0;
}

static void lose_files(const struct fixture *fixture)
{
	char mail[512];

	snprintf(mail, sizeof(mail), "%s/mail", fixture->directory);
	nftw(mail, remove_message, 32, FTW_PHYS);
}

static void expect(struct fixture *fixture, const char *user, const char *mailbox, uint32_t uid,
	const char *octets, uint32_t flags)
{
	struct engine_view *view = fixture_open(fixture, user, mailbox);
	struct store_listing *listing = fixture_list(view, NULL);
	uint64_t at = 0;

	while (at < listing->count && listing->entry[at].uid != uid)
		at++;
	assert_true(at < listing->count);
	assert_int_equal(listing->entry[at].flags, flags);
	char *got = fixture_fetch(view, uid);
	assert_non_null(got);
	assert_string_equal(got, octets);
	free(got);
	free(listing);
	engine_view_close(&view);
}

static void expect_count(
	struct fixture *fixture, const char *user, const char *mailbox, uint64_t count)
{
	struct engine_view *view = fixture_open(fixture, user, mailbox);
	struct store_listing *listing = fixture_list(view, NULL);

	assert_int_equal(listing->count, count);
	free(listing);
	engine_view_close(&view);
}

/* ---- everything that was answered ---- */

static void work_of_all_kinds(struct fixture *fixture)
{
	struct fixture_answer made = { 0 };
	char body[64];

	assert_int_equal(fixture_add_user(fixture, BOB), STORE_OK);
	for (int i = 1; i <= 5; i++) {
		snprintf(body, sizeof(body), "message %d\n", i);
		assert_int_equal(
			fixture_deliver_to(fixture, both, 2, text_of(body), TEXT("")), STORE_OK);
	}
	engine_create(fixture->engine, TEXT(BOB), TEXT("Archive"), fixture_done, &made);
	fixture_wait(fixture, &made);
	struct engine_view *view = fixture_open(fixture, BOB, "INBOX");
	const uint32_t flagged[] = { 2, 4 }, gone[] = { 1, 4 };
	fixture_update(fixture, view, STORE_UPDATE_FLAGS_ADD, STORE_FLAG_SEEN, "work", flagged, 2);
	fixture_update(fixture, view, STORE_UPDATE_EXPUNGE, 0, "", gone, 2);
	fixture_die();
}

static void expect_all_kinds(struct fixture *fixture)
{
	struct engine_status status;

	expect_count(fixture, ALICE, "INBOX", 5);
	expect_count(fixture, BOB, "INBOX", 3);
	expect_count(fixture, BOB, "Archive", 0);
	expect(fixture, ALICE, "INBOX", 1, "message 1\n", 0);
	expect(fixture, ALICE, "INBOX", 5, "message 5\n", 0);
	expect(fixture, BOB, "INBOX", 2, "message 2\n", STORE_FLAG_SEEN);
	expect(fixture, BOB, "INBOX", 3, "message 3\n", 0);
	struct engine_view *view = fixture_open(fixture, BOB, "INBOX");
	struct store_listing *listing = fixture_list(view, &status);
	assert_string_equal(status.keywords.ptr, "work");
	assert_int_equal(listing->entry[0].keywords, 1);
	assert_int_equal(status.uidnext, 6);
	free(listing);
	engine_view_close(&view);
}

static void test_killed_after_answers(void **state)
{
	struct fixture *fixture = *state;

	assert_int_equal(fixture_add_user(fixture, ALICE), STORE_OK);
	fixture_in_child(fixture, work_of_all_kinds);
	fixture_start(fixture);
	expect_all_kinds(fixture);
}

static void test_files_lost(void **state)
{
	struct fixture *fixture = *state;

	assert_int_equal(fixture_add_user(fixture, ALICE), STORE_OK);
	fixture_in_child(fixture, work_of_all_kinds);
	lose_files(fixture);
	fixture_start(fixture);
	expect_all_kinds(fixture);
	/* One body for both, as it was. */
	assert_int_equal(fixture_count(fixture, "mail/example.test/bob/new"), 2);
	assert_int_equal(fixture_count(fixture, "mail/example.test/bob/cur"), 1);
	fixture_restart(fixture);
	expect_all_kinds(fixture);
}

/* A power cut that takes the files, and an index that cannot be recovered: the log alone has it all. */
static void test_files_and_tables_lost(void **state)
{
	static const char *const tables[] = { "users", "mailboxes", "messages", "once",
		"expunged" };
	struct fixture *fixture = *state;
	struct engine_status status;

	assert_int_equal(fixture_add_user(fixture, ALICE), STORE_OK);
	fixture_in_child(fixture, work_of_all_kinds);
	lose_files(fixture);
	for (size_t i = 0; i < 5; i++) {
		char path[256];
		snprintf(path, sizeof(path), "%s/env/%s.db", fixture->directory, tables[i]);
		const int fd = open(path, O_WRONLY | O_TRUNC);
		assert_int_equal(write(fd, "not a table", 11), 11);
		close(fd);
	}
	log_open("test", LOG_LEVEL_ERROR + 1);
	fixture_start(fixture);
	log_open("test", LOG_LEVEL_ERROR);
	expect_count(fixture, BOB, "INBOX", 3);
	expect_count(fixture, BOB, "Archive", 0);
	expect_count(fixture, ALICE, "INBOX", 5);
	expect(fixture, ALICE, "INBOX", 5, "message 5\n", 0);
	expect(fixture, BOB, "INBOX", 2, "message 2\n", STORE_FLAG_SEEN);
	struct engine_view *view = fixture_open(fixture, BOB, "INBOX");
	free(fixture_list(view, &status));
	assert_string_equal(status.keywords.ptr, "work");
	engine_view_close(&view);
}

/* ---- killed while recovering, again and again ---- */

static int countdown;
static int (*real_renameat)(int, const char *, int, const char *);

static int dying_renameat(int from_dir, const char *from, int to_dir, const char *to)
{
	if (countdown-- == 0)
		fixture_die();
	return real_renameat(from_dir, from, to_dir, to);
}

static void arm_renameat(int renames)
{
	countdown = renames;
	real_renameat = sys.renameat;
	sys.renameat = dying_renameat;
}

static void test_killed_while_recovering(void **state)
{
	struct fixture *fixture = *state;
	int status, killed = 0;

	assert_int_equal(fixture_add_user(fixture, ALICE), STORE_OK);
	fixture_in_child(fixture, work_of_all_kinds);
	lose_files(fixture);
	for (int renames = 0; renames < 8; renames++) {
		const pid_t child = fork();
		assert_true(child >= 0);
		if (child == 0) {
			arm_renameat(renames);
			fixture_start(fixture);
			_exit(0);
		}
		assert_int_equal(waitpid(child, &status, 0), child);
		/* A start that fails leaves by another code. */
		assert_true(status == 0 || status == SIGKILL);
		killed += status == SIGKILL;
	}
	assert_in_range(killed, 1, 7);
	fixture_start(fixture);
	expect_all_kinds(fixture);
}

/* ---- between the flush and the rename ---- */

static void work_until_rename(struct fixture *fixture)
{
	arm_renameat(0);
	fixture_deliver(fixture, ALICE, "durable\n");
}

static void test_killed_before_rename(void **state)
{
	struct fixture *fixture = *state;

	assert_int_equal(fixture_add_user(fixture, ALICE), STORE_OK);
	assert_int_equal(fixture_deliver(fixture, ALICE, "first\n"), STORE_OK);
	fixture_in_child(fixture, work_until_rename);
	assert_int_equal(fixture_count(fixture, "mail/example.test/alice/tmp"), 1);
	fixture_start(fixture);
	expect_count(fixture, ALICE, "INBOX", 2);
	expect(fixture, ALICE, "INBOX", 2, "durable\n", 0);
	assert_int_equal(fixture_count(fixture, "mail/example.test/alice/tmp"), 0);
	assert_int_equal(fixture_count(fixture, "mail/example.test/alice/new"), 2);
}

static void work_until_second_rename(struct fixture *fixture)
{
	struct engine_view *view = fixture_open(fixture, ALICE, "INBOX");
	const uint32_t uids[] = { 1, 2, 3 };

	arm_renameat(1);
	fixture_update(fixture, view, STORE_UPDATE_FLAGS_ADD, STORE_FLAG_FLAGGED, "", uids, 3);
}

static void test_killed_amid_renames(void **state)
{
	struct fixture *fixture = *state;

	assert_int_equal(fixture_add_user(fixture, ALICE), STORE_OK);
	for (int i = 0; i < 3; i++)
		assert_int_equal(fixture_deliver(fixture, ALICE, "x\n"), STORE_OK);
	fixture_in_child(fixture, work_until_second_rename);
	assert_int_equal(fixture_count(fixture, "mail/example.test/alice/cur"), 1);
	fixture_start(fixture);
	assert_int_equal(fixture_count(fixture, "mail/example.test/alice/cur"), 3);
	for (uint32_t uid = 1; uid <= 3; uid++)
		expect(fixture, ALICE, "INBOX", uid, "x\n", STORE_FLAG_FLAGGED);
}

/* ---- what was never answered ---- */

static void work_without_flush(struct fixture *fixture)
{
	const struct engine_recipient recipient = {
		.user = TEXT(ALICE), .mailbox = TEXT("Lists"), .keywords = TEXT("")
	};
	struct fixture_answer answer = { 0 };

	engine_deliver(fixture->engine,
		&(struct engine_delivery){ .id = TEXT(""),
			.once = TEXT("key"),
			.body = TEXT("lost\n"),
			.recipients = &recipient,
			.count = 1 },
		fixture_done, &answer);
	fixture_die(); /* committed; the log is in memory only */
}

static void test_killed_before_flush(void **state)
{
	struct fixture *fixture = *state;
	struct engine_view *view;

	assert_int_equal(fixture_add_user(fixture, ALICE), STORE_OK);
	fixture_in_child(fixture, work_without_flush);
	fixture_start(fixture);
	expect_count(fixture, ALICE, "INBOX", 0);
	assert_int_equal(fixture_select(fixture, ALICE, "Lists", STORE_SELECT_SHARED, &view),
		STORE_NO_SUCH_MAILBOX);
	assert_int_equal(
		fixture_deliver_to(fixture, both, 1, TEXT("kept\n"), TEXT("key")), STORE_OK);
	expect(fixture, ALICE, "INBOX", 1, "kept\n", 0);
}

static void work_leaving_tmp(struct fixture *fixture)
{
	const struct engine_recipient recipient = {
		.user = TEXT(ALICE), .mailbox = TEXT(""), .keywords = TEXT("")
	};
	struct fixture_answer answer = { 0 };

	engine_deliver(fixture->engine,
		&(struct engine_delivery){ .id = TEXT(""),
			.once = TEXT(""),
			.body = TEXT("lost\n"),
			.recipients = &recipient,
			.count = 1 },
		fixture_done, &answer);
	fixture_die();
}

static void test_leftovers(void **state)
{
	struct fixture *fixture = *state;

	assert_int_equal(fixture_add_user(fixture, ALICE), STORE_OK);
	fixture_in_child(fixture, work_leaving_tmp);
	fixture_write(fixture, "mail/example.test/alice/tmp/1.somebody-else", "half a mess");
	assert_int_equal(fixture_count(fixture, "mail/example.test/alice/tmp"), 2);
	fixture_start(fixture);
	expect_count(fixture, ALICE, "INBOX", 0);
	assert_int_equal(fixture_count(fixture, "mail/example.test/alice/tmp"), 1);
}

/* ---- large bodies ---- */

static void deliver_large(struct fixture *fixture)
{
	const struct engine_recipient recipients[] = {
		{ .user = TEXT(ALICE), .mailbox = TEXT(""), .keywords = TEXT("") },
		{ .user = TEXT(BOB), .mailbox = TEXT(""), .keywords = TEXT("") },
	};
	struct engine_delivery delivery = {
		.id = TEXT(""), .once = TEXT(""), .recipients = recipients, .count = 2
	};
	struct fixture_answer answer = { 0 };
	static char octets[400 * 1000];
	int fd;

	memset(octets, 'a', sizeof(octets));
	assert_int_equal(engine_spool(fixture->engine, 0, &fd, &delivery.spool), STORE_OK);
	assert_int_equal(write(fd, octets, sizeof(octets)), sizeof(octets));
	close(fd);
	engine_deliver(fixture->engine, &delivery, fixture_done, &answer);
	fixture_wait(fixture, &answer);
	assert_int_equal(answer.result.failure, STORE_OK);
}

static void work_with_spool(struct fixture *fixture)
{
	deliver_large(fixture);
	fixture_die();
}

static void test_large_file_lost(void **state)
{
	struct fixture *fixture = *state;
	struct stat st;
	char path[512];

	assert_int_equal(fixture_add_user(fixture, ALICE), STORE_OK);
	assert_int_equal(fixture_add_user(fixture, BOB), STORE_OK);
	fixture_in_child(fixture, work_with_spool);
	lose_files(fixture);
	fixture_start(fixture);
	expect_count(fixture, BOB, "INBOX", 1);
	fixture_only_file(fixture, "mail/example.test/bob/new", path, sizeof(path));
	assert_int_equal(stat(path, &st), 0);
	assert_int_equal(st.st_size, 400 * 1000);
	assert_int_equal(st.st_nlink, 2); /* the spool file is gone */
	assert_int_equal(fixture_count(fixture, "spool"), 0);
}

static int refused_linkat(int olddir, const char *old, int newdir, const char *new, int flags)
{
	(void)olddir, (void)old, (void)newdir, (void)new, (void)flags;
	errno = EIO;
	return -1;
}

static int refused_syncfs(int fd)
{
	(void)fd;
	errno = ENOSPC;
	return -1;
}

/* The end has no checkpoint, and without one the large file is all that there is of the message. */
static void test_large_stopped_without_checkpoint(void **state)
{
	struct fixture *fixture = *state;
	const struct sys kernel = sys;

	assert_int_equal(fixture_add_user(fixture, ALICE), STORE_OK);
	assert_int_equal(fixture_add_user(fixture, BOB), STORE_OK);
	/* Its place in the Maildir is refused to the very end. */
	sys.linkat = refused_linkat;
	deliver_large(fixture);
	fixture_stop(fixture);
	sys = kernel;
	fixture_start(fixture);
	assert_int_equal(fixture_count(fixture, "mail/example.test/alice/new"), 1);
	expect_count(fixture, BOB, "INBOX", 1);
	/* In its place, which is not durable. */
	deliver_large(fixture);
	sys.syncfs = refused_syncfs;
	log_open("test", LOG_LEVEL_ERROR + 1);
	fixture_stop(fixture);
	log_open("test", LOG_LEVEL_ERROR);
	sys = kernel;
	lose_files(fixture);
	fixture_start(fixture);
	assert_int_equal(fixture_count(fixture, "mail/example.test/bob/new"), 1);
	assert_int_equal(fixture_count(fixture, "spool"), 0);
	fixture_stop(fixture);
	fixture_start(fixture);
	expect_count(fixture, ALICE, "INBOX", 1);
}

/* ---- users ---- */

static void work_on_users(struct fixture *fixture)
{
	struct fixture_answer removed = { 0 };

	assert_int_equal(fixture_deliver(fixture, ALICE, "old\n"), STORE_OK);
	engine_user_remove(fixture->engine, TEXT(ALICE), fixture_done, &removed);
	fixture_wait(fixture, &removed);
	assert_int_equal(removed.result.failure, STORE_OK);
	assert_int_equal(fixture_add_user(fixture, ALICE), STORE_OK);
	assert_int_equal(fixture_deliver(fixture, ALICE, "new\n"), STORE_OK);
	fixture_die();
}

static void test_user_made_anew(void **state)
{
	struct fixture *fixture = *state;

	assert_int_equal(fixture_add_user(fixture, ALICE), STORE_OK);
	fixture_in_child(fixture, work_on_users);
	fixture_start(fixture);
	expect_count(fixture, ALICE, "INBOX", 1);
	expect(fixture, ALICE, "INBOX", 1, "new\n", 0);
	assert_int_equal(fixture_count(fixture, "mail/example.test/alice/new"), 1);
	assert_int_equal(fixture_count(fixture, "removed/example.test/alice.1/new"), 1);
	assert_int_equal(fixture_count(fixture, "removed/example.test"), 1);
}

/* ---- checkpoints ---- */

static int (*real_syncfs)(int fd);

static int dying_syncfs(int fd)
{
	real_syncfs(fd);
	fixture_die();
	return -1;
}

static void work_until_checkpoint(struct fixture *fixture)
{
	char body[64];

	real_syncfs = sys.syncfs;
	sys.syncfs = dying_syncfs;
	for (int i = 1;; i++) {
		snprintf(body, sizeof(body), "message %d\n", i);
		assert_int_equal(fixture_deliver(fixture, ALICE, body), STORE_OK);
	}
}

static void test_killed_in_checkpoint(void **state)
{
	struct fixture *fixture = *state;

	assert_int_equal(fixture_add_user(fixture, ALICE), STORE_OK);
	fixture->options.checkpoint_octets = 10000;
	fixture_in_child(fixture, work_until_checkpoint);
	const int count = fixture_count(fixture, "mail/example.test/alice/new");
	assert_true(count > 3);
	lose_files(fixture);
	fixture_start(fixture);
	/* A file for each answer, and perhaps one more message that was durable and had none yet. */
	struct engine_view *view = fixture_open(fixture, ALICE, "INBOX");
	struct store_listing *listing = fixture_list(view, NULL);
	assert_in_range(listing->count, (uint64_t)count, (uint64_t)count + 1);
	free(listing);
	engine_view_close(&view);
	for (int i = 1; i <= count; i++) {
		char body[64];
		snprintf(body, sizeof(body), "message %d\n", i);
		expect(fixture, ALICE, "INBOX", (uint32_t)i, body, 0);
	}
}

static uint64_t count_checkpoints(const struct fixture *fixture)
{
	struct buf counters = { 0 };
	uint64_t checkpoints = 0;

	engine_count(fixture->engine, &counters);
	buf_add_char(&counters, '\0');
	sscanf(strstr(buf_text(&counters).ptr, "checkpoints="), "checkpoints=%lu", &checkpoints);
	buf_release(&counters);
	return checkpoints;
}

/* With checkpoints all the time nothing is redone that should not be, and log files go. */
static void test_many_checkpoints(void **state)
{
	struct fixture *fixture = *state;
	unsigned count = 0;

	fixture_stop(fixture);
	fixture->options.checkpoint_octets = 4096;
	fixture_start(fixture);
	assert_int_equal(fixture_add_user(fixture, ALICE), STORE_OK);
	/* One is taken while deliveries go on; how many fit into it is the disk's affair. */
	for (; count < 300 || (count_checkpoints(fixture) < 3 && count < 100000); count++)
		assert_int_equal(fixture_deliver(fixture, ALICE, "x\n"), STORE_OK);
	assert_true(count_checkpoints(fixture) >= 3);
	fixture_restart(fixture);
	expect_count(fixture, ALICE, "INBOX", count);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, fixture_setup, fixture_teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(test_killed_after_answers),
		TEST(test_files_lost),
		TEST(test_files_and_tables_lost),
		TEST(test_killed_while_recovering),
		TEST(test_killed_before_rename),
		TEST(test_killed_amid_renames),
		TEST(test_killed_before_flush),
		TEST(test_leftovers),
		TEST(test_large_file_lost),
		TEST(test_large_stopped_without_checkpoint),
		TEST(test_user_made_anew),
		TEST(test_killed_in_checkpoint),
		TEST(test_many_checkpoints),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

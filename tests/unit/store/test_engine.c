/* The engine: users, deliveries to several of them, full disks, one engine a directory. */
#include "base/sys.h"
#include "tests/unit/store/three_users.h"

static void test_users(void **state)
{
	struct fixture *fixture = *state;
	struct fixture_answer answer = { 0 };

	add_three(fixture);
	assert_int_equal(fixture_add_user(fixture, ALICE), STORE_ALREADY_EXISTS);
	assert_int_equal(fixture_add_user(fixture, "nobody"), STORE_INVALID);
	assert_null(engine_user_find(fixture->engine, TEXT("dave@example.test")));
	const struct engine_user *user = engine_user_find(fixture->engine, TEXT(BOB));
	assert_string_equal(user->hash, fixture_hash);
	assert_int_equal(user->number, 2);
	assert_int_equal(engine_lookup(fixture->engine, TEXT(BOB), 0), STORE_OK);
	assert_int_equal(engine_lookup(fixture->engine, TEXT("x@y"), 0), STORE_NO_SUCH_USER);
	assert_int_equal(engine_directory_version(fixture->engine), 3);

	engine_user_password(fixture->engine, TEXT(BOB), "$y$new", fixture_done, &answer);
	assert_string_equal(engine_user_find(fixture->engine, TEXT(BOB))->hash,
		fixture_hash); /* not durable yet */
	fixture_wait(fixture, &answer);
	assert_int_equal(answer.result.failure, STORE_OK);
	assert_string_equal(engine_user_find(fixture->engine, TEXT(BOB))->hash, "$y$new");

	const char *expected[] = { ALICE, BOB, CAROL };
	struct text after = TEXT("");
	for (size_t i = 0; i < 3; i++) {
		user = engine_users_next(fixture->engine, after);
		assert_string_equal(user->address.ptr, expected[i]);
		after = user->address;
	}
	assert_null(engine_users_next(fixture->engine, after));

	fixture_restart(fixture);
	assert_string_equal(engine_user_find(fixture->engine, TEXT(BOB))->hash, "$y$new");
}

static void test_user_removed(void **state)
{
	struct fixture *fixture = *state;
	struct fixture_answer answer = { 0 }, refused = { 0 };
	struct engine_view *view;

	add_three(fixture);
	assert_int_equal(fixture_deliver(fixture, BOB, "one\n"), STORE_OK);
	view = fixture_open(fixture, BOB, "INBOX");
	engine_user_remove(fixture->engine, TEXT(BOB), fixture_done, &refused);
	fixture_wait(fixture, &refused);
	assert_int_equal(refused.result.failure, STORE_LOCKED);
	engine_view_close(&view);
	engine_user_remove(fixture->engine, TEXT(BOB), fixture_done, &answer);
	fixture_wait(fixture, &answer);
	assert_int_equal(answer.result.failure, STORE_OK);
	assert_null(engine_user_find(fixture->engine, TEXT(BOB)));
	assert_int_equal(fixture_deliver(fixture, BOB, "two\n"), STORE_NO_SUCH_USER);
	assert_int_equal(fixture_count(fixture, "removed/example.test/bob.2/new"), 1);
	assert_int_equal(fixture_count(fixture, "mail/example.test"), 2);

	/* The same address again is somebody else. */
	assert_int_equal(fixture_add_user(fixture, BOB), STORE_OK);
	assert_int_equal(engine_user_find(fixture->engine, TEXT(BOB))->number, 4);
	view = fixture_open(fixture, BOB, "INBOX");
	struct store_listing *listing = fixture_list(view, NULL);
	assert_int_equal(listing->count, 0);
	free(listing);
	engine_view_close(&view);
}

/* One body, three names, one record; the same octets for all. */
static void test_three_recipients(void **state)
{
	static const char *const users[] = { ALICE, BOB, CAROL, ALICE };
	struct fixture *fixture = *state;
	struct stat first, other;
	char path[512];

	add_three(fixture);
	assert_int_equal(
		fixture_deliver_to(fixture, users, 4, TEXT("Subject: x\n\nbody\n"), TEXT("")),
		STORE_OK);
	fixture_only_file(fixture, INBOX("alice/new"), path, sizeof(path));
	assert_int_equal(stat(path, &first), 0);
	assert_int_equal(first.st_nlink, 3);
	assert_non_null(strstr(path, ",S=17,W=20,U=1"));
	fixture_only_file(fixture, INBOX("carol/new"), path, sizeof(path));
	assert_int_equal(stat(path, &other), 0);
	assert_int_equal(first.st_ino, other.st_ino);
	assert_int_equal(fixture_count(fixture, INBOX("alice/tmp")), 0);
	for (size_t i = 0; i < 3; i++) {
		struct engine_status status;
		struct engine_view *view = fixture_open(fixture, users[i], "inbox");
		struct store_listing *listing = fixture_list(view, &status);
		assert_int_equal(listing->count, 1);
		assert_int_equal(listing->entry[0].uid, 1);
		assert_int_equal(listing->entry[0].size, 17);
		assert_int_equal(listing->entry[0].wire, 20);
		assert_int_equal(listing->entry[0].flags, 0);
		assert_int_equal(listing->entry[0].modseq, status.modseq);
		assert_int_equal(status.uidnext, 2);
		assert_int_equal(status.messages, 1);
		assert_int_equal(status.octets, 20);
		char *octets = fixture_fetch(view, 1);
		assert_string_equal(octets, "Subject: x\n\nbody\n");
		assert_null(fixture_fetch(view, 2));
		free(octets);
		free(listing);
		engine_view_close(&view);
	}
}

/* All recipients or none. */
static void test_all_or_none(void **state)
{
	static const char *const users[] = { ALICE, BOB, "dave@example.test" };
	struct fixture *fixture = *state;
	struct fixture_answer answer = { 0 };
	uint32_t messages;
	uint64_t octets;

	add_three(fixture);
	struct engine_recipient recipients[3];
	for (size_t i = 0; i < 3; i++)
		recipients[i] = (struct engine_recipient){ .user = text_of(users[i]),
			.mailbox = i == 1 ? TEXT("New/One") : TEXT(""),
			.keywords = TEXT("work") };
	engine_deliver(fixture->engine,
		&(struct engine_delivery){ .id = TEXT(""),
			.once = TEXT("key"),
			.body = TEXT("x\n"),
			.recipients = recipients,
			.count = 3 },
		fixture_done, &answer);
	fixture_wait(fixture, &answer);
	assert_int_equal(answer.result.failure, STORE_NO_SUCH_USER);
	assert_string_equal(answer.user, "dave@example.test");
	assert_int_equal(engine_usage(fixture->engine, TEXT(ALICE), &messages, &octets), STORE_OK);
	assert_int_equal(messages, 0);
	assert_int_equal(octets, 0);
	assert_int_equal(fixture_count(fixture, INBOX("alice/new")), 0);
	assert_int_equal(fixture_count(fixture, INBOX("alice/cur")), 0);
	assert_int_equal(fixture_count(fixture, INBOX("alice/tmp")), 0);
	struct engine_view *view;
	assert_int_equal(fixture_select(fixture, BOB, "New/One", STORE_SELECT_SHARED, &view),
		STORE_NO_SUCH_MAILBOX);
	/* The UID of the failed one is free to be given, and the key is not used up. */
	assert_int_equal(fixture_deliver_to(fixture, users, 1, TEXT("y\n"), TEXT("key")), STORE_OK);
	view = fixture_open(fixture, ALICE, "INBOX");
	struct engine_status status;
	free(fixture_list(view, &status));
	assert_int_equal(status.uidnext, 2);
	assert_int_equal(status.keywords.len, 0);
	engine_view_close(&view);
}

static void test_once(void **state)
{
	static const char *const users[] = { ALICE, BOB };
	struct fixture *fixture = *state;

	add_three(fixture);
	assert_int_equal(fixture_deliver_to(fixture, users, 1, TEXT("x\n"), TEXT("k")), STORE_OK);
	assert_int_equal(fixture_deliver_to(fixture, users, 1, TEXT("x\n"), TEXT("k")), STORE_OK);
	assert_int_equal(fixture_deliver_to(fixture, users, 2, TEXT("x\n"), TEXT("k")), STORE_OK);
	assert_int_equal(fixture_count(fixture, INBOX("alice/new")), 1);
	assert_int_equal(fixture_count(fixture, INBOX("bob/new")), 1);
	fixture_restart(fixture);
	assert_int_equal(fixture_deliver_to(fixture, users, 2, TEXT("x\n"), TEXT("k")), STORE_OK);
	assert_int_equal(fixture_count(fixture, INBOX("bob/new")), 1);
}

static void test_quota(void **state)
{
	static const char *const users[] = { ALICE, ALICE };
	struct fixture *fixture = *state;

	fixture_stop(fixture);
	fixture->options.quota_octets = 10;
	fixture_start(fixture);
	add_three(fixture);
	assert_int_equal(fixture_deliver_to(fixture, users, 1, TEXT("123456"), TEXT("")), STORE_OK);
	assert_int_equal(
		fixture_deliver_to(fixture, users, 1, TEXT("12345"), TEXT("")), STORE_OVER_QUOTA);
	assert_int_equal(fixture_deliver_to(fixture, users, 1, TEXT("1234"), TEXT("")), STORE_OK);
	assert_int_equal(engine_lookup(fixture->engine, TEXT(ALICE), 0), STORE_OVER_QUOTA);
	assert_int_equal(engine_lookup(fixture->engine, TEXT(BOB), 10), STORE_OK);
	assert_int_equal(engine_lookup(fixture->engine, TEXT(BOB), 11), STORE_OVER_QUOTA);
	assert_int_equal(engine_lookup(fixture->engine, TEXT(BOB), UINT64_MAX), STORE_OVER_QUOTA);
	/* Promised room that a delivery takes away is announced; room that stays is not. */
	const uint64_t version = engine_directory_version(fixture->engine);
	assert_int_equal(engine_lookup(fixture->engine, TEXT(CAROL), 4), STORE_OK);
	assert_int_equal(fixture_deliver(fixture, CAROL, "123456"), STORE_OK);
	assert_int_equal(engine_directory_version(fixture->engine), version);
	assert_int_equal(fixture_deliver(fixture, CAROL, "1"), STORE_OK);
	assert_int_equal(engine_directory_version(fixture->engine), version + 1);
	assert_int_equal(engine_lookup(fixture->engine, TEXT(CAROL), 4), STORE_OVER_QUOTA);
	assert_int_equal(engine_lookup(fixture->engine, TEXT(CAROL), 3), STORE_OK);
	assert_int_equal(engine_lookup(fixture->engine, TEXT(BOB), 0), STORE_OK);
	fixture_restart(fixture);
	assert_int_equal(
		fixture_deliver_to(fixture, users, 1, TEXT("1"), TEXT("")), STORE_OVER_QUOTA);
}

struct named {
	char names[256];
};

static void on_mailbox(void *owner, const struct store_mailbox *mailbox)
{
	struct named *named = owner;
	const size_t length = strlen(named->names);

	snprintf(named->names + length, sizeof(named->names) - length, "%.*s %u,",
		TEXT_ARG(mailbox->name), mailbox->messages);
}

static void test_mailboxes(void **state)
{
	struct fixture *fixture = *state;
	struct fixture_answer made = { 0 }, again = { 0 }, bad = { 0 };
	struct named named = { "" };
	struct fixture_answer delivered = { 0 };

	add_three(fixture);
	engine_create(
		fixture->engine, TEXT(ALICE), TEXT("Entw\xc3\xbcrfe/v1.2"), fixture_done, &made);
	fixture_wait(fixture, &made);
	assert_int_equal(made.result.failure, STORE_OK);
	assert_int_not_equal(made.result.uidvalidity, 0);
	engine_create(fixture->engine, TEXT(ALICE), TEXT("inbox"), fixture_done, &again);
	fixture_wait(fixture, &again);
	assert_int_equal(again.result.failure, STORE_ALREADY_EXISTS);
	engine_create(fixture->engine, TEXT(ALICE), TEXT("a//b"), fixture_done, &bad);
	fixture_wait(fixture, &bad);
	assert_int_equal(bad.result.failure, STORE_INVALID);
	assert_int_equal(fixture_count(fixture, INBOX("alice/.Entw&APw-rfe.v1&AC4-2/new")), 0);
	const struct engine_recipient recipient = { .user = TEXT(ALICE),
		.mailbox = TEXT("Archive"),
		.flags = STORE_FLAG_SEEN,
		.keywords = TEXT("k") };
	engine_deliver(fixture->engine,
		&(struct engine_delivery){ .id = TEXT(""),
			.once = TEXT(""),
			.body = TEXT("x\n"),
			.recipients = &recipient,
			.count = 1 },
		fixture_done, &delivered);
	fixture_wait(fixture, &delivered);
	assert_int_equal(delivered.result.failure, STORE_OK);
	assert_int_equal(fixture_count(fixture, INBOX("alice/.Archive/cur")), 1);
	fixture_restart(fixture);
	engine_mailboxes(fixture->engine, TEXT(ALICE), on_mailbox, &named);
	assert_string_equal(named.names, "INBOX 0,Archive 1,Entw\xc3\xbcrfe/v1.2 0,");
}

static void test_spool(void **state)
{
	struct fixture *fixture = *state;
	const struct engine_recipient recipients[] = {
		{ .user = TEXT(ALICE), .mailbox = TEXT(""), .keywords = TEXT("") },
		{ .user = TEXT(BOB), .mailbox = TEXT(""), .keywords = TEXT("") },
	};
	struct engine_delivery delivery = {
		.id = TEXT(""), .once = TEXT(""), .recipients = recipients, .count = 2
	};
	static char line[100 * 1000];
	int fd;

	add_three(fixture);
	memset(line, 'x', sizeof(line));
	line[sizeof(line) - 1] = '\n';
	for (int lines = 1; lines <= 5; lines += 4) {
		struct fixture_answer busy = { 0 }, done = { 0 };
		assert_int_equal(engine_spool(fixture->engine, 0, &fd, &delivery.spool), STORE_OK);
		for (int i = 0; i < lines; i++)
			assert_int_equal(write(fd, line, sizeof(line)), sizeof(line));
		close(fd);
		engine_deliver(fixture->engine, &delivery, fixture_done, &done);
		/* A second use of the same spool while the first is under way. */
		engine_deliver(fixture->engine, &delivery, fixture_done, &busy);
		fixture_wait(fixture, &busy);
		assert_int_equal(busy.result.failure, STORE_INVALID);
		if (!done.done)
			fixture_wait(fixture, &done);
		assert_int_equal(done.result.failure, STORE_OK);
	}
	assert_int_equal(engine_spool(fixture->engine, 0, &fd, &delivery.spool), STORE_OK);
	struct fixture_answer open = { 0 };
	engine_deliver(
		fixture->engine, &delivery, fixture_done, &open); /* still open for writing */
	fixture_wait(fixture, &open);
	assert_int_equal(open.result.failure, STORE_BUSY);
	close(fd);
	assert_int_equal(fixture_count(fixture, "spool"), 1); /* until the next checkpoint */
	fixture_restart(fixture);
	assert_int_equal(fixture_count(fixture, "spool"), 0);
	struct engine_view *view = fixture_open(fixture, BOB, "INBOX");
	struct store_listing *listing = fixture_list(view, NULL);
	assert_int_equal(listing->count, 2);
	assert_int_equal(listing->entry[0].size, sizeof(line));
	assert_int_equal(listing->entry[1].size, 5 * sizeof(line));
	assert_int_equal(listing->entry[1].wire, 5 * sizeof(line) + 5);
	free(listing);
	char *octets = fixture_fetch(view, 2);
	assert_memory_equal(octets + 4 * sizeof(line), line, sizeof(line));
	free(octets);
	engine_view_close(&view);
}

static int quick_fsync(int fd)
{
	(void)fd;
	return 0;
}

/* However many come before a checkpoint is due, which is taken because of them then. */
static void test_many_spools(void **state)
{
	struct fixture *fixture = *state;
	const struct sys real = sys;
	const struct engine_recipient recipient = {
		.user = TEXT(ALICE), .mailbox = TEXT(""), .keywords = TEXT("")
	};
	struct engine_delivery delivery = {
		.id = TEXT(""), .once = TEXT(""), .recipients = &recipient, .count = 1
	};
	int fd;

	add_three(fixture);
	sys.fsync = quick_fsync;
	for (int i = 0; i < 300; i++) {
		struct fixture_answer done = { 0 };
		assert_int_equal(engine_spool(fixture->engine, 0, &fd, &delivery.spool), STORE_OK);
		assert_int_equal(ftruncate(fd, 300 * 1000), 0);
		close(fd);
		engine_deliver(fixture->engine, &delivery, fixture_done, &done);
		fixture_wait(fixture, &done);
		assert_int_equal(done.result.failure, STORE_OK);
	}
	sys = real;
	for (int i = 0; fixture_count(fixture, "spool") >= 256; i++) {
		assert_true(i < 1000);
		assert_int_equal(fixture_deliver(fixture, ALICE, "x\n"), STORE_OK);
	}
	/* Those that are not delivered are limited. */
	for (int i = 0; i < 256; i++) {
		assert_int_equal(engine_spool(fixture->engine, 0, &fd, &delivery.spool), STORE_OK);
		close(fd);
	}
	assert_int_equal(engine_spool(fixture->engine, 0, &fd, &delivery.spool), STORE_BUSY);
	engine_spool_drop(fixture->engine, 301);
	assert_int_equal(engine_spool(fixture->engine, 0, &fd, &delivery.spool), STORE_OK);
	close(fd);
}

static bool disk_is_full;
static struct sys kernel;

static ssize_t full_write(int fd, const void *octets, size_t size)
{
	if (disk_is_full)
		errno = ENOSPC;
	return disk_is_full ? -1 : kernel.write(fd, octets, size);
}

static int full_renameat(int from_dir, const char *from, int to_dir, const char *to)
{
	if (disk_is_full)
		errno = ENOSPC;
	return disk_is_full ? -1 : kernel.renameat(from_dir, from, to_dir, to);
}

/* No room for the body: refused, nothing left behind, and it works again when there is room. */
static void test_no_space(void **state)
{
	static const char *const users[] = { ALICE, BOB };
	struct fixture *fixture = *state;

	add_three(fixture);
	kernel = sys;
	sys.write = full_write;
	disk_is_full = true;
	const enum store_failure failure =
		fixture_deliver_to(fixture, users, 2, TEXT("x\n"), TEXT("key"));
	disk_is_full = false;
	assert_int_equal(failure, STORE_NO_SPACE);
	assert_int_equal(fixture_count(fixture, INBOX("alice/tmp")), 0);
	assert_int_equal(fixture_deliver_to(fixture, users, 2, TEXT("x\n"), TEXT("key")), STORE_OK);
	sys = kernel;
	struct engine_view *view = fixture_open(fixture, BOB, "INBOX");
	struct store_listing *listing = fixture_list(view, NULL);
	assert_int_equal(listing->count, 1);
	assert_int_equal(listing->entry[0].uid, 1);
	free(listing);
	engine_view_close(&view);
}

/* Durable, but the disk does not let the file into place: it is there all the same, and gets there. */
static void test_rename_refused(void **state)
{
	struct fixture *fixture = *state;
	const uint32_t first = 1;

	add_three(fixture);
	assert_int_equal(fixture_deliver(fixture, ALICE, "first\n"), STORE_OK);
	struct engine_view *view = fixture_open(fixture, ALICE, "INBOX");
	kernel = sys;
	sys.renameat = full_renameat;
	disk_is_full = true;
	assert_int_equal(fixture_deliver(fixture, ALICE, "second\n"), STORE_OK);
	assert_int_equal(fixture_update(fixture, view, STORE_UPDATE_FLAGS_ADD, STORE_FLAG_SEEN, "",
				 &first, 1)
				 .changed,
		1);
	assert_int_equal(fixture_count(fixture, INBOX("alice/new")), 1);
	assert_int_equal(fixture_count(fixture, INBOX("alice/tmp")), 1);
	/* One rename is possible again, of what came first: it must not come after the second. */
	disk_is_full = false;
	assert_int_equal(fixture_update(fixture, view, STORE_UPDATE_FLAGS_ADD, STORE_FLAG_FLAGGED,
				 "", &first, 1)
				 .changed,
		1);
	disk_is_full = true;
	char *octets = fixture_fetch(view, 2);
	assert_string_equal(octets, "second\n");
	free(octets);
	octets = fixture_fetch(view, 1);
	assert_string_equal(octets, "first\n");
	free(octets);
	/* A look at the directories is not misled by it. */
	struct engine_view *other = fixture_open(fixture, ALICE, "INBOX");
	struct store_listing *listing = fixture_list(other, NULL);
	assert_int_equal(listing->count, 2);
	assert_int_equal(listing->entry[0].flags, STORE_FLAG_SEEN | STORE_FLAG_FLAGGED);
	free(listing);
	engine_view_close(&other);
	disk_is_full = false;
	while (fixture_count(fixture, INBOX("alice/tmp")) ||
		fixture_count(fixture, INBOX("alice/new")) != 1)
		event_base_loop(fixture->loop, EVLOOP_ONCE);
	sys = kernel;
	assert_int_equal(fixture_count(fixture, INBOX("alice/cur")), 1);
	engine_view_close(&view);
	fixture_restart(fixture);
	view = fixture_open(fixture, ALICE, "INBOX");
	listing = fixture_list(view, NULL);
	assert_int_equal(listing->count, 2);
	assert_int_equal(listing->entry[0].flags, STORE_FLAG_SEEN | STORE_FLAG_FLAGGED);
	free(listing);
	engine_view_close(&view);
}

static void test_second_engine(void **state)
{
	struct fixture *fixture = *state;

	log_open("test", LOG_LEVEL_ERROR + 1);
	assert_null(engine_open(fixture->loop, fixture->directory, &fixture->options));
	log_open("test", LOG_LEVEL_ERROR);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(test_users),
		TEST(test_user_removed),
		TEST(test_three_recipients),
		TEST(test_all_or_none),
		TEST(test_once),
		TEST(test_quota),
		TEST(test_mailboxes),
		TEST(test_spool),
		TEST(test_many_spools),
		TEST(test_no_space),
		TEST(test_rename_refused),
		TEST(test_second_engine),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

/*
 * The index is disposable: without it, or with a damaged one, the store comes back the same.
 */
#include "tests/unit/store/engine_fixture.h"

#define ALICE "alice@example.test"
#define BOB "bob@example.test"

/* All that a client could see of a mailbox, as text. modseq is left out: it may only grow. */
static void describe(
	struct fixture *fixture, const char *user, const char *mailbox, struct buf *out)
{
	struct engine_status status;
	struct engine_view *view = fixture_open(fixture, user, mailbox);
	struct store_listing *listing = fixture_list(view, &status);

	buf_format(out, "%s %s validity %u messages %u octets %llu keywords %.*s\n", user, mailbox,
		status.uidvalidity, status.messages, (unsigned long long)status.octets,
		TEXT_ARG(status.keywords));
	for (uint64_t i = 0; i < listing->count; i++) {
		const struct store_listing_entry *entry = &listing->entry[i];
		char *octets = fixture_fetch(view, entry->uid);
		assert_non_null(octets);
		buf_format(out, "uid %u flags %u keywords %llu size %llu wire %llu at %lld: %s\n",
			entry->uid, entry->flags, (unsigned long long)entry->keywords,
			(unsigned long long)entry->size, (unsigned long long)entry->wire,
			(long long)entry->received, octets);
		free(octets);
	}
	free(listing);
	engine_view_close(&view);
}

static char *describe_all(struct fixture *fixture)
{
	struct buf out = { 0 };

	describe(fixture, ALICE, "INBOX", &out);
	describe(fixture, BOB, "INBOX", &out);
	describe(fixture, BOB, "Lists/\xc3\x9c", &out);
	buf_format(&out, "%s", engine_user_find(fixture->engine, TEXT(BOB))->hash);
	buf_add_char(&out, '\0');
	char *text = strdup(buf_text(&out).ptr);
	buf_release(&out);
	return text;
}

static void fill(struct fixture *fixture)
{
	const struct engine_recipient recipient = { .user = TEXT(BOB),
		.mailbox = TEXT("Lists/\xc3\x9c"),
		.flags = STORE_FLAG_ANSWERED,
		.keywords = TEXT("$Forwarded todo") };
	struct fixture_answer answer = { 0 };
	const uint32_t some[] = { 2, 3 }, gone[] = { 1, 5 };

	assert_int_equal(fixture_add_user(fixture, ALICE), STORE_OK);
	assert_int_equal(fixture_add_user(fixture, BOB), STORE_OK);
	for (int i = 0; i < 5; i++) {
		assert_int_equal(fixture_deliver(fixture, ALICE, "a\nb\n"), STORE_OK);
		assert_int_equal(fixture_deliver(fixture, BOB, "no final line end"), STORE_OK);
	}
	engine_deliver(fixture->engine,
		&(struct engine_delivery){ .id = TEXT(""),
			.once = TEXT(""),
			.received = 1000000000,
			.body = TEXT(""),
			.recipients = &recipient,
			.count = 1 },
		fixture_done, &answer);
	fixture_wait(fixture, &answer);
	struct engine_view *view = fixture_open(fixture, ALICE, "INBOX");
	fixture_update(fixture, view, STORE_UPDATE_FLAGS_ADD,
		STORE_FLAG_SEEN | STORE_FLAG_FLAGGED | STORE_FLAG_DRAFT, "later", some, 2);
	fixture_update(fixture, view, STORE_UPDATE_EXPUNGE, 0, "", gone, 2);
	engine_view_close(&view);
}

static uint32_t next_uid(struct fixture *fixture, uint64_t *modseq)
{
	struct engine_status status;
	struct engine_view *view = fixture_open(fixture, ALICE, "INBOX");

	free(fixture_list(view, &status));
	engine_view_close(&view);
	*modseq = status.modseq;
	return status.uidnext;
}

static void in_environment(const struct fixture *fixture, void (*harm)(const char *path))
{
	struct dirent **names;
	const int count = fixture_names(fixture, "env", &names);

	assert_true(count > 0);
	for (int i = 0; i < count; i++) {
		char path[1024];
		snprintf(path, sizeof(path), "%s/env/%s", fixture->directory, names[i]->d_name);
		harm(path);
		free(names[i]);
	}
	free(names);
}

static void check_harm(struct fixture *fixture, void (*harm)(const char *path))
{
	uint64_t modseq_before, modseq;

	fill(fixture);
	char *before = describe_all(fixture);
	const uint32_t uidnext = next_uid(fixture, &modseq_before);
	fixture_stop(fixture);
	in_environment(fixture, harm);
	log_open("test", LOG_LEVEL_ERROR + 1);
	fixture_start(fixture);
	log_open("test", LOG_LEVEL_ERROR);
	char *after = describe_all(fixture);
	assert_string_equal(after, before);
	free(after);
	/* Five UIDs were given, the last one is expunged: none of them may come again. */
	assert_true(next_uid(fixture, &modseq) >= uidnext);
	assert_true(modseq > modseq_before);
	assert_int_equal(fixture_deliver(fixture, ALICE, "a\n"), STORE_OK);
	/* And it stays that way. */
	fixture_restart(fixture);
	after = describe_all(fixture);
	assert_non_null(strstr(after, ": a\n"));
	free(after);
	free(before);
}

static void delete_file(const char *path)
{
	assert_int_equal(unlink(path), 0);
}

static void test_environment_deleted(void **state)
{
	struct fixture *fixture = *state;
	char path[256];

	fill(fixture);
	char *before = describe_all(fixture);
	fixture_stop(fixture);
	snprintf(path, sizeof(path), "%s/env", fixture->directory);
	fixture_remove_tree(path);
	fixture_start(fixture);
	char *after = describe_all(fixture);
	assert_string_equal(after, before);
	free(after);
	free(before);
}

static void test_files_deleted(void **state)
{
	check_harm(*state, delete_file);
}

static void empty_file(const char *path)
{
	assert_int_equal(truncate(path, 0), 0);
}

static void test_files_truncated(void **state)
{
	check_harm(*state, empty_file);
}

static void zero_file(const char *path)
{
	struct stat st;

	assert_int_equal(stat(path, &st), 0);
	assert_int_equal(truncate(path, 0), 0);
	assert_int_equal(truncate(path, st.st_size), 0);
}

static void test_files_zeroed(void **state)
{
	check_harm(*state, zero_file);
}

static void flip_pages(const char *path, off_t first)
{
	unsigned char octets[64];
	const int fd = open(path, O_RDWR);

	for (off_t at = first * 4096 + 100;; at += 4096) {
		if (pread(fd, octets, sizeof(octets), at) != (ssize_t)sizeof(octets))
			break;
		octets[17] ^= 4;
		assert_int_equal(pwrite(fd, octets, sizeof(octets), at), (ssize_t)sizeof(octets));
	}
	close(fd);
}

static void flip_in_tables(const char *path)
{
	if (strcmp(path + strlen(path) - 3, ".db") == 0)
		flip_pages(path, 0);
}

static void test_bits_flipped(void **state)
{
	check_harm(*state, flip_in_tables);
}

static unsigned broken;

static void on_broken(void *owner)
{
	(void)owner;
	broken++;
}

/* Found only while it runs: it stops, and the next start makes it good. */
static void flip_messages(const char *path)
{
	struct stat st;

	if (!strstr(path, "messages.db"))
		return;
	assert_int_equal(stat(path, &st), 0);
	flip_pages(path, st.st_size / 4096 - 1);
}

static void test_found_while_running(void **state)
{
	struct fixture *fixture = *state;
	struct engine_view *view;

	fixture_stop(fixture);
	fixture->options.broken = on_broken;
	fixture_start(fixture);
	fill(fixture);
	for (int i = 0; i < 200; i++)
		assert_int_equal(fixture_deliver(fixture, BOB, "one of many\n"), STORE_OK);
	char *before = describe_all(fixture);
	fixture_stop(fixture);
	in_environment(fixture, flip_messages);
	log_open("test", LOG_LEVEL_ERROR + 1);
	fixture_start(fixture);
	broken = 0;
	assert_int_equal(
		fixture_select(fixture, BOB, "INBOX", STORE_SELECT_SHARED, &view), STORE_DAMAGED);
	while (!broken)
		event_base_loop(fixture->loop, EVLOOP_ONCE);
	assert_int_equal(fixture_deliver(fixture, ALICE, "x"), STORE_BUSY);
	assert_int_equal(broken, 1);
	fixture_restart(fixture);
	log_open("test", LOG_LEVEL_ERROR);
	char *after = describe_all(fixture);
	assert_string_equal(after, before);
	free(after);
	free(before);
}

/* A rebuild that was cut off leaves nothing that could be taken for an index. */
static void test_rebuild_interrupted(void **state)
{
	struct fixture *fixture = *state;
	char path[256], other[256];

	fill(fixture);
	char *before = describe_all(fixture);
	fixture_stop(fixture);
	snprintf(path, sizeof(path), "%s/env", fixture->directory);
	snprintf(other, sizeof(other), "%s/env.new", fixture->directory);
	assert_int_equal(rename(path, other), 0);
	fixture_start(fixture);
	assert_int_equal(access(other, F_OK), -1);
	char *after = describe_all(fixture);
	assert_string_equal(after, before);
	free(after);
	free(before);
}

/* Without the users there is nobody to rebuild for, and mail would be refused for good. */
static void test_users_unreadable(void **state)
{
	struct fixture *fixture = *state;
	char path[256];

	fill(fixture);
	fixture_stop(fixture);
	snprintf(path, sizeof(path), "%s/env", fixture->directory);
	fixture_remove_tree(path);
	fixture_write(fixture, "users", "restante-users 1\nnext 3\nuser alice@example.te");
	log_open("test", LOG_LEVEL_ERROR + 1);
	fixture_expect_no_start(fixture);
	log_open("test", LOG_LEVEL_ERROR);
}

/* Files as other programs name them, and two that claim the same UID. */
static void test_foreign_names(void **state)
{
	struct fixture *fixture = *state;
	struct engine_status status;
	char path[256];

	assert_int_equal(fixture_add_user(fixture, ALICE), STORE_OK);
	assert_int_equal(fixture_deliver(fixture, ALICE, "first\n"), STORE_OK);
	fixture_stop(fixture);
	snprintf(path, sizeof(path), "%s/env", fixture->directory);
	fixture_remove_tree(path);
	fixture_write(fixture, "mail/example.test/alice/new/1000000001.M1.host", "foreign\n");
	fixture_write(fixture, "mail/example.test/alice/cur/1000000002.M1.host,S=6,W=7,U=1:2,RS",
		"twice\n");
	fixture_start(fixture);
	struct engine_view *view = fixture_open(fixture, ALICE, "INBOX");
	struct store_listing *listing = fixture_list(view, &status);
	assert_int_equal(listing->count, 3);
	assert_int_equal(listing->entry[0].uid, 1);
	assert_int_equal(listing->entry[1].uid, 16385);
	assert_int_equal(listing->entry[2].uid, 16386);
	char *octets = fixture_fetch(view, 16385);
	char *other = fixture_fetch(view, 1);
	assert_string_equal(octets, "foreign\n");
	assert_string_equal(other, "twice\n");
	free(octets);
	free(other);
	free(listing);
	engine_view_close(&view);
}

/* A file that cannot be read keeps nobody from the mail, and comes when it can be. */
static void test_unreadable_file(void **state)
{
	struct fixture *fixture = *state;
	char path[256];

	assert_int_equal(fixture_add_user(fixture, ALICE), STORE_OK);
	assert_int_equal(fixture_deliver(fixture, ALICE, "first\n"), STORE_OK);
	fixture_stop(fixture);
	snprintf(path, sizeof(path), "%s/env", fixture->directory);
	fixture_remove_tree(path);
	fixture_write(fixture, "mail/example.test/alice/new/1000000001.M1.host", "foreign\n");
	/* There may be enough descriptors the next time. */
	fixture_refuse_to_open("new/1000000001.M1.host", EMFILE);
	log_open("test", LOG_LEVEL_ERROR + 1);
	fixture_expect_no_start(fixture);
	log_open("test", LOG_LEVEL_ERROR);
	fixture_refuse_to_open("new/1000000001.M1.host", EACCES);
	fixture_start(fixture);
	fixture_let_open();
	struct engine_view *view = fixture_open(fixture, ALICE, "INBOX");
	struct store_listing *listing = fixture_list(view, NULL);
	assert_int_equal(listing->count, 2);
	assert_int_equal(listing->entry[0].uid, 1);
	char *octets = fixture_fetch(view, listing->entry[1].uid);
	assert_string_equal(octets, "foreign\n");
	free(octets);
	free(listing);
	engine_view_close(&view);
}

static int (*real_renameat)(int olddir, const char *old, int newdir, const char *new);

static int refusing_renameat(int olddir, const char *old, int newdir, const char *new)
{
	if (strcmp(new, "users") == 0) {
		errno = ENOSPC;
		return -1;
	}
	return real_renameat(olddir, old, newdir, new);
}

/* A deleted mailbox that the disk does not let go keeps nobody from the mail either. */
static void test_deleted_stays(void **state)
{
	struct fixture *fixture = *state;
	char path[256];

	assert_int_equal(fixture_add_user(fixture, ALICE), STORE_OK);
	assert_int_equal(fixture_deliver(fixture, ALICE, "first\n"), STORE_OK);
	fixture_stop(fixture);
	for (int i = 0; i < 2; i++) {
		snprintf(path, sizeof(path), "%s/mail/example.test/alice/restante-deleted.9%s",
			fixture->directory, i ? "/cur" : "");
		assert_int_equal(mkdir(path, 0700), 0);
	}
	fixture_write(fixture, "mail/example.test/alice/restante-deleted.9/cur/1.M1.host", "x\n");
	snprintf(path, sizeof(path), "%s/env", fixture->directory);
	fixture_remove_tree(path);
	fixture_refuse_to_open("restante-deleted.9", EIO);
	fixture_start(fixture);
	fixture_let_open();
	assert_int_equal(fixture_refusal.times, 1);
	struct engine_view *view = fixture_open(fixture, ALICE, "INBOX");
	char *octets = fixture_fetch(view, 1);
	assert_string_equal(octets, "first\n");
	free(octets);
	engine_view_close(&view);
	assert_int_equal(fixture_count(fixture, "mail/example.test/alice/restante-deleted.9"), 1);
}

/* A text file of the users that could not be written is, without another change of them. */
static void test_users_written_later(void **state)
{
	struct fixture *fixture = *state;
	char path[256], octets[512] = "";

	fixture->options.checkpoint_seconds = 1;
	fixture_restart(fixture);
	log_open("test", LOG_LEVEL_ERROR + 1);
	real_renameat = sys.renameat;
	sys.renameat = refusing_renameat;
	assert_int_equal(fixture_add_user(fixture, ALICE), STORE_NOT_DURABLE);
	sys.renameat = real_renameat;
	log_open("test", LOG_LEVEL_ERROR);
	snprintf(path, sizeof(path), "%s/users", fixture->directory);
	while (!strstr(octets, ALICE)) {
		assert_int_equal(event_base_loop(fixture->loop, EVLOOP_ONCE), 0);
		const int file = open(path, O_RDONLY);
		assert_true(read(file, octets, sizeof(octets) - 1) > 0);
		close(file);
	}
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, fixture_setup, fixture_teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(test_environment_deleted),
		TEST(test_files_deleted),
		TEST(test_files_truncated),
		TEST(test_files_zeroed),
		TEST(test_bits_flipped),
		TEST(test_found_while_running),
		TEST(test_rebuild_interrupted),
		TEST(test_users_unreadable),
		TEST(test_foreign_names),
		TEST(test_unreadable_file),
		TEST(test_deleted_stays),
		TEST(test_users_written_later),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

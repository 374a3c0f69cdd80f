/*
 * Other programs at work in a Maildir: every change of theirs is taken over, once.
 */
#include <pthread.h>
#include <semaphore.h>

#include "tests/unit/store/engine_fixture.h"

#define ALICE "alice@example.test"
#define DIRECTORY "mail/example.test/alice"

static int setup(void **state)
{
	fixture_setup(state);
	assert_int_equal(fixture_add_user(*state, ALICE), STORE_OK);
	return 0;
}

static struct store_listing *look(struct fixture *fixture, struct engine_status *status)
{
	struct engine_view *view = fixture_open(fixture, ALICE, "INBOX");
	struct store_listing *listing = fixture_list(view, status);

	engine_view_close(&view);
	return listing;
}

static uint64_t adopted(const struct fixture *fixture)
{
	struct buf counters = { 0 };
	unsigned long count = 0;

	engine_count(fixture->engine, &counters);
	buf_add_char(&counters, '\0');
	assert_int_equal(
		sscanf(strstr(buf_text(&counters).ptr, "adopted="), "adopted=%lu", &count), 1);
	buf_release(&counters);
	return count;
}

static void test_dropped_in(void **state)
{
	struct fixture *fixture = *state;
	struct engine_status status;
	char path[512];

	assert_int_equal(fixture_deliver(fixture, ALICE, "ours\n"), STORE_OK);
	free(look(fixture, NULL));
	fixture_tick();
	fixture_write(fixture, DIRECTORY "/new/1000000002.M1P1.other", "second\nline\n");
	fixture_write(fixture, DIRECTORY "/new/1000000001.M1P1.other,S=6", "first\n");
	fixture_write(fixture, DIRECTORY "/cur/1000000003.M1P1.other:2,FS", "third");
	fixture_write(fixture, DIRECTORY "/new/.hidden", "not a message");
	fixture_write(fixture, DIRECTORY "/tmp/1000000004.other", "not yet one");
	for (int again = 0; again < 2; again++) {
		struct store_listing *listing = look(fixture, &status);
		assert_int_equal(listing->count, 4);
		assert_int_equal(listing->entry[0].uid, 1);
		assert_int_equal(listing->entry[1].uid, 2);
		assert_int_equal(listing->entry[1].received, 1000000001);
		assert_int_equal(listing->entry[1].size, 6);
		assert_int_equal(listing->entry[1].wire, 7);
		assert_int_equal(listing->entry[2].size, 12);
		assert_int_equal(listing->entry[2].wire, 14);
		assert_int_equal(listing->entry[3].flags, STORE_FLAG_SEEN | STORE_FLAG_FLAGGED);
		assert_int_equal(listing->entry[3].wire, 7);
		assert_int_equal(status.uidnext, 5);
		assert_int_equal(status.octets, 6 + 7 + 14 + 7);
		free(listing);
		assert_int_equal(adopted(fixture), 3);
	}
	/* The name carries what a rebuild needs. */
	fixture_only_file(fixture, DIRECTORY "/cur", path, sizeof(path));
	assert_non_null(strstr(path, "/cur/1000000003.M1P1.other,S=5,W=7,U=4:2,FS"));
	fixture_restart(fixture);
	struct store_listing *listing = look(fixture, NULL);
	assert_int_equal(listing->count, 4);
	free(listing);
	assert_int_equal(adopted(fixture), 0);
}

static void test_deleted(void **state)
{
	struct fixture *fixture = *state;
	struct engine_changes changes;
	struct buf vanished = { 0 };
	struct engine_status status;
	char path[512];

	assert_int_equal(fixture_deliver(fixture, ALICE, "gone\n"), STORE_OK);
	struct store_listing *before = look(fixture, &status);
	const uint64_t modseq = status.modseq;
	fixture_only_file(fixture, DIRECTORY "/new", path, sizeof(path));
	assert_int_equal(fixture_deliver(fixture, ALICE, "stays\n"), STORE_OK);
	fixture_tick();
	assert_int_equal(unlink(path), 0);
	struct store_listing *after = look(fixture, &status);
	assert_int_equal(before->count, 1);
	assert_int_equal(after->count, 1);
	assert_int_equal(after->entry[0].uid, 2);
	assert_true(status.modseq > modseq);
	free(before);
	free(after);
	struct engine_view *view = fixture_open(fixture, ALICE, "INBOX");
	assert_int_equal(engine_view_changes(view, modseq, &changes, &vanished), STORE_OK);
	assert_int_equal(buf_length(&vanished), 4);
	assert_int_equal(buf_text(&vanished).ptr[0], 1);
	after = fixture_list_fd(changes.fd);
	assert_int_equal(after->count, 1);
	free(after);
	buf_release(&vanished);
	engine_view_close(&view);
	uint32_t messages;
	uint64_t octets;
	engine_usage(fixture->engine, TEXT(ALICE), &messages, &octets);
	assert_int_equal(messages, 1);
	assert_int_equal(octets, 6);
}

/* As mutt does: read, then flagged; and as mbsync: flags taken away. */
static void test_renamed(void **state)
{
	struct fixture *fixture = *state;
	char from[512], to[1024];

	assert_int_equal(fixture_deliver(fixture, ALICE, "x\n"), STORE_OK);
	free(look(fixture, NULL));
	fixture_only_file(fixture, DIRECTORY "/new", from, sizeof(from));
	snprintf(to, sizeof(to), "%s/" DIRECTORY "/cur/%s:2,RS", fixture->directory,
		strrchr(from, '/') + 1);
	fixture_tick();
	assert_int_equal(rename(from, to), 0);
	struct store_listing *listing = look(fixture, NULL);
	assert_int_equal(listing->count, 1);
	assert_int_equal(listing->entry[0].uid, 1);
	assert_int_equal(listing->entry[0].flags, STORE_FLAG_SEEN | STORE_FLAG_ANSWERED);
	const uint64_t modseq = listing->entry[0].modseq;
	free(listing);

	struct engine_view *view = fixture_open(fixture, ALICE, "INBOX");
	const uint32_t uid = 1;
	fixture_update(fixture, view, STORE_UPDATE_FLAGS_ADD, STORE_FLAG_FLAGGED, "work", &uid, 1);
	fixture_only_file(fixture, DIRECTORY "/cur", from, sizeof(from));
	assert_non_null(strstr(from, ":2,FRSa"));
	*strrchr(from, 'a') = '\0';
	snprintf(to, sizeof(to), "%sa", from);
	from[strlen(from) - 3] = '\0';
	snprintf(from + strlen(from), 4, "T");
	fixture_tick();
	assert_int_equal(rename(to, from), 0);
	/* The session that is open does not mind where the file is. */
	char *octets = fixture_fetch(view, 1);
	assert_string_equal(octets, "x\n");
	free(octets);
	engine_view_close(&view);
	listing = look(fixture, NULL);
	assert_int_equal(listing->entry[0].flags, STORE_FLAG_DELETED);
	assert_int_equal(listing->entry[0].keywords, 0);
	assert_true(listing->entry[0].modseq > modseq);
	free(listing);
}

/* A message of ours that somebody renames or deletes just before we do. */
static void test_changed_meanwhile(void **state)
{
	struct fixture *fixture = *state;
	const uint32_t uids[] = { 1, 2, 3 };
	char from[512], to[1024];

	assert_int_equal(fixture_deliver(fixture, ALICE, "1\n"), STORE_OK);
	struct engine_view *view = fixture_open(fixture, ALICE, "INBOX");
	fixture_only_file(fixture, DIRECTORY "/new", from, sizeof(from));
	snprintf(to, sizeof(to), "%s/" DIRECTORY "/cur/%s:2,S", fixture->directory,
		strrchr(from, '/') + 1);
	assert_int_equal(rename(from, to), 0);
	assert_int_equal(fixture_deliver(fixture, ALICE, "2\n"), STORE_OK);
	fixture_only_file(fixture, DIRECTORY "/new", from, sizeof(from));
	assert_int_equal(unlink(from), 0);
	assert_int_equal(fixture_deliver(fixture, ALICE, "3\n"), STORE_OK);
	assert_int_equal(
		fixture_update(fixture, view, STORE_UPDATE_FLAGS_ADD, STORE_FLAG_DRAFT, "", uids, 3)
			.changed,
		3);
	assert_int_equal(fixture_count(fixture, DIRECTORY "/cur"), 2);
	assert_int_equal(fixture_count(fixture, DIRECTORY "/new"), 0);
	assert_null(fixture_fetch(view, 2));
	engine_view_close(&view);
	struct store_listing *listing = look(fixture, NULL);
	assert_int_equal(listing->count, 2);
	assert_int_equal(listing->entry[0].flags, STORE_FLAG_DRAFT);
	assert_int_equal(listing->entry[1].uid, 3);
	free(listing);
	view = fixture_open(fixture, ALICE, "INBOX");
	assert_int_equal(
		fixture_update(fixture, view, STORE_UPDATE_EXPUNGE, 0, "", uids, 3).changed, 2);
	assert_int_equal(fixture_count(fixture, DIRECTORY "/cur"), 0);
	engine_view_close(&view);
}

/* Copied into another mailbox with the UID it had in this one. */
static void test_copied(void **state)
{
	struct fixture *fixture = *state;
	struct fixture_answer made = { 0 };
	char from[512], to[1024];

	for (int i = 0; i < 2; i++)
		assert_int_equal(fixture_deliver(fixture, ALICE, "x\n"), STORE_OK);
	engine_create(fixture->engine, TEXT(ALICE), TEXT("Copies"), fixture_done, &made);
	fixture_wait(fixture, &made);
	struct dirent **names;
	assert_int_equal(fixture_names(fixture, DIRECTORY "/new", &names), 2);
	snprintf(from, sizeof(from), "%s/" DIRECTORY "/new/%s", fixture->directory,
		names[1]->d_name);
	snprintf(to, sizeof(to), "%s/" DIRECTORY "/.Copies/cur/%s:2,", fixture->directory,
		names[1]->d_name);
	fixture_tick();
	assert_int_equal(link(from, to), 0);
	/* And within its own mailbox: the same base name twice. */
	snprintf(to, sizeof(to), "%s/" DIRECTORY "/cur/%s:2,S", fixture->directory,
		names[1]->d_name);
	assert_int_equal(link(from, to), 0);
	free(names[0]);
	free(names[1]);
	free(names);
	struct engine_view *view = fixture_open(fixture, ALICE, "Copies");
	struct store_listing *listing = fixture_list(view, NULL);
	assert_int_equal(listing->count, 1);
	assert_int_equal(listing->entry[0].uid, 1);
	assert_int_equal(listing->entry[0].size, 2);
	free(listing);
	engine_view_close(&view);
	listing = look(fixture, NULL);
	assert_int_equal(listing->count, 3);
	assert_int_equal(listing->entry[1].uid, 2);
	assert_int_equal(listing->entry[2].uid, 3);
	free(listing);
	listing = look(fixture, NULL);
	assert_int_equal(listing->count, 3);
	free(listing);
}

/* More than is adopted in one go. */
static void test_many(void **state)
{
	struct fixture *fixture = *state;

	for (int i = 0; i < 1300; i++) {
		char path[128];
		snprintf(path, sizeof(path), DIRECTORY "/new/%d.M1P1.other", 1000000000 + i);
		fixture_write(fixture, path, "x\n");
	}
	struct store_listing *listing = look(fixture, NULL);
	assert_int_equal(listing->count, 1300);
	for (uint32_t i = 0; i < 1300; i++) {
		assert_int_equal(listing->entry[i].uid, i + 1);
		assert_int_equal(listing->entry[i].received, 1000000000 + i);
	}
	free(listing);
	assert_int_equal(adopted(fixture), 1300);
}

/* The whole directory is gone: what was in it is, too, and mail can still come. */
static void test_directory_deleted(void **state)
{
	struct fixture *fixture = *state;
	char path[512];

	assert_int_equal(fixture_deliver(fixture, ALICE, "x\n"), STORE_OK);
	snprintf(path, sizeof(path), "%s/" DIRECTORY, fixture->directory);
	fixture_remove_tree(path);
	assert_int_equal(fixture_deliver(fixture, ALICE, "y\n"), STORE_OK);
	assert_int_equal(fixture_count(fixture, DIRECTORY "/new"), 1);
	struct store_listing *listing = look(fixture, NULL);
	assert_int_equal(listing->count, 1);
	assert_int_equal(listing->entry[0].uid, 2);
	free(listing);
	fixture_only_file(fixture, DIRECTORY "/new", path, sizeof(path));
	snprintf(path, sizeof(path), "%s/" DIRECTORY "/restante-mailbox", fixture->directory);
	assert_int_equal(access(path, F_OK), 0);
}

/* Nothing changed: the directories are not read, and no message file is opened. */
static unsigned opened;
static int (*real_openat)(int dir, const char *path, int flags, mode_t mode);

static int counting_openat(int dir, const char *path, int flags, mode_t mode)
{
	opened++;
	return real_openat(dir, path, flags, mode);
}

static void test_quiet(void **state)
{
	struct fixture *fixture = *state;

	for (int i = 0; i < 10; i++)
		assert_int_equal(fixture_deliver(fixture, ALICE, "x\n"), STORE_OK);
	free(look(fixture, NULL));
	/* Our own deliveries are no reason to look either. */
	assert_int_equal(fixture_deliver(fixture, ALICE, "x\n"), STORE_OK);
	opened = 0;
	real_openat = sys.openat;
	sys.openat = counting_openat;
	struct store_listing *listing = look(fixture, NULL);
	sys.openat = real_openat;
	assert_int_equal(listing->count, 11);
	assert_int_equal(opened, 0);
	free(listing);
}

/* One that its reader marks while it is being adopted keeps the mark. */
static void test_read_while_adopted(void **state)
{
	struct fixture *fixture = *state;
	struct fixture_answer selected = { 0 };
	char from[512], to[512];

	free(look(fixture, NULL));
	fixture_tick();
	fixture_write(fixture, DIRECTORY "/new/1000000001.M1P1.other", "first\n");
	snprintf(from, sizeof(from), "%s/" DIRECTORY "/new/1000000001.M1P1.other",
		fixture->directory);
	snprintf(to, sizeof(to), "%s/" DIRECTORY "/cur/1000000001.M1P1.other:2,FS",
		fixture->directory);
	engine_select(fixture->engine, TEXT(ALICE), TEXT("INBOX"), STORE_SELECT_SHARED,
		fixture_done, &selected);
	while (adopted(fixture) == 0)
		assert_int_equal(event_base_loop(fixture->loop, EVLOOP_ONCE), 0);
	/* Before what was found is durable. */
	fixture_tick();
	assert_int_equal(rename(from, to), 0);
	fixture_wait(fixture, &selected);
	engine_view_close(&selected.result.view);
	assert_int_equal(fixture_count(fixture, DIRECTORY "/new"), 0);
	struct store_listing *listing = look(fixture, NULL);
	assert_int_equal(listing->count, 1);
	assert_int_equal(listing->entry[0].flags, STORE_FLAG_SEEN | STORE_FLAG_FLAGGED);
	free(listing);
	fixture_only_file(fixture, DIRECTORY "/cur", to, sizeof(to));
	assert_non_null(strstr(to, "/cur/1000000001.M1P1.other,S=6,W=7,U=1:2,FS"));
}

/* ---- files that cannot be read ---- */

/* One that could not be read at the first look comes at a later one, though nothing has changed since. */
static void test_not_readable_at_first(void **state)
{
	static const struct timespec long_ago[2] = { { .tv_sec = 1000000 }, { .tv_sec = 1000000 } };
	struct fixture *fixture = *state;
	char path[512];

	free(look(fixture, NULL));
	fixture_write(fixture, DIRECTORY "/new/1000000001.M1P1.other", "first\n");
	for (int i = 0; i < 2; i++) {
		snprintf(path, sizeof(path), "%s/" DIRECTORY "/%s", fixture->directory,
			i ? "new" : "cur");
		assert_int_equal(utimensat(AT_FDCWD, path, long_ago, 0), 0);
	}
	fixture_refuse_to_open("new/1000000001.M1P1.other", EMFILE);
	struct store_listing *listing = look(fixture, NULL);
	fixture_let_open();
	assert_int_equal(listing->count, 0);
	free(listing);
	fixture_restart(fixture);
	listing = look(fixture, NULL);
	assert_int_equal(listing->count, 1);
	free(listing);
}

/* More than are adopted in one go cannot be read, and come first: the others are adopted all the same. */
static void test_many_not_readable(void **state)
{
	enum { NOT_READABLE = 600, READABLE = 700 };
	struct fixture *fixture = *state;
	char path[128];

	for (int i = 0; i < NOT_READABLE + READABLE; i++) {
		snprintf(path, sizeof(path), DIRECTORY "/new/%d.%d.other",
			i < NOT_READABLE ? 1000000001 : 1000000002, i);
		fixture_write(fixture, path, "x\n");
	}
	fixture_refuse_to_open("new/1000000001.", EACCES);
	for (int again = 0; again < 2; again++) {
		struct store_listing *listing = look(fixture, NULL);
		assert_int_equal(listing->count, READABLE);
		for (uint32_t i = 0; i < READABLE; i++) {
			assert_int_equal(listing->entry[i].uid, i + 1);
			assert_int_equal(listing->entry[i].received, 1000000002);
		}
		free(listing);
	}
	fixture_let_open();
	fixture_restart(fixture);
	struct store_listing *listing = look(fixture, NULL);
	assert_int_equal(listing->count, READABLE + NOT_READABLE);
	free(listing);
}

/* ---- a large mailbox ---- */

static struct sys kernel;
static pthread_t main_thread;
static sem_t gate;
static bool armed, read_by_main;

/* The thread does not get on before the gate is open. */
static int gated_openat(int dir, const char *path, int flags, mode_t mode)
{
	if (armed && strcmp(path, "new") == 0) {
		if (pthread_equal(pthread_self(), main_thread))
			read_by_main = true;
		else
			sem_wait(&gate);
	}
	return kernel.openat(dir, path, flags, mode);
}

/* While its directories are read others are served, however long that takes. */
static void test_others_are_served(void **state)
{
	struct fixture *fixture = *state;
	struct fixture_answer selected = { 0 };
	char path[160];

	assert_int_equal(fixture_add_user(fixture, "bob@example.test"), STORE_OK);
	for (int i = 0; i < 2500; i++) {
		snprintf(path, sizeof(path), "mail/example.test/alice/new/1700000000.%d.x", i);
		fixture_write(fixture, path, "x\n");
	}
	struct engine_view *view = fixture_open(fixture, "alice@example.test", "INBOX");
	engine_view_close(&view);
	fixture_tick();
	fixture_write(fixture, "mail/example.test/alice/new/1700000000.late.x", "late\n");
	kernel = sys;
	main_thread = pthread_self();
	sem_init(&gate, 0, 0);
	armed = true;
	sys.openat = gated_openat;
	engine_select(fixture->engine, TEXT("alice@example.test"), TEXT("INBOX"),
		STORE_SELECT_SHARED, fixture_done, &selected);
	for (int i = 0; i < 10; i++)
		assert_int_equal(fixture_deliver(fixture, "bob@example.test", "x\n"), STORE_OK);
	assert_false(selected.done);
	assert_false(read_by_main);
	armed = false;
	sem_post(&gate);
	fixture_wait(fixture, &selected);
	sys = kernel;
	sem_destroy(&gate);
	assert_int_equal(selected.result.failure, STORE_OK);
	view = selected.result.view;
	struct store_listing *listing = fixture_list(view, NULL);
	assert_int_equal(listing->count, 2501);
	free(listing);
	engine_view_close(&view);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, fixture_teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(test_dropped_in),
		TEST(test_deleted),
		TEST(test_renamed),
		TEST(test_changed_meanwhile),
		TEST(test_copied),
		TEST(test_many),
		TEST(test_directory_deleted),
		TEST(test_quiet),
		TEST(test_read_while_adopted),
		TEST(test_not_readable_at_first),
		TEST(test_many_not_readable),
		TEST(test_others_are_served),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

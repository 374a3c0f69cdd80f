/*
 * Mailboxes that are renamed and deleted, messages that are copied and moved, subscriptions: asked of the
 * engine, while others look, and over crashes.
 */
#include <signal.h>
#include <sys/wait.h>

#include "base/sys.h"
#include "tests/unit/store/engine_fixture.h"

#define ALICE "alice@example.test"
#define HOME "mail/example.test/alice"

static enum store_failure create(struct fixture *fixture, const char *name)
{
	struct fixture_answer answer = { 0 };

	engine_create(fixture->engine, TEXT(ALICE), text_of(name), fixture_done, &answer);
	fixture_wait(fixture, &answer);
	return answer.result.failure;
}

static enum store_failure rename_to(struct fixture *fixture, const char *name, const char *to)
{
	struct fixture_answer answer = { 0 };

	engine_rename(
		fixture->engine, TEXT(ALICE), text_of(name), text_of(to), fixture_done, &answer);
	fixture_wait(fixture, &answer);
	return answer.result.failure;
}

static enum store_failure delete (struct fixture *fixture, const char *name) {
	struct fixture_answer answer = { 0 };

	engine_delete(fixture->engine, TEXT(ALICE), text_of(name), fixture_done, &answer);
	fixture_wait(fixture, &answer);
	return answer.result.failure;
}

static enum store_failure subscribe(struct fixture *fixture, const char *name, bool on)
{
	struct fixture_answer answer = { 0 };

	engine_subscribe(fixture->engine, TEXT(ALICE), text_of(name), on, fixture_done, &answer);
	fixture_wait(fixture, &answer);
	return answer.result.failure;
}

struct copied {
	bool done;
	enum store_failure failure;
	uint32_t uidvalidity;
	uint32_t from[16], to[16];
	size_t pairs;
};

static void on_copied(void *owner, const struct engine_result *result)
{
	struct copied *copied = owner;

	assert_false(copied->done);
	copied->done = true;
	copied->failure = result->failure;
	copied->uidvalidity = result->uidvalidity;
	copied->pairs = result->pairs;
	assert_true(result->pairs <= 16);
	for (size_t i = 0; i < result->pairs; i++) {
		copied->from[i] = result->from[i];
		copied->to[i] = result->to[i];
	}
}

static struct copied copy(struct fixture *fixture, struct engine_view *view, const char *to,
	bool move, const uint32_t *uids, size_t count)
{
	struct copied copied = { 0 };

	engine_view_copy(view, text_of(to), move, uids, count, on_copied, &copied);
	assert_false(copied.done);
	while (!copied.done)
		assert_int_equal(event_base_loop(fixture->loop, EVLOOP_ONCE), 0);
	return copied;
}

static enum store_failure deliver(
	struct fixture *fixture, const char *mailbox, const char *body, const char *keywords)
{
	struct fixture_answer answer = { 0 };
	const struct engine_recipient recipient = {
		.user = TEXT(ALICE), .mailbox = text_of(mailbox), .keywords = text_of(keywords)
	};

	engine_deliver(fixture->engine,
		&(struct engine_delivery){ .id = TEXT("test"),
			.once = TEXT(""),
			.received = 1700000000,
			.body = text_of(body),
			.recipients = &recipient,
			.count = 1 },
		fixture_done, &answer);
	fixture_wait(fixture, &answer);
	return answer.result.failure;
}

static void add_name(void *owner, const struct store_mailbox *mailbox)
{
	char *names = owner;
	const size_t length = strlen(names);

	snprintf(names + length, 500 - length, "%.*s:%u ", TEXT_ARG(mailbox->name),
		mailbox->messages);
}

/* "INBOX:2 Lists:0 " */
static void expect_mailboxes(struct fixture *fixture, const char *expected)
{
	char names[500] = "";

	assert_int_equal(engine_mailboxes(fixture->engine, TEXT(ALICE), add_name, names), STORE_OK);
	assert_string_equal(names, expected);
}

static void expect_message(
	struct fixture *fixture, const char *mailbox, uint32_t uid, const char *octets)
{
	struct engine_view *view = fixture_open(fixture, ALICE, mailbox);
	char *found = fixture_fetch(view, uid);

	if (octets) {
		assert_non_null(found);
		assert_string_equal(found, octets);
	} else {
		assert_null(found);
	}
	free(found);
	engine_view_close(&view);
}

static void expect_usage(struct fixture *fixture, uint32_t messages, uint64_t octets)
{
	uint32_t found_messages;
	uint64_t found_octets;

	assert_int_equal(engine_usage(fixture->engine, TEXT(ALICE), &found_messages, &found_octets),
		STORE_OK);
	assert_int_equal(found_messages, messages);
	assert_int_equal(found_octets, octets);
}

static void forget_index(struct fixture *fixture)
{
	char path[128];

	fixture_stop(fixture);
	snprintf(path, sizeof(path), "%s/env", fixture->directory);
	fixture_remove_tree(path);
	fixture_start(fixture);
}

/* As it is, after another start, and with an index made anew. */
static void expect_mailboxes_thrice(struct fixture *fixture, const char *expected)
{
	expect_mailboxes(fixture, expected);
	fixture_restart(fixture);
	expect_mailboxes(fixture, expected);
	forget_index(fixture);
	expect_mailboxes(fixture, expected);
}

/* ---- rename ---- */

static void test_rename(void **state)
{
	struct fixture *fixture = *state;

	assert_int_equal(fixture_add_user(fixture, ALICE), STORE_OK);
	assert_int_equal(create(fixture, "Lists"), STORE_OK);
	assert_int_equal(deliver(fixture, "Lists/Linux", "of linux\n", "work"), STORE_OK);
	assert_int_equal(deliver(fixture, "Lists", "of lists\n", ""), STORE_OK);
	assert_int_equal(create(fixture, "Listserv"), STORE_OK);
	expect_mailboxes(fixture, "INBOX:0 Lists:1 Lists/Linux:1 Listserv:0 ");
	assert_int_equal(rename_to(fixture, "Lists", "Archiv/\303\204lter"), STORE_OK);
	expect_mailboxes(
		fixture, "INBOX:0 Archiv/\303\204lter:1 Archiv/\303\204lter/Linux:1 Listserv:0 ");
	assert_int_equal(fixture_count(fixture, HOME "/.Archiv.&AMQ-lter/new"), 1);
	assert_int_equal(deliver(fixture, "Archiv/\303\204lter", "more\n", ""), STORE_OK);
	expect_mailboxes_thrice(
		fixture, "INBOX:0 Archiv/\303\204lter:2 Archiv/\303\204lter/Linux:1 Listserv:0 ");
	expect_message(fixture, "Archiv/\303\204lter/Linux", 1, "of linux\n");
	expect_message(fixture, "Archiv/\303\204lter", 2, "more\n");
	/* A name above that has no mailbox has those below it. */
	assert_int_equal(rename_to(fixture, "Archiv", "Z"), STORE_OK);
	expect_mailboxes_thrice(
		fixture, "INBOX:0 Listserv:0 Z/\303\204lter:2 Z/\303\204lter/Linux:1 ");
}

static void test_rename_refused(void **state)
{
	struct fixture *fixture = *state;
	char deep[256];
	struct engine_view *view;

	memset(deep, 'x', sizeof(deep) - 1);
	deep[sizeof(deep) - 1] = '\0';
	assert_int_equal(fixture_add_user(fixture, ALICE), STORE_OK);
	assert_int_equal(create(fixture, "a"), STORE_OK);
	assert_int_equal(create(fixture, "a/b"), STORE_OK);
	assert_int_equal(create(fixture, "c"), STORE_OK);
	assert_int_equal(rename_to(fixture, "a", "c"), STORE_ALREADY_EXISTS);
	assert_int_equal(rename_to(fixture, "a", "a"), STORE_ALREADY_EXISTS);
	assert_int_equal(rename_to(fixture, "a", "inbox"), STORE_ALREADY_EXISTS);
	assert_int_equal(rename_to(fixture, "a", "a/b/c"), STORE_INVALID);
	assert_int_equal(rename_to(fixture, "a", "x//y"), STORE_INVALID);
	assert_int_equal(rename_to(fixture, "a", ""), STORE_INVALID);
	assert_int_equal(rename_to(fixture, "a", deep), STORE_INVALID);
	assert_int_equal(rename_to(fixture, "none", "d"), STORE_NO_SUCH_MAILBOX);
	assert_int_equal(rename_to(fixture, "", "d"), STORE_NO_SUCH_MAILBOX);
	assert_int_equal(rename_to(fixture, "INBOX", "c"), STORE_ALREADY_EXISTS);
	/* Too long for one below it: none is renamed. */
	deep[251] = '\0';
	assert_int_equal(rename_to(fixture, "a", deep), STORE_OK);
	assert_int_equal(rename_to(fixture, deep, "a"), STORE_OK);
	deep[253] = '\0';
	memset(deep, 'x', 253);
	assert_int_equal(rename_to(fixture, "a", deep), STORE_INVALID);
	assert_int_equal(
		fixture_select(fixture, ALICE, "a/b", STORE_SELECT_EXCLUSIVE, &view), STORE_OK);
	assert_int_equal(rename_to(fixture, "a", "d"), STORE_LOCKED);
	assert_int_equal(delete (fixture, "a/b"), STORE_LOCKED);
	engine_view_close(&view);
	expect_mailboxes_thrice(fixture, "INBOX:0 a:0 a/b:0 c:0 ");
}

/* A folder that another program has made is not touched; empty directories are no folder. */
static void test_rename_over_folders(void **state)
{
	struct fixture *fixture = *state;
	char path[256];

	assert_int_equal(fixture_add_user(fixture, ALICE), STORE_OK);
	assert_int_equal(deliver(fixture, "a", "of a\n", ""), STORE_OK);
	snprintf(path, sizeof(path), "%s/" HOME "/.foreign", fixture->directory);
	assert_int_equal(mkdir(path, 0700), 0);
	assert_int_equal(rename_to(fixture, "a", "foreign"), STORE_OK);
	assert_int_equal(rename_to(fixture, "foreign", "a"), STORE_OK);
	assert_int_equal(mkdir(path, 0700), 0);
	snprintf(path, sizeof(path), "%s/" HOME "/.foreign/cur", fixture->directory);
	assert_int_equal(mkdir(path, 0700), 0);
	fixture_write(fixture, HOME "/.foreign/cur/1.2.3:2,S", "of another\n");
	assert_int_equal(rename_to(fixture, "a", "foreign"), STORE_ALREADY_EXISTS);
	assert_int_equal(fixture_count(fixture, HOME "/.foreign/cur"), 1);
	expect_message(fixture, "a", 1, "of a\n");
}

static void test_rename_inbox(void **state)
{
	struct fixture *fixture = *state;
	struct engine_view *view;
	struct engine_status status;

	assert_int_equal(fixture_add_user(fixture, ALICE), STORE_OK);
	assert_int_equal(create(fixture, "INBOX/below"), STORE_OK);
	assert_int_equal(deliver(fixture, "", "one\n", "work"), STORE_OK);
	assert_int_equal(deliver(fixture, "", "two\n", ""), STORE_OK);
	assert_int_equal(
		fixture_select(fixture, ALICE, "INBOX", STORE_SELECT_EXCLUSIVE, &view), STORE_OK);
	assert_int_equal(rename_to(fixture, "INBOX", "Old"), STORE_LOCKED);
	engine_view_close(&view);
	view = fixture_open(fixture, ALICE, "INBOX");
	assert_int_equal(rename_to(fixture, "inbox", "Old"), STORE_OK);
	struct store_listing *listing = fixture_list(view, &status);
	assert_int_equal(listing->count, 0);
	assert_int_equal(status.uidnext, 3);
	free(listing);
	engine_view_close(&view);
	assert_int_equal(deliver(fixture, "", "three\n", ""), STORE_OK);
	expect_mailboxes_thrice(fixture, "INBOX:1 INBOX/below:0 Old:2 ");
	expect_message(fixture, "Old", 1, "one\n");
	expect_message(fixture, "Old", 2, "two\n");
	expect_message(fixture, "INBOX", 3, "three\n");
	expect_usage(fixture, 3, 14);
	view = fixture_open(fixture, ALICE, "Old");
	listing = fixture_list(view, &status);
	assert_true(text_equal(status.keywords, TEXT("work")));
	assert_int_equal(listing->entry[0].keywords, 1);
	assert_int_equal(listing->entry[1].keywords, 0);
	assert_int_equal(listing->entry[0].received, 1700000000);
	free(listing);
	engine_view_close(&view);
	/* An empty one as well. */
	assert_int_equal(rename_to(fixture, "INBOX", "Older"), STORE_OK);
	assert_int_equal(rename_to(fixture, "INBOX", "Oldest"), STORE_OK);
	expect_mailboxes_thrice(fixture, "INBOX:0 INBOX/below:0 Old:2 Older:1 Oldest:0 ");
}

static void test_renamed_while_selected(void **state)
{
	struct fixture *fixture = *state;
	const uint32_t uids[] = { 1 };

	assert_int_equal(fixture_add_user(fixture, ALICE), STORE_OK);
	assert_int_equal(deliver(fixture, "a", "one\n", ""), STORE_OK);
	struct engine_view *view = fixture_open(fixture, ALICE, "a");
	assert_int_equal(rename_to(fixture, "a", "b"), STORE_OK);
	char *octets = fixture_fetch(view, 1);
	assert_string_equal(octets, "one\n");
	free(octets);
	assert_int_equal(fixture_update(fixture, view, STORE_UPDATE_FLAGS_ADD, STORE_FLAG_SEEN,
				 "work", uids, 1)
				 .changed,
		1);
	assert_int_equal(deliver(fixture, "b", "two\n", ""), STORE_OK);
	struct store_listing *listing = fixture_list(view, NULL);
	assert_int_equal(listing->count, 2);
	free(listing);
	engine_view_close(&view);
	expect_mailboxes_thrice(fixture, "INBOX:0 b:2 ");
}

/* Requests that come together: none is lost, whatever the order. */
static void test_all_at_once(void **state)
{
	struct fixture *fixture = *state;
	struct fixture_answer answers[6] = { { 0 } };
	const struct engine_recipient recipient = {
		.user = TEXT(ALICE), .mailbox = TEXT("a"), .keywords = TEXT("")
	};
	const struct engine_delivery delivery = { .id = TEXT("test"),
		.once = TEXT(""),
		.body = TEXT("one\n"),
		.recipients = &recipient,
		.count = 1 };

	assert_int_equal(fixture_add_user(fixture, ALICE), STORE_OK);
	engine_create(fixture->engine, TEXT(ALICE), TEXT("a"), fixture_done, &answers[0]);
	engine_rename(
		fixture->engine, TEXT(ALICE), TEXT("a"), TEXT("b"), fixture_done, &answers[1]);
	engine_create(fixture->engine, TEXT(ALICE), TEXT("a"), fixture_done, &answers[2]);
	engine_delete(fixture->engine, TEXT(ALICE), TEXT("b"), fixture_done, &answers[3]);
	engine_rename(
		fixture->engine, TEXT(ALICE), TEXT("a"), TEXT("b"), fixture_done, &answers[4]);
	/* While the last rename is under way, or thereabouts. */
	while (!answers[3].done)
		event_base_loop(fixture->loop, EVLOOP_ONCE);
	event_base_loop(fixture->loop, EVLOOP_NONBLOCK);
	engine_deliver(fixture->engine, &delivery, fixture_done, &answers[5]);
	for (size_t i = 0; i < 6; i++) {
		if (!answers[i].done)
			fixture_wait(fixture, &answers[i]);
		assert_int_equal(answers[i].result.failure, STORE_OK);
	}
	char names[500] = "";
	assert_int_equal(engine_mailboxes(fixture->engine, TEXT(ALICE), add_name, names), STORE_OK);
	/* Where it was delivered to depends on the moment; that it is there once does not. */
	const char *found = strstr(names, ":1");
	assert_non_null(found);
	assert_null(strstr(found + 1, ":1"));
}

/* ---- delete ---- */

struct watching {
	unsigned notices;
	struct store_changed last;
};

static void on_notice(void *owner, const struct store_changed *notice)
{
	struct watching *watching = owner;

	watching->notices++;
	watching->last = *notice;
}

static void test_delete(void **state)
{
	struct fixture *fixture = *state;
	const uint32_t uids[] = { 1 };
	struct watching watching = { 0 };
	struct buf vanished = { 0 };
	struct engine_changes changes;
	uint64_t size;
	int fd;

	assert_int_equal(fixture_add_user(fixture, ALICE), STORE_OK);
	assert_int_equal(deliver(fixture, "a", "one\n", ""), STORE_OK);
	assert_int_equal(deliver(fixture, "a/b", "two\n", ""), STORE_OK);
	assert_int_equal(delete (fixture, "INBOX"), STORE_REFUSED);
	assert_int_equal(delete (fixture, "iNbOx"), STORE_REFUSED);
	assert_int_equal(delete (fixture, "none"), STORE_NO_SUCH_MAILBOX);
	struct engine_view *view = fixture_open(fixture, ALICE, "a");
	engine_view_watch(view, on_notice, &watching);
	expect_usage(fixture, 2, 8);
	assert_int_equal(delete (fixture, "a"), STORE_OK);
	expect_usage(fixture, 1, 4);
	expect_mailboxes(fixture, "INBOX:0 a/b:1 ");
	/* A name above others that is no mailbox. */
	assert_int_equal(delete (fixture, "a"), STORE_NO_SUCH_MAILBOX);
	while (watching.notices == 0)
		event_base_loop(fixture->loop, EVLOOP_ONCE);
	assert_int_equal(watching.last.uidnext, 0);
	assert_int_equal(engine_view_fetch(view, 1, &fd, &size), STORE_NO_SUCH_MAILBOX);
	assert_int_equal(engine_view_listing(view, &fd, NULL), STORE_NO_SUCH_MAILBOX);
	assert_int_equal(engine_view_changes(view, 0, &changes, &vanished), STORE_NO_SUCH_MAILBOX);
	assert_int_equal(
		fixture_update(fixture, view, STORE_UPDATE_EXPUNGE, 0, "", uids, 1).failure,
		STORE_NO_SUCH_MAILBOX);
	assert_int_equal(
		copy(fixture, view, "INBOX", false, uids, 1).failure, STORE_NO_SUCH_MAILBOX);
	/* One of that name is another one. */
	assert_int_equal(create(fixture, "a"), STORE_OK);
	assert_int_equal(engine_view_listing(view, &fd, NULL), STORE_NO_SUCH_MAILBOX);
	engine_view_close(&view);
	assert_int_equal(deliver(fixture, "a", "three\n", ""), STORE_OK);
	expect_message(fixture, "a", 1, "three\n");
	expect_mailboxes_thrice(fixture, "INBOX:0 a:1 a/b:1 ");
	expect_usage(fixture, 2, 10);
}

/* What a deleted mailbox had goes from the disk and from the index. */
static void test_deleted_goes(void **state)
{
	struct fixture *fixture = *state;

	fixture->options.checkpoint_octets = 1;
	fixture_restart(fixture);
	assert_int_equal(fixture_add_user(fixture, ALICE), STORE_OK);
	assert_int_equal(deliver(fixture, "a", "one\n", ""), STORE_OK);
	assert_int_equal(delete (fixture, "a"), STORE_OK);
	for (unsigned i = 0; fixture_count(fixture, HOME "/restante-deleted.2") >= 0; i++) {
		assert_true(i < 100000);
		event_base_loop(fixture->loop, EVLOOP_ONCE);
	}
	fixture_stop(fixture);
	/* And so it does after a restart, and when the index is lost meanwhile. */
	fixture->options.checkpoint_octets = 0;
	fixture_start(fixture);
	assert_int_equal(deliver(fixture, "b", "one\n", ""), STORE_OK);
	assert_int_equal(delete (fixture, "b"), STORE_OK);
	assert_int_equal(fixture_count(fixture, HOME "/restante-deleted.3/new"), 1);
	fixture_restart(fixture);
	expect_mailboxes(fixture, "INBOX:0 ");
	for (unsigned i = 0; fixture_count(fixture, HOME "/restante-deleted.3") >= 0; i++) {
		assert_true(i < 100000);
		event_base_loop(fixture->loop, EVLOOP_ONCE);
	}
	assert_int_equal(deliver(fixture, "c", "one\n", ""), STORE_OK);
	assert_int_equal(delete (fixture, "c"), STORE_OK);
	forget_index(fixture);
	assert_int_equal(fixture_count(fixture, HOME "/restante-deleted.4"), -1);
	expect_mailboxes(fixture, "INBOX:0 ");
}

static void test_removed_user(void **state)
{
	struct fixture *fixture = *state;
	struct fixture_answer answer = { 0 }, again = { 0 };

	assert_int_equal(fixture_add_user(fixture, ALICE), STORE_OK);
	assert_int_equal(deliver(fixture, "a", "one\n", ""), STORE_OK);
	struct engine_view *view = fixture_open(fixture, ALICE, "a");
	assert_int_equal(delete (fixture, "a"), STORE_OK);
	engine_user_remove(fixture->engine, TEXT(ALICE), fixture_done, &answer);
	fixture_wait(fixture, &answer);
	assert_int_equal(answer.result.failure, STORE_LOCKED);
	engine_view_close(&view);
	event_base_loop(fixture->loop, EVLOOP_NONBLOCK);
	while (!again.done || again.result.failure != STORE_OK) {
		again = (struct fixture_answer){ 0 };
		engine_user_remove(fixture->engine, TEXT(ALICE), fixture_done, &again);
		fixture_wait(fixture, &again);
	}
	assert_int_equal(fixture_add_user(fixture, ALICE), STORE_OK);
	expect_mailboxes_thrice(fixture, "INBOX:0 ");
}

/* ---- copy and move ---- */

static void test_copy(void **state)
{
	struct fixture *fixture = *state;
	const uint32_t uids[] = { 3, 1, 3, 77 }, none[] = { 77 };
	struct store_listing *listing;
	struct engine_status status;
	struct stat one, other;
	char path[600];

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
	struct dirent **names;
	assert_int_equal(fixture_names(fixture, HOME "/.Copies/cur", &names), 3);
	for (int i = 0; i < 3; i++) {
		snprintf(path, sizeof(path), "%s/" HOME "/.Copies/cur/%s", fixture->directory,
			names[i]->d_name);
		assert_int_equal(stat(path, &one), 0);
		if (strstr(names[i]->d_name, ",U=2:"))
			assert_int_equal(one.st_nlink, 3);
		else if (strstr(names[i]->d_name, ",U=3:"))
			other = one;
		free(names[i]);
	}
	free(names);
	assert_int_equal(other.st_nlink, 2);
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

/* ---- subscriptions ---- */

static void expect_subscriptions(struct fixture *fixture, const char *expected)
{
	struct buf names = { 0 };

	assert_int_equal(engine_subscriptions(fixture->engine, TEXT(ALICE), &names), STORE_OK);
	assert_true(text_equal(buf_text(&names), text_of(expected)));
	buf_release(&names);
}

static void test_subscriptions(void **state)
{
	struct fixture *fixture = *state;
	struct fixture_answer answers[3] = { { 0 } };
	struct buf names = { 0 };

	assert_int_equal(
		engine_subscriptions(fixture->engine, TEXT(ALICE), &names), STORE_NO_SUCH_USER);
	assert_int_equal(fixture_add_user(fixture, ALICE), STORE_OK);
	expect_subscriptions(fixture, "");
	assert_int_equal(subscribe(fixture, "b", true), STORE_OK);
	assert_int_equal(subscribe(fixture, "inbox", true), STORE_OK);
	assert_int_equal(subscribe(fixture, "b", true), STORE_OK);
	assert_int_equal(subscribe(fixture, "\303\204/x", true), STORE_OK);
	assert_int_equal(subscribe(fixture, "none", false), STORE_OK);
	assert_int_equal(subscribe(fixture, "x//y", true), STORE_INVALID);
	assert_int_equal(subscribe(fixture, "x\ny", true), STORE_INVALID);
	expect_subscriptions(fixture, "INBOX\nb\n\303\204/x\n");
	engine_subscribe(fixture->engine, TEXT(ALICE), TEXT("a"), true, fixture_done, &answers[0]);
	engine_subscribe(fixture->engine, TEXT(ALICE), TEXT("b"), false, fixture_done, &answers[1]);
	engine_subscribe(fixture->engine, TEXT(ALICE), TEXT("c"), true, fixture_done, &answers[2]);
	for (size_t i = 0; i < 3; i++) {
		if (!answers[i].done)
			fixture_wait(fixture, &answers[i]);
		assert_int_equal(answers[i].result.failure, STORE_OK);
	}
	expect_subscriptions(fixture, "INBOX\na\nc\n\303\204/x\n");
	/* A mailbox that goes stays on the list. */
	assert_int_equal(create(fixture, "c"), STORE_OK);
	assert_int_equal(delete (fixture, "c"), STORE_OK);
	forget_index(fixture);
	expect_subscriptions(fixture, "INBOX\na\nc\n\303\204/x\n");
	/* As another program may have left it. */
	fixture_write(fixture, HOME "/restante-subscriptions", "z\n\nq");
	assert_int_equal(subscribe(fixture, "r", true), STORE_OK);
	fixture_restart(fixture);
	expect_subscriptions(fixture, "r\nz\nq\n");
}

/* ---- crashes ---- */

static void in_child(struct fixture *fixture, void (*work)(struct fixture *fixture))
{
	int status;

	if (fixture->loop)
		fixture_stop(fixture);
	const pid_t child = fork();
	assert_true(child >= 0);
	if (child == 0) {
		fixture_start(fixture);
		work(fixture);
		raise(SIGKILL);
	}
	assert_int_equal(waitpid(child, &status, 0), child);
	assert_true(WIFSIGNALED(status));
	assert_int_equal(WTERMSIG(status), SIGKILL);
}

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

static void test_crash(void **state)
{
	struct fixture *fixture = *state;
	char mail[512];

	in_child(fixture, work_of_all_kinds);
	fixture_start(fixture);
	expect_all_kinds(fixture);
	fixture_restart(fixture);
	expect_all_kinds(fixture);
	forget_index(fixture);
	expect_all_kinds(fixture);
	/* Every file gone, directories as they were at the end: all in the log. */
	fixture_stop(fixture);
	fixture_remove_tree(fixture->directory);
	assert_int_equal(mkdir(fixture->directory, 0700), 0);
	in_child(fixture, work_of_all_kinds);
	snprintf(mail, sizeof(mail), "%s/mail", fixture->directory);
	nftw(mail, remove_message, 32, FTW_PHYS);
	fixture_start(fixture);
	expect_all_kinds(fixture);
	forget_index(fixture);
	expect_all_kinds(fixture);
	/* And the directories as well. */
	fixture_stop(fixture);
	fixture_remove_tree(fixture->directory);
	assert_int_equal(mkdir(fixture->directory, 0700), 0);
	in_child(fixture, work_of_all_kinds);
	fixture_remove_tree(mail);
	assert_int_equal(mkdir(mail, 0700), 0);
	fixture_start(fixture);
	expect_all_kinds(fixture);
	forget_index(fixture);
	expect_all_kinds(fixture);
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
	char mail[512];

	in_child(fixture, work_of_all_kinds);
	snprintf(mail, sizeof(mail), "%s/mail", fixture->directory);
	real_renameat = sys.renameat;
	for (int at = 0; !whole; at++) {
		int status;
		assert_true(at < 500);
		if (at % 3 == 0)
			nftw(mail, remove_message, 32, FTW_PHYS);
		const pid_t child = fork();
		assert_true(child >= 0);
		if (child == 0) {
			sys.renameat = renameat_or_die;
			renames_left = at;
			fixture_start(fixture);
			_exit(0);
		}
		assert_int_equal(waitpid(child, &status, 0), child);
		whole = WIFEXITED(status);
	}
	fixture_start(fixture);
	expect_all_kinds(fixture);
	forget_index(fixture);
	expect_all_kinds(fixture);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, fixture_setup, fixture_teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(test_rename),
		TEST(test_rename_refused),
		TEST(test_rename_over_folders),
		TEST(test_rename_inbox),
		TEST(test_renamed_while_selected),
		TEST(test_all_at_once),
		TEST(test_delete),
		TEST(test_deleted_goes),
		TEST(test_removed_user),
		TEST(test_copy),
		TEST(test_move),
		TEST(test_copy_and_quota),
		TEST(test_copied_and_expunged),
		TEST(test_copy_of_what_is_gone),
		TEST(test_subscriptions),
		TEST(test_crash),
		TEST(test_killed_while_recovering),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

/* Mailboxes that are renamed, deleted and subscribed, also while others look. */
#include "tests/unit/store/mailboxes_fixture.h"

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

/* ---- subscriptions ---- */

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
		TEST(test_subscriptions),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

/*
 * Alice's mailboxes: made, renamed, deleted, filled and looked at, each in one call.
 */
#ifndef TESTS_UNIT_STORE_MAILBOXES_FIXTURE_H
#define TESTS_UNIT_STORE_MAILBOXES_FIXTURE_H

#include "store/verify.h"
#include "tests/unit/store/engine_fixture.h"

#define ALICE "alice@example.test"
#define HOME "mail/example.test/alice"

static inline enum store_failure create(struct fixture *fixture, const char *name)
{
	struct fixture_answer answer = { 0 };

	engine_create(fixture->engine, TEXT(ALICE), text_of(name), fixture_done, &answer);
	fixture_wait(fixture, &answer);
	return answer.result.failure;
}

static inline enum store_failure rename_to(
	struct fixture *fixture, const char *name, const char *to)
{
	struct fixture_answer answer = { 0 };

	engine_rename(
		fixture->engine, TEXT(ALICE), text_of(name), text_of(to), fixture_done, &answer);
	fixture_wait(fixture, &answer);
	return answer.result.failure;
}

static inline enum store_failure delete (struct fixture *fixture, const char *name) {
	struct fixture_answer answer = { 0 };

	engine_delete(fixture->engine, TEXT(ALICE), text_of(name), fixture_done, &answer);
	fixture_wait(fixture, &answer);
	return answer.result.failure;
}

static inline enum store_failure subscribe(struct fixture *fixture, const char *name, bool on)
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

static inline void on_copied(void *owner, const struct engine_result *result)
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

static inline struct copied copy(struct fixture *fixture, struct engine_view *view, const char *to,
	bool move, const uint32_t *uids, size_t count)
{
	struct copied copied = { 0 };

	engine_view_copy(view, text_of(to), move, uids, count, on_copied, &copied);
	assert_false(copied.done);
	while (!copied.done)
		assert_int_equal(event_base_loop(fixture->loop, EVLOOP_ONCE), 0);
	return copied;
}

static inline enum store_failure deliver(
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

static inline void add_name(void *owner, const struct store_mailbox *mailbox)
{
	char *names = owner;
	const size_t length = strlen(names);

	snprintf(names + length, 500 - length, "%.*s:%u ", TEXT_ARG(mailbox->name),
		mailbox->messages);
}

/* "INBOX:2 Lists:0 " */
static inline void expect_mailboxes(struct fixture *fixture, const char *expected)
{
	char names[500] = "";

	assert_int_equal(engine_mailboxes(fixture->engine, TEXT(ALICE), add_name, names), STORE_OK);
	assert_string_equal(names, expected);
}

static inline void expect_message(
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

static inline void expect_usage(struct fixture *fixture, uint32_t messages, uint64_t octets)
{
	uint32_t found_messages;
	uint64_t found_octets;

	assert_int_equal(engine_usage(fixture->engine, TEXT(ALICE), &found_messages, &found_octets),
		STORE_OK);
	assert_int_equal(found_messages, messages);
	assert_int_equal(found_octets, octets);
}

static inline void forget_index(struct fixture *fixture)
{
	char path[128];

	fixture_stop(fixture);
	snprintf(path, sizeof(path), "%s/env", fixture->directory);
	fixture_remove_tree(path);
	fixture_start(fixture);
}

/* As it is, after another start, and with an index made anew. */
static inline void expect_mailboxes_thrice(struct fixture *fixture, const char *expected)
{
	expect_mailboxes(fixture, expected);
	fixture_restart(fixture);
	expect_mailboxes(fixture, expected);
	forget_index(fixture);
	expect_mailboxes(fixture, expected);
}

/* Verify finds nothing wrong with this mailbox; "": with the user as a whole. */
static inline void expect_sound(struct fixture *fixture, const char *mailbox)
{
	struct verify_result result = { 0 };
	const struct verify_piece piece = { .user = TEXT(ALICE), .mailbox = text_of(mailbox) };

	assert_int_equal(engine_verify(fixture->engine, &piece, &result), STORE_OK);
	assert_int_equal(buf_length(&result.findings), 0);
	buf_release(&result.findings);
	buf_release(&result.mailbox);
}

static inline void expect_subscriptions(struct fixture *fixture, const char *expected)
{
	struct buf names = { 0 };

	assert_int_equal(engine_subscriptions(fixture->engine, TEXT(ALICE), &names), STORE_OK);
	assert_true(text_equal(buf_text(&names), text_of(expected)));
	buf_release(&names);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, fixture_setup, fixture_teardown)

#endif

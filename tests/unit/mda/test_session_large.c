/* LMTP sessions: messages too large for memory, which go to a file of the store. */
#include "tests/unit/mda/session_case.h"

enum { LINES = 20000 };

/* The same text as the client sends it and as it is stored. */
static struct buf wire, stored;

static int make_large(void **state)
{
	buf_add_string(&wire, "Subject: large\r\n\r\n");
	buf_add_string(&stored, "Subject: large\n\n");
	for (int i = 0; i < LINES; i++) {
		buf_format(&wire, "line %d of a message that is larger than one request\r\n", i);
		buf_format(&stored, "line %d of a message that is larger than one request\n", i);
	}
	return set_up(state);
}

static int drop_large(void **state)
{
	buf_release(&wire);
	buf_release(&stored);
	return tear_down(state);
}

/* All of it but the end, to one recipient. */
static void send_large(struct harness *h)
{
	harness_envelope(h, "alice@example.test");
	harness_send(h, buf_text(&wire));
}

static void check_stored(const struct harness *h)
{
	assert_true(h->body_size > buf_length(&stored));
	assert_memory_equal(h->body + h->body_size - buf_length(&stored), buf_text(&stored).ptr,
		buf_length(&stored));
}

/* A text of any size, whole, to one recipient. */
static void deliver_text(struct harness *h, const struct buf *text)
{
	harness_envelope(h, "alice@example.test");
	harness_send(h, buf_text(text));
	harness_say(h, ".\r\n");
	harness_expect(h, "250 2.0.0 *");
}

static void large_messages_go_to_a_file(void **state)
{
	struct harness *h = *state;

	harness_greet(h, false);
	send_large(h);
	harness_say(h, ".\r\n");
	harness_expect(h, "250 2.0.0 *");
	assert_int_equal(h->spools, 1);
	assert_int_equal(h->deliveries, 1);
	assert_int_equal(h->drops, 0);
	check_stored(h);
	assert_int_equal(strncmp(h->body, "Return-Path: <sender@", 21), 0);
}

static void large_texts_without_header_stay_bodies(void **state)
{
	struct harness *h = *state;
	struct buf text = { 0 };

	for (int i = 0; i < LINES; i++)
		buf_format(&text, "line %d of a text without any header\r\n", i);
	harness_greet(h, false);
	deliver_text(h, &text);
	assert_int_equal(h->spools, 1);
	const char *body = strstr(h->body, "\n\n");
	assert_non_null(body);
	assert_int_equal(strncmp(body, "\n\nline 0 of a text", 18), 0);
	assert_int_equal(h->body_size - (size_t)(body + 2 - h->body), buf_length(&text) - LINES);
	buf_release(&text);
}

/* A message that went through a file is named like one that did not, octet by octet. */
static void large_duplicates_are_named_too(void **state)
{
	struct harness *h = *state;
	char *key = NULL;

	harness_set(h, "duplicates", "1h");
	harness_greet(h, false);
	for (int i = 0; i < 3; i++) {
		harness_envelope(h, "alice@example.test");
		harness_say(h, "Message-ID: <1@x>\r\n\r\n");
		for (int j = 0; j < 20000; j++)
			harness_say(h, "0123456789012345678901234567890123456789\r\n");
		harness_say(h, i < 2 ? "last\r\n.\r\n" : "Last\r\n.\r\n");
		harness_expect(h, "250 2.0.0 *");
		if (!key)
			key = mem_copy(h->wishes, strlen(h->wishes));
		assert_int_equal(strcmp(key, h->wishes) == 0, i < 2);
	}
	assert_int_equal(h->spools, 3);
	mem_free(key);
}

/* The border between a request and a file, octet by octet around it. */
static void no_octet_is_lost_at_the_border(void **state)
{
	struct harness *h = *state;
	struct buf text = { 0 };

	for (size_t size = STORE_INLINE_LIMIT - 400; size < STORE_INLINE_LIMIT + 400; size += 7) {
		buf_clear(&text);
		buf_add_string(&text, "Subject: x\r\n\r\n");
		while (buf_length(&text) + 902 < size)
			buf_format(&text, "%0900d\r\n", 7);
		buf_format(&text, "%0*d\r\n", (int)(size - buf_length(&text)), 8);
		harness_greet(h, false);
		deliver_text(h, &text);
		const char *own = strstr(h->body, "Subject: x\n\n");
		assert_non_null(own);
		size_t lines = 0;
		for (const char *at = own; (at = strchr(at, '\n')); at++)
			lines++;
		assert_int_equal(h->body_size - (size_t)(own - h->body) + lines, buf_length(&text));
	}
	assert_true(h->spools > 0 && h->spools < h->deliveries);
	buf_release(&text);
}

enum { CROWD = 140 };

/* When many slow clients hold much memory, messages that would fit a request go to files, too. */
static void memory_is_bounded_over_all_clients(void **state)
{
	struct harness *h = *state;
	struct buf text = { 0 };
	int crowd[CROWD];

	buf_add_string(&text, "Subject: x\r\n\r\n");
	while (buf_length(&text) < 250 * 1024)
		buf_format(&text, "%0990d\r\n", 1);
	for (int i = 0; i < CROWD; i++) {
		harness_greet(h, false);
		harness_envelope(h, "alice@example.test");
		harness_send(h, buf_text(&text));
		crowd[i] = h->client;
		h->client = -1;
	}
	assert_true(h->worker->body_octets > 31 << 20);
	assert_true(h->worker->body_octets < 35 << 20);
	assert_true(h->spools > 0);
	harness_greet(h, false);
	deliver_text(h, &text);
	for (int i = 0; i < CROWD; i++)
		close(crowd[i]);
	client_leaves(h);
	assert_int_equal(h->worker->session_count, 0);
	assert_int_equal(h->worker->body_octets, 0);
	buf_release(&text);
}

static void the_client_is_held_until_there_is_a_file(void **state)
{
	struct harness *h = *state;

	harness_greet(h, false);
	harness_envelope(h, "alice@example.test");
	h->manual = true;
	/* More than fits the mda's memory and the sockets between would stop the sender for good. */
	harness_send(h, text_head(buf_text(&wire), 300 * 1024));
	harness_settle(h);
	assert_int_equal(h->request_count, 1);
	h->manual = false;
	harness_answer(h, 0);
	harness_send(h, text_from(buf_text(&wire), 300 * 1024));
	harness_say(h, ".\r\n");
	harness_expect(h, "250 2.0.0 *");
	check_stored(h);
}

static void a_file_that_is_not_needed_is_dropped(void **state)
{
	struct harness *h = *state;

	/* A fault behind the first part. */
	harness_greet(h, false);
	send_large(h);
	harness_say(h, "bare\n\r\n.\r\n");
	harness_expect(h, "554 5.6.0 *");
	assert_int_equal(h->drops, 1);
	/* The client leaves. */
	send_large(h);
	client_leaves(h);
	assert_int_equal(h->drops, 2);
	/* It leaves while the file is asked for. */
	harness_greet(h, false);
	harness_envelope(h, "alice@example.test");
	h->manual = true;
	harness_send(h, text_head(buf_text(&wire), 280 * 1024));
	harness_settle(h);
	assert_int_equal(h->request_count, 1);
	worker_stop(h->worker);
	session_free(h->worker->sessions);
	harness_answer(h, 0);
	harness_settle(h);
	assert_int_equal(h->drops, 3);
	assert_int_equal(h->deliveries, 0);
}

static void no_file_means_no_message(void **state)
{
	struct harness *h = *state;

	h->spool_failure = STORE_NO_SPACE;
	harness_greet(h, false);
	send_large(h);
	harness_say(h, ".\r\n");
	harness_expect(h, "452 4.3.1 *");
	assert_int_equal(h->deliveries, 0);
}

static void too_large_is_refused_at_the_end(void **state)
{
	struct harness *h = *state;

	harness_set(h, "message-size", "300K");
	harness_new_client(h, false);
	harness_expect(h, "220 *");
	harness_say(h, "LHLO x\r\n");
	for (int i = 0; i < 7; i++)
		harness_expect(h, "250-*");
	harness_expect(h, "250 SIZE 307200");
	send_large(h);
	harness_say(h, ".\r\n");
	harness_expect(h, "552 5.3.4 *");
	harness_say(h, "NOOP\r\n");
	harness_expect(h, "250 *");
	assert_int_equal(h->deliveries, 0);
	assert_int_equal(h->drops, h->spools);
}

static void a_file_of_a_lost_store_is_no_message(void **state)
{
	struct harness *h = *state;

	harness_greet(h, false);
	send_large(h);
	assert_int_equal(h->spools, 1);
	harness_store_dies(h);
	harness_wait_for_store(h);
	harness_say(h, ".\r\n");
	harness_expect(h, "451 4.3.0 *");
	assert_int_equal(h->deliveries, 0);
	assert_int_equal(h->drops, 0);
}

#define LARGE_TEST(name) cmocka_unit_test_setup_teardown(name, make_large, drop_large)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(large_duplicates_are_named_too),
		LARGE_TEST(large_messages_go_to_a_file),
		TEST(large_texts_without_header_stay_bodies),
		TEST(no_octet_is_lost_at_the_border),
		TEST(memory_is_bounded_over_all_clients),
		LARGE_TEST(the_client_is_held_until_there_is_a_file),
		LARGE_TEST(a_file_that_is_not_needed_is_dropped),
		LARGE_TEST(no_file_means_no_message),
		LARGE_TEST(too_large_is_refused_at_the_end),
		LARGE_TEST(a_file_of_a_lost_store_is_no_message),
	};

	log_open("test", LOG_LEVEL_ERROR);
	return cmocka_run_group_tests(tests, NULL, NULL);
}

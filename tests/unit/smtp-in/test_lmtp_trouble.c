/* The LMTP client and a peer that talks nonsense, is too slow, or is not there. */
#include <netinet/in.h>

#include "tests/unit/smtp-in/lmtp_peer.h"

/* ---- nonsense ---- */

static void test_nonsense_at_the_start(void **state)
{
	static const char *const greetings[] = { "hello\r\n", "220 peer\n", "554 go away\r\n",
		"421 4.3.2 not now\r\n", "220-a\r\n221 b\r\n", "\r\n", "220 a\0b\r\n",
		"999 x\r\n" };
	struct fixture *fixture = *state;

	for (size_t i = 0; i < sizeof(greetings) / sizeof(greetings[0]); i++) {
		begin_message(fixture);
		peer_accept(fixture);
		peer_say(fixture, greetings[i]);
		if (!strchr(greetings[i], '\n'))
			peer_close(fixture);
		expect_heard(fixture, "f|");
		assert_idle(fixture, 0);
	}
}

static void test_smtp_server_is_refused(void **state)
{
	struct fixture *fixture = *state;

	begin_message(fixture);
	peer_greet(fixture, "500 5.5.2 LHLO is LMTP\r\n");
	expect_heard(fixture, "f|");
}

static void test_nonsense_amid(void **state)
{
	static const struct {
		const char *said;
		const char *heard;
	} cases[] = {
		{ "354 go\r\n", "f|" },
		{ "250 ok\r\n354 go\r\n", "f|" },
		{ "250 ok\r\n250 ok\r\n250 ok\r\n", "r250 0.0.0 ok|f|" },
		{ "250 ok\r\n250 ok\r\n334 challenge\r\n", "r250 0.0.0 ok|f|" },
		{ "250 ok\r\n250 ok\r\n354 go\r\n354 go\r\n", "r250 0.0.0 ok|d354 0.0.0 go|f|" },
		{ "250 ok\r\n421 bye\r\n", "f|" },
		{ "250 ok\r\n250 ok\r\n421 bye\r\n", "r250 0.0.0 ok|f|" },
		{ "250 ok\r\n250-more\r\n550 no\r\n", "f|" },
		{ "250 ok\r\nwhat\r\n", "f|" },
		{ "250 ok\n", "f|" },
	};
	struct fixture *fixture = *state;

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		begin_message(fixture);
		peer_greet(fixture, EVERYTHING);
		peer_hear(fixture, MESSAGE);
		peer_say(fixture, cases[i].said);
		expect_heard(fixture, cases[i].heard);
		assert_idle(fixture, 0);
	}
}

static void test_endless_reply(void **state)
{
	struct fixture *fixture = *state;
	char line[4001];

	memset(line, 'x', sizeof(line) - 1);
	memcpy(line, "250 ", 4);
	line[sizeof(line) - 1] = '\0';
	open_message(fixture);
	peer_say(fixture, line);
	peer_say(fixture, "\r\n");
	expect_heard(fixture, "f|");
	open_message(fixture);
	for (int i = 0; i < 200; i++)
		peer_say(fixture, "250-more\r\n");
	expect_heard(fixture, "f|");
}

/* ---- the server is away, or too slow ---- */

static void test_nobody_listens(void **state)
{
	struct fixture *fixture = *state;
	const char *reason = NULL;

	close(fixture->listener);
	assert_null(lmtp_begin(fixture->pool, &fixture->envelope, &handlers, fixture, &reason));
	assert_non_null(reason);
	assert_idle(fixture, 0);
	/* It is back: at once as good as ever. */
	unlink(fixture->options.server.address.local.sun_path);
	fixture->listener = socket(AF_UNIX, SOCK_STREAM, 0);
	assert_int_equal(bind(fixture->listener, &fixture->options.server.address.any,
				 fixture->options.server.size),
		0);
	assert_int_equal(listen(fixture->listener, 10), 0);
	keep_one(fixture);
}

static void test_connections_are_limited(void **state)
{
	struct fixture *fixture = *state;
	struct lmtp *others[2];
	const char *reason = NULL;

	for (int i = 0; i < 2; i++) {
		begin(fixture);
		others[i] = fixture->lmtp;
	}
	assert_null(lmtp_begin(fixture->pool, &fixture->envelope, &handlers, fixture, &reason));
	assert_non_null(reason);
	lmtp_end(&others[0]);
	begin(fixture);
	lmtp_end(&others[1]);
}

/* What one worker keeps for nothing, others cannot have. */
static void test_not_all_are_kept(void **state)
{
	enum { MANY = 103, KEPT = 100 };
	struct fixture *fixture = *state;
	struct lmtp *lmtps[MANY];
	int fds[MANY];

	fixture->options.connections = MANY;
	lmtp_pool_change(fixture->pool, &fixture->options);
	for (int i = 0; i < MANY; i++) {
		begin(fixture);
		lmtps[i] = fixture->lmtp;
		peer_greet(fixture, EVERYTHING);
		turn(fixture);
		fds[i] = fixture->peer;
		fixture->peer = -1;
	}
	fixture->lmtp = NULL;
	for (int i = 0; i < MANY; i++)
		lmtp_end(&lmtps[i]);
	assert_idle(fixture, KEPT);
	for (int i = 0; i < MANY; i++)
		close(fds[i]);
	assert_idle(fixture, 0);
}

static void test_full_queue_is_waited_for(void **state)
{
	struct fixture *fixture = *state;
	int others[64];
	int count = 0;

	/* Fill the queue of the listening socket, which nobody accepts from. */
	assert_int_equal(listen(fixture->listener, 1), 0);
	for (; count < 64; count++) {
		others[count] = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0);
		if (connect(others[count], &fixture->options.server.address.any,
			    fixture->options.server.size) != 0)
			break;
	}
	assert_true(count < 64);
	begin_message(fixture);
	for (int i = 0; i <= count; i++)
		close(others[i]);
	for (int i = 0; i < count; i++)
		peer_accept(fixture);
	peer_greet(fixture, EVERYTHING);
	finish_message(fixture);
}

static void test_slow_replies_time_out(void **state)
{
	struct fixture *fixture = *state;

	keep_one(fixture);
	fixture->options.seconds = 1;
	lmtp_pool_change(fixture->pool, &fixture->options);
	begin_message(fixture);
	peer_hear(fixture, MESSAGE);
	/* For one, which comes too late when the machine stands still here. */
	send(fixture->peer, "250 ok\r\n", 8, MSG_NOSIGNAL);
	expect_heard(fixture, "f|");
	peer_hear_end(fixture);
}

static void test_slow_verdict_times_out(void **state)
{
	struct fixture *fixture = *state;

	fixture->options.end_seconds = 1;
	lmtp_pool_change(fixture->pool, &fixture->options);
	open_data(fixture);
	give(fixture, TEXT(".\r\n"), true);
	expect_heard(fixture, "f|");
}

/* One recipient is accepted, within the second that there is. False: the machine stood still for so long. */
static bool begin_in_time(struct fixture *fixture)
{
	begin(fixture);
	add(fixture, 0, TEXT("a@b.test"));
	peer_greet(fixture, EVERYTHING);
	peer_hear(fixture, MAIL "RCPT TO:<a@b.test>\r\n");
	send(fixture->peer, "250 ok\r\n250 ok\r\n", 16, MSG_NOSIGNAL);
	while (buf_length(&fixture->heard) == 0)
		turn(fixture);
	if (fixture->lmtp) {
		expect_heard(fixture, "r250 0.0.0 ok|");
		return true;
	}
	expect_heard(fixture, "f|");
	return false;
}

/* It is the client's turn, and the client has limits of its own. */
static void test_waiting_for_the_client_has_no_limit(void **state)
{
	struct fixture *fixture = *state;
	struct timespec start, now;

	fixture->options.seconds = fixture->options.end_seconds = 1;
	lmtp_pool_change(fixture->pool, &fixture->options);
	while (!begin_in_time(fixture))
		;
	clock_gettime(CLOCK_MONOTONIC, &start);
	do {
		turn(fixture);
		clock_gettime(CLOCK_MONOTONIC, &now);
	} while (now.tv_sec - start.tv_sec < 3);
	expect_heard(fixture, "");
	lmtp_start_message(fixture->lmtp, LMTP_BODY_STUFFED);
	peer_hear(fixture, "DATA\r\n");
}

static void test_another_server_after_a_reload(void **state)
{
	struct fixture *fixture = *state;
	struct sockaddr_in address = { .sin_family = AF_INET };
	socklen_t size = sizeof(address);
	char place[64];

	keep_one(fixture);
	close(fixture->listener);
	fixture->listener = socket(AF_INET, SOCK_STREAM, 0);
	address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	assert_int_equal(bind(fixture->listener, (struct sockaddr *)&address, size), 0);
	assert_int_equal(listen(fixture->listener, 10), 0);
	assert_int_equal(getsockname(fixture->listener, (struct sockaddr *)&address, &size), 0);
	snprintf(place, sizeof(place), "inet:127.0.0.1:%u", ntohs(address.sin_port));
	assert_int_equal(smtp_in_hand_over_parse(text_of(place), &fixture->options.server), 0);
	lmtp_pool_change(fixture->pool, &fixture->options);
	peer_hear(fixture, "QUIT\r\n");
	peer_hear_end(fixture);
	begin_message(fixture);
	peer_greet(fixture, EVERYTHING);
	finish_message(fixture);
	/* And nobody there. */
	lmtp_pool_drain(fixture->pool);
	close(fixture->listener);
	begin_message(fixture);
	expect_heard(fixture, "f|");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(nonsense_at_the_start),
		TEST(smtp_server_is_refused),
		TEST(nonsense_amid),
		TEST(endless_reply),
		TEST(nobody_listens),
		TEST(connections_are_limited),
		TEST(not_all_are_kept),
		TEST(full_queue_is_waited_for),
		TEST(slow_replies_time_out),
		TEST(slow_verdict_times_out),
		TEST(waiting_for_the_client_has_no_limit),
		TEST(another_server_after_a_reload),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

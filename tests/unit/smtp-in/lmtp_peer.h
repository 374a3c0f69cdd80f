/*
 * The LMTP client and a peer that says what each test makes it say; its owner keeps what it was told.
 */
#ifndef TESTS_UNIT_SMTP_IN_LMTP_PEER_H
#define TESTS_UNIT_SMTP_IN_LMTP_PEER_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <errno.h>
#include <event2/event.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/log.h"
#include "smtp-in/lmtp.h"

#define EVERYTHING "250-peer\r\n250-PIPELINING\r\n250-SIZE 1000\r\n250-8bitmime\r\n250 XID\r\n"

enum { PATIENCE_SECONDS = 120 };

struct fixture {
	struct event_base *loop;
	struct lmtp_pool *pool;
	struct lmtp_options options;
	char dir[32];
	int listener;
	int peer; /* the connection that the peer has accepted last */
	struct buf
		heard; /* what the owner was told: "r250 text|", "d354 …|", "v250 …|", "f|", "D|" */
	struct lmtp *lmtp;
	struct lmtp_envelope envelope;
	struct lmtp_recipient recipient[3];
	bool hurried; /* the next transaction begins inside the last verdict */
};

/* ---- the owner ---- */

static inline void hear(struct fixture *fixture, char what, const struct reply *reply)
{
	buf_format(&fixture->heard, "%c%u %u.%u.%u %.*s|", what, reply->code, reply->enhanced[0],
		reply->enhanced[1], reply->enhanced[2], TEXT_ARG(reply->text));
}

static inline void on_recipient(void *owner, const struct reply *reply)
{
	hear(owner, 'r', reply);
}

static inline void on_data(void *owner, const struct reply *reply)
{
	hear(owner, 'd', reply);
}

static inline void begin_message(struct fixture *fixture);

static inline void on_delivered(void *owner, const struct reply *reply)
{
	struct fixture *fixture = owner;

	hear(fixture, 'v', reply);
	if (!fixture->hurried)
		return;
	fixture->hurried = false;
	lmtp_end(&fixture->lmtp);
	begin_message(fixture);
}

static inline void on_refused(void *owner, const struct reply *reply)
{
	hear(owner, 'x', reply);
}

static inline void on_drained(void *owner)
{
	struct fixture *fixture = owner;

	buf_add_string(&fixture->heard, "D|");
}

static inline void on_failed(void *owner, const char *reason)
{
	struct fixture *fixture = owner;

	assert_true(strlen(reason) > 0);
	fixture->lmtp = NULL;
	buf_add_string(&fixture->heard, "f|");
}

static const struct lmtp_handlers handlers = {
	.recipient = on_recipient,
	.data = on_data,
	.delivered = on_delivered,
	.refused = on_refused,
	.drained = on_drained,
	.failed = on_failed,
};

/* ---- the loop and the peer ---- */

static inline bool is_late(const struct timespec *begin)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return now.tv_sec - begin->tv_sec > PATIENCE_SECONDS;
}

/* One turn, which waits a moment at most. */
static inline void turn(struct fixture *fixture)
{
	event_base_loopexit(fixture->loop, &(struct timeval){ .tv_usec = 1000 });
	event_base_dispatch(fixture->loop);
}

static inline void expect_heard(struct fixture *fixture, const char *what)
{
	struct timespec begin;

	clock_gettime(CLOCK_MONOTONIC, &begin);
	while (buf_length(&fixture->heard) < strlen(what) && !is_late(&begin))
		turn(fixture);
	/* Had more come at the same time, it would be here by now. */
	for (int i = 0; i < 3; i++)
		turn(fixture);
	buf_add_char(&fixture->heard, '\0');
	assert_string_equal(buf_text(&fixture->heard).ptr, what);
	buf_clear(&fixture->heard);
}

static inline bool peer_is_called(struct fixture *fixture)
{
	struct pollfd poll_fd = { .fd = fixture->listener, .events = POLLIN };

	turn(fixture);
	return poll(&poll_fd, 1, 0) == 1;
}

static inline void peer_accept(struct fixture *fixture)
{
	struct timespec begin;

	clock_gettime(CLOCK_MONOTONIC, &begin);
	while (!peer_is_called(fixture))
		assert_false(is_late(&begin));
	if (fixture->peer >= 0)
		close(fixture->peer);
	fixture->peer = accept4(fixture->listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
	assert_true(fixture->peer >= 0);
}

static inline void peer_say(struct fixture *fixture, const char *what)
{
	assert_int_equal(send(fixture->peer, what, strlen(what), MSG_NOSIGNAL), strlen(what));
}

/* Exactly this is what comes next. */
static inline void peer_hear(struct fixture *fixture, const char *what)
{
	char heard[8192];
	size_t used = 0, wanted = strlen(what);
	struct timespec begin;

	assert_true(wanted < sizeof(heard));
	clock_gettime(CLOCK_MONOTONIC, &begin);
	while (used < wanted && !is_late(&begin)) {
		turn(fixture);
		ssize_t n = recv(fixture->peer, heard + used, sizeof(heard) - 1 - used, 0);
		if (n == 0)
			break;
		if (n > 0)
			used += (size_t)n;
	}
	heard[used] = '\0';
	assert_string_equal(heard, what);
}

static inline void peer_hear_nothing(struct fixture *fixture)
{
	char octet;

	for (int i = 0; i < 5; i++)
		turn(fixture);
	assert_int_equal(recv(fixture->peer, &octet, 1, 0), -1);
	assert_int_equal(errno, EAGAIN);
}

static inline void peer_hear_end(struct fixture *fixture)
{
	struct timespec begin;
	char octets[4096];
	ssize_t n;

	clock_gettime(CLOCK_MONOTONIC, &begin);
	while ((n = recv(fixture->peer, octets, sizeof(octets), 0)) < 0 && errno == EAGAIN) {
		turn(fixture);
		assert_false(is_late(&begin));
	}
	assert_true(n == 0 || errno == ECONNRESET);
}

static inline void peer_close(struct fixture *fixture)
{
	close(fixture->peer);
	fixture->peer = -1;
}

static inline void peer_greet(struct fixture *fixture, const char *extensions)
{
	peer_accept(fixture);
	peer_say(fixture, "220 peer LMTP\r\n");
	peer_hear(fixture, "LHLO mx.example.test\r\n");
	peer_say(fixture, extensions);
}

/* ---- setting up ---- */

static inline int setup(void **state)
{
	struct fixture *fixture = calloc(1, sizeof(*fixture));
	char place[64];

	log_open("test", LOG_LEVEL_ERROR);
	snprintf(fixture->dir, sizeof(fixture->dir), "/tmp/test-lmtp-XXXXXX");
	assert_non_null(mkdtemp(fixture->dir));
	snprintf(place, sizeof(place), "unix:%s/lmtp", fixture->dir);
	assert_int_equal(smtp_in_hand_over_parse(text_of(place), &fixture->options.server), 0);
	fixture->options.hostname = TEXT("mx.example.test");
	fixture->options.connections = 2;
	fixture->options.seconds = fixture->options.end_seconds = 100;
	fixture->loop = event_base_new();
	fixture->pool = lmtp_pool_new(fixture->loop, &fixture->options);
	fixture->peer = -1;
	fixture->listener = socket(AF_UNIX, SOCK_STREAM, 0);
	assert_int_equal(bind(fixture->listener, &fixture->options.server.address.any,
				 fixture->options.server.size),
		0);
	assert_int_equal(listen(fixture->listener, 10), 0);
	fixture->envelope = (struct lmtp_envelope){
		.sender = TEXT("s@client.test"), .size = 77, .eight_bit = true, .id = TEXT("id1")
	};
	*state = fixture;
	return 0;
}

static inline int teardown(void **state)
{
	struct fixture *fixture = *state;
	char path[64];

	lmtp_end(&fixture->lmtp);
	lmtp_pool_free(&fixture->pool);
	event_base_free(fixture->loop);
	if (fixture->peer >= 0)
		close(fixture->peer);
	close(fixture->listener);
	snprintf(path, sizeof(path), "%s/lmtp", fixture->dir);
	unlink(path);
	rmdir(fixture->dir);
	buf_release(&fixture->heard);
	free(fixture);
	return 0;
}

static inline void begin(struct fixture *fixture)
{
	const char *reason = "";

	fixture->lmtp = lmtp_begin(fixture->pool, &fixture->envelope, &handlers, fixture, &reason);
	assert_non_null(fixture->lmtp);
}

static inline void add(struct fixture *fixture, int i, struct text address)
{
	fixture->recipient[i].address = address;
	lmtp_add_recipient(fixture->lmtp, &fixture->recipient[i]);
}

/* Octets of the message. */
static inline void give(struct fixture *fixture, struct text octets, bool last)
{
	lmtp_add_message(fixture->lmtp, &octets, 1, last);
}

/* A message for a@b.test is begun, and the peer has heard MAIL, RCPT and DATA. */
static inline void begin_message(struct fixture *fixture)
{
	begin(fixture);
	add(fixture, 0, TEXT("a@b.test"));
	lmtp_start_message(fixture->lmtp, LMTP_BODY_STUFFED);
}

#define MAIL "MAIL FROM:<s@client.test> SIZE=77 BODY=8BITMIME XID=id1\r\n"
#define MESSAGE MAIL "RCPT TO:<a@b.test>\r\nDATA\r\n"

/* And it is delivered. */
static inline void finish_message(struct fixture *fixture)
{
	peer_hear(fixture, MESSAGE);
	peer_say(fixture, "250 2.1.0 ok\r\n250 2.1.5 ok\r\n354 go\r\n");
	expect_heard(fixture, "r250 2.1.5 ok|d354 0.0.0 go|");
	give(fixture, TEXT("x\r\n.\r\n"), true);
	peer_hear(fixture, "x\r\n.\r\n");
	peer_say(fixture, "250 2.0.0 done\r\n");
	expect_heard(fixture, "v250 2.0.0 done|");
	lmtp_end(&fixture->lmtp);
}

/* A peer with these extensions is called for the first time. */
static inline void open_message_at(struct fixture *fixture, const char *extensions)
{
	begin_message(fixture);
	peer_greet(fixture, extensions);
}

static inline void open_message(struct fixture *fixture)
{
	open_message_at(fixture, EVERYTHING);
	peer_hear(fixture, MESSAGE);
}

/* And it has said yes to all of that. */
static inline void open_data(struct fixture *fixture)
{
	open_message(fixture);
	peer_say(fixture, "250 ok\r\n250 ok\r\n354 go\r\n");
	expect_heard(fixture, "r250 0.0.0 ok|d354 0.0.0 go|");
}

/* Two recipients, and nothing further is asked yet. */
static inline void begin_for_two(struct fixture *fixture)
{
	begin(fixture);
	add(fixture, 0, TEXT("a@b.test"));
	add(fixture, 1, TEXT("c@b.test"));
}

/* A kept connection, its peer at hand. */
static inline void keep_one(struct fixture *fixture)
{
	begin_message(fixture);
	peer_greet(fixture, EVERYTHING);
	finish_message(fixture);
}

static inline void assert_idle(struct fixture *fixture, size_t idle)
{
	struct lmtp_counts counts;

	for (int i = 0; i < 5; i++)
		turn(fixture);
	lmtp_pool_count(fixture->pool, &counts);
	assert_int_equal(counts.idle, idle);
	assert_int_equal(counts.open, idle);
}

static inline struct lmtp_counts counts(const struct fixture *fixture)
{
	struct lmtp_counts found;

	lmtp_pool_count(fixture->pool, &found);
	return found;
}
#define ENVELOPE MAIL "RCPT TO:<a@b.test>\r\n"
#define ENVELOPE_FOR_TWO ENVELOPE "RCPT TO:<c@b.test>\r\n"

#define WITH_DSN "250-peer\r\n250-PIPELINING\r\n250-XID\r\n250 DSN\r\n"

#define TEST(name) cmocka_unit_test_setup_teardown(test_##name, setup, teardown)

#endif

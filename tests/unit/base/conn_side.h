/*
 * Both ends of a connection in one process: ours with an owner that records what it is told, the
 * peer's as a plain descriptor that the test reads and writes.
 */
#ifndef TESTS_CONN_SIDE_H
#define TESTS_CONN_SIDE_H

#include <errno.h>
#include <event2/event.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/buf.h"
#include "base/conn.h"
#include "base/mem.h"

enum { LONGEST_TEST = 120 }; /* seconds */

struct side {
	struct conn *conn;
	int peer;
	struct buf got; /* what the owner consumed */
	size_t inputs, drains, secured, alarms, left, ended;
	enum conn_end end;
	char detail[100];
	/* Instead of taking all there is; NULL: take all. */
	void (*on_input)(struct side *side);
	void (*on_drained)(struct side *side);
	void (*on_secured)(struct side *side);
	void (*on_ended)(struct side *side);
	void (*on_alarmed)(struct side *side);
	void (*on_left)(struct side *side);
	size_t number; /* for the test's own use */
};

static struct event_base *loop;

static void take(struct side *side, size_t octets)
{
	buf_add(&side->got, text_head(conn_input(side->conn), octets));
	conn_consume(side->conn, octets);
}

static void side_input(void *owner)
{
	struct side *side = owner;

	side->inputs++;
	if (side->on_input)
		side->on_input(side);
	else
		take(side, conn_input(side->conn).len);
}

static void side_drained(void *owner)
{
	struct side *side = owner;

	side->drains++;
	if (side->on_drained)
		side->on_drained(side);
}

static void side_secured(void *owner)
{
	struct side *side = owner;

	side->secured++;
	if (side->on_secured)
		side->on_secured(side);
}

static void side_ended(void *owner, enum conn_end end, const char *detail)
{
	struct side *side = owner;

	side->ended++;
	side->end = end;
	snprintf(side->detail, sizeof(side->detail), "%s", detail);
	if (side->on_ended)
		side->on_ended(side);
}

static void side_alarmed(void *owner)
{
	struct side *side = owner;

	side->alarms++;
	if (side->on_alarmed)
		side->on_alarmed(side);
}

static void side_left(void *owner)
{
	struct side *side = owner;

	side->left++;
	if (side->on_left)
		side->on_left(side);
}

static const struct conn_handlers side_handlers = {
	.input = side_input,
	.drained = side_drained,
	.secured = side_secured,
	.alarmed = side_alarmed,
	.left = side_left,
	.ended = side_ended,
};

static const struct conn_limits wide = {
	.input = 1 << 16, .output_high = 1 << 16, .output_low = 1 << 14
};

static void side_open_type(struct side *side, const struct conn_limits *limits, int type)
{
	int pair[2];

	assert_int_equal(socketpair(AF_UNIX, type, 0, pair), 0);
	*side = (struct side){ .peer = pair[1] };
	fcntl(side->peer, F_SETFL, O_NONBLOCK);
	side->conn = conn_new(loop, pair[0], &side_handlers, limits, side);
}

static inline void side_open(struct side *side, const struct conn_limits *limits)
{
	side_open_type(side, limits, SOCK_STREAM);
}

/* Over TCP on loopback: the address family's, connected by `to`. */
static void side_open_tcp(
	struct side *side, const struct conn_limits *limits, int listening_family, int family)
{
	struct sockaddr_in6 six = { .sin6_family = AF_INET6 };
	struct sockaddr_in four = { .sin_family = AF_INET };
	socklen_t size = sizeof(six);
	int listener = socket(listening_family, SOCK_STREAM, 0);

	*side = (struct side){ .peer = socket(family, SOCK_STREAM, 0) };
	setsockopt(listener, IPPROTO_IPV6, IPV6_V6ONLY, &(int){ 0 }, sizeof(int));
	if (listening_family == AF_INET6) {
		assert_int_equal(bind(listener, (struct sockaddr *)&six, sizeof(six)), 0);
	} else {
		four.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
		assert_int_equal(bind(listener, (struct sockaddr *)&four, sizeof(four)), 0);
	}
	assert_int_equal(listen(listener, 1), 0);
	assert_int_equal(getsockname(listener, (struct sockaddr *)&six, &size), 0);
	four = (struct sockaddr_in){ .sin_family = AF_INET,
		.sin_port = six.sin6_port, /* at the same place in both */
		.sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	six.sin6_addr = in6addr_loopback;
	if (family == AF_INET6)
		assert_int_equal(connect(side->peer, (struct sockaddr *)&six, sizeof(six)), 0);
	else
		assert_int_equal(connect(side->peer, (struct sockaddr *)&four, sizeof(four)), 0);
	fcntl(side->peer, F_SETFL, O_NONBLOCK);
	side->conn = conn_new(loop, accept(listener, NULL, NULL), &side_handlers, limits, side);
	close(listener);
}

static void side_close(struct side *side)
{
	conn_free(&side->conn);
	if (side->peer >= 0)
		close(side->peer);
	buf_release(&side->got);
}

static void peer_send(struct side *side, const char *string)
{
	assert_int_equal(send(side->peer, string, strlen(string), MSG_NOSIGNAL), strlen(string));
}

/* To the octet; NUL is none of them. */
static inline void expect_text(const struct buf *got, const char *wanted)
{
	if (!text_equal(buf_text(got), text_of(wanted)))
		fail_msg("\"%.*s\", not \"%s\"", TEXT_ARG(buf_text(got)), wanted);
}

static double seconds_now(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (double)now.tv_sec + (double)now.tv_nsec / 1e9;
}

static void on_tick(evutil_socket_t fd, short what, void *arg)
{
	(void)fd, (void)what, (void)arg;
}

/* Turns of the loop, at least one each few milliseconds, until the condition holds. */
#define RUN_UNTIL(condition) \
	do { \
		double limit_ = seconds_now() + LONGEST_TEST; \
		while (!(condition)) { \
			if (seconds_now() > limit_) \
				fail_msg("never true: %s", #condition); \
			event_base_loop(loop, EVLOOP_ONCE); \
		} \
	} while (0)

/* Everything that is ready now, and what comes of it. */
static void run_what_is_ready(void)
{
	for (int i = 0; i < 5; i++)
		event_base_loop(loop, EVLOOP_NONBLOCK);
}

static struct event *tick;

static int open_loop(void **state)
{
	(void)state;
	loop = event_base_new();
	tick = event_new(loop, -1, EV_PERSIST, on_tick, NULL);
	event_add(tick, &(struct timeval){ .tv_usec = 5000 });
	return 0;
}

static int close_loop(void **state)
{
	(void)state;
	event_free(tick);
	event_base_free(loop);
	return 0;
}

#define CONN_TEST(name) cmocka_unit_test_setup_teardown(name, open_loop, close_loop)

#endif

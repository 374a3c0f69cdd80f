/*
 * A worker of smtp-in between a client and an LMTP server that are both played by the test.
 */
#ifndef TESTS_UNIT_SMTP_IN_SESSION_FIXTURE_H
#define TESTS_UNIT_SMTP_IN_SESSION_FIXTURE_H

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

#include "base/common.h"
#include "base/log.h"
#include "base/role.h"
#include "smtp-in/settings.h"
#include "smtp-in/worker.h"

enum { PATIENCE_SECONDS = 120 };

struct fixture {
	struct event_base *loop;
	struct role_context context;
	struct common_settings common;
	struct smtp_in_settings settings;
	struct smtp_in_hand_over place;
	struct worker *worker;
	char dir[32];
	int listener;
	int client;
	int server;
	char heard[8192]; /* what was read last */
};

/* ---- the loop ---- */

static inline void turn(struct fixture *fixture)
{
	event_base_loopexit(fixture->loop, &(struct timeval){ .tv_usec = 1000 });
	event_base_dispatch(fixture->loop);
}

static inline bool is_late(const struct timespec *begin)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return now.tv_sec - begin->tv_sec > PATIENCE_SECONDS;
}

static inline void say(int fd, const char *what)
{
	assert_int_equal(send(fd, what, strlen(what), MSG_NOSIGNAL), strlen(what));
}

/* Read until it ends so, the other side does, or there are so many octets. */
static inline const char *hear_some(struct fixture *fixture, int fd, const char *end, size_t limit)
{
	size_t used = 0, ending = strlen(end);
	struct timespec begin;
	ssize_t n = -1;

	clock_gettime(CLOCK_MONOTONIC, &begin);
	while (n != 0 && used < limit && !is_late(&begin)) {
		if (used >= ending && memcmp(fixture->heard + used - ending, end, ending) == 0)
			break;
		turn(fixture);
		n = recv(fd, fixture->heard + used, limit - used, MSG_DONTWAIT);
		if (n > 0)
			used += (size_t)n;
	}
	fixture->heard[used] = '\0';
	return fixture->heard;
}

static inline void hear_until(struct fixture *fixture, int fd, const char *end)
{
	const char *heard = hear_some(fixture, fd, end, sizeof(fixture->heard) - 1);

	if (strlen(heard) < strlen(end) || strcmp(heard + strlen(heard) - strlen(end), end) != 0)
		fail_msg("\"%s\" does not end in \"%s\"", heard, end);
}

/* Exactly this comes, and perhaps more behind it. */
static inline void hear(struct fixture *fixture, int fd, const char *what)
{
	assert_string_equal(hear_some(fixture, fd, what, strlen(what)), what);
}

static inline void hear_end(struct fixture *fixture, int fd)
{
	struct timespec begin;
	char octet;
	ssize_t n;

	clock_gettime(CLOCK_MONOTONIC, &begin);
	while ((n = recv(fd, &octet, 1, MSG_DONTWAIT)) < 0 && errno == EAGAIN) {
		assert_false(is_late(&begin));
		turn(fixture);
	}
	assert_true(n == 0 || (n < 0 && errno == ECONNRESET));
}

static inline void hear_nothing(struct fixture *fixture, int fd)
{
	char octet;

	for (int i = 0; i < 10; i++)
		turn(fixture);
	assert_int_equal(recv(fd, &octet, 1, MSG_DONTWAIT), -1);
	assert_int_equal(errno, EAGAIN);
}

/* ---- client and server ---- */

static inline void client_comes(struct fixture *fixture)
{
	int pair[2];

	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, pair), 0);
	if (fixture->client >= 0)
		close(fixture->client);
	fixture->client = pair[0];
	worker_accept(fixture->worker, "smtp", pair[1]);
	hear(fixture, fixture->client, "220 mx.example.test ESMTP restante\r\n");
	say(fixture->client, "HELO client.test\r\n");
	hear(fixture, fixture->client, "250 mx.example.test\r\n");
}

static inline void server_comes_with(struct fixture *fixture, const char *extension)
{
	struct pollfd poll_fd = { .fd = fixture->listener, .events = POLLIN };
	struct timespec begin;

	clock_gettime(CLOCK_MONOTONIC, &begin);
	while (poll(&poll_fd, 1, 0) != 1) {
		assert_false(is_late(&begin));
		turn(fixture);
	}
	if (fixture->server >= 0)
		close(fixture->server);
	fixture->server = accept(fixture->listener, NULL, NULL);
	assert_true(fixture->server >= 0);
	say(fixture->server, "220 mda\r\n");
	hear(fixture, fixture->server, "LHLO mx.example.test\r\n");
	say(fixture->server, "250-mda\r\n250-PIPELINING\r\n250-SIZE\r\n250-8BITMIME\r\n250-"
			     "SMTPUTF8\r\n250-");
	say(fixture->server, extension);
	say(fixture->server, "\r\n250 XID\r\n");
}

static inline void server_comes(struct fixture *fixture)
{
	server_comes_with(fixture, "ENHANCEDSTATUSCODES");
}

static inline void client_goes(struct fixture *fixture)
{
	close(fixture->client);
	fixture->client = -1;
}

static inline void server_goes(struct fixture *fixture)
{
	close(fixture->server);
	fixture->server = -1;
}

static inline void listen_anew(struct fixture *fixture)
{
	unlink(fixture->place.address.local.sun_path);
	fixture->listener = socket(AF_UNIX, SOCK_STREAM, 0);
	assert_int_equal(
		bind(fixture->listener, &fixture->place.address.any, fixture->place.size), 0);
	assert_int_equal(listen(fixture->listener, 10), 0);
}

static inline int setup(void **state)
{
	struct fixture *fixture = calloc(1, sizeof(*fixture));
	char place[64], error[200];

	log_open("test", LOG_LEVEL_ERROR);
	snprintf(fixture->dir, sizeof(fixture->dir), "/tmp/test-session-XXXXXX");
	assert_non_null(mkdtemp(fixture->dir));
	snprintf(place, sizeof(place), "unix:%s/lmtp", fixture->dir);
	assert_int_equal(smtp_in_hand_over_parse(text_of(place), &fixture->place), 0);
	listen_anew(fixture);
	fixture->client = fixture->server = -1;
	settings_preset(&common_section, &fixture->common);
	settings_preset(&smtp_in_section, &fixture->settings);
	assert_int_equal(settings_set(&common_section, &fixture->common, "hostname",
				 TEXT("mx.example.test"), error, sizeof(error)),
		0);
	assert_int_equal(settings_set(&smtp_in_section, &fixture->settings, "hand-over",
				 text_of(place), error, sizeof(error)),
		0);
	/* What a test says about a recipient holds for it alone; see test_session_known.c. */
	assert_int_equal(settings_set(&smtp_in_section, &fixture->settings, "hand-over-memory",
				 TEXT("0"), error, sizeof(error)),
		0);
	fixture->loop = event_base_new();
	fixture->context = (struct role_context){
		.loop = fixture->loop, .common = &fixture->common, .settings = &fixture->settings
	};
	fixture->worker = worker_new(&fixture->context);
	assert_non_null(fixture->worker);
	*state = fixture;
	return 0;
}

static inline int teardown(void **state)
{
	struct fixture *fixture = *state;

	worker_free(&fixture->worker);
	event_base_free(fixture->loop);
	if (fixture->client >= 0)
		close(fixture->client);
	if (fixture->server >= 0)
		close(fixture->server);
	close(fixture->listener);
	unlink(fixture->place.address.local.sun_path);
	rmdir(fixture->dir);
	settings_free(&common_section, &fixture->common);
	settings_free(&smtp_in_section, &fixture->settings);
	free(fixture);
	return 0;
}

/* The client has sent MAIL, so many RCPT and DATA, and the server has heard them. */
static inline void begin_message(struct fixture *fixture, int recipients)
{
	say(fixture->client, "MAIL FROM:<s@client.test>\r\n");
	for (int i = 0; i < recipients; i++)
		say(fixture->client, "RCPT TO:<a@example.test>\r\n");
	say(fixture->client, "DATA\r\n");
	if (fixture->server < 0)
		server_comes(fixture);
	hear_until(fixture, fixture->server, "DATA\r\n");
}

/* The reply to MAIL leaves with those to RCPT. */
#define MAIL_OK "250 2.1.0 Sender ok\r\n"
#define GO "354 Send the message, end with <CRLF>.<CRLF>\r\n"
#define AWAY "451 4.3.0 Mail cannot be taken just now, try again later\r\n"

/* And the server takes the message, whose trace field it has heard. */
static inline void open_message(struct fixture *fixture, int recipients)
{
	begin_message(fixture, recipients);
	say(fixture->server, "250 2.1.0 ok\r\n");
	for (int i = 0; i < recipients; i++)
		say(fixture->server, "250 2.1.5 fine\r\n");
	say(fixture->server, "354 go\r\n");
	hear(fixture, fixture->client, MAIL_OK);
	for (int i = 0; i < recipients; i++)
		hear(fixture, fixture->client, "250 2.1.5 fine\r\n");
	hear(fixture, fixture->client, GO);
	/* Our trace field goes with the first octets. */
	say(fixture->client, "\r\n");
	hear_until(fixture, fixture->server, " +0000\r\n\r\n");
	assert_memory_equal(fixture->heard, "Received: from client.test", 26);
	assert_null(strstr(fixture->heard + 1, "Received:"));
}

static inline void expect_accepted(struct fixture *fixture)
{
	hear_until(fixture, fixture->client, "\r\n");
	assert_memory_equal(fixture->heard, "250 2.0.0 Accepted as ", 22);
}

static inline void finish_message(struct fixture *fixture)
{
	say(fixture->client, "x\r\n.\r\n");
	hear(fixture, fixture->server, "x\r\n.\r\n");
	say(fixture->server, "250 2.0.0 done\r\n");
	expect_accepted(fixture);
}

static inline void assert_whole_message_works(struct fixture *fixture)
{
	open_message(fixture, 1);
	finish_message(fixture);
}

#define ENVELOPE "MAIL FROM:<s@client.test>\r\nRCPT TO:<a@example.test>\r\n"
#define BROUGHT "250 2.1.0 ok\r\n250 2.1.5 fine\r\n"

#define TEST(name) cmocka_unit_test_setup_teardown(test_##name, setup, teardown)

#endif

/*
 * Sessions between a client and an LMTP server that are both played here: what goes through octet for
 * octet, and what the client hears when the server refuses, breaks off, or is not there.
 */
#include <errno.h>
#include <event2/event.h>
#include <poll.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

/* After the headers that it needs. */
#include <cmocka.h>

#include "base/common.h"
#include "base/log.h"
#include "base/role.h"
#include "smtp-in/settings.h"
#include "smtp-in/worker.h"
#include "tests/unit/outcomes.h"

enum { PATIENCE_SECONDS = 20 };

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

static void turn(struct fixture *fixture)
{
	event_base_loopexit(fixture->loop, &(struct timeval){ .tv_usec = 1000 });
	event_base_dispatch(fixture->loop);
}

static bool is_late(const struct timespec *begin)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return now.tv_sec - begin->tv_sec > PATIENCE_SECONDS;
}

static void say(int fd, const char *what)
{
	assert_int_equal(send(fd, what, strlen(what), MSG_NOSIGNAL), strlen(what));
}

/* Read until it ends so, the other side does, or there are so many octets. */
static const char *hear_some(struct fixture *fixture, int fd, const char *end, size_t limit)
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

static void hear_until(struct fixture *fixture, int fd, const char *end)
{
	const char *heard = hear_some(fixture, fd, end, sizeof(fixture->heard) - 1);

	if (strlen(heard) < strlen(end) || strcmp(heard + strlen(heard) - strlen(end), end) != 0)
		fail_msg("\"%s\" does not end in \"%s\"", heard, end);
}

/* Exactly this comes, and perhaps more behind it. */
static void hear(struct fixture *fixture, int fd, const char *what)
{
	assert_string_equal(hear_some(fixture, fd, what, strlen(what)), what);
}

static void hear_end(struct fixture *fixture, int fd)
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

static void hear_nothing(struct fixture *fixture, int fd)
{
	char octet;

	for (int i = 0; i < 10; i++)
		turn(fixture);
	assert_int_equal(recv(fd, &octet, 1, MSG_DONTWAIT), -1);
	assert_int_equal(errno, EAGAIN);
}

/* ---- client and server ---- */

static void client_comes(struct fixture *fixture)
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

static void server_comes_with(struct fixture *fixture, const char *extension)
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

static void server_comes(struct fixture *fixture)
{
	server_comes_with(fixture, "ENHANCEDSTATUSCODES");
}

static void listen_anew(struct fixture *fixture)
{
	unlink(fixture->place.address.local.sun_path);
	fixture->listener = socket(AF_UNIX, SOCK_STREAM, 0);
	assert_int_equal(
		bind(fixture->listener, &fixture->place.address.any, fixture->place.size), 0);
	assert_int_equal(listen(fixture->listener, 10), 0);
}

static int setup(void **state)
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
	fixture->loop = event_base_new();
	fixture->context = (struct role_context){
		.loop = fixture->loop, .common = &fixture->common, .settings = &fixture->settings
	};
	fixture->worker = worker_new(&fixture->context);
	assert_non_null(fixture->worker);
	*state = fixture;
	return 0;
}

static int teardown(void **state)
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
static void begin_message(struct fixture *fixture, int recipients)
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
static void open_message(struct fixture *fixture, int recipients)
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

static void finish_message(struct fixture *fixture)
{
	say(fixture->client, "x\r\n.\r\n");
	hear(fixture, fixture->server, "x\r\n.\r\n");
	say(fixture->server, "250 2.0.0 done\r\n");
	hear_until(fixture, fixture->client, "\r\n");
	assert_memory_equal(fixture->heard, "250 2.0.0 Accepted as ", 22);
}

static void assert_whole_message_works(struct fixture *fixture)
{
	open_message(fixture, 1);
	finish_message(fixture);
}

/* ---- what goes through ---- */

static void test_octets_and_id_go_through(void **state)
{
	struct fixture *fixture = *state;
	char id[21], expected[256];

	client_comes(fixture);
	say(fixture->client, "MAIL FROM:<s@client.test> SIZE=9 BODY=8BITMIME\r\n"
			     "RCPT TO:<\"a\"@EXAMPLE.test>\r\nDATA\r\n");
	server_comes(fixture);
	hear_until(fixture, fixture->server, "DATA\r\n");
	assert_int_equal(
		sscanf(fixture->heard,
			"MAIL FROM:<s@client.test> SIZE=9 BODY=8BITMIME XID=%20[0-9a-z]", id),
		1);
	snprintf(expected, sizeof(expected),
		"MAIL FROM:<s@client.test> SIZE=9 BODY=8BITMIME XID=%s\r\n"
		"RCPT TO:<a@example.test>\r\nDATA\r\n",
		id);
	assert_string_equal(fixture->heard, expected);
	/* The reply to MAIL waits for those to RCPT, and goes with them. */
	hear_nothing(fixture, fixture->client);
	say(fixture->server, "250 2.1.0 ok\r\n250 2.1.5 fine\r\n354 go\r\n");
	hear(fixture, fixture->client, MAIL_OK "250 2.1.5 fine\r\n" GO);
	say(fixture->client, "..\xff\r\n\r\n.");
	say(fixture->client, "\r\n");
	hear_until(fixture, fixture->server, "\r\n..\xff\r\n\r\n.\r\n");
	assert_non_null(strstr(fixture->heard, id));
	assert_non_null(strstr(fixture->heard, " by mx.example.test with SMTP "));
	assert_non_null(strstr(fixture->heard, "<a@example.test>;"));
	say(fixture->server, "250 2.0.0 done\r\n");
	snprintf(expected, sizeof(expected), "250 2.0.0 Accepted as %s\r\n", id);
	hear(fixture, fixture->client, expected);
}

static void test_utf8_is_passed_on_and_told(void **state)
{
	struct fixture *fixture = *state;

	client_comes(fixture);
	say(fixture->client, "MAIL FROM:<s\xc3\xa4@\xc3\xb6.test> SMTPUTF8\r\n"
			     "RCPT TO:<\xc3\xbc@example.test>\r\nDATA\r\n");
	server_comes(fixture);
	hear_until(fixture, fixture->server, "DATA\r\n");
	assert_non_null(
		strstr(fixture->heard, "MAIL FROM:<s\xc3\xa4@\xc3\xb6.test> SMTPUTF8 XID="));
	assert_non_null(strstr(fixture->heard, "RCPT TO:<\xc3\xbc@example.test>\r\n"));
	say(fixture->server, "250 2.1.0 ok\r\n250 2.1.5 fine\r\n354 go\r\n");
	hear(fixture, fixture->client, MAIL_OK "250 2.1.5 fine\r\n" GO);
	say(fixture->client, "x\r\n.\r\n");
	hear_until(fixture, fixture->server, "\r\n.\r\n");
	assert_non_null(strstr(fixture->heard, " with UTF8SMTP "));
	assert_non_null(strstr(fixture->heard, "<\xc3\xbc@example.test>;"));
}

static void test_no_for_with_several_recipients(void **state)
{
	struct fixture *fixture = *state;

	client_comes(fixture);
	open_message(fixture, 2);
	assert_null(strstr(fixture->heard, "for"));
}

static void test_verdicts_on_recipients_are_passed_on(void **state)
{
	struct fixture *fixture = *state;

	client_comes(fixture);
	begin_message(fixture, 4);
	say(fixture->server,
		"250 ok\r\n250 fine\r\n550 no\r\n451-a\r\n451 4.2.1 b\r\n251 2.1.5 c\r\n");
	hear(fixture, fixture->client,
		MAIL_OK "250 2.0.0 fine\r\n550 5.0.0 no\r\n451 4.2.1 b\r\n251 2.1.5 c\r\n");
}

static void test_refused_data_is_passed_on(void **state)
{
	struct fixture *fixture = *state;

	client_comes(fixture);
	begin_message(fixture, 1);
	say(fixture->server, "250 ok\r\n250 fine\r\n452 4.3.1 no room\r\n");
	hear(fixture, fixture->client, MAIL_OK "250 2.0.0 fine\r\n452 4.3.1 no room\r\n");
	hear(fixture, fixture->server, "RSET\r\n");
	say(fixture->server, "250 ok\r\n");
	assert_whole_message_works(fixture);
}

static void test_verdicts_are_joined(void **state)
{
	static const struct {
		const char *said;
		const char *heard;
	} cases[] = {
		{ "552 5.2.2 full\r\n552 5.2.2 full\r\n", "552 5.2.2 full\r\n" },
		{ "550 5.1.1 gone\r\n552 5.2.2 full\r\n", "550 5.1.1 gone\r\n" },
		{ "452 4.3.1 no room\r\n451 4.3.0 busy\r\n", "452 4.3.1 no room\r\n" },
		{ "250 2.0.0 done\r\n552 5.2.2 full\r\n", AWAY },
		{ "552 5.2.2 full\r\n250 2.0.0 done\r\n", AWAY },
		{ "452 4.3.1 no room\r\n550 5.1.1 gone\r\n", AWAY },
		{ "552\r\n552\r\n", "552 5.0.0 \r\n" },
	};
	struct fixture *fixture = *state;

	client_comes(fixture);
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		open_message(fixture, 2);
		say(fixture->client, "x\r\n.\r\n");
		hear(fixture, fixture->server, "x\r\n.\r\n");
		say(fixture->server, cases[i].said);
		hear(fixture, fixture->client, cases[i].heard);
	}
	assert_whole_message_works(fixture);
}

static void test_a_message_at_fault_never_ends(void **state)
{
	struct fixture *fixture = *state;

	client_comes(fixture);
	open_message(fixture, 1);
	say(fixture->client, "fine\r\n");
	hear(fixture, fixture->server, "fine\r\n");
	say(fixture->client, "then\n.\r\nmore\r\n.\r\nRSET\r\n");
	hear_end(fixture, fixture->server);
	hear(fixture, fixture->client,
		"550 5.6.0 Message refused: bare LF; lines end in CRLF\r\n250 2.0.0 Reset\r\n");
	close(fixture->server);
	fixture->server = -1;
	assert_whole_message_works(fixture);
}

static void test_slow_server_holds_the_client(void **state)
{
	static char octets[65536];
	struct fixture *fixture = *state;
	size_t sent = 0, taken = 0;
	int idle = 0;

	memset(octets, 'x', sizeof(octets));
	for (size_t i = 998; i < sizeof(octets); i += 1000)
		memcpy(octets + i, "\r\n", 2);
	client_comes(fixture);
	open_message(fixture, 1);
	/* Nobody reads at the far end: before long nothing more is taken from the client. */
	while (idle < 50) {
		ssize_t n = send(fixture->client, octets + sent % sizeof(octets),
			sizeof(octets) - sent % sizeof(octets), MSG_DONTWAIT);
		idle = n > 0 ? 0 : idle + 1;
		sent += n > 0 ? (size_t)n : 0;
		turn(fixture);
		assert_true(sent < 4 << 20);
	}
	/* And all of it arrives once somebody does. */
	while (taken < sent) {
		ssize_t n =
			recv(fixture->server, fixture->heard, sizeof(fixture->heard), MSG_DONTWAIT);
		taken += n > 0 ? (size_t)n : 0;
		turn(fixture);
	}
	assert_int_equal(taken, sent);
	say(fixture->client, "\r\n.\r\n");
	hear(fixture, fixture->server, "\r\n.\r\n");
	say(fixture->server, "250 2.0.0 done\r\n");
	hear_until(fixture, fixture->client, "\r\n");
	assert_memory_equal(fixture->heard, "250 2.0.0 Accepted as ", 22);
}

static void test_client_that_has_ended_still_delivers(void **state)
{
	struct fixture *fixture = *state;

	client_comes(fixture);
	open_message(fixture, 1);
	say(fixture->client, "x\r\n.\r\nQUIT\r\n");
	shutdown(fixture->client, SHUT_WR);
	hear(fixture, fixture->server, "x\r\n.\r\n");
	hear_nothing(fixture, fixture->client);
	say(fixture->server, "250 2.0.0 done\r\n");
	hear_until(fixture, fixture->client, "Goodbye\r\n");
	assert_memory_equal(fixture->heard, "250 2.0.0 Accepted as ", 22);
	hear_end(fixture, fixture->client);
}

static void test_client_gone_amid_a_message_cuts_it(void **state)
{
	struct fixture *fixture = *state;

	client_comes(fixture);
	open_message(fixture, 1);
	say(fixture->client, "half\r\n");
	hear(fixture, fixture->server, "half\r\n");
	close(fixture->client);
	fixture->client = -1;
	hear_end(fixture, fixture->server);
	assert_int_equal(fixture->worker->total.lost_messages, 1);
	assert_int_equal(fixture->worker->session_count, 0);
}

/* Octet by octet there is no more time for a command than at once. */
static void test_slow_command_times_out(void **state)
{
	struct fixture *fixture = *state;
	struct timespec start;
	char octet;

	fixture->settings.command_seconds = 1;
	client_comes(fixture);
	clock_gettime(CLOCK_MONOTONIC, &start);
	while (recv(fixture->client, &octet, 1, MSG_PEEK | MSG_DONTWAIT) < 0) {
		assert_false(is_late(&start));
		say(fixture->client, "N");
		for (int i = 0; i < 100; i++)
			turn(fixture);
	}
	hear(fixture, fixture->client,
		"421 4.4.2 mx.example.test: Timeout, closing the connection\r\n");
	assert_int_equal(fixture->worker->total.timeouts, 1);
}

/* ---- the server is away ---- */

static void test_nobody_to_hand_over_to(void **state)
{
	struct fixture *fixture = *state;

	close(fixture->listener);
	client_comes(fixture);
	say(fixture->client,
		"MAIL FROM:<>\r\nRCPT TO:<a@example.test>\r\nRCPT TO:<b@example.test>\r\n"
		"DATA\r\nRSET\r\n");
	hear(fixture, fixture->client, MAIL_OK AWAY AWAY AWAY "250 2.0.0 Reset\r\n");
	/* It comes back, and the same session delivers. */
	listen_anew(fixture);
	assert_whole_message_works(fixture);
}

static void test_broken_off_before_verdicts_on_recipients(void **state)
{
	struct fixture *fixture = *state;

	client_comes(fixture);
	begin_message(fixture, 2);
	close(fixture->server);
	fixture->server = -1;
	hear(fixture, fixture->client, MAIL_OK AWAY AWAY AWAY);
	assert_whole_message_works(fixture);
}

static void test_broken_off_between_recipients_and_data(void **state)
{
	struct fixture *fixture = *state;

	client_comes(fixture);
	say(fixture->client, "MAIL FROM:<>\r\nRCPT TO:<a@example.test>\r\n");
	server_comes(fixture);
	hear_until(fixture, fixture->server, "example.test>\r\n");
	say(fixture->server, "250 ok\r\n250 2.1.5 fine\r\n");
	hear(fixture, fixture->client, MAIL_OK "250 2.1.5 fine\r\n");
	close(fixture->server);
	fixture->server = -1;
	turn(fixture);
	say(fixture->client, "RCPT TO:<b@example.test>\r\nDATA\r\n");
	hear(fixture, fixture->client, AWAY AWAY);
	assert_whole_message_works(fixture);
}

static void test_421_of_the_server_is_not_ours(void **state)
{
	struct fixture *fixture = *state;

	client_comes(fixture);
	begin_message(fixture, 1);
	say(fixture->server, "250 ok\r\n421 4.3.2 bye\r\n");
	hear(fixture, fixture->client, MAIL_OK AWAY AWAY);
}

/* A recipient and a message that fared so: the client hears the same code, of a lone message "Accepted". */
static void assert_is_passed_on(struct fixture *fixture, const struct outcome *outcome)
{
	char rcpt[40], end[40];

	snprintf(rcpt, sizeof(rcpt), "%s why\r\n", outcome->rcpt);
	snprintf(end, sizeof(end), "%s why\r\n", outcome->end);
	client_comes(fixture);
	begin_message(fixture, 2);
	say(fixture->server, "250 2.1.0 ok\r\n");
	say(fixture->server, rcpt);
	say(fixture->server, "250 2.1.5 fine\r\n354 go\r\n");
	hear(fixture, fixture->client, MAIL_OK);
	hear(fixture, fixture->client, rcpt);
	hear(fixture, fixture->client, "250 2.1.5 fine\r\n" GO);
	say(fixture->client, "x\r\n.\r\n");
	hear_until(fixture, fixture->server, "x\r\n.\r\n");
	say(fixture->server, end);
	if (outcome->rcpt[0] == '2')
		say(fixture->server, end);
	if (outcome->end[0] != '2') {
		hear(fixture, fixture->client, end);
		return;
	}
	hear_until(fixture, fixture->client, "\r\n");
	assert_memory_equal(fixture->heard, "250 2.0.0 Accepted as ", 22);
}

static void test_every_failure_is_passed_on(void **state)
{
	for (size_t i = 0; i < STORE_FAILURES; i++)
		assert_is_passed_on(*state, &outcomes[i]);
}

static void test_broken_off_amid_a_message(void **state)
{
	struct fixture *fixture = *state;

	client_comes(fixture);
	open_message(fixture, 1);
	say(fixture->client, "half\r\n");
	hear(fixture, fixture->server, "half\r\n");
	close(fixture->server);
	fixture->server = -1;
	hear_nothing(fixture, fixture->client);
	say(fixture->client, "MAIL FROM:<>\r\nthis is still text\r\n.\r\n");
	hear(fixture, fixture->client, AWAY);
	assert_whole_message_works(fixture);
}

static void test_broken_off_before_the_verdict(void **state)
{
	struct fixture *fixture = *state;

	client_comes(fixture);
	open_message(fixture, 2);
	say(fixture->client, "x\r\n.\r\n");
	hear(fixture, fixture->server, "x\r\n.\r\n");
	say(fixture->server, "250 2.0.0 done\r\n");
	close(fixture->server);
	fixture->server = -1;
	hear(fixture, fixture->client, AWAY);
	assert_whole_message_works(fixture);
}

static void test_server_started_anew_is_not_noticed(void **state)
{
	struct fixture *fixture = *state;

	client_comes(fixture);
	assert_whole_message_works(fixture);
	close(fixture->server);
	fixture->server = -1;
	assert_whole_message_works(fixture);
	assert_int_equal(fixture->worker->total.replies[451], 0);
}

/* ---- stop, reload, counters ---- */

static void test_stop_ends_idle_sessions(void **state)
{
	struct fixture *fixture = *state;

	client_comes(fixture);
	worker_stop(fixture->worker);
	hear(fixture, fixture->client, "421 4.3.2 mx.example.test: Shutting down\r\n");
	hear_end(fixture, fixture->client);
	close(fixture->client);
	fixture->client = -1;
	turn(fixture);
	assert_false(worker_is_busy(fixture->worker));
}

static void test_stop_lets_a_message_finish(void **state)
{
	struct fixture *fixture = *state;

	client_comes(fixture);
	open_message(fixture, 1);
	worker_stop(fixture->worker);
	assert_true(worker_is_busy(fixture->worker));
	hear_nothing(fixture, fixture->client);
	say(fixture->client, "x\r\n.\r\nMAIL FROM:<>\r\n");
	hear(fixture, fixture->server, "x\r\n.\r\n");
	say(fixture->server, "250 2.0.0 done\r\n");
	hear_until(fixture, fixture->client, "down\r\n");
	assert_memory_equal(fixture->heard, "250 2.0.0 Accepted as ", 22);
	assert_non_null(strstr(fixture->heard, "\r\n421 4.3.2 mx.example.test: Shutting down\r\n"));
	hear_end(fixture, fixture->client);
	close(fixture->client);
	fixture->client = -1;
	for (int i = 0; i < 5; i++)
		turn(fixture);
	assert_false(worker_is_busy(fixture->worker));
}

static void test_reload_changes_limits_at_once(void **state)
{
	struct fixture *fixture = *state;

	client_comes(fixture);
	fixture->settings.message_size = 5000;
	fixture->settings.recipients = 1;
	worker_reload(fixture->worker);
	say(fixture->client, "MAIL FROM:<> SIZE=5001\r\n");
	hear(fixture, fixture->client, "552 5.3.4 Message over 5000 octets\r\n");
	say(fixture->client,
		"MAIL FROM:<>\r\nRCPT TO:<a@example.test>\r\nRCPT TO:<b@example.test>\r\n");
	server_comes(fixture);
	hear_until(fixture, fixture->server, "a@example.test>\r\n");
	say(fixture->server, "250 ok\r\n250 2.1.5 fine\r\n");
	hear(fixture, fixture->client,
		MAIL_OK "250 2.1.5 fine\r\n452 4.5.3 Too many recipients\r\n");
}

static void test_counters(void **state)
{
	struct fixture *fixture = *state;
	struct buf lines = { 0 };

	client_comes(fixture);
	assert_whole_message_works(fixture);
	say(fixture->client, "WHAT\r\n");
	hear(fixture, fixture->client, "500 5.5.2 Command unknown\r\n");
	worker_count(fixture->worker, &lines);
	buf_add_char(&lines, '\0');
	static const char *const expected[] = { "sessions=1\n", "connections=1\n", "messages=1\n",
		"octets=5\n", "recipients=1\n", "hand-over-connections=1\n", "hand-over-idle=1\n",
		"reply-220=1\n", "reply-250=4\n", "reply-354=1\n", "reply-500=1\n" };
	for (size_t i = 0; i < sizeof(expected) / sizeof(expected[0]); i++) {
		if (!strstr(buf_text(&lines).ptr, expected[i]))
			fail_msg("%s is not in\n%s", expected[i], buf_text(&lines).ptr);
	}
	buf_release(&lines);
}

static void test_tls_listener_without_certificate(void **state)
{
	struct fixture *fixture = *state;
	int pair[2];

	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, pair), 0);
	worker_accept(fixture->worker, "smtps", pair[1]);
	hear_end(fixture, pair[0]);
	close(pair[0]);
	client_comes(fixture);
	server_comes(fixture);
	say(fixture->client, "STARTTLS\r\nEHLO client.test\r\n");
	hear_until(fixture, fixture->client, "250 SIZE 36700160\r\n");
	assert_memory_equal(fixture->heard, "454 4.7.0 TLS is not available\r\n", 32);
	assert_null(strstr(fixture->heard, "STARTTLS"));
}

/* ---- EHLO waits to hear what may be offered ---- */

static void test_ehlo_waits_for_the_server(void **state)
{
	struct fixture *fixture = *state;

	client_comes(fixture);
	say(fixture->client, "EHLO client.test\r\nNOOP\r\n");
	hear_nothing(fixture, fixture->client);
	server_comes_with(fixture, "DSN");
	hear_until(fixture, fixture->client, "250 2.0.0 Ok\r\n");
	assert_non_null(strstr(fixture->heard, "250-DSN\r\n"));
	say(fixture->client, "MAIL FROM:<s@client.test> RET=HDRS ENVID=x\r\n"
			     "RCPT TO:<a@example.test> NOTIFY=NEVER\r\n");
	hear_until(fixture, fixture->server, " NOTIFY=NEVER\r\n");
	assert_non_null(strstr(fixture->heard, " RET=HDRS ENVID=x "));
}

static void test_dsn_is_not_offered_for_others(void **state)
{
	struct fixture *fixture = *state;

	client_comes(fixture);
	server_comes(fixture);
	say(fixture->client, "EHLO client.test\r\n");
	hear_until(fixture, fixture->client, "250 SIZE 36700160\r\n");
	assert_null(strstr(fixture->heard, "DSN"));
	say(fixture->client, "MAIL FROM:<s@client.test> RET=HDRS\r\n");
	hear(fixture, fixture->client, "555 5.5.4 MAIL has no parameter RET\r\n");
	say(fixture->client, "MAIL FROM:<s@client.test>\r\nRCPT TO:<a@b.test> NOTIFY=NEVER\r\n");
	hear(fixture, fixture->client, MAIL_OK "555 5.5.4 RCPT has no parameter NOTIFY\r\n");
}

static void test_ehlo_when_nobody_is_there(void **state)
{
	struct fixture *fixture = *state;

	client_comes(fixture);
	say(fixture->client, "EHLO client.test\r\n");
	hear_nothing(fixture, fixture->client);
	fixture->server = accept(fixture->listener, NULL, NULL);
	assert_true(fixture->server >= 0);
	close(fixture->server);
	fixture->server = -1;
	hear_until(fixture, fixture->client, "250 SIZE 36700160\r\n");
	assert_null(strstr(fixture->heard, "DSN"));
}

/* ---- BDAT ---- */

#define ENVELOPE "MAIL FROM:<s@client.test>\r\nRCPT TO:<a@example.test>\r\n"
#define BROUGHT "250 2.1.0 ok\r\n250 2.1.5 fine\r\n"

static void test_chunks_go_through_as_chunks(void **state)
{
	struct fixture *fixture = *state;
	const char *at;
	size_t length;

	client_comes(fixture);
	server_comes_with(fixture, "CHUNKING");
	say(fixture->client, ENVELOPE "BDAT 6\r\n.a\r\n\r\nBDAT 1 last\r\nx");
	hear_until(fixture, fixture->server, "RCPT TO:<a@example.test>\r\n");
	say(fixture->server, BROUGHT);
	/* The trace field goes with the octets, and the end of the last line is added. */
	hear_until(fixture, fixture->server, "\r\nx\r\n");
	assert_int_equal(sscanf(fixture->heard, "BDAT %zu LAST\r\n", &length), 1);
	at = strstr(fixture->heard, "\r\n") + 2;
	assert_memory_equal(at, "Received: from client.test", 26);
	assert_string_equal(at + length - 9, ".a\r\n\r\nx\r\n");
	hear(fixture, fixture->client, MAIL_OK "250 2.1.5 fine\r\n250 2.0.0 6 octets\r\n");
	say(fixture->server, "250 2.0.0 done\r\n");
	hear_until(fixture, fixture->client, "\r\n");
	assert_memory_equal(fixture->heard, "250 2.0.0 Accepted as ", 22);
	assert_whole_message_works(fixture);
}

static void test_chunks_go_through_as_data(void **state)
{
	struct fixture *fixture = *state;

	client_comes(fixture);
	server_comes(fixture);
	say(fixture->client, ENVELOPE "BDAT 4\r\n.a\r\n");
	hear_until(fixture, fixture->server, "DATA\r\n");
	say(fixture->server, BROUGHT "354 go\r\n");
	hear_until(fixture, fixture->server, "\r\n..a\r\n");
	hear(fixture, fixture->client, MAIL_OK "250 2.1.5 fine\r\n250 2.0.0 4 octets\r\n");
	say(fixture->client, "BDAT 0 LAST\r\n");
	hear(fixture, fixture->server, ".\r\n");
	say(fixture->server, "250 2.0.0 done\r\n");
	hear_until(fixture, fixture->client, "\r\n");
	assert_memory_equal(fixture->heard, "250 2.0.0 Accepted as ", 22);
	assert_whole_message_works(fixture);
}

/* The server has said no: what is on its way is thrown away. */
static void test_a_chunk_that_the_server_refuses(void **state)
{
	struct fixture *fixture = *state;
	char octets[5001] = "";

	client_comes(fixture);
	server_comes_with(fixture, "CHUNKING");
	memset(octets, 'x', sizeof(octets) - 1);
	memcpy(octets + sizeof(octets) - 3, "\r\n", 2);
	say(fixture->client, ENVELOPE "BDAT 5000\r\n");
	say(fixture->client, octets);
	hear_until(fixture, fixture->server, "RCPT TO:<a@example.test>\r\n");
	say(fixture->server, BROUGHT);
	hear(fixture, fixture->client, MAIL_OK "250 2.1.5 fine\r\n250 2.0.0 5000 octets\r\n");
	say(fixture->server, "452 4.3.1 full\r\n");
	hear_until(fixture, fixture->server, "RSET\r\n");
	say(fixture->server, "250 2.0.0 ok\r\n");
	say(fixture->client, "BDAT 6\r\nNOOP\r\nBDAT 6 LAST\r\nNOOP\r\n");
	hear(fixture, fixture->client, "452 4.3.1 full\r\n503 5.5.1 MAIL first\r\n");
	assert_whole_message_works(fixture);
}

static void test_no_recipient_for_a_chunk(void **state)
{
	struct fixture *fixture = *state;

	client_comes(fixture);
	server_comes_with(fixture, "CHUNKING");
	say(fixture->client, ENVELOPE "BDAT 6 LAST\r\nNOOP\r\n");
	hear_until(fixture, fixture->server, "RCPT TO:<a@example.test>\r\n");
	say(fixture->server, "250 2.1.0 ok\r\n550 5.1.1 no\r\n");
	hear(fixture, fixture->client, MAIL_OK "550 5.1.1 no\r\n554 5.5.1 No valid recipients\r\n");
	hear(fixture, fixture->server, "RSET\r\n");
	say(fixture->server, "250 2.0.0 ok\r\n");
	assert_whole_message_works(fixture);
}

static void test_server_goes_amid_chunks(void **state)
{
	struct fixture *fixture = *state;

	client_comes(fixture);
	server_comes_with(fixture, "CHUNKING");
	say(fixture->client, ENVELOPE "BDAT 3\r\na\r\n");
	hear_until(fixture, fixture->server, "RCPT TO:<a@example.test>\r\n");
	say(fixture->server, BROUGHT);
	hear(fixture, fixture->client, MAIL_OK "250 2.1.5 fine\r\n250 2.0.0 3 octets\r\n");
	close(fixture->server);
	fixture->server = -1;
	say(fixture->client, "BDAT 6 LAST\r\nNOOP\r\n");
	hear(fixture, fixture->client, AWAY);
	assert_whole_message_works(fixture);
}

/* The client is gone between two chunks: nothing may be delivered. */
static void test_client_goes_amid_chunks(void **state)
{
	struct fixture *fixture = *state;

	client_comes(fixture);
	server_comes_with(fixture, "CHUNKING");
	say(fixture->client, ENVELOPE "BDAT 3\r\na\r\nBDAT 100 LAST\r\nb");
	hear_until(fixture, fixture->server, "RCPT TO:<a@example.test>\r\n");
	say(fixture->server, BROUGHT);
	hear(fixture, fixture->client, MAIL_OK "250 2.1.5 fine\r\n250 2.0.0 3 octets\r\n");
	close(fixture->client);
	fixture->client = -1;
	hear(fixture, fixture->server, "RSET\r\n");
	assert_int_equal(fixture->worker->total.lost_messages, 1);
}

/* ---- PRDR ---- */

#define EACH "353 What each recipient has to say, then the end\r\n"

static void test_verdicts_one_by_one(void **state)
{
	static const struct {
		const char *said;
		const char *heard; /* "Accepted" after these */
		const char *last;
	} cases[] = {
		{ "250 2.0.0 a\r\n250 2.0.0 b\r\n", EACH "250 2.0.0 a\r\n250 2.0.0 b\r\n", NULL },
		{ "250 2.0.0 a\r\n552 5.2.2 full\r\n", EACH "250 2.0.0 a\r\n552 5.2.2 full\r\n",
			NULL },
		{ "451 4.3.0 busy\r\n250 2.0.0 b\r\n", EACH "451 4.3.0 busy\r\n250 2.0.0 b\r\n",
			NULL },
		{ "550 5.7.1 no\r\n552 5.2.2 full\r\n", EACH "550 5.7.1 no\r\n552 5.2.2 full\r\n",
			"550 5.7.1 no\r\n" },
		{ "452 4.2.2 full\r\n552 5.2.2 full\r\n",
			EACH "452 4.2.2 full\r\n552 5.2.2 full\r\n", AWAY },
	};
	struct fixture *fixture = *state;

	client_comes(fixture);
	server_comes(fixture);
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		say(fixture->client, "MAIL FROM:<s@client.test> PRDR\r\nRCPT TO:<a@b.test>\r\n"
				     "RCPT TO:<c@b.test>\r\nDATA\r\n");
		hear_until(fixture, fixture->server, "DATA\r\n");
		say(fixture->server, BROUGHT "250 2.1.5 fine\r\n354 go\r\n");
		hear(fixture, fixture->client, MAIL_OK "250 2.1.5 fine\r\n250 2.1.5 fine\r\n" GO);
		say(fixture->client, "x\r\n.\r\n");
		hear_until(fixture, fixture->server, "x\r\n.\r\n");
		say(fixture->server, cases[i].said);
		hear(fixture, fixture->client, cases[i].heard);
		if (cases[i].last) {
			hear(fixture, fixture->client, cases[i].last);
			continue;
		}
		hear_until(fixture, fixture->client, "\r\n");
		assert_memory_equal(fixture->heard, "250 2.0.0 Accepted as ", 22);
	}
	assert_whole_message_works(fixture);
}

/* One recipient needs no list; and what has no verdicts, none either. */
static void test_prdr_with_nothing_to_list(void **state)
{
	struct fixture *fixture = *state;

	client_comes(fixture);
	server_comes(fixture);
	say(fixture->client, "MAIL FROM:<s@client.test> PRDR\r\nRCPT TO:<a@b.test>\r\nDATA\r\n");
	hear_until(fixture, fixture->server, "DATA\r\n");
	say(fixture->server, BROUGHT "354 go\r\n");
	hear(fixture, fixture->client, MAIL_OK "250 2.1.5 fine\r\n" GO);
	say(fixture->client, "x\r\n.\r\n");
	hear_until(fixture, fixture->server, "x\r\n.\r\n");
	say(fixture->server, "552 5.2.2 full\r\n");
	hear(fixture, fixture->client, "552 5.2.2 full\r\n");
	say(fixture->client, "MAIL FROM:<s@client.test> PRDR\r\nRCPT TO:<a@b.test>\r\n"
			     "RCPT TO:<c@b.test>\r\nDATA\r\n");
	hear_until(fixture, fixture->server, "DATA\r\n");
	say(fixture->server, BROUGHT "250 2.1.5 fine\r\n354 go\r\n");
	hear(fixture, fixture->client, MAIL_OK "250 2.1.5 fine\r\n250 2.1.5 fine\r\n" GO);
	say(fixture->client, "a\nb\r\n.\r\n");
	hear(fixture, fixture->client, "550 5.6.0 Message refused: bare LF; lines end in CRLF\r\n");
	hear_end(fixture, fixture->server);
}

/* Those who were delivered to are told, though the server is gone. */
static void test_prdr_and_the_server_goes(void **state)
{
	struct fixture *fixture = *state;

	client_comes(fixture);
	server_comes(fixture);
	say(fixture->client, "MAIL FROM:<s@client.test> PRDR\r\nRCPT TO:<a@b.test>\r\n"
			     "RCPT TO:<c@b.test>\r\nDATA\r\n");
	hear_until(fixture, fixture->server, "DATA\r\n");
	say(fixture->server, BROUGHT "250 2.1.5 fine\r\n354 go\r\n");
	hear(fixture, fixture->client, MAIL_OK "250 2.1.5 fine\r\n250 2.1.5 fine\r\n" GO);
	say(fixture->client, "x\r\n.\r\n");
	hear_until(fixture, fixture->server, "x\r\n.\r\n");
	say(fixture->server, "250 2.0.0 a\r\n");
	close(fixture->server);
	fixture->server = -1;
	hear(fixture, fixture->client, EACH "250 2.0.0 a\r\n" AWAY "250 2.0.0 Accepted as ");
}

/* ---- a client that stops after RCPT ---- */

static void let_rest(struct fixture *fixture)
{
	char error[200];

	assert_int_equal(settings_set(&smtp_in_section, &fixture->settings, "hand-over-hold",
				 TEXT("1"), error, sizeof(error)),
		0);
	client_comes(fixture);
	say(fixture->client, ENVELOPE "RCPT TO:<no@example.test>\r\n");
	server_comes(fixture);
	hear_until(fixture, fixture->server, "RCPT TO:<no@example.test>\r\n");
	say(fixture->server, BROUGHT "550 5.1.1 no\r\n");
	hear(fixture, fixture->client, MAIL_OK "250 2.1.5 fine\r\n550 5.1.1 no\r\n");
	hear(fixture, fixture->server, "RSET\r\n");
	say(fixture->server, "250 2.0.0 ok\r\n");
	hear_nothing(fixture, fixture->client);
}

/* Only those who were accepted are told again, and the client hears nothing of it. */
static void test_a_silent_client_gives_the_connection_back(void **state)
{
	struct fixture *fixture = *state;

	let_rest(fixture);
	say(fixture->client, "RCPT TO:<b@example.test>\r\nDATA\r\n");
	hear_until(fixture, fixture->server, "DATA\r\n");
	assert_non_null(strstr(fixture->heard, "\r\nRCPT TO:<a@example.test>\r\n"
					       "RCPT TO:<b@example.test>\r\nDATA\r\n"));
	say(fixture->server, BROUGHT "250 2.1.5 b\r\n354 go\r\n");
	hear(fixture, fixture->client, "250 2.1.5 b\r\n" GO);
	say(fixture->client, "x\r\n.\r\n");
	hear_until(fixture, fixture->server, "x\r\n.\r\n");
	say(fixture->server, "250 2.0.0 a\r\n250 2.0.0 b\r\n");
	hear_until(fixture, fixture->client, "\r\n");
	assert_memory_equal(fixture->heard, "250 2.0.0 Accepted as ", 22);
	assert_whole_message_works(fixture);
}

static void test_a_recipient_that_has_gone_meanwhile(void **state)
{
	struct fixture *fixture = *state;

	let_rest(fixture);
	say(fixture->client, "DATA\r\n");
	hear_until(fixture, fixture->server, "DATA\r\n");
	say(fixture->server, "250 2.1.0 ok\r\n550 5.1.1 gone\r\n503 5.5.1 nobody\r\n");
	hear(fixture, fixture->client, AWAY);
	hear(fixture, fixture->server, "RSET\r\n");
	say(fixture->server, "250 2.0.0 ok\r\n");
	assert_whole_message_works(fixture);
}

static void test_a_server_that_has_gone_meanwhile(void **state)
{
	struct fixture *fixture = *state;

	let_rest(fixture);
	close(fixture->listener);
	close(fixture->server);
	fixture->server = -1;
	say(fixture->client, "BDAT 6 LAST\r\nNOOP\r\n");
	hear(fixture, fixture->client, AWAY);
	say(fixture->client, "NOOP\r\n");
	hear(fixture, fixture->client, "250 2.0.0 Ok\r\n");
	listen_anew(fixture);
	assert_whole_message_works(fixture);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(test_##name, setup, teardown)
	const struct CMUnitTest tests[] = {
		TEST(octets_and_id_go_through),
		TEST(utf8_is_passed_on_and_told),
		TEST(no_for_with_several_recipients),
		TEST(verdicts_on_recipients_are_passed_on),
		TEST(refused_data_is_passed_on),
		TEST(verdicts_are_joined),
		TEST(a_message_at_fault_never_ends),
		TEST(slow_server_holds_the_client),
		TEST(client_that_has_ended_still_delivers),
		TEST(client_gone_amid_a_message_cuts_it),
		TEST(slow_command_times_out),
		TEST(nobody_to_hand_over_to),
		TEST(broken_off_before_verdicts_on_recipients),
		TEST(broken_off_between_recipients_and_data),
		TEST(421_of_the_server_is_not_ours),
		TEST(every_failure_is_passed_on),
		TEST(broken_off_amid_a_message),
		TEST(broken_off_before_the_verdict),
		TEST(server_started_anew_is_not_noticed),
		TEST(stop_ends_idle_sessions),
		TEST(stop_lets_a_message_finish),
		TEST(reload_changes_limits_at_once),
		TEST(counters),
		TEST(tls_listener_without_certificate),
		TEST(ehlo_waits_for_the_server),
		TEST(dsn_is_not_offered_for_others),
		TEST(ehlo_when_nobody_is_there),
		TEST(chunks_go_through_as_chunks),
		TEST(chunks_go_through_as_data),
		TEST(a_chunk_that_the_server_refuses),
		TEST(no_recipient_for_a_chunk),
		TEST(server_goes_amid_chunks),
		TEST(client_goes_amid_chunks),
		TEST(verdicts_one_by_one),
		TEST(prdr_with_nothing_to_list),
		TEST(prdr_and_the_server_goes),
		TEST(a_silent_client_gives_the_connection_back),
		TEST(a_recipient_that_has_gone_meanwhile),
		TEST(a_server_that_has_gone_meanwhile),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

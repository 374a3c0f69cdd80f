/*
 * The LMTP client against a scripted peer: what goes over the wire, in what pieces, and what comes of a
 * peer that is slow, gone, or talks nonsense.
 */
#include <errno.h>
#include <event2/event.h>
#include <fcntl.h>
#include <netinet/in.h>
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

#include "base/buf.h"
#include "base/log.h"
#include "smtp-in/lmtp.h"

#define EVERYTHING "250-peer\r\n250-PIPELINING\r\n250-SIZE 1000\r\n250-8bitmime\r\n250 XID\r\n"

enum { PATIENCE_SECONDS = 20 };

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

static void hear(struct fixture *fixture, char what, const struct reply *reply)
{
	buf_format(&fixture->heard, "%c%u %u.%u.%u %.*s|", what, reply->code, reply->enhanced[0],
		reply->enhanced[1], reply->enhanced[2], TEXT_ARG(reply->text));
}

static void on_recipient(void *owner, const struct reply *reply)
{
	hear(owner, 'r', reply);
}

static void on_data(void *owner, const struct reply *reply)
{
	hear(owner, 'd', reply);
}

static void begin_message(struct fixture *fixture);

static void on_delivered(void *owner, const struct reply *reply)
{
	struct fixture *fixture = owner;

	hear(fixture, 'v', reply);
	if (!fixture->hurried)
		return;
	fixture->hurried = false;
	lmtp_end(&fixture->lmtp);
	begin_message(fixture);
}

static void on_refused(void *owner, const struct reply *reply)
{
	hear(owner, 'x', reply);
}

static void on_drained(void *owner)
{
	struct fixture *fixture = owner;

	buf_add_string(&fixture->heard, "D|");
}

static void on_failed(void *owner, const char *reason)
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

static bool is_late(const struct timespec *begin)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return now.tv_sec - begin->tv_sec > PATIENCE_SECONDS;
}

/* One turn, which waits a moment at most. */
static void turn(struct fixture *fixture)
{
	event_base_loopexit(fixture->loop, &(struct timeval){ .tv_usec = 1000 });
	event_base_dispatch(fixture->loop);
}

static void expect_heard(struct fixture *fixture, const char *what)
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

static bool peer_is_called(struct fixture *fixture)
{
	struct pollfd poll_fd = { .fd = fixture->listener, .events = POLLIN };

	turn(fixture);
	return poll(&poll_fd, 1, 0) == 1;
}

static void peer_accept(struct fixture *fixture)
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

static void peer_say(struct fixture *fixture, const char *what)
{
	assert_int_equal(send(fixture->peer, what, strlen(what), MSG_NOSIGNAL), strlen(what));
}

/* Exactly this is what comes next. */
static void peer_hear(struct fixture *fixture, const char *what)
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

static void peer_hear_nothing(struct fixture *fixture)
{
	char octet;

	for (int i = 0; i < 5; i++)
		turn(fixture);
	assert_int_equal(recv(fixture->peer, &octet, 1, 0), -1);
	assert_int_equal(errno, EAGAIN);
}

static void peer_hear_end(struct fixture *fixture)
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

static void peer_close(struct fixture *fixture)
{
	close(fixture->peer);
	fixture->peer = -1;
}

static void peer_greet(struct fixture *fixture, const char *extensions)
{
	peer_accept(fixture);
	peer_say(fixture, "220 peer LMTP\r\n");
	peer_hear(fixture, "LHLO mx.example.test\r\n");
	peer_say(fixture, extensions);
}

/* ---- setting up ---- */

static int setup(void **state)
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

static int teardown(void **state)
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

static void begin(struct fixture *fixture)
{
	const char *reason = "";

	fixture->lmtp = lmtp_begin(fixture->pool, &fixture->envelope, &handlers, fixture, &reason);
	assert_non_null(fixture->lmtp);
}

static void add(struct fixture *fixture, int i, struct text address)
{
	fixture->recipient[i].address = address;
	lmtp_add_recipient(fixture->lmtp, &fixture->recipient[i]);
}

/* Octets of the message. */
static void give(struct fixture *fixture, struct text octets, bool last)
{
	lmtp_add_message(fixture->lmtp, &octets, 1, last);
}

/* A message for a@b.test is begun, and the peer has heard MAIL, RCPT and DATA. */
static void begin_message(struct fixture *fixture)
{
	begin(fixture);
	add(fixture, 0, TEXT("a@b.test"));
	lmtp_start_message(fixture->lmtp, LMTP_BODY_STUFFED);
}

#define MAIL "MAIL FROM:<s@client.test> SIZE=77 BODY=8BITMIME XID=id1\r\n"
#define MESSAGE MAIL "RCPT TO:<a@b.test>\r\nDATA\r\n"

/* And it is delivered. */
static void finish_message(struct fixture *fixture)
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

/* A kept connection, its peer at hand. */
static void keep_one(struct fixture *fixture)
{
	begin_message(fixture);
	peer_greet(fixture, EVERYTHING);
	finish_message(fixture);
}

static void assert_idle(struct fixture *fixture, size_t idle)
{
	struct lmtp_counts counts;

	for (int i = 0; i < 5; i++)
		turn(fixture);
	lmtp_pool_count(fixture->pool, &counts);
	assert_int_equal(counts.idle, idle);
	assert_int_equal(counts.open, idle);
}

/* ---- SMTPUTF8 ---- */

static void test_utf8_goes_to_who_knows_it(void **state)
{
	struct fixture *fixture = *state;

	fixture->envelope.utf8 = true;
	fixture->envelope.sender = TEXT("s\xc3\xa4@client.test");
	begin_message(fixture);
	peer_greet(fixture, "250-peer\r\n250-PIPELINING\r\n250 smtputf8\r\n");
	peer_hear(fixture, "MAIL FROM:<s\xc3\xa4@client.test> SMTPUTF8\r\n"
			   "RCPT TO:<a@b.test>\r\nDATA\r\n");
}

/* Not a word of it goes to any other server, whose connection is as good as before. */
static void test_utf8_is_refused_where_unknown(void **state)
{
	struct fixture *fixture = *state;
	const char *heard = "r550 5.6.7 Where mail goes from here, SMTPUTF8 is not known|"
			    "d554 5.5.1 No valid recipients|";

	fixture->envelope.utf8 = true;
	begin_message(fixture);
	peer_greet(fixture, EVERYTHING);
	expect_heard(fixture, heard);
	peer_hear_nothing(fixture);
	lmtp_end(&fixture->lmtp);
	begin_message(fixture);
	expect_heard(fixture, heard);
	peer_hear_nothing(fixture);
	lmtp_end(&fixture->lmtp);
	fixture->envelope.utf8 = false;
	begin_message(fixture);
	finish_message(fixture);
}

/* ---- what is sent ---- */

static void test_whole_message_pipelined(void **state)
{
	struct fixture *fixture = *state;

	begin(fixture);
	add(fixture, 0, TEXT("a@b.test"));
	add(fixture, 1, TEXT("\"x y\"@b.test"));
	add(fixture, 2, TEXT("c@b.test"));
	lmtp_start_message(fixture->lmtp, LMTP_BODY_STUFFED);
	peer_greet(fixture, EVERYTHING);
	peer_hear(fixture, MAIL "RCPT TO:<a@b.test>\r\nRCPT TO:<\"x y\"@b.test>\r\n"
				"RCPT TO:<c@b.test>\r\nDATA\r\n");
	peer_say(fixture, "250 2.1.0 ok\r\n250 2.1.5 a\r\n550 5.1.1 none\r\n250 c\r\n354 go\r\n");
	expect_heard(fixture, "r250 2.1.5 a|r550 5.1.1 none|r250 0.0.0 c|d354 0.0.0 go|");
	give(fixture, TEXT("Subject: x\r\n"), false);
	give(fixture, TEXT("\r\n..\r\n.\r\n"), true);
	peer_hear(fixture, "Subject: x\r\n\r\n..\r\n.\r\n");
	peer_say(fixture, "250 2.0.0 a\r\n452 4.2.2 full\r\n");
	expect_heard(fixture, "v250 2.0.0 a|v452 4.2.2 full|");
	lmtp_end(&fixture->lmtp);
	assert_idle(fixture, 1);
}

static void test_kept_connection_is_used_again(void **state)
{
	struct fixture *fixture = *state;
	struct lmtp_counts counts;

	keep_one(fixture);
	for (int i = 0; i < 3; i++) {
		begin_message(fixture);
		finish_message(fixture);
	}
	lmtp_pool_count(fixture->pool, &counts);
	assert_int_equal(counts.connections, 1);
	assert_int_equal(counts.reuses, 3);
	assert_int_equal(counts.failures, 0);
}

static void test_without_extensions_one_by_one(void **state)
{
	struct fixture *fixture = *state;

	begin(fixture);
	add(fixture, 0, TEXT("a@b.test"));
	add(fixture, 1, TEXT("c@b.test"));
	lmtp_start_message(fixture->lmtp, LMTP_BODY_STUFFED);
	peer_greet(fixture, "250 PIPELINING is my name\r\n");
	peer_hear(fixture, "MAIL FROM:<s@client.test>\r\n");
	peer_hear_nothing(fixture);
	peer_say(fixture, "250 ok\r\n");
	peer_hear(fixture, "RCPT TO:<a@b.test>\r\n");
	peer_hear_nothing(fixture);
	peer_say(fixture, "250 ok\r\n");
	peer_hear(fixture, "RCPT TO:<c@b.test>\r\n");
	peer_hear_nothing(fixture);
	peer_say(fixture, "550 no\r\n");
	peer_hear(fixture, "DATA\r\n");
	peer_say(fixture, "354 go\r\n");
	expect_heard(fixture, "r250 0.0.0 ok|r550 0.0.0 no|d354 0.0.0 go|");
}

static void test_replies_in_pieces(void **state)
{
	static const char *const pieces[] = { "2", "50-two", "\r", "\n250-lines", "\r\n",
		"250 2.1.0 ok\r", "\n250 2.1.5 good\r\n35", "4", " go\r", "\n" };
	struct fixture *fixture = *state;

	begin_message(fixture);
	peer_greet(fixture, EVERYTHING);
	peer_hear(fixture, MESSAGE);
	for (size_t i = 0; i < sizeof(pieces) / sizeof(pieces[0]); i++) {
		peer_say(fixture, pieces[i]);
		turn(fixture);
	}
	expect_heard(fixture, "r250 2.1.5 good|d354 0.0.0 go|");
}

static void test_sender_null_and_nothing_declared(void **state)
{
	struct fixture *fixture = *state;

	fixture->envelope = (struct lmtp_envelope){ .sender = TEXT(""), .id = TEXT("id1") };
	begin_message(fixture);
	peer_greet(fixture, EVERYTHING);
	peer_hear(fixture, "MAIL FROM:<> XID=id1\r\nRCPT TO:<a@b.test>\r\nDATA\r\n");
}

static void test_nothing_is_sent_without_recipient(void **state)
{
	struct fixture *fixture = *state;

	keep_one(fixture);
	begin(fixture);
	peer_hear_nothing(fixture);
	lmtp_end(&fixture->lmtp);
	peer_hear_nothing(fixture);
	assert_idle(fixture, 1);
}

static void test_recipient_after_the_first_verdicts(void **state)
{
	struct fixture *fixture = *state;

	begin(fixture);
	add(fixture, 0, TEXT("a@b.test"));
	peer_greet(fixture, EVERYTHING);
	peer_hear(fixture, MAIL "RCPT TO:<a@b.test>\r\n");
	peer_say(fixture, "250 ok\r\n250 a\r\n");
	expect_heard(fixture, "r250 0.0.0 a|");
	add(fixture, 1, TEXT("c@b.test"));
	peer_hear(fixture, "RCPT TO:<c@b.test>\r\n");
	peer_say(fixture, "451 4.0.0 later\r\n");
	expect_heard(fixture, "r451 4.0.0 later|");
	lmtp_start_message(fixture->lmtp, LMTP_BODY_STUFFED);
	peer_hear(fixture, "DATA\r\n");
}

static void test_output_is_bounded(void **state)
{
	static char octets[16384];
	struct fixture *fixture = *state;
	size_t added = 0, taken = 0;

	memset(octets, 'x', sizeof(octets));
	begin_message(fixture);
	peer_greet(fixture, EVERYTHING);
	peer_hear(fixture, MESSAGE);
	peer_say(fixture, "250 ok\r\n250 ok\r\n354 go\r\n");
	expect_heard(fixture, "r250 0.0.0 ok|d354 0.0.0 go|");
	while (!lmtp_is_full(fixture->lmtp)) {
		give(fixture, (struct text){ octets, sizeof(octets) }, false);
		added += sizeof(octets);
		turn(fixture);
		assert_true(added < 16 << 20);
	}
	while (taken < added) {
		ssize_t n = recv(fixture->peer, octets, sizeof(octets), 0);
		if (n > 0)
			taken += (size_t)n;
		else
			turn(fixture);
	}
	expect_heard(fixture, "D|");
	assert_false(lmtp_is_full(fixture->lmtp));
}

/* ---- refusals ---- */

static void test_refused_sender_is_every_verdict(void **state)
{
	struct fixture *fixture = *state;

	begin(fixture);
	add(fixture, 0, TEXT("a@b.test"));
	add(fixture, 1, TEXT("c@b.test"));
	peer_greet(fixture, EVERYTHING);
	peer_hear(fixture, MAIL "RCPT TO:<a@b.test>\r\nRCPT TO:<c@b.test>\r\n");
	peer_say(fixture, "552 5.3.4 too big\r\n503 5.5.1 MAIL first\r\n503 5.5.1 MAIL first\r\n");
	expect_heard(fixture, "r552 5.3.4 too big|r552 5.3.4 too big|");
	lmtp_end(&fixture->lmtp);
	peer_hear(fixture, "RSET\r\n");
	peer_say(fixture, "250 ok\r\n");
	assert_idle(fixture, 1);
	/* The next is judged by itself. */
	begin_message(fixture);
	finish_message(fixture);
}

static void test_refused_data(void **state)
{
	struct fixture *fixture = *state;

	begin_message(fixture);
	peer_greet(fixture, EVERYTHING);
	peer_hear(fixture, MESSAGE);
	peer_say(fixture, "250 ok\r\n550 5.1.1 no\r\n503 5.5.1 no recipients\r\n");
	expect_heard(fixture, "r550 5.1.1 no|d503 5.5.1 no recipients|");
	lmtp_end(&fixture->lmtp);
	peer_hear(fixture, "RSET\r\n");
	peer_say(fixture, "250 ok\r\n");
	assert_idle(fixture, 1);
}

static void test_data_for_nobody_is_cut(void **state)
{
	struct fixture *fixture = *state;

	begin_message(fixture);
	peer_greet(fixture, EVERYTHING);
	peer_hear(fixture, MESSAGE);
	peer_say(fixture, "250 ok\r\n550 no\r\n354 go\r\n");
	expect_heard(fixture, "r550 0.0.0 no|d354 0.0.0 go|");
	lmtp_end(&fixture->lmtp);
	peer_hear_end(fixture);
	assert_idle(fixture, 0);
}

static void test_message_given_up_is_cut(void **state)
{
	struct fixture *fixture = *state;

	begin_message(fixture);
	peer_greet(fixture, EVERYTHING);
	peer_hear(fixture, MESSAGE);
	peer_say(fixture, "250 ok\r\n250 ok\r\n354 go\r\n");
	expect_heard(fixture, "r250 0.0.0 ok|d354 0.0.0 go|");
	give(fixture, TEXT("half\r\n"), false);
	peer_hear(fixture, "half\r\n");
	lmtp_end(&fixture->lmtp);
	peer_hear_end(fixture);
	assert_idle(fixture, 0);
}

static void test_reset_swallows_what_was_awaited(void **state)
{
	struct fixture *fixture = *state;

	keep_one(fixture);
	begin(fixture);
	add(fixture, 0, TEXT("a@b.test"));
	add(fixture, 1, TEXT("c@b.test"));
	lmtp_end(&fixture->lmtp);
	peer_hear(fixture, MAIL "RCPT TO:<a@b.test>\r\nRCPT TO:<c@b.test>\r\nRSET\r\n");
	peer_say(fixture, "250 ok\r\n250 ok\r\n550 no\r\n");
	peer_hear_nothing(fixture);
	peer_say(fixture, "250 reset\r\n");
	assert_idle(fixture, 1);
	begin_message(fixture);
	finish_message(fixture);
}

static void test_reset_refused_is_closed(void **state)
{
	struct fixture *fixture = *state;

	keep_one(fixture);
	begin(fixture);
	add(fixture, 0, TEXT("a@b.test"));
	lmtp_end(&fixture->lmtp);
	peer_hear(fixture, MAIL "RCPT TO:<a@b.test>\r\nRSET\r\n");
	peer_say(fixture, "250 ok\r\n250 ok\r\n500 what\r\n");
	peer_hear_end(fixture);
	assert_idle(fixture, 0);
}

/* ---- kept connections that are none any more ---- */

static void test_kept_and_closed_is_replaced(void **state)
{
	struct fixture *fixture = *state;

	keep_one(fixture);
	/* Both at once: the close is not yet seen when the message begins. */
	begin_message(fixture);
	peer_close(fixture);
	peer_greet(fixture, EVERYTHING);
	finish_message(fixture);
}

static void test_kept_and_closed_while_idle(void **state)
{
	struct fixture *fixture = *state;

	keep_one(fixture);
	peer_close(fixture);
	assert_idle(fixture, 0);
	begin_message(fixture);
	peer_greet(fixture, EVERYTHING);
	finish_message(fixture);
}

static void test_kept_and_says_421_is_replaced(void **state)
{
	struct fixture *fixture = *state;

	keep_one(fixture);
	begin_message(fixture);
	peer_hear(fixture, MESSAGE);
	peer_say(fixture, "421 4.3.2 shutting down\r\n");
	peer_greet(fixture, "250-new\r\n250 PIPELINING\r\n");
	peer_hear(fixture, "MAIL FROM:<s@client.test>\r\nRCPT TO:<a@b.test>\r\nDATA\r\n");
	peer_say(fixture, "250 ok\r\n250 ok\r\n354 go\r\n");
	expect_heard(fixture, "r250 0.0.0 ok|d354 0.0.0 go|");
}

static void test_kept_and_broken_after_an_answer_fails(void **state)
{
	struct fixture *fixture = *state;

	keep_one(fixture);
	begin_message(fixture);
	peer_hear(fixture, MESSAGE);
	peer_say(fixture, "250 2.1.0 ok\r\n");
	turn(fixture);
	peer_close(fixture);
	expect_heard(fixture, "f|");
	assert_idle(fixture, 0);
}

static void test_fresh_and_closed_fails(void **state)
{
	struct fixture *fixture = *state;

	begin_message(fixture);
	peer_greet(fixture, EVERYTHING);
	peer_hear(fixture, MESSAGE);
	peer_close(fixture);
	expect_heard(fixture, "f|");
	assert_idle(fixture, 0);
}

static void test_closed_before_the_verdict_fails(void **state)
{
	struct fixture *fixture = *state;

	begin(fixture);
	add(fixture, 0, TEXT("a@b.test"));
	add(fixture, 1, TEXT("c@b.test"));
	lmtp_start_message(fixture->lmtp, LMTP_BODY_STUFFED);
	peer_greet(fixture, EVERYTHING);
	peer_hear(fixture, MAIL "RCPT TO:<a@b.test>\r\nRCPT TO:<c@b.test>\r\nDATA\r\n");
	peer_say(fixture, "250 ok\r\n250 ok\r\n250 ok\r\n354 go\r\n");
	expect_heard(fixture, "r250 0.0.0 ok|r250 0.0.0 ok|d354 0.0.0 go|");
	give(fixture, TEXT(".\r\n"), true);
	peer_hear(fixture, ".\r\n");
	peer_say(fixture, "250 2.0.0 done\r\n250 2.0");
	turn(fixture);
	peer_close(fixture);
	expect_heard(fixture, "v250 2.0.0 done|f|");
}

/* What comes unasked must never be taken for the answer to the next message. */
static void test_kept_that_speaks_unasked_is_closed(void **state)
{
	struct fixture *fixture = *state;

	keep_one(fixture);
	peer_say(fixture, "250 2.0.0 and another\r\n");
	peer_hear_end(fixture);
	assert_idle(fixture, 0);
}

static void test_more_verdicts_than_recipients_is_closed(void **state)
{
	struct fixture *fixture = *state;

	begin_message(fixture);
	peer_greet(fixture, EVERYTHING);
	peer_hear(fixture, MESSAGE);
	peer_say(fixture, "250 ok\r\n250 ok\r\n354 go\r\n");
	expect_heard(fixture, "r250 0.0.0 ok|d354 0.0.0 go|");
	give(fixture, TEXT(".\r\n"), true);
	peer_hear(fixture, ".\r\n");
	peer_say(fixture, "250 one\r\n250 two\r\n");
	expect_heard(fixture, "v250 0.0.0 one|f|");
	assert_idle(fixture, 0);
}

/* The second verdict must not become the answer to the next MAIL. */
static void test_more_verdicts_than_recipients_in_a_hurry(void **state)
{
	struct fixture *fixture = *state;

	begin_message(fixture);
	peer_greet(fixture, EVERYTHING);
	peer_hear(fixture, MESSAGE);
	peer_say(fixture, "250 ok\r\n250 ok\r\n354 go\r\n");
	expect_heard(fixture, "r250 0.0.0 ok|d354 0.0.0 go|");
	give(fixture, TEXT(".\r\n"), true);
	peer_hear(fixture, ".\r\n");
	fixture->hurried = true;
	peer_say(fixture, "250 one\r\n250 two\r\n");
	expect_heard(fixture, "v250 0.0.0 one|");
	peer_greet(fixture, EVERYTHING);
	finish_message(fixture);
}

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
	begin_message(fixture);
	peer_greet(fixture, EVERYTHING);
	peer_hear(fixture, MESSAGE);
	peer_say(fixture, line);
	peer_say(fixture, "\r\n");
	expect_heard(fixture, "f|");
	begin_message(fixture);
	peer_greet(fixture, EVERYTHING);
	peer_hear(fixture, MESSAGE);
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
	peer_say(fixture, "250 ok\r\n");
	expect_heard(fixture, "f|");
	peer_hear_end(fixture);
}

static void test_slow_verdict_times_out(void **state)
{
	struct fixture *fixture = *state;

	fixture->options.end_seconds = 1;
	lmtp_pool_change(fixture->pool, &fixture->options);
	begin_message(fixture);
	peer_greet(fixture, EVERYTHING);
	peer_hear(fixture, MESSAGE);
	peer_say(fixture, "250 ok\r\n250 ok\r\n354 go\r\n");
	expect_heard(fixture, "r250 0.0.0 ok|d354 0.0.0 go|");
	give(fixture, TEXT(".\r\n"), true);
	expect_heard(fixture, "f|");
}

/* It is the client's turn, and the client has limits of its own. */
static void test_waiting_for_the_client_has_no_limit(void **state)
{
	struct fixture *fixture = *state;
	struct timespec start, now;

	fixture->options.seconds = fixture->options.end_seconds = 1;
	lmtp_pool_change(fixture->pool, &fixture->options);
	begin(fixture);
	add(fixture, 0, TEXT("a@b.test"));
	peer_greet(fixture, EVERYTHING);
	peer_hear(fixture, MAIL "RCPT TO:<a@b.test>\r\n");
	peer_say(fixture, "250 ok\r\n250 ok\r\n");
	expect_heard(fixture, "r250 0.0.0 ok|");
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

/* ---- BDAT ---- */

static struct lmtp_counts counts(const struct fixture *fixture)
{
	struct lmtp_counts found;

	lmtp_pool_count(fixture->pool, &found);
	return found;
}

#define CHUNKING \
	"250-peer\r\n250-PIPELINING\r\n250-SIZE\r\n250-8BITMIME\r\n250-XID\r\n250 CHUNKING\r\n"
#define ENVELOPE MAIL "RCPT TO:<a@b.test>\r\n"

/* A plain message for a@b.test may begin, at a peer of these extensions. */
static void open_plain(struct fixture *fixture, const char *extensions)
{
	begin(fixture);
	add(fixture, 0, TEXT("a@b.test"));
	lmtp_start_message(fixture->lmtp, LMTP_BODY_PLAIN);
	peer_greet(fixture, extensions);
}

static void open_chunks(struct fixture *fixture)
{
	open_plain(fixture, CHUNKING);
	peer_hear(fixture, ENVELOPE);
	peer_say(fixture, "250 2.1.0 ok\r\n250 2.1.5 ok\r\n");
	expect_heard(fixture, "r250 2.1.5 ok|d354 0.0.0 |");
}

/* A chunk that is large enough to go at once. */
enum { LARGE = 4096 };

static struct text large(void)
{
	static char octets[LARGE + 1];

	memset(octets, 'x', LARGE);
	memcpy(octets + LARGE - 2, "\r\n", 2);
	return (struct text){ .ptr = octets, .len = LARGE };
}

static void give_large(struct fixture *fixture)
{
	char wanted[2 * LARGE];

	give(fixture, large(), false);
	snprintf(wanted, sizeof(wanted), "BDAT 4096\r\n%s", large().ptr);
	peer_hear(fixture, wanted);
}

static void test_chunks_go_by_bdat(void **state)
{
	struct fixture *fixture = *state;
	const struct text pieces[] = { TEXT("T: x\r\n"), large(), TEXT(".a\r\n") };
	char wanted[2 * LARGE];

	open_chunks(fixture);
	lmtp_add_message(fixture->lmtp, pieces, 3, false);
	snprintf(wanted, sizeof(wanted), "BDAT 4106\r\nT: x\r\n%s.a\r\n", large().ptr);
	peer_hear(fixture, wanted);
	give_large(fixture);
	/* Little waits for more, or for the end. */
	give(fixture, TEXT(""), false);
	give(fixture, TEXT("b\r\n"), false);
	give(fixture, TEXT(".\r\n"), false);
	peer_hear_nothing(fixture);
	give(fixture, TEXT("c\r\n"), true);
	peer_hear(fixture, "BDAT 9 LAST\r\nb\r\n.\r\nc\r\n");
	peer_say(fixture, "250 4106\r\n250 4096\r\n250 2.0.0 done\r\n");
	expect_heard(fixture, "v250 2.0.0 done|");
	lmtp_end(&fixture->lmtp);
	peer_hear_nothing(fixture);
	assert_int_equal(counts(fixture).idle, 1);
}

static void test_nothing_is_the_last_chunk(void **state)
{
	struct fixture *fixture = *state;

	open_chunks(fixture);
	give_large(fixture);
	give(fixture, TEXT(""), true);
	peer_hear(fixture, "BDAT 0 LAST\r\n");
	peer_say(fixture, "250 4096\r\n250 2.0.0 done\r\n");
	expect_heard(fixture, "v250 2.0.0 done|");
}

/* Verdicts that were there before the message was asked for. */
static void test_chunks_after_the_verdicts(void **state)
{
	struct fixture *fixture = *state;

	begin(fixture);
	add(fixture, 0, TEXT("a@b.test"));
	peer_greet(fixture, CHUNKING);
	peer_hear(fixture, ENVELOPE);
	peer_say(fixture, "250 2.1.0 ok\r\n250 2.1.5 ok\r\n");
	expect_heard(fixture, "r250 2.1.5 ok|");
	lmtp_start_message(fixture->lmtp, LMTP_BODY_PLAIN);
	expect_heard(fixture, "d354 0.0.0 |");
	give(fixture, TEXT("x\r\n"), true);
	peer_hear(fixture, "BDAT 3 LAST\r\nx\r\n");
	peer_say(fixture, "250 2.0.0 done\r\n");
	expect_heard(fixture, "v250 2.0.0 done|");
}

static void test_chunks_are_stuffed_without_chunking(void **state)
{
	struct fixture *fixture = *state;

	open_plain(fixture, EVERYTHING);
	peer_hear(fixture, MESSAGE);
	peer_say(fixture, "250 2.1.0 ok\r\n250 2.1.5 ok\r\n354 go\r\n");
	expect_heard(fixture, "r250 2.1.5 ok|d354 0.0.0 go|");
	give(fixture, TEXT(".a\r\n\r"), false);
	give(fixture, TEXT("\n.\r\n"), false);
	give(fixture, TEXT("..\r\n"), true);
	peer_hear(fixture, "..a\r\n\r\n..\r\n...\r\n.\r\n");
	peer_say(fixture, "250 2.0.0 done\r\n");
	expect_heard(fixture, "v250 2.0.0 done|");
}

static void test_a_refused_chunk(void **state)
{
	struct fixture *fixture = *state;

	open_chunks(fixture);
	give_large(fixture);
	give_large(fixture);
	peer_say(fixture, "552 5.3.4 big\r\n");
	expect_heard(fixture, "x552 5.3.4 big|");
	lmtp_end(&fixture->lmtp);
	peer_hear(fixture, "RSET\r\n");
	/* The reply to the second is nobody's; then the connection is as good as new. */
	peer_say(fixture, "503 5.5.1 no\r\n250 2.0.0 reset\r\n");
	expect_heard(fixture, "");
	assert_int_equal(counts(fixture).idle, 1);
}

static void test_a_given_up_message_of_chunks_is_reset(void **state)
{
	struct fixture *fixture = *state;

	open_chunks(fixture);
	give_large(fixture);
	give(fixture, TEXT("a\r\n"), false);
	lmtp_end(&fixture->lmtp);
	peer_hear(fixture, "RSET\r\n");
	peer_say(fixture, "250 4096\r\n250 2.0.0 reset\r\n");
	expect_heard(fixture, "");
	assert_int_equal(counts(fixture).idle, 1);
}

/* How many replies a server gives to the last chunk is known when all is well only. */
static void test_given_up_after_the_last_chunk(void **state)
{
	struct fixture *fixture = *state;

	open_chunks(fixture);
	give_large(fixture);
	give(fixture, TEXT("b\r\n"), true);
	peer_say(fixture, "452 4.3.1 full\r\n");
	expect_heard(fixture, "x452 4.3.1 full|");
	lmtp_end(&fixture->lmtp);
	peer_hear(fixture, "BDAT 3 LAST\r\nb\r\n");
	peer_hear_end(fixture);
}

static void test_a_reply_to_no_chunk(void **state)
{
	struct fixture *fixture = *state;

	open_chunks(fixture);
	peer_say(fixture, "250 what\r\n");
	expect_heard(fixture, "f|");
	peer_hear_end(fixture);
}

/* ---- what the server offers ---- */

#define WITH_DSN "250-peer\r\n250-PIPELINING\r\n250-XID\r\n250 DSN\r\n"

static void note_asked(void *owner)
{
	struct fixture *fixture = owner;

	buf_add_string(&fixture->heard, "a|");
}

static void ask(struct fixture *fixture)
{
	fixture->options.asked = note_asked;
	fixture->options.owner = fixture;
	lmtp_pool_change(fixture->pool, &fixture->options);
	lmtp_pool_ask(fixture->pool);
	assert_true(lmtp_pool_is_asking(fixture->pool));
	assert_false(lmtp_pool_offers_dsn(fixture->pool));
}

static void test_a_connection_ahead(void **state)
{
	struct fixture *fixture = *state;

	ask(fixture);
	peer_greet(fixture, WITH_DSN);
	expect_heard(fixture, "a|");
	assert_false(lmtp_pool_is_asking(fixture->pool));
	assert_true(lmtp_pool_offers_dsn(fixture->pool));
	assert_int_equal(counts(fixture).idle, 1);
	/* It is known: no further one. */
	lmtp_pool_ask(fixture->pool);
	assert_int_equal(counts(fixture).open, 1);
	begin(fixture);
	add(fixture, 0, TEXT("a@b.test"));
	peer_hear(fixture, "MAIL FROM:<s@client.test> XID=id1\r\nRCPT TO:<a@b.test>\r\n");
}

static void test_a_message_takes_the_connection_ahead(void **state)
{
	struct fixture *fixture = *state;

	ask(fixture);
	begin(fixture);
	add(fixture, 0, TEXT("a@b.test"));
	assert_int_equal(counts(fixture).open, 1);
	peer_greet(fixture, WITH_DSN);
	expect_heard(fixture, "a|");
	peer_hear(fixture, "MAIL FROM:<s@client.test> XID=id1\r\nRCPT TO:<a@b.test>\r\n");
	assert_int_equal(counts(fixture).idle, 0);
}

static void test_a_message_leaves_the_connection_ahead(void **state)
{
	struct fixture *fixture = *state;

	ask(fixture);
	begin(fixture);
	add(fixture, 0, TEXT("a@b.test"));
	lmtp_end(&fixture->lmtp);
	peer_greet(fixture, WITH_DSN);
	expect_heard(fixture, "a|");
	peer_hear_nothing(fixture);
	assert_true(lmtp_pool_offers_dsn(fixture->pool));
	assert_int_equal(counts(fixture).idle, 1);
}

static void test_nobody_to_ask(void **state)
{
	struct fixture *fixture = *state;

	ask(fixture);
	peer_accept(fixture);
	peer_close(fixture);
	expect_heard(fixture, "a|");
	assert_false(lmtp_pool_is_asking(fixture->pool));
	assert_false(lmtp_pool_offers_dsn(fixture->pool));
	/* The first message finds out. */
	begin(fixture);
	add(fixture, 0, TEXT("a@b.test"));
	peer_greet(fixture, WITH_DSN);
	peer_hear(fixture, "MAIL FROM:<s@client.test> XID=id1\r\nRCPT TO:<a@b.test>\r\n");
	assert_true(lmtp_pool_offers_dsn(fixture->pool));
}

static void say_dsn(struct fixture *fixture)
{
	fixture->envelope = (struct lmtp_envelope){ .sender = TEXT("s@client.test"),
		.id = TEXT("id1"),
		.dsn = { .content = DSN_RETURN_HEADERS, .envelope_id = TEXT("e+2B1") } };
	fixture->recipient[0].dsn =
		(struct dsn_recipient){ .notify = DSN_NOTIFY_SUCCESS | DSN_NOTIFY_DELAY,
			.original = TEXT("rfc822;o@b.test") };
}

static void test_dsn_is_handed_on(void **state)
{
	struct fixture *fixture = *state;

	say_dsn(fixture);
	begin(fixture);
	add(fixture, 0, TEXT("a@b.test"));
	add(fixture, 1, TEXT("c@b.test"));
	peer_greet(fixture, WITH_DSN);
	peer_hear(fixture, "MAIL FROM:<s@client.test> RET=HDRS ENVID=e+2B1 XID=id1\r\n"
			   "RCPT TO:<a@b.test> NOTIFY=SUCCESS,DELAY ORCPT=rfc822;o@b.test\r\n"
			   "RCPT TO:<c@b.test>\r\n");
}

static void test_dsn_is_not_lost(void **state)
{
	struct fixture *fixture = *state;

	say_dsn(fixture);
	begin(fixture);
	add(fixture, 0, TEXT("a@b.test"));
	lmtp_start_message(fixture->lmtp, LMTP_BODY_STUFFED);
	peer_greet(fixture, EVERYTHING);
	expect_heard(fixture,
		"r451 4.3.0 Where mail goes from here, DSN is not known any more, try again|"
		"d554 5.5.1 No valid recipients|");
	peer_hear_nothing(fixture);
}

/* Of one recipient only: the others get the message, and every reply has its place. */
static void test_dsn_of_one_recipient_is_not_lost(void **state)
{
	struct fixture *fixture = *state;

	fixture->recipient[1].dsn.notify = DSN_NOTIFY_NEVER;
	begin(fixture);
	add(fixture, 0, TEXT("a@b.test"));
	add(fixture, 1, TEXT("c@b.test"));
	add(fixture, 2, TEXT("d@b.test"));
	lmtp_start_message(fixture->lmtp, LMTP_BODY_STUFFED);
	peer_greet(fixture, EVERYTHING);
	peer_hear(fixture, ENVELOPE);
	peer_say(fixture, "250 2.1.0 ok\r\n250 2.1.5 ok\r\n");
	peer_hear(fixture, "RCPT TO:<d@b.test>\r\nDATA\r\n");
	peer_say(fixture, "250 2.1.5 ok\r\n354 go\r\n");
	expect_heard(fixture,
		"r250 2.1.5 ok|"
		"r451 4.3.0 Where mail goes from here, DSN is not known any more, try again|"
		"r250 2.1.5 ok|d354 0.0.0 go|");
	give(fixture, TEXT("x\r\n.\r\n"), true);
	peer_say(fixture, "250 2.0.0 a\r\n250 2.0.0 d\r\n");
	expect_heard(fixture, "v250 2.0.0 a|v250 2.0.0 d|");
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(test_##name, setup, teardown)
	const struct CMUnitTest tests[] = {
		TEST(utf8_goes_to_who_knows_it),
		TEST(utf8_is_refused_where_unknown),
		TEST(whole_message_pipelined),
		TEST(kept_connection_is_used_again),
		TEST(without_extensions_one_by_one),
		TEST(replies_in_pieces),
		TEST(sender_null_and_nothing_declared),
		TEST(nothing_is_sent_without_recipient),
		TEST(recipient_after_the_first_verdicts),
		TEST(output_is_bounded),
		TEST(refused_sender_is_every_verdict),
		TEST(refused_data),
		TEST(data_for_nobody_is_cut),
		TEST(message_given_up_is_cut),
		TEST(reset_swallows_what_was_awaited),
		TEST(reset_refused_is_closed),
		TEST(kept_and_closed_is_replaced),
		TEST(kept_and_closed_while_idle),
		TEST(kept_and_says_421_is_replaced),
		TEST(kept_and_broken_after_an_answer_fails),
		TEST(fresh_and_closed_fails),
		TEST(closed_before_the_verdict_fails),
		TEST(kept_that_speaks_unasked_is_closed),
		TEST(more_verdicts_than_recipients_is_closed),
		TEST(more_verdicts_than_recipients_in_a_hurry),
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
		cmocka_unit_test_setup_teardown(test_chunks_go_by_bdat, setup, teardown),
		cmocka_unit_test_setup_teardown(test_nothing_is_the_last_chunk, setup, teardown),
		cmocka_unit_test_setup_teardown(test_chunks_after_the_verdicts, setup, teardown),
		cmocka_unit_test_setup_teardown(
			test_chunks_are_stuffed_without_chunking, setup, teardown),
		cmocka_unit_test_setup_teardown(test_a_refused_chunk, setup, teardown),
		cmocka_unit_test_setup_teardown(
			test_a_given_up_message_of_chunks_is_reset, setup, teardown),
		cmocka_unit_test_setup_teardown(
			test_given_up_after_the_last_chunk, setup, teardown),
		cmocka_unit_test_setup_teardown(test_a_reply_to_no_chunk, setup, teardown),
		cmocka_unit_test_setup_teardown(test_a_connection_ahead, setup, teardown),
		cmocka_unit_test_setup_teardown(
			test_a_message_takes_the_connection_ahead, setup, teardown),
		cmocka_unit_test_setup_teardown(
			test_a_message_leaves_the_connection_ahead, setup, teardown),
		cmocka_unit_test_setup_teardown(test_nobody_to_ask, setup, teardown),
		cmocka_unit_test_setup_teardown(test_dsn_is_handed_on, setup, teardown),
		cmocka_unit_test_setup_teardown(test_dsn_is_not_lost, setup, teardown),
		cmocka_unit_test_setup_teardown(
			test_dsn_of_one_recipient_is_not_lost, setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

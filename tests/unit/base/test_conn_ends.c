/* Connections in the clear: how they end, by whom and when, and what outlives them. */
#include "tests/unit/base/conn_owners.h"

static bool peer_sees_end(struct side *side)
{
	char octet;

	return recv(side->peer, &octet, 1, 0) == 0;
}

/* ---- ends ---- */

static void finish_on_quit(struct side *side)
{
	conn_consume(side->conn, 6);
	conn_printf(side->conn, "221 bye\r\n");
	conn_finish(side->conn);
}

static void finish_lets_the_last_reply_arrive(void **state)
{
	struct side side;
	struct buf replies = { 0 };

	(void)state;
	/* The peer has sent more than we read: a bare close() would reset, and drop the reply. */
	side_open_tcp(&side, &wide, AF_INET, AF_INET);
	side.on_input = finish_on_quit;
	peer_send(&side, "QUIT\r\nmore that nobody wants\r\n");
	RUN_UNTIL(side.inputs);
	peer_send(&side, "and more");
	run_what_is_ready();
	assert_int_equal(side.ended, 0);
	assert_int_equal(conn_input(side.conn).len, 0);
	peer_read(&side, &replies);
	expect_text(&replies, "221 bye\r\n");
	assert_true(peer_sees_end(&side));
	assert_int_equal(side.inputs, 1);
	close(side.peer);
	side.peer = -1;
	RUN_UNTIL(side.ended);
	assert_int_equal(side.end, CONN_END_FINISHED);
	buf_release(&replies);
	side_close(&side);
}

static void finish_does_not_wait_for_ever(void **state)
{
	struct side side;

	(void)state;
	side_open_tcp(&side, &wide, AF_INET, AF_INET);
	conn_finish(side.conn);
	conn_write(side.conn, TEXT("bye"));
	RUN_UNTIL(side.ended);
	assert_int_equal(side.end, CONN_END_FINISHED);
	char octets[4];
	assert_int_equal(recv(side.peer, octets, 4, 0), 3);
	/* Nothing of this may do anything any more. */
	conn_write(side.conn, TEXT("late"));
	conn_printf(side.conn, "late");
	memcpy(conn_room(side.conn, 4), "late", 4);
	conn_commit(side.conn, 4);
	conn_again(side.conn);
	conn_hold(side.conn);
	conn_release(side.conn);
	conn_idle_limit(side.conn, 1);
	conn_finish(side.conn);
	run_what_is_ready();
	assert_int_equal(side.ended, 1);
	assert_int_equal(side.inputs, 0);
	assert_int_equal(conn_output_length(side.conn), 0);
	assert_int_equal(conn_local_port(side.conn), 0);
	side_close(&side);
}

static void a_half_closed_peer_gets_its_answers(void **state)
{
	struct side side;
	struct buf replies = { 0 };

	(void)state;
	side_open_tcp(&side, &wide, AF_INET, AF_INET);
	side.on_input = answer_lines;
	peer_send(&side, "one\r\ntwo\r\nhalf a line");
	shutdown(side.peer, SHUT_WR);
	RUN_UNTIL(side.ended);
	assert_int_equal(side.end, CONN_END_PEER);
	peer_read(&side, &replies);
	expect_text(&replies, "250 one ok\r\n250 two ok\r\n");
	buf_release(&replies);
	side_close(&side);
}

static void a_half_closed_peer_is_answered_after_the_hold(void **state)
{
	struct side side;

	(void)state;
	side_open(&side, &wide);
	side.on_input = take_line_and_hold;
	peer_send(&side, "one\ntwo\n");
	RUN_UNTIL(side.inputs == 1);
	shutdown(side.peer, SHUT_WR);
	run_what_is_ready();
	for (size_t i = 2; i < 4; i++) {
		assert_int_equal(side.ended, 0);
		conn_write(side.conn, TEXT("ok"));
		conn_release(side.conn);
		RUN_UNTIL(side.inputs == i || side.ended);
		run_what_is_ready();
	}
	assert_int_equal(side.inputs, 2);
	expect_text(&side.got, "one\ntwo\n");
	assert_int_equal(side.end, CONN_END_PEER);
	char octets[10];
	assert_int_equal(recv(side.peer, octets, sizeof(octets), 0), 4);
	side_close(&side);
}

static void peer_resets(struct side *side)
{
	struct linger reset = { .l_onoff = 1 };

	setsockopt(side->peer, SOL_SOCKET, SO_LINGER, &reset, sizeof(reset));
	close(side->peer);
	side->peer = -1;
}

/* With or without something behind the line that is waited for, which is not read meanwhile. */
static void a_held_peer_that_is_gone_is_noticed(void **state)
{
	static const char *const sent[] = { "one\n", "one\ntwo\n", "one\ntwo", "" };

	(void)state;
	for (size_t i = 0; i < sizeof(sent) / sizeof(sent[0]); i++) {
		struct side side;
		side_open_tcp(&side, &wide, AF_INET, AF_INET);
		side.on_input = take_line_and_hold;
		if (*sent[i])
			peer_send(&side, sent[i]);
		else
			conn_hold(side.conn);
		run_what_is_ready();
		assert_int_equal(side.left, 0);
		peer_resets(&side);
		/* And again, while the owner does not care. */
		RUN_UNTIL(side.left == 2);
		assert_int_equal(side.ended, 0);
		assert_int_equal(side.inputs, *sent[i] ? 1 : 0);
		side.on_input = NULL;
		conn_release(side.conn);
		RUN_UNTIL(side.ended);
		assert_int_equal(side.left, 2);
		side_close(&side);
	}
}

static void a_half_closed_peer_is_not_gone(void **state)
{
	struct side side, gone;

	(void)state;
	side_open_tcp(&side, &wide, AF_INET, AF_INET);
	side_open_tcp(&gone, &wide, AF_INET, AF_INET);
	conn_hold(side.conn);
	conn_hold(gone.conn);
	peer_send(&side, "one\r\n");
	shutdown(side.peer, SHUT_WR);
	peer_resets(&gone);
	RUN_UNTIL(gone.left == 3);
	assert_int_equal(side.left, 0);
	assert_int_equal(side.ended, 0);
	side.on_input = answer_lines;
	conn_release(side.conn);
	RUN_UNTIL(side.ended);
	assert_int_equal(side.end, CONN_END_PEER);
	char octets[20];
	assert_int_equal(recv(side.peer, octets, sizeof(octets), 0), 12);
	side_close(&side);
	side_close(&gone);
}

static void free_who_left(struct side *side)
{
	conn_free(&side->conn);
}

/* It is to hear bad news later, and its last ones as well. */
static void a_corked_peer_that_is_gone_is_noticed(void **state)
{
	(void)state;
	for (int finishes = 0; finishes < 2; finishes++) {
		struct side side;
		side_open_tcp(&side, &wide, AF_INET, AF_INET);
		side.on_left = free_who_left;
		conn_hold(side.conn);
		conn_cork(side.conn, true);
		conn_write(side.conn, TEXT("bad news"));
		conn_alarm(side.conn, 300000);
		if (finishes)
			conn_finish(side.conn);
		peer_resets(&side);
		RUN_UNTIL(side.left);
		assert_null(side.conn);
		assert_int_equal(side.alarms, 0);
		side_close(&side);
	}
}

/* A look that finds the peer there takes nothing from an alarm. */
static void an_alarm_rings_between_looks(void **state)
{
	struct side side;

	(void)state;
	side_open_tcp(&side, &wide, AF_INET, AF_INET);
	conn_hold(side.conn);
	conn_cork(side.conn, true);
	conn_write(side.conn, TEXT("bad news"));
	peer_send(&side, "NOOP");
	conn_alarm(side.conn, 2500);
	RUN_UNTIL(side.alarms);
	assert_int_equal(side.left, 0);
	assert_int_equal(side.ended, 0);
	side_close(&side);
}

static void a_reset_is_an_error(void **state)
{
	struct side side;

	(void)state;
	side_open_tcp(&side, &wide, AF_INET, AF_INET);
	peer_resets(&side);
	RUN_UNTIL(side.ended);
	assert_int_equal(side.end, CONN_END_ERROR);
	assert_string_equal(side.detail, "Connection reset by peer");
	side_close(&side);
}

/* ---- deadlines ---- */

static const struct conn_limits hasty = { .input = 1 << 16,
	.output_high = 1 << 16,
	.output_low = 1,
	.idle_seconds = 1,
	.send_seconds = 1 };

static void an_idle_peer_times_out(void **state)
{
	struct side side;
	double start = seconds_now();

	(void)state;
	side_open(&side, &hasty);
	RUN_UNTIL(side.ended || seconds_now() > start + 0.6);
	while (side.ended) { /* the machine stood still for so long: once more */
		side_close(&side);
		side_open(&side, &hasty);
		start = seconds_now();
		RUN_UNTIL(side.ended || seconds_now() > start + 0.6);
	}
	start = seconds_now();
	peer_send(&side, "x");
	RUN_UNTIL(side.ended);
	/* A second from the last octet, not from the start. */
	assert_true(seconds_now() - start > 0.9);
	assert_int_equal(side.end, CONN_END_TIMEOUT);
	assert_string_equal(side.detail, "no input");
	side_close(&side);
}

static void the_idle_limit_can_change(void **state)
{
	struct side longer, shorter;
	double start = seconds_now();

	(void)state;
	side_open(&longer, &hasty);
	side_open(&shorter, &wide);
	conn_idle_limit(longer.conn, 600);
	conn_idle_limit(shorter.conn, 1);
	RUN_UNTIL(shorter.ended);
	assert_true(seconds_now() - start > 0.9);
	RUN_UNTIL(seconds_now() > start + 1.2);
	assert_int_equal(longer.ended, 0);
	conn_idle_limit(longer.conn, 1);
	RUN_UNTIL(longer.ended);
	assert_int_equal(longer.end, CONN_END_TIMEOUT);
	side_close(&longer);
	side_close(&shorter);
}

static void a_held_connection_is_not_idle(void **state)
{
	struct side side;
	double start = seconds_now();

	(void)state;
	side_open(&side, &hasty);
	conn_hold(side.conn);
	peer_send(&side, "x");
	RUN_UNTIL(seconds_now() > start + 1.3);
	assert_int_equal(side.ended, 0);
	conn_release(side.conn);
	RUN_UNTIL(side.inputs);
	RUN_UNTIL(side.ended);
	assert_true(seconds_now() - start > 2.2);
	side_close(&side);
}

static void a_peer_that_takes_nothing_times_out(void **state)
{
	struct side side;

	(void)state;
	side_open(&side, &hasty);
	side.on_input = start_producing;
	side.on_drained = produce;
	peer_send(&side, "RETR\r\n");
	RUN_UNTIL(side.ended);
	assert_int_equal(side.end, CONN_END_TIMEOUT);
	assert_string_equal(side.detail, "output is not taken");
	side_close(&side);
}

/* For longer than the idle limit. False: the machine stood still meanwhile, and the reader was too slow. */
static bool read_slowly(struct side *side)
{
	char octets[300000];
	double start = seconds_now(), last = start;

	while (seconds_now() < start + 1.6) {
		if (seconds_now() > last + 0.3) {
			last = seconds_now();
			recv(side->peer, octets, sizeof(octets), 0);
		}
		event_base_loop(loop, EVLOOP_ONCE);
		if (seconds_now() > last + 0.8)
			return false;
	}
	return true;
}

static void a_slow_reader_does_not_time_out(void **state)
{
	struct side side;
	bool done;

	(void)state;
	do {
		side_open(&side, &hasty);
		side.on_input = start_producing;
		side.on_drained = produce;
		peer_send(&side, "RETR\r\n");
		/* It sends nothing, and is not idle. */
		done = read_slowly(&side);
		if (done) {
			assert_int_equal(side.ended, 0);
			assert_true(conn_output_length(side.conn) > 0);
		}
		side_close(&side);
	} while (!done);
}

static void fill_and_again(struct side *side)
{
	static char octets[1 << 20];

	if (!conn_output_full(side->conn))
		conn_write(side->conn, (struct text){ .ptr = octets, .len = sizeof(octets) });
	conn_again(side->conn);
}

static void an_owner_at_work_hides_only_an_idle_peer(void **state)
{
	struct side idle, stuck;
	double start = seconds_now();

	(void)state;
	side_open(&idle, &hasty);
	side_open(&stuck, &hasty);
	idle.on_input = take_one_and_again;
	stuck.on_input = fill_and_again;
	conn_again(idle.conn);
	conn_again(stuck.conn);
	RUN_UNTIL(stuck.ended && seconds_now() > start + 1.5);
	assert_int_equal(idle.ended, 0);
	assert_int_equal(stuck.end, CONN_END_TIMEOUT);
	assert_int_equal(stuck.ended, 1);
	side_close(&idle);
	side_close(&stuck);
}

/* ---- lifetimes ---- */

static struct side *victim;

static void free_it(struct side *side)
{
	conn_free(&side->conn);
}

static void free_the_other(struct side *side)
{
	take(side, conn_input(side->conn).len);
	conn_free(&victim->conn);
}

static void it_can_be_freed_in_every_callback(void **state)
{
	struct side side, other;

	(void)state;
	side_open(&side, &wide);
	side.on_input = free_it;
	peer_send(&side, "x");
	RUN_UNTIL(side.inputs);
	assert_true(peer_sees_end(&side));
	side_close(&side);

	side_open(&side, &wide);
	side.on_input = start_producing;
	side.on_drained = free_it;
	peer_send(&side, "x");
	RUN_UNTIL(side.drains);
	assert_null(side.conn);
	side_close(&side);

	side_open(&side, &wide);
	side.on_ended = free_it;
	shutdown(side.peer, SHUT_WR);
	RUN_UNTIL(side.ended);
	assert_null(side.conn);
	side_close(&side);

	side_open(&side, &hasty);
	side.on_ended = free_it;
	RUN_UNTIL(side.ended);
	assert_null(side.conn);
	side_close(&side);

	/* Both have input in the same turn; whoever comes first frees the other. */
	side_open(&side, &wide);
	side_open(&other, &wide);
	victim = &other;
	side.on_input = free_the_other;
	peer_send(&side, "x");
	peer_send(&other, "x");
	RUN_UNTIL(side.inputs);
	run_what_is_ready();
	assert_null(other.conn);
	side_close(&side);
	side_close(&other);
}

static void freeing_nothing_is_allowed(void **state)
{
	struct conn *none = NULL;

	(void)state;
	conn_free(&none);
	assert_null(none);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		CONN_TEST(finish_lets_the_last_reply_arrive),
		CONN_TEST(finish_does_not_wait_for_ever),
		CONN_TEST(a_half_closed_peer_gets_its_answers),
		CONN_TEST(a_half_closed_peer_is_answered_after_the_hold),
		CONN_TEST(a_held_peer_that_is_gone_is_noticed),
		CONN_TEST(a_half_closed_peer_is_not_gone),
		CONN_TEST(a_corked_peer_that_is_gone_is_noticed),
		CONN_TEST(an_alarm_rings_between_looks),
		CONN_TEST(a_reset_is_an_error),
		CONN_TEST(an_idle_peer_times_out),
		CONN_TEST(the_idle_limit_can_change),
		CONN_TEST(a_held_connection_is_not_idle),
		CONN_TEST(a_peer_that_takes_nothing_times_out),
		CONN_TEST(a_slow_reader_does_not_time_out),
		CONN_TEST(an_owner_at_work_hides_only_an_idle_peer),
		CONN_TEST(it_can_be_freed_in_every_callback),
		CONN_TEST(freeing_nothing_is_allowed),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

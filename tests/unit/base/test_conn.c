/* Connections in the clear: batches, back-pressure, holding, ends, deadlines, lifetimes and cost. */
#include <malloc.h>
#include <sys/resource.h>

#include "base/sanitizer.h"
#include "tests/unit/base/conn_side.h"

/* What the peer has received so far, up to size octets. */
static size_t peer_read(struct side *side, struct buf *to)
{
	size_t sum = 0;
	ssize_t n;

	while ((n = recv(side->peer, buf_room(to, 65536), 65536, 0)) > 0) {
		buf_commit(to, (size_t)n);
		sum += (size_t)n;
	}
	return sum;
}

static bool peer_sees_end(struct side *side)
{
	char octet;

	return recv(side->peer, &octet, 1, 0) == 0;
}

/* ---- input and output ---- */

static void answer_lines(struct side *side)
{
	struct text rest = conn_input(side->conn), line;

	while (text_find(rest, '\n') >= 0) {
		text_split(&rest, '\n', &line);
		conn_consume(side->conn, line.len + 1);
		conn_printf(side->conn, "250 %.*s ok\r\n", (int)(line.len - 1), line.ptr);
	}
}

static void a_batch_is_one_read_and_one_write(void **state)
{
	struct side side;
	char packet[1000] = { 0 };

	(void)state;
	/* A packet is what one send() sent. */
	side_open_type(&side, &wide, SOCK_SEQPACKET);
	side.on_input = answer_lines;
	peer_send(&side, "one\r\ntwo\r\nthree\r\nfo");
	RUN_UNTIL(recv(side.peer, packet, sizeof(packet) - 1, 0) > 0);
	assert_string_equal(packet, "250 one ok\r\n250 two ok\r\n250 three ok\r\n");
	assert_int_equal(side.inputs, 1);
	assert_true(text_equal(conn_input(side.conn), TEXT("fo")));
	run_what_is_ready();
	assert_int_equal(side.inputs, 1);
	peer_send(&side, "ur\r\n");
	memset(packet, 0, sizeof(packet));
	RUN_UNTIL(recv(side.peer, packet, sizeof(packet) - 1, 0) > 0);
	assert_string_equal(packet, "250 four ok\r\n");
	assert_int_equal(side.inputs, 2);
	assert_int_equal(conn_input(side.conn).len, 0);
	side_close(&side);
}

static void octets_one_by_one_make_lines_too(void **state)
{
	static const char lines[] = "one\r\ntwo\r\n";
	struct side side;
	struct buf replies = { 0 };

	(void)state;
	side_open(&side, &wide);
	side.on_input = answer_lines;
	for (size_t i = 0; i < sizeof(lines) - 1; i++) {
		assert_int_equal(send(side.peer, lines + i, 1, 0), 1);
		RUN_UNTIL(side.inputs == i + 1);
	}
	peer_read(&side, &replies);
	assert_true(text_equal(buf_text(&replies), TEXT("250 one ok\r\n250 two ok\r\n")));
	buf_release(&replies);
	side_close(&side);
}

static void what_is_written_outside_callbacks_leaves_together(void **state)
{
	struct side side;
	char packet[100] = { 0 };

	(void)state;
	side_open_type(&side, &wide, SOCK_SEQPACKET);
	conn_write(side.conn, TEXT("a"));
	conn_printf(side.conn, "%d", 12);
	memcpy(conn_room(side.conn, 3), "xyz", 3);
	conn_commit(side.conn, 2);
	assert_int_equal(conn_output_length(side.conn), 5);
	assert_int_equal(recv(side.peer, packet, sizeof(packet), 0), -1);
	event_base_loop(loop, EVLOOP_NONBLOCK);
	assert_int_equal(recv(side.peer, packet, sizeof(packet), 0), 5);
	assert_string_equal(packet, "a12xy");
	assert_int_equal(conn_output_length(side.conn), 0);
	side_close(&side);
}

static void take_nothing(struct side *side)
{
	side->number = conn_input(side->conn).len;
}

static void input_is_bounded(void **state)
{
	static const struct conn_limits narrow = { .input = 100, .output_high = 10 };
	struct side side;
	char octets[1000];

	(void)state;
	side_open(&side, &narrow);
	side.on_input = take_nothing;
	memset(octets, 'x', sizeof(octets));
	assert_int_equal(send(side.peer, octets, sizeof(octets), 0), sizeof(octets));
	RUN_UNTIL(side.inputs);
	run_what_is_ready();
	assert_int_equal(side.inputs, 1);
	assert_int_equal(conn_input(side.conn).len, 100);
	/* Outside a callback: room makes it read on by itself. */
	conn_consume(side.conn, 60);
	RUN_UNTIL(side.inputs == 2);
	run_what_is_ready();
	assert_int_equal(side.inputs, 2);
	assert_int_equal(side.number, 100);
	side.on_input = NULL;
	conn_again(side.conn);
	RUN_UNTIL(buf_length(&side.got) == sizeof(octets) - 60);
	side_close(&side);
}

/* A reply of `number` octets, produced as room comes. */
static void produce(struct side *side)
{
	while (side->number && !conn_output_full(side->conn)) {
		size_t piece = side->number < 1000 ? side->number : 1000;
		char *to = conn_room(side->conn, piece);
		for (size_t i = 0; i < piece; i++)
			to[i] = (char)(side->number - i);
		conn_commit(side->conn, piece);
		side->number -= piece;
	}
}

static void start_producing(struct side *side)
{
	conn_consume(side->conn, conn_input(side->conn).len);
	side->number = 20 << 20;
	produce(side);
}

static void a_peer_that_does_not_read_stops_the_producer(void **state)
{
	struct side side;
	size_t sum = 0, before = 0;
	char octets[65536];

	(void)state;
	side_open_tcp(&side, &wide, AF_INET, AF_INET);
	side.on_input = start_producing;
	side.on_drained = produce;
	peer_send(&side, "RETR 1\r\n");
	/* Until neither side moves. */
	do {
		before = side.number;
		run_what_is_ready();
		assert_true(conn_output_length(side.conn) < wide.output_high + 1000);
	} while (side.number != before || side.inputs == 0);
	assert_true(side.number > 0);
	/* While its output is full the peer is not listened to. */
	peer_send(&side, "NOOP\r\n");
	run_what_is_ready();
	assert_int_equal(side.inputs, 1);
	side.on_input = NULL;
	while (sum < 20 << 20) {
		ssize_t n = recv(side.peer, octets, sizeof(octets), 0);
		for (ssize_t i = 0; i < n; i++) {
			if (octets[i] != (char)((20 << 20) - sum - (size_t)i))
				fail_msg("octet %zu is wrong", sum + (size_t)i);
		}
		if (n > 0)
			sum += (size_t)n;
		event_base_loop(loop, EVLOOP_NONBLOCK);
	}
	RUN_UNTIL(side.inputs == 2);
	assert_true(text_equal(buf_text(&side.got), TEXT("NOOP\r\n")));
	side_close(&side);
}

/* ---- holding and going on ---- */

static void take_line_and_hold(struct side *side)
{
	ptrdiff_t end = text_find(conn_input(side->conn), '\n');

	if (end < 0)
		return;
	take(side, (size_t)end + 1);
	conn_hold(side->conn);
}

static void while_held_nothing_is_handed_over(void **state)
{
	struct side side;

	(void)state;
	side_open(&side, &wide);
	side.on_input = take_line_and_hold;
	peer_send(&side, "one\ntwo\n");
	RUN_UNTIL(side.inputs == 1);
	peer_send(&side, "three\n");
	run_what_is_ready();
	assert_int_equal(side.inputs, 1);
	assert_true(text_equal(buf_text(&side.got), TEXT("one\n")));
	assert_true(text_equal(conn_input(side.conn), TEXT("two\n")));
	/* What is written meanwhile goes out. */
	conn_write(side.conn, TEXT("wait"));
	run_what_is_ready();
	char octets[4];
	assert_int_equal(recv(side.peer, octets, 4, 0), 4);
	conn_release(side.conn);
	RUN_UNTIL(side.inputs == 2);
	run_what_is_ready();
	assert_int_equal(side.inputs, 2);
	conn_release(side.conn);
	RUN_UNTIL(side.inputs == 3);
	assert_true(text_equal(buf_text(&side.got), TEXT("one\ntwo\nthree\n")));
	conn_release(side.conn);
	run_what_is_ready();
	assert_int_equal(side.inputs, 3);
	side_close(&side);
}

static void hold_and_release_at_once(struct side *side)
{
	conn_hold(side->conn);
	conn_release(side->conn);
	take(side, conn_input(side->conn).len);
}

static void a_release_inside_input_makes_no_empty_call(void **state)
{
	struct side side;

	(void)state;
	side_open(&side, &wide);
	side.on_input = hold_and_release_at_once;
	peer_send(&side, "one\n");
	RUN_UNTIL(side.inputs == 1);
	run_what_is_ready();
	assert_int_equal(side.inputs, 1);
	side_close(&side);
}

static void take_one_and_again(struct side *side)
{
	if (conn_input(side->conn).len)
		take(side, 1);
	conn_again(side->conn);
}

static void again_lets_the_others_have_their_turn(void **state)
{
	struct side busy, other;

	(void)state;
	side_open(&busy, &wide);
	side_open(&other, &wide);
	busy.on_input = take_one_and_again;
	peer_send(&busy, "abc");
	RUN_UNTIL(busy.inputs >= 10);
	assert_true(text_equal(buf_text(&busy.got), TEXT("abc")));
	peer_send(&other, "x");
	size_t before = busy.inputs;
	RUN_UNTIL(other.inputs);
	assert_true(busy.inputs - before < 10);
	side_close(&busy);
	side_close(&other);
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
	assert_true(text_equal(buf_text(&replies), TEXT("221 bye\r\n")));
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
	assert_true(text_equal(buf_text(&replies), TEXT("250 one ok\r\n250 two ok\r\n")));
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
	assert_true(text_equal(buf_text(&side.got), TEXT("one\ntwo\n")));
	assert_int_equal(side.end, CONN_END_PEER);
	char octets[10];
	assert_int_equal(recv(side.peer, octets, sizeof(octets), 0), 4);
	side_close(&side);
}

static void a_reset_is_an_error(void **state)
{
	struct side side;
	struct linger reset = { .l_onoff = 1 };

	(void)state;
	side_open_tcp(&side, &wide, AF_INET, AF_INET);
	setsockopt(side.peer, SOL_SOCKET, SO_LINGER, &reset, sizeof(reset));
	close(side.peer);
	side.peer = -1;
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
	RUN_UNTIL(seconds_now() > start + 0.6);
	peer_send(&side, "x");
	RUN_UNTIL(side.ended);
	/* A second from the last octet, not from the start. */
	assert_true(seconds_now() - start > 1.5);
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

static void a_slow_reader_does_not_time_out(void **state)
{
	struct side side;
	char octets[300000];
	double start = seconds_now(), last = 0;

	(void)state;
	side_open(&side, &hasty);
	side.on_input = start_producing;
	side.on_drained = produce;
	peer_send(&side, "RETR\r\n");
	/* It sends nothing for longer than the idle limit, and is not idle. */
	while (seconds_now() < start + 1.6) {
		if (seconds_now() > last + 0.3) {
			last = seconds_now();
			recv(side.peer, octets, sizeof(octets), 0);
		}
		event_base_loop(loop, EVLOOP_ONCE);
	}
	assert_int_equal(side.ended, 0);
	assert_true(conn_output_length(side.conn) > 0);
	side_close(&side);
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
	RUN_UNTIL(seconds_now() > start + 1.5);
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

/* ---- peers and cost ---- */

static void the_peer_has_a_name(void **state)
{
	struct side side;

	(void)state;
	side_open(&side, &wide);
	assert_string_equal(conn_peer(side.conn), "local");
	assert_int_equal(conn_local_port(side.conn), 0);
	side_close(&side);
	side_open_tcp(&side, &wide, AF_INET, AF_INET);
	assert_string_equal(conn_peer(side.conn), "127.0.0.1");
	assert_false(conn_peer_is_ipv6(side.conn));
	assert_true(conn_local_port(side.conn) > 0);
	side_close(&side);
	side_open_tcp(&side, &wide, AF_INET6, AF_INET);
	assert_string_equal(conn_peer(side.conn), "127.0.0.1");
	assert_false(conn_peer_is_ipv6(side.conn));
	assert_true(conn_local_port(side.conn) > 0);
	side_close(&side);
	side_open_tcp(&side, &wide, AF_INET6, AF_INET6);
	assert_string_equal(conn_peer(side.conn), "::1");
	assert_true(conn_peer_is_ipv6(side.conn));
	side_close(&side);
}

static const struct conn_limits usual = { .input = 1 << 16,
	.output_high = 1 << 16,
	.output_low = 1 << 14,
	.idle_seconds = 300,
	.send_seconds = 300 };

static void idle_connections_cost_little(void **state)
{
	struct rlimit files;
	size_t count = 10000, answered = 0;

	(void)state;
	getrlimit(RLIMIT_NOFILE, &files);
	files.rlim_cur = files.rlim_max;
	setrlimit(RLIMIT_NOFILE, &files);
	if (files.rlim_cur < 2 * count + 100)
		count = (files.rlim_cur - 100) / 2;
	struct side *sides = mem_array(count, sizeof(*sides));
	/* The loop's own tables and the shared reading space are there already. */
	struct side first;
	side_open(&first, &usual);
	first.on_input = answer_lines;
	peer_send(&first, "NOOP\r\n");
	RUN_UNTIL(first.inputs);
	size_t before = mallinfo2().uordblks;
	for (size_t i = 0; i < count; i++) {
		side_open(&sides[i], &usual);
		sides[i].on_input = answer_lines;
		peer_send(&sides[i], "NOOP\r\n");
	}
	do {
		run_what_is_ready();
		answered = 0;
		for (size_t i = 0; i < count; i++)
			answered += sides[i].inputs;
	} while (answered < count);
	size_t each = (mallinfo2().uordblks - before) / count;
	if (!BASE_ADDRESS_SANITIZER) {
		print_message("%zu idle connections: %zu octets each\n", count, each);
		assert_in_range(each, 100, 1023);
	}
	for (size_t i = 0; i < count; i++)
		side_close(&sides[i]);
	side_close(&first);
	mem_free(sides);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		CONN_TEST(a_batch_is_one_read_and_one_write),
		CONN_TEST(octets_one_by_one_make_lines_too),
		CONN_TEST(what_is_written_outside_callbacks_leaves_together),
		CONN_TEST(input_is_bounded),
		CONN_TEST(a_peer_that_does_not_read_stops_the_producer),
		CONN_TEST(while_held_nothing_is_handed_over),
		CONN_TEST(a_release_inside_input_makes_no_empty_call),
		CONN_TEST(again_lets_the_others_have_their_turn),
		CONN_TEST(finish_lets_the_last_reply_arrive),
		CONN_TEST(finish_does_not_wait_for_ever),
		CONN_TEST(a_half_closed_peer_gets_its_answers),
		CONN_TEST(a_half_closed_peer_is_answered_after_the_hold),
		CONN_TEST(a_reset_is_an_error),
		CONN_TEST(an_idle_peer_times_out),
		CONN_TEST(the_idle_limit_can_change),
		CONN_TEST(a_held_connection_is_not_idle),
		CONN_TEST(a_peer_that_takes_nothing_times_out),
		CONN_TEST(a_slow_reader_does_not_time_out),
		CONN_TEST(an_owner_at_work_hides_only_an_idle_peer),
		CONN_TEST(it_can_be_freed_in_every_callback),
		CONN_TEST(freeing_nothing_is_allowed),
		CONN_TEST(the_peer_has_a_name),
		CONN_TEST(idle_connections_cost_little),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

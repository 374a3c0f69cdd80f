/* Connections in the clear: batches, back-pressure, holding, names and cost. */
#include <malloc.h>
#include <sys/resource.h>

#include "base/sanitizer.h"
#include "tests/unit/base/conn_owners.h"

/* ---- input and output ---- */

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
	expect_text(&replies, "250 one ok\r\n250 two ok\r\n");
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

/* Where the owner saw what it left. */
static const char *left_at;

static void leave_all(struct side *side)
{
	left_at = conn_input(side->conn).ptr;
}

static void a_secret_does_not_stay_where_it_was_read(void **state)
{
	static const char nothing[10];
	struct side side;

	(void)state;
	side_open(&side, &wide);
	side.on_input = leave_all;
	conn_expect_secrets(side.conn, true);
	peer_send(&side, "a password");
	RUN_UNTIL(side.inputs);
	assert_true(text_equal(conn_input(side.conn), TEXT("a password")));
	assert_memory_equal(left_at, nothing, sizeof(nothing));
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
	expect_text(&side.got, "NOOP\r\n");
	side_close(&side);
}

static struct side *told;

static void write_much_to_another(struct side *side)
{
	struct buf much = { 0 };

	take(side, conn_input(side->conn).len);
	memset(buf_room(&much, side->number), 'x', side->number);
	buf_commit(&much, side->number);
	conn_write(told->conn, buf_text(&much));
	buf_release(&much);
}

static void read_so_much(struct side *side, size_t wanted)
{
	double limit = seconds_now() + LONGEST_TEST;
	char octets[65536];
	size_t sum = 0;

	while (sum < wanted && seconds_now() < limit) {
		const ssize_t n = recv(side->peer, octets, sizeof(octets), 0);
		if (n > 0)
			sum += (size_t)n;
		event_base_loop(loop, EVLOOP_NONBLOCK);
	}
	assert_int_equal(sum, wanted);
}

/* A round that is asked for, and another one before it in the same turn of the loop. */
static void what_does_not_fit_leaves_though_another_round_came_first(void **state)
{
	enum { MUCH = 4 << 20 };
	struct conn_limits limits = wide;
	struct side one, two;

	(void)state;
	limits.output_high = 2 * MUCH;
	side_open(&one, &limits);
	side_open(&two, &limits);
	told = &two;
	one.on_input = write_much_to_another;
	one.number = MUCH;
	peer_send(&one, "write\n");
	peer_send(&two, "NOOP\r\n");
	RUN_UNTIL(one.inputs == 1 && two.inputs == 1);
	read_so_much(&two, MUCH);
	/* And one whose last octets leave before the round that was asked for. */
	conn_write(two.conn, TEXT("x"));
	one.number = 1;
	peer_send(&one, "write\n");
	peer_send(&two, "NOOP\r\n");
	RUN_UNTIL(one.inputs == 2 && two.inputs == 2);
	read_so_much(&two, 2);
	conn_write(two.conn, TEXT("x"));
	read_so_much(&two, 1);
	side_close(&one);
	side_close(&two);
}

/* ---- holding and going on ---- */

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
	expect_text(&side.got, "one\n");
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
	expect_text(&side.got, "one\ntwo\nthree\n");
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

static void again_lets_the_others_have_their_turn(void **state)
{
	struct side busy, other;

	(void)state;
	side_open(&busy, &wide);
	side_open(&other, &wide);
	busy.on_input = take_one_and_again;
	peer_send(&busy, "abc");
	RUN_UNTIL(busy.inputs >= 10);
	expect_text(&busy.got, "abc");
	peer_send(&other, "x");
	size_t before = busy.inputs;
	RUN_UNTIL(other.inputs);
	assert_true(busy.inputs - before < 10);
	side_close(&busy);
	side_close(&other);
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
		CONN_TEST(a_secret_does_not_stay_where_it_was_read),
		CONN_TEST(input_is_bounded),
		CONN_TEST(a_peer_that_does_not_read_stops_the_producer),
		CONN_TEST(what_does_not_fit_leaves_though_another_round_came_first),
		CONN_TEST(while_held_nothing_is_handed_over),
		CONN_TEST(a_release_inside_input_makes_no_empty_call),
		CONN_TEST(again_lets_the_others_have_their_turn),
		CONN_TEST(the_peer_has_a_name),
		CONN_TEST(idle_connections_cost_little),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

/* Connections on their way to TLS: what stands before the handshake, and peers that never end one. */
#include "tests/unit/base/tls_client.h"

/* ---- STARTTLS ---- */

static void start_tls_on_first_line(struct side *side)
{
	if (conn_is_secure(side->conn)) {
		take(side, conn_input(side->conn).len);
		return;
	}
	take(side, (size_t)text_find(conn_input(side->conn), '\n') + 1);
	conn_write(side->conn, TEXT("220 go ahead\r\n"));
	conn_start_tls(side->conn, tls);
	assert_int_equal(conn_input(side->conn).len, 0);
}

static void starttls_throws_away_what_was_injected(void **state)
{
	struct side side;
	char reply[100] = { 0 };

	(void)state;
	side_open_tcp(&side, &wide, AF_INET, AF_INET);
	side.on_input = start_tls_on_first_line;
	peer_send(&side, "STARTTLS\r\nMAIL FROM:<evil@test>\r\n");
	RUN_UNTIL(recv(side.peer, reply, sizeof(reply) - 1, 0) > 0);
	assert_string_equal(reply, "220 go ahead\r\n");
	SSL *client = client_new(&side, TLS1_3_VERSION);
	RUN_UNTIL(client_is_connected(client) && side.secured);
	run_what_is_ready();
	assert_int_equal(side.inputs, 1);
	client_send(client, "EHLO\r\n");
	RUN_UNTIL(side.inputs == 2);
	expect_text(&side.got, "STARTTLS\r\nEHLO\r\n");
	SSL_free(client);
	side_close(&side);
}

static void starttls_waits_for_the_reply_to_be_taken(void **state)
{
	struct side side;
	struct buf replies = { 0 };
	ssize_t n;

	(void)state;
	side_open_tcp(&side, &wide, AF_INET, AF_INET);
	side.number = 10 << 20;
	char *much = mem_new(side.number);
	conn_write(side.conn, (struct text){ .ptr = much, .len = side.number });
	conn_start_tls(side.conn, tls);
	run_what_is_ready();
	assert_true(conn_output_length(side.conn) > 0);
	while (buf_length(&replies) < side.number) {
		n = recv(side.peer, buf_room(&replies, 1 << 20), 1 << 20, 0);
		buf_commit(&replies, n > 0 ? (size_t)n : 0);
		event_base_loop(loop, EVLOOP_NONBLOCK);
	}
	assert_memory_equal(buf_text(&replies).ptr, much, side.number);
	SSL *client = client_new(&side, TLS1_3_VERSION);
	RUN_UNTIL(client_is_connected(client) && side.secured);
	SSL_free(client);
	side_close(&side);
	buf_release(&replies);
	mem_free(much);
}

/* ---- hostile peers ---- */

static const struct garbage {
	struct text octets;
	enum conn_end end;
} garbage[] = {
	{ TEXT("EHLO mail.test\r\n"), CONN_END_TLS },
	{ TEXT("GET / HTTP/1.1\r\nHost: x\r\n\r\n"), CONN_END_TLS },
	{ TEXT("\x16\x03\x01\xff\xff\x01"), CONN_END_TLS },
	{ TEXT("\x16\x03\x01\x00\x04\x01\xff\xff\xff"), CONN_END_TLS },
	{ TEXT("\x16\x03\x01\x00\x05\x02\x00\x00\x01\x00"), CONN_END_TLS },
	{ TEXT("\x80\x09\x01\x03\x01\x00\x00\x00\x00\x00\x00"), CONN_END_TLS },
	{ TEXT("\x15\x03\x01\x00\x02\x02\x28"), CONN_END_TLS },
	/* Half a record, and then no more. */
	{ TEXT("\x16\x03\x01\x40\x00\x01"), CONN_END_PEER },
	{ TEXT(""), CONN_END_PEER },
};

static void garbage_ends_the_handshake(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof(garbage) / sizeof(garbage[0]); i++) {
		struct side side;
		struct text octets = garbage[i].octets;
		side_open_tcp(&side, &wide, AF_INET, AF_INET);
		conn_start_tls(side.conn, tls);
		assert_int_equal(send(side.peer, octets.ptr, octets.len, 0), octets.len);
		if (garbage[i].end == CONN_END_PEER)
			shutdown(side.peer, SHUT_WR);
		RUN_UNTIL(side.ended);
		assert_int_equal(side.end, garbage[i].end);
		assert_string_not_equal(side.detail, "");
		assert_false(conn_is_secure(side.conn));
		assert_int_equal(side.secured + side.inputs, 0);
		side_close(&side);
	}
}

static void garbage_after_the_handshake_ends_it(void **state)
{
	struct side side;

	(void)state;
	side_open_tcp(&side, &wide, AF_INET, AF_INET);
	side.on_input = echo;
	SSL *client = secure(&side, TLS1_3_VERSION);
	/* Octets that came in order are handed over before the end behind them. */
	client_send(client, "good");
	assert_int_equal(send(side.peer, "\x17\x03\x03\x00\x14 this was in the clear", 25, 0), 25);
	RUN_UNTIL(side.ended);
	assert_int_equal(side.end, CONN_END_TLS);
	assert_int_equal(side.inputs, 1);
	SSL_free(client);
	side_close(&side);
}

static const struct conn_limits hasty = {
	.input = 1 << 16, .output_high = 1 << 16, .idle_seconds = 1, .send_seconds = 1
};

static void a_handshake_octet_by_octet_times_out(void **state)
{
	static const char hello[] = "\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03";
	struct side side;
	double last = 0;
	size_t i = 0;

	(void)state;
	side_open_tcp(&side, &hasty, AF_INET, AF_INET);
	conn_start_tls(side.conn, tls);
	while (!side.ended) {
		if (seconds_now() > last + 0.2 && i < sizeof(hello) - 1) {
			last = seconds_now();
			assert_int_equal(send(side.peer, hello + i++, 1, MSG_NOSIGNAL), 1);
		}
		event_base_loop(loop, EVLOOP_ONCE);
	}
	assert_int_equal(side.end, CONN_END_TIMEOUT);
	/* Had each octet given it another second, all of them would have been sent. */
	assert_true(i < sizeof(hello) - 1);
	side_close(&side);
}

static void finish_in_the_handshake_ends_it(void **state)
{
	struct side side;

	(void)state;
	side_open_tcp(&side, &wide, AF_INET, AF_INET);
	conn_start_tls(side.conn, tls);
	peer_send(&side, "\x16");
	run_what_is_ready();
	conn_write(side.conn, TEXT("421 this must not go out in the clear"));
	conn_finish(side.conn);
	run_what_is_ready();
	char octet;
	assert_int_equal(recv(side.peer, &octet, 1, 0), 0);
	shutdown(side.peer, SHUT_WR);
	RUN_UNTIL(side.ended);
	assert_int_equal(side.end, CONN_END_FINISHED);
	side_close(&side);
}

static void nothing_written_before_the_handshake_goes_out_in_the_clear(void **state)
{
	struct side side;
	struct buf got = { 0 };
	char octet;

	(void)state;
	side_open_tcp(&side, &wide, AF_INET, AF_INET);
	conn_start_tls(side.conn, tls);
	run_what_is_ready();
	conn_write(side.conn, TEXT("secret"));
	run_what_is_ready();
	assert_int_equal(recv(side.peer, &octet, 1, 0), -1);
	SSL *client = client_new(&side, TLS1_2_VERSION);
	RUN_UNTIL(client_is_connected(client) && side.secured);
	RUN_UNTIL(client_has(client, &got, "secret"));
	SSL_free(client);
	side_close(&side);
	buf_release(&got);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		CONN_TEST(starttls_throws_away_what_was_injected),
		CONN_TEST(starttls_waits_for_the_reply_to_be_taken),
		CONN_TEST(garbage_ends_the_handshake),
		CONN_TEST(garbage_after_the_handshake_ends_it),
		CONN_TEST(a_handshake_octet_by_octet_times_out),
		CONN_TEST(finish_in_the_handshake_ends_it),
		CONN_TEST(nothing_written_before_the_handshake_goes_out_in_the_clear),
	};

	return cmocka_run_group_tests(tests, make_tls, drop_tls);
}

/* TLS on connections: STARTTLS, what must not survive it, ends, hostile peers, and cost. */
#include <malloc.h>
#include <openssl/err.h>
#include <sys/resource.h>

#include "base/sanitizer.h"
#include "base/tls.h"
#include "tests/unit/base/conn_side.h"
#include "tests/unit/base/tls_identity.h"

static struct tls *tls;
static SSL_CTX *client_context;

static int make_tls(void **state)
{
	struct tls_identity identity = tls_identity_make(TLS_IDENTITY_ECDSA, "DNS:mail.test");
	char error[200];

	(void)state;
	tls = tls_new(text_of(identity.chain), text_of(identity.key), error, sizeof(error));
	client_context = SSL_CTX_new(TLS_client_method());
	SSL_CTX_set_mode(client_context,
		SSL_MODE_ENABLE_PARTIAL_WRITE | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER);
	return tls ? 0 : -1;
}

static int drop_tls(void **state)
{
	(void)state;
	tls_drop(&tls);
	SSL_CTX_free(client_context);
	return 0;
}

/* ---- the client ---- */

static SSL *client_new(struct side *side, int version)
{
	SSL *client = SSL_new(client_context);

	SSL_set_max_proto_version(client, version);
	SSL_set_fd(client, side->peer);
	SSL_set_connect_state(client);
	return client;
}

static bool client_is_connected(SSL *client)
{
	ERR_clear_error();
	return SSL_do_handshake(client) == 1;
}

/* Ours starts at once, the client speaks the version, both are done. */
static SSL *secure(struct side *side, int version)
{
	SSL *client = client_new(side, version);

	conn_start_tls(side->conn, tls);
	RUN_UNTIL(client_is_connected(client) && side->secured);
	return client;
}

/* What came by now is added; false when the server ended cleanly. */
static bool client_read(SSL *client, struct buf *to)
{
	int n;

	ERR_clear_error();
	while ((n = SSL_read(client, buf_room(to, 20000), 20000)) > 0)
		buf_commit(to, (size_t)n);
	return SSL_get_error(client, n) != SSL_ERROR_ZERO_RETURN;
}

static bool client_has(SSL *client, struct buf *got, const char *string)
{
	client_read(client, got);
	return text_equal(buf_text(got), text_of(string));
}

static void client_send(SSL *client, const char *string)
{
	assert_int_equal(SSL_write(client, string, (int)strlen(string)), strlen(string));
}

static void echo(struct side *side)
{
	struct text input = conn_input(side->conn);

	conn_write(side->conn, input);
	conn_consume(side->conn, input.len);
}

/* ---- speaking ---- */

static void greet(struct side *side)
{
	conn_write(side->conn, TEXT("220 ready\r\n"));
}

static void speak(int version, const char *name)
{
	struct side side;
	struct buf got = { 0 };

	side_open_tcp(&side, &wide, AF_INET, AF_INET);
	side.on_input = echo;
	side.on_secured = greet;
	assert_false(conn_is_secure(side.conn));
	assert_null(conn_tls_version(side.conn));
	assert_null(conn_tls_cipher(side.conn));
	SSL *client = secure(&side, version);
	assert_int_equal(side.secured, 1);
	assert_true(conn_is_secure(side.conn));
	assert_string_equal(conn_tls_version(side.conn), name);
	assert_string_equal(conn_tls_cipher(side.conn), SSL_get_cipher_name(client));
	RUN_UNTIL(client_has(client, &got, "220 ready\r\n"));
	client_send(client, "one\r\n");
	client_send(client, "two\r\n");
	RUN_UNTIL(client_has(client, &got, "220 ready\r\none\r\ntwo\r\n"));
	conn_write(side.conn, TEXT("pushed"));
	RUN_UNTIL(client_has(client, &got, "220 ready\r\none\r\ntwo\r\npushed"));
	conn_finish(side.conn);
	RUN_UNTIL(!client_read(client, &got));
	SSL_shutdown(client);
	shutdown(side.peer, SHUT_WR);
	RUN_UNTIL(side.ended);
	assert_int_equal(side.end, CONN_END_FINISHED);
	assert_string_equal(conn_tls_version(side.conn), name);
	SSL_free(client);
	side_close(&side);
	buf_release(&got);
}

static void both_versions_are_spoken(void **state)
{
	(void)state;
	speak(TLS1_2_VERSION, "TLSv1.2");
	speak(TLS1_3_VERSION, "TLSv1.3");
}

static void many_records_at_once_are_all_handed_over(void **state)
{
	struct side side;
	struct buf got = { 0 };
	size_t sent = 0, size = 3 << 20;
	char *octets = mem_new(size);

	(void)state;
	side_open_tcp(&side, &wide, AF_INET, AF_INET);
	side.on_input = echo;
	SSL *client = secure(&side, TLS1_3_VERSION);
	for (size_t i = 0; i < size; i++)
		octets[i] = (char)(i * 7 + i / 4096);
	double limit = seconds_now() + LONGEST_TEST;
	while (buf_length(&got) < size && seconds_now() < limit) {
		if (sent < size) {
			ERR_clear_error();
			int n = SSL_write(client, octets + sent, (int)(size - sent));
			if (n > 0)
				sent += (size_t)n;
		}
		client_read(client, &got);
		event_base_loop(loop, EVLOOP_NONBLOCK);
	}
	assert_int_equal(buf_length(&got), size);
	assert_memory_equal(buf_text(&got).ptr, octets, size);
	SSL_free(client);
	side_close(&side);
	buf_release(&got);
	mem_free(octets);
}

static void leave_all(struct side *side)
{
	side->number = conn_input(side->conn).len;
}

/* What OpenSSL has read already makes no socket readable; it must not be forgotten. */
static void input_beyond_the_limit_waits_inside(void **state)
{
	static const struct conn_limits narrow = { .input = 10, .output_high = 1000 };
	struct side side;

	(void)state;
	side_open_tcp(&side, &narrow, AF_INET, AF_INET);
	side.on_input = leave_all;
	SSL *client = secure(&side, TLS1_3_VERSION);
	client_send(client, "0123456789abcdefghijABCDE");
	RUN_UNTIL(side.inputs);
	run_what_is_ready();
	assert_int_equal(side.inputs, 1);
	assert_true(text_equal(conn_input(side.conn), TEXT("0123456789")));
	conn_consume(side.conn, 10);
	RUN_UNTIL(side.inputs == 2);
	run_what_is_ready();
	assert_true(text_equal(conn_input(side.conn), TEXT("abcdefghij")));
	side.on_input = NULL;
	conn_hold(side.conn);
	conn_consume(side.conn, 10);
	run_what_is_ready();
	assert_int_equal(side.inputs, 2);
	conn_release(side.conn);
	RUN_UNTIL(side.inputs == 3);
	assert_true(text_equal(buf_text(&side.got), TEXT("ABCDE")));
	SSL_free(client);
	side_close(&side);
}

static void produce_ten_megabytes(struct side *side)
{
	static const char line[100] = "x";

	while (side->number < 10 << 20 && !conn_output_full(side->conn)) {
		conn_write(side->conn, (struct text){ .ptr = line, .len = sizeof(line) });
		side->number += sizeof(line);
	}
}

static void consume_and_produce(struct side *side)
{
	conn_consume(side->conn, conn_input(side->conn).len);
	produce_ten_megabytes(side);
}

static void a_peer_that_does_not_read_stops_the_producer(void **state)
{
	struct side side;
	struct buf got = { 0 };
	size_t before, sum = 0;

	(void)state;
	side_open_tcp(&side, &wide, AF_INET, AF_INET);
	side.on_input = consume_and_produce;
	side.on_drained = produce_ten_megabytes;
	SSL *client = secure(&side, TLS1_3_VERSION);
	client_send(client, "RETR");
	do {
		before = side.number;
		run_what_is_ready();
		assert_true(conn_output_length(side.conn) < wide.output_high + 100);
	} while (side.number != before || side.inputs == 0);
	assert_true(side.number < 10 << 20);
	double limit = seconds_now() + LONGEST_TEST;
	while (sum < side.number && seconds_now() < limit) {
		client_read(client, &got);
		sum += buf_length(&got);
		buf_clear(&got);
		event_base_loop(loop, EVLOOP_NONBLOCK);
	}
	assert_true(sum >= 10 << 20);
	assert_int_equal(sum, side.number);
	SSL_free(client);
	side_close(&side);
	buf_release(&got);
}

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
	assert_true(text_equal(buf_text(&side.got), TEXT("STARTTLS\r\nEHLO\r\n")));
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

/* ---- ends ---- */

static void close_notify_is_the_peers_end(void **state)
{
	struct side side;
	struct buf got = { 0 };

	(void)state;
	side_open_tcp(&side, &wide, AF_INET, AF_INET);
	side.on_input = echo;
	SSL *client = secure(&side, TLS1_3_VERSION);
	client_send(client, "last\r\n");
	SSL_shutdown(client);
	RUN_UNTIL(side.ended);
	assert_int_equal(side.end, CONN_END_PEER);
	assert_string_equal(side.detail, "");
	/* The answer came, and then our close_notify. */
	assert_false(client_read(client, &got));
	assert_true(text_equal(buf_text(&got), TEXT("last\r\n")));
	SSL_free(client);
	side_close(&side);
	buf_release(&got);
}

static void an_end_without_close_notify_is_told(void **state)
{
	struct side side;
	struct buf got = { 0 };

	(void)state;
	side_open_tcp(&side, &wide, AF_INET, AF_INET);
	side.on_input = echo;
	SSL *client = secure(&side, TLS1_3_VERSION);
	client_send(client, "last\r\n");
	shutdown(side.peer, SHUT_WR);
	RUN_UNTIL(side.ended);
	assert_int_equal(side.end, CONN_END_PEER);
	assert_string_equal(side.detail, "closed without TLS close_notify");
	client_read(client, &got);
	assert_true(text_equal(buf_text(&got), TEXT("last\r\n")));
	SSL_free(client);
	side_close(&side);
	buf_release(&got);
}

static void a_peer_that_leaves_the_handshake_has_closed(void **state)
{
	struct side side;

	(void)state;
	side_open_tcp(&side, &wide, AF_INET, AF_INET);
	conn_start_tls(side.conn, tls);
	SSL *client = client_new(&side, TLS1_3_VERSION);
	assert_false(client_is_connected(client));
	shutdown(side.peer, SHUT_WR);
	RUN_UNTIL(side.ended);
	assert_int_equal(side.end, CONN_END_PEER);
	assert_string_equal(side.detail, "closed during the TLS handshake");
	assert_int_equal(side.secured, 0);
	SSL_free(client);
	side_close(&side);
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
	double start = seconds_now(), last = 0;

	(void)state;
	side_open_tcp(&side, &hasty, AF_INET, AF_INET);
	conn_start_tls(side.conn, tls);
	for (size_t i = 0; !side.ended;) {
		if (seconds_now() > last + 0.2 && i < sizeof(hello) - 1) {
			last = seconds_now();
			assert_int_equal(send(side.peer, hello + i++, 1, MSG_NOSIGNAL), 1);
		}
		event_base_loop(loop, EVLOOP_ONCE);
	}
	assert_int_equal(side.end, CONN_END_TIMEOUT);
	assert_true(seconds_now() - start < 1.5);
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

/* ---- lifetimes and cost ---- */

static void free_it(struct side *side)
{
	conn_free(&side->conn);
}

static void it_can_be_freed_in_every_callback(void **state)
{
	struct side side;

	(void)state;
	side_open_tcp(&side, &wide, AF_INET, AF_INET);
	side.on_secured = free_it;
	SSL *client = client_new(&side, TLS1_3_VERSION);
	conn_start_tls(side.conn, tls);
	RUN_UNTIL(client_is_connected(client) + side.secured > 0 && side.secured);
	assert_null(side.conn);
	SSL_free(client);
	side_close(&side);

	side_open_tcp(&side, &wide, AF_INET, AF_INET);
	client = secure(&side, TLS1_3_VERSION);
	side.on_input = free_it;
	client_send(client, "x");
	RUN_UNTIL(side.inputs);
	assert_null(side.conn);
	SSL_free(client);
	side_close(&side);

	side_open_tcp(&side, &wide, AF_INET, AF_INET);
	side.on_ended = free_it;
	conn_start_tls(side.conn, tls);
	peer_send(&side, "garbage garbage");
	RUN_UNTIL(side.ended);
	assert_null(side.conn);
	side_close(&side);
}

static void a_context_may_be_replaced_meanwhile(void **state)
{
	struct side side;
	struct tls_identity identity = tls_identity_make(TLS_IDENTITY_ECDSA, "DNS:mail.test");
	char error[200];
	struct tls *replaced =
		tls_new(text_of(identity.chain), text_of(identity.key), error, sizeof(error));

	(void)state;
	side_open_tcp(&side, &wide, AF_INET, AF_INET);
	conn_start_tls(side.conn, replaced);
	tls_drop(&replaced);
	SSL *client = client_new(&side, TLS1_3_VERSION);
	SSL_set_tlsext_host_name(client, "mail.test");
	RUN_UNTIL(client_is_connected(client) && side.secured);
	SSL_free(client);
	side_close(&side);
}

static size_t cost_of_idle(int version, size_t count)
{
	struct side *sides = mem_array(count, sizeof(*sides));
	size_t before = 0;

	for (size_t i = 0; i < count; i++) {
		/* The first makes what all share. */
		if (i == 1)
			before = mallinfo2().uordblks;
		side_open(&sides[i], &wide);
		sides[i].on_input = echo;
		SSL *client = secure(&sides[i], version);
		client_send(client, "NOOP\r\n");
		RUN_UNTIL(sides[i].inputs);
		SSL_free(client);
	}
	size_t each = (mallinfo2().uordblks - before) / (count - 1);
	for (size_t i = 0; i < count; i++)
		side_close(&sides[i]);
	mem_free(sides);
	return each;
}

static void idle_sessions_cost_what_openssl_needs(void **state)
{
	(void)state;
	size_t tls12 = cost_of_idle(TLS1_2_VERSION, 500), tls13 = cost_of_idle(TLS1_3_VERSION, 500);
	if (!BASE_ADDRESS_SANITIZER) {
		print_message(
			"idle with TLS 1.2: %zu octets each, with TLS 1.3: %zu\n", tls12, tls13);
		assert_in_range(tls12, 1000, 20000);
		assert_in_range(tls13, 1000, 20000);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		CONN_TEST(both_versions_are_spoken),
		CONN_TEST(many_records_at_once_are_all_handed_over),
		CONN_TEST(input_beyond_the_limit_waits_inside),
		CONN_TEST(a_peer_that_does_not_read_stops_the_producer),
		CONN_TEST(starttls_throws_away_what_was_injected),
		CONN_TEST(starttls_waits_for_the_reply_to_be_taken),
		CONN_TEST(close_notify_is_the_peers_end),
		CONN_TEST(an_end_without_close_notify_is_told),
		CONN_TEST(a_peer_that_leaves_the_handshake_has_closed),
		CONN_TEST(garbage_ends_the_handshake),
		CONN_TEST(garbage_after_the_handshake_ends_it),
		CONN_TEST(a_handshake_octet_by_octet_times_out),
		CONN_TEST(finish_in_the_handshake_ends_it),
		CONN_TEST(nothing_written_before_the_handshake_goes_out_in_the_clear),
		CONN_TEST(it_can_be_freed_in_every_callback),
		CONN_TEST(a_context_may_be_replaced_meanwhile),
		CONN_TEST(idle_sessions_cost_what_openssl_needs),
	};

	return cmocka_run_group_tests(tests, make_tls, drop_tls);
}

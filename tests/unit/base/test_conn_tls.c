/* Connections under TLS: versions, batches, back-pressure, ends, lifetimes and cost. */
#include <linux/tcp.h>
#include <malloc.h>

#include "base/sanitizer.h"
#include "tests/unit/base/tls_client.h"

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

static unsigned segments_with_octets(int fd)
{
	struct tcp_info info = { 0 };

	assert_int_equal(
		getsockopt(fd, IPPROTO_TCP, TCP_INFO, &info, &(socklen_t){ sizeof(info) }), 0);
	return info.tcpi_data_segs_in;
}

static void the_last_reply_and_the_end_leave_together(void **state)
{
	struct side side;
	struct buf got = { 0 };

	(void)state;
	side_open_tcp(&side, &wide, AF_INET, AF_INET);
	SSL *client = secure(&side, TLS1_3_VERSION);
	conn_write(side.conn, TEXT("250 one\r\n"));
	RUN_UNTIL(client_has(client, &got, "250 one\r\n"));
	const unsigned before = segments_with_octets(side.peer);
	conn_write(side.conn, TEXT("221 bye\r\n"));
	conn_finish(side.conn);
	RUN_UNTIL(!client_read(client, &got));
	assert_true(text_equal(buf_text(&got), TEXT("250 one\r\n221 bye\r\n")));
	assert_int_equal(SSL_get_shutdown(client), SSL_RECEIVED_SHUTDOWN);
	assert_int_equal(segments_with_octets(side.peer) - before, 1);
	SSL_free(client);
	side_close(&side);
	buf_release(&got);
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
	expect_text(&side.got, "ABCDE");
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
	expect_text(&got, "last\r\n");
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
	expect_text(&got, "last\r\n");
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

static void reply_at_length(struct side *side)
{
	static const char octets[400000] = "x";

	conn_consume(side->conn, conn_input(side->conn).len);
	if (conn_output_length(side->conn) == 0)
		conn_write(side->conn, (struct text){ .ptr = octets, .len = sizeof(octets) });
}

/* It has said that it will send no more, and then takes no more either: our next write fails. */
static void a_peer_that_leaves_before_its_reply_is_seen(void **state)
{
	static const struct conn_limits roomy = { .input = 100, .output_high = 1 << 20 };
	struct side side;

	(void)state;
	side_open(&side, &roomy);
	side.on_input = reply_at_length;
	SSL *client = secure(&side, TLS1_3_VERSION);
	client_send(client, "RETR");
	assert_int_equal(shutdown(side.peer, SHUT_WR), 0);
	RUN_UNTIL(side.inputs);
	run_what_is_ready();
	assert_true(conn_output_length(side.conn) > 0);
	assert_int_equal(side.ended, 0);
	close(side.peer);
	side.peer = -1;
	RUN_UNTIL(side.ended);
	assert_int_equal(side.end, CONN_END_PEER);
	SSL_free(client);
	side_close(&side);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		CONN_TEST(both_versions_are_spoken),
		CONN_TEST(the_last_reply_and_the_end_leave_together),
		CONN_TEST(many_records_at_once_are_all_handed_over),
		CONN_TEST(input_beyond_the_limit_waits_inside),
		CONN_TEST(a_peer_that_does_not_read_stops_the_producer),
		CONN_TEST(a_peer_that_leaves_before_its_reply_is_seen),
		CONN_TEST(close_notify_is_the_peers_end),
		CONN_TEST(an_end_without_close_notify_is_told),
		CONN_TEST(a_peer_that_leaves_the_handshake_has_closed),
		CONN_TEST(it_can_be_freed_in_every_callback),
		CONN_TEST(a_context_may_be_replaced_meanwhile),
		CONN_TEST(idle_sessions_cost_what_openssl_needs),
	};

	return cmocka_run_group_tests(tests, make_tls, drop_tls);
}

/* The first words under TLS, and what goes with them: our part of the handshake. */
#include <sys/ioctl.h>

#include "tests/unit/base/tls_client.h"

static void greet(struct side *side)
{
	assert_false(conn_is_secure(side->conn));
	conn_write(side->conn, TEXT("220 ready\r\n"));
}

/* The client says hello, and hears what comes of it before the server hears more. */
static void hear_the_greeting(SSL_SESSION *session)
{
	struct side side;
	struct buf got = { 0 };

	side_open_tcp(&side, &wide, AF_INET, AF_INET);
	side.on_greeting = greet;
	side.on_input = echo;
	SSL *client = client_new(&side, TLS1_3_VERSION);
	if (session)
		SSL_set_session(client, session);
	conn_start_tls(side.conn, tls);
	assert_false(client_is_connected(client));
	RUN_UNTIL(segments_with_octets(side.peer));
	assert_true(client_is_connected(client));
	assert_int_equal(SSL_session_reused(client), session != NULL);
	assert_true(client_has(client, &got, "220 ready\r\n"));
	assert_int_equal(segments_with_octets(side.peer), 1);
	assert_int_equal(side.secured, 0);
	client_send(client, "one\r\n");
	RUN_UNTIL(client_has(client, &got, "220 ready\r\none\r\n"));
	assert_int_equal(side.secured, 1);
	assert_int_equal(side.greetings, 1);
	SSL_free(client);
	side_close(&side);
	buf_release(&got);
}

/* Of a connection that has a ticket, by now. */
static SSL_SESSION *make_session(void)
{
	struct side side;
	struct buf got = { 0 };

	side_open_tcp(&side, &wide, AF_INET, AF_INET);
	side.on_input = echo;
	SSL *client = secure(&side, TLS1_3_VERSION);
	client_send(client, "x");
	RUN_UNTIL(client_has(client, &got, "x"));
	SSL_SESSION *session = SSL_get1_session(client);
	assert_true(SSL_SESSION_is_resumable(session));
	SSL_shutdown(client);
	SSL_free(client);
	side_close(&side);
	buf_release(&got);
	return session;
}

static void it_leaves_with_our_part_of_the_handshake(void **state)
{
	SSL_SESSION *session = make_session();

	(void)state;
	hear_the_greeting(NULL);
	hear_the_greeting(session);
	SSL_SESSION_free(session);
}

static void with_tls_12_it_comes_behind_the_handshake(void **state)
{
	struct side side;
	struct buf got = { 0 };

	(void)state;
	side_open_tcp(&side, &wide, AF_INET, AF_INET);
	side.on_greeting = greet;
	SSL *client = secure(&side, TLS1_2_VERSION);
	RUN_UNTIL(client_has(client, &got, "220 ready\r\n"));
	assert_int_equal(side.greetings, 1);
	SSL_free(client);
	side_close(&side);
	buf_release(&got);
}

static void greet_at_length(struct side *side)
{
	for (int i = 0; i < 300; i++)
		conn_printf(side->conn, "220-%04d\r\n", i);
}

static void greet_more(struct side *side)
{
	conn_write(side->conn, TEXT("220 ready\r\n"));
}

static void a_long_one_is_whole(void **state)
{
	struct side side;
	struct buf got = { 0 };
	const size_t length = 300 * 10 + 11;

	(void)state;
	side_open_tcp(&side, &wide, AF_INET, AF_INET);
	side.on_greeting = greet_at_length;
	side.on_secured = greet_more;
	SSL *client = secure(&side, TLS1_3_VERSION);
	RUN_UNTIL(client_read(client, &got) && buf_length(&got) >= length);
	assert_int_equal(buf_length(&got), length);
	assert_true(text_begins(buf_text(&got), TEXT("220-0000\r\n220-0001\r\n")));
	assert_true(text_equal(
		text_from(buf_text(&got), length - 21), TEXT("220-0299\r\n220 ready\r\n")));
	SSL_free(client);
	side_close(&side);
	buf_release(&got);
}

/* A client may send it though no ticket of ours invites to. It may be a replay. */
static void early_data_is_no_input(void **state)
{
	SSL_SESSION *session = make_session();
	struct side side;
	struct buf got = { 0 };
	size_t written;

	(void)state;
	assert_int_equal(SSL_SESSION_get_max_early_data(session), 0);
	SSL_SESSION_set_max_early_data(session, 1000);
	side_open_tcp(&side, &wide, AF_INET, AF_INET);
	side.on_greeting = greet;
	conn_start_tls(side.conn, tls);
	SSL *client = client_new(&side, TLS1_3_VERSION);
	SSL_set_session(client, session);
	assert_int_equal(SSL_write_early_data(client, "MAIL\r\n", 6, &written), 1);
	RUN_UNTIL(client_is_connected(client) && side.secured);
	assert_int_equal(SSL_get_early_data_status(client), SSL_EARLY_DATA_REJECTED);
	RUN_UNTIL(client_has(client, &got, "220 ready\r\n"));
	client_send(client, "EHLO\r\n");
	RUN_UNTIL(side.inputs);
	expect_text(&side.got, "EHLO\r\n");
	SSL_free(client);
	SSL_SESSION_free(session);
	side_close(&side);
	buf_release(&got);
}

/* A client that speaks into memory until it is told to hear the socket. */
static SSL *deaf_client(const struct side *side)
{
	SSL *client = SSL_new(client_context);
	BIO *nothing = BIO_new(BIO_s_mem());

	BIO_set_mem_eof_return(nothing, -1);
	SSL_set_bio(client, nothing, BIO_new_socket(side->peer, BIO_NOCLOSE));
	SSL_set_connect_state(client);
	return client;
}

static size_t octets_at(int fd)
{
	int octets = -1;

	assert_int_equal(ioctl(fd, FIONREAD, &octets), 0);
	return (size_t)octets;
}

static void a_full_socket_loses_nothing(void **state)
{
	static const char clear[8000];
	struct side side = { 0 };
	struct buf got = { 0 };
	int pair[2];

	(void)state;
	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, pair), 0);
	setsockopt(pair[0], SOL_SOCKET, SO_SNDBUF, &(int){ 1 }, sizeof(int));
	side.peer = pair[1];
	side.conn = conn_new(loop, pair[0], &side_handlers, &wide, &side);
	side.on_greeting = greet;
	conn_write(side.conn, (struct text){ .ptr = clear, .len = sizeof(clear) });
	run_what_is_ready();
	while (conn_output_length(side.conn)) {
		char octet;
		assert_int_equal(recv(side.peer, &octet, 1, 0), 1);
		side.number++;
		run_what_is_ready();
	}
	conn_start_tls(side.conn, tls);
	SSL *client = deaf_client(&side);
	assert_false(client_is_connected(client));
	RUN_UNTIL(side.greetings);
	run_what_is_ready();
	/* Nothing of it has found room. */
	assert_int_equal(octets_at(side.peer), sizeof(clear) - side.number);
	assert_int_equal(
		recv(side.peer, buf_room(&got, sizeof(clear)), sizeof(clear) - side.number, 0),
		sizeof(clear) - side.number);
	SSL_set0_rbio(client, BIO_new_socket(side.peer, BIO_NOCLOSE));
	RUN_UNTIL(client_is_connected(client) && side.secured);
	RUN_UNTIL(client_has(client, &got, "220 ready\r\n"));
	assert_int_equal(side.greetings, 1);
	SSL_free(client);
	side_close(&side);
	buf_release(&got);
}

/* ---- ends ---- */

static void greet_and_free(struct side *side)
{
	greet(side);
	conn_free(&side->conn);
}

static void greet_and_finish(struct side *side)
{
	greet(side);
	conn_finish(side->conn);
}

static void the_owner_may_end_it(void **state)
{
	static const int versions[] = { TLS1_2_VERSION, TLS1_3_VERSION };

	(void)state;
	for (size_t i = 0; i < sizeof(versions) / sizeof(versions[0]); i++) {
		struct side side;
		side_open_tcp(&side, &wide, AF_INET, AF_INET);
		side.on_greeting = greet_and_free;
		conn_start_tls(side.conn, tls);
		SSL *client = client_new(&side, versions[i]);
		RUN_UNTIL(client_is_connected(client) + side.greetings > 0 && side.greetings);
		assert_null(side.conn);
		SSL_free(client);
		side_close(&side);

		side_open_tcp(&side, &wide, AF_INET, AF_INET);
		side.on_greeting = greet_and_finish;
		conn_start_tls(side.conn, tls);
		client = client_new(&side, versions[i]);
		RUN_UNTIL(client_is_connected(client) + side.greetings > 0 && side.greetings);
		/* Without a word of the client. */
		run_what_is_ready();
		shutdown(side.peer, SHUT_WR);
		RUN_UNTIL(side.ended);
		assert_int_equal(side.end, CONN_END_FINISHED);
		SSL_free(client);
		side_close(&side);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		CONN_TEST(it_leaves_with_our_part_of_the_handshake),
		CONN_TEST(with_tls_12_it_comes_behind_the_handshake),
		CONN_TEST(a_long_one_is_whole),
		CONN_TEST(early_data_is_no_input),
		CONN_TEST(a_full_socket_loses_nothing),
		CONN_TEST(the_owner_may_end_it),
	};

	return cmocka_run_group_tests(tests, make_tls, drop_tls);
}

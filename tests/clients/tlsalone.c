/*
 * What OpenSSL alone costs a server for a connection: a handshake, a greeting, the end.
 *
 *	tlsalone CERTIFICATE KEY
 *
 * Both ends are in this process, with nothing between them but memory; the clock runs while the server's
 * works. So this is what no server with this OpenSSL and this kind of key can save. Its settings are the
 * cheapest that are safe: AES-128, X25519, no new ticket on a resumed session. Prints "full=… resumed=…
 * resumed12=…", microseconds, each the best of some rounds, so that one that nobody disturbed counts.
 */
#include <openssl/bio.h>
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

enum { ROUNDS = 30, HANDSHAKES_IN_A_ROUND = 50 };

static SSL_CTX *server_context, *client_context;
static SSL_SESSION *session;

__attribute__((noreturn)) static void die(const char *what)
{
	fprintf(stderr, "tlsalone: %s\n", what);
	ERR_print_errors_fp(stderr);
	exit(1);
}

static double now_microseconds(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (double)now.tv_sec * 1e6 + (double)now.tv_nsec / 1e3;
}

static bool step(SSL *ssl)
{
	const int result = SSL_do_handshake(ssl);

	if (result != 1 && SSL_get_error(ssl, result) != SSL_ERROR_WANT_READ)
		die("the handshake failed");
	return result == 1;
}

static SSL *client_new(BIO *end)
{
	SSL *client = SSL_new(client_context);

	if (!client || (session && !SSL_set_session(client, session)))
		die("no client");
	SSL_set_bio(client, end, end);
	SSL_set_connect_state(client);
	return client;
}

static SSL *server_new(BIO *end)
{
	SSL *server = SSL_new(server_context);

	if (!server)
		die("no server");
	SSL_set_bio(server, end, end);
	SSL_set_accept_state(server);
	return server;
}

/* Of one connection; with `take` its session is the one to be resumed from now on. */
static double server_microseconds(bool take)
{
	static const char greeting[] = "220 mail.example.test ESMTP\r\n";
	BIO *ends[2];
	char heard[sizeof(greeting)];

	if (BIO_new_bio_pair(&ends[0], 0, &ends[1], 0) != 1)
		die("no pipe");
	SSL *client = client_new(ends[0]);
	bool done = step(client);
	double begin = now_microseconds();
	SSL *server = server_new(ends[1]);
	while (!step(server) || !done) {
		const double pause = now_microseconds();
		done = step(client);
		begin += now_microseconds() - pause;
	}
	if (SSL_write(server, greeting, sizeof(greeting)) != sizeof(greeting))
		die("no greeting");
	const double pause = now_microseconds();
	if (SSL_read(client, heard, sizeof(heard)) != sizeof(heard))
		die("the greeting was not heard");
	if (SSL_session_reused(client) != (session != NULL))
		die("a session is not resumed as it should be");
	if (take)
		session = SSL_get1_session(client);
	SSL_shutdown(client);
	SSL_free(client);
	begin += now_microseconds() - pause;
	SSL_shutdown(server);
	SSL_free(server);
	return now_microseconds() - begin;
}

static double best(void)
{
	double least = 0;

	for (int round = 0; round < ROUNDS; round++) {
		double sum = 0;
		for (int i = 0; i < HANDSHAKES_IN_A_ROUND; i++)
			sum += server_microseconds(false);
		if (round == 0 || sum < least)
			least = sum;
	}
	return least / HANDSHAKES_IN_A_ROUND;
}

static double best_resumed(int version)
{
	SSL_CTX_set_max_proto_version(client_context, version);
	SSL_CTX_set_num_tickets(server_context, 1);
	server_microseconds(true);
	/* Of TLS 1.3 only: the ticket that is there will do. */
	SSL_CTX_set_num_tickets(server_context, 0);
	const double microseconds = best();
	SSL_SESSION_free(session);
	session = NULL;
	return microseconds;
}

int main(int argc, char **argv)
{
	if (argc != 3)
		die("usage: tlsalone CERTIFICATE KEY");
	server_context = SSL_CTX_new(TLS_server_method());
	client_context = SSL_CTX_new(TLS_client_method());
	if (!server_context || !client_context ||
		SSL_CTX_use_certificate_chain_file(server_context, argv[1]) != 1 ||
		SSL_CTX_use_PrivateKey_file(server_context, argv[2], SSL_FILETYPE_PEM) != 1 ||
		SSL_CTX_set_ciphersuites(server_context, "TLS_AES_128_GCM_SHA256") != 1 ||
		SSL_CTX_set_cipher_list(server_context, "ECDHE+AESGCM+AES128") != 1 ||
		SSL_CTX_set1_groups_list(server_context, "X25519") != 1)
		die("no TLS with these");
	SSL_CTX_set_session_cache_mode(server_context, SSL_SESS_CACHE_OFF);
	SSL_CTX_set_session_cache_mode(client_context, SSL_SESS_CACHE_OFF);
	SSL_CTX_set_num_tickets(server_context, 1);
	const double full = best();
	const double resumed = best_resumed(TLS1_3_VERSION);
	printf("full=%.1f resumed=%.1f resumed12=%.1f\n", full, resumed,
		best_resumed(TLS1_2_VERSION));
	SSL_CTX_free(server_context);
	SSL_CTX_free(client_context);
	return 0;
}

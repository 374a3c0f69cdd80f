/* A TLS client at the other end of a connection, on the same loop. */
#ifndef TESTS_UNIT_BASE_TLS_CLIENT_H
#define TESTS_UNIT_BASE_TLS_CLIENT_H

#include <openssl/err.h>

#include "base/tls.h"
#include "tests/unit/base/conn_side.h"
#include "tests/unit/base/tls_identity.h"

static struct tls *tls;
static SSL_CTX *client_context;

static inline int make_tls(void **state)
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

static inline int drop_tls(void **state)
{
	(void)state;
	tls_drop(&tls);
	SSL_CTX_free(client_context);
	return 0;
}

/* ---- the client ---- */

static inline SSL *client_new(struct side *side, int version)
{
	SSL *client = SSL_new(client_context);

	SSL_set_max_proto_version(client, version);
	SSL_set_fd(client, side->peer);
	SSL_set_connect_state(client);
	return client;
}

static inline bool client_is_connected(SSL *client)
{
	ERR_clear_error();
	return SSL_do_handshake(client) == 1;
}

/* Ours starts at once, the client speaks the version, both are done. */
static inline SSL *secure(struct side *side, int version)
{
	SSL *client = client_new(side, version);

	conn_start_tls(side->conn, tls);
	RUN_UNTIL(client_is_connected(client) && side->secured);
	return client;
}

/* What came by now is added; false when the server ended cleanly. */
static inline bool client_read(SSL *client, struct buf *to)
{
	int n;

	ERR_clear_error();
	while ((n = SSL_read(client, buf_room(to, 20000), 20000)) > 0)
		buf_commit(to, (size_t)n);
	return SSL_get_error(client, n) != SSL_ERROR_ZERO_RETURN;
}

static inline bool client_has(SSL *client, struct buf *got, const char *string)
{
	client_read(client, got);
	return text_equal(buf_text(got), text_of(string));
}

static inline void client_send(SSL *client, const char *string)
{
	assert_int_equal(SSL_write(client, string, (int)strlen(string)), strlen(string));
}

static inline void echo(struct side *side)
{
	struct text input = conn_input(side->conn);

	conn_write(side->conn, input);
	conn_consume(side->conn, input.len);
}

#endif

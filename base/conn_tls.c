/*
 * A connection's octets through OpenSSL. The socket BIO is our own, because OpenSSL's writes with
 * write(2), and a peer that went away would raise SIGPIPE.
 */
#include <errno.h>
#include <openssl/bio.h>
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <string.h>
#include <sys/socket.h>

#include "base/conn_private.h"
#include "base/log.h"
#include "base/tls.h"

static int bio_read(BIO *bio, char *to, int room)
{
	struct conn *conn = BIO_get_data(bio);
	const struct text raw = text_head(buf_text(&conn->raw), (size_t)room);

	if (raw.len) {
		memcpy(to, raw.ptr, raw.len);
		buf_consume(&conn->raw, raw.len);
		if (buf_length(&conn->raw) == 0)
			buf_release(&conn->raw);
		BIO_clear_retry_flags(bio);
		return (int)raw.len;
	}
	ssize_t n = recv(conn->fd, to, (size_t)room, 0);

	BIO_clear_retry_flags(bio);
	if (n < 0 && (errno == EAGAIN || errno == EINTR))
		BIO_set_retry_read(bio);
	if (n == 0)
		BIO_set_flags(bio, BIO_FLAGS_IN_EOF);
	return (int)n;
}

static int bio_write(BIO *bio, const char *octets, int size)
{
	const struct conn *conn = BIO_get_data(bio);
	ssize_t n = send(conn->fd, octets, (size_t)size, conn_io_flags(conn));

	BIO_clear_retry_flags(bio);
	if (n < 0 && (errno == EAGAIN || errno == EINTR))
		BIO_set_retry_write(bio);
	return (int)n;
}

static long bio_control(BIO *bio, int command, long number, void *pointer)
{
	(void)number, (void)pointer;
	if (command == BIO_CTRL_EOF)
		return BIO_test_flags(bio, BIO_FLAGS_IN_EOF) != 0;
	return command == BIO_CTRL_FLUSH;
}

static BIO_METHOD *bio_method(void)
{
	static BIO_METHOD *method;

	if (!method) {
		method = BIO_meth_new(BIO_TYPE_SOURCE_SINK | BIO_get_new_index(), "connection");
		if (!method || !BIO_meth_set_read(method, bio_read) ||
			!BIO_meth_set_write(method, bio_write) ||
			!BIO_meth_set_ctrl(method, bio_control))
			LOG_FATAL("out-of-memory", LOG_STRING("what", "BIO method"));
	}
	return method;
}

void conn_tls_begin(struct conn *conn)
{
	BIO *bio = BIO_new(bio_method());

	if (!bio)
		LOG_FATAL("out-of-memory", LOG_STRING("what", "BIO"));
	BIO_set_data(bio, conn);
	BIO_set_init(bio, 1);
	conn->ssl = tls_accept(conn->tls);
	SSL_set_bio(conn->ssl, bio, bio);
	conn_expect_secrets(conn, conn->secrets);
}

void conn_expect_secrets(struct conn *conn, bool expected)
{
	conn->secrets = expected;
	if (conn->ssl && expected)
		SSL_set_options(conn->ssl, SSL_OP_CLEANSE_PLAINTEXT);
	else if (conn->ssl)
		SSL_clear_options(conn->ssl, SSL_OP_CLEANSE_PLAINTEXT);
}

static void clear_errors(void)
{
	ERR_clear_error();
	errno = 0;
}

/* What came of the last call, which gave `result`; conn->detail says more of an end or a failure. */
static enum conn_io outcome(struct conn *conn, int result)
{
	int error = SSL_get_error(conn->ssl, result), number = errno;
	unsigned long code = ERR_peek_error();
	const char *reason = code ? ERR_reason_error_string(code) : NULL;

	if (error == SSL_ERROR_WANT_READ || error == SSL_ERROR_WANT_WRITE)
		return CONN_IO_AGAIN;
	if (BIO_eof(SSL_get_rbio(conn->ssl))) {
		conn->detail = "closed without TLS close_notify";
		return CONN_IO_EOF;
	}
	if (error == SSL_ERROR_ZERO_RETURN)
		return CONN_IO_EOF;
	if (error == SSL_ERROR_SYSCALL && number) {
		conn->detail = strerrordesc_np(number);
		return CONN_IO_FAILED;
	}
	conn->detail = reason ? reason : "TLS failed";
	return CONN_IO_GARBLED;
}

enum conn_io conn_tls_handshake(struct conn *conn)
{
	enum conn_io io = CONN_IO_DONE;

	clear_errors();
	int result = SSL_do_handshake(conn->ssl);
	if (result != 1)
		io = outcome(conn, result);
	else
		conn->tls_more = SSL_has_pending(conn->ssl);
	conn->tls_writes = io == CONN_IO_AGAIN && SSL_want_write(conn->ssl);
	return io;
}

enum conn_io conn_tls_read(struct conn *conn, char *to, size_t room, size_t *got)
{
	enum conn_io io = conn->tls_end;

	conn->tls_more = false;
	while (io == CONN_IO_DONE && *got < room) {
		clear_errors();
		int n = SSL_read(conn->ssl, to + *got, (int)(room - *got));
		if (n <= 0) {
			io = outcome(conn, n);
		} else {
			*got += (size_t)n;
			/* Without this question every reading would end in a system call for nothing. */
			conn->tls_more = SSL_has_pending(conn->ssl);
			if (!conn->tls_more)
				break;
		}
	}
	conn->tls_writes = io == CONN_IO_AGAIN && SSL_want_write(conn->ssl);
	if (io == CONN_IO_AGAIN)
		conn->tls_more = false;
	if (*got == 0 || io == CONN_IO_DONE || io == CONN_IO_AGAIN)
		return *got ? CONN_IO_DONE : io;
	/* The octets first, then the end behind them. */
	conn->tls_end = io;
	conn->tls_more = true;
	return CONN_IO_DONE;
}

enum conn_io conn_tls_write(struct conn *conn, struct text octets, size_t *sent)
{
	enum conn_io io = CONN_IO_DONE;

	while (io == CONN_IO_DONE && *sent < octets.len) {
		size_t n = 0;
		clear_errors();
		int result = SSL_write_ex(conn->ssl, octets.ptr + *sent, octets.len - *sent, &n);
		if (result == 1)
			*sent += n;
		else
			io = outcome(conn, result);
	}
	conn->tls_reads = io == CONN_IO_AGAIN && SSL_want_read(conn->ssl);
	return io;
}

void conn_tls_close_notify(struct conn *conn)
{
	clear_errors();
	SSL_shutdown(conn->ssl);
	ERR_clear_error();
}

void conn_tls_free(struct conn *conn)
{
	SSL_free(conn->ssl);
	conn->ssl = NULL;
	if (conn->tls)
		tls_drop(&conn->tls);
}

bool conn_is_secure(const struct conn *conn)
{
	return conn->secure;
}

const char *conn_tls_version(const struct conn *conn)
{
	return conn->secure ? SSL_get_version(conn->ssl) : NULL;
}

const char *conn_tls_cipher(const struct conn *conn)
{
	return conn->secure ? SSL_get_cipher_name(conn->ssl) : NULL;
}

const char *conn_tls_channel_binding(
	const struct conn *conn, char binding[CONN_BINDING_LIMIT], size_t *length)
{
	static const char label[] = "EXPORTER-Channel-Binding";

	*length = 0;
	if (!conn->secure)
		return NULL;
	if (SSL_version(conn->ssl) >= TLS1_3_VERSION) {
		if (SSL_export_keying_material(conn->ssl, (unsigned char *)binding, 32, label,
			    sizeof(label) - 1, (const unsigned char *)"", 0, 1) != 1)
			return NULL;
		*length = 32;
		return "tls-exporter";
	}
	/* Without the extended master secret another server could be in between (RFC 7627). */
	if (SSL_get_extms_support(conn->ssl) != 1)
		return NULL;
	/* The first Finished message: the client's, or on a resumed session ours. */
	*length = SSL_session_reused(conn->ssl)
			  ? SSL_get_finished(conn->ssl, binding, CONN_BINDING_LIMIT)
			  : SSL_get_peer_finished(conn->ssl, binding, CONN_BINDING_LIMIT);
	return *length > 0 && *length <= CONN_BINDING_LIMIT ? "tls-unique" : NULL;
}

#include "bridge/stream_tls.h"

#include <arpa/inet.h>
#include <limits.h>
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>

#include "base/log.h"

enum { CHAIN_DEPTH = 10 };

static const char *openssl_reason(void)
{
	const char *reason = ERR_reason_error_string(ERR_peek_last_error());

	return reason ? reason : "no reason given";
}

struct ssl_ctx_st *stream_tls_new(const char *ca_file, bool pinned, struct fault *fault)
{
	SSL_CTX *tls = SSL_CTX_new(TLS_client_method());

	if (!tls)
		LOG_FATAL("out-of-memory", LOG_STRING("what", "TLS"));
	SSL_CTX_set_min_proto_version(tls, TLS1_2_VERSION);
	SSL_CTX_set_options(tls, SSL_OP_NO_RENEGOTIATION | SSL_OP_NO_COMPRESSION);
	SSL_CTX_set_mode(tls, SSL_MODE_ENABLE_PARTIAL_WRITE | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER);
	SSL_CTX_set_verify_depth(tls, CHAIN_DEPTH);
	/* The file may hold the server's own certificate instead of who issued it. */
	X509_VERIFY_PARAM_set_flags(SSL_CTX_get0_param(tls), X509_V_FLAG_PARTIAL_CHAIN);
	if (!pinned && SSL_CTX_load_verify_file(tls, ca_file) != 1) {
		fault_set(fault, FAULT_SETTINGS, "ca-file %s holds no certificates: %s", ca_file,
			openssl_reason());
		SSL_CTX_free(tls);
		return NULL;
	}
	ERR_clear_error();
	return tls;
}

/* The name, or the address, that the certificate has to bear. */
static bool demand_name(SSL *ssl, const char *host)
{
	unsigned char address[sizeof(struct in6_addr)];
	X509_VERIFY_PARAM *wanted = SSL_get0_param(ssl);

	X509_VERIFY_PARAM_set_hostflags(wanted, X509_CHECK_FLAG_NO_PARTIAL_WILDCARDS);
	if (inet_pton(AF_INET, host, address) == 1 || inet_pton(AF_INET6, host, address) == 1)
		return X509_VERIFY_PARAM_set1_ip_asc(wanted, host) == 1;
	return SSL_set1_host(ssl, host) == 1 && SSL_set_tlsext_host_name(ssl, host) == 1;
}

static int tls_failed(struct stream *stream)
{
	const long verdict = SSL_get_verify_result(stream->ssl);

	if (!stream->options.pin && verdict != X509_V_OK)
		return fault_set(&stream->fault, FAULT_TLS,
			"the certificate of %s is not to be trusted: %s", stream->options.host,
			X509_verify_cert_error_string(verdict));
	return fault_set(&stream->fault, FAULT_TLS, "no TLS with %s: %s", stream->options.host,
		openssl_reason());
}

/* After a call that did not do all: wait for what it needs. 0: again; -1: fault. */
static int await(struct stream *stream, int result)
{
	switch (SSL_get_error(stream->ssl, result)) {
	case SSL_ERROR_WANT_READ:
		return stream_await(stream, POLLIN) < 0 ? -1 : 0;
	case SSL_ERROR_WANT_WRITE:
		return stream_await(stream, POLLOUT) < 0 ? -1 : 0;
	case SSL_ERROR_ZERO_RETURN:
		return fault_set(&stream->fault, FAULT_NETWORK, "%s closed the connection",
			stream->options.host);
	default:
		break;
	}
	if (SSL_is_init_finished(stream->ssl))
		return fault_set(&stream->fault, FAULT_NETWORK, "the connection to %s broke",
			stream->options.host);
	return tls_failed(stream);
}

static int check_pin(struct stream *stream)
{
	unsigned char digest[EVP_MAX_MD_SIZE];
	unsigned length = 0;
	X509 *certificate = SSL_get0_peer_certificate(stream->ssl);
	unsigned char *key = NULL;
	const int size = certificate ? i2d_X509_PUBKEY(X509_get_X509_PUBKEY(certificate), &key) : 0;

	if (size > 0)
		EVP_Digest(key, (size_t)size, digest, &length, EVP_sha256(), NULL);
	OPENSSL_free(key);
	if (length != STREAM_PIN)
		return fault_set(
			&stream->fault, FAULT_TLS, "%s shows no certificate", stream->options.host);
	for (size_t i = 0; i < STREAM_PIN; i++)
		snprintf(stream->pin_text + 2 * i, 3, "%02x", digest[i]);
	if (!stream->options.pin || memcmp(digest, stream->options.pin, STREAM_PIN) == 0)
		return 0;
	return fault_set(&stream->fault, FAULT_TLS,
		"%s shows another key than the pinned one; its own is %s", stream->options.host,
		stream->pin_text);
}

int stream_tls_handshake(struct stream *stream)
{
	int result;

	ERR_clear_error();
	stream->ssl = SSL_new(stream->options.tls);
	if (!stream->ssl || SSL_set_fd(stream->ssl, stream->fd) != 1)
		LOG_FATAL("out-of-memory", LOG_STRING("what", "TLS"));
	if (!demand_name(stream->ssl, stream->options.host))
		return fault_set(&stream->fault, FAULT_SETTINGS, "\"%s\" is not a host name",
			stream->options.host);
	SSL_set_verify(stream->ssl, stream->options.pin ? SSL_VERIFY_NONE : SSL_VERIFY_PEER, NULL);
	while ((result = SSL_connect(stream->ssl)) != 1) {
		if (await(stream, result) != 0)
			return -1;
	}
	return check_pin(stream);
}

static int clamp(size_t size)
{
	return size < INT_MAX ? (int)size : INT_MAX;
}

ssize_t stream_tls_read(struct stream *stream, void *octets, size_t size)
{
	for (;;) {
		ERR_clear_error();
		const int got = SSL_read(stream->ssl, octets, clamp(size));
		if (got > 0)
			return got;
		if (await(stream, got) != 0)
			return -1;
	}
}

ssize_t stream_tls_write(struct stream *stream, const void *octets, size_t size)
{
	for (;;) {
		ERR_clear_error();
		const int put = SSL_write(stream->ssl, octets, clamp(size));
		if (put > 0)
			return put;
		if (await(stream, put) != 0)
			return -1;
	}
}

bool stream_tls_pending(const struct stream *stream)
{
	return stream->ssl && SSL_pending(stream->ssl) > 0;
}

void stream_tls_free(struct stream *stream)
{
	if (stream->ssl && stream->fault.kind == FAULT_NONE)
		SSL_shutdown(stream->ssl);
	SSL_free(stream->ssl);
	stream->ssl = NULL;
}

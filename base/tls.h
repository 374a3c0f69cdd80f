/*
 * Server-side TLS contexts (OpenSSL): TLS 1.2 and up, forward-secret AEAD ciphers, SNI.
 *
 * A context is counted: connections hold one each, so a reload replaces the certificate for new
 * handshakes while sessions in progress go on with theirs.
 */
#ifndef BASE_TLS_H
#define BASE_TLS_H

#include "base/text.h"

struct tls;
struct ssl_st; /* OpenSSL's SSL; this header stays free of its includes */

/* Certificate chain and private key in PEM; the octets are not kept. NULL with a reason in error. */
struct tls *tls_new(struct text chain, struct text key, char *error, size_t error_size);

/*
 * One more certificate, chosen by server name (SNI, RFC 6066) when the names in it match, or when its
 * key type is what the peer asks for. The same names with the same type of key are a mistake. 0, or -1
 * with a reason.
 */
int tls_add(struct tls *tls, struct text chain, struct text key, char *error, size_t error_size);

struct tls *tls_keep(struct tls *tls);
void tls_drop(struct tls **tls);

/* A new server-side session object on this context. The caller frees it with SSL_free. */
struct ssl_st *tls_accept(struct tls *tls);

#endif

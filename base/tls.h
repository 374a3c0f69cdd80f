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

/*
 * Keys that session tickets are sealed with (RFC 5077, RFC 8446 section 4.6.1). A process makes its own,
 * unless it is given those that it shares with others: then a client that comes back may meet any of
 * them. They are replaced regularly, or a key found later would open every session recorded before (RFC 9325
 * section 3.4): what the key before sealed is still opened, and sealed anew.
 */
enum {
	TLS_TICKET_KEY = 80,           /* octets: a name, a key to encrypt, a key to sign */
	TLS_TICKET_PERIOD = 12 * 3600, /* seconds that a key seals; it opens for as long again */
};

void tls_ticket_key_make(unsigned char key[TLS_TICKET_KEY]);

/* For every context of this process from now on. previous may be empty. */
void tls_share_tickets(struct text current, struct text previous);

/* A new server-side session object on this context. The caller frees it with SSL_free. */
struct ssl_st *tls_accept(struct tls *tls);

#endif

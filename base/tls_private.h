/*
 * Keys that session tickets are sealed with (RFC 5077, RFC 8446 section 4.6.1), shared by tls.c and
 * tls_tickets.c. They are made in this process, never leave it, and are replaced regularly, or a key
 * found later would open every session recorded before (RFC 9325 section 3.4).
 */
#ifndef BASE_TLS_PRIVATE_H
#define BASE_TLS_PRIVATE_H

#include <openssl/ssl.h>
#include <stdint.h>

enum {
	TLS_TICKET_NAME = 16,
	TLS_TICKET_PERIOD = 12 * 3600, /* seconds that a key seals; it opens for as long again */
};

struct tls_ticket_key {
	unsigned char name[TLS_TICKET_NAME];
	unsigned char cipher[32];
	unsigned char mac[32];
	int64_t made; /* monotonic seconds; 0: there is no key */
};

struct tls_tickets {
	struct tls_ticket_key current, previous;
};

/* The key to seal with now: the current one, or a new one in its place. */
const struct tls_ticket_key *tls_tickets_seal(struct tls_tickets *tickets, int64_t now);

/* The key of that name if it may still open, else NULL. */
const struct tls_ticket_key *tls_tickets_open(
	const struct tls_tickets *tickets, const unsigned char *name, int64_t now);

/* Sessions whose app data is this struct seal and open with it. */
void tls_tickets_install(SSL_CTX *context);

#endif

/*
 * Session tickets, shared by tls.c and tls_tickets.c.
 */
#ifndef BASE_TLS_PRIVATE_H
#define BASE_TLS_PRIVATE_H

#include <openssl/ssl.h>
#include <stdint.h>

#include "base/tls.h"

enum { TLS_TICKET_NAME = 16 };

struct tls_ticket_key {
	unsigned char name[TLS_TICKET_NAME];
	unsigned char cipher[32];
	unsigned char mac[32];
	int64_t made; /* monotonic seconds; 0: there is no key */
};

struct tls_tickets {
	struct tls_ticket_key current, previous;
	bool shared; /* replaced by who gave them, and by nobody else */
};

/* Those that were given to this process, or those of a context. */
struct tls_tickets *tls_tickets_in_use(struct tls_tickets *own);

/* The key to seal with now: the current one, or a new one in its place. */
const struct tls_ticket_key *tls_tickets_seal(struct tls_tickets *tickets, int64_t now);

/* The key of that name if it may still open, else NULL. */
const struct tls_ticket_key *tls_tickets_open(
	const struct tls_tickets *tickets, const unsigned char *name, int64_t now);

/* Sessions whose app data is this struct seal and open with it. */
void tls_tickets_install(SSL_CTX *context);

#endif

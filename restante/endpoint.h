/*
 * Where to listen, as written in the settings: "*:25", "192.0.2.1:25", "[2001:db8::1]:25".
 *
 * "*" is every address of both families, by one socket each. Names are not looked up: a mail host must
 * come up without DNS.
 */
#ifndef RESTANTE_ENDPOINT_H
#define RESTANTE_ENDPOINT_H

#include <sys/socket.h>

#include "base/text.h"

struct endpoint {
	struct sockaddr_storage address[2];
	size_t count; /* of addresses: 2 for "*", first IPv6 */
	uint16_t port;
};

enum { ENDPOINT_TEXT_LIMIT = 64 }; /* octets endpoint_print needs at most, with the NUL */

/* Port 0 leaves the choice to the kernel. 0, or -1 with a sentence that tells the remedy. */
int endpoint_parse(struct text in, struct endpoint *endpoint, char *error, size_t error_size);

/* "192.0.2.1:25" or "[2001:db8::1]:25". */
void endpoint_print(const struct sockaddr_storage *address, char out[ENDPOINT_TEXT_LIMIT]);

/* Octets of the address for bind(2), and its port. */
socklen_t endpoint_size(const struct sockaddr_storage *address);
uint16_t endpoint_port(const struct sockaddr_storage *address);

#endif

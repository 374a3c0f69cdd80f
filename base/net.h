/*
 * Addresses of the internet as values: from text, from a socket, held against prefixes.
 *
 * An IPv4 address is kept as ::ffff:a.b.c.d (RFC 4291 section 2.5.5.2), so that a client has one form,
 * whichever kind of socket it came by.
 */
#ifndef BASE_NET_H
#define BASE_NET_H

#include <netinet/in.h>

#include "base/settings.h"
#include "base/text.h"

struct net_address {
	unsigned char octets[16];
};

/* The first bits of address; what is behind them is zero. */
struct net_prefix {
	struct net_address address;
	unsigned bits; /* of 128, for IPv4, too */
};

/* "192.0.2.1" or "2001:db8::1", no brackets, no zone. 0, or -1. */
int net_address_parse(struct text in, struct net_address *address);

/* From its four octets in network order. */
void net_address_set_ipv4(struct net_address *address, const void *octets);

/* As accept(2) tells it. 0, or -1: that is no address of the internet. */
int net_address_of_socket(const struct sockaddr_storage *socket, struct net_address *address);

/* Who is at the other end of a connected socket. 0, or -1: it is a unix socket, or gone. */
int net_address_of_peer(int fd, struct net_address *address);

bool net_address_is_ipv4(const struct net_address *address);
bool net_address_is_loopback(const struct net_address *address);

/* As net_address_parse() reads it, into to[INET6_ADDRSTRLEN]. */
void net_address_print(const struct net_address *address, char *to);

/* Zero all but its first bits, counted within its family: 32 is a whole IPv4 address. */
void net_address_mask(struct net_address *address, unsigned ipv4_bits, unsigned ipv6_bits);

/* "192.0.2.0/24", "2001:db8::/32", or an address alone. Bits behind the prefix must be zero. 0, or -1. */
int net_prefix_parse(struct text in, struct net_prefix *prefix);
bool net_prefix_holds(const struct net_prefix *prefix, const struct net_address *address);

/*
 * A setting that lists prefixes. Few are expected: each is read anew. check: the first item that is none, or
 * NULL.
 */
const char *net_list_check(const struct settings_list *list);
bool net_list_holds(const struct settings_list *list, const struct net_address *address);

#endif

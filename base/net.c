#include "base/net.h"

#include <arpa/inet.h>
#include <string.h>
#include <sys/socket.h>

enum { BITS = 128, IPV4_AT = 12, IPV4_BITS = 96 };

static const unsigned char mapped[IPV4_AT] = { [10] = 0xff, [11] = 0xff };

void net_address_set_ipv4(struct net_address *address, const void *octets)
{
	memcpy(address->octets, mapped, sizeof(mapped));
	memcpy(address->octets + IPV4_AT, octets, sizeof(struct in_addr));
}

int net_address_parse(struct text in, struct net_address *address)
{
	char string[INET6_ADDRSTRLEN];
	struct in_addr v4;

	if (in.len == 0 || in.len >= sizeof(string) || text_find(in, '\0') >= 0)
		return -1;
	memcpy(string, in.ptr, in.len);
	string[in.len] = '\0';
	if (inet_pton(AF_INET, string, &v4) == 1) {
		net_address_set_ipv4(address, &v4);
		return 0;
	}
	return inet_pton(AF_INET6, string, address->octets) == 1 ? 0 : -1;
}

int net_address_of_socket(const struct sockaddr_storage *socket, struct net_address *address)
{
	if (socket->ss_family == AF_INET)
		net_address_set_ipv4(address, &((const struct sockaddr_in *)socket)->sin_addr);
	else if (socket->ss_family == AF_INET6)
		memcpy(address->octets, &((const struct sockaddr_in6 *)socket)->sin6_addr,
			sizeof(address->octets));
	else
		return -1;
	return 0;
}

int net_address_of_peer(int fd, struct net_address *address)
{
	struct sockaddr_storage peer = { .ss_family = AF_UNSPEC };
	socklen_t size = sizeof(peer);

	if (getpeername(fd, (struct sockaddr *)&peer, &size) != 0)
		return -1;
	return net_address_of_socket(&peer, address);
}

bool net_address_is_ipv4(const struct net_address *address)
{
	return memcmp(address->octets, mapped, sizeof(mapped)) == 0;
}

bool net_address_is_loopback(const struct net_address *address)
{
	if (net_address_is_ipv4(address))
		return address->octets[IPV4_AT] == 127;
	return memcmp(address->octets, &in6addr_loopback, sizeof(address->octets)) == 0;
}

void net_address_print(const struct net_address *address, char *to)
{
	if (net_address_is_ipv4(address))
		inet_ntop(AF_INET, address->octets + IPV4_AT, to, INET6_ADDRSTRLEN);
	else
		inet_ntop(AF_INET6, address->octets, to, INET6_ADDRSTRLEN);
}

static void mask(struct net_address *address, unsigned bits)
{
	for (unsigned at = 0; at < sizeof(address->octets); at++) {
		const unsigned kept = bits > at * 8 ? bits - at * 8 : 0;
		if (kept < 8)
			address->octets[at] &= (unsigned char)(0xff00 >> kept);
	}
}

void net_address_mask(struct net_address *address, unsigned ipv4_bits, unsigned ipv6_bits)
{
	mask(address, net_address_is_ipv4(address) ? IPV4_BITS + ipv4_bits : ipv6_bits);
}

int net_prefix_parse(struct text in, struct net_prefix *prefix)
{
	const ptrdiff_t slash = text_find(in, '/');
	uint64_t bits;

	if (net_address_parse(slash < 0 ? in : text_head(in, (size_t)slash), &prefix->address) != 0)
		return -1;
	const unsigned before = net_address_is_ipv4(&prefix->address) ? IPV4_BITS : 0;
	if (slash < 0)
		bits = BITS - before;
	else if (text_to_number(text_from(in, (size_t)slash + 1), BITS - before, &bits) != 0)
		return -1;
	prefix->bits = before + (unsigned)bits;
	struct net_address masked = prefix->address;
	mask(&masked, prefix->bits);
	return memcmp(&masked, &prefix->address, sizeof(masked)) == 0 ? 0 : -1;
}

bool net_prefix_holds(const struct net_prefix *prefix, const struct net_address *address)
{
	struct net_address masked = *address;

	mask(&masked, prefix->bits);
	return memcmp(&masked, &prefix->address, sizeof(masked)) == 0;
}

const char *net_list_check(const struct settings_list *list)
{
	struct net_prefix prefix;

	for (size_t i = 0; i < list->count; i++) {
		if (net_prefix_parse(text_of(list->item[i]), &prefix) != 0)
			return list->item[i];
	}
	return NULL;
}

bool net_list_holds(const struct settings_list *list, const struct net_address *address)
{
	struct net_prefix prefix;

	for (size_t i = 0; i < list->count; i++) {
		if (net_prefix_parse(text_of(list->item[i]), &prefix) == 0 &&
			net_prefix_holds(&prefix, address))
			return true;
	}
	return false;
}

#include "restante/endpoint.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <stdio.h>
#include <string.h>

static struct sockaddr_storage make_ipv4(struct in_addr host, uint16_t port)
{
	struct sockaddr_storage storage = { 0 };
	const struct sockaddr_in address = {
		.sin_family = AF_INET,
		.sin_port = htons(port),
		.sin_addr = host,
	};

	memcpy(&storage, &address, sizeof(address));
	return storage;
}

static struct sockaddr_storage make_ipv6(struct in6_addr host, uint16_t port)
{
	struct sockaddr_storage storage = { 0 };
	const struct sockaddr_in6 address = {
		.sin6_family = AF_INET6,
		.sin6_port = htons(port),
		.sin6_addr = host,
	};

	memcpy(&storage, &address, sizeof(address));
	return storage;
}

/* host without brackets; NUL-terminated copies of what is too long for an address do not exist. */
static int parse_host(struct text host, bool brackets, struct endpoint *endpoint)
{
	char name[INET6_ADDRSTRLEN];
	struct in_addr ipv4;
	struct in6_addr ipv6;

	if (host.len == 0 || host.len >= sizeof(name) || memchr(host.ptr, 0, host.len))
		return -1;
	memcpy(name, host.ptr, host.len);
	name[host.len] = '\0';
	if (brackets) {
		if (inet_pton(AF_INET6, name, &ipv6) != 1)
			return -1;
		endpoint->address[endpoint->count++] = make_ipv6(ipv6, endpoint->port);
		return 0;
	}
	if (text_equal(host, TEXT("*"))) {
		endpoint->address[endpoint->count++] = make_ipv6(in6addr_any, endpoint->port);
		ipv4.s_addr = htonl(INADDR_ANY);
	} else if (inet_pton(AF_INET, name, &ipv4) != 1) {
		return -1;
	}
	endpoint->address[endpoint->count++] = make_ipv4(ipv4, endpoint->port);
	return 0;
}

int endpoint_parse(struct text in, struct endpoint *endpoint, char *error, size_t error_size)
{
	const ptrdiff_t colon = text_find_last(in, ':');
	uint64_t port;

	*endpoint = (struct endpoint){ 0 };
	if (colon < 0 || text_to_number(text_from(in, (size_t)colon + 1), UINT16_MAX, &port) != 0) {
		snprintf(error, error_size,
			"\"%.*s\" has no port; write address:port, for example *:25 or [::1]:25",
			TEXT_ARG(text_head(in, 100)));
		return -1;
	}
	endpoint->port = (uint16_t)port;
	struct text host = text_head(in, (size_t)colon);
	const bool brackets = host.len >= 2 && host.ptr[0] == '[' && host.ptr[host.len - 1] == ']';
	if (brackets)
		host = text_head(text_from(host, 1), host.len - 2);
	if (parse_host(host, brackets, endpoint) == 0)
		return 0;
	snprintf(error, error_size,
		"\"%.*s\" is not an address to listen on; write *, an IPv4 address, or an IPv6 "
		"address in brackets, before the port",
		TEXT_ARG(text_head(in, 100)));
	return -1;
}

void endpoint_print(const struct sockaddr_storage *address, char out[ENDPOINT_TEXT_LIMIT])
{
	char host[INET6_ADDRSTRLEN] = "?";

	if (address->ss_family == AF_INET6) {
		struct sockaddr_in6 ipv6;
		memcpy(&ipv6, address, sizeof(ipv6));
		inet_ntop(AF_INET6, &ipv6.sin6_addr, host, sizeof(host));
		snprintf(out, ENDPOINT_TEXT_LIMIT, "[%s]:%u", host, endpoint_port(address));
	} else {
		struct sockaddr_in ipv4;
		memcpy(&ipv4, address, sizeof(ipv4));
		inet_ntop(AF_INET, &ipv4.sin_addr, host, sizeof(host));
		snprintf(out, ENDPOINT_TEXT_LIMIT, "%s:%u", host, endpoint_port(address));
	}
}

socklen_t endpoint_size(const struct sockaddr_storage *address)
{
	return address->ss_family == AF_INET6 ? sizeof(struct sockaddr_in6)
					      : sizeof(struct sockaddr_in);
}

uint16_t endpoint_port(const struct sockaddr_storage *address)
{
	struct sockaddr_in6 ipv6;
	struct sockaddr_in ipv4;

	if (address->ss_family == AF_INET6) {
		memcpy(&ipv6, address, sizeof(ipv6));
		return ntohs(ipv6.sin6_port);
	}
	memcpy(&ipv4, address, sizeof(ipv4));
	return ntohs(ipv4.sin_port);
}

/*
 * The PROXY protocol, versions 1 and 2 (HAProxy, proxy-protocol.txt): what a load balancer says before
 * anything else, so that we know on whose behalf it connects.
 *
 * Only who is trusted may say it, and then has to: nobody can guess from the octets.
 */
#ifndef BASE_PROXY_H
#define BASE_PROXY_H

#include <stddef.h>

#include "base/net.h"

/* What a role that takes such connections lets a person set. */
struct proxy_settings {
	struct settings_list from; /* addresses and prefixes of load balancers */
	uint64_t seconds;          /* waiting for the header */
};

/* The rows of it in a role's table; at: where it lies in the role's struct. */
/* clang-format off */
#define PROXY_SETTINGS(at) \
	{ .name = "proxy-from", \
		.type = SETTINGS_LIST, \
		.preset = "", \
		.most = 64, \
		.offset = (at) + offsetof(struct proxy_settings, from), \
		.help = "Addresses and prefixes (192.0.2.0/24, 2001:db8::/64) of load " \
			"balancers. Their connections begin with a header of the PROXY " \
			"protocol, version 1 or 2, that tells who the client is; those of " \
			"nobody else may." }, \
	{ .name = "proxy-timeout", \
		.type = SETTINGS_SECONDS, \
		.preset = "10s", \
		.least = 1, \
		.most = 86400, \
		.offset = (at) + offsetof(struct proxy_settings, seconds), \
		.help = "How long that header may be waited for." }
/* clang-format on */

/* For the role's verify. 0, or -1 with a sentence. */
int proxy_verify(const struct proxy_settings *settings, char *error, size_t error_size);

/* Longest header taken: the addresses and a few extensions (TLVs), which are skipped. */
enum { PROXY_HEADER_LIMIT = 4096 };

struct proxy_header {
	/* False: the balancer speaks for itself (a health check), or does not know for whom. */
	bool has_client;
	struct net_address client;
};

/* 1: complete, *used octets of it. 0: need more. -1: it is none. */
int proxy_parse(struct text in, struct proxy_header *header, size_t *used);

#endif

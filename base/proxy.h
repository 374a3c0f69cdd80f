/*
 * The PROXY protocol, versions 1 and 2 (HAProxy, proxy-protocol.txt): what a load balancer says before
 * anything else, so that we know on whose behalf it connects.
 *
 * Only who is trusted may say it, and then has to: nobody can guess from the octets.
 */
#ifndef BASE_PROXY_H
#define BASE_PROXY_H

#include "base/net.h"

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

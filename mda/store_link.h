/*
 * The one connection to the store that all sessions of a worker share, made anew with back-off when it
 * is lost.
 */
#ifndef MDA_STORE_LINK_H
#define MDA_STORE_LINK_H

#include "store/client.h"

struct event_base;
struct store_link;

struct store_link_handlers {
	int (*connect)(void *owner); /* a socket connected to the store, or -1 with errno */
	void (*stale)(void *owner);  /* what LOOKUP said before may no longer hold */
};

/* Tries to connect at once. handlers must outlive it. */
struct store_link *store_link_new(
	struct event_base *loop, const struct store_link_handlers *handlers, void *owner);

/* Pending requests are forgotten. */
void store_link_free(struct store_link **link);

/* For the next request; NULL while the store is away. Not to be kept: it changes when the link is lost. */
struct store_client *store_link_client(struct store_link *link);

/* Another number for each connection: what was made on an earlier one (a spool file) is gone. */
uint64_t store_link_generation(const struct store_link *link);

#endif

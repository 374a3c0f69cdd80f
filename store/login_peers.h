/*
 * Failed logins counted by the client's address, in a table of fixed size.
 *
 * An IPv6 client counts with its /64, which is what one customer gets. When the table is full of
 * others, the address that failed longest ago is forgotten.
 */
#ifndef STORE_LOGIN_PEERS_H
#define STORE_LOGIN_PEERS_H

#include <stdbool.h>
#include <stdint.h>

#include "base/text.h"

struct login_peers;

struct login_peer {
	uint8_t address[16];
};

struct login_peers *login_peers_new(void);
void login_peers_free(struct login_peers **peers);

/* An IPv4 or IPv6 address as text; false for anything else ("local"). */
bool login_peer_parse(struct text in, struct login_peer *peer);
bool login_peer_is_loopback(const struct login_peer *peer);

/* now and window in seconds; a count begins with its first failure and ends window later. */
uint64_t login_peers_failures(const struct login_peers *peers, const struct login_peer *peer,
	uint64_t now, uint64_t window);
void login_peers_fail(
	struct login_peers *peers, const struct login_peer *peer, uint64_t now, uint64_t window);

#endif

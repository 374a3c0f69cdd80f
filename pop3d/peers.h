/*
 * How many sessions each client address has in this process: an IPv4 address, or the /64 of an IPv6 one.
 */
#ifndef POP3D_PEERS_H
#define POP3D_PEERS_H

struct peers;
struct peer;

struct peers *peers_new(void);
void peers_free(struct peers **peers); /* after every peer was let go */

/* One session more of that address (as conn_peer() names it). */
struct peer *peers_enter(struct peers *peers, const char *address);
unsigned peer_sessions(const struct peer *peer);

/* One less. Clears the pointer; NULL does nothing. */
void peer_leave(struct peer **peer);

#endif

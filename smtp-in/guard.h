/*
 * What a client may do to us before it has done anything for us: how many connections, how often, how many
 * messages and failed recipients, and how slowly. The numbers are those of all workers (base/limits.h).
 *
 * The guard counts and decides; what is said to the client, and when, is the session's. Clients on this
 * machine, and on unix sockets, are not limited unless limits-loopback says so.
 */
#ifndef SMTP_IN_GUARD_H
#define SMTP_IN_GUARD_H

#include <stdbool.h>
#include <stdint.h>

#include "base/limits.h"
#include "mail/reply.h"

struct buf;
struct role_context;
struct session;
struct smtp_in_settings;

/* One worker's. */
struct guard {
	struct role_context *context;
	struct {
		uint64_t clients_per_address, clients_total;
		uint64_t connections_per_minute, connections_per_minute_total;
		uint64_t messages, recipients, delayed_recipients, logins;
		uint64_t talked_first, slow_senders;
		uint64_t proxied, proxy_headers;
		uint64_t shunned;
	} refused; /* and what else happened */
};

/* One client's, in its session. All zero: it is not limited. */
struct guard_client {
	struct limits_client address, everybody;
	bool limited;
};

/* From whom a connection comes: not always who speaks on it. */
struct guard_peer {
	struct net_address address;
	bool near; /* its packets come from that address, and not from a proxy's */
};

/*
 * A client comes. False, with *refusal a whole reply that lives as long as the program: it is to be
 * told that and closed. Otherwise *client is filled, and to be let go with guard_leave().
 *
 * Who is near and goes on coming when it has been refused often is not heard for a while.
 */
bool guard_admit(struct guard *guard, const struct guard_peer *peer, struct guard_client *client,
	struct reply *refusal);
void guard_leave(struct guard *guard, struct guard_client *client);

/* Milliseconds before the greeting, in which the client has to be silent; 0: none. */
unsigned guard_greeting_delay(const struct guard *guard, const struct session *session);

/* MAIL. False: it has sent its share for now. */
bool guard_take_message(struct guard *guard, const struct guard_client *client);

/* RCPT. False: too many of its recipients failed; no more are looked up. */
bool guard_takes_recipients(struct guard *guard, const struct guard_client *client);

/* Recipients of its have failed: it learns about further ones one at a time. */
bool guard_is_wary(const struct guard *guard, const struct guard_client *client);

/* A recipient has failed. Milliseconds before the client is told. */
unsigned guard_recipient_failed(struct guard *guard, const struct guard_client *client);

/* AUTH. False: too many logins failed; no more are tried. */
bool guard_takes_logins(struct guard *guard, const struct guard_client *client);

/* A login has failed. The store has put the answer off (store/login.h): it knows of those at every port. */
void guard_login_failed(struct guard *guard, const struct guard_client *client);

/* Octets of a message that came within so many milliseconds are too few. */
bool guard_is_slow(const struct guard *guard, uint64_t octets, int64_t milliseconds);

/* The same when there are others who cannot send at all meanwhile. */
bool guard_is_in_the_way(const struct guard *guard, uint64_t octets, int64_t milliseconds);

/* "name=number\n" lines. */
void guard_count(const struct guard *guard, struct buf *out);

/* The n-th (1, 2, …) delay of a row that begins with `first` and doubles up to `most`. */
unsigned guard_growing_delay(uint64_t nth, uint64_t first_ms, uint64_t most_ms);

#endif

/*
 * What each client may take of a role, counted once for all its workers.
 *
 * The table is a memory file of fixed size that the supervisor makes and every worker of the role maps. A
 * client is an address or a prefix of one; it has a place in the table while it is connected and for as
 * long afterwards as the place is not needed by others. It holds two kinds of number:
 *
 *	connections at once    a column for each worker, which only that worker changes. When a worker
 *	                       dies, the supervisor empties its column.
 *	a rate                 the moment at which everything counted so far will be forgotten. Each event
 *	                       moves it on by period / count; it may not lie more than a period ahead. So
 *	                       `count` events are free at once, then one each period / count.
 *
 * Nothing is locked: each number is one word, changed by one atomic operation, so a worker may be killed
 * at any instruction. A place is taken from another client only while nobody is connected there, that
 * one first which is forgotten soonest. Where every place is in use a client has none: it is not limited
 * by its address, only by what holds for everybody. Two races are left to be: of two workers that meet
 * a new client at the same moment each may give it a place, and a place may be taken over while an event is
 * counted there. Either costs a client's count, never a place.
 *
 * Beside the places, each worker has rows for those who are not to be heard at all for a while (base/shun.h).
 * Only that worker changes them, and they go with it.
 *
 * Places are found by a hash with a random key, so nobody can choose addresses that meet. What a worker
 * reads from the table is a number to compare, never an index or a length: who overwrites it can lift or
 * impose limits and do no more.
 */
#ifndef BASE_LIMITS_H
#define BASE_LIMITS_H

#include "base/net.h"

enum {
	LIMITS_WORKERS = 64, /* most workers of a role */
	LIMITS_PLACES = 1 << 14,
	LIMITS_NO_WORKER = LIMITS_WORKERS,
	LIMITS_SHUNNED = 32,        /* prefixes that one worker shuns at once */
	LIMITS_SHUN_SECONDS = 3600, /* at most */
};

enum limits_rate {
	LIMITS_CONNECTIONS,
	LIMITS_MESSAGES,
	LIMITS_FAILED_RECIPIENTS,
	LIMITS_FAILED_LOGINS,
	LIMITS_REFUSALS, /* of connections */
	LIMITS_RATES,
};

struct limits;

/* A client's place. All zero: it has none, and nothing limits it. */
struct limits_client {
	uint64_t tag;
	uint32_t place;
};

/* So many events in a period. count 0: any number. */
struct limits_allowance {
	uint64_t count;
	int64_t period; /* milliseconds */
};

/* A table for so many workers. A descriptor, or -1 with errno. */
int limits_make(unsigned workers);

/*
 * Takes fd, of limits_make() with the same number of workers; the column of `worker` is emptied.
 * LIMITS_NO_WORKER: for limits_forget() only. NULL with errno: it is no such file.
 */
struct limits *limits_open(int fd, unsigned workers, unsigned worker);
void limits_close(struct limits **limits);

/* That worker is no more, nor are its connections. */
void limits_forget(struct limits *limits, unsigned worker);

/*
 * One connection more of this address. limits may be NULL in all that follows: then nobody has a
 * place. What does not have one is let through everywhere.
 */
struct limits_client limits_enter(struct limits *limits, const struct net_address *address);

/* One connection more of everybody together. */
struct limits_client limits_enter_everybody(struct limits *limits);

/* One less; the client has no place any more. */
void limits_leave(struct limits *limits, struct limits_client *client);

/* Its connections at all workers. */
uint64_t limits_connections(const struct limits *limits, const struct limits_client *client);

/* now: milliseconds of the monotonic clock. False, and nothing is counted: that would be too many. */
bool limits_take(struct limits *limits, const struct limits_client *client, enum limits_rate rate,
	struct limits_allowance allowance, int64_t now);

/* One event that was counted by limits_take() under the same allowance did not come about. */
void limits_give_back(struct limits *limits, const struct limits_client *client,
	enum limits_rate rate, struct limits_allowance allowance);

/* Count what has happened, allowed or not. */
void limits_charge(struct limits *limits, const struct limits_client *client, enum limits_rate rate,
	struct limits_allowance allowance, int64_t now);

/* Events that are not forgotten yet; up to allowance.count. */
uint64_t limits_level(const struct limits *limits, const struct limits_client *client,
	enum limits_rate rate, struct limits_allowance allowance, int64_t now);

/* The client was refused something. */
void limits_note_refusal(struct limits *limits, const struct limits_client *client, int64_t now);

/*
 * This prefix is not to be heard for so many seconds, up to LIMITS_SHUN_SECONDS; in place of the one
 * whose time is over first when the worker's rows are full. False: a worker shuns it already, for as
 * long as it was told.
 */
bool limits_shun(
	struct limits *limits, const struct net_prefix *prefix, unsigned seconds, int64_t now);

/* Whom all workers shun, each once; how many there are, at most `room`. */
size_t limits_shunned(
	const struct limits *limits, int64_t now, struct net_prefix *list, size_t room);

struct limits_report {
	struct net_address address;
	uint32_t refusals;
	uint64_t connections;
};

/* Those refused most often, of all who were within the last hour; how many there are, at most `room`. */
size_t limits_worst(
	const struct limits *limits, int64_t now, struct limits_report *reports, size_t room);

#endif

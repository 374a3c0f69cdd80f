/*
 * The messages of a mailbox that sessions look at, in memory (roster.c), and the listings made of them.
 *
 * A roster is the visible state, never what is only staged: but for reading it first, only change.c alters
 * it, when a change is shown. Nobody keeps a pointer into it over a turn of the loop.
 */
#ifndef STORE_ROSTER_H
#define STORE_ROSTER_H

#include "store/engine_private.h"

struct touch;

struct roster {
	TAILQ_ENTRY(roster) link; /* while idle, least recently left first */
	struct roster **owner;
	size_t idle; /* octets, as counted when it became idle; 0: it is looked at */
	struct store_listing_entry *entries; /* by ascending UID */
	size_t count, room;
	int listing; /* a sealed memory file of the entries as they are; -1: none is kept */
};

/* Into mailbox->roster, unless it is there. */
enum store_failure roster_read(struct engine *engine, struct mailbox *mailbox);
void roster_apply(struct engine *engine, struct roster *roster, const struct touch *touch);
/*
 * The listing of a mailbox that has not changed is made once: copying that of 100,000 messages takes longer
 * than the rest of a login. A descriptor of the caller's own, or -1: there is none.
 */
int roster_listing(const struct roster *roster);
/* Keep that one as well, if it is worth it. fd stays the caller's. */
void roster_keep_listing(struct engine *engine, struct roster *roster, int fd);
struct store_listing_entry *roster_find(const struct roster *roster, uint32_t uid);
/* Nobody looks at it any more: it stays up to date, and in memory while there is room. */
void roster_leave(struct engine *engine, struct mailbox *mailbox);
void roster_free(struct engine *engine, struct roster **roster);

#endif

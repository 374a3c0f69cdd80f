/*
 * Who is behind an address: the store says so (domains, users, aliases, lists, subaddresses), and here it
 * becomes a recipient's actions.
 *
 * What the store said of an address is kept in memory until it says that its directory changed, or until the
 * connection to it is lost; most recipients are resolved without asking. Of what holds only once (nobody
 * is there, a mailbox is full, one of endlessly many subaddresses) nothing is kept: strangers fill no
 * memory here, and a user who makes room has it at once.
 */
#ifndef MDA_RESOLVE_H
#define MDA_RESOLVE_H

#include "mda/plan.h"

struct resolve;
struct store_link;

/* The recipient has its actions now. */
typedef void resolve_done(void *owner, struct plan_recipient *recipient);

struct resolve *resolve_new(struct store_link *link);
void resolve_free(struct resolve **resolve);

/*
 * Give the recipient its actions: what is to be kept where, or one refusal. True: it has them now.
 * False: done will be called, once, later. The recipient is in the arena, which must outlive it, and so
 * must both until then, or until resolve_forget(). size: octets that the client announced, or 0: who has
 * no room for them is refused.
 */
bool resolve_recipient(struct resolve *resolve, struct arena *arena,
	struct plan_recipient *recipient, uint64_t size, resolve_done *done, void *owner);

/* Never call back for recipients in this arena that are still being asked for. */
void resolve_forget(struct resolve *resolve, const struct arena *arena);

/* Nothing that the store said before counts any more. */
void resolve_drop_cache(struct resolve *resolve);

/* Whatever leads to this user alone: a delivery found that what is remembered no longer holds. */
void resolve_drop_user(struct resolve *resolve, struct text user);

/* Addresses in memory. */
size_t resolve_cached(const struct resolve *resolve);

#endif

/*
 * Redirects in a plan: each becomes what its address stands for, which may redirect again.
 *
 * Bounded in depth and number, and safe from loops: an address that was there before adds nothing. Who
 * is left with nothing but a loop is refused; nothing vanishes. There is no way to other hosts yet, so
 * what leads there is refused with a reply that says so.
 */
#ifndef MDA_REDIRECT_H
#define MDA_REDIRECT_H

#include "mda/resolve.h"

enum {
	REDIRECT_DEPTH_LIMIT = 10,
	REDIRECT_LIMIT = 100, /* redirects of one recipient, all depths together */
};

/*
 * Resolve the recipient as resolve_recipient() does, and all redirects that this leads to. The contract
 * is that function's, resolve_forget() and size included.
 */
bool redirect_recipient(struct resolve *resolve, struct arena *arena,
	struct plan_recipient *recipient, uint64_t size, resolve_done *done, void *owner);

/* The same for a recipient who has his actions already, as after a filter: its redirects alone. */
bool redirect_follow(struct resolve *resolve, struct arena *arena, struct plan_recipient *recipient,
	uint64_t size, resolve_done *done, void *owner);

#endif

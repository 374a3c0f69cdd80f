/*
 * Room on the disk (space.c): whether there is enough for taking mail, and how large what we make may be.
 *
 * What adds messages, mailboxes or users asks first. What takes something away does not: there has to be
 * room for that when there is none for anything else.
 */
#ifndef STORE_SPACE_H
#define STORE_SPACE_H

#include "store/engine_private.h"

/* Before the index is opened: what was kept back for that goes when there is nothing else left. */
void space_begin(struct engine *engine);
/* Too little space is left for taking mail. */
bool engine_space_is_low(struct engine *engine);
/* One part in so many of the disk, but not less and not more than that. */
uint64_t space_part(const struct engine *engine, unsigned part, uint64_t least, uint64_t most);

#endif

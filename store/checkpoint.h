/*
 * Checkpoints (checkpoint.c): taken by the clock, by what was logged, by spool files, and at the end. For
 * engine.c, for who carries out changes, and for who wants the room that the log takes.
 *
 * One at a time. It covers what was staged when it began, and waits until none of that is late.
 */
#ifndef STORE_CHECKPOINT_H
#define STORE_CHECKPOINT_H

#include "store/engine_private.h"

void checkpoint_start(struct engine *engine); /* unless one is under way */
void checkpoint_look(struct engine *engine);  /* enough log for one? */
void checkpoint_settled(
	struct engine *engine);            /* changes became visible, or nothing is late any more */
int checkpoint_now(struct engine *engine); /* blocks; nothing may be under way */
int checkpoint_init(struct engine *engine);
void checkpoint_free(struct engine *engine);

#endif

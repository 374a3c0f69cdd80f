/*
 * What durable changes do to files (effects.c). For change.c, and engine.c at the end; who changes something
 * only says what is to happen (change_effect()).
 */
#ifndef STORE_EFFECTS_H
#define STORE_EFFECTS_H

#include "store/engine_private.h"

struct effect;

/* Of all changes in engine->showing, in their order; engine->to_show counts them. */
void effects_carry_out(struct engine *engine);
/* What the disk refused so far, again. */
void effects_retry_late(struct engine *engine);
void effects_free(struct engine *engine);
/* The mailboxes that it holds. */
void effect_let_go(const struct effect *effect);

#endif

/*
 * Clients whom a role will not hear any more are kept out at its listeners (base/shun.h).
 *
 * The workers of a role say who it is in the table that they share (limits_shun()) and that there is news;
 * the listeners are ours, and recent kernels let nobody but root put a filter on them. Where we are not
 * root such clients are refused one by one.
 */
#ifndef RESTANTE_SHUNNING_H
#define RESTANTE_SHUNNING_H

#include "restante/host.h"

struct shunning;

struct shunning *shunning_new(const struct host *host);
void shunning_free(struct shunning **shunning);

/* There is news, which is looked at soon. That somebody's time is over is seen without. */
void shunning_look(struct shunning *shunning);

#endif

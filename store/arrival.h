/*
 * Large bodies on their way from a spool file into a delivery (arrival.c). For deliver.c, where all
 * deliveries begin, and for engine.c, which forgets who asked and ends.
 *
 * They arrive in the order in which they came, and each change is answered exactly once, like any other.
 */
#ifndef STORE_ARRIVAL_H
#define STORE_ARRIVAL_H

#include "store/engine_private.h"

/* Of a delivery from a spool. Unless it fails at once, the change is taken over. */
enum store_failure arrival_start(
	struct engine *engine, struct change *change, const struct engine_delivery *delivery);
void arrivals_drain(struct engine *engine);
void arrivals_forget(struct engine *engine, const void *owner);

#endif

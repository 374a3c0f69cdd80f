/*
 * Large bodies on their way from a spool file into a delivery (arrival.c).
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

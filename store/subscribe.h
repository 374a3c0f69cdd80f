/*
 * Subscriptions as a part of something else (subscribe.c).
 */
#ifndef STORE_SUBSCRIBE_H
#define STORE_SUBSCRIBE_H

#include "store/engine_private.h"

/*
 * The list of subscriptions with these names, too. Staged when it gives STORE_OK; change->settled is the
 * caller's and calls subscriptions_shown().
 */
enum store_failure subscriptions_add(
	struct engine *engine, struct change *change, struct account *account, struct text names);
void subscriptions_shown(struct account *account);

#endif

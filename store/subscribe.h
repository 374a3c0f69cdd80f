/*
 * Subscriptions as a part of something else (subscribe.c): of the end of an import.
 *
 * account.subscriptions is looked at only while a change of it is under way (account.subscribing).
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

/*
 * How much a user may have: who is full, who has become so, and quotas of one's own.
 *
 * Usage is counted where it changes, in the transaction itself (account.octets, account.messages, of
 * which the rows of the mailboxes are the parts).
 */
#ifndef STORE_QUOTA_H
#define STORE_QUOTA_H

#include "store/engine_private.h"

/* Whether a message of so many octets fits. */
bool quota_allows(const struct engine *engine, const struct account *account, uint64_t size);

/*
 * To be called when a change has added to the account: who was told that there is room for a message learns
 * when there is not any more (engine_options.directory).
 */
void quota_follow(struct engine *engine, struct account *account);

#endif

/*
 * What the files of a delivery share; only they include it.
 *
 *	deliver.c          the way of a delivery: its record, its rows, its files, its answer
 *	deliver_targets.c  who gets it, with which UID: keys, quotas, groups of recipients
 *	arrival.c          large bodies on their way into it
 *
 * All of it happens within one call; between deliver_resolve() and the commit the mailboxes are pinned.
 */
#ifndef STORE_DELIVER_PRIVATE_H
#define STORE_DELIVER_PRIVATE_H

#include "store/engine_private.h"

/* A mailbox that gets it. */
struct target {
	struct mailbox *mailbox;
	struct index_mailbox before; /* to go back to when the transaction fails */
	const char *keywords_before; /* NULL: not altered */
	bool made;                   /* the mailbox is new */
	uint32_t uid;
	uint32_t flags;
	uint64_t bits;
	const char *leaf;
};

/* A delivery under way within one call. */
struct work {
	struct engine *engine;
	struct change *change;
	const struct engine_delivery *delivery;
	const char *spool; /* its name, or NULL */
	uint64_t size, wire;
	int64_t received, now;
	struct maildir_unique unique;
	struct env_txn *txn;
	struct target *targets;
	size_t count;
	char *verdicts;            /* enum store_failure, one for each recipient */
	struct buf once;           /* lines of new once-keys */
	struct target **recipient; /* where its message went; NULL: nowhere new */
};

/* ---- deliver.c ---- */

/*
 * spool: the name of a durable file, or NULL: the delivery's body. The change is answered or staged in
 * any case.
 */
void deliver(struct engine *engine, struct change *change, const struct engine_delivery *delivery,
	const char *spool, uint64_t size, uint64_t wire);

/* ---- deliver_targets.c ---- */

/*
 * Within the transaction: work->targets, verdicts and recipient, new once-keys put. After a failure, for
 * which result.user and perhaps result.verdicts are set, there is something to take back all the same.
 */
enum store_failure deliver_resolve(struct work *work);
void deliver_unpin(struct work *work);
/* The transaction failed: all is as it was before deliver_resolve(). Nothing is pinned any more. */
void deliver_take_back(struct work *work);

#endif

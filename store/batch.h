/*
 * Alterations of many messages of one mailbox in one transaction: its records, its rows, its effects.
 */
#ifndef STORE_BATCH_H
#define STORE_BATCH_H

#include "store/engine_private.h"

struct batch {
	struct engine *engine;
	struct mailbox *mailbox;
	struct change *change;
	struct env_txn *txn;
	struct index_mailbox before;
	const char *keywords_before; /* NULL: there are no new ones */
	int error;
	uint64_t modseq;
	struct buf *hidden; /* rows are put that nobody is to see: what they say goes here. NULL */
	struct buf moves, leaves;           /* runs for the records */
	struct buf added, altered, removed; /* struct store_listing_entry each */
};

/* The mailbox's staged row moves on with every call and comes back when the batch fails. */
void batch_begin(
	struct batch *batch, struct engine *engine, struct mailbox *mailbox, struct change *change);
/* As a part of a transaction that is the caller's: to be ended by batch_put() and batch_done(). */
void batch_join(struct batch *batch, struct engine *engine, struct mailbox *mailbox,
	struct change *change, struct env_txn *txn);
/* All that is left to be written before the commit. */
int batch_put(struct batch *batch);
/* After it: touches are added to the change, or everything is taken back (but not the change's effects). */
void batch_done(struct batch *batch, bool committed);
/* UIDs ascend within each of the three kinds. from, to: leaves; to is where the row says it is. */
void batch_add(struct batch *batch, uint32_t uid, const struct index_message *row, const char *from,
	const char *to);
void batch_alter(struct batch *batch, uint32_t uid, const struct index_message *old,
	const struct index_message *row, const char *from, const char *to);
void batch_remove(struct batch *batch, uint32_t uid, const struct index_message *row);
/* As batch_add() and batch_remove() without the file, which is the caller's business. */
void batch_receive(struct batch *batch, uint32_t uid, const struct index_message *row);
void batch_release(struct batch *batch, uint32_t uid, const struct index_message *row);
/* The file and the row of a message that never counted. */
void batch_withdraw(struct batch *batch, uint32_t uid, const struct index_message *row);
/* Messages whose rows are there, of this modseq, count from now on. Takes the entries. */
void batch_reveal(struct batch *batch, struct buf *entries, uint64_t modseq);
size_t batch_count(const struct batch *batch);
/* By ascending UID, each once; how many are left. */
size_t batch_sort(uint32_t *uids, size_t count);
/* Messages that go in one transaction where many go piece by piece. */
size_t batch_limit(const struct engine *engine);
/* Commits and stages the change, or takes everything back. Nothing done: nothing is staged. */
enum store_failure batch_end(struct batch *batch, enum store_failure failure);
void batch_leaf(const struct index_message *row, char leaf[MAILDIR_LEAF_LIMIT + 1]);

#endif

/*
 * Copies and moves of messages in one transaction (transfer.c).
 */
#ifndef STORE_TRANSFER_H
#define STORE_TRANSFER_H

#include "store/batch.h"
#include "store/hidden.h"

enum { TRANSFER_BLOCK = 64 * 1024 }; /* of the arena */

/* A message on its way. */
struct item {
	uint32_t uid, new_uid;
	struct index_message row, new_row; /* their texts are in the arena */
	const char *from, *to;
};

struct transfer {
	struct engine *engine;
	struct change *change;
	struct arena *arena; /* of this one call */
	struct mailbox *source, *target;
	struct account *account;
	bool move;
	struct hidden *hidden; /* of the target, which the copies are a part of; NULL */
	struct env_txn *txn;
	struct batch from, to;
	uint32_t uidnext; /* of the source: nothing from here on is meant */
	struct item *items;
	size_t count, room;
	size_t most;                   /* of transfer_inbox() at a time */
	bool more;                     /* it has left some */
	size_t linked;                 /* items that have a name in tmp/ */
	uint64_t bits[STORE_KEYWORDS]; /* in the target, of each keyword of the source */
};

/*
 * Those of these messages that there are. transfer->change is to be staged by the caller when it gives
 * STORE_OK and count is not 0.
 */
enum store_failure transfer_run(struct transfer *transfer, const uint32_t *uids, size_t count);

void transfer_release(struct transfer *transfer);

/* ---- INBOX under another name (reshape.c) ---- */

/* How far a transfer of INBOX is. All zero at first. */
struct inbox_transfer {
	uint32_t target;    /* number of the new mailbox */
	uint32_t next, end; /* UIDs */
	bool more;          /* another piece is to follow when this one is visible */
};

/*
 * The next messages of INBOX to a new mailbox of that name, which comes with the first of them. Staged when
 * it gives STORE_OK, the last ones as `change`.
 */
enum store_failure transfer_inbox(struct engine *engine, struct mailbox *source, struct text name,
	struct change *change, struct inbox_transfer *inbox);

#endif

/*
 * Copies of many messages while they are being made, which nobody is to see before the last one (hidden.c).
 */
#ifndef STORE_HIDDEN_H
#define STORE_HIDDEN_H

#include "store/engine_private.h"

/* Of a mailbox that gets such copies: it is pinned meanwhile. */
struct hidden {
	/* UIDs of the copies: those from `next` on are not given yet. Deliveries get those before `first`. */
	uint32_t first, next, end;
	uint64_t modseq; /* of all of them */
	/* What counts for the user's quota although no mailbox has it yet. */
	uint32_t messages;
	uint64_t octets;
	struct buf entries; /* struct store_listing_entry each, of those that are made */
	bool is_noted;      /* in the index */
	bool is_left;       /* for the next start, as the disk refused to take it back */
};

/* Room for so many in a mailbox that has none yet. STORE_DAMAGED: there are no UIDs left. */
enum store_failure hidden_begin(
	struct engine *engine, struct mailbox *mailbox, uint32_t messages, uint64_t octets);

/* In the transaction of the first of them: a crash from then on takes all back. An error of env.h, or 0. */
int hidden_note(struct engine *engine, struct env_txn *txn, const struct mailbox *mailbox);

/*
 * All of them are durable: in one transaction, with the change, they are the mailbox's. Staged when it gives
 * STORE_OK, or to be answered only, as there is none. STORE_BUSY: so much happened in the mailbox meanwhile
 * that their UIDs would be too low.
 */
enum store_failure hidden_show(
	struct engine *engine, struct mailbox *mailbox, struct change *change);

/*
 * Away with them, piece by piece, ahead of who waits for a turn at the mailbox: that may be for this. Nothing
 * of them counts any more.
 */
void hidden_take_back(struct engine *engine, struct mailbox *mailbox);

/* ---- for whoever gives UIDs, reads rows or counts ---- */

/* Whether the UID is one of copies that nobody sees. */
bool hidden_has(const struct mailbox *mailbox, uint32_t uid);
/* Before so many UIDs are given in a row: none of theirs. */
void hidden_pass(struct mailbox *mailbox, uint32_t count);
/* What they take of the user's quota. */
void hidden_count(const struct mailbox *mailbox, uint64_t *messages, uint64_t *octets);

/* ---- at the start; at the end of a mailbox ---- */

/* Those that were being made before the start go. An error of env.h, or 0. */
int hidden_resume(struct engine *engine);
/* What there is of a copy could not be taken back: nothing but the pin of its mailbox is under way. */
bool hidden_is_left(const struct mailbox *mailbox);
void hidden_free(struct mailbox *mailbox);

#endif

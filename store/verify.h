/*
 * Is the index what the Maildirs say? Every difference is a finding, one line of text each: entries
 * without a file, files without an entry, sizes, flags, UIDs, counts, expunges, once-keys, folders, the
 * text files beside them; and what belongs to no user, the file of the users before all.
 *
 * Piece by piece, so that a store at work can do it between its requests. What another program has
 * done to a Maildir since the last look at it is a finding, too, until it is adopted.
 */
#ifndef STORE_VERIFY_H
#define STORE_VERIFY_H

#include "store/engine.h"

struct verify_piece {
	struct text user;    /* empty: what belongs to none */
	struct text mailbox; /* empty: the user as a whole, which is where to begin */
	uint32_t from;       /* 0: the mailbox as a whole; else the contents from this UID on */
};

struct verify_result {
	struct buf mailbox; /* the next piece; empty: the user is done */
	uint32_t from;
	uint32_t messages;   /* looked into */
	struct buf findings; /* lines */
};

/*
 * One piece. result starts zeroed; its buffers are the caller's to release. STORE_BUSY while a change of
 * the mailbox is under way: ask again. STORE_NO_SUCH_USER.
 */
enum store_failure engine_verify(
	struct engine *engine, const struct verify_piece *piece, struct verify_result *result);

#endif

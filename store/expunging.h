/*
 * Expunges that go piece by piece and are all or nothing over a crash: the notes in the index (expunging.c),
 * and who goes on with what they say (update.c). For these two, and engine.c at the start.
 *
 * As long as a note is there the next start does what it says. So it is made in the transaction of the first
 * piece, and taken away before somebody is told that the rest will not be done.
 */
#ifndef STORE_EXPUNGING_H
#define STORE_EXPUNGING_H

#include "store/engine_private.h"

/*
 * A note in this transaction that all of these are to go, by ascending UID, whatever happens meanwhile. An
 * error of env.h, or 0.
 */
int expunging_note(struct engine *engine, struct env_txn *txn, struct index_mailbox_id id,
	const uint32_t *uids, size_t count);
/* Away with it; false: it stays. It may come back with a crash before the next flush. */
bool expunging_forget(
	struct engine *engine, struct index_mailbox_id id, const uint32_t *uids, size_t count);
/* What is noted goes on, before anybody can select the mailboxes. An error of env.h, or 0. */
int expunging_resume(struct engine *engine);

/* ---- update.c ---- */

/* An expunge of these UIDs (a run as in index_expunging), of which there is a note, goes on in its turn. */
void update_resume(struct engine *engine, struct mailbox *mailbox, struct text uids);

#endif

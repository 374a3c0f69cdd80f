/*
 * What is deleted and goes a little at a time (garbage.c): rows of users and mailboxes that are gone, files
 * of deleted mailboxes, retired messages.
 *
 * For who deletes something, and for who knows when a checkpoint is there: no file goes before one covers
 * what made it superfluous, as recovery may need it until then.
 */
#ifndef STORE_GARBAGE_H
#define STORE_GARBAGE_H

#include "store/engine_private.h"

int garbage_find(struct engine *engine); /* an error of env.h, or 0 */
int garbage_start(struct engine *engine);
/*
 * mailbox 0: all that the user had, which is rows only. directory: of the deleted mailbox; it goes when a
 * checkpoint covers that shown_count.
 */
void garbage_add(
	struct engine *engine, struct index_mailbox_id id, const char *directory, uint64_t shown);
/* The message of this leaf was retired (folder.h). */
void garbage_retired(struct engine *engine, struct mailbox *mailbox, const char *leaf);
void garbage_after_checkpoint(struct engine *engine);
void garbage_free(struct engine *engine);
/* Whether the rows of this user are being taken away. */
bool garbage_has_user(const struct engine *engine, uint32_t user);

#endif

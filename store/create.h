/*
 * Mailboxes made as a part of something else (create.c): a delivery, a rename of INBOX, a user, an import.
 * And the text file that each of them has, for who gives UIDs or keywords.
 *
 * No UID from the ceiling on is given, and no keyword used, before a text file that says so is in the same
 * transaction or durable.
 */
#ifndef STORE_CREATE_H
#define STORE_CREATE_H

#include "store/engine_private.h"

/*
 * A new mailbox in this transaction: its row, its record, its effect. It is in the account at once, and
 * taken out again by create_undo() when the transaction fails.
 */
enum store_failure create_within(struct engine *engine, struct env_txn *txn, struct change *change,
	struct account *account, struct text name, struct mailbox **mailbox);
void create_undo(struct change *change, struct mailbox *mailbox);
/* The text file with this ceiling and these keywords, logged and as an effect. */
int create_log_file(struct engine *engine, struct env_txn *txn, struct change *change,
	struct mailbox *mailbox, uint32_t ceiling, struct text keywords);

#endif

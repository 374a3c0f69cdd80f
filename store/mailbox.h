/*
 * Accounts and mailboxes in memory (mailbox.c): found, made, let go, their directories, their keywords.
 *
 * An account and its mailboxes may leave the memory with the next account that is opened, unless one of them
 * is pinned (mailbox.pins): so who keeps a pointer over a turn of the loop holds a pin.
 */
#ifndef STORE_MAILBOX_H
#define STORE_MAILBOX_H

#include "store/engine_private.h"

/* Read from the index if need be. The account stays in memory at least until the next call. */
enum store_failure account_open(struct engine *engine, struct user *user, struct account **account);
/* STORE_NO_SUCH_USER also while the user is being added; STORE_BUSY while being removed or closed. */
enum store_failure account_of(struct engine *engine, struct text address, struct account **account);
/* The same for who may reach a user that is closed for an import, too. */
enum store_failure account_look(
	struct engine *engine, struct text address, struct account **account);
struct mailbox *account_find(struct account *account, struct text name);
struct mailbox *account_find_number(struct account *account, uint32_t number);
void account_drop(struct engine *engine, struct account *account);
void accounts_free(struct engine *engine);
struct mailbox *mailbox_new(struct account *account, struct index_mailbox_id id, struct text name,
	const char *directory);
void mailbox_add(struct account *account, struct mailbox *mailbox);
void mailbox_discard(
	struct engine *engine, struct mailbox *mailbox); /* one never added, or taken out */
void mailbox_set_name(
	struct mailbox *mailbox, struct text name); /* visible; its account is in order */
void mailbox_set_row_name(struct mailbox *mailbox, struct text name);
/* It is deleted: out of its account, in memory as long as somebody holds it. */
void mailbox_orphan(struct engine *engine, struct mailbox *mailbox);
void orphans_reap(struct engine *engine);
/* All of them, whoever holds them: at the end of the engine nobody uses them any more. */
void orphans_free(struct engine *engine);
/* Where it goes when it is deleted. On the heap. */
char *mailbox_deleted_path(struct text address, uint32_t mailbox);
/* Its directory; -1 with errno. */
int mailbox_directory(struct engine *engine, struct mailbox *mailbox);
void mailbox_close_directory(struct engine *engine, struct mailbox *mailbox);
void mailbox_set_keywords(struct mailbox *mailbox, struct text keywords);
void mailbox_show(struct mailbox *mailbox); /* visible := staged */
struct visible mailbox_staged(const struct mailbox *mailbox);
int mailbox_put(struct engine *engine, struct env_txn *txn, const struct mailbox *mailbox,
	const struct index_mailbox *row);
/* Keyword names to bits; what is new is added to *names. STORE_INVALID: not names, or too many. */
enum store_failure mailbox_keyword_bits(struct text wanted, struct buf *names, uint64_t *bits);
/* The bits that these keywords may have. */
uint64_t mailbox_keyword_mask(struct text names);
/* Nobody sees it yet. */
static inline bool mailbox_is_new(const struct mailbox *mailbox)
{
	return mailbox->visible.uidnext == 0;
}
/* "mail/DOMAIN/LOCAL/.Folder" on the heap, NULL when it cannot be. */
char *mailbox_path(struct text address, struct text name);
void mailbox_changed(struct engine *engine, struct mailbox *mailbox);

#endif

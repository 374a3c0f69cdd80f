/*
 * Flags, keywords and expunges.
 */
#include <errno.h>
#include <stdlib.h>

#include "store/engine_private.h"

enum { FLAGS = 63 };

struct update {
	enum store_update_kind kind;
	uint32_t flags;
	uint64_t keywords;
};

static int compare(const void *a, const void *b)
{
	const uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;

	return (x > y) - (x < y);
}

static void apply(const struct update *update, struct index_message *row)
{
	switch (update->kind) {
	case STORE_UPDATE_FLAGS_ADD:
		row->flags |= update->flags;
		row->keywords |= update->keywords;
		break;
	case STORE_UPDATE_FLAGS_REMOVE:
		row->flags &= ~update->flags;
		row->keywords &= ~update->keywords;
		break;
	case STORE_UPDATE_FLAGS_SET:
		row->flags = update->flags;
		row->keywords = update->keywords;
		break;
	case STORE_UPDATE_EXPUNGE:
		break;
	}
}

/* 1: a row; 0: no such message; -1: an error, kept in the batch. */
static int get_row(struct batch *batch, uint32_t uid, struct buf *value, struct index_message *row)
{
	unsigned char key[INDEX_MESSAGE_KEY];

	index_message_key(batch->mailbox->id, uid, key);
	const int found = env_get(batch->engine->env, batch->txn, ENV_MESSAGES,
		(struct text){ .ptr = (char *)key, .len = sizeof(key) }, value, &batch->error);
	if (found == 1 && index_message_decode(buf_text(value), row) != 0) {
		engine_damaged(batch->engine, "messages");
		batch->error = EBADMSG;
		return -1;
	}
	return found;
}

static void update_one(struct batch *batch, const struct update *update, uint32_t uid,
	const struct index_message *old)
{
	char from[MAILDIR_LEAF_LIMIT + 1], to[MAILDIR_LEAF_LIMIT + 1];
	struct index_message row = *old;

	if (update->kind == STORE_UPDATE_EXPUNGE) {
		batch_remove(batch, uid, old);
		return;
	}
	apply(update, &row);
	if (row.flags == old->flags && row.keywords == old->keywords)
		return;
	row.place = INDEX_CUR;
	row.modseq = batch->modseq;
	batch_leaf(old, from);
	batch_leaf(&row, to);
	batch_alter(batch, uid, old, &row, from, to);
}

/* The bits of the names; new names get theirs, in a text file that is logged before their first use. */
static enum store_failure name_keywords(
	struct batch *batch, struct update *update, struct text keywords)
{
	struct mailbox *mailbox = batch->mailbox;
	struct buf names = { 0 };

	if (update->kind == STORE_UPDATE_EXPUNGE || batch->error)
		return STORE_OK;
	buf_add(&names, mailbox->row.keywords);
	enum store_failure failure = mailbox_keyword_bits(keywords, &names, &update->keywords);
	/* Nothing has a keyword that is new here: taking it away needs no name for it. */
	const bool more = failure == STORE_OK && update->kind != STORE_UPDATE_FLAGS_REMOVE &&
			  buf_length(&names) > mailbox->row.keywords.len;
	if (more) {
		batch->error = create_log_file(batch->engine, batch->txn, batch->change, mailbox,
			mailbox->row.ceiling, buf_text(&names));
		batch->keywords_before = text_copy(batch->change->arena, mailbox->row.keywords).ptr;
		mailbox_set_keywords(mailbox, buf_text(&names));
	}
	buf_release(&names);
	return failure;
}

enum store_failure update_run(struct engine *engine, struct mailbox *mailbox,
	enum store_update_kind kind, uint32_t flags, struct text keywords, uint32_t *uids,
	size_t count, struct change *change)
{
	struct update update = { .kind = kind, .flags = flags & FLAGS };
	struct index_message row;
	struct buf value = { 0 };
	struct batch batch;

	if (count)
		qsort(uids, count, sizeof(*uids), compare);
	batch_begin(&batch, engine, mailbox, change);
	const enum store_failure failure = name_keywords(&batch, &update, keywords);
	for (size_t i = 0; i < count && failure == STORE_OK && batch.error == 0; i++) {
		/* What nobody has seen yet cannot be meant. */
		if ((i && uids[i] == uids[i - 1]) || uids[i] >= mailbox->visible.uidnext)
			continue;
		if (get_row(&batch, uids[i], &value, &row) == 1)
			update_one(&batch, &update, uids[i], &row);
	}
	buf_release(&value);
	change->result.changed = (uint32_t)batch_count(&batch);
	change->result.modseq = change->result.changed ? batch.modseq : mailbox->row.modseq;
	return batch_end(&batch, failure);
}

/*
 * Alterations of many messages of one mailbox in one transaction: its records, its rows, its effects.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "store/batch.h"
#include "store/change.h"
#include "store/mailbox.h"

enum {
	LIMIT = 100,
	EXPUNGED_LIMIT = 16384, /* expunges remembered per mailbox */
};

void batch_leaf(const struct index_message *row, char leaf[MAILDIR_LEAF_LIMIT + 1])
{
	maildir_leaf_print(
		(enum index_place)row->place, row->base, row->flags, row->keywords, leaf);
}

void batch_join(struct batch *batch, struct engine *engine, struct mailbox *mailbox,
	struct change *change, struct env_txn *txn)
{
	*batch = (struct batch){ .engine = engine,
		.mailbox = mailbox,
		.change = change,
		.txn = txn,
		.before = mailbox->row,
		.modseq = mailbox->row.modseq + 1 };
	mailbox->pins++;
}

void batch_begin(
	struct batch *batch, struct engine *engine, struct mailbox *mailbox, struct change *change)
{
	batch_join(batch, engine, mailbox, change, NULL);
	batch->error = env_begin(engine->env, &batch->txn);
}

static int log_run(struct batch *batch, struct buf *run, enum journal_kind kind)
{
	struct engine *engine = batch->engine;
	const struct index_mailbox_id id = batch->mailbox->id;
	const struct text directory = text_of(batch->mailbox->directory);

	if (buf_length(run) == 0)
		return 0;
	journal_begin(&engine->record, kind);
	if (kind == JOURNAL_MOVE)
		journal_move_pack(&engine->record, &(struct journal_move){ .user = id.user,
							   .mailbox = id.mailbox,
							   .directory = directory,
							   .moves = buf_text(run) });
	else
		journal_remove_pack(&engine->record, &(struct journal_remove){ .user = id.user,
							     .mailbox = id.mailbox,
							     .directory = directory,
							     .leaves = buf_text(run) });
	journal_seal(&engine->record);
	buf_clear(run);
	return env_log(engine->env, batch->txn, &engine->record);
}

static void move_file(struct batch *batch, const char *from, const char *to)
{
	struct arena *arena = batch->change->arena;

	journal_step_pack(
		&batch->moves, &(struct journal_step){ .from = text_of(from), .to = text_of(to) });
	struct effect *effect = change_effect(batch->change, EFFECT_PLACE, batch->mailbox);
	effect->from = text_copy(arena, text_of(from)).ptr;
	effect->to = text_copy(arena, text_of(to)).ptr;
	if (batch->error == 0 && buf_length(&batch->moves) >= JOURNAL_RUN_LIMIT)
		batch->error = log_run(batch, &batch->moves, JOURNAL_MOVE);
}

static void put_row(struct batch *batch, uint32_t uid, const struct index_message *row)
{
	struct engine *engine = batch->engine;
	unsigned char key[INDEX_MESSAGE_KEY];

	if (batch->error)
		return;
	index_message_key(batch->mailbox->id, uid, key);
	buf_clear(&engine->value);
	index_message_encode(&engine->value, row);
	batch->error = env_put(engine->env, batch->txn, ENV_MESSAGES,
		(struct text){ .ptr = (char *)key, .len = sizeof(key) }, buf_text(&engine->value));
}

static void add_entry(struct buf *entries, uint32_t uid, const struct index_message *row)
{
	const struct store_listing_entry entry = { .uid = uid,
		.flags = row->flags,
		.keywords = row->keywords,
		.size = row->size,
		.wire = row->wire,
		.received = row->received,
		.modseq = row->modseq };

	buf_add(entries, (struct text){ .ptr = (const char *)&entry, .len = sizeof(entry) });
}

static void count(struct batch *batch, uint32_t flags, uint64_t size, uint64_t wire)
{
	struct index_mailbox *mailbox = &batch->mailbox->row;

	mailbox->messages++;
	mailbox->unseen += !(flags & STORE_FLAG_SEEN);
	mailbox->octets += size;
	mailbox->wire += wire;
}

void batch_receive(struct batch *batch, uint32_t uid, const struct index_message *row)
{
	put_row(batch, uid, row);
	add_entry(batch->hidden ? batch->hidden : &batch->added, uid, row);
	if (!batch->hidden)
		count(batch, row->flags, row->size, row->wire);
}

void batch_reveal(struct batch *batch, struct buf *entries, uint64_t modseq)
{
	batch->modseq = modseq;
	batch->added = *entries;
	*entries = (struct buf){ 0 };
	for (struct text rest = buf_text(&batch->added); rest.len;
		rest = text_from(rest, sizeof(struct store_listing_entry))) {
		struct store_listing_entry entry;
		memcpy(&entry, rest.ptr, sizeof(entry));
		count(batch, entry.flags, entry.size, entry.wire);
	}
}

void batch_add(struct batch *batch, uint32_t uid, const struct index_message *row, const char *from,
	const char *to)
{
	move_file(batch, from, to);
	batch_receive(batch, uid, row);
}

void batch_alter(struct batch *batch, uint32_t uid, const struct index_message *old,
	const struct index_message *row, const char *from, const char *to)
{
	put_row(batch, uid, row);
	move_file(batch, from, to);
	add_entry(&batch->altered, uid, row);
	batch->mailbox->row.unseen += !(row->flags & STORE_FLAG_SEEN);
	batch->mailbox->row.unseen -= !(old->flags & STORE_FLAG_SEEN);
}

static void delete_row(struct batch *batch, uint32_t uid)
{
	unsigned char key[INDEX_MESSAGE_KEY];

	index_message_key(batch->mailbox->id, uid, key);
	if (batch->error == 0)
		batch->error = env_delete(batch->engine->env, batch->txn, ENV_MESSAGES,
			(struct text){ .ptr = (char *)key, .len = sizeof(key) });
}

void batch_release(struct batch *batch, uint32_t uid, const struct index_message *row)
{
	static const char empty[] = { INDEX_VERSION };
	struct engine *engine = batch->engine;
	struct index_mailbox *mailbox = &batch->mailbox->row;
	unsigned char expunged[INDEX_EXPUNGED_KEY];

	delete_row(batch, uid);
	index_expunged_key(batch->mailbox->id, batch->modseq, uid, expunged);
	if (batch->error == 0)
		batch->error = env_put(engine->env, batch->txn, ENV_EXPUNGED,
			(struct text){ .ptr = (char *)expunged, .len = sizeof(expunged) },
			(struct text){ .ptr = empty, .len = sizeof(empty) });
	add_entry(&batch->removed, uid, row);
	mailbox->messages--;
	mailbox->unseen -= !(row->flags & STORE_FLAG_SEEN);
	mailbox->octets -= row->size;
	mailbox->wire -= row->wire;
	mailbox->expunged++;
}

static void remove_file(struct batch *batch, const struct index_message *row)
{
	char leaf[MAILDIR_LEAF_LIMIT + 1];

	batch_leaf(row, leaf);
	journal_leaf_pack(&batch->leaves, &(struct journal_leaf){ .leaf = text_of(leaf) });
	struct effect *effect = change_effect(batch->change, EFFECT_REMOVE, batch->mailbox);
	effect->from = text_copy(batch->change->arena, text_of(leaf)).ptr;
	if (batch->error == 0 && buf_length(&batch->leaves) >= JOURNAL_RUN_LIMIT)
		batch->error = log_run(batch, &batch->leaves, JOURNAL_REMOVE);
}

void batch_remove(struct batch *batch, uint32_t uid, const struct index_message *row)
{
	remove_file(batch, row);
	batch_release(batch, uid, row);
}

void batch_withdraw(struct batch *batch, uint32_t uid, const struct index_message *row)
{
	remove_file(batch, row);
	delete_row(batch, uid);
}

size_t batch_count(const struct batch *batch)
{
	return (buf_length(&batch->added) + buf_length(&batch->altered) +
		       buf_length(&batch->removed)) /
	       sizeof(struct store_listing_entry);
}

static int compare(const void *a, const void *b)
{
	const uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;

	return (x > y) - (x < y);
}

static bool are_in_order(const uint32_t *uids, size_t count)
{
	size_t i = 1;

	while (i < count && uids[i - 1] < uids[i])
		i++;
	return i >= count;
}

size_t batch_sort(uint32_t *uids, size_t count)
{
	size_t kept = 0;

	if (are_in_order(uids, count))
		return count;
	qsort(uids, count, sizeof(*uids), compare);
	for (size_t i = 0; i < count; i++) {
		if (kept == 0 || uids[i] != uids[kept - 1])
			uids[kept++] = uids[i];
	}
	return kept;
}

size_t batch_limit(const struct engine *engine)
{
	return engine->options.update_messages ? engine->options.update_messages : LIMIT;
}

/* ---- old expunges ---- */

struct trimming {
	struct batch *batch;
	struct buf keys;
	size_t excess;
};

static int collect(void *owner, struct text key, struct text value)
{
	struct trimming *trimming = owner;
	struct index_mailbox *row = &trimming->batch->mailbox->row;
	struct index_mailbox_id id;
	uint64_t modseq;
	uint32_t uid;

	(void)value;
	if (trimming->excess == 0 || index_expunged_key_decode(key, &id, &modseq, &uid) != 0 ||
		id.user != trimming->batch->mailbox->id.user ||
		id.mailbox != trimming->batch->mailbox->id.mailbox)
		return 1;
	buf_add(&trimming->keys, key);
	trimming->excess--;
	row->expunged_since = modseq;
	return 0;
}

/* Only so many are remembered; who asks for older ones is told to compare (modseq expunged_since). */
static int trim(struct batch *batch)
{
	struct index_mailbox *row = &batch->mailbox->row;
	struct trimming trimming = { .batch = batch };
	unsigned char key[INDEX_EXPUNGED_KEY];

	if (row->expunged <= EXPUNGED_LIMIT)
		return 0;
	trimming.excess = row->expunged - EXPUNGED_LIMIT;
	index_expunged_key(batch->mailbox->id, 0, 0, key);
	int error = env_scan(batch->engine->env, ENV_EXPUNGED,
		(struct text){ .ptr = (char *)key, .len = sizeof(key) }, collect, &trimming);
	row->expunged = EXPUNGED_LIMIT + (uint32_t)trimming.excess;
	for (struct text keys = buf_text(&trimming.keys); keys.len && error == 0;
		keys = text_from(keys, INDEX_EXPUNGED_KEY))
		error = env_delete(batch->engine->env, batch->txn, ENV_EXPUNGED,
			text_head(keys, INDEX_EXPUNGED_KEY));
	buf_release(&trimming.keys);
	return error;
}

/* ---- end ---- */

static void touch(struct batch *batch, enum touch_kind kind, const struct buf *entries)
{
	const struct text octets = buf_text(entries);

	if (octets.len == 0)
		return;
	struct touch *made = change_touch(batch->change, batch->mailbox, kind);
	made->after = mailbox_staged(batch->mailbox);
	made->entries = arena_take(batch->change->arena, octets.len);
	memcpy(made->entries, octets.ptr, octets.len);
	made->count = octets.len / sizeof(struct store_listing_entry);
}

int batch_put(struct batch *batch)
{
	struct engine *engine = batch->engine;
	struct mailbox *mailbox = batch->mailbox;
	int error = batch->error;

	if (!batch->hidden)
		mailbox->row.modseq = batch->modseq;
	if (error == 0)
		error = log_run(batch, &batch->moves, JOURNAL_MOVE);
	if (error == 0)
		error = log_run(batch, &batch->leaves, JOURNAL_REMOVE);
	if (error == 0)
		error = trim(batch);
	return error ? error : mailbox_put(engine, batch->txn, mailbox, &mailbox->row);
}

static int commit(struct batch *batch)
{
	int error = batch_put(batch);

	if (error == 0) {
		error = env_commit(batch->txn);
		batch->txn = NULL;
	}
	return error;
}

static void count_in_account(struct batch *batch)
{
	struct account *account = batch->mailbox->account;

	account->messages += batch->mailbox->row.messages - batch->before.messages;
	account->octets += batch->mailbox->row.octets - batch->before.octets;
}

static void take_back(struct batch *batch)
{
	struct mailbox *mailbox = batch->mailbox;

	mailbox->row = batch->before;
	mailbox->row.name = text_of(mailbox->row_name);
	mailbox->row.keywords = text_of(mailbox->keywords);
	if (batch->keywords_before)
		mailbox_set_keywords(mailbox, text_of(batch->keywords_before));
}

void batch_done(struct batch *batch, bool committed)
{
	struct mailbox *mailbox = batch->mailbox;

	if (committed) {
		count_in_account(batch);
		touch(batch, TOUCH_REMOVE, &batch->removed);
		touch(batch, TOUCH_ALTER, &batch->altered);
		touch(batch, TOUCH_ADD, &batch->added);
		/* UIDNEXT and modseq may have moved on for messages that were gone. */
		if (batch_count(batch) == 0 && !batch->hidden)
			change_touch(batch->change, mailbox, TOUCH_ALTER)->after =
				mailbox_staged(mailbox);
		mailbox->dirty = false;
	} else {
		take_back(batch);
	}
	mailbox->pins--;
	buf_release(&batch->moves);
	buf_release(&batch->leaves);
	buf_release(&batch->added);
	buf_release(&batch->altered);
	buf_release(&batch->removed);
}

enum store_failure batch_end(struct batch *batch, enum store_failure failure)
{
	const bool wanted = failure == STORE_OK && batch_count(batch) > 0;
	int error = batch->error;

	if (wanted)
		error = commit(batch);
	if (batch->txn)
		env_abort(batch->txn);
	if (failure == STORE_OK && error)
		failure = engine_env_failure(batch->engine, "update", error);
	const bool committed = failure == STORE_OK && wanted;
	if (!committed)
		change_clear(batch->change);
	batch_done(batch, committed);
	if (committed)
		change_stage(batch->change);
	return failure;
}

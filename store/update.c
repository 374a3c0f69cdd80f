/*
 * Flags, keywords and expunges.
 *
 * Many messages are altered piece by piece, each piece a transaction that is visible before the next one
 * begins: so an expunge of a whole mailbox holds up nobody but those who wait for their turn at the same
 * mailbox. An expunge is all or nothing nevertheless, also when the store dies (expunging.c); only one that
 * is refused on its way, as on a disk without room, leaves what its pieces did.
 */
#include <endian.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "store/batch.h"
#include "store/change.h"
#include "store/create.h"
#include "store/expunging.h"
#include "store/hidden.h"
#include "store/mailbox.h"
#include "store/view.h"

enum { FLAGS = 63 };

/* In the change's arena. */
struct update {
	struct mailbox *mailbox;
	enum store_update_kind kind;
	uint32_t flags;
	struct text names; /* of keywords */
	uint64_t keywords;
	uint32_t *uids; /* by ascending UID, each once, from the first piece on */
	size_t count, done;
	uint32_t uidnext; /* as it was visible when the first piece began; 0: not begun */
	uint64_t await;   /* engine.shown_count from which on the last piece is visible */
	uint32_t changed;
	uint64_t modseq;
	bool is_noted;   /* in the index: it will be done, whatever happens */
	bool is_resumed; /* nobody is to be told */
};

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

	if (hidden_has(batch->mailbox, uid))
		return 0;
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
static enum store_failure name_keywords(struct batch *batch, struct update *update)
{
	struct mailbox *mailbox = batch->mailbox;
	struct buf names = { 0 };

	if (update->kind == STORE_UPDATE_EXPUNGE || batch->error)
		return STORE_OK;
	buf_add(&names, mailbox->row.keywords);
	enum store_failure failure = mailbox_keyword_bits(update->names, &names, &update->keywords);
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

/* With the first piece that does anything, unless that is all. */
static bool must_note(const struct batch *batch, const struct update *update, size_t end)
{
	return update->kind == STORE_UPDATE_EXPUNGE && !update->is_noted && end < update->count &&
	       batch->error == 0 && batch_count(batch) > 0;
}

/* False: it stays noted. */
static bool forget(struct engine *engine, const struct update *update)
{
	return !update->is_noted ||
	       expunging_forget(engine, update->mailbox->id, update->uids, update->count);
}

static enum store_failure run_piece(
	struct engine *engine, struct update *update, size_t end, struct change *change)
{
	struct index_message row;
	struct buf value = { 0 };
	struct batch batch;

	batch_begin(&batch, engine, update->mailbox, change);
	enum store_failure failure = name_keywords(&batch, update);
	for (size_t i = update->done; i < end && failure == STORE_OK && batch.error == 0; i++) {
		if (get_row(&batch, update->uids[i], &value, &row) == 1)
			update_one(&batch, update, update->uids[i], &row);
	}
	buf_release(&value);
	const bool is_noting = must_note(&batch, update, end);
	if (is_noting)
		batch.error = expunging_note(
			engine, batch.txn, update->mailbox->id, update->uids, update->count);
	const uint32_t changed = (uint32_t)batch_count(&batch);
	const uint64_t modseq = batch.modseq;
	failure = batch_end(&batch, failure);
	if (failure != STORE_OK)
		return failure;
	update->is_noted |= is_noting;
	update->done = end;
	update->changed += changed;
	if (changed)
		update->modseq = modseq;
	return STORE_OK;
}

/* What nobody had seen when it began cannot be meant. */
static void begin(struct update *update)
{
	update->uidnext = update->mailbox->visible.uidnext;
	update->modseq = update->mailbox->row.modseq;
	update->count = batch_sort(update->uids, update->count);
	while (update->count && update->uids[update->count - 1] >= update->uidnext)
		update->count--;
}

/* All that was done so far is visible. */
static bool updated(struct change *change)
{
	const struct update *update = change->context;

	change->result.changed = update->changed;
	change->result.modseq = update->modseq;
	return false;
}

/* It must not go on after a crash when somebody was told that it does not. */
static void refuse(struct engine *engine, const struct update *update, struct change *change,
	enum store_failure failure)
{
	if (!update->is_noted || update->is_resumed) {
		change_ready(change, failure);
		return;
	}
	change->result.failure = forget(engine, update) ? failure : STORE_NOT_DURABLE;
	change_stage(change);
}

static bool run_in_turn(struct engine *engine, struct change *change)
{
	const size_t piece = batch_limit(engine);
	struct update *update = change->context;
	enum store_failure failure = STORE_OK;

	if (update->mailbox->leaving || engine->shown_count < update->await)
		return false;
	if (update->uidnext == 0) {
		begin(update);
		updated(change);
	}
	const bool is_last = update->count - update->done <= piece;
	const uint32_t before = update->changed;
	struct change *part = is_last ? change : task_piece(change);
	failure = update->mailbox->gone
			  ? STORE_NO_SUCH_MAILBOX
			  : run_piece(engine, update,
				    is_last ? update->count : update->done + piece, part);
	if (failure != STORE_OK) {
		if (!is_last)
			change_release(part);
		refuse(engine, update, change, failure);
		return true;
	}
	if (is_last)
		forget(engine, update);
	/* The state that is left as it is may not be durable yet. */
	if (is_last && update->changed == before)
		change_follow(change);
	/* By way of a flush: others get their turn of the loop. */
	if (!is_last && update->changed == before)
		change_stage(part);
	update->await = engine->staged_count;
	return is_last;
}

void engine_view_update(struct engine_view *view, enum store_update_kind kind, uint32_t flags,
	struct text keywords, const uint32_t *uids, size_t count, engine_done *done, void *owner)
{
	struct engine *engine = view->engine;
	struct change *change = change_new(engine, done, owner);

	if (engine->broken || view->mode == STORE_SELECT_READ_ONLY) {
		change_ready(change, engine->broken ? STORE_BUSY : STORE_REFUSED);
		return;
	}
	struct update *update = arena_take(change->arena, sizeof(*update));
	*update = (struct update){ .mailbox = view->mailbox,
		.kind = kind,
		.flags = flags & FLAGS,
		.names = text_copy(change->arena, keywords),
		.uids = arena_take(change->arena, (count + 1) * sizeof(*uids)),
		.count = count };
	if (count)
		memcpy(update->uids, uids, count * sizeof(*uids));
	change->context = update;
	change->settled = updated;
	task_queue(engine, view->mailbox, change, run_in_turn);
}

void update_resume(struct engine *engine, struct mailbox *mailbox, struct text uids)
{
	struct change *change = change_new(engine, NULL, NULL);
	struct update *update = arena_take(change->arena, sizeof(*update));

	*update = (struct update){ .mailbox = mailbox,
		.kind = STORE_UPDATE_EXPUNGE,
		.names = TEXT(""),
		.uids = arena_take(change->arena, uids.len + sizeof(*update->uids)),
		.count = uids.len / sizeof(*update->uids),
		.is_noted = true,
		.is_resumed = true };
	for (size_t i = 0; i < update->count; i++) {
		uint32_t uid;
		memcpy(&uid, uids.ptr + i * sizeof(uid), sizeof(uid));
		update->uids[i] = le32toh(uid);
	}
	change->context = update;
	task_queue(engine, mailbox, change, run_in_turn);
}

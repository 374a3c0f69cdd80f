/*
 * A copy of many messages goes piece by piece, and yet is all or nothing for whoever looks and over a crash
 * (RFC 9051 section 6.4.7).
 *
 *	UIDs of the target    ... uidnext -> | room for deliveries | first ... next -> end |
 *
 * Its UIDs are beyond all that others get meanwhile, so that those need not wait: deliveries become visible
 * as ever, and when the copies do, theirs are the greatest. The same holds for their modseq. Rows from
 * uidnext on are seen by nobody, and the look at the directories (scan.c) knows whose files these are. Other
 * programs that read the Maildir see the files as they come.
 *
 * The first piece's transaction notes the UIDs in the index; the one that raises uidnext beyond them, so that
 * all can be seen, takes the note away. With the note still there, after a crash or after a piece was
 * refused, what there is of the copies goes again.
 *
 * The note is lost with an index that has to be rebuilt; then the copies that were made are there.
 */
#include <errno.h>
#include <string.h>

#include "base/log.h"
#include "store/batch.h"
#include "store/change.h"
#include "store/hidden.h"
#include "store/mailbox.h"
#include "store/notes.h"
#include "store/quota.h"
#include "store/view.h"

enum {
	/* UIDs for others: deliveries while one message is copied, and while nothing is. */
	OTHERS = 4,
	OTHERS_AT_LEAST = 1000,
};

static struct hidden *hide(struct mailbox *mailbox, uint32_t first, uint32_t end)
{
	struct hidden *hidden = mem_new(sizeof(*hidden));

	hidden->first = hidden->next = first;
	hidden->end = end;
	mailbox->hidden = hidden;
	mailbox->pins++;
	return hidden;
}

void hidden_free(struct mailbox *mailbox)
{
	if (!mailbox->hidden)
		return;
	buf_release(&mailbox->hidden->entries);
	mem_free(mailbox->hidden);
	mailbox->hidden = NULL;
	mailbox->pins--;
}

bool hidden_is_left(const struct mailbox *mailbox)
{
	return mailbox->hidden && mailbox->hidden->is_left;
}

bool hidden_has(const struct mailbox *mailbox, uint32_t uid)
{
	const struct hidden *hidden = mailbox->hidden;

	return hidden && uid >= hidden->first && uid < hidden->end;
}

void hidden_pass(struct mailbox *mailbox, uint32_t count)
{
	const struct hidden *hidden = mailbox->hidden;

	if (hidden && mailbox->row.uidnext < hidden->end &&
		mailbox->row.uidnext + count > hidden->first)
		mailbox->row.uidnext = hidden->end;
}

void hidden_count(const struct mailbox *mailbox, uint64_t *messages, uint64_t *octets)
{
	if (!mailbox->hidden)
		return;
	*messages += mailbox->hidden->messages;
	*octets += mailbox->hidden->octets;
}

/* ---- begin, end ---- */

static void stop_counting(struct mailbox *mailbox)
{
	struct hidden *hidden = mailbox->hidden;

	mailbox->account->messages -= hidden->messages;
	mailbox->account->octets -= hidden->octets;
	hidden->messages = 0;
	hidden->octets = 0;
}

enum store_failure hidden_begin(
	struct engine *engine, struct mailbox *mailbox, uint32_t messages, uint64_t octets)
{
	struct account *account = mailbox->account;
	const uint64_t others = (uint64_t)OTHERS * messages + OTHERS_AT_LEAST;
	const uint64_t first = mailbox->row.uidnext + others;

	if (first + messages >= UINT32_MAX - 2 * ENGINE_CEILING_BLOCK)
		return STORE_DAMAGED;
	struct hidden *hidden = hide(mailbox, (uint32_t)first, (uint32_t)(first + messages));
	hidden->modseq = mailbox->row.modseq + others;
	hidden->messages = messages;
	hidden->octets = octets;
	account->messages += messages;
	account->octets += octets;
	quota_follow(engine, account);
	return STORE_OK;
}

static void note_key(const struct mailbox *mailbox, unsigned char key[INDEX_MESSAGE_KEY])
{
	index_message_key(mailbox->id, mailbox->hidden->first, key);
}

int hidden_note(struct engine *engine, struct env_txn *txn, const struct mailbox *mailbox)
{
	unsigned char key[INDEX_MESSAGE_KEY];

	note_key(mailbox, key);
	buf_clear(&engine->value);
	index_copying_pack(&engine->value,
		&(struct index_copying){ .version = INDEX_VERSION, .end = mailbox->hidden->end });
	return env_put(engine->env, txn, ENV_COPYING,
		(struct text){ .ptr = (char *)key, .len = sizeof(key) }, buf_text(&engine->value));
}

static int forget(struct engine *engine, struct env_txn *txn, const struct mailbox *mailbox)
{
	unsigned char key[INDEX_MESSAGE_KEY];

	note_key(mailbox, key);
	return env_delete(engine->env, txn, ENV_COPYING,
		(struct text){ .ptr = (char *)key, .len = sizeof(key) });
}

/* While the change is under way what lies in the directories is not what the rows say. */
static void touch(struct change *change, struct mailbox *mailbox)
{
	change_touch(change, mailbox, TOUCH_ALTER)->after = mailbox_staged(mailbox);
}

static enum store_failure end(struct batch *batch, int error)
{
	struct engine *engine = batch->engine;

	if (error == 0)
		error = batch_put(batch);
	if (error)
		env_abort(batch->txn);
	else
		error = env_commit(batch->txn);
	if (error)
		change_clear(batch->change);
	batch_done(batch, error == 0);
	return error ? engine_env_failure(engine, "copy", error) : STORE_OK;
}

enum store_failure hidden_show(
	struct engine *engine, struct mailbox *mailbox, struct change *change)
{
	struct hidden *hidden = mailbox->hidden;
	struct batch batch;

	if (!hidden->is_noted) {
		/* None of the messages was there any more: no UID is used, and nothing alters. */
		stop_counting(mailbox);
		hidden_free(mailbox);
		change_follow(change);
		return STORE_OK;
	}
	if (mailbox->row.uidnext > hidden->first || mailbox->row.modseq >= hidden->modseq)
		return STORE_BUSY;
	batch_begin(&batch, engine, mailbox, change);
	if (batch.error) {
		batch_done(&batch, false);
		return engine_env_failure(engine, "copy", batch.error);
	}
	batch_reveal(&batch, &hidden->entries, hidden->modseq);
	mailbox->row.uidnext = hidden->next;
	const enum store_failure failure = end(&batch, forget(engine, batch.txn, mailbox));
	if (failure != STORE_OK)
		return failure;
	touch(change, mailbox);
	stop_counting(mailbox);
	hidden_free(mailbox);
	quota_follow(engine, mailbox->account);
	change_stage(change);
	return STORE_OK;
}

/* ---- taken back ---- */

/* In the change's arena. */
struct taking_back {
	struct mailbox *mailbox;
	uint64_t await; /* engine.shown_count from which on the last piece is done */
};

struct made {
	const struct mailbox *mailbox;
	struct buf rows; /* u32 uid, text row each */
	size_t most, count;
	bool more, damaged;
};

static int collect(void *owner, struct text key, struct text value)
{
	struct made *made = owner;
	struct index_mailbox_id id;
	uint32_t uid;

	made->damaged = index_message_key_decode(key, &id, &uid) != 0;
	if (made->damaged || id.user != made->mailbox->id.user ||
		id.mailbox != made->mailbox->id.mailbox || !hidden_has(made->mailbox, uid))
		return 1;
	made->more = made->count == made->most;
	if (made->more)
		return 1;
	message_add_u32(&made->rows, uid);
	message_add_text(&made->rows, value);
	made->count++;
	return 0;
}

static int withdraw(struct batch *batch, const struct made *made)
{
	struct message_reader in = { .at = buf_text(&made->rows).ptr,
		.left = buf_length(&made->rows) };

	while (in.left && batch->error == 0) {
		struct index_message row;
		const uint32_t uid = message_get_u32(&in, 0);
		if (index_message_decode(message_get_text(&in, UINT32_MAX), &row) != 0) {
			engine_damaged(batch->engine, "messages");
			return EBADMSG;
		}
		batch_withdraw(batch, uid, &row);
	}
	return batch->error;
}

/* The next ones, and with the last of them the note. */
static enum store_failure take_back_piece(
	struct engine *engine, struct made *made, struct mailbox *mailbox, struct change *change)
{
	unsigned char key[INDEX_MESSAGE_KEY];
	struct batch batch;

	note_key(mailbox, key);
	int error = env_scan(engine->env, ENV_MESSAGES,
		(struct text){ .ptr = (char *)key, .len = sizeof(key) }, collect, made);
	if (error)
		return engine_env_failure(engine, "messages", error);
	if (made->damaged)
		return engine_damaged(engine, "messages");
	batch_begin(&batch, engine, mailbox, change);
	if (batch.error) {
		batch_done(&batch, false);
		return engine_env_failure(engine, "copy", batch.error);
	}
	error = withdraw(&batch, made);
	if (error == 0 && !made->more) {
		error = forget(engine, batch.txn, mailbox);
		if (mailbox->row.uidnext < mailbox->hidden->end)
			mailbox->row.uidnext = mailbox->hidden->end;
	}
	const enum store_failure failure = end(&batch, error);
	if (failure == STORE_OK)
		change_stage(change);
	return failure;
}

static bool take_back_in_turn(struct engine *engine, struct change *change)
{
	struct taking_back *back = change->context;
	struct mailbox *mailbox = back->mailbox;

	if (mailbox->leaving || engine->shown_count < back->await)
		return false;
	if (mailbox->gone) {
		/* All that it had goes, the note, too. */
		hidden_free(mailbox);
		change_ready(change, STORE_OK);
		return true;
	}
	struct made made = { .mailbox = mailbox, .most = batch_limit(engine) };
	struct change *part = change_new(engine, NULL, NULL);
	const enum store_failure failure = take_back_piece(engine, &made, mailbox, part);
	buf_release(&made.rows);
	back->await = engine->staged_count;
	if (failure == STORE_OK && made.more)
		return false;
	if (failure == STORE_OK) {
		hidden_free(mailbox);
	} else {
		mailbox->hidden->is_left = true;
		change_release(part);
	}
	change_ready(change, failure);
	return true;
}

void hidden_take_back(struct engine *engine, struct mailbox *mailbox)
{
	struct hidden *hidden = mailbox->hidden;

	stop_counting(mailbox);
	if (!hidden->is_noted) {
		hidden_free(mailbox);
		return;
	}
	hidden->is_left = false;
	buf_release(&hidden->entries);
	struct change *change = change_new(engine, NULL, NULL);
	struct taking_back *back = arena_take(change->arena, sizeof(*back));
	*back = (struct taking_back){ .mailbox = mailbox, .await = engine->staged_count };
	change->context = back;
	task_queue_ahead(engine, mailbox, change, take_back_in_turn);
}

/* ---- after a start ---- */

static int resume_row(struct engine *engine, struct text key, struct text value)
{
	struct index_copying row;
	struct index_mailbox_id id;
	uint32_t first;

	if (index_message_key_decode(key, &id, &first) != 0 ||
		index_copying_decode(value, &row) != 0 || first == 0 || first >= row.end) {
		engine_damaged(engine, "copying");
		return EBADMSG;
	}
	struct mailbox *mailbox = notes_mailbox(engine, id);
	if (!mailbox || mailbox->hidden)
		return 0;
	LOG_INFO("copy-taken-back", LOG_TEXT("user", mailbox->account->user->public.address),
		LOG_STRING("mailbox", mailbox->name));
	hide(mailbox, first, row.end)->is_noted = true;
	hidden_take_back(engine, mailbox);
	return 0;
}

int hidden_resume(struct engine *engine)
{
	return notes_resume(engine, ENV_COPYING, resume_row);
}

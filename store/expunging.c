/*
 * An expunge of many messages goes piece by piece (update.c), and yet a crash leaves all of it or nothing:
 * the first piece's transaction also notes in the index what is to go, and the note stays until the last
 * piece. What a crash interrupted goes on with the next start, and who selects the mailbox waits for it.
 *
 * The note is lost with an index that has to be rebuilt; then the pieces that were not done have not been.
 */
#include <errno.h>

#include "base/log.h"
#include "store/expunging.h"
#include "store/notes.h"

static size_t row_end(size_t at, size_t count)
{
	return count - at < INDEX_EXPUNGING_UIDS ? count : at + INDEX_EXPUNGING_UIDS;
}

int expunging_note(struct engine *engine, struct env_txn *txn, struct index_mailbox_id id,
	const uint32_t *uids, size_t count)
{
	unsigned char key[INDEX_MESSAGE_KEY];
	struct buf run = { 0 };
	int error = 0;

	for (size_t at = 0; at < count && error == 0; at = row_end(at, count)) {
		buf_clear(&run);
		for (size_t i = at; i < row_end(at, count); i++)
			message_add_u32(&run, uids[i]);
		index_message_key(id, uids[at], key);
		buf_clear(&engine->value);
		index_expunging_pack(
			&engine->value, &(struct index_expunging){
						.version = INDEX_VERSION, .uids = buf_text(&run) });
		error = env_put(engine->env, txn, ENV_EXPUNGING,
			(struct text){ .ptr = (char *)key, .len = sizeof(key) },
			buf_text(&engine->value));
	}
	buf_release(&run);
	return error;
}

bool expunging_forget(
	struct engine *engine, struct index_mailbox_id id, const uint32_t *uids, size_t count)
{
	unsigned char key[INDEX_MESSAGE_KEY];
	struct env_txn *txn;
	int error = env_begin(engine->env, &txn);

	for (size_t at = 0; at < count && error == 0; at = row_end(at, count)) {
		index_message_key(id, uids[at], key);
		error = env_delete(engine->env, txn, ENV_EXPUNGING,
			(struct text){ .ptr = (char *)key, .len = sizeof(key) });
		if (error)
			env_abort(txn);
	}
	if (error == 0)
		error = env_commit(txn);
	if (error)
		engine_env_failure(engine, "expunging", error);
	return error == 0;
}

/* ---- after a start ---- */

static int resume_row(struct engine *engine, struct text key, struct text value)
{
	struct index_expunging row;
	struct index_mailbox_id id;
	uint32_t uid;

	if (index_message_key_decode(key, &id, &uid) != 0 ||
		index_expunging_decode(value, &row) != 0 || row.uids.len % sizeof(uid) != 0) {
		engine_damaged(engine, "expunging");
		return EBADMSG;
	}
	struct mailbox *mailbox = notes_mailbox(engine, id);
	if (!mailbox)
		return 0;
	LOG_INFO("expunge-resumed", LOG_TEXT("user", mailbox->account->user->public.address),
		LOG_STRING("mailbox", mailbox->name), LOG_NUMBER("messages", row.uids.len / 4));
	update_resume(engine, mailbox, row.uids);
	return 0;
}

int expunging_resume(struct engine *engine)
{
	return notes_resume(engine, ENV_EXPUNGING, resume_row);
}

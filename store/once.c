/*
 * Once-keys asked for: what a client may pass over because it is here. The answer has to be as good as
 * the acceptance itself, for the client deletes what it came from.
 */
#include <time.h>

#include "base/arena.h"
#include "base/message.h"
#include "store/change.h"
#include "store/mailbox.h"
#include "store/once_keys.h"
#include "store/protocol.h"

/* What is asked for stays known: keys that are old by now are written anew. */
struct asking {
	struct engine *engine;
	uint32_t user;
	int64_t now;
	struct env_txn *txn; /* NULL: none was old so far */
	struct buf lines;
	int error;
};

static void renew(struct asking *asking, int64_t accepted, struct text once)
{
	if (!asking->txn)
		asking->error = env_begin(asking->engine->env, &asking->txn);
	if (asking->error == 0)
		asking->error = once_put(asking->engine, asking->txn, asking->user,
			&(struct index_once){ .time = accepted, .asked = asking->now }, once,
			&asking->lines);
}

/* When it was accepted; or -1. */
static int64_t look_up(struct asking *asking, struct text once)
{
	struct engine *engine = asking->engine;
	unsigned char octets[INDEX_ONCE_KEY_LIMIT];
	const struct text key = { .ptr = (char *)octets,
		.len = index_once_key(asking->user, once, octets) };
	struct index_once row;

	buf_clear(&engine->value);
	if (env_get(engine->env, asking->txn, ENV_ONCE, key, &engine->value, &asking->error) != 1)
		return -1;
	if (index_once_decode(buf_text(&engine->value), &row) != 0)
		return 0;
	if (once_is_expired(engine, row.asked, asking->now))
		return -1;
	if (once_is_old(engine, row.asked, asking->now))
		renew(asking, row.time, once);
	return row.time;
}

static enum store_failure look_all_up(struct asking *asking, struct text keys, struct buf *times)
{
	struct message_reader reader = { .at = keys.ptr, .left = keys.len };

	for (size_t count = 0; reader.left; count++) {
		struct store_once_key key;
		if (count == STORE_ONCE_KEYS || store_once_key_unpack_from(&reader, &key) != 0 ||
			key.key.len == 0)
			return STORE_INVALID;
		message_add_i64(times, look_up(asking, key.key));
		if (asking->error)
			return engine_env_failure(asking->engine, "once", asking->error);
	}
	return STORE_OK;
}

static enum store_failure end(struct asking *asking, enum store_failure failure)
{
	int error = 0;

	if (asking->txn && failure == STORE_OK)
		error = env_commit(asking->txn);
	else if (asking->txn)
		env_abort(asking->txn);
	return error ? engine_env_failure(asking->engine, "once", error) : failure;
}

void engine_once(
	struct engine *engine, struct text user, struct text keys, engine_done *done, void *owner)
{
	struct change *change = change_new(engine, done, owner);
	struct account *account = NULL;
	struct asking asking = { .engine = engine, .now = time(NULL) };
	struct buf times = { 0 };
	enum store_failure failure = STORE_BUSY;

	if (!engine->broken && !engine->closing)
		failure = account_of(engine, user, &account);
	if (failure == STORE_OK) {
		asking.user = account->user->public.number;
		failure = end(&asking, look_all_up(&asking, keys, &times));
	}
	if (failure == STORE_OK) {
		change->once = text_copy(change->arena, buf_text(&asking.lines));
		change->result.times = text_copy(change->arena, buf_text(&times));
	}
	buf_release(&times);
	buf_release(&asking.lines);
	if (failure != STORE_OK)
		change_ready(change, failure);
	else if (change->once.len)
		change_stage(change);
	else
		change_follow(change);
}

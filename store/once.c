/*
 * Once-keys asked for: what a client may pass over because it is here. The answer has to be as good as
 * the acceptance itself, for the client deletes what it came from.
 */
#include "base/arena.h"
#include "base/message.h"
#include "store/engine_private.h"
#include "store/protocol.h"

/* When it was accepted, or -1. */
static int64_t look_up(struct engine *engine, uint32_t user, struct text once, int *error)
{
	unsigned char octets[INDEX_ONCE_KEY_LIMIT];
	const struct text key = { .ptr = (char *)octets,
		.len = index_once_key(user, once, octets) };
	struct index_once row;

	buf_clear(&engine->value);
	if (env_get(engine->env, NULL, ENV_ONCE, key, &engine->value, error) != 1)
		return -1;
	return index_once_decode(buf_text(&engine->value), &row) == 0 ? row.time : 0;
}

static enum store_failure look_all_up(
	struct engine *engine, uint32_t user, struct text keys, struct buf *times)
{
	struct message_reader reader = { .at = keys.ptr, .left = keys.len };
	int error = 0;

	for (size_t count = 0; reader.left; count++) {
		struct store_once_key key;
		if (count == STORE_ONCE_KEYS || store_once_key_unpack_from(&reader, &key) != 0 ||
			key.key.len == 0)
			return STORE_INVALID;
		message_add_i64(times, look_up(engine, user, key.key, &error));
		if (error)
			return engine_env_failure(engine, "once", error);
	}
	return STORE_OK;
}

void engine_once(
	struct engine *engine, struct text user, struct text keys, engine_done *done, void *owner)
{
	struct change *change = change_new(engine, done, owner);
	struct account *account = NULL;
	struct buf times = { 0 };
	enum store_failure failure = STORE_BUSY;

	if (!engine->broken && !engine->closing)
		failure = account_of(engine, user, &account);
	if (failure == STORE_OK)
		failure = look_all_up(engine, account->user->public.number, keys, &times);
	if (failure == STORE_OK)
		change->result.times = text_copy(change->arena, buf_text(&times));
	buf_release(&times);
	if (failure == STORE_OK)
		change_follow(change);
	else
		change_ready(change, failure);
}

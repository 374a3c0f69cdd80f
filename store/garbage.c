/*
 * Rows of users who are gone. Their numbers are never given again, so the rows harm nobody, and they are
 * taken away in small transactions while nothing waits for it.
 */
#include <endian.h>
#include <errno.h>
#include <string.h>

#include "base/log.h"
#include "store/engine_private.h"

enum {
	ROWS_AT_ONCE = 200,
	PAUSE_MILLISECONDS = 20,
	MAILBOX_ROWS =
		4, /* octets of a key that are the user's number, in every one of these tables */
};

static const enum env_table tables[] = { ENV_MAILBOXES, ENV_MESSAGES, ENV_EXPUNGED, ENV_ONCE };
enum { TABLES = sizeof(tables) / sizeof(tables[0]) };

struct collecting {
	uint32_t user;
	struct buf keys; /* u32 length and octets each */
	size_t count;
};

static uint32_t number(struct text key)
{
	uint32_t user = 0;

	if (key.len >= MAILBOX_ROWS)
		memcpy(&user, key.ptr, sizeof(user));
	return be32toh(user);
}

static struct text first_key(uint32_t user, uint32_t *key)
{
	*key = htobe32(user);
	return (struct text){ .ptr = (const char *)key, .len = sizeof(*key) };
}

static int collect(void *owner, struct text key, struct text value)
{
	struct collecting *collecting = owner;

	(void)value;
	if (number(key) != collecting->user || collecting->count >= ROWS_AT_ONCE)
		return 1;
	message_add_text(&collecting->keys, key);
	collecting->count++;
	return 0;
}

static int delete_collected(struct engine *engine, enum env_table table, struct text keys)
{
	struct message_reader in = { .at = keys.ptr, .left = keys.len };
	struct env_txn *txn;
	int error = env_begin(engine->env, &txn);

	if (error)
		return error;
	while (in.left && error == 0)
		error = env_delete(engine->env, txn, table, message_get_text(&in, 1024));
	if (error) {
		env_abort(txn);
		return error;
	}
	return env_commit(txn);
}

/* *left: there is more of that user. */
static int sweep(struct engine *engine, uint32_t user, bool *left)
{
	*left = false;
	for (size_t i = 0; i < TABLES; i++) {
		struct collecting collecting = { .user = user };
		uint32_t key;
		int error = env_scan(
			engine->env, tables[i], first_key(user, &key), collect, &collecting);
		if (error == 0 && collecting.count)
			error = delete_collected(engine, tables[i], buf_text(&collecting.keys));
		buf_release(&collecting.keys);
		if (error)
			return error;
		if (collecting.count) {
			*left = true;
			return 0;
		}
	}
	return 0;
}

static void go_on(struct engine *engine)
{
	event_add(engine->garbage_timer, &(struct timeval){ .tv_usec = PAUSE_MILLISECONDS * 1000 });
}

static void on_timer(evutil_socket_t fd, short what, void *context)
{
	struct engine *engine = context;
	uint32_t user;
	bool left;

	(void)fd, (void)what;
	if (engine->broken || buf_length(&engine->garbage) == 0)
		return;
	memcpy(&user, buf_text(&engine->garbage).ptr, sizeof(user));
	const int error = sweep(engine, user, &left);
	if (error)
		engine_env_failure(engine, "garbage", error);
	else if (!left)
		buf_consume(&engine->garbage, sizeof(user));
	if (error == 0 && buf_length(&engine->garbage))
		go_on(engine);
}

void garbage_add(struct engine *engine, uint32_t user)
{
	buf_add(&engine->garbage, (struct text){ .ptr = (const char *)&user, .len = sizeof(user) });
	go_on(engine);
}

static bool is_user(const struct engine *engine, uint32_t user)
{
	for (size_t i = 0; i < engine->user_count; i++) {
		if (engine->users[i]->public.number == user)
			return true;
	}
	return false;
}

/* From one user's rows to the next one's, over whatever lies between. */
int garbage_find(struct engine *engine)
{
	struct buf key = { 0 };
	uint32_t user, octets;
	int error = 0;

	for (size_t i = 0; i < TABLES && error == 0; i++) {
		for (user = 1; user && env_next(engine->env, tables[i], first_key(user, &octets),
					       &key, &error) == 1;
			user++) {
			user = number(buf_text(&key));
			if (!is_user(engine, user))
				buf_add(&engine->garbage, (struct text){ .ptr = (const char *)&user,
								  .len = sizeof(user) });
		}
	}
	buf_release(&key);
	return error;
}

int garbage_start(struct engine *engine)
{
	engine->garbage_timer = event_new(engine->loop, -1, 0, on_timer, engine);
	if (!engine->garbage_timer)
		return ENOMEM;
	if (buf_length(&engine->garbage))
		go_on(engine);
	return 0;
}

void garbage_free(struct engine *engine)
{
	if (engine->garbage_timer)
		event_free(engine->garbage_timer);
	engine->garbage_timer = NULL;
	buf_release(&engine->garbage);
}

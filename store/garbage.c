/*
 * What nobody can see any more: rows of users and mailboxes that are gone, whose numbers are never given
 * again, the files of deleted mailboxes, and messages that were retired. It harms nobody, and is taken away
 * a little at a time while nothing waits for it. Files go when a checkpoint has made everything durable
 * that recovery might make of them. Those that the disk does not let go are tried again after each further
 * one; what tells of them in the index stays until they are gone, so that a start finds them.
 */
#include <endian.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "base/log.h"
#include "store/garbage.h"
#include "store/mailbox.h"
#include "store/users.h"

enum {
	ROWS_AT_ONCE = 200,
	FILES_AT_ONCE = 200,
	PAUSE_MILLISECONDS = 20,
	USER_KEY = 4, /* octets of a key that are the user's number, in every one of these tables */
};

static const enum env_table tables[] = { ENV_MESSAGES, ENV_EXPUNGED, ENV_ONCE, ENV_EXPUNGING,
	ENV_COPYING, ENV_MAILBOXES };
enum { TABLES = sizeof(tables) / sizeof(tables[0]) };

struct garbage {
	STAILQ_ENTRY(garbage) link;
	struct index_mailbox_id id; /* mailbox 0: all that the user had */
	uint64_t shown;             /* of the change that made it so */
	char *directory;            /* NULL: gone, or there is none */
	bool refused;               /* by the disk, since the last checkpoint … */
	bool told;                  /* … or ever */
};

struct collecting {
	struct text prefix;
	struct buf keys; /* u32 length and octets each */
	size_t count;
};

static uint32_t number(struct text key)
{
	uint32_t user = 0;

	if (key.len >= USER_KEY)
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
	if (!text_begins(key, collecting->prefix) || collecting->count >= ROWS_AT_ONCE)
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

/* *left: there are more rows. Those of mailboxes come last: they tell that there may be others. */
static int sweep(struct engine *engine, struct index_mailbox_id id, bool *left)
{
	unsigned char key[INDEX_MAILBOX_KEY];

	*left = false;
	index_mailbox_key(id, key);
	for (size_t i = 0; i < TABLES; i++) {
		struct collecting collecting = { .prefix = { .ptr = (const char *)key,
							 .len = id.mailbox ? INDEX_MAILBOX_KEY
									   : USER_KEY } };
		/* What follows the user's number in this table is a key of somebody's making. */
		if (id.mailbox && tables[i] == ENV_ONCE)
			continue;
		int error =
			env_scan(engine->env, tables[i], collecting.prefix, collect, &collecting);
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

/* Not put off by who asks again meanwhile. */
static void go_on(struct engine *engine)
{
	if (engine->garbage_timer && !event_pending(engine->garbage_timer, EV_TIMEOUT, NULL))
		event_add(engine->garbage_timer,
			&(struct timeval){ .tv_usec = PAUSE_MILLISECONDS * 1000 });
}

/* ---- files ---- */

void garbage_retired(struct engine *engine, struct mailbox *mailbox, const char *leaf)
{
	if (buf_length(&mailbox->retired) == 0)
		LIST_INSERT_HEAD(&engine->retired, mailbox, retired_link);
	message_add_u64(&mailbox->retired, mailbox->copied);
	message_add_text(&mailbox->retired, names_base(leaf));
}

static void unlink_retired(struct engine *engine, struct mailbox *mailbox, unsigned *budget)
{
	const int fd = mailbox_directory(engine, mailbox);
	char path[sizeof("tmp/" MAILDIR_RETIRED) + MAILDIR_NAME_LIMIT];

	while (*budget && buf_length(&mailbox->retired)) {
		const struct text octets = buf_text(&mailbox->retired);
		struct message_reader in = { .at = octets.ptr, .left = octets.len };
		if (message_get_u64(&in, 0) > engine->checkpoint.covered)
			return;
		const struct text base = message_get_text(&in, MAILDIR_NAME_LIMIT);
		snprintf(path, sizeof(path), "tmp/" MAILDIR_RETIRED "%.*s", TEXT_ARG(base));
		/* What cannot be unlinked now is found in tmp/ by the next start. */
		if (fd >= 0)
			sys.unlinkat(fd, path, 0);
		--*budget;
		buf_consume(&mailbox->retired, octets.len - in.left);
	}
	if (buf_length(&mailbox->retired) == 0)
		LIST_REMOVE(mailbox, retired_link);
}

static void unlink_all_retired(struct engine *engine, unsigned *budget)
{
	struct mailbox *mailbox = LIST_FIRST(&engine->retired);

	while (mailbox && *budget) {
		struct mailbox *next = LIST_NEXT(mailbox, retired_link);
		unlink_retired(engine, mailbox, budget);
		mailbox = next;
	}
}

/* True: it is gone. */
static bool clear_directory(struct engine *engine, struct garbage *garbage, unsigned *budget)
{
	/* That of a user who was removed went along, and its path may be somebody else's by now. */
	const int error = users_with_number(engine, garbage->id.user)
				  ? folder_clear(engine->root, garbage->directory, budget)
				  : 0;

	if (error == EAGAIN)
		return false;
	garbage->refused = error != 0;
	if (error) {
		if (!garbage->told)
			LOG_WARNING("not-removed", LOG_STRING("directory", garbage->directory),
				LOG_ERRNO(error));
		garbage->told = true;
		/* It is tried again after the others, however soon the next checkpoint comes. */
		STAILQ_REMOVE(&engine->garbage, garbage, garbage, link);
		STAILQ_INSERT_TAIL(&engine->garbage, garbage, link);
		return false;
	}
	mem_free(garbage->directory);
	garbage->directory = NULL;
	return true;
}

/* ---- all of it ---- */

static void drop(struct engine *engine, struct garbage *garbage)
{
	STAILQ_REMOVE(&engine->garbage, garbage, garbage, link);
	mem_free(garbage->directory);
	mem_free(garbage);
}

/* The first one whose turn it is; NULL: none before the next checkpoint. */
static struct garbage *find_next(const struct engine *engine)
{
	struct garbage *garbage;

	STAILQ_FOREACH (garbage, &engine->garbage, link) {
		if (garbage->shown <= engine->checkpoint.covered && !garbage->refused)
			return garbage;
	}
	return NULL;
}

/* True: there is more to do at once. */
static bool take_away(struct engine *engine)
{
	unsigned budget = FILES_AT_ONCE;
	bool left;

	unlink_all_retired(engine, &budget);
	if (budget == 0)
		return true;
	struct garbage *garbage = find_next(engine);
	if (!garbage)
		return false;
	if (garbage->directory && !clear_directory(engine, garbage, &budget))
		return true;
	const int error = sweep(engine, garbage->id, &left);
	if (error) {
		engine_env_failure(engine, "garbage", error);
		return false;
	}
	if (!left)
		drop(engine, garbage);
	return true;
}

static void on_timer(evutil_socket_t fd, short what, void *context)
{
	struct engine *engine = context;

	(void)fd, (void)what;
	if (!engine->broken && take_away(engine))
		go_on(engine);
}

void garbage_after_checkpoint(struct engine *engine)
{
	struct garbage *garbage;

	STAILQ_FOREACH (garbage, &engine->garbage, link)
		garbage->refused = false;
	if (!STAILQ_EMPTY(&engine->garbage) || !LIST_EMPTY(&engine->retired))
		go_on(engine);
}

void garbage_add(
	struct engine *engine, struct index_mailbox_id id, const char *directory, uint64_t shown)
{
	struct garbage *garbage;

	STAILQ_FOREACH (garbage, &engine->garbage, link) {
		if (garbage->id.user == id.user && garbage->id.mailbox == id.mailbox)
			return;
	}
	garbage = mem_new(sizeof(*garbage));
	garbage->id = id;
	garbage->shown = shown;
	garbage->directory = directory ? mem_copy(directory, strlen(directory)) : NULL;
	STAILQ_INSERT_TAIL(&engine->garbage, garbage, link);
	go_on(engine);
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
			if (!users_with_number(engine, user))
				garbage_add(
					engine, (struct index_mailbox_id){ .user = user }, NULL, 0);
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
	if (!STAILQ_EMPTY(&engine->garbage))
		go_on(engine);
	return 0;
}

void garbage_free(struct engine *engine)
{
	if (engine->garbage_timer)
		event_free(engine->garbage_timer);
	engine->garbage_timer = NULL;
	while (!STAILQ_EMPTY(&engine->garbage))
		drop(engine, STAILQ_FIRST(&engine->garbage));
}

bool garbage_has_user(const struct engine *engine, uint32_t user)
{
	const struct garbage *garbage;

	STAILQ_FOREACH (garbage, &engine->garbage, link) {
		if (garbage->id.user == user && garbage->id.mailbox == 0)
			return true;
	}
	return false;
}

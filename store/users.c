/*
 * Users: all of them in memory (users_memory.c) and in the index. A text file beside the index
 * (users_file.c) is written after every change and before it is answered, so that an index that has to
 * be thrown away takes no account with it.
 */
#include <errno.h>
#include <string.h>

#include "base/log.h"
#include "store/change.h"
#include "store/create.h"
#include "store/garbage.h"
#include "store/hidden.h"
#include "store/mailbox.h"
#include "store/sasl.h"
#include "store/space.h"
#include "store/users.h"

/* ---- in the index ---- */

static int load_counters(struct engine *engine, struct text value)
{
	if (index_format(value) > INDEX_FORMAT)
		LOG_ERROR("index-of-a-newer-version", LOG_NUMBER("format", index_format(value)),
			LOG_NUMBER("known", INDEX_FORMAT));
	return index_counters_decode(value, &engine->counters);
}

static int load(void *owner, struct text key, struct text value)
{
	struct engine *engine = owner;
	struct index_user row;

	if (key.len == 0)
		return load_counters(engine, value);
	if (key.len > STORE_ADDRESS_LIMIT || index_user_decode(value, &row) != 0 ||
		text_find(row.hash, '\0') >= 0 || row.number >= engine->counters.next_user ||
		users_with_number(engine, row.number))
		return -1;
	struct user *user = users_insert(engine, key, row.number, row.hash);
	user->next_mailbox = row.next_mailbox;
	user->public.quota_octets = row.quota_octets;
	user->public.quota_messages = row.quota_messages;
	return 0;
}

struct loading {
	struct engine *engine;
	bool damaged;
};

static int load_one(void *owner, struct text key, struct text value)
{
	struct loading *loading = owner;

	loading->damaged = load(loading->engine, key, value) != 0;
	return loading->damaged;
}

/* From now on there may be rows that an earlier version cannot read. */
static int raise_format(struct engine *engine)
{
	struct env_txn *txn;
	int error = env_begin(engine->env, &txn);

	if (error)
		return error;
	error = users_put_counters(engine, txn);
	if (error == 0)
		return env_commit(txn);
	env_abort(txn);
	return error;
}

int users_load(struct engine *engine)
{
	struct loading loading = { .engine = engine };
	const int error = env_scan(engine->env, ENV_USERS, TEXT(""), load_one, &loading);

	if (error || loading.damaged || !engine->counters.next_user)
		return error ? error : EBADMSG;
	const int raised = engine->counters.version < INDEX_FORMAT ? raise_format(engine) : 0;
	return raised ? raised : directory_load(engine);
}

/* The row as the index has it, or as it is in memory. Its hash is in `stored` or the user's. */
static int row_of(struct engine *engine, struct env_txn *txn, const struct user *user,
	struct buf *stored, struct index_user *row)
{
	int error = 0;
	const int found =
		env_get(engine->env, txn, ENV_USERS, user->public.address, stored, &error);

	if (found == 1 && index_user_decode(buf_text(stored), row) != 0)
		return EBADMSG;
	if (found == 0)
		*row = (struct index_user){ .version = INDEX_VERSION,
			.quota_octets = user->public.quota_octets,
			.quota_messages = user->public.quota_messages,
			.hash = text_of(user->hash) };
	row->number = user->public.number;
	row->next_mailbox = user->next_mailbox;
	return error;
}

static int put_row(struct engine *engine, struct env_txn *txn, const struct user *user,
	const struct index_user *row)
{
	buf_clear(&engine->value);
	index_user_pack(&engine->value, row);
	return env_put(engine->env, txn, ENV_USERS, user->public.address, buf_text(&engine->value));
}

int users_put(struct engine *engine, struct env_txn *txn, const struct user *user, const char *hash)
{
	struct buf stored = { 0 };
	struct index_user row;
	int error = row_of(engine, txn, user, &stored, &row);

	if (error == 0 && hash != user->hash)
		row.hash = text_of(hash);
	if (error == 0)
		error = put_row(engine, txn, user, &row);
	buf_release(&stored);
	return error;
}

int users_put_quota(struct engine *engine, struct env_txn *txn, const struct user *user,
	uint64_t octets, uint64_t messages)
{
	struct buf stored = { 0 };
	struct index_user row;
	int error = row_of(engine, txn, user, &stored, &row);

	row.quota_octets = octets;
	row.quota_messages = messages;
	if (error == 0)
		error = put_row(engine, txn, user, &row);
	buf_release(&stored);
	return error;
}

int users_put_counters(struct engine *engine, struct env_txn *txn)
{
	buf_clear(&engine->value);
	engine->counters.version = INDEX_FORMAT;
	index_counters_pack(&engine->value, &engine->counters);
	return env_put(engine->env, txn, ENV_USERS, TEXT(""), buf_text(&engine->value));
}

/* ---- asked for ---- */

const struct engine_user *engine_user_find(const struct engine *engine, struct text address)
{
	const struct user *user = users_find((struct engine *)engine, address);

	return user && !user->hidden ? &user->public : NULL;
}

const struct engine_user *engine_users_next(const struct engine *engine, struct text after)
{
	for (size_t at = users_position(engine, after); at < engine->user_count; at++) {
		const struct user *user = engine->users[at];
		if (!user->hidden && !user->leaving && !text_equal(user->public.address, after))
			return &user->public;
	}
	return NULL;
}

uint64_t engine_directory_version(const struct engine *engine)
{
	return engine->directory_version;
}

static void start_writing(struct engine *engine);

static int write_file(void *owner)
{
	const struct engine *engine = owner;
	const struct text octets = buf_text(&engine->users_text);

	return sys_replace_file(engine->root, "users", octets.ptr, octets.len, S_IRUSR | S_IWUSR) ==
			       0
		       ? 0
		       : errno;
}

static void on_written(void *owner, int error)
{
	struct engine *engine = owner;
	struct change *change;

	if (error)
		LOG_ERROR("users-file", LOG_ERRNO(error));
	engine->users_behind = error != 0;
	while ((change = STAILQ_FIRST(&engine->users_writing)) != NULL) {
		STAILQ_REMOVE_HEAD(&engine->users_writing, link);
		/* The index has it, but an index may be lost before the file is made again. */
		if (error)
			change->result.failure = STORE_NOT_DURABLE;
		STAILQ_INSERT_TAIL(&engine->ready, change, link);
	}
	engine_round_soon(engine);
	start_writing(engine);
}

static void write_users(struct engine *engine)
{
	STAILQ_CONCAT(&engine->users_writing, &engine->users_waiting);
	buf_clear(&engine->users_text);
	users_print(engine, &engine->users_text);
	worker_start(engine->chores, write_file, on_written, engine);
}

static void start_writing(struct engine *engine)
{
	if (!STAILQ_EMPTY(&engine->users_waiting) && !worker_is_busy(engine->chores))
		write_users(engine);
}

void users_catch_up(struct engine *engine)
{
	if (engine->users_behind && !engine->broken && !worker_is_busy(engine->chores))
		write_users(engine);
}

void users_save(struct engine *engine, struct change *change)
{
	STAILQ_INSERT_TAIL(&engine->users_waiting, change, link);
	start_writing(engine);
}

void users_announce(struct engine *engine)
{
	engine->directory_version++;
	if (engine->options.directory)
		engine->options.directory(engine->options.owner, engine->directory_version);
}

/* What crypt(3) made, perhaps a blank and a verifier. */
static bool is_hash(const char *hash)
{
	const char *blank = strchr(hash, ' ');

	return *hash != '\0' && blank != hash && strlen(hash) <= INDEX_HASH_LIMIT &&
	       !strpbrk(hash, "\t\r\n") && (!blank || sasl_verifier_is_usable(text_of(blank + 1)));
}

/* ---- add ---- */

static bool added(struct change *change)
{
	struct user *user = change->context;

	user->hidden = false;
	users_announce(change->engine);
	users_save(change->engine, change);
	return true;
}

/* The number of a user must be later than that of whoever had this directory before. */
static void pass_by(struct engine *engine, struct text address)
{
	struct maildir_file file;
	struct buf keywords = { 0 };
	char path[MAILDIR_PATH_LIMIT + 1 + sizeof(MAILDIR_FILE)];
	char directory[MAILDIR_DIRECTORY_LIMIT + 1];
	size_t size;

	if (maildir_user_directory(address, directory) != 0)
		return;
	snprintf(path, sizeof(path), "%s/" MAILDIR_FILE, directory);
	char *octets = sys_read_file(engine->root, path, MAILDIR_FILE_LIMIT, &size);
	if (octets &&
		maildir_file_parse((struct text){ .ptr = octets, .len = size }, &file, &keywords) ==
			0 &&
		file.id.user >= engine->counters.next_user && file.id.user < UINT32_MAX - 1)
		engine->counters.next_user = file.id.user + 1;
	buf_release(&keywords);
	mem_free(octets);
}

static enum store_failure add(struct engine *engine, struct user *user, struct change *change)
{
	struct mailbox *inbox = NULL;
	struct account *account;
	struct env_txn *txn;
	enum store_failure failure = account_open(engine, user, &account);

	if (failure != STORE_OK)
		return failure;
	int error = env_begin(engine->env, &txn);
	if (error)
		return engine_env_failure(engine, "user-add", error);
	failure = create_within(engine, txn, change, account, TEXT("INBOX"), &inbox);
	if (failure == STORE_OK && ((error = users_put_counters(engine, txn)) != 0 ||
					   (error = users_put(engine, txn, user, user->hash)) != 0))
		failure = engine_env_failure(engine, "user-add", error);
	if (failure != STORE_OK) {
		env_abort(txn);
		if (inbox)
			create_undo(change, inbox);
		return failure;
	}
	if ((error = env_commit(txn)) != 0) {
		create_undo(change, inbox);
		return engine_env_failure(engine, "user-add", error);
	}
	change->context = user;
	change->settled = added;
	change_stage(change);
	return STORE_OK;
}

void engine_user_add(struct engine *engine, struct text address, const char *hash,
	engine_done *done, void *owner)
{
	char directory[MAILDIR_DIRECTORY_LIMIT + 1];
	struct change *change = change_new(engine, done, owner);
	enum store_failure failure;

	if (engine->broken) {
		failure = STORE_BUSY;
	} else if (address.len > STORE_ADDRESS_LIMIT || !is_hash(hash) ||
		   maildir_user_directory(address, directory) != 0) {
		failure = STORE_INVALID;
	} else if (users_find(engine, address) || directory_takes(engine, address)) {
		failure = STORE_ALREADY_EXISTS;
	} else if (engine_space_is_low(engine)) {
		failure = STORE_NO_SPACE;
	} else {
		pass_by(engine, address);
		struct user *user =
			users_insert(engine, address, engine->counters.next_user++, text_of(hash));
		user->hidden = true;
		failure = add(engine, user, change);
		if (failure != STORE_OK)
			users_remove(engine, user);
	}
	if (failure != STORE_OK)
		change_ready(change, failure);
}

/* ---- password ---- */

static bool password_set(struct change *change)
{
	struct user *user = users_find(change->engine, change->result.user);

	if (user)
		users_set_hash(user, text_of(change->context));
	users_save(change->engine, change);
	return true;
}

static enum store_failure store_hash(
	struct engine *engine, const struct user *user, const char *hash)
{
	struct env_txn *txn;
	int error = env_begin(engine->env, &txn);

	if (error == 0) {
		error = users_put(engine, txn, user, hash);
		if (error)
			env_abort(txn);
		else
			error = env_commit(txn);
	}
	return error ? engine_env_failure(engine, "user-password", error) : STORE_OK;
}

void engine_user_password(struct engine *engine, struct text address, const char *hash,
	engine_done *done, void *owner)
{
	struct change *change = change_new(engine, done, owner);
	const struct user *user = users_find(engine, address);
	enum store_failure failure;

	if (engine->broken || (user && user->leaving))
		failure = STORE_BUSY;
	else if (!user || user->hidden)
		failure = STORE_NO_SUCH_USER;
	else
		failure = is_hash(hash) ? store_hash(engine, user, hash) : STORE_INVALID;
	if (failure != STORE_OK) {
		change_ready(change, failure);
		return;
	}
	change->result.user = text_copy(change->arena, address);
	change->context = (char *)text_copy(change->arena, text_of(hash)).ptr;
	change->settled = password_set;
	change_stage(change);
}

/* ---- remove ---- */

static bool removed(struct change *change)
{
	struct user *user = change->context;

	garbage_add(
		change->engine, (struct index_mailbox_id){ .user = user->public.number }, NULL, 0);
	users_remove(change->engine, user);
	users_announce(change->engine);
	users_save(change->engine, change);
	return true;
}

static enum store_failure is_in_use(const struct account *account)
{
	if (account->orphans)
		return STORE_LOCKED;
	for (size_t i = 0; i < account->count; i++) {
		if (!LIST_EMPTY(&account->mailboxes[i]->views))
			return STORE_LOCKED;
		/* What is left of a copy goes with the user's rows. */
		if (account->mailboxes[i]->pins > hidden_is_left(account->mailboxes[i]))
			return STORE_BUSY;
	}
	return STORE_OK;
}

static int log_aside(struct engine *engine, struct env_txn *txn, struct change *change,
	const struct account *account)
{
	char directory[MAILDIR_DIRECTORY_LIMIT + 1];
	const struct user *user = account->user;
	const struct mailbox *inbox = account_find((struct account *)account, TEXT("INBOX"));

	if (!inbox || maildir_user_directory(user->public.address, directory) != 0)
		return EBADMSG;
	struct effect *effect = change_effect(change, EFFECT_ASIDE, NULL);
	effect->from = text_copy(change->arena, text_of(directory)).ptr;
	/* "mail/DOMAIN/LOCAL" becomes "removed/DOMAIN/LOCAL.NUMBER": the number makes it unique. */
	effect->to = text_format(
		change->arena, "removed/%s.%u", directory + strlen("mail/"), user->public.number)
			     .ptr;
	struct journal_aside record = { .user = inbox->id.user,
		.mailbox = inbox->id.mailbox,
		.directory = text_of(effect->from),
		.aside = text_of(effect->to) };
	if (record.aside.len > MAILDIR_PATH_LIMIT)
		return ENAMETOOLONG;
	journal_begin(&engine->record, JOURNAL_ASIDE);
	journal_aside_pack(&engine->record, &record);
	journal_seal(&engine->record);
	return env_log(engine->env, txn, &engine->record);
}

static int delete_rows(struct engine *engine, struct env_txn *txn, const struct account *account)
{
	int error = env_delete(engine->env, txn, ENV_USERS, account->user->public.address);

	for (size_t i = 0; i < account->count && error == 0; i++) {
		unsigned char key[INDEX_MAILBOX_KEY];
		index_mailbox_key(account->mailboxes[i]->id, key);
		error = env_delete(engine->env, txn, ENV_MAILBOXES,
			(struct text){ .ptr = (char *)key, .len = sizeof(key) });
	}
	return error;
}

static enum store_failure remove_user(
	struct engine *engine, struct user *user, struct change *change)
{
	struct account *account;
	struct env_txn *txn;
	enum store_failure failure = account_look(engine, user->public.address, &account);

	if (failure == STORE_OK)
		failure = is_in_use(account);
	if (failure != STORE_OK)
		return failure;
	int error = env_begin(engine->env, &txn);
	if (error)
		return engine_env_failure(engine, "user-remove", error);
	error = log_aside(engine, txn, change, account);
	if (error == 0)
		error = delete_rows(engine, txn, account);
	if (error)
		env_abort(txn);
	else
		error = env_commit(txn);
	if (error)
		return engine_env_failure(engine, "user-remove", error);
	user->leaving = true;
	change->context = user;
	change->settled = removed;
	change_stage(change);
	return STORE_OK;
}

void engine_user_remove(struct engine *engine, struct text address, engine_done *done, void *owner)
{
	struct change *change = change_new(engine, done, owner);
	struct user *user = users_find(engine, address);
	enum store_failure failure;

	if (engine->broken || (user && user->leaving))
		failure = STORE_BUSY;
	else if (!user || user->hidden)
		failure = STORE_NO_SUCH_USER;
	else
		failure = remove_user(engine, user, change);
	if (failure != STORE_OK)
		change_ready(change, failure);
}

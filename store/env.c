#include "store/env.h"

#include <db.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/log.h"
#include "base/mem.h"
#include "base/sys.h"
#include "store/ahead.h"
#include "store/journal.h"

enum {
	LOG_BUFFER = 4 << 20,
	LOG_FIRST = 4 << 20, /* the one file that is not made ahead; not less than the buffer */
	LOG_AHEAD =
		1
		<< 20, /* so much in the last file (of a small one a quarter), and the next is worth making */
	LOG_FETCH =
		1 << 20, /* octets that are brought into memory together, before they are written */
	PAGE = 4096,
	SCAN_BUFFER = 256 * 1024,
	SCAN_FIRST = 16 * 1024, /* of which the first read uses: often it is all */
	KEY_LIMIT = 1024,
	DEFAULT_CACHE = 32 << 20,
	TRANSACTIONS = 16,
};

struct env {
	DB_ENV *env;
	DB *tables[ENV_TABLES];
	struct env_recovery recovery;
	uint64_t logged;
	uint64_t log_octets; /* of a file */
	struct ahead *ahead;
	DB_LSN last;          /* of our own records */
	DB_LSN fetched;       /* the end of what was brought into memory */
	uint32_t ahead_tried; /* the log file during which the next one was last asked for */
	bool panic;
	char *scan_buffer;
};

static const char *const files[ENV_TABLES] = { "users.db", "mailboxes.db", "messages.db",
	"expunged.db", "once.db", "directory.db", "expunging.db", "copying.db" };

/*
 * Recovery ends with a checkpoint that Berkeley DB takes by itself, and from then on nothing before it
 * is ever redone. So what was redone must be on disk before that checkpoint is: Berkeley DB's writes
 * come through here, and the first one after a redo waits for a sync of the mail.
 */
static struct {
	const struct env_recovery *recovery;
	bool unsynced;
	/* Berkeley DB makes a panic of them, and tells nobody why. */
	bool no_space;
	int failed; /* the first error of a redo or undo */
} recovering;

/*
 * A failed sync is said once, and the next one has nothing to say (resync.h). Berkeley DB asks up to a
 * hundred times after EIO, and has another way to write what was not written: it gets the first answer ever
 * after.
 */
static struct {
	_Atomic int error;
	void (*failed)(void *owner, int error);
	void *owner;
} syncing;

/* Of the one environment that is open: Berkeley DB tells its open() nothing. */
static struct ahead *next_log;

/* 0, or an errno, which is what Berkeley DB wants of it. */
static int sync_file(int fd)
{
	if (syncing.error)
		return syncing.error;
	while (sys.fdatasync(fd) != 0) {
		const int error = errno;
		if (error == EINTR)
			continue;
		LOG_ERROR("sync-failed", LOG_ERRNO(error));
		if (syncing.failed)
			syncing.failed(syncing.owner, error);
		syncing.error = error;
		return error;
	}
	return 0;
}

bool env_sync_failed(void)
{
	return syncing.error != 0;
}

/*
 * Nothing is written after a sync that failed: a page of a table would be on the disk without the records
 * that made it what it is.
 */
static int sync_redone(void)
{
	int error = syncing.error;

	if (error == 0 && !recovering.unsynced)
		return 0;
	if (error == 0)
		error = recovering.recovery->sync(recovering.recovery->owner);
	if (error) {
		syncing.error = error;
		errno = error;
		return -1;
	}
	recovering.unsynced = false;
	return 0;
}

static ssize_t noted(ssize_t written)
{
	if (written < 0 && (errno == ENOSPC || errno == EDQUOT))
		recovering.no_space = true;
	return written;
}

static ssize_t write_after_sync(int fd, const void *octets, size_t size)
{
	return sync_redone() == 0 ? noted(sys.write(fd, octets, size)) : -1;
}

static ssize_t pwrite_after_sync(int fd, const void *octets, size_t size, off_t offset)
{
	return sync_redone() == 0 ? noted(pwrite(fd, octets, size, offset)) : -1;
}

static int open_file(const char *path, int flags, ...)
{
	va_list rest;

	va_start(rest, flags);
	const int mode = va_arg(rest, int); /* Berkeley DB gives it always */
	va_end(rest);
	return ahead_open(next_log, path, flags, mode);
}

static int dispatch(DB_ENV *db_env, DBT *record, DB_LSN *lsn, db_recops operation)
{
	const struct env *env = db_env->app_private;
	const struct text octets = { .ptr = record->data, .len = record->size };
	int error = 0;

	if (octets.len < JOURNAL_HEADER)
		return DB_RUNRECOVERY;
	if (operation == DB_TXN_FORWARD_ROLL || operation == DB_TXN_APPLY) {
		error = env->recovery.redo(env->recovery.owner, octets);
		recovering.unsynced = true;
	} else if (operation == DB_TXN_BACKWARD_ROLL) {
		error = env->recovery.undo(env->recovery.owner, octets);
	}
	/* An abort (DB_TXN_ABORT) undoes nothing here: files change only after the commit. */
	if (error && !recovering.failed)
		recovering.failed = error;
	memcpy(lsn, octets.ptr + 8, sizeof(*lsn));
	return error;
}

static void report(const DB_ENV *db_env, const char *prefix, const char *message)
{
	(void)db_env, (void)prefix;
	LOG_WARNING("berkeley-db", LOG_STRING("says", message));
}

static int note(struct env *env, int error)
{
	if (error == DB_RUNRECOVERY)
		env->panic = true;
	return error;
}

static uint32_t least(uint64_t a, uint64_t b)
{
	return (uint32_t)(a < b ? a : b);
}

static int open_environment(struct env *env, const struct env_options *options)
{
	const uint64_t cache = options->cache_octets ? options->cache_octets : DEFAULT_CACHE;
	DB_ENV *db_env = env->env;
	int error;

	db_env->app_private = env;
	db_env->set_errcall(db_env, report);
	if ((error = db_env->set_app_dispatch(db_env, dispatch)) != 0 ||
		(error = db_env->set_lg_bsize(db_env, least(LOG_BUFFER, env->log_octets))) != 0 ||
		(error = db_env->set_lg_max(db_env, least(LOG_FIRST, env->log_octets))) != 0 ||
		(error = db_env->set_tx_max(db_env, TRANSACTIONS)) != 0 ||
		(error = db_env->set_cachesize(db_env, (uint32_t)(cache >> 30),
			 (uint32_t)(cache & ((1U << 30) - 1)), 1)) != 0)
		return error;
	return db_env->open(db_env, options->home,
		DB_CREATE | DB_PRIVATE | DB_THREAD | DB_INIT_MPOOL | DB_INIT_LOG | DB_INIT_TXN |
			DB_RECOVER,
		S_IRUSR | S_IWUSR);
}

static int open_table(struct env *env, enum env_table table, bool create)
{
	DB *db;
	int error = db_create(&db, env->env, 0);

	if (error)
		return error;
	env->tables[table] = db;
	/* A page that rotted on disk must be found out, not believed. */
	if ((error = db->set_flags(db, DB_CHKSUM)) != 0 ||
		(error = db->set_pagesize(db, PAGE)) != 0)
		return error;
	return db->open(db, NULL, files[table], NULL, DB_BTREE,
		DB_THREAD | DB_AUTO_COMMIT | (create ? DB_CREATE : 0), S_IRUSR | S_IWUSR);
}

static int open_all(struct env *env, const struct env_options *options)
{
	int error;

	recovering.recovery = &env->recovery;
	recovering.unsynced = recovering.no_space = false;
	recovering.failed = 0;
	syncing.error = 0;
	syncing.failed = options->unsynced;
	syncing.owner = options->owner;
	if ((error = db_env_set_func_fsync(sync_file)) != 0 ||
		(error = db_env_set_func_write(write_after_sync)) != 0 ||
		(error = db_env_set_func_pwrite(pwrite_after_sync)) != 0 ||
		(error = db_env_set_func_open(open_file)) != 0 ||
		(error = db_env_create(&env->env, 0)) != 0 ||
		(error = open_environment(env, options)) != 0)
		return error;
	next_log = env->ahead = ahead_new(options->home, options->log_octets);
	if (!next_log)
		return errno;
	if ((error = env->env->set_lg_max(env->env, (uint32_t)options->log_octets)) != 0)
		return error;
	/* Nothing was written after the last redo: there was no checkpoint either, but this costs little. */
	if (sync_redone() != 0)
		return errno;
	for (int table = 0; table < ENV_TABLES; table++) {
		if ((error = open_table(env, (enum env_table)table,
			     options->create || table >= ENV_EXPUNGING)) != 0)
			return error;
	}
	return 0;
}

int env_open(struct env **env, const struct env_options *options)
{
	*env = mem_new(sizeof(**env));
	(*env)->recovery = options->recovery;
	(*env)->log_octets = options->log_octets;
	int error = open_all(*env, options);
	/* A disk that does not write, or has no room, is not damage. */
	if (error && syncing.error)
		error = syncing.error;
	else if (error && recovering.no_space)
		error = ENOSPC;
	else if (error && recovering.failed)
		error = recovering.failed;
	if (error)
		env_close(env);
	else
		(*env)->scan_buffer = mem_new(SCAN_BUFFER);
	return error;
}

void env_close(struct env **env)
{
	if (!*env)
		return;
	for (int table = 0; table < ENV_TABLES; table++) {
		DB *db = (*env)->tables[table];
		if (db)
			db->close(db, 0);
	}
	if ((*env)->env)
		(*env)->env->close((*env)->env, 0);
	next_log = NULL;
	ahead_free(&(*env)->ahead);
	recovering.recovery = NULL;
	recovering.unsynced = false;
	syncing.failed = NULL;
	mem_free((*env)->scan_buffer);
	mem_free(*env);
	*env = NULL;
}

bool env_is_damage(int error)
{
	switch (error) {
	case 0:
	case ENOSPC:
	case EDQUOT:
	case EMFILE:
	case ENFILE:
	case ENOMEM:
	case EACCES:
	case EPERM:
	case EROFS:
	case EIO:
	case EAGAIN:
	case EINTR:
		return false;
	default:
		return true;
	}
}

enum store_failure env_failure(int error)
{
	switch (error) {
	case 0:
		return STORE_OK;
	case ENOSPC:
	case EDQUOT:
	case EFBIG:
		return STORE_NO_SPACE;
	case ENOMEM:
	case EMFILE:
	case ENFILE:
	case EAGAIN:
	case EINTR:
		return STORE_BUSY;
	default:
		return STORE_DAMAGED;
	}
}

const char *env_error_text(int error)
{
	return db_strerror(error);
}

bool env_is_in_panic(const struct env *env)
{
	return env->panic;
}

/* ---- transactions ---- */

int env_begin(struct env *env, struct env_txn **txn)
{
	DB_TXN *begun = NULL;
	const int error = env->env->txn_begin(env->env, NULL, &begun, 0);

	*txn = (struct env_txn *)begun;
	return note(env, error);
}

int env_commit(struct env_txn *txn)
{
	DB_TXN *ending = (DB_TXN *)txn;

	return ending->commit(ending, DB_TXN_NOSYNC);
}

void env_abort(struct env_txn *txn)
{
	DB_TXN *ending = (DB_TXN *)txn;
	const int error = ending->abort(ending);

	if (error)
		LOG_ERROR("abort-failed", LOG_STRING("error", db_strerror(error)));
}

int env_log(struct env *env, struct env_txn *txn, struct buf *record)
{
	DB_TXN *within = (DB_TXN *)txn;
	const uint32_t id = within->id(within);
	struct text octets = buf_text(record);
	DBT data = { .data = (char *)octets.ptr, .size = (uint32_t)octets.len };
	/* Where the record's place goes when the transaction has begun in the log already. */
	DB_LSN elsewhere;
	DB_LSN *begin = &elsewhere;
	DB_LSN *last;

	DB_SET_TXN_LSNP(within, &begin, &last);
	memcpy((char *)data.data + 4, &id, sizeof(id));
	memcpy((char *)data.data + 8, last, sizeof(*last));
	const int error = env->env->log_put(env->env, begin, &data, 0);
	if (error == 0) {
		*last = env->last = *begin;
		env->logged += octets.len;
	}
	return note(env, error);
}

/* ---- tables ---- */

static DBT in(struct text octets)
{
	return (DBT){ .data = (char *)octets.ptr, .size = (uint32_t)octets.len };
}

int env_put(struct env *env, struct env_txn *txn, enum env_table table, struct text key,
	struct text value)
{
	DBT k = in(key), v = in(value);
	DB *db = env->tables[table];

	env->logged += key.len + value.len;
	return note(env, db->put(db, (DB_TXN *)txn, &k, &v, 0));
}

int env_delete(struct env *env, struct env_txn *txn, enum env_table table, struct text key)
{
	DBT k = in(key);
	DB *db = env->tables[table];
	const int error = db->del(db, (DB_TXN *)txn, &k, 0);

	env->logged += key.len;
	return error == DB_NOTFOUND ? 0 : note(env, error);
}

int env_get(struct env *env, struct env_txn *txn, enum env_table table, struct text key,
	struct buf *value, int *error)
{
	DB *db = env->tables[table];

	buf_clear(value);
	for (size_t size = 512;; size *= 2) {
		DBT k = in(key);
		DBT v = { .data = buf_room(value, size),
			.ulen = (uint32_t)size,
			.flags = DB_DBT_USERMEM };
		*error = db->get(db, (DB_TXN *)txn, &k, &v, 0);
		if (*error == 0)
			buf_commit(value, v.size);
		if (*error == DB_BUFFER_SMALL && size < (1 << 20))
			continue;
		if (*error == DB_NOTFOUND)
			return *error = 0;
		note(env, *error);
		return *error ? -1 : 1;
	}
}

/* What one read brought. 0 to go on, 1 when each() has had enough. */
static int hand_out(DBT *bulk, int (*each)(void *, struct text, struct text), void *owner)
{
	void *at;

	DB_MULTIPLE_INIT(at, bulk);
	for (;;) {
		unsigned char *key, *value;
		uint32_t key_size, value_size;
		DB_MULTIPLE_KEY_NEXT(at, bulk, key, key_size, value, value_size);
		if (!at)
			return 0;
		if (each(owner, (struct text){ .ptr = (char *)key, .len = key_size },
			    (struct text){ .ptr = (char *)value, .len = value_size }) != 0)
			return 1;
	}
}

int env_scan(struct env *env, enum env_table table, struct text from,
	int (*each)(void *owner, struct text key, struct text value), void *owner)
{
	DB *db = env->tables[table];
	DBC *cursor;
	int error = db->cursor(db, NULL, &cursor, DB_CURSOR_BULK);

	if (error)
		return note(env, error);
	DBT key = in(from);
	DBT bulk = { .data = env->scan_buffer, .ulen = SCAN_FIRST, .flags = DB_DBT_USERMEM };
	uint32_t step = from.len ? DB_SET_RANGE : DB_FIRST;
	while ((error = cursor->get(cursor, &key, &bulk, step | DB_MULTIPLE_KEY)) == 0 &&
		hand_out(&bulk, each, owner) == 0) {
		key = (DBT){ 0 };
		bulk.ulen = SCAN_BUFFER;
		step = DB_NEXT;
	}
	const int closed = cursor->close(cursor);
	return note(env, error && error != DB_NOTFOUND ? error : closed);
}

int env_next(struct env *env, enum env_table table, struct text from, struct buf *found, int *error)
{
	DB *db = env->tables[table];
	DBC *cursor;

	*error = note(env, db->cursor(db, NULL, &cursor, 0));
	if (*error)
		return -1;
	buf_clear(found);
	char *room = buf_room(found, KEY_LIMIT);
	memcpy(room, from.ptr, from.len);
	DBT key = {
		.data = room, .size = (uint32_t)from.len, .ulen = KEY_LIMIT, .flags = DB_DBT_USERMEM
	};
	DBT value = { .flags = DB_DBT_USERMEM | DB_DBT_PARTIAL };
	*error = note(env, cursor->get(cursor, &key, &value, DB_SET_RANGE));
	if (*error == 0)
		buf_commit(found, key.size);
	cursor->close(cursor);
	if (*error == DB_NOTFOUND)
		return *error = 0;
	return *error ? -1 : 1;
}

/* ---- any thread ---- */

int env_flush(struct env *env)
{
	return env->env->log_flush(env->env, NULL);
}

/*
 * DB_ARCH_REMOVE would use absolute paths, and the directories above the store's own need not let the
 * store through.
 */
static int remove_old_logs(struct env *env)
{
	const char *home;
	char **names = NULL;
	char path[PATH_MAX];
	int error = env->env->get_home(env->env, &home);

	if (error == 0)
		error = env->env->log_archive(env->env, &names, 0);
	for (char **name = names; error == 0 && name && *name; name++) {
		snprintf(path, sizeof(path), "%s/%s", home, *name);
		if (sys.unlinkat(AT_FDCWD, path, 0) != 0 && errno != ENOENT)
			error = errno;
	}
	free(names);
	return error;
}

int env_checkpoint(struct env *env)
{
	const int error = env->env->txn_checkpoint(env->env, 0, 0, 0);

	return error ? error : remove_old_logs(env);
}

bool env_wants_room(struct env *env)
{
	if (env->last.offset < least(LOG_AHEAD, env->log_octets / 4) ||
		env->ahead_tried == env->last.file || ahead_is_taken_care_of(env->ahead))
		return false;
	env->ahead_tried = env->last.file;
	return true;
}

int env_make_room(struct env *env)
{
	return ahead_make(env->ahead);
}

bool env_wants_log(struct env *env)
{
	if (env->last.file == 0 || (env->last.file == env->fetched.file &&
					   env->last.offset + LOG_FETCH / 2 < env->fetched.offset))
		return false;
	env->fetched = env->last;
	env->fetched.offset += LOG_FETCH;
	return true;
}

void env_fetch_log(struct env *env)
{
	ahead_fetch(env->ahead, env->fetched.file, env->fetched.offset - LOG_FETCH, LOG_FETCH);
}

uint64_t env_logged(const struct env *env)
{
	return env->logged;
}

/*
 * The Berkeley DB environment: index and write-ahead log. Only env.c and
 * env_salvage.c include <db.h>.
 *
 * The environment is private to this process (DB_PRIVATE) and has no lock subsystem: only the main
 * thread reads or writes tables, one writing transaction at a time. Other threads call nothing but
 * env_flush(), env_checkpoint(), env_make_room() and env_fetch_log().
 *
 * Results are 0 or an error: an errno, or one of Berkeley DB's. env_failure() names it.
 */
#ifndef STORE_ENV_H
#define STORE_ENV_H

#include <stdbool.h>

#include "base/buf.h"
#include "store/failure.h"

struct env;
struct env_txn;

enum env_table {
	ENV_USERS,
	ENV_MAILBOXES,
	ENV_MESSAGES,
	ENV_EXPUNGED,
	ENV_ONCE,
	ENV_DIRECTORY,
	ENV_EXPUNGING, /* these two came later: made where an index has none */
	ENV_COPYING,
	ENV_TABLES
};

/* What recovery does with our own records. */
struct env_recovery {
	/* A committed one, in the order of the log. 0, or an error, which ends the recovery. */
	int (*redo)(void *owner, struct text record);
	/* One whose transaction never ended. */
	int (*undo)(void *owner, struct text record);
	/* Everything redone so far must reach the disk now. 0, or an errno. */
	int (*sync)(void *owner);
	void *owner;
};

struct env_options {
	const char *home;
	uint64_t cache_octets;
	uint64_t log_octets; /* of a log file, 1 MiB or more: a record must fit into one */
	bool create;         /* make what is not there; otherwise a missing table is an error */
	struct env_recovery recovery;
	/* A sync of the log or of a table failed (resync.h). In any thread, before anybody else is told. */
	void (*unsynced)(void *owner, int error);
	void *owner;
};

/* Opens with recovery. *env is NULL after an error. One environment per process at a time. */
int env_open(struct env **env, const struct env_options *options);
void env_close(struct env **env);

/*
 * The log of an environment that cannot be opened any more: every record of ours whose transaction was
 * committed, in order, as far as the log can be read. 0, or the first error of redo().
 */
int env_salvage(const char *home, const struct env_recovery *recovery);

/* Whether the error means that what is on disk is no good, rather than the moment. */
bool env_is_damage(int error);
enum store_failure env_failure(int error);
const char *env_error_text(int error);

/*
 * A sync of the environment that is open failed. From then on every other one fails, too, and so does
 * whatever needs one: only a new start helps.
 */
bool env_sync_failed(void);

/* Berkeley DB has found itself inconsistent: only a new start helps. */
bool env_is_in_panic(const struct env *env);

int env_begin(struct env *env, struct env_txn **txn);
/* Not durable yet: that takes an env_flush() that begins after it. The transaction is over in any case. */
int env_commit(struct env_txn *txn);
void env_abort(struct env_txn *txn);

/* A sealed record of journal.h, as part of the transaction. */
int env_log(struct env *env, struct env_txn *txn, struct buf *record);

int env_put(struct env *env, struct env_txn *txn, enum env_table table, struct text key,
	struct text value);
/* 0 also when there was no such key. */
int env_delete(struct env *env, struct env_txn *txn, enum env_table table, struct text key);
/* 1: into value; 0: no such key; -1 with the error in *error. txn may be NULL. */
int env_get(struct env *env, struct env_txn *txn, enum env_table table, struct text key,
	struct buf *value, int *error);

/*
 * From the key on (or the next one), in order, until each() gives anything but 0 or the table ends.
 * each() must not change tables. Texts are valid during the call only.
 */
int env_scan(struct env *env, enum env_table table, struct text from,
	int (*each)(void *owner, struct text key, struct text value), void *owner);

/* The first key from this one on, into found. 1; 0: there is none; -1 with the error in *error. */
int env_next(
	struct env *env, enum env_table table, struct text from, struct buf *found, int *error);

/* ---- any thread ---- */

/* All that was committed before is durable after. */
int env_flush(struct env *env);

/* Tables to disk, a checkpoint into the log, and away with log files that nothing needs any more. */
int env_checkpoint(struct env *env);

/* Make the next log file ahead of time, so that flushes into it are fast. 0, or an errno: no harm done. */
int env_make_room(struct env *env);

/* Bring the part of the log file that env_wants_log() spoke of into memory. */
void env_fetch_log(struct env *env);

/* ---- main thread ---- */

/* Now is the time for env_make_room(): true once for each log file, when it fills. */
bool env_wants_room(struct env *env);

/* Now is the time for env_fetch_log(), which must not be under way: true once for each part. */
bool env_wants_log(struct env *env);

/* Octets ever put into the log. */
uint64_t env_logged(const struct env *env);

#endif

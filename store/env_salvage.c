/*
 * The log without its environment. Records of ours wait for the commit of their transaction, as
 * Berkeley DB writes it:
 *
 *	offset 0  u32 type 10         8  u32 u32 previous record
 *	       4  u32 transaction    16  u32 1: commit
 */
#include <db.h>
#include <stdlib.h>
#include <string.h>
#include <sys/queue.h>
#include <sys/stat.h>

#include "base/log.h"
#include "base/mem.h"
#include "store/env.h"
#include "store/journal.h"

enum { END_OF_TRANSACTION = 10, COMMIT = 1 };

struct waiting {
	STAILQ_ENTRY(waiting) link;
	uint32_t transaction;
	size_t size;
	char record[];
};

STAILQ_HEAD(waiting_list, waiting);

static void keep(struct waiting_list *list, uint32_t transaction, struct text record)
{
	struct waiting *waiting = mem_new(sizeof(*waiting) + record.len);

	waiting->transaction = transaction;
	waiting->size = record.len;
	memcpy(waiting->record, record.ptr, record.len);
	STAILQ_INSERT_TAIL(list, waiting, link);
}

static int end(struct waiting_list *list, uint32_t transaction, bool commit,
	const struct env_recovery *recovery)
{
	struct waiting_list others = STAILQ_HEAD_INITIALIZER(others);
	struct waiting *waiting;
	int error = 0;

	while ((waiting = STAILQ_FIRST(list)) != NULL) {
		STAILQ_REMOVE_HEAD(list, link);
		if (waiting->transaction != transaction) {
			STAILQ_INSERT_TAIL(&others, waiting, link);
			continue;
		}
		if (commit && error == 0)
			error = recovery->redo(recovery->owner,
				(struct text){ .ptr = waiting->record, .len = waiting->size });
		mem_free(waiting);
	}
	STAILQ_CONCAT(list, &others);
	return error;
}

static int look(struct waiting_list *list, struct text record, const struct env_recovery *recovery)
{
	uint32_t type, transaction, outcome;

	if (record.len < JOURNAL_HEADER)
		return 0;
	memcpy(&type, record.ptr, sizeof(type));
	memcpy(&transaction, record.ptr + 4, sizeof(transaction));
	if (type > JOURNAL_FIRST_TYPE) {
		keep(list, transaction, record);
		return 0;
	}
	if (type != END_OF_TRANSACTION)
		return 0;
	memcpy(&outcome, record.ptr + 16, sizeof(outcome));
	return end(list, transaction, outcome == COMMIT, recovery);
}

static int read_log(DB_ENV *db_env, const struct env_recovery *recovery)
{
	struct waiting_list list = STAILQ_HEAD_INITIALIZER(list);
	struct waiting *waiting;
	DB_LOGC *cursor;
	DBT record = { .flags = DB_DBT_REALLOC };
	DB_LSN lsn;
	int error = 0;

	if (db_env->log_cursor(db_env, &cursor, 0) != 0)
		return 0;
	uint32_t step = DB_FIRST;
	while (error == 0 && cursor->get(cursor, &lsn, &record, step) == 0) {
		error = look(
			&list, (struct text){ .ptr = record.data, .len = record.size }, recovery);
		step = DB_NEXT;
	}
	cursor->close(cursor, 0);
	free(record.data);
	while ((waiting = STAILQ_FIRST(&list)) != NULL) {
		STAILQ_REMOVE_HEAD(&list, link);
		mem_free(waiting);
	}
	return error;
}

static void report(const DB_ENV *db_env, const char *prefix, const char *message)
{
	(void)db_env, (void)prefix;
	LOG_WARNING("berkeley-db", LOG_STRING("says", message));
}

int env_salvage(const char *home, const struct env_recovery *recovery)
{
	DB_ENV *db_env;
	int error = db_env_create(&db_env, 0);

	if (error)
		return error;
	db_env->set_errcall(db_env, report);
	/* A log that cannot be opened holds nothing that could be had. */
	if (db_env->open(db_env, home, DB_CREATE | DB_PRIVATE | DB_INIT_LOG, S_IRUSR | S_IWUSR) ==
		0)
		error = read_log(db_env, recovery);
	db_env->close(db_env, 0);
	return error;
}

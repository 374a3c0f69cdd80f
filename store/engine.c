/*
 * Opening and closing the store, and the round that runs when something happened.
 */
#include "store/engine.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>

#include "base/log.h"
#include "store/once_keys.h"
#include "store/redo.h"

enum {
	LOG_MOST = 32 << 20, /* octets of a log file */
	LOG_LEAST = 4 << 20,
	LOG_PART = 16, /* of a small disk, between these two */
	ASIDE_TRIES = 1000,
};

/* There while the index is not to be believed: the next start throws it away. */
#define SUSPECT "env.suspect"

int64_t engine_now(void)
{
	struct timespec now;

	clock_gettime(CLOCK_REALTIME, &now);
	return (int64_t)now.tv_sec * 1000000000 + now.tv_nsec;
}

uint64_t engine_first_modseq(void)
{
	return (uint64_t)engine_now() / 1000;
}

int64_t engine_nanoseconds(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (int64_t)now.tv_sec * 1000000000 + now.tv_nsec;
}

int64_t engine_ticks(void)
{
	return engine_nanoseconds() / 1000000;
}

/* ---- failures ---- */

void engine_break(struct engine *engine, const char *event, const char *detail)
{
	if (engine->broken)
		return;
	LOG_ERROR(event, LOG_STRING("error", detail));
	engine->broken = true;
	engine_round_soon(engine);
}

static void leave_note(struct engine *engine, const char *note)
{
	if (!engine->broken &&
		sys_replace_file(engine->root, SUSPECT, note, strlen(note), S_IRUSR | S_IWUSR) != 0)
		LOG_ERROR("suspect", LOG_ERRNO(errno));
}

enum store_failure engine_damaged(struct engine *engine, const char *where)
{
	leave_note(engine, "The index was found damaged; it is rebuilt at the next start.\n");
	engine_break(engine, "index-damaged", where);
	return STORE_DAMAGED;
}

enum store_failure engine_env_failure(struct engine *engine, const char *where, int error)
{
	const enum store_failure failure = env_failure(error);

	if (env_is_in_panic(engine->env))
		return engine_damaged(engine, where);
	LOG_WARNING(
		"index-error", LOG_STRING("at", where), LOG_STRING("error", env_error_text(error)));
	return failure;
}

enum store_failure engine_errno_failure(int error)
{
	return error == EBUSY ? STORE_BUSY : env_failure(error);
}

void engine_rebuild(struct engine *engine)
{
	/* It is what the users are made from: somebody may have spoilt it. */
	worker_finish(engine->chores);
	if (!engine->broken && users_write_file(engine) != 0) {
		LOG_ERROR("users-file", LOG_ERRNO(errno));
		return;
	}
	leave_note(engine, "The index is to be made anew; it is rebuilt at the next start.\n");
	if (engine->broken)
		return;
	engine->broken = engine->renewed = true;
	engine_round_soon(engine);
}

/* ---- the round ---- */

void engine_round_soon(struct engine *engine)
{
	if (engine->round)
		event_active(engine->round, EV_TIMEOUT, 0);
}

static void give_up(struct engine *engine)
{
	directory_give_up(engine);
	changes_give_up(engine);
	tasks_fail(engine, STORE_BUSY);
	changes_answer_ready(engine);
	if (engine->told)
		return;
	engine->told = true;
	if (!engine->renewed)
		LOG_ERROR("store-broken");
	if (engine->options.broken)
		engine->options.broken(engine->options.owner);
	else
		LOG_FATAL("store-broken");
}

static int make_room(void *owner)
{
	return env_make_room(((struct engine *)owner)->env);
}

static void on_room(void *owner, int error)
{
	(void)owner;
	if (error)
		LOG_DEBUG("no-log-ahead", LOG_ERRNO(error));
}

static int fetch_log(void *owner)
{
	env_fetch_log(((struct engine *)owner)->env);
	return 0;
}

static void on_log_fetched(void *owner, int error)
{
	(void)owner, (void)error;
}

static void prepare(struct engine *engine)
{
	if (worker_is_busy(engine->preparer))
		return;
	if (env_wants_log(engine->env))
		worker_start(engine->preparer, fetch_log, on_log_fetched, engine);
	else if (env_wants_room(engine->env))
		worker_start(engine->preparer, make_room, on_room, engine);
}

/* After whatever else this turn of the loop has brought: requests that came together share a flush. */
static void on_round(evutil_socket_t fd, short what, void *context)
{
	struct engine *engine = context;

	(void)fd, (void)what;
	tasks_run(engine);
	if (!engine->broken) {
		views_notify(engine);
		if (!STAILQ_EMPTY(&engine->staged))
			engine_space_is_low(engine); /* deletes need room, too */
		changes_flush(engine);
		checkpoint_look(engine);
		prepare(engine);
		changes_answer_ready(engine);
	}
	if (engine->broken)
		give_up(engine);
	orphans_reap(engine);
}

static void on_late(evutil_socket_t fd, short what, void *context)
{
	(void)fd, (void)what;
	if (!((struct engine *)context)->broken)
		changes_retry_late(context);
}

void engine_forget(struct engine *engine, const void *owner)
{
	changes_forget(engine, owner);
	directory_forget(engine, owner);
	arrivals_forget(engine, owner);
	tasks_forget(engine, owner);
}

bool engine_is_busy(const struct engine *engine)
{
	return !engine->broken &&
	       (!STAILQ_EMPTY(&engine->staged) || !STAILQ_EMPTY(&engine->flushing) ||
		       !STAILQ_EMPTY(&engine->showing) || !STAILQ_EMPTY(&engine->ready) ||
		       !STAILQ_EMPTY(&engine->tasks) || !STAILQ_EMPTY(&engine->arrivals) ||
		       !STAILQ_EMPTY(&engine->users_waiting) ||
		       !STAILQ_EMPTY(&engine->users_writing));
}

void engine_count(const struct engine *engine, struct buf *out)
{
	const struct {
		const char *name;
		uint64_t number;
	} counts[] = {
		{ "users", engine->user_count },
		{ "deliveries", engine->counted.deliveries },
		{ "messages", engine->counted.messages },
		{ "octets", engine->counted.octets },
		{ "changes", engine->staged_count },
		{ "flushes", engine->counted.flushes },
		{ "checkpoints", engine->checkpoint.count },
		{ "adopted", engine->counted.adopted },
		{ "directories-read-aside", engine->counted.read_aside },
		{ "accounts-in-memory", engine->account_count },
		{ "directories-open", engine->directory_count },
	};

	for (size_t i = 0; i < sizeof(counts) / sizeof(counts[0]); i++)
		buf_format(out, "%s=%llu\n", counts[i].name, (unsigned long long)counts[i].number);
}

enum store_failure engine_usage(
	struct engine *engine, struct text user, uint32_t *messages, uint64_t *octets)
{
	struct account *account;
	const enum store_failure failure =
		engine->broken ? STORE_BUSY : account_look(engine, user, &account);

	*messages = failure == STORE_OK ? account->messages : 0;
	*octets = failure == STORE_OK ? account->octets : 0;
	return failure;
}

/* ---- opening ---- */

static int make_directory(int root, const char *name)
{
	return sys.mkdirat(root, name, S_IRWXU) == 0 || errno == EEXIST ? 0 : -1;
}

static int open_root(struct engine *engine, const char *directory)
{
	engine->root = sys.openat(AT_FDCWD, directory, O_RDONLY | O_DIRECTORY | O_CLOEXEC, 0);
	if (engine->root < 0)
		return -1;
	engine->lock =
		sys.openat(engine->root, "lock", O_RDWR | O_CREAT | O_CLOEXEC, S_IRUSR | S_IWUSR);
	if (engine->lock < 0 || flock(engine->lock, LOCK_EX | LOCK_NB) != 0)
		return -1;
	return make_directory(engine->root, "mail") | make_directory(engine->root, "spool");
}

/* A directory with nothing but files in it, as Berkeley DB makes them. */
static void remove_environment(int root, const char *name)
{
	const struct dirent *entry;
	const int fd = sys.openat(root, name, O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW, 0);
	DIR *dir = fd < 0 ? NULL : sys.fdopendir(fd);

	if (!dir) {
		if (fd >= 0)
			sys.close(fd);
		return;
	}
	while ((entry = readdir(dir)) != NULL) {
		if (strcmp(entry->d_name, ".") != 0 && strcmp(entry->d_name, "..") != 0)
			sys.unlinkat(fd, entry->d_name, 0);
	}
	closedir(dir);
	sys.unlinkat(root, name, AT_REMOVEDIR);
}

struct recovery {
	struct redo *redo;
	struct engine *engine;
};

static int recovery_redo(void *owner, struct text record)
{
	return redo_apply(((struct recovery *)owner)->redo, record);
}

static int recovery_undo(void *owner, struct text record)
{
	return redo_undo(((struct recovery *)owner)->redo, record);
}

/* Keys that no checkpoint has brought into the file: the index may be lost the next time. */
static int keep_once(struct engine *engine, struct redo *redo)
{
	struct message_reader in = { .at = buf_text(redo_once(redo)).ptr,
		.left = buf_length(redo_once(redo)) };
	struct journal_once record;
	struct buf lines = { 0 };

	while (in.left && journal_once_unpack(message_get_text(&in, UINT32_MAX), &record) == 0)
		once_print(&lines, record.user, record.time, record.key);
	const int error = once_append(engine, buf_text(&lines));
	if (error == 0)
		buf_clear(redo_once(redo));
	buf_release(&lines);
	return error;
}

static int recovery_sync(void *owner)
{
	const struct recovery *recovery = owner;
	const int error = keep_once(recovery->engine, recovery->redo);

	if (error)
		return error;
	return sys.syncfs(recovery->engine->root) == 0 ? 0 : errno;
}

static struct env_recovery how_to_recover(struct recovery *recovery)
{
	return (struct env_recovery){ .redo = recovery_redo,
		.undo = recovery_undo,
		.sync = recovery_sync,
		.owner = recovery };
}

static void report_recovery(const char *event, const struct redo *redo, int64_t began)
{
	if (redo_records(redo))
		LOG_INFO(event, LOG_NUMBER("records", redo_records(redo)),
			LOG_NUMBER("files", redo_files(redo)),
			LOG_NUMBER("milliseconds", engine_ticks() - began));
}

int engine_open_environment(struct engine *engine, const char *home, bool create)
{
	struct recovery recovery = { .redo = redo_new(engine->root), .engine = engine };
	const int64_t began = engine_ticks();
	const struct env_options options = { .home = home,
		.cache_octets = engine->options.cache_octets,
		.log_octets = engine->options.log_octets
				      ? engine->options.log_octets
				      : space_part(engine, LOG_PART, LOG_LEAST, LOG_MOST),
		.create = create,
		.recovery = how_to_recover(&recovery) };
	const int error = env_open(&engine->env, &options);

	report_recovery("recovered", recovery.redo, began);
	redo_free(&recovery.redo);
	return error;
}

/*
 * An index is made again from the Maildirs, but what was acknowledged just before a power cut may be in
 * the log alone: the files are made from it first. They must be durable before the log is set aside, where
 * nobody looks for it any more.
 */
static int salvage(struct engine *engine, const char *home)
{
	struct recovery recovery = { .redo = redo_new(engine->root), .engine = engine };
	const struct env_recovery how = how_to_recover(&recovery);
	const int64_t began = engine_ticks();
	int error = env_salvage(home, &how);

	if (error == 0)
		error = recovery_sync(&recovery);
	report_recovery("salvaged", recovery.redo, began);
	redo_free(&recovery.redo);
	return error;
}

/* Kept for who wants to know what went wrong. */
static int set_environment_aside(struct engine *engine)
{
	char aside[64];
	const int length =
		snprintf(aside, sizeof(aside), "env.damaged.%lld", (long long)time(NULL));

	for (unsigned i = 1; sys.renameat(engine->root, "env", engine->root, aside) != 0; i++) {
		if (errno == ENOENT)
			return 0;
		if ((errno != EEXIST && errno != ENOTEMPTY) || i > ASIDE_TRIES)
			return errno;
		/* More than one in a second. */
		snprintf(aside + length, sizeof(aside) - (size_t)length, ".%u", i);
	}
	LOG_WARNING("index-set-aside", LOG_STRING("directory", aside));
	return 0;
}

/* From what is there; 0, or an error: of damage when the index is to be rebuilt. */
static int open_existing(struct engine *engine, const char *home)
{
	struct stat st;

	if (sys.fstatat(engine->root, "env", &st, AT_SYMLINK_NOFOLLOW) != 0)
		return errno == ENOENT ? EBADMSG : errno;
	int error = engine_open_environment(engine, home, false);
	/* Recovered in any case, for the files that only the log may have. Why, was told then. */
	const bool is_suspect = error == 0 && sys.fstatat(engine->root, SUSPECT, &st, 0) == 0;
	if (is_suspect)
		error = EBADMSG;
	if (error == 0)
		error = users_load(engine);
	if (error == 0)
		error = garbage_find(engine);
	if (error) {
		if (!is_suspect)
			LOG_ERROR("index", LOG_STRING("error", env_error_text(error)));
		users_free(engine);
		garbage_free(engine);
		env_close(&engine->env);
	}
	return error;
}

static int open_index(struct engine *engine, const char *directory)
{
	char home[4096], making[4096];
	struct stat st;

	if (snprintf(home, sizeof(home), "%s/env", directory) >= (int)sizeof(home) ||
		snprintf(making, sizeof(making), "%s/env.new", directory) >= (int)sizeof(making))
		return ENAMETOOLONG;
	remove_environment(engine->root, "env.new");
	const bool is_there =
		sys.fstatat(engine->root, "env", &st, AT_SYMLINK_NOFOLLOW) == 0 || errno != ENOENT;
	int error = is_there ? open_existing(engine, home) : EBADMSG;
	if (!env_is_damage(error))
		return error;
	if ((is_there && (error = salvage(engine, home)) != 0) ||
		(error = set_environment_aside(engine)) != 0)
		return error;
	if (sys.unlinkat(engine->root, SUSPECT, 0) != 0 && errno != ENOENT)
		return errno;
	if (make_directory(engine->root, "env.new") != 0)
		return errno;
	if ((error = rebuild(engine, making)) != 0)
		return error;
	if (sys.syncfs(engine->root) != 0 ||
		sys.renameat(engine->root, "env.new", engine->root, "env") != 0 ||
		sys.fsync(engine->root) != 0)
		return errno;
	return open_existing(engine, home);
}

static int start_threads(struct engine *engine)
{
	engine->flusher = worker_new(engine->loop, "store-flush");
	engine->checkpointer = worker_new(engine->loop, "store-checkpoin");
	engine->chores = worker_new(engine->loop, "store-chores");
	engine->spooler = worker_new(engine->loop, "store-spool");
	engine->preparer = worker_new(engine->loop, "store-ahead");
	engine->reader = worker_new(engine->loop, "store-scan");
	engine->round = event_new(engine->loop, -1, 0, on_round, engine);
	engine->late_timer = event_new(engine->loop, -1, 0, on_late, engine);
	return engine->flusher && engine->checkpointer && engine->chores && engine->spooler &&
			       engine->preparer && engine->reader && engine->round &&
			       engine->late_timer
		       ? 0
		       : -1;
}

static size_t directory_limit(void)
{
	struct rlimit files;

	/* A quarter of the descriptors; the rest is for sessions and messages. */
	if (getrlimit(RLIMIT_NOFILE, &files) != 0 || files.rlim_cur == RLIM_INFINITY ||
		files.rlim_cur / 4 > ENGINE_DIRECTORIES)
		return ENGINE_DIRECTORIES;
	return files.rlim_cur / 4 < 16 ? 16 : files.rlim_cur / 4;
}

/* Of a host name, what may stand in a file name. */
static char *host_for_names(const char *hostname)
{
	char *host = mem_copy(hostname, strlen(hostname));
	char *to = host;

	for (const char *at = hostname; *at; at++) {
		if ((*at >= '0' && *at <= '9') || (*at >= 'a' && *at <= 'z') ||
			(*at >= 'A' && *at <= 'Z') || *at == '-' || *at == '.')
			*to++ = *at;
	}
	*to = '\0';
	return host;
}

static struct engine *engine_new(struct event_base *loop, const struct engine_options *options)
{
	struct engine *engine = mem_new(sizeof(*engine));

	engine->loop = loop;
	engine->options = *options;
	engine->hostname = host_for_names(options->hostname);
	engine->options.hostname = engine->hostname;
	engine->lock = engine->root = engine->spool_directory = -1;
	engine->directory_limit = directory_limit();
	engine->directory = directory_new();
	STAILQ_INIT(&engine->staged);
	STAILQ_INIT(&engine->flushing);
	STAILQ_INIT(&engine->showing);
	STAILQ_INIT(&engine->ready);
	STAILQ_INIT(&engine->answering);
	STAILQ_INIT(&engine->late);
	STAILQ_INIT(&engine->users_waiting);
	STAILQ_INIT(&engine->users_writing);
	STAILQ_INIT(&engine->tasks);
	STAILQ_INIT(&engine->changed);
	STAILQ_INIT(&engine->arrivals);
	TAILQ_INIT(&engine->accounts);
	TAILQ_INIT(&engine->directories);
	TAILQ_INIT(&engine->spools);
	TAILQ_INIT(&engine->idle_rosters);
	STAILQ_INIT(&engine->garbage);
	return engine;
}

static void engine_free(struct engine **freed)
{
	struct engine *engine = *freed;

	*freed = NULL;
	worker_free(&engine->flusher);
	worker_free(&engine->checkpointer);
	worker_free(&engine->chores);
	worker_free(&engine->spooler);
	worker_free(&engine->preparer);
	worker_free(&engine->reader);
	names_free(&engine->aside.names);
	checkpoint_free(engine);
	garbage_free(engine);
	once_free(engine);
	changes_free(engine);
	views_close(engine);
	orphans_reap(engine);
	accounts_free(engine);
	spools_free(engine);
	env_close(&engine->env);
	users_free(engine);
	directory_free(engine);
	if (engine->round)
		event_free(engine->round);
	if (engine->late_timer)
		event_free(engine->late_timer);
	if (engine->lock >= 0)
		sys.close(engine->lock);
	if (engine->root >= 0)
		sys.close(engine->root);
	buf_release(&engine->record);
	buf_release(&engine->value);
	buf_release(&engine->run);
	mem_free(engine->hostname);
	mem_free(engine);
}

struct engine *engine_open(
	struct event_base *loop, const char *directory, const struct engine_options *options)
{
	struct engine *engine = engine_new(loop, options);
	const char *failed = NULL;
	int error = 0;

	if (open_root(engine, directory) != 0) {
		error = errno;
		failed = error == EWOULDBLOCK ? "another process has this store" : "directory";
	} else if (space_begin(engine), (error = open_index(engine, directory)) != 0) {
		failed = "index";
	} else if ((error = spools_init(engine)) != 0) {
		failed = "spool";
	} else if (users_write_file(engine) != 0) {
		error = errno;
		failed = "users";
	} else if (start_threads(engine) != 0) {
		error = errno;
		failed = "threads";
	} else if ((error = garbage_start(engine)) != 0 || (error = once_start(engine)) != 0 ||
		   (error = checkpoint_init(engine)) != 0 ||
		   (error = expunging_resume(engine)) != 0) {
		failed = "index";
	}
	if (!failed)
		return engine;
	LOG_ERROR("store-not-opened", LOG_STRING("directory", directory), LOG_STRING("at", failed),
		LOG_STRING("error", env_error_text(error)));
	engine_free(&engine);
	return NULL;
}

/* ---- closing ---- */

/* So that the first look after the next start need not be a long one. */
static void put_seen(struct engine *engine)
{
	struct account *account;
	struct env_txn *txn;
	int error = env_begin(engine->env, &txn);

	if (error)
		return;
	TAILQ_FOREACH (account, &engine->accounts, link) {
		for (size_t i = 0; i < account->count && error == 0; i++) {
			struct mailbox *mailbox = account->mailboxes[i];
			if (mailbox->dirty && !mailbox->presumed)
				error = mailbox_put(engine, txn, mailbox, &mailbox->row);
		}
	}
	if (error)
		env_abort(txn);
	else
		error = env_commit(txn);
	if (error)
		LOG_WARNING("index-error", LOG_STRING("at", "close"),
			LOG_STRING("error", env_error_text(error)));
}

void engine_close(struct engine **closed)
{
	struct engine *engine = *closed;

	if (!engine)
		return;
	engine->closing = true;
	arrivals_drain(engine);
	if (!engine->broken) {
		tasks_run(engine);
		tasks_fail(engine, STORE_BUSY);
		changes_drain(engine);
	}
	if (!engine->broken && !STAILQ_EMPTY(&engine->late))
		changes_retry_late(engine);
	if (engine->broken) {
		directory_give_up(engine);
		changes_give_up(engine);
		tasks_fail(engine, STORE_BUSY);
		changes_answer_ready(engine);
	} else {
		put_seen(engine);
		/* With files still not in place the old checkpoint must stay the last one. */
		const int error = STAILQ_EMPTY(&engine->late) ? checkpoint_now(engine)
							      : env_flush(engine->env);
		if (error)
			LOG_ERROR("close", LOG_STRING("error", env_error_text(error)));
	}
	engine_free(closed);
}

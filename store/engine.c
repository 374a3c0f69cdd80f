/*
 * Opening and closing the store, and the round that runs when something happened.
 */
#include "store/engine.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/resource.h>
#include <unistd.h>

#include "base/log.h"
#include "store/arrival.h"
#include "store/change.h"
#include "store/checkpoint.h"
#include "store/effects.h"
#include "store/engine_private.h"
#include "store/expunging.h"
#include "store/garbage.h"
#include "store/hidden.h"
#include "store/mailbox.h"
#include "store/once_keys.h"
#include "store/recovery.h"
#include "store/space.h"
#include "store/spool.h"
#include "store/users.h"
#include "store/view.h"

enum { DIRECTORIES = 256 }; /* open at once */

int64_t engine_now(void)
{
	return clock_read(CLOCK_REALTIME);
}

uint64_t engine_first_modseq(void)
{
	return (uint64_t)engine_now() / 1000;
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

enum store_failure engine_damaged(struct engine *engine, const char *where)
{
	recovery_distrust(
		engine, "The index was found damaged; it is rebuilt at the next start.\n");
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
	while (worker_is_busy(engine->chores))
		worker_finish(engine->chores); /* which may start the next one */
	if (!engine->broken && users_write_file(engine) != 0) {
		LOG_ERROR("users-file", LOG_ERRNO(errno));
		return;
	}
	recovery_distrust(
		engine, "The index is to be made anew; it is rebuilt at the next start.\n");
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
	/* A piece of one of these may yet be found done. */
	tasks_fail(engine, STORE_NOT_DURABLE);
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
		effects_retry_late(context);
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

int engine_make_directory(int root, const char *name)
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
	return engine_make_directory(engine->root, "mail") |
	       engine_make_directory(engine->root, "spool");
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
		files.rlim_cur / 4 > DIRECTORIES)
		return DIRECTORIES;
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
	effects_free(engine);
	views_close(engine);
	orphans_free(engine);
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
	} else if (space_begin(engine), (error = recovery_open_index(engine, directory)) != 0) {
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
		   (error = expunging_resume(engine)) != 0 ||
		   (error = hidden_resume(engine)) != 0) {
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
		/* What goes piece by piece tells how far it went. */
		changes_drain(engine);
		tasks_fail(engine, STORE_BUSY);
		changes_drain(engine);
	}
	if (!engine->broken && !STAILQ_EMPTY(&engine->late))
		effects_retry_late(engine);
	if (engine->broken) {
		directory_give_up(engine);
		changes_give_up(engine);
		tasks_fail(engine, STORE_NOT_DURABLE);
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

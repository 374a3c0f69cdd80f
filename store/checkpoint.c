/*
 * Checkpoints: after one, nothing that is older needs to be redone, and old log files go.
 *
 *	marker      a transaction that does nothing but log one record: Berkeley DB's recovery starts no
 *	            later than the oldest transaction under way, so it will start here
 *	wait        until every change that was committed before the marker has its files in place
 *	sync        the file system that holds the mail                             (own thread)
 *	checkpoint  Berkeley DB's own; log files before the marker are removed      (own thread)
 *	end         of the marker
 *
 * Deliveries go on all the time. What they commit after the marker will be redone from the log, so it
 * does not matter whether the sync covered their files.
 *
 * After a sync that failed there is no other one: it would pass over what the first has lost (resync.h).
 */
#include <errno.h>
#include <string.h>

#include "base/log.h"
#include "store/checkpoint.h"
#include "store/garbage.h"
#include "store/once_keys.h"
#include "store/resync.h"
#include "store/space.h"
#include "store/spool.h"
#include "store/users.h"

enum {
	DEFAULT_SECONDS = 60,
	DEFAULT_OCTETS = 32 << 20, /* read within half a second by recovery */
	LEAST_OCTETS = 1 << 20,
	DISK_PART = 16, /* of a small disk: the log is no larger */
};

static int run(void *owner)
{
	struct engine *engine = owner;
	const int error = once_write(engine);

	if (error)
		return error;
	if (sys.syncfs(engine->root) != 0) {
		const int failed = errno;
		engine->checkpoint.unsound = true;
		resync_note(engine->root);
		return failed;
	}
	return env_checkpoint(engine->env);
}

static bool is_for_want_of_room(int error)
{
	return error == ENOSPC || error == EDQUOT;
}

static void end_marker(struct engine *engine)
{
	struct env_txn *marker = engine->checkpoint.marker;

	engine->checkpoint.marker = NULL;
	const int error = env_commit(marker);
	if (error)
		engine_break(engine, "marker-failed", env_error_text(error));
}

static void on_run(void *owner, int error)
{
	struct engine *engine = owner;

	if (engine->broken)
		return;
	if (error == 0) {
		engine->checkpoint.count++;
		once_written(engine);
		engine->checkpoint.covered = engine->checkpoint.await;
		spools_after_checkpoint(engine, engine->checkpoint.await);
		garbage_after_checkpoint(engine);
		LOG_DEBUG("checkpoint", LOG_NUMBER("count", engine->checkpoint.count));
	} else {
		/* The log stays and grows; recovery starts where it would have before. */
		LOG_ERROR("checkpoint-failed", LOG_STRING("error", env_error_text(error)));
	}
	end_marker(engine);
	if (error == 0 || (engine->checkpoint.unsound && is_for_want_of_room(error)))
		return;
	if (engine->checkpoint.unsound || env_sync_failed())
		engine_break(engine, "unwritten", env_error_text(error));
	else if (engine_env_failure(engine, "checkpoint", error) == STORE_DAMAGED && error != EIO)
		engine_break(engine, "checkpoint-failed", env_error_text(error));
}

void checkpoint_settled(struct engine *engine)
{
	if (engine->checkpoint.marker && !engine->broken && STAILQ_EMPTY(&engine->late) &&
		engine->shown_count >= engine->checkpoint.await &&
		!worker_is_busy(engine->checkpointer)) {
		once_begin(engine);
		worker_start(engine->checkpointer, run, on_run, engine);
	}
}

/* The log keeps everything until there is room to write again what a sync had none for. */
static void wait_for_room(struct engine *engine)
{
	if (engine_space_is_low(engine))
		return;
	resync_note(engine->root);
	engine_break(engine, "unwritten", "there is room again for what had none: a new start");
}

void checkpoint_start(struct engine *engine)
{
	struct env_txn *marker;

	if (engine->checkpoint.marker || engine->broken)
		return;
	if (engine->checkpoint.unsound) {
		wait_for_room(engine);
		return;
	}
	int error = env_begin(engine->env, &marker);
	if (error == 0) {
		journal_begin(&engine->record, JOURNAL_MARK);
		journal_seal(&engine->record);
		error = env_log(engine->env, marker, &engine->record);
		if (error)
			env_abort(marker);
	}
	if (error) {
		engine_env_failure(engine, "checkpoint", error);
		return;
	}
	engine->checkpoint.marker = marker;
	engine->checkpoint.await = engine->staged_count;
	engine->checkpoint.logged = env_logged(engine->env);
	engine->checkpoint.spools = engine->spools_shown;
	checkpoint_settled(engine);
}

void checkpoint_look(struct engine *engine)
{
	const uint64_t wanted = engine->options.checkpoint_octets
					? engine->options.checkpoint_octets
					: DEFAULT_OCTETS;
	const uint64_t most = space_part(engine, DISK_PART, LEAST_OCTETS, UINT64_MAX);
	const uint64_t limit = wanted < most ? wanted : most;

	if (env_logged(engine->env) - engine->checkpoint.logged >= limit ||
		engine->spools_shown - engine->checkpoint.spools >= ENGINE_SPOOLS)
		checkpoint_start(engine);
}

static void on_timer(evutil_socket_t fd, short what, void *context)
{
	struct engine *engine = context;

	(void)fd, (void)what;
	users_catch_up(engine);
	if (env_logged(engine->env) != engine->checkpoint.logged)
		checkpoint_start(engine);
}

int checkpoint_init(struct engine *engine)
{
	const unsigned seconds = engine->options.checkpoint_seconds
					 ? engine->options.checkpoint_seconds
					 : DEFAULT_SECONDS;

	engine->checkpoint.logged = env_logged(engine->env);
	engine->checkpoint.timer = event_new(engine->loop, -1, EV_PERSIST, on_timer, engine);
	return engine->checkpoint.timer && event_add(engine->checkpoint.timer,
						   &(struct timeval){ .tv_sec = seconds }) == 0
		       ? 0
		       : ENOMEM;
}

int checkpoint_now(struct engine *engine)
{
	worker_finish(engine->checkpointer);
	if (engine->checkpoint.marker)
		end_marker(engine);
	if (engine->checkpoint.unsound && !engine->broken) {
		resync_note(engine->root);
		return env_flush(engine->env);
	}
	once_begin(engine);
	const int error = engine->broken ? EIO : run(engine);
	if (error == 0)
		engine->checkpoint.covered = engine->shown_count;
	return error;
}

void checkpoint_free(struct engine *engine)
{
	if (engine->checkpoint.timer)
		event_free(engine->checkpoint.timer);
	engine->checkpoint.timer = NULL;
}

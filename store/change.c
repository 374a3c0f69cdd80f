/*
 * One transaction's way, from its commit to its answer:
 *
 *	            main thread                          flush thread
 *	prepare     files into tmp/
 *	commit      record, index rows, no flush
 *	stage       joins the group that gathers
 *	            (other requests go on)               one log flush for the whole group
 *	carry out   tmp/ -> new/, renames, unlinks
 *	show        visible state, rosters, watchers
 *	answer      done()
 *
 * A lone change is flushed by the main thread itself: to wake up the other one and to be woken up by it
 * takes a good part of the time that a quick disk takes.
 *
 * Nothing can be seen, neither here nor in the Maildir, before the flush that covers it. After the flush
 * it has happened, whatever comes: if the machine dies between the flush and the rename, recovery makes
 * the file from the record. If the disk refuses the rename, the change is visible and answered all the
 * same, the file is found where it is (tmp/), and the rename is tried again until it works (effects.c); no
 * checkpoint is taken before that.
 *
 * Changes become visible in the order in which they were committed.
 */
#include <string.h>

#include "store/change.h"
#include "store/checkpoint.h"
#include "store/effects.h"
#include "store/mailbox.h"
#include "store/once_keys.h"
#include "store/roster.h"
#include "store/spool.h"

enum {
	ARENA_BLOCK = 2048,
	SPARES = 256,
	QUIET = 100000, /* nanoseconds since a group was answered: who comes now did not wait for it */
	QUICK = 1000000, /* nanoseconds of a flush for which others may be kept waiting */
};

/* ---- one change ---- */

struct change *change_new(struct engine *engine, engine_done *done, void *owner)
{
	struct change *change = engine->spares;
	struct arena *arena;

	if (change) {
		engine->spares = STAILQ_NEXT(change, link);
		engine->spare_count--;
		arena = change->arena;
	} else {
		change = mem_new(sizeof(*change));
		arena = arena_new(ARENA_BLOCK);
	}
	*change = (struct change){ .engine = engine, .arena = arena, .done = done, .owner = owner };
	change->result.user = change->result.sentence = change->result.times = TEXT("");
	return change;
}

/* Rows of effects and touches grow by doubling within the arena. */
static void *grown(struct change *change, void *rows, size_t count, size_t *room, size_t size)
{
	if (count < *room)
		return rows;
	*room = *room ? 2 * *room : 4;
	void *more = arena_take(change->arena, *room * size);
	if (count)
		memcpy(more, rows, count * size);
	return more;
}

struct effect *change_effect(struct change *change, enum effect_kind kind, struct mailbox *mailbox)
{
	change->effects = grown(change, change->effects, change->effect_count, &change->effect_room,
		sizeof(*change->effects));
	struct effect *effect = &change->effects[change->effect_count++];
	*effect = (struct effect){ .kind = kind, .mailbox = mailbox };
	if (mailbox)
		mailbox->pins++;
	return effect;
}

struct touch *change_touch(struct change *change, struct mailbox *mailbox, enum touch_kind kind)
{
	change->touches = grown(change, change->touches, change->touch_count, &change->touch_room,
		sizeof(*change->touches));
	struct touch *touch = &change->touches[change->touch_count++];
	*touch = (struct touch){ .mailbox = mailbox, .kind = kind };
	mailbox->pins++;
	if (kind != TOUCH_ADD)
		mailbox->altering++;
	return touch;
}

void change_clear(struct change *change)
{
	for (size_t i = 0; i < change->effect_count; i++)
		effect_let_go(&change->effects[i]);
	for (size_t i = 0; i < change->touch_count; i++) {
		struct touch *touch = &change->touches[i];
		touch->mailbox->pins--;
		if (touch->kind != TOUCH_ADD)
			touch->mailbox->altering--;
	}
	change->effect_count = change->touch_count = 0;
}

void change_release(struct change *change)
{
	struct engine *engine = change->engine;

	change_clear(change);
	if (engine->spare_count >= SPARES) {
		arena_free(&change->arena);
		mem_free(change);
		return;
	}
	arena_empty(change->arena);
	STAILQ_NEXT(change, link) = engine->spares;
	engine->spares = change;
	engine->spare_count++;
}

static void answer(struct change *change)
{
	if (change->done)
		change->done(change->owner, &change->result);
	else
		engine_view_close(&change->result.view);
	change_release(change);
}

void change_ready(struct change *change, enum store_failure failure)
{
	change_clear(change);
	change->result.failure = failure;
	STAILQ_INSERT_TAIL(&change->engine->ready, change, link);
	engine_round_soon(change->engine);
}

void change_stage(struct change *change)
{
	struct engine *engine = change->engine;

	STAILQ_INSERT_TAIL(&engine->staged, change, link);
	engine->staged_count++;
	engine_round_soon(engine);
	/*
	 * While a group is being answered, its senders come back with the next one. Half of them make a
	 * group of their own, so that from then on one group is written while the other is at work.
	 */
	engine->gathered++;
	if (engine->to_show && engine->gathered >= engine->to_show)
		changes_start_flush(engine);
}

void change_follow(struct change *change)
{
	struct engine *engine = change->engine;

	if (STAILQ_EMPTY(&engine->staged) && STAILQ_EMPTY(&engine->flushing)) {
		change_ready(change, change->result.failure);
		return;
	}
	change_stage(change);
}

void changes_answer_ready(struct engine *engine)
{
	struct change *change;

	/* What is added meanwhile waits for the next round, so that nobody can keep this one going. */
	STAILQ_CONCAT(&engine->answering, &engine->ready);
	while ((change = STAILQ_FIRST(&engine->answering)) != NULL) {
		STAILQ_REMOVE_HEAD(&engine->answering, link);
		answer(change);
	}
}

/* ---- showing ---- */

static void show(struct change *change)
{
	struct engine *engine = change->engine;

	engine->shown_count++;
	for (size_t i = 0; i < change->touch_count; i++) {
		const struct touch *touch = &change->touches[i];
		touch->mailbox->visible = touch->after;
		if (touch->mailbox->roster)
			roster_apply(engine, touch->mailbox->roster, touch);
		mailbox_changed(engine, touch->mailbox);
	}
	if (change->once.len)
		once_shown(engine, change->once);
	if (change->spool)
		spool_shown(engine, change->spool);
	if (!change->settled || !change->settled(change))
		answer(change);
}

/* ---- groups ---- */

static int flush(void *owner)
{
	struct engine *engine = owner;
	const int64_t began = clock_nanoseconds();
	const int error = env_flush(engine->env);

	engine->flush_took = clock_nanoseconds() - began;
	return error;
}

static void on_flushed(void *owner, int error)
{
	struct engine *engine = owner;
	struct change *change;

	if (error) {
		engine_break(engine, "flush-failed", env_error_text(error));
		return;
	}
	engine->counted.flushes++;
	STAILQ_CONCAT(&engine->showing, &engine->flushing);
	/* The next group is being written while this one's files are put in place. */
	changes_start_flush(engine);
	if (!STAILQ_EMPTY(&engine->late))
		effects_retry_late(engine);
	effects_carry_out(engine);
	while ((change = STAILQ_FIRST(&engine->showing)) != NULL) {
		STAILQ_REMOVE_HEAD(&engine->showing, link);
		engine->to_show--;
		show(change);
	}
	engine->rests_since = clock_nanoseconds();
	checkpoint_settled(engine);
	engine_round_soon(engine);
}

static bool may_flush(const struct engine *engine)
{
	return !STAILQ_EMPTY(&engine->staged) && !worker_is_busy(engine->flusher) &&
	       STAILQ_EMPTY(&engine->flushing);
}

static void begin_flush(struct engine *engine)
{
	STAILQ_CONCAT(&engine->flushing, &engine->staged);
	engine->gathered = 0;
}

void changes_start_flush(struct engine *engine)
{
	if (!may_flush(engine))
		return;
	begin_flush(engine);
	worker_start(engine->flusher, flush, on_flushed, engine);
}

/*
 * Nobody else is at work, as far as can be told, and a flush is nothing to wait for. A task that is not over
 * goes piece by piece so that others get their turn: then the loop must turn in between.
 */
static bool is_alone(const struct engine *engine)
{
	return engine->gathered == 1 && engine->to_show == 0 && STAILQ_EMPTY(&engine->tasks) &&
	       engine->flush_took && engine->flush_took < QUICK &&
	       clock_nanoseconds() - engine->rests_since > QUIET;
}

void changes_flush(struct engine *engine)
{
	if (!may_flush(engine) || !is_alone(engine)) {
		changes_start_flush(engine);
		return;
	}
	begin_flush(engine);
	on_flushed(engine, flush(engine));
}

void changes_drain(struct engine *engine)
{
	while (!engine->broken &&
		(!STAILQ_EMPTY(&engine->staged) || !STAILQ_EMPTY(&engine->flushing) ||
			!STAILQ_EMPTY(&engine->ready) || !STAILQ_EMPTY(&engine->users_waiting) ||
			!STAILQ_EMPTY(&engine->users_writing))) {
		changes_start_flush(engine);
		worker_finish(engine->flusher);
		worker_finish(engine->chores);
		changes_answer_ready(engine);
	}
}

/* ---- ends ---- */

static void fail_list(struct change_list *list, enum store_failure failure)
{
	struct change *change;

	while ((change = STAILQ_FIRST(list)) != NULL) {
		STAILQ_REMOVE_HEAD(list, link);
		change->result.failure = failure;
		change->result.verdicts = TEXT(""); /* it holds for all */
		answer(change);
	}
}

void changes_give_up(struct engine *engine)
{
	fail_list(&engine->flushing, STORE_NOT_DURABLE);
	fail_list(&engine->staged, STORE_NOT_DURABLE);
	/* The index has these, but not yet the text file of the users. */
	fail_list(&engine->users_writing, STORE_NOT_DURABLE);
	fail_list(&engine->users_waiting, STORE_NOT_DURABLE);
}

static void forget(struct change_list *list, const void *owner)
{
	struct change *change;

	STAILQ_FOREACH (change, list, link) {
		if (change->owner == owner)
			change->done = NULL;
	}
}

void changes_forget(struct engine *engine, const void *owner)
{
	forget(&engine->staged, owner);
	forget(&engine->flushing, owner);
	forget(&engine->ready, owner);
	forget(&engine->showing, owner);
	forget(&engine->answering, owner);
	forget(&engine->users_waiting, owner);
	forget(&engine->users_writing, owner);
}

void changes_free(struct engine *engine)
{
	struct change *change;

	fail_list(&engine->ready, STORE_BUSY);
	while ((change = engine->spares) != NULL) {
		engine->spares = STAILQ_NEXT(change, link);
		arena_free(&change->arena);
		mem_free(change);
	}
	engine->spare_count = 0;
}

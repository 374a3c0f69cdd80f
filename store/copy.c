/*
 * Copies and moves, as sessions ask for them. Many messages go piece by piece, as in update.c.
 *
 * A move is known piece by piece. A copy is all or nothing (RFC 9051 section 6.4.7), so none of it can be
 * seen before all of it is durable (hidden.c), and it counts as a whole before anything is made. Who looks at
 * the mailbox that it goes to need not wait, nor who delivers there.
 */
#include <string.h>

#include "store/change.h"
#include "store/mailbox.h"
#include "store/quota.h"
#include "store/roster.h"
#include "store/space.h"
#include "store/transfer.h"
#include "store/view.h"

/* In the change's arena. */
struct copying {
	struct mailbox *source;
	struct text to;
	bool move;
	uint32_t *uids; /* by ascending UID, each once, from the first piece on */
	size_t count, done;
	uint32_t uidnext;     /* as it was visible when the first piece began; 0: not begun */
	uint32_t target;      /* its number, from then on */
	uint64_t await;       /* engine.shown_count from which on the last piece is visible */
	uint32_t *from, *got; /* UIDs of those that went, and what they are now */
	size_t pairs;
	/* Of a copy piece by piece: who has the hidden ones. */
	struct mailbox *receiver;
};

/* Known by its number once it was found: it may be renamed between two pieces. */
static struct mailbox *find_target(const struct copying *copying)
{
	struct account *account = copying->source->account;
	struct mailbox *target = copying->target ? account_find_number(account, copying->target)
						 : account_find(account, copying->to);

	return copying->source->gone || !target || mailbox_is_new(target) ? NULL : target;
}

static void note_pairs(struct copying *copying, const struct transfer *transfer)
{
	for (size_t i = 0; i < transfer->count; i++) {
		copying->from[copying->pairs] = transfer->items[i].uid;
		copying->got[copying->pairs++] = transfer->items[i].new_uid;
	}
}

/* Staged, or nothing is left of it. */
static enum store_failure run_piece(struct engine *engine, struct copying *copying,
	struct mailbox *target, size_t end, struct change *change)
{
	struct transfer transfer = { .engine = engine,
		.change = change,
		.arena = arena_new(TRANSFER_BLOCK),
		.source = copying->source,
		.target = target,
		.account = copying->source->account,
		.move = copying->move,
		.hidden = copying->receiver ? target->hidden : NULL,
		.uidnext = copying->uidnext };
	const enum store_failure failure =
		transfer_run(&transfer, copying->uids + copying->done, end - copying->done);

	if (failure == STORE_OK) {
		note_pairs(copying, &transfer);
		copying->done = end;
	}
	if (failure == STORE_OK && transfer.count) {
		change_stage(change);
		if (!copying->move)
			copying->source->copied = engine->staged_count;
		quota_follow(engine, transfer.account);
	} else if (failure == STORE_OK) {
		/* Something was committed all the same when every file was gone. Else by way of a flush. */
		if (transfer.txn || !change->done)
			change_stage(change);
		else
			change_follow(change);
	}
	transfer_release(&transfer);
	return failure;
}

/* ---- what can be seen with the last piece only ---- */

static bool is_hidden(const struct engine *engine, const struct copying *copying)
{
	return !copying->move && copying->count > batch_limit(engine);
}

/* What there is of the messages. */
static void measure(const struct copying *copying, uint32_t *messages, uint64_t *octets)
{
	*messages = 0;
	*octets = 0;
	for (size_t i = 0; i < copying->count; i++) {
		const struct store_listing_entry *entry =
			roster_find(copying->source->roster, copying->uids[i]);
		*messages += entry != NULL;
		*octets += entry ? entry->size : 0;
	}
}

/* As if all of them were there already. */
static bool quota_allows_all(
	const struct engine *engine, struct account *account, uint32_t messages, uint64_t octets)
{
	const uint32_t before = account->messages;

	account->messages += messages - 1;
	const bool fits = quota_allows(engine, account, octets);
	account->messages = before;
	return fits;
}

static enum store_failure hide(
	struct engine *engine, struct copying *copying, struct mailbox *target)
{
	struct mailbox *source = copying->source;
	const bool is_looked_at = !LIST_EMPTY(&source->views);
	uint32_t messages;
	uint64_t octets;

	if (target->hidden) {
		hidden_take_back(engine, target);
		return STORE_BUSY;
	}
	enum store_failure failure = roster_read(engine, source);
	if (failure != STORE_OK)
		return failure;
	measure(copying, &messages, &octets);
	if (!is_looked_at)
		roster_leave(engine, source);
	if (messages && !quota_allows_all(engine, source->account, messages, octets))
		return STORE_OVER_QUOTA;
	failure = hidden_begin(engine, target, messages, octets);
	if (failure == STORE_OK)
		copying->receiver = target;
	return failure;
}

/* ---- in turn ---- */

/* What was named twice counts once. */
static void begin(struct copying *copying, const struct mailbox *target)
{
	copying->uidnext = copying->source->visible.uidnext;
	copying->target = target->id.mailbox;
	copying->count = batch_sort(copying->uids, copying->count);
}

/* For other hidden copies in the same mailbox, or to know the sizes of these. */
static bool must_wait_to_hide(
	const struct engine *engine, const struct copying *copying, const struct mailbox *target)
{
	const struct mailbox *source = copying->source;

	return is_hidden(engine, copying) && !copying->receiver &&
	       ((target->hidden && !target->hidden->is_left) ||
		       (!source->roster && source->altering));
}

/* All that went so far is visible. */
static bool copied(struct change *change)
{
	const struct copying *copying = change->context;

	change->result.pairs = copying->pairs;
	return false;
}

/* Of hidden ones nothing is told before all are there. */
static struct change *piece_new(const struct copying *copying, struct change *whole)
{
	return copying->receiver ? change_new(whole->engine, NULL, NULL) : task_piece(whole);
}

static enum store_failure go_on(struct engine *engine, struct copying *copying,
	struct mailbox *target, struct change *change, bool *is_last)
{
	const size_t piece = batch_limit(engine), left = copying->count - copying->done;

	if (!copying->move && engine_space_is_low(engine))
		return STORE_NO_SPACE;
	if (is_hidden(engine, copying) && !copying->receiver) {
		const enum store_failure failure = hide(engine, copying, target);
		if (failure != STORE_OK)
			return failure;
	}
	change->result.uidvalidity = target->row.uidvalidity;
	*is_last = copying->receiver ? left == 0 : left <= piece;
	if (copying->receiver && left == 0)
		return hidden_show(engine, target, change);
	struct change *part = *is_last ? change : piece_new(copying, change);
	const enum store_failure failure = run_piece(engine, copying, target,
		left <= piece ? copying->count : copying->done + piece, part);
	if (failure != STORE_OK && part != change)
		change_release(part);
	return failure;
}

static bool copy_in_turn(struct engine *engine, struct change *change)
{
	struct copying *copying = change->context;
	struct mailbox *target = find_target(copying);
	bool is_last = false;

	if (copying->source->leaving || (target && target->leaving) ||
		engine->shown_count < copying->await)
		return false;
	if (target && copying->uidnext == 0)
		begin(copying, target);
	if (target && must_wait_to_hide(engine, copying, target))
		return false;
	const enum store_failure failure =
		target ? go_on(engine, copying, target, change, &is_last) : STORE_NO_SUCH_MAILBOX;
	if (failure != STORE_OK && copying->receiver)
		hidden_take_back(engine, copying->receiver);
	copying->await = engine->staged_count;
	if (failure != STORE_OK)
		change_ready(change, failure);
	return is_last || failure != STORE_OK;
}

void engine_view_copy(struct engine_view *view, struct text to, bool move, const uint32_t *uids,
	size_t count, engine_done *done, void *owner)
{
	struct engine *engine = view->engine;
	struct change *change = change_new(engine, done, owner);

	if (engine->broken || (move && view->mode == STORE_SELECT_READ_ONLY)) {
		change_ready(change, engine->broken ? STORE_BUSY : STORE_REFUSED);
		return;
	}
	struct copying *copying = arena_take(change->arena, sizeof(*copying));
	*copying = (struct copying){ .source = view->mailbox,
		.to = text_copy(change->arena, to),
		.move = move,
		.uids = arena_take(change->arena, (count + 1) * sizeof(*uids)),
		.from = arena_take(change->arena, (count + 1) * sizeof(*uids)),
		.got = arena_take(change->arena, (count + 1) * sizeof(*uids)),
		.count = count };
	if (count)
		memcpy(copying->uids, uids, count * sizeof(*uids));
	change->context = copying;
	change->settled = copied;
	change->result.from = copying->from;
	change->result.to = copying->got;
	task_queue(engine, view->mailbox, change, copy_in_turn);
}

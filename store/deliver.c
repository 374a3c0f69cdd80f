/*
 * Deliveries: one transaction, one record and one body for all recipients.
 *
 * The body comes in the request and goes into the record, or it is in a spool file that is durable by
 * now (arrival.c), and the record only names it.
 */
#include <errno.h>
#include <time.h>
#include <unistd.h>

#include "mail/wire.h"
#include "store/arrival.h"
#include "store/change.h"
#include "store/create.h"
#include "store/deliver_private.h"
#include "store/mailbox.h"
#include "store/quota.h"
#include "store/space.h"

/* ---- record, rows, files ---- */

static void name_files(struct work *work)
{
	char base[INDEX_BASE_LIMIT + 1];
	const size_t begun = maildir_base_begin(&work->unique, work->size, work->wire, base);

	for (size_t i = 0; i < work->count; i++) {
		struct target *target = &work->targets[i];
		char leaf[MAILDIR_LEAF_LIMIT + 1];
		const struct text name = { .ptr = base,
			.len = maildir_base_end(base, begun, target->uid) };
		const struct text made = { .ptr = leaf,
			.len = maildir_leaf_print(
				target->flags || target->bits ? INDEX_CUR : INDEX_NEW, name,
				target->flags, target->bits, leaf) };
		target->leaf = text_copy(work->change->arena, made).ptr;
	}
}

static int write_record(struct work *work)
{
	struct engine *engine = work->engine;

	buf_clear(&engine->run);
	for (size_t i = 0; i < work->count; i++) {
		const struct target *target = &work->targets[i];
		journal_target_pack(
			&engine->run, &(struct journal_target){ .user = target->mailbox->id.user,
					      .mailbox = target->mailbox->id.mailbox,
					      .directory = text_of(target->mailbox->directory),
					      .leaf = text_of(target->leaf) });
	}
	journal_begin(&engine->record, JOURNAL_DELIVER);
	journal_deliver_pack(
		&engine->record, &(struct journal_deliver){ .id = work->delivery->id,
					 .spool = text_of(work->spool),
					 .body = work->spool ? TEXT("") : work->delivery->body,
					 .targets = buf_text(&engine->run) });
	journal_seal(&engine->record);
	return env_log(engine->env, work->txn, &engine->record);
}

static int write_rows(struct work *work, const struct target *target)
{
	struct engine *engine = work->engine;
	const struct mailbox *mailbox = target->mailbox;
	unsigned char key[INDEX_MESSAGE_KEY];
	const struct index_message row = { .version = INDEX_VERSION,
		.place = target->flags || target->bits ? INDEX_CUR : INDEX_NEW,
		.flags = target->flags,
		.keywords = target->bits,
		.size = work->size,
		.wire = work->wire,
		.received = work->received,
		.modseq = mailbox->row.modseq,
		.base = names_base(target->leaf) };

	index_message_key(mailbox->id, target->uid, key);
	buf_clear(&engine->value);
	index_message_encode(&engine->value, &row);
	const int error = env_put(engine->env, work->txn, ENV_MESSAGES,
		(struct text){ .ptr = (char *)key, .len = sizeof(key) }, buf_text(&engine->value));
	return error ? error : mailbox_put(engine, work->txn, mailbox, &mailbox->row);
}

/* Into tmp/ of the first recipient, where nobody looks. Directories that vanished are made again. */
static int write_body(struct work *work)
{
	struct engine *engine = work->engine;
	struct mailbox *mailbox = work->targets[0].mailbox;

	if (work->spool)
		return 0;
	int fd = mailbox_directory(engine, mailbox);
	int error =
		fd < 0 ? errno : folder_write_tmp(fd, work->targets[0].leaf, work->delivery->body);
	if (error != ENOENT)
		return error;
	mailbox_close_directory(engine, mailbox);
	error = folder_make(engine->root, mailbox->place);
	if (error == 0)
		error = create_log_file(engine, work->txn, work->change, mailbox,
			mailbox->row.ceiling, mailbox->row.keywords);
	if (error)
		return error;
	fd = mailbox_directory(engine, mailbox);
	return fd < 0 ? errno : folder_write_tmp(fd, work->targets[0].leaf, work->delivery->body);
}

static void remove_body(struct work *work)
{
	char tmp[MAILDIR_LEAF_LIMIT + 1];

	if (work->spool || work->targets[0].mailbox->fd < 0)
		return;
	folder_tmp(work->targets[0].leaf, tmp);
	sys.unlinkat(work->targets[0].mailbox->fd, tmp, 0);
}

static void plan_effects(struct work *work)
{
	struct arena *arena = work->change->arena;
	struct target *first = &work->targets[0];
	char tmp[MAILDIR_LEAF_LIMIT + 1];
	const char *source;

	folder_tmp(first->leaf, tmp);
	source = work->spool ? text_format(arena, "spool/%s", work->spool).ptr
			     : text_format(arena, "%s/%s", first->mailbox->directory, tmp).ptr;
	for (size_t i = work->spool ? 0 : 1; i < work->count; i++) {
		struct effect *effect =
			change_effect(work->change, EFFECT_LINK, work->targets[i].mailbox);
		effect->from = source;
		effect->to = work->targets[i].leaf;
	}
	/* Last, as the others are links to it. */
	if (!work->spool) {
		struct effect *effect = change_effect(work->change, EFFECT_PLACE, first->mailbox);
		effect->from = text_copy(arena, text_of(tmp)).ptr;
		effect->to = first->leaf;
	}
}

static void plan_touches(struct work *work)
{
	for (size_t i = 0; i < work->count; i++) {
		const struct target *target = &work->targets[i];
		struct touch *touch = change_touch(work->change, target->mailbox, TOUCH_ADD);
		touch->after = mailbox_staged(target->mailbox);
		touch->count = 1;
		touch->entries = arena_take(work->change->arena, sizeof(*touch->entries));
		touch->entries[0] = (struct store_listing_entry){ .uid = target->uid,
			.flags = target->flags,
			.keywords = target->bits,
			.size = work->size,
			.wire = work->wire,
			.received = work->received,
			.modseq = target->mailbox->row.modseq };
	}
}

static enum store_failure store(struct work *work)
{
	struct engine *engine = work->engine;
	int error = 0;

	name_files(work);
	/* Before the record, so that a full disk is found out without a transaction to undo. */
	int written = write_body(work);
	if (written)
		return engine_errno_failure(written);
	plan_effects(work);
	plan_touches(work);
	error = write_record(work);
	for (size_t i = 0; i < work->count && error == 0; i++)
		error = write_rows(work, &work->targets[i]);
	if (error == 0) {
		error = env_commit(work->txn);
		work->txn = NULL;
	}
	if (error)
		remove_body(work);
	return error ? engine_env_failure(engine, "deliver", error) : STORE_OK;
}

/* Nothing but keys that were old. */
static enum store_failure commit_once(struct work *work)
{
	const int error = env_commit(work->txn);

	work->txn = NULL;
	return error ? engine_env_failure(work->engine, "once", error) : STORE_OK;
}

/* What became of each recipient, for the answer. */
static void tell(struct work *work)
{
	struct engine_result *result = &work->change->result;
	uint32_t *uids = arena_take(work->change->arena, work->delivery->count * sizeof(*uids));

	for (size_t i = 0; i < work->delivery->count; i++)
		uids[i] = work->recipient[i] ? work->recipient[i]->uid : 0;
	result->verdicts = (struct text){ .ptr = work->verdicts, .len = work->delivery->count };
	result->uids = uids;
	if (work->count) {
		const struct text base = names_base(work->targets[0].leaf);
		const ptrdiff_t comma = text_find(base, ',');
		result->file = comma < 0 ? base : text_head(base, (size_t)comma);
	}
}

static enum store_failure run(struct work *work)
{
	struct timespec now;
	int error = env_begin(work->engine->env, &work->txn);

	if (error)
		return engine_env_failure(work->engine, "deliver", error);
	clock_gettime(CLOCK_REALTIME, &now);
	work->now = now.tv_sec;
	work->received = work->delivery->received > 0 && work->delivery->received < UINT32_MAX
				 ? work->delivery->received
				 : now.tv_sec;
	work->unique = (struct maildir_unique){ .seconds = work->received,
		.microseconds = (uint32_t)(now.tv_nsec / 1000),
		.process = (uint32_t)getpid(),
		.count = ++work->engine->last_unique,
		.host = work->engine->hostname };
	enum store_failure failure = deliver_resolve(work);
	if (failure == STORE_OK && work->count)
		failure = store(work);
	else if (failure == STORE_OK && buf_length(&work->once))
		failure = commit_once(work);
	/* With nothing to store (every recipient had it before) the transaction is empty. */
	if (work->txn)
		env_abort(work->txn);
	if (failure == STORE_OK)
		work->change->once = text_copy(work->change->arena, buf_text(&work->once));
	/* The change has them by now. */
	deliver_unpin(work);
	if (failure != STORE_OK)
		deliver_take_back(work);
	else
		tell(work);
	for (size_t i = 0; i < work->count; i++)
		quota_follow(work->engine, work->targets[i].mailbox->account);
	return failure;
}

void deliver(struct engine *engine, struct change *change, const struct engine_delivery *delivery,
	const char *spool, uint64_t size, uint64_t wire)
{
	struct work work = { .engine = engine,
		.change = change,
		.delivery = delivery,
		.spool = spool,
		.size = size,
		.wire = wire };
	enum store_failure failure = STORE_OK;

	if (engine->broken)
		failure = STORE_BUSY;
	else if (!delivery->is_import && engine->options.message_octets &&
		 size > engine->options.message_octets)
		failure = STORE_TOO_LARGE;
	else if (engine_space_is_low(engine))
		failure = STORE_NO_SPACE;
	if (failure == STORE_OK)
		failure = run(&work);
	buf_release(&work.once);
	if (failure != STORE_OK) {
		change_ready(change, failure);
		return;
	}
	engine->counted.deliveries++;
	engine->counted.messages += work.count;
	engine->counted.octets += size;
	if (work.count || change->once.len)
		change_stage(change);
	else
		change_follow(change); /* what came before may not be durable yet */
}

void engine_deliver(struct engine *engine, const struct engine_delivery *delivery,
	engine_done *done, void *owner)
{
	struct change *change = change_new(engine, done, owner);
	enum store_failure failure = STORE_OK;

	if (engine->broken || engine->closing)
		failure = STORE_BUSY;
	else if (delivery->count == 0 || delivery->count > STORE_RECIPIENTS_LIMIT ||
		 delivery->once.len > STORE_ONCE_LIMIT || delivery->id.len > 20 ||
		 (!delivery->spool && delivery->body.len > JOURNAL_BODY_LIMIT))
		failure = STORE_INVALID;
	else if (delivery->spool)
		failure = arrival_start(engine, change, delivery);
	if (failure != STORE_OK)
		change_ready(change, failure);
	else if (!delivery->spool)
		deliver(engine, change, delivery, NULL, delivery->body.len,
			wire_size(delivery->body));
}

/*
 * Messages that get a second place, or another one, in a mailbox of the same user: one transaction, which is
 * the whole or a piece of it (copy.c).
 *
 * A copy has the same octets: its file is a hard link, made in tmp/ of the target before the transaction is
 * committed, so that a full disk is found out in time. A message that moves is renamed after the flush, like
 * everything that somebody could see. Recovery makes either from the files of the source; how these stay
 * until a checkpoint has made the new names durable: must_retire() in effects.c.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "store/change.h"
#include "store/create.h"
#include "store/mailbox.h"
#include "store/quota.h"
#include "store/transfer.h"

/* ---- which messages ---- */

static int decode_item(struct transfer *transfer, uint32_t uid, struct text value)
{
	struct index_message row;

	if (index_message_decode(value, &row) != 0) {
		engine_damaged(transfer->engine, "messages");
		return EBADMSG;
	}
	if (transfer->count == transfer->room) {
		transfer->room = transfer->room ? 2 * transfer->room : 64;
		transfer->items =
			mem_resize(transfer->items, transfer->room * sizeof(*transfer->items));
	}
	struct item *item = &transfer->items[transfer->count++];
	*item = (struct item){ .uid = uid, .row = row };
	item->row.base = text_copy(transfer->arena, row.base);
	return 0;
}

static int find_items(struct transfer *transfer, const uint32_t *uids, size_t count)
{
	struct engine *engine = transfer->engine;
	struct buf value = { 0 };
	int error = 0;

	for (size_t i = 0; i < count && error == 0 && uids[i] < transfer->uidnext; i++) {
		unsigned char key[INDEX_MESSAGE_KEY];
		if (hidden_has(transfer->source, uids[i]))
			continue;
		index_message_key(transfer->source->id, uids[i], key);
		if (env_get(engine->env, NULL, ENV_MESSAGES,
			    (struct text){ .ptr = (char *)key, .len = sizeof(key) }, &value,
			    &error) == 1)
			error = decode_item(transfer, uids[i], buf_text(&value));
	}
	buf_release(&value);
	return error;
}

struct finding {
	struct transfer *transfer;
	int error;
};

static int find_one(void *owner, struct text key, struct text value)
{
	struct finding *finding = owner;
	const struct mailbox *source = finding->transfer->source;
	struct index_mailbox_id id;
	uint32_t uid;

	if (index_message_key_decode(key, &id, &uid) != 0)
		finding->error = EBADMSG;
	if (finding->error || id.user != source->id.user || id.mailbox != source->id.mailbox ||
		uid >= finding->transfer->uidnext)
		return 1;
	if (hidden_has(source, uid))
		return 0;
	finding->transfer->more = finding->transfer->count == finding->transfer->most;
	if (finding->transfer->more)
		return 1;
	finding->error = decode_item(finding->transfer, uid, value);
	return finding->error != 0;
}

static int find_next(struct transfer *transfer, uint32_t uid)
{
	struct finding finding = { .transfer = transfer };
	unsigned char key[INDEX_MESSAGE_KEY];

	index_message_key(transfer->source->id, uid, key);
	const int error = env_scan(transfer->engine->env, ENV_MESSAGES,
		(struct text){ .ptr = (char *)key, .len = sizeof(key) }, find_one, &finding);
	return error ? error : finding.error;
}

/* ---- files of copies ---- */

static void unlink_links(struct transfer *transfer)
{
	char tmp[MAILDIR_LEAF_LIMIT + 1];

	for (size_t i = 0; i < transfer->linked; i++) {
		folder_tmp(transfer->items[i].to, tmp);
		if (transfer->target->fd >= 0)
			sys.unlinkat(transfer->target->fd, tmp, 0);
	}
}

/* One whose file is gone is passed over like one whose row is: its mailbox finds out at the next look. */
static enum store_failure link_items(struct transfer *transfer)
{
	struct engine *engine = transfer->engine;
	struct folder source = { .fd = -1 }, target = { .fd = -1 };
	size_t kept = 0;
	int error = folder_make(engine->root, transfer->target->place);

	if (error == 0) {
		source.fd = mailbox_directory(engine, transfer->source);
		target.fd = mailbox_directory(engine, transfer->target);
		if (target.fd < 0)
			error = errno;
	}
	for (size_t i = 0; i < transfer->count && error == 0; i++) {
		const struct item *item = &transfer->items[i];
		error = source.fd < 0 ? ENOENT
				      : folder_link_tmp(&target, &source, item->from, item->to);
		if (error == ENOENT && STAILQ_EMPTY(&engine->late))
			error = 0;
		else if (error == 0)
			transfer->items[kept++] = *item;
		transfer->linked = kept;
	}
	folder_forget(&source);
	transfer->count = error ? transfer->count : kept;
	return error == ENOENT ? STORE_BUSY : engine_errno_failure(error);
}

/* ---- what they become ---- */

/* The bits of the source's keywords in the target, whose new names go into *names. */
static enum store_failure map_keywords(struct transfer *transfer, struct buf *names)
{
	struct text rest = transfer->source->row.keywords, name;
	enum store_failure failure = STORE_OK;
	uint64_t used = 0;

	for (size_t i = 0; i < transfer->count; i++)
		used |= transfer->items[i].row.keywords;
	for (unsigned bit = 0; rest.len && bit < STORE_KEYWORDS && failure == STORE_OK; bit++) {
		if (!text_split(&rest, ' ', &name))
			break;
		if (used & UINT64_C(1) << bit)
			failure = mailbox_keyword_bits(name, names, &transfer->bits[bit]);
	}
	return failure;
}

static uint64_t mapped(const struct transfer *transfer, uint64_t keywords)
{
	uint64_t bits = 0;

	for (unsigned bit = 0; bit < STORE_KEYWORDS; bit++) {
		if (keywords & UINT64_C(1) << bit)
			bits |= transfer->bits[bit];
	}
	return bits;
}

/* Keywords and UIDs that the target is about to use, in its text file before that. */
static enum store_failure provide(struct transfer *transfer)
{
	struct mailbox *target = transfer->target;
	struct batch *batch = &transfer->to;
	const uint32_t last = transfer->hidden ? transfer->hidden->end
					       : target->row.uidnext + (uint32_t)transfer->count;
	uint32_t ceiling = target->row.ceiling;
	struct buf names = { 0 };

	buf_add(&names, target->row.keywords);
	const enum store_failure failure = map_keywords(transfer, &names);
	const bool more = buf_length(&names) > target->row.keywords.len;
	if (last >= ceiling)
		ceiling = last + ENGINE_CEILING_BLOCK;
	if (failure == STORE_OK && (more || ceiling != target->row.ceiling)) {
		batch->error = create_log_file(transfer->engine, transfer->txn, transfer->change,
			target, ceiling, buf_text(&names));
		target->row.ceiling = ceiling;
		if (more) {
			batch->keywords_before =
				text_copy(transfer->change->arena, target->row.keywords).ptr;
			mailbox_set_keywords(target, buf_text(&names));
		}
	}
	buf_release(&names);
	return failure;
}

static void name_item(struct transfer *transfer, struct item *item)
{
	char base[INDEX_BASE_LIMIT + 1], leaf[MAILDIR_LEAF_LIMIT + 1];
	struct arena *arena = transfer->change->arena;
	struct maildir_base parts;

	item->new_uid =
		transfer->hidden ? transfer->hidden->next++ : transfer->target->row.uidnext++;
	item->new_row = item->row;
	item->new_row.modseq = transfer->to.modseq;
	item->new_row.keywords = mapped(transfer, item->row.keywords);
	maildir_base_parse(item->row.base, &parts);
	const size_t length = maildir_base_adopt(
		parts.unique, item->row.size, item->row.wire, item->new_uid, base);
	item->new_row.base =
		text_copy(transfer->arena, (struct text){ .ptr = base, .len = length });
	batch_leaf(&item->row, leaf);
	item->from = text_copy(arena, text_of(leaf)).ptr;
	batch_leaf(&item->new_row, leaf);
	item->to = text_copy(arena, text_of(leaf)).ptr;
}

/* As if all of them were there already, one after the other. */
static enum store_failure check_quota(const struct transfer *transfer)
{
	struct account *account = transfer->account;
	const uint32_t messages = account->messages;
	const uint64_t octets = account->octets;
	bool fits = true;

	for (size_t i = 0; i < transfer->count && fits; i++) {
		fits = quota_allows(transfer->engine, account, transfer->items[i].row.size);
		account->messages++;
		account->octets += transfer->items[i].row.size;
	}
	account->messages = messages;
	account->octets = octets;
	return fits ? STORE_OK : STORE_OVER_QUOTA;
}

/* ---- records, rows, effects ---- */

static int log_steps(struct transfer *transfer, struct buf *steps)
{
	struct engine *engine = transfer->engine;

	if (buf_length(steps) == 0)
		return 0;
	journal_begin(&engine->record, transfer->move ? JOURNAL_TRANSFER : JOURNAL_COPY);
	journal_copy_pack(
		&engine->record, &(struct journal_copy){ .user = transfer->source->id.user,
					 .mailbox = transfer->source->id.mailbox,
					 .directory = text_of(transfer->source->directory),
					 .to_mailbox = transfer->target->id.mailbox,
					 .to_directory = text_of(transfer->target->directory),
					 .steps = buf_text(steps) });
	journal_seal(&engine->record);
	buf_clear(steps);
	return env_log(engine->env, transfer->txn, &engine->record);
}

static int log_items(struct transfer *transfer)
{
	struct buf steps = { 0 };
	int error = 0;

	for (size_t i = 0; i < transfer->count && error == 0; i++) {
		const struct item *item = &transfer->items[i];
		journal_step_pack(&steps, &(struct journal_step){ .from = text_of(item->from),
						  .to = text_of(item->to) });
		if (buf_length(&steps) >= JOURNAL_RUN_LIMIT)
			error = log_steps(transfer, &steps);
	}
	if (error == 0)
		error = log_steps(transfer, &steps);
	buf_release(&steps);
	return error;
}

static void plan_item(struct transfer *transfer, const struct item *item)
{
	char tmp[MAILDIR_LEAF_LIMIT + 1];

	if (transfer->move) {
		struct effect *effect =
			change_effect(transfer->change, EFFECT_TRANSFER, transfer->target);
		effect->from = item->from;
		effect->to = item->to;
		effect->source = transfer->source;
		effect->source->pins++;
		batch_release(&transfer->from, item->uid, &item->row);
	} else {
		struct effect *effect =
			change_effect(transfer->change, EFFECT_PLACE, transfer->target);
		folder_tmp(item->to, tmp);
		effect->from = text_copy(transfer->change->arena, text_of(tmp)).ptr;
		effect->to = item->to;
	}
	batch_receive(&transfer->to, item->new_uid, &item->new_row);
}

/* ---- the whole ---- */

static enum store_failure prepare(struct transfer *transfer)
{
	enum store_failure failure = STORE_OK;

	if (!transfer->hidden)
		hidden_pass(transfer->target, (uint32_t)transfer->count);
	if (transfer->count >=
		UINT32_MAX - 2 * ENGINE_CEILING_BLOCK - transfer->target->row.uidnext)
		return STORE_DAMAGED;
	/* Hidden ones count already. */
	if (!transfer->move && !transfer->hidden)
		failure = check_quota(transfer);
	if (failure == STORE_OK)
		failure = provide(transfer);
	for (size_t i = 0; i < transfer->count && failure == STORE_OK; i++)
		name_item(transfer, &transfer->items[i]);
	if (failure == STORE_OK && !transfer->move)
		failure = link_items(transfer);
	return failure;
}

static int write_all(struct transfer *transfer)
{
	int error = transfer->to.error ? transfer->to.error : log_items(transfer);

	if (error == 0 && transfer->hidden && !transfer->hidden->is_noted)
		error = hidden_note(transfer->engine, transfer->txn, transfer->target);
	for (size_t i = 0; i < transfer->count && error == 0; i++) {
		plan_item(transfer, &transfer->items[i]);
		error = transfer->to.error ? transfer->to.error : transfer->from.error;
	}
	if (error == 0 && transfer->move)
		error = batch_put(&transfer->from);
	return error ? error : batch_put(&transfer->to);
}

/*
 * Within the transaction, which ends here. The batches are taken back in the other order: when a mailbox
 * gives to itself, they are of the same row.
 */
static enum store_failure carry(struct transfer *transfer)
{
	struct engine *engine = transfer->engine;
	int error = 0;

	if (transfer->move)
		batch_join(
			&transfer->from, engine, transfer->source, transfer->change, transfer->txn);
	batch_join(&transfer->to, engine, transfer->target, transfer->change, transfer->txn);
	if (transfer->hidden) {
		transfer->to.hidden = &transfer->hidden->entries;
		transfer->to.modseq = transfer->hidden->modseq;
	}
	enum store_failure failure = prepare(transfer);
	if (failure == STORE_OK)
		error = write_all(transfer);
	if (failure == STORE_OK && error == 0)
		error = env_commit(transfer->txn);
	else
		env_abort(transfer->txn);
	if (error)
		failure = engine_env_failure(engine, "transfer", error);
	if (failure == STORE_OK) {
		if (transfer->move)
			batch_done(&transfer->from, true);
		batch_done(&transfer->to, true);
		if (transfer->hidden)
			transfer->hidden->is_noted = true;
	} else {
		unlink_links(transfer);
		change_clear(transfer->change);
		batch_done(&transfer->to, false);
		if (transfer->move)
			batch_done(&transfer->from, false);
	}
	return failure;
}

void transfer_release(struct transfer *transfer)
{
	mem_free(transfer->items);
	arena_free(&transfer->arena);
}

enum store_failure transfer_run(struct transfer *transfer, const uint32_t *uids, size_t count)
{
	struct engine *engine = transfer->engine;
	int error = find_items(transfer, uids, count);

	if (error == 0 && transfer->count == 0)
		return STORE_OK;
	if (error == 0)
		error = env_begin(engine->env, &transfer->txn);
	return error ? engine_env_failure(engine, "transfer", error) : carry(transfer);
}

/* ---- INBOX to a new mailbox ---- */

/* The first piece and the mailbox that it goes to are one transaction. */
static enum store_failure carry_inbox(
	struct transfer *transfer, struct text name, const struct inbox_transfer *inbox)
{
	struct engine *engine = transfer->engine;
	enum store_failure failure = STORE_OK;

	if (inbox->target)
		transfer->target = account_find_number(transfer->account, inbox->target);
	else
		failure = create_within(engine, transfer->txn, transfer->change, transfer->account,
			name, &transfer->target);
	if (failure == STORE_OK && !transfer->target)
		failure = STORE_NO_SUCH_MAILBOX;
	if (failure != STORE_OK) {
		env_abort(transfer->txn);
		return failure;
	}
	failure = carry(transfer);
	if (failure != STORE_OK && !inbox->target)
		create_undo(transfer->change, transfer->target);
	return failure;
}

enum store_failure transfer_inbox(struct engine *engine, struct mailbox *source, struct text name,
	struct change *change, struct inbox_transfer *inbox)
{
	if (!inbox->target)
		inbox->end = source->row.uidnext;
	struct transfer transfer = { .engine = engine,
		.arena = arena_new(TRANSFER_BLOCK),
		.source = source,
		.account = source->account,
		.move = true,
		.uidnext = inbox->end,
		.most = batch_limit(engine) };
	int error = find_next(&transfer, inbox->next);

	inbox->more = transfer.more;
	transfer.change = inbox->more ? change_new(engine, NULL, NULL) : change;
	if (error == 0)
		error = env_begin(engine->env, &transfer.txn);
	const enum store_failure failure = error ? engine_env_failure(engine, "transfer", error)
						 : carry_inbox(&transfer, name, inbox);
	if (failure == STORE_OK) {
		inbox->target = transfer.target->id.mailbox;
		if (transfer.count)
			inbox->next = transfer.items[transfer.count - 1].uid + 1;
		change_stage(transfer.change);
	} else if (transfer.change != change) {
		change_release(transfer.change);
	}
	transfer_release(&transfer);
	return failure;
}

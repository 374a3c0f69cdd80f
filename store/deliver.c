/*
 * Deliveries: one transaction, one record and one body for all recipients.
 *
 * The body comes in the request and goes into the record, or it is in a spool file that is durable by
 * now (arrival.c), and the record only names it.
 */
#include <errno.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "base/log.h"
#include "mail/wire.h"
#include "store/once_keys.h"
#include "store/quota.h"

enum { FLAGS = 63 };

/* A delivery under way within one call. */
struct target {
	struct mailbox *mailbox;
	struct index_mailbox before; /* to go back to when the transaction fails */
	const char *keywords_before; /* NULL: not altered */
	bool made;                   /* the mailbox is new */
	uint32_t uid;
	uint32_t flags;
	uint64_t bits;
	const char *leaf;
};

struct work {
	struct engine *engine;
	struct change *change;
	const struct engine_delivery *delivery;
	const char *spool; /* its name, or NULL */
	uint64_t size, wire;
	int64_t received, now;
	struct maildir_unique unique;
	struct env_txn *txn;
	struct target *targets;
	size_t count;
	char *verdicts;            /* enum store_failure, one for each recipient */
	struct buf once;           /* lines of new once-keys */
	struct target **recipient; /* where its message went; NULL: nowhere new */
};

/* ---- recipients ---- */

static struct text once_of(const struct work *work, const struct engine_recipient *recipient)
{
	return recipient->once.len ? recipient->once : work->delivery->once;
}

/* Whether this user had it before under the recipient's key; *old: when, if it is written anew, or -1. */
static enum store_failure once_before(struct work *work, const struct engine_recipient *recipient,
	const struct account *account, bool *before, int64_t *old)
{
	const struct text once = once_of(work, recipient);
	unsigned char key[INDEX_ONCE_KEY_LIMIT];
	struct index_once row;
	int error = 0;

	*before = false;
	*old = -1;
	if (once.len == 0)
		return STORE_OK;
	const struct text row_key = { .ptr = (char *)key,
		.len = index_once_key(account->user->public.number, once, key) };
	if (env_get(work->engine->env, work->txn, ENV_ONCE, row_key, &work->engine->value,
		    &error) == 1) {
		const bool known = index_once_decode(buf_text(&work->engine->value), &row) == 0;
		*before = !known ||
			  (recipient->once_seconds == 0
					  ? !once_is_expired(work->engine, row.asked, work->now)
					  : work->now - row.time < recipient->once_seconds);
		if (known && recipient->once_seconds == 0 &&
			once_is_old(work->engine, row.asked, work->now))
			*old = row.time;
	}
	return error ? engine_env_failure(work->engine, "once", error) : STORE_OK;
}

static enum store_failure once_note(struct work *work, const struct engine_recipient *recipient,
	const struct account *account, int64_t accepted)
{
	const struct text once = once_of(work, recipient);

	if (once.len == 0)
		return STORE_OK;
	const int error = once_put(work->engine, work->txn, account->user->public.number,
		&(struct index_once){ .time = accepted, .asked = work->now }, once, &work->once);
	return error ? engine_env_failure(work->engine, "once", error) : STORE_OK;
}

/* Keywords that the mailbox does not know yet, and UIDs up to the ceiling, go into its text file. */
static enum store_failure provide(struct work *work, struct target *target, struct text keywords)
{
	struct mailbox *mailbox = target->mailbox;
	struct buf names = { 0 };
	uint32_t ceiling = mailbox->row.ceiling;

	if (keywords.len == 0 && target->uid < ceiling)
		return STORE_OK;

	buf_add(&names, mailbox->row.keywords);
	enum store_failure failure = mailbox_keyword_bits(keywords, &names, &target->bits);
	const bool more = buf_length(&names) > mailbox->row.keywords.len;
	if (target->uid >= ceiling)
		ceiling = target->uid + ENGINE_CEILING_BLOCK;
	if (failure == STORE_OK && (more || ceiling != mailbox->row.ceiling)) {
		const int error = create_log_file(
			work->engine, work->txn, work->change, mailbox, ceiling, buf_text(&names));
		failure = error ? engine_env_failure(work->engine, "deliver", error) : STORE_OK;
		mailbox->row.ceiling = ceiling;
		if (more) {
			target->keywords_before =
				text_copy(work->change->arena, mailbox->row.keywords).ptr;
			mailbox_set_keywords(mailbox, buf_text(&names));
		}
	}
	buf_release(&names);
	return failure;
}

static enum store_failure find_mailbox(struct work *work, struct account *account, struct text name,
	struct mailbox **mailbox, bool *made)
{
	if (name.len == 0)
		name = TEXT("INBOX");
	*mailbox = account_find(account, name);
	*made = !*mailbox;
	if (*mailbox)
		return (*mailbox)->leaving ? STORE_BUSY : STORE_OK;
	return create_within(work->engine, work->txn, work->change, account, name, mailbox);
}

static struct target *find_target(const struct work *work, const struct mailbox *mailbox)
{
	for (size_t i = 0; i < work->count; i++) {
		if (work->targets[i].mailbox == mailbox)
			return &work->targets[i];
	}
	return NULL;
}

/* Staged state moves on at once, so that the next recipient of the same user counts on it. */
static enum store_failure add_target(struct work *work, const struct engine_recipient *recipient,
	struct account *account, struct target **found)
{
	struct target *target = &work->targets[work->count];
	enum store_failure failure =
		find_mailbox(work, account, recipient->mailbox, &target->mailbox, &target->made);

	if (failure != STORE_OK)
		return failure;
	struct mailbox *mailbox = target->mailbox;
	if (mailbox->stamp == work->engine->last_stamp) { /* named twice */
		*found = find_target(work, mailbox);
		return STORE_OK;
	}
	mailbox->stamp = work->engine->last_stamp;
	mailbox->pins++;
	work->count++;
	*found = target;
	target->before = mailbox->row;
	if (!work->delivery->is_import && !quota_allows(work->engine, account, work->size))
		return STORE_OVER_QUOTA;
	if (mailbox->row.uidnext >= UINT32_MAX - ENGINE_CEILING_BLOCK)
		return STORE_DAMAGED;
	hidden_pass(mailbox, 1);
	if (hidden_has(mailbox, recipient->uid))
		return STORE_BUSY;
	target->uid = recipient->uid ? recipient->uid : mailbox->row.uidnext;
	if (target->uid < mailbox->row.uidnext)
		return STORE_INVALID;
	mailbox->row.uidnext = target->uid + 1;
	target->flags = recipient->flags & FLAGS;
	mailbox->row.messages++;
	mailbox->row.unseen += !(target->flags & STORE_FLAG_SEEN);
	mailbox->row.octets += work->size;
	mailbox->row.wire += work->wire;
	mailbox->row.modseq++;
	account->messages++;
	account->octets += work->size;
	return provide(work, target, recipient->keywords);
}

/* ---- groups that stand or fall alone ---- */

static bool has_groups(const struct engine_delivery *delivery)
{
	return delivery->recipients[0].group != delivery->recipients[delivery->count - 1].group;
}

/* Whether a recipient before this one, of a group that went well, leads to the same mailbox. */
static bool is_named_before(const struct work *work, size_t number)
{
	const struct engine_recipient *recipient = work->delivery->recipients;

	for (size_t i = 0; i < number; i++) {
		if (work->verdicts[i] == STORE_OK &&
			text_equal(recipient[i].user, recipient[number].user) &&
			text_equal(recipient[i].mailbox, recipient[number].mailbox))
			return true;
	}
	return false;
}

/* Whether there is such a user with room; then *taker, unless NULL, has that much less of it. */
static enum store_failure look_for_room(struct work *work, size_t number, struct account **taker)
{
	const struct engine_recipient *recipient = &work->delivery->recipients[number];
	struct account *account;
	bool before;
	int64_t old;
	enum store_failure failure = account_of(work->engine, recipient->user, &account);

	*taker = NULL;
	if (failure == STORE_OK)
		failure = once_before(work, recipient, account, &before, &old);
	if (failure != STORE_OK || before || is_named_before(work, number))
		return failure;
	if (!quota_allows(work->engine, account, work->size))
		return STORE_OVER_QUOTA;
	account->messages++;
	account->octets += work->size;
	*taker = account;
	return STORE_OK;
}

static void give_room_back(const struct work *work, struct account **takers, size_t from, size_t to)
{
	for (size_t i = from; i < to; i++) {
		if (takers[i]) {
			takers[i]->messages--;
			takers[i]->octets -= work->size;
		}
	}
}

/*
 * Groups that cannot have the message are marked so, before anything is altered for anybody. The first
 * failure when there is none that can.
 */
static enum store_failure screen(struct work *work)
{
	const struct engine_delivery *delivery = work->delivery;
	struct account **takers =
		arena_take(work->change->arena, delivery->count * sizeof(*takers));
	enum store_failure first = STORE_OK;
	bool any = false;

	for (size_t begin = 0, end; begin < delivery->count; begin = end) {
		enum store_failure failure = STORE_OK;
		for (end = begin;
			end < delivery->count && failure == STORE_OK &&
			delivery->recipients[end].group == delivery->recipients[begin].group;
			end++)
			failure = look_for_room(work, end, &takers[end]);
		any = any || failure == STORE_OK;
		if (failure == STORE_OK)
			continue;
		if (first == STORE_OK) {
			first = failure;
			work->change->result.user =
				text_copy(work->change->arena, delivery->recipients[end - 1].user);
		}
		give_room_back(work, takers, begin, end);
		while (end < delivery->count &&
			delivery->recipients[end].group == delivery->recipients[begin].group)
			end++;
		memset(&work->verdicts[begin], (int)failure, end - begin);
		memset(&takers[begin], 0, (end - begin) * sizeof(*takers));
	}
	give_room_back(work, takers, 0, delivery->count);
	return any ? STORE_OK : first;
}

static enum store_failure resolve_one(struct work *work, size_t number)
{
	const struct engine_recipient *recipient = &work->delivery->recipients[number];
	struct account *account;
	bool before = false;
	int64_t old = -1;
	enum store_failure failure = work->delivery->is_import
					     ? account_look(work->engine, recipient->user, &account)
					     : account_of(work->engine, recipient->user, &account);

	if (failure == STORE_OK)
		failure = once_before(work, recipient, account, &before, &old);
	if (before)
		work->verdicts[number] = STORE_ALREADY_EXISTS;
	if (failure != STORE_OK || (before && old < 0))
		return failure;
	if (before)
		return once_note(work, recipient, account, old);
	failure = once_note(work, recipient, account, work->now);
	if (failure != STORE_OK)
		return failure;
	return add_target(work, recipient, account, &work->recipient[number]);
}

static enum store_failure resolve(struct work *work)
{
	const struct engine_delivery *delivery = work->delivery;
	struct arena *arena = work->change->arena;
	enum store_failure failure = STORE_OK;

	work->engine->last_stamp++;
	work->targets = arena_take(arena, delivery->count * sizeof(*work->targets));
	work->recipient = arena_take(arena, delivery->count * sizeof(*work->recipient));
	work->verdicts = arena_take(arena, delivery->count);
	if (has_groups(delivery)) {
		failure = screen(work);
		if (failure != STORE_OK) {
			work->change->result.verdicts =
				(struct text){ .ptr = work->verdicts, .len = delivery->count };
			return failure;
		}
	}
	for (size_t i = 0; i < delivery->count; i++) {
		if (work->verdicts[i] == STORE_OK)
			failure = resolve_one(work, i);
		if (failure != STORE_OK) {
			work->change->result.user = text_copy(arena, delivery->recipients[i].user);
			return failure;
		}
	}
	return STORE_OK;
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

static void unpin(struct work *work)
{
	for (size_t i = 0; i < work->count; i++)
		work->targets[i].mailbox->pins--;
}

static void take_back(struct work *work)
{
	change_clear(work->change);
	while (work->count) {
		struct target *target = &work->targets[--work->count];
		struct mailbox *mailbox = target->mailbox;
		struct account *account = mailbox->account;
		account->messages -= mailbox->row.messages - target->before.messages;
		account->octets -= mailbox->row.octets - target->before.octets;
		mailbox->row = target->before;
		mailbox->row.keywords = text_of(mailbox->keywords);
		if (target->keywords_before)
			mailbox_set_keywords(mailbox, text_of(target->keywords_before));
		if (target->made)
			mailbox_discard(work->engine, mailbox);
	}
}

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
	enum store_failure failure = resolve(work);
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
	unpin(work);
	if (failure != STORE_OK)
		take_back(work);
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

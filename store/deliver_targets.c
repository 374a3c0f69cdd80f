/*
 * Who gets a delivery: of each recipient whether it is new there, and has room, the mailbox, the UID.
 *
 * Staged state (rows of mailboxes, what accounts have) moves on while the recipients are gone through, as if
 * the transaction were committed; deliver_take_back() puts all of it back when it is not.
 */
#include <string.h>

#include "store/change.h"
#include "store/create.h"
#include "store/deliver_private.h"
#include "store/hidden.h"
#include "store/mailbox.h"
#include "store/once_keys.h"
#include "store/quota.h"

enum { FLAGS = 63 };

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

enum store_failure deliver_resolve(struct work *work)
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

void deliver_unpin(struct work *work)
{
	for (size_t i = 0; i < work->count; i++)
		work->targets[i].mailbox->pins--;
}

void deliver_take_back(struct work *work)
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

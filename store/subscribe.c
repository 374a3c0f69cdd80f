/*
 * Subscriptions: names of mailboxes that a user's programs are to show. The text file beside INBOX is all
 * there is of them; the journal brings it over a crash like any other file.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "store/change.h"
#include "store/mailbox.h"
#include "store/subscribe.h"
#include "store/view.h"

/* In the change's arena. */
struct subscription {
	struct account *account;
	struct text name;
	bool on;
};

/* Another program may have made the file: a last line without an end, and lines that are no names, stay. */
static enum store_failure read_file(
	struct engine *engine, const struct account *account, struct buf *names)
{
	const int fd = mailbox_directory(engine, account->mailboxes[0]);
	size_t size;

	if (fd < 0)
		return errno == ENOENT ? STORE_OK : engine_errno_failure(errno);
	char *octets = sys_read_file(fd, MAILDIR_SUBSCRIPTIONS, STORE_SUBSCRIPTIONS_LIMIT, &size);
	if (!octets)
		return errno == ENOENT ? STORE_OK : engine_errno_failure(errno);
	buf_add(names, (struct text){ .ptr = octets, .len = size });
	if (size && octets[size - 1] != '\n')
		buf_add_char(names, '\n');
	mem_free(octets);
	return STORE_OK;
}

/* The list with the name in its place, or without it. False: it is so already. */
static bool alter(struct text names, struct text wanted, bool on, struct buf *out)
{
	struct text rest = names, name;
	bool found = false, placed = !on;

	while (rest.len && text_split(&rest, '\n', &name)) {
		const int order = text_compare(name, wanted);
		found |= order == 0;
		if (order == 0 || name.len == 0)
			continue;
		if (!placed && order > 0) {
			buf_format(out, "%.*s\n", TEXT_ARG(wanted));
			placed = true;
		}
		buf_format(out, "%.*s\n", TEXT_ARG(name));
	}
	if (!placed)
		buf_format(out, "%.*s\n", TEXT_ARG(wanted));
	return found != on;
}

void subscriptions_shown(struct account *account)
{
	account->subscribing--;
}

static bool subscribed(struct change *change)
{
	const struct subscription *subscription = change->context;

	subscriptions_shown(subscription->account);
	return false;
}

static enum store_failure log_list(
	struct engine *engine, struct change *change, struct account *account, struct text octets)
{
	const struct mailbox *inbox = account->mailboxes[0];
	struct effect *effect = change_effect(change, EFFECT_FILE, account->mailboxes[0]);
	struct env_txn *txn;

	effect->from = MAILDIR_SUBSCRIPTIONS;
	effect->to = text_copy(change->arena, octets).ptr;
	int error = env_begin(engine->env, &txn);
	if (error)
		return engine_env_failure(engine, "subscribe", error);
	journal_begin(&engine->record, JOURNAL_SUBSCRIPTIONS);
	journal_subscriptions_pack(
		&engine->record, &(struct journal_subscriptions){ .user = inbox->id.user,
					 .mailbox = inbox->id.mailbox,
					 .directory = text_of(inbox->directory),
					 .octets = octets });
	journal_seal(&engine->record);
	error = env_log(engine->env, txn, &engine->record);
	if (error)
		env_abort(txn);
	else
		error = env_commit(txn);
	return error ? engine_env_failure(engine, "subscribe", error) : STORE_OK;
}

/* What the list is once all that is under way has happened, into account->subscriptions. */
static enum store_failure read_list(struct engine *engine, struct account *account)
{
	if (account->subscribing)
		return STORE_OK;
	buf_clear(&account->subscriptions);
	return read_file(engine, account, &account->subscriptions);
}

/* A list that is as it was is only waited for. */
static enum store_failure put_list(
	struct engine *engine, struct change *change, struct account *account, struct text list)
{
	enum store_failure failure = STORE_OK;

	if (list.len > STORE_SUBSCRIPTIONS_LIMIT)
		failure = STORE_INVALID;
	else if (!text_equal(list, buf_text(&account->subscriptions)))
		failure = log_list(engine, change, account, list);
	if (failure != STORE_OK)
		return failure;
	buf_clear(&account->subscriptions);
	buf_add(&account->subscriptions, list);
	account->subscribing++;
	change_stage(change);
	return STORE_OK;
}

static enum store_failure subscribe(struct engine *engine, struct change *change)
{
	const struct subscription *subscription = change->context;
	struct account *account = subscription->account;
	enum store_failure failure = read_list(engine, account);
	struct buf list = { 0 };

	if (failure == STORE_OK && !alter(buf_text(&account->subscriptions), subscription->name,
					   subscription->on, &list)) {
		change_follow(change);
	} else if (failure == STORE_OK) {
		change->settled = subscribed;
		failure = put_list(engine, change, account, buf_text(&list));
	}
	buf_release(&list);
	return failure;
}

static int compare(const void *a, const void *b)
{
	return text_compare(*(const struct text *)a, *(const struct text *)b);
}

/* The two lists as one, in order, each name once. */
static void merge(struct text one, struct text other, struct buf *out)
{
	struct text lists[2] = { one, other }, line;
	struct buf lines = { 0 };

	for (size_t i = 0; i < 2; i++) {
		while (lists[i].len && text_split(&lists[i], '\n', &line)) {
			if (line.len)
				buf_add(&lines,
					(struct text){ .ptr = (char *)&line, .len = sizeof(line) });
		}
	}
	struct text *names = (struct text *)(void *)buf_text(&lines).ptr;
	const size_t count = buf_length(&lines) / sizeof(line);
	if (count)
		qsort(names, count, sizeof(*names), compare);
	for (size_t i = 0; i < count; i++) {
		if (i == 0 || !text_equal(names[i], names[i - 1]))
			buf_format(out, "%.*s\n", TEXT_ARG(names[i]));
	}
	buf_release(&lines);
}

enum store_failure subscriptions_add(
	struct engine *engine, struct change *change, struct account *account, struct text names)
{
	enum store_failure failure =
		STAILQ_EMPTY(&engine->late) ? read_list(engine, account) : STORE_BUSY;
	struct buf list = { 0 };

	if (failure == STORE_OK) {
		merge(buf_text(&account->subscriptions), names, &list);
		failure = put_list(engine, change, account, buf_text(&list));
	}
	buf_release(&list);
	return failure;
}

static bool subscribe_in_turn(struct engine *engine, struct change *change)
{
	const enum store_failure failure =
		STAILQ_EMPTY(&engine->late) ? subscribe(engine, change) : STORE_BUSY;

	if (failure != STORE_OK)
		change_ready(change, failure);
	return true;
}

void engine_subscribe(struct engine *engine, struct text user, struct text mailbox, bool on,
	engine_done *done, void *owner)
{
	struct change *change = change_new(engine, done, owner);
	char folder[MAILDIR_NAME_LIMIT + 1];
	struct account *account;
	enum store_failure failure =
		engine->broken || engine->closing ? STORE_BUSY : account_of(engine, user, &account);

	if (failure == STORE_OK && (mailbox.len > STORE_MAILBOX_LIMIT ||
					   maildir_folder(maildir_canonical(mailbox), folder) != 0))
		failure = STORE_INVALID;
	if (failure != STORE_OK) {
		change_ready(change, failure);
		return;
	}
	struct subscription *subscription = arena_take(change->arena, sizeof(*subscription));
	*subscription = (struct subscription){ .account = account,
		.name = text_copy(change->arena, maildir_canonical(mailbox)),
		.on = on };
	change->context = subscription;
	task_queue(engine, account->mailboxes[0], change, subscribe_in_turn);
}

enum store_failure engine_subscriptions(struct engine *engine, struct text user, struct buf *names)
{
	struct account *account;
	const enum store_failure failure =
		engine->broken ? STORE_BUSY : account_of(engine, user, &account);

	if (failure != STORE_OK)
		return failure;
	/* What was answered may not be in the file yet. */
	return STAILQ_EMPTY(&engine->late) ? read_file(engine, account, names) : STORE_BUSY;
}

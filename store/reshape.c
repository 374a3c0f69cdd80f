/*
 * Mailboxes that get another name, and those that go.
 *
 * A rename is one of directories: nothing within them changes, nor do the numbers of the mailboxes. A
 * deletion renames, too, to a place where nobody looks; what is there goes later (garbage.c). In the index
 * a row that says so stays until all of it is gone.
 */
#include <errno.h>
#include <string.h>

#include "base/log.h"
#include "store/change.h"
#include "store/garbage.h"
#include "store/mailbox.h"
#include "store/space.h"
#include "store/transfer.h"
#include "store/view.h"

struct step {
	struct mailbox *mailbox;
	struct index_mailbox before; /* to go back to when the transaction fails */
	const char *directory_before;
	struct text name;      /* new */
	const char *directory; /* the same */
};

/* In the change's arena. */
struct reshaping {
	struct account *account;
	struct text name, to;
	struct step *steps;
	size_t count;
	struct inbox_transfer inbox;
	uint64_t await; /* engine.shown_count from which on its last piece is visible */
};

static bool is_under_way(const struct account *account)
{
	if (account->vacating)
		return true;
	for (size_t i = 0; i < account->count; i++) {
		if (mailbox_is_new(account->mailboxes[i]))
			return true;
	}
	return false;
}

/* ---- one step within the transaction ---- */

static int log_rename(
	struct engine *engine, struct env_txn *txn, struct change *change, const struct step *step)
{
	const struct journal_rename record = { .user = step->mailbox->id.user,
		.mailbox = step->mailbox->id.mailbox,
		.directory = text_copy(change->arena, text_of(step->directory_before)),
		.to = text_of(step->directory) };
	struct effect *effect = change_effect(change, EFFECT_RENAME, step->mailbox);

	effect->from = record.directory.ptr;
	effect->to = step->directory;
	journal_begin(&engine->record, JOURNAL_RENAME);
	journal_rename_pack(&engine->record, &record);
	journal_seal(&engine->record);
	return env_log(engine->env, txn, &engine->record);
}

static void set_directory(struct mailbox *mailbox, const char *directory)
{
	char *copy = mem_copy(directory, strlen(directory));

	mem_free(mailbox->directory);
	mailbox->directory = copy;
}

static void begin_step(struct change *change, struct step *step)
{
	struct mailbox *mailbox = step->mailbox;

	step->before = mailbox->row;
	step->directory_before = text_copy(change->arena, text_of(mailbox->directory)).ptr;
	set_directory(mailbox, step->directory);
}

static void undo_step(const struct step *step)
{
	struct mailbox *mailbox = step->mailbox;

	if (!step->directory_before)
		return;
	set_directory(mailbox, step->directory_before);
	mailbox_set_row_name(mailbox, text_of(mailbox->name));
	const struct text name = mailbox->row.name;
	mailbox->row = step->before;
	mailbox->row.name = name;
}

static enum store_failure commit(struct engine *engine, struct change *change,
	const struct reshaping *reshaping, struct env_txn *txn, int error)
{
	if (error)
		env_abort(txn);
	else
		error = env_commit(txn);
	if (error) {
		change_clear(change);
		for (size_t i = 0; i < reshaping->count; i++)
			undo_step(&reshaping->steps[i]);
		return engine_env_failure(engine, "reshape", error);
	}
	reshaping->account->vacating++;
	change_stage(change);
	return STORE_OK;
}

/* ---- rename ---- */

static bool renamed(struct change *change)
{
	const struct reshaping *reshaping = change->context;

	for (size_t i = 0; i < reshaping->count; i++)
		mailbox_set_name(reshaping->steps[i].mailbox, reshaping->steps[i].name);
	reshaping->account->vacating--;
	return false;
}

static bool is_below(struct text name, struct text above)
{
	return name.len > above.len && text_begins(name, above) && name.ptr[above.len] == '/';
}

/* The name, and with it its directory, must be free in the index and on the disk. */
static enum store_failure plan_step(struct engine *engine, struct change *change,
	struct reshaping *reshaping, struct step *step)
{
	const struct account *account = reshaping->account;
	const struct text rest = text_from(text_of(step->mailbox->name), reshaping->name.len);

	step->name =
		text_format(change->arena, "%.*s%.*s", TEXT_ARG(reshaping->to), TEXT_ARG(rest));
	if (step->name.len > STORE_MAILBOX_LIMIT)
		return STORE_INVALID;
	char *path = mailbox_path(account->user->public.address, step->name);
	if (!path)
		return STORE_INVALID;
	step->directory = text_copy(change->arena, text_of(path)).ptr;
	mem_free(path);
	if (account_find(reshaping->account, step->name))
		return STORE_ALREADY_EXISTS;
	const int error = folder_vacate(engine->root, step->directory);
	return error == ENOTEMPTY || error == EEXIST || error == ENOTDIR
		       ? STORE_ALREADY_EXISTS
		       : engine_errno_failure(error);
}

static enum store_failure plan(
	struct engine *engine, struct change *change, struct reshaping *reshaping)
{
	const struct account *account = reshaping->account;

	reshaping->steps = arena_take(change->arena, account->count * sizeof(*reshaping->steps));
	for (size_t i = 0; i < account->count; i++) {
		struct mailbox *mailbox = account->mailboxes[i];
		const struct text name = text_of(mailbox->name);
		if (!text_equal(name, reshaping->name) && !is_below(name, reshaping->name))
			continue;
		if (mailbox->exclusive)
			return STORE_LOCKED;
		struct step *step = &reshaping->steps[reshaping->count++];
		*step = (struct step){ .mailbox = mailbox };
		const enum store_failure failure = plan_step(engine, change, reshaping, step);
		if (failure != STORE_OK)
			return failure;
	}
	return reshaping->count ? STORE_OK : STORE_NO_SUCH_MAILBOX;
}

static enum store_failure rename_all(
	struct engine *engine, struct change *change, const struct reshaping *reshaping)
{
	struct env_txn *txn;
	int error = env_begin(engine->env, &txn);

	if (error)
		return engine_env_failure(engine, "rename", error);
	for (size_t i = 0; i < reshaping->count && error == 0; i++) {
		struct step *step = &reshaping->steps[i];
		begin_step(change, step);
		mailbox_set_row_name(step->mailbox, step->name);
		error = log_rename(engine, txn, change, step);
		if (error == 0)
			error = mailbox_put(engine, txn, step->mailbox, &step->mailbox->row);
	}
	change->settled = renamed;
	return commit(engine, change, reshaping, txn, error);
}

static enum store_failure may_rename_inbox(
	struct engine *engine, const struct mailbox *inbox, const struct reshaping *reshaping)
{
	if (inbox->exclusive)
		return STORE_LOCKED;
	if (account_find(reshaping->account, reshaping->to))
		return STORE_ALREADY_EXISTS;
	return engine_space_is_low(engine) ? STORE_NO_SPACE : STORE_OK;
}

/* Who renames or deletes another mailbox waits behind, for INBOX to have its turn at all of it. */
static enum store_failure rename_inbox(
	struct engine *engine, struct change *change, struct reshaping *reshaping)
{
	struct mailbox *inbox = account_find(reshaping->account, TEXT("INBOX"));
	enum store_failure failure = STORE_OK;

	if (!reshaping->inbox.more)
		failure = may_rename_inbox(engine, inbox, reshaping);
	if (failure == STORE_OK)
		failure = transfer_inbox(engine, inbox, reshaping->to, change, &reshaping->inbox);
	reshaping->await = engine->staged_count;
	return failure;
}

static bool rename_in_turn(struct engine *engine, struct change *change)
{
	struct reshaping *reshaping = change->context;
	enum store_failure failure;

	if (is_under_way(reshaping->account) || engine->shown_count < reshaping->await)
		return false;
	if (text_equal(reshaping->name, TEXT("INBOX"))) {
		failure = rename_inbox(engine, change, reshaping);
	} else if (is_below(reshaping->to, reshaping->name)) {
		failure = STORE_INVALID;
	} else {
		failure = plan(engine, change, reshaping);
		if (failure == STORE_OK)
			failure = rename_all(engine, change, reshaping);
	}
	if (failure == STORE_OK && reshaping->inbox.more)
		return false;
	if (failure != STORE_OK)
		change_ready(change, failure);
	return true;
}

/* ---- delete ---- */

static bool deleted(struct change *change)
{
	const struct reshaping *reshaping = change->context;
	const struct step *step = &reshaping->steps[0];

	garbage_add(
		change->engine, step->mailbox->id, step->directory, change->engine->shown_count);
	mailbox_orphan(change->engine, step->mailbox);
	reshaping->account->vacating--;
	return false;
}

/* What it held no longer counts for the user. */
static void empty_row(struct mailbox *mailbox)
{
	struct index_mailbox *row = &mailbox->row;

	mailbox->account->messages -= row->messages;
	mailbox->account->octets -= row->octets;
	row->messages = row->unseen = 0;
	row->octets = row->wire = 0;
	row->modseq++;
}

static enum store_failure delete_mailbox(
	struct engine *engine, struct change *change, struct reshaping *reshaping)
{
	const struct user *user = reshaping->account->user;
	struct mailbox *mailbox = account_find(reshaping->account, reshaping->name);
	unsigned char key[INDEX_MAILBOX_KEY];
	struct env_txn *txn;

	if (!mailbox)
		return STORE_NO_SUCH_MAILBOX;
	if (mailbox->exclusive)
		return STORE_LOCKED;
	char *path = mailbox_deleted_path(user->public.address, mailbox->id.mailbox);
	reshaping->steps = arena_take(change->arena, sizeof(*reshaping->steps));
	reshaping->count = 1;
	reshaping->steps[0] = (struct step){ .mailbox = mailbox,
		.directory = text_copy(change->arena, text_of(path)).ptr };
	mem_free(path);
	int error = env_begin(engine->env, &txn);
	if (error)
		return engine_env_failure(engine, "delete", error);
	begin_step(change, &reshaping->steps[0]);
	error = log_rename(engine, txn, change, &reshaping->steps[0]);
	index_mailbox_key(mailbox->id, key);
	if (error == 0)
		error = env_put(engine->env, txn, ENV_MAILBOXES,
			(struct text){ .ptr = (char *)key, .len = sizeof(key) }, index_deleted());
	change->settled = deleted;
	const enum store_failure failure = commit(engine, change, reshaping, txn, error);
	if (failure == STORE_OK) {
		mailbox->leaving = true;
		empty_row(mailbox);
	}
	return failure;
}

static bool delete_in_turn(struct engine *engine, struct change *change)
{
	struct reshaping *reshaping = change->context;

	if (is_under_way(reshaping->account))
		return false;
	const enum store_failure failure = delete_mailbox(engine, change, reshaping);
	if (failure != STORE_OK)
		change_ready(change, failure);
	return true;
}

/* ---- asked for ---- */

static void reshape(struct engine *engine, struct text user, const struct reshaping *wanted,
	struct change *change, bool (*run)(struct engine *engine, struct change *change))
{
	struct account *account;
	enum store_failure failure =
		engine->broken || engine->closing ? STORE_BUSY : account_of(engine, user, &account);

	if (failure == STORE_OK &&
		(wanted->name.len == 0 || wanted->name.len > STORE_MAILBOX_LIMIT))
		failure = STORE_NO_SUCH_MAILBOX;
	if (failure != STORE_OK) {
		change_ready(change, failure);
		return;
	}
	struct reshaping *reshaping = arena_take(change->arena, sizeof(*reshaping));
	*reshaping = (struct reshaping){ .account = account,
		.name = text_copy(change->arena, maildir_canonical(wanted->name)),
		.to = text_copy(change->arena, maildir_canonical(wanted->to)) };
	change->context = reshaping;
	task_queue(engine, account->mailboxes[0], change, run);
}

void engine_rename(struct engine *engine, struct text user, struct text mailbox, struct text to,
	engine_done *done, void *owner)
{
	struct change *change = change_new(engine, done, owner);
	char folder[MAILDIR_NAME_LIMIT + 1];

	if (to.len > STORE_MAILBOX_LIMIT || maildir_folder(maildir_canonical(to), folder) != 0)
		change_ready(change, STORE_INVALID);
	else
		reshape(engine, user, &(struct reshaping){ .name = mailbox, .to = to }, change,
			rename_in_turn);
}

void engine_delete(struct engine *engine, struct text user, struct text mailbox, engine_done *done,
	void *owner)
{
	struct change *change = change_new(engine, done, owner);

	if (text_equal(maildir_canonical(mailbox), TEXT("INBOX")))
		change_ready(change, STORE_REFUSED);
	else
		reshape(engine, user, &(struct reshaping){ .name = mailbox, .to = TEXT("") },
			change, delete_in_turn);
}

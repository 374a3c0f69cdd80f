/*
 * New mailboxes, and the small text file that each has.
 */
#include <errno.h>
#include <fcntl.h>
#include <time.h>

#include "base/log.h"
#include "store/change.h"
#include "store/create.h"
#include "store/mailbox.h"
#include "store/space.h"
#include "store/users.h"
#include "store/view.h"

int create_log_file(struct engine *engine, struct env_txn *txn, struct change *change,
	struct mailbox *mailbox, uint32_t ceiling, struct text keywords)
{
	const struct maildir_file file = { .id = mailbox->id,
		.uidvalidity = mailbox->row.uidvalidity,
		.ceiling = ceiling,
		.keywords = keywords };
	struct effect *effect = change_effect(change, EFFECT_FILE, mailbox);

	buf_clear(&engine->value);
	maildir_file_print(&file, &engine->value);
	const struct journal_file record = { .user = mailbox->id.user,
		.mailbox = mailbox->id.mailbox,
		.directory = text_of(mailbox->directory),
		.octets = text_copy(change->arena, buf_text(&engine->value)) };
	effect->from = MAILDIR_FILE;
	effect->to = record.octets.ptr;
	journal_begin(&engine->record, JOURNAL_FILE);
	journal_file_pack(&engine->record, &record);
	journal_seal(&engine->record);
	return env_log(engine->env, txn, &engine->record);
}

/* Recovery may then put another text file in the place of this one. */
static enum store_failure disown(struct engine *engine, struct env_txn *txn,
	const struct mailbox *mailbox, struct index_mailbox_id before)
{
	journal_begin(&engine->record, JOURNAL_DISOWN);
	journal_disown_pack(&engine->record, &(struct journal_disown){ .user = before.user,
						     .mailbox = before.mailbox,
						     .directory = text_of(mailbox->directory) });
	journal_seal(&engine->record);
	const int error = env_log(engine->env, txn, &engine->record);
	return error ? engine_env_failure(engine, "create", error) : STORE_OK;
}

/* A text file from before: its UIDVALIDITY and UIDs are not given again, its keywords keep their letters. */
static enum store_failure take_over(
	struct engine *engine, struct env_txn *txn, struct mailbox *mailbox, int fd)
{
	enum store_failure failure = STORE_OK;
	struct buf keywords = { 0 };
	struct maildir_file file;
	size_t size;
	char *octets = sys_read_file(fd, MAILDIR_FILE, MAILDIR_FILE_LIMIT, &size);

	if (!octets)
		return errno == ENOENT ? STORE_OK : engine_errno_failure(errno);
	if (maildir_file_parse((struct text){ .ptr = octets, .len = size }, &file, &keywords) ==
		0) {
		if (file.id.user > mailbox->id.user ||
			(file.id.user == mailbox->id.user &&
				file.id.mailbox >= mailbox->id.mailbox)) {
			LOG_ERROR(
				"mailbox-of-somebody", LOG_STRING("directory", mailbox->directory));
			failure = STORE_DAMAGED;
		} else {
			failure = disown(engine, txn, mailbox, file.id);
		}
		mailbox->row.uidvalidity = file.uidvalidity;
		mailbox->row.uidnext = file.ceiling;
		mailbox_set_keywords(mailbox, file.keywords);
	}
	buf_release(&keywords);
	mem_free(octets);
	return failure;
}

/* The directories are made at once: harmless when the transaction fails, and a full disk shows now. */
static enum store_failure prepare(
	struct engine *engine, struct env_txn *txn, struct mailbox *mailbox)
{
	const int error = folder_make(engine->root, mailbox->place);

	if (error)
		return engine_errno_failure(error);
	const int fd = mailbox_directory(engine, mailbox);
	return fd < 0 ? engine_errno_failure(errno) : take_over(engine, txn, mailbox, fd);
}

static void number(struct engine *engine, struct mailbox *mailbox)
{
	const int64_t now = time(NULL);

	if (engine->counters.last_uidvalidity < now)
		engine->counters.last_uidvalidity = (uint32_t)now;
	else
		engine->counters.last_uidvalidity++;
	mailbox->row.uidvalidity = engine->counters.last_uidvalidity;
	mailbox->row.uidnext = 1;
	mailbox->row.modseq = engine_first_modseq();
	mailbox->row.expunged_since = mailbox->row.modseq;
}

static int write_rows(
	struct engine *engine, struct env_txn *txn, struct change *change, struct mailbox *mailbox)
{
	const struct user *user = mailbox->account->user;
	int error = create_log_file(
		engine, txn, change, mailbox, mailbox->row.ceiling, mailbox->row.keywords);

	if (error == 0)
		error = mailbox_put(engine, txn, mailbox, &mailbox->row);
	if (error == 0)
		error = users_put_counters(engine, txn);
	return error ? error : users_put(engine, txn, user, user->hash);
}

enum store_failure create_within(struct engine *engine, struct env_txn *txn, struct change *change,
	struct account *account, struct text name, struct mailbox **mailbox)
{
	struct user *user = account->user;

	*mailbox = NULL;
	/* What is on the disk under that name may not be what will be there. */
	if (account->vacating || !STAILQ_EMPTY(&engine->late))
		return STORE_BUSY;
	name = maildir_canonical(name);
	char *directory = mailbox_path(user->public.address, name);
	if (!directory)
		return STORE_INVALID;
	const struct index_mailbox_id id = { .user = user->public.number,
		.mailbox = user->next_mailbox };
	struct mailbox *made = mailbox_new(account, id, name, directory);
	mem_free(directory);
	number(engine, made);
	made->tidied = true;
	enum store_failure failure = prepare(engine, txn, made);
	made->row.ceiling = made->row.uidnext + ENGINE_CEILING_BLOCK;
	if (failure == STORE_OK) {
		user->next_mailbox++;
		mailbox_add(account, made);
		const int error = write_rows(engine, txn, change, made);
		if (error)
			failure = engine_env_failure(engine, "create", error);
	}
	if (failure != STORE_OK) {
		create_undo(change, made);
		return failure;
	}
	struct touch *touch = change_touch(change, made, TOUCH_ADD);
	touch->after = mailbox_staged(made);
	*mailbox = made;
	return STORE_OK;
}

void create_undo(struct change *change, struct mailbox *mailbox)
{
	change_clear(change);
	mailbox_discard(change->engine, mailbox);
}

static bool created(struct change *change)
{
	const struct mailbox *mailbox = change->context;

	change->result.uidvalidity = mailbox->row.uidvalidity;
	return false;
}

static enum store_failure create(
	struct engine *engine, struct account *account, struct text name, struct change *change)
{
	struct mailbox *mailbox;
	struct env_txn *txn;
	int error = env_begin(engine->env, &txn);

	if (error)
		return engine_env_failure(engine, "create", error);
	enum store_failure failure = create_within(engine, txn, change, account, name, &mailbox);
	if (failure != STORE_OK) {
		env_abort(txn);
		return failure;
	}
	if ((error = env_commit(txn)) != 0) {
		create_undo(change, mailbox);
		return engine_env_failure(engine, "create", error);
	}
	change->context = mailbox;
	change->settled = created;
	change_stage(change);
	return STORE_OK;
}

struct creation {
	struct account *account;
	struct text name;
};

static bool create_in_turn(struct engine *engine, struct change *change)
{
	const struct creation *creation = change->context;
	enum store_failure failure = STORE_OK;

	if (creation->account->vacating)
		return false;
	if (account_find(creation->account, creation->name))
		failure = STORE_ALREADY_EXISTS;
	else if (engine_space_is_low(engine))
		failure = STORE_NO_SPACE;
	if (failure == STORE_OK)
		failure = create(engine, creation->account, creation->name, change);
	if (failure != STORE_OK)
		change_ready(change, failure);
	return true;
}

void engine_create(
	struct engine *engine, struct text user, struct text name, engine_done *done, void *owner)
{
	struct change *change = change_new(engine, done, owner);
	struct account *account;
	const enum store_failure failure =
		engine->broken || engine->closing ? STORE_BUSY : account_of(engine, user, &account);

	if (failure != STORE_OK) {
		change_ready(change, failure);
		return;
	}
	struct creation *creation = arena_take(change->arena, sizeof(*creation));
	*creation = (struct creation){ .account = account, .name = text_copy(change->arena, name) };
	change->context = creation;
	task_queue(engine, account->mailboxes[0], change, create_in_turn);
}

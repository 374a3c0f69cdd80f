#include "store/import.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>

#include "base/log.h"
#include "store/change.h"
#include "store/create.h"
#include "store/hidden.h"
#include "store/mailbox.h"
#include "store/roster.h"
#include "store/space.h"
#include "store/subscribe.h"
#include "store/users.h"
#include "store/view.h"

/* The account of a user who is closed for it. */
static enum store_failure closed_account(
	struct engine *engine, struct text address, struct account **account)
{
	const enum store_failure failure =
		engine->broken ? STORE_BUSY : account_look(engine, address, account);

	if (failure != STORE_OK)
		return failure;
	return (*account)->user->importing ? STORE_OK : STORE_REFUSED;
}

/* ---- begin and end ---- */

bool import_is_unfinished(struct engine *engine, const struct user *user)
{
	char path[MAILDIR_PATH_LIMIT + 1];
	struct stat st;

	if (maildir_user_directory(user->public.address, path) != 0)
		return false;
	const size_t length = strlen(path);
	memcpy(path + length, "/" IMPORT_FILE, sizeof("/" IMPORT_FILE));
	return sys.fstatat(engine->root, path, &st, AT_SYMLINK_NOFOLLOW) == 0;
}

static enum store_failure write_marker(struct engine *engine, const struct account *account)
{
	static const char note[] =
		"An import has not been finished. Do it again, or remove the user.\n";
	const int fd = mailbox_directory(engine, account->mailboxes[0]);

	if (fd < 0)
		return engine_errno_failure(errno);
	if (sys_replace_file(fd, IMPORT_FILE, note, sizeof(note) - 1, S_IRUSR | S_IWUSR) == 0)
		return STORE_OK;
	const int error = errno;
	/* It may be there all the same, and the next start would find the user closed. */
	sys.unlinkat(fd, IMPORT_FILE, 0);
	return engine_errno_failure(error);
}

enum store_failure engine_import_begin(struct engine *engine, struct text user, bool *resumed)
{
	struct account *account;
	enum store_failure failure =
		engine->broken ? STORE_BUSY : account_look(engine, user, &account);
	bool pinned = false;

	if (failure != STORE_OK)
		return failure;
	for (size_t i = 0; i < account->count; i++) {
		if (!LIST_EMPTY(&account->mailboxes[i]->views))
			return STORE_LOCKED;
		pinned |= account->mailboxes[i]->pins > 0;
		roster_free(engine, &account->mailboxes[i]->roster);
	}
	*resumed = account->user->importing;
	if (!*resumed) {
		failure = write_marker(engine, account);
		if (failure != STORE_OK)
			return failure;
		account->user->importing = true;
		users_announce(engine);
		LOG_INFO("import-begins", LOG_TEXT("user", user));
	}
	return pinned ? STORE_BUSY : STORE_OK;
}

struct ending {
	struct account *account;
	struct text subscriptions;
};

/*
 * Only now that the list of subscriptions is durable the user is opened: a crash before leaves the import
 * unfinished, and it is done again.
 */
static bool ended(struct change *change)
{
	const struct ending *ending = change->context;
	struct account *account = ending->account;
	struct engine *engine = change->engine;
	const int fd = mailbox_directory(engine, account->mailboxes[0]);

	subscriptions_shown(account);
	if (fd < 0 || (sys.unlinkat(fd, IMPORT_FILE, 0) != 0 && errno != ENOENT) ||
		sys.fsync(fd) != 0) {
		change->result.failure = engine_errno_failure(errno);
		return false;
	}
	account->user->importing = false;
	users_announce(engine);
	LOG_INFO("import-ends", LOG_TEXT("user", account->user->public.address));
	return false;
}

static bool end_in_turn(struct engine *engine, struct change *change)
{
	const struct ending *ending = change->context;
	enum store_failure failure = STORE_REFUSED;

	if (ending->account->user->importing) {
		change->settled = ended;
		failure = subscriptions_add(engine, change, ending->account, ending->subscriptions);
	}
	if (failure != STORE_OK)
		change_ready(change, failure);
	return true;
}

void engine_import_end(struct engine *engine, struct text user, struct text subscriptions,
	engine_done *done, void *owner)
{
	struct change *change = change_new(engine, done, owner);
	struct account *account;
	const enum store_failure failure =
		engine->closing ? STORE_BUSY : closed_account(engine, user, &account);

	if (failure != STORE_OK) {
		change_ready(change, failure);
		return;
	}
	struct ending *ending = arena_take(change->arena, sizeof(*ending));
	*ending = (struct ending){ .account = account,
		.subscriptions = text_copy(change->arena, subscriptions) };
	change->context = ending;
	task_queue(engine, account->mailboxes[0], change, end_in_turn);
}

/* ---- one mailbox ---- */

struct taking {
	struct engine *engine;
	struct change *change;
	struct env_txn *txn;
	struct mailbox *mailbox;
	struct index_mailbox before;
	bool made;
};

/* Whether something is to be written; -1 with the failure. */
static int take_numbers(
	struct taking *taking, const struct engine_import *import, enum store_failure *failure)
{
	struct mailbox *mailbox = taking->mailbox;
	struct index_mailbox *row = &mailbox->row;

	if (import->uidvalidity && row->uidvalidity != import->uidvalidity) {
		if (row->messages) {
			*failure = STORE_ALREADY_EXISTS;
			return -1;
		}
		row->uidvalidity = import->uidvalidity;
		row->uidnext = 1;
		row->ceiling = 1 + ENGINE_CEILING_BLOCK;
		row->modseq++;
		/* What was expunged before had other numbers. */
		row->expunged_since = row->modseq;
	}
	if (row->uidnext < import->uidnext)
		row->uidnext = import->uidnext;
	if (row->uidnext >= row->ceiling)
		row->ceiling = row->uidnext + ENGINE_CEILING_BLOCK;
	return row->uidvalidity != taking->before.uidvalidity ||
	       row->uidnext != taking->before.uidnext;
}

static int write_numbers(struct taking *taking)
{
	struct engine *engine = taking->engine;
	struct mailbox *mailbox = taking->mailbox;
	int error = create_log_file(engine, taking->txn, taking->change, mailbox,
		mailbox->row.ceiling, mailbox->row.keywords);

	if (error == 0)
		error = mailbox_put(engine, taking->txn, mailbox, &mailbox->row);
	/* A mailbox of the same name, made later, has to get a greater one. */
	if (error == 0 && engine->counters.last_uidvalidity < mailbox->row.uidvalidity) {
		engine->counters.last_uidvalidity = mailbox->row.uidvalidity;
		error = users_put_counters(engine, taking->txn);
	}
	if (error == 0)
		change_touch(taking->change, mailbox, TOUCH_ADD)->after = mailbox_staged(mailbox);
	return error;
}

static void take_back(struct taking *taking)
{
	if (taking->made) {
		create_undo(taking->change, taking->mailbox);
	} else {
		change_clear(taking->change);
		taking->mailbox->row = taking->before;
	}
}

static enum store_failure find(struct taking *taking, struct account *account, struct text name)
{
	taking->mailbox = account_find(account, name);
	taking->made = !taking->mailbox;
	return taking->made ? create_within(taking->engine, taking->txn, taking->change, account,
				      name, &taking->mailbox)
			    : STORE_OK;
}

static enum store_failure take(
	struct taking *taking, struct account *account, const struct engine_import *import)
{
	enum store_failure failure = find(taking, account, import->mailbox);

	if (failure != STORE_OK) {
		env_abort(taking->txn);
		return failure;
	}
	if (taking->mailbox->hidden) {
		env_abort(taking->txn);
		return STORE_BUSY;
	}
	taking->before = taking->mailbox->row;
	const int wanted = take_numbers(taking, import, &failure);
	int error = wanted > 0 ? write_numbers(taking) : 0;
	if (wanted < 0 || error) {
		env_abort(taking->txn);
	} else if (wanted || taking->made) {
		error = env_commit(taking->txn);
	} else {
		env_abort(taking->txn);
		return STORE_OK;
	}
	if (error)
		failure = engine_env_failure(taking->engine, "import", error);
	if (failure != STORE_OK)
		take_back(taking);
	return failure;
}

void engine_import_mailbox(
	struct engine *engine, const struct engine_import *import, engine_done *done, void *owner)
{
	struct change *change = change_new(engine, done, owner);
	struct taking taking = { .engine = engine, .change = change };
	struct account *account;
	enum store_failure failure = closed_account(engine, import->user, &account);

	if (failure == STORE_OK && (import->uidvalidity > STORE_UIDVALIDITY_LIMIT ||
					   import->uidnext > STORE_UID_LIMIT))
		failure = STORE_INVALID;
	if (failure == STORE_OK && engine_space_is_low(engine))
		failure = STORE_NO_SPACE;
	if (failure == STORE_OK) {
		const int error = env_begin(engine->env, &taking.txn);
		failure = error ? engine_env_failure(engine, "import", error)
				: take(&taking, account, import);
	}
	if (failure != STORE_OK)
		change_ready(change, failure);
	else if (change->effect_count)
		change_stage(change);
	else
		change_follow(change);
}

/* ---- what there is ---- */

struct listing {
	const struct mailbox *mailbox;
	struct buf *uids;
	bool damaged;
};

static int list_one(void *owner, struct text key, struct text value)
{
	struct listing *listing = owner;
	const struct index_mailbox_id of = listing->mailbox->id;
	struct index_mailbox_id id;
	uint32_t uid;

	(void)value;
	listing->damaged = index_message_key_decode(key, &id, &uid) != 0;
	if (listing->damaged || id.user != of.user || id.mailbox != of.mailbox)
		return 1;
	if (hidden_has(listing->mailbox, uid))
		return 0;
	message_add_u32(listing->uids, uid);
	return buf_length(listing->uids) > STORE_UIDS_LIMIT;
}

enum store_failure engine_import_uids(struct engine *engine, struct text user, struct text name,
	uint32_t *uidnext, struct buf *uids)
{
	unsigned char key[INDEX_MESSAGE_KEY];
	struct account *account;
	const enum store_failure failure = closed_account(engine, user, &account);
	const struct mailbox *mailbox = failure == STORE_OK ? account_find(account, name) : NULL;
	struct listing listing = { .mailbox = mailbox, .uids = uids };

	if (!mailbox)
		return failure == STORE_OK ? STORE_NO_SUCH_MAILBOX : failure;
	*uidnext = mailbox->row.uidnext;
	index_message_key(mailbox->id, 0, key);
	const int error = env_scan(engine->env, ENV_MESSAGES,
		(struct text){ .ptr = (char *)key, .len = sizeof(key) }, list_one, &listing);
	if (error)
		return engine_env_failure(engine, "import", error);
	if (listing.damaged)
		return engine_damaged(engine, "messages");
	return buf_length(uids) > STORE_UIDS_LIMIT ? STORE_TOO_LARGE : STORE_OK;
}

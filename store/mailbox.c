/*
 * Accounts and mailboxes in memory. A user's mailboxes are read from the index together, at the first
 * touch; from then on a delivery needs no read of the index at all.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>

#include "base/log.h"
#include "mail/utf8.h"
#include "store/garbage.h"
#include "store/hidden.h"
#include "store/import.h"
#include "store/mailbox.h"
#include "store/roster.h"
#include "store/users.h"

enum { ACCOUNTS = 4096 }; /* in memory at once, unless more are in use */

char *mailbox_path(struct text address, struct text name)
{
	char path[MAILDIR_PATH_LIMIT + 1];
	char folder[MAILDIR_NAME_LIMIT + 1];

	if (maildir_user_directory(address, path) != 0 || maildir_folder(name, folder) != 0)
		return NULL;
	const size_t length = strlen(path);
	const size_t more = strlen(folder);
	if (more) {
		path[length] = '/';
		memcpy(path + length + 1, folder, more + 1);
	}
	return mem_copy(path, strlen(path));
}

struct mailbox *mailbox_new(struct account *account, struct index_mailbox_id id, struct text name,
	const char *directory)
{
	struct mailbox *mailbox = mem_new(sizeof(*mailbox));

	mailbox->account = account;
	mailbox->id = id;
	mailbox->fd = -1;
	mailbox->name = mem_copy(name.ptr, name.len);
	mailbox->directory = mem_copy(directory, strlen(directory));
	mailbox->place = mem_copy(directory, strlen(directory));
	mailbox->row.version = INDEX_VERSION;
	mailbox_set_row_name(mailbox, name);
	LIST_INIT(&mailbox->views);
	mailbox_set_keywords(mailbox, TEXT(""));
	return mailbox;
}

void mailbox_set_keywords(struct mailbox *mailbox, struct text keywords)
{
	char *copy = mem_copy(keywords.ptr, keywords.len);

	mem_free(mailbox->keywords);
	mailbox->keywords = copy;
	mailbox->row.keywords = text_of(copy);
}

void mailbox_set_row_name(struct mailbox *mailbox, struct text name)
{
	char *copy = mem_copy(name.ptr, name.len);

	mem_free(mailbox->row_name);
	mailbox->row_name = copy;
	mailbox->row.name = text_of(copy);
}

static int compare(struct text a, struct text b)
{
	const bool a_is_inbox = text_equal(a, TEXT("INBOX"));
	const bool b_is_inbox = text_equal(b, TEXT("INBOX"));

	return a_is_inbox || b_is_inbox ? b_is_inbox - a_is_inbox : text_compare(a, b);
}

/* In its place by name. */
static void insert(struct account *account, struct mailbox *mailbox)
{
	const struct text name = text_of(mailbox->name);
	size_t at = account->count;

	account->mailboxes =
		mem_resize(account->mailboxes, (account->count + 1) * sizeof(*account->mailboxes));
	while (at > 0 && compare(text_of(account->mailboxes[at - 1]->name), name) > 0)
		at--;
	memmove(account->mailboxes + at + 1, account->mailboxes + at,
		(account->count - at) * sizeof(*account->mailboxes));
	account->mailboxes[at] = mailbox;
	account->count++;
}

/* False: it is not in its account. */
static bool take_out(struct mailbox *mailbox)
{
	struct account *account = mailbox->account;

	for (size_t i = 0; i < account->count; i++) {
		if (account->mailboxes[i] != mailbox)
			continue;
		account->count--;
		memmove(account->mailboxes + i, account->mailboxes + i + 1,
			(account->count - i) * sizeof(*account->mailboxes));
		return true;
	}
	return false;
}

void mailbox_set_name(struct mailbox *mailbox, struct text name)
{
	char *copy = mem_copy(name.ptr, name.len);

	take_out(mailbox);
	mem_free(mailbox->name);
	mailbox->name = copy;
	insert(mailbox->account, mailbox);
}

void mailbox_add(struct account *account, struct mailbox *mailbox)
{
	insert(account, mailbox);
	account->messages += mailbox->row.messages;
	account->octets += mailbox->row.octets;
}

struct mailbox *account_find(struct account *account, struct text name)
{
	size_t low = 0, high = account->count;

	name = maildir_canonical(name);
	while (low < high) {
		const size_t middle = low + (high - low) / 2;
		const int order = compare(text_of(account->mailboxes[middle]->name), name);
		if (order == 0)
			return account->mailboxes[middle];
		if (order < 0)
			low = middle + 1;
		else
			high = middle;
	}
	return NULL;
}

void mailbox_close_directory(struct engine *engine, struct mailbox *mailbox)
{
	if (mailbox->fd < 0)
		return;
	sys.close(mailbox->fd);
	mailbox->fd = -1;
	TAILQ_REMOVE(&engine->directories, mailbox, open_link);
	engine->directory_count--;
}

static void mailbox_free(struct engine *engine, struct mailbox *mailbox)
{
	mailbox_close_directory(engine, mailbox);
	hidden_free(mailbox);
	roster_free(engine, &mailbox->roster);
	if (buf_length(&mailbox->retired))
		LIST_REMOVE(mailbox, retired_link);
	buf_release(&mailbox->retired);
	mem_free(mailbox->name);
	mem_free(mailbox->row_name);
	mem_free(mailbox->directory);
	mem_free(mailbox->place);
	mem_free(mailbox->keywords);
	mem_free(mailbox);
}

void mailbox_discard(struct engine *engine, struct mailbox *mailbox)
{
	if (take_out(mailbox)) {
		mailbox->account->messages -= mailbox->row.messages;
		mailbox->account->octets -= mailbox->row.octets;
	}
	mailbox_free(engine, mailbox);
}

char *mailbox_deleted_path(struct text address, uint32_t mailbox)
{
	char path[MAILDIR_PATH_LIMIT + 1];

	if (maildir_user_directory(address, path) != 0)
		return NULL;
	const size_t length = strlen(path);
	snprintf(path + length, sizeof(path) - length, "/" MAILDIR_DELETED "%u", mailbox);
	return mem_copy(path, strlen(path));
}

void mailbox_orphan(struct engine *engine, struct mailbox *mailbox)
{
	take_out(mailbox);
	/* Its note goes with all else that the mailbox had. */
	if (hidden_is_left(mailbox))
		hidden_free(mailbox);
	mailbox->leaving = false;
	mailbox->gone = true;
	mailbox->account->orphans++;
	LIST_INSERT_HEAD(&engine->orphans, mailbox, orphan_link);
	mailbox_close_directory(engine, mailbox);
	mailbox_changed(engine, mailbox);
}

static void reap(struct engine *engine, struct mailbox *mailbox)
{
	LIST_REMOVE(mailbox, orphan_link);
	mailbox->account->orphans--;
	mailbox_free(engine, mailbox);
}

void orphans_reap(struct engine *engine)
{
	struct mailbox *mailbox = LIST_FIRST(&engine->orphans);

	while (mailbox) {
		struct mailbox *next = LIST_NEXT(mailbox, orphan_link);
		if (mailbox->pins == 0)
			reap(engine, mailbox);
		mailbox = next;
	}
}

void orphans_free(struct engine *engine)
{
	while (!LIST_EMPTY(&engine->orphans))
		reap(engine, LIST_FIRST(&engine->orphans));
}

struct visible mailbox_staged(const struct mailbox *mailbox)
{
	return (struct visible){ .uidnext = mailbox->row.uidnext,
		.messages = mailbox->row.messages,
		.unseen = mailbox->row.unseen,
		.octets = mailbox->row.octets,
		.wire = mailbox->row.wire,
		.modseq = mailbox->row.modseq };
}

void mailbox_show(struct mailbox *mailbox)
{
	mailbox->visible = mailbox_staged(mailbox);
}

int mailbox_put(struct engine *engine, struct env_txn *txn, const struct mailbox *mailbox,
	const struct index_mailbox *row)
{
	struct index_mailbox value = *row;
	unsigned char key[INDEX_MAILBOX_KEY];

	/* What is only presumed to have been seen is looked at again after a restart. */
	if (mailbox->presumed)
		value.new_seen = value.cur_seen = 0;
	index_mailbox_key(mailbox->id, key);
	buf_clear(&engine->value);
	index_mailbox_encode(&engine->value, &value);
	return env_put(engine->env, txn, ENV_MAILBOXES,
		(struct text){ .ptr = (char *)key, .len = sizeof(key) }, buf_text(&engine->value));
}

void mailbox_changed(struct engine *engine, struct mailbox *mailbox)
{
	if (mailbox->changed || LIST_EMPTY(&mailbox->views))
		return;
	mailbox->changed = true;
	mailbox->pins++;
	STAILQ_INSERT_TAIL(&engine->changed, mailbox, changed_link);
	engine_round_soon(engine);
}

/* ---- accounts ---- */

struct loading {
	struct engine *engine;
	struct account *account;
	bool damaged;
};

/* Of a deleted mailbox: what is left of it goes. */
static bool load_deleted(struct loading *loading, struct index_mailbox_id id)
{
	const struct user *user = loading->account->user;
	char *path = mailbox_deleted_path(user->public.address, id.mailbox);

	if (path)
		garbage_add(loading->engine, id, path, 0);
	mem_free(path);
	return path != NULL;
}

static int load_one(void *owner, struct text key, struct text value)
{
	struct loading *loading = owner;
	const struct user *user = loading->account->user;
	struct index_mailbox_id id;
	struct index_mailbox row;

	loading->damaged = index_mailbox_key_decode(key, &id) != 0;
	if (loading->damaged || id.user != user->public.number)
		return 1;
	if (index_is_deleted(value))
		return !load_deleted(loading, id);
	loading->damaged = index_mailbox_decode(value, &row) != 0 || row.uidvalidity == 0 ||
			   row.uidnext == 0 || row.unseen > row.messages;
	char *directory = loading->damaged ? NULL : mailbox_path(user->public.address, row.name);
	loading->damaged = directory == NULL;
	if (loading->damaged)
		return 1;
	struct mailbox *mailbox = mailbox_new(loading->account, id, row.name, directory);
	mem_free(directory);
	row.name = text_of(mailbox->row_name);
	mailbox_set_keywords(mailbox, row.keywords);
	row.keywords = mailbox->row.keywords;
	mailbox->row = row;
	mailbox_show(mailbox);
	mailbox_add(loading->account, mailbox);
	return 0;
}

static bool is_pinned(const struct engine *engine, const struct account *account)
{
	if (account->user->hidden || account->user->leaving || account->orphans)
		return true;
	for (size_t i = 0; i < account->count; i++) {
		const struct mailbox *mailbox = account->mailboxes[i];
		if (mailbox->pins || buf_length(&mailbox->retired) ||
			mailbox->copied > engine->checkpoint.covered)
			return true;
	}
	return false;
}

struct mailbox *account_find_number(struct account *account, uint32_t number)
{
	for (size_t i = 0; i < account->count; i++) {
		if (account->mailboxes[i]->id.mailbox == number)
			return account->mailboxes[i];
	}
	return NULL;
}

void account_drop(struct engine *engine, struct account *account)
{
	TAILQ_REMOVE(&engine->accounts, account, link);
	engine->account_count--;
	account->user->account = NULL;
	for (size_t i = 0; i < account->count; i++)
		mailbox_free(engine, account->mailboxes[i]);
	buf_release(&account->subscriptions);
	mem_free(account->mailboxes);
	mem_free(account);
}

/* Let go of what was not used for long, so that a million users do not fill the memory. */
static void make_room(struct engine *engine)
{
	struct account *account = TAILQ_FIRST(&engine->accounts);

	while (account && engine->account_count >= ACCOUNTS) {
		struct account *next = TAILQ_NEXT(account, link);
		if (!is_pinned(engine, account))
			account_drop(engine, account);
		account = next;
	}
}

void accounts_free(struct engine *engine)
{
	struct account *account;

	while ((account = TAILQ_FIRST(&engine->accounts)) != NULL)
		account_drop(engine, account);
}

static enum store_failure load(struct engine *engine, struct user *user)
{
	unsigned char key[INDEX_MAILBOX_KEY];

	make_room(engine);
	struct account *account = mem_new(sizeof(*account));
	account->user = user;
	user->account = account;
	TAILQ_INSERT_TAIL(&engine->accounts, account, link);
	engine->account_count++;
	struct loading loading = { .engine = engine, .account = account };
	index_mailbox_key((struct index_mailbox_id){ .user = user->public.number }, key);
	const int error = env_scan(engine->env, ENV_MAILBOXES,
		(struct text){ .ptr = (char *)key, .len = sizeof(key) }, load_one, &loading);
	if (error == 0 && !loading.damaged) {
		user->importing = import_is_unfinished(engine, user);
		return STORE_OK;
	}
	account_drop(engine, account);
	return error ? engine_env_failure(engine, "mailboxes", error)
		     : engine_damaged(engine, "mailboxes");
}

enum store_failure account_open(struct engine *engine, struct user *user, struct account **account)
{
	*account = NULL;
	if (!user->account) {
		const enum store_failure failure = load(engine, user);
		if (failure != STORE_OK)
			return failure;
	} else if (TAILQ_NEXT(user->account, link)) {
		TAILQ_REMOVE(&engine->accounts, user->account, link);
		TAILQ_INSERT_TAIL(&engine->accounts, user->account, link);
	}
	*account = user->account;
	return STORE_OK;
}

enum store_failure account_of(struct engine *engine, struct text address, struct account **account)
{
	const enum store_failure failure = account_look(engine, address, account);

	return failure == STORE_OK && (*account)->user->importing ? STORE_BUSY : failure;
}

enum store_failure account_look(
	struct engine *engine, struct text address, struct account **account)
{
	struct user *user = users_find(engine, address);

	*account = NULL;
	if (!user || user->hidden)
		return STORE_NO_SUCH_USER;
	return user->leaving ? STORE_BUSY : account_open(engine, user, account);
}

/* ---- directories ---- */

static bool is_ours(struct text name)
{
	struct maildir_base parts;

	maildir_base_parse(name, &parts);
	return parts.has_size && parts.has_wire && parts.has_uid;
}

/*
 * Files that an earlier run of the store did not get out of tmp/. Nothing of this run is there yet: a
 * mailbox stays in memory as long as anything of it is under way.
 */
static void tidy(struct mailbox *mailbox)
{
	const struct dirent *entry;
	DIR *dir = sys_open_directory(mailbox->fd, "tmp", 0);

	mailbox->tidied = true;
	if (!dir)
		return;
	while ((entry = readdir(dir)) != NULL) {
		if (is_ours(text_of(entry->d_name)))
			sys.unlinkat(dirfd(dir), entry->d_name, 0);
	}
	closedir(dir);
}

int mailbox_directory(struct engine *engine, struct mailbox *mailbox)
{
	if (mailbox->fd >= 0) {
		if (TAILQ_NEXT(mailbox, open_link)) {
			TAILQ_REMOVE(&engine->directories, mailbox, open_link);
			TAILQ_INSERT_TAIL(&engine->directories, mailbox, open_link);
		}
		return mailbox->fd;
	}
	if (engine->directory_count >= engine->directory_limit)
		mailbox_close_directory(engine, TAILQ_FIRST(&engine->directories));
	mailbox->fd = sys.openat(
		engine->root, mailbox->place, O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW, 0);
	if (mailbox->fd < 0)
		return -1;
	TAILQ_INSERT_TAIL(&engine->directories, mailbox, open_link);
	engine->directory_count++;
	if (!mailbox->tidied)
		tidy(mailbox);
	return mailbox->fd;
}

/* ---- keywords ---- */

/* An atom as IMAP has it (RFC 9051 section 9, flag-keyword), or UTF-8 beyond ASCII. */
static bool is_keyword(struct text name)
{
	for (size_t i = 0; i < name.len;) {
		const unsigned char octet = (unsigned char)name.ptr[i];
		const size_t wide = octet < 0x80 ? 1 : utf8_length(text_from(name, i));
		if (wide == 0 || octet <= ' ' || octet == 0x7f || strchr("(){%*\"\\]", octet))
			return false;
		i += wide;
	}
	return name.len > 0;
}

static bool find_keyword(struct text names, struct text wanted, unsigned *bit)
{
	struct text rest = names, name;

	*bit = 0;
	if (names.len == 0)
		return false;
	for (; text_split(&rest, ' ', &name); ++*bit) {
		if (text_equal_nocase(name, wanted))
			return true;
	}
	return false;
}

enum store_failure mailbox_keyword_bits(struct text wanted, struct buf *names, uint64_t *bits)
{
	struct text rest = wanted, name;
	unsigned bit;

	*bits = 0;
	while (rest.len && text_split(&rest, ' ', &name)) {
		if (name.len == 0)
			continue;
		if (!find_keyword(buf_text(names), name, &bit)) {
			if (!is_keyword(name) || bit >= STORE_KEYWORDS ||
				buf_length(names) + 1 + name.len > STORE_KEYWORDS_LIMIT)
				return STORE_INVALID;
			if (buf_length(names))
				buf_add_char(names, ' ');
			buf_add(names, name);
		}
		*bits |= UINT64_C(1) << bit;
	}
	return STORE_OK;
}

uint64_t mailbox_keyword_mask(struct text names)
{
	struct text rest = names, name;
	uint64_t mask = 0;

	while (rest.len && text_split(&rest, ' ', &name))
		mask = mask << 1 | 1;
	return mask;
}

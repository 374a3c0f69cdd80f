/*
 * An index from the Maildirs: the same UIDVALIDITY, UIDs, sizes, flags and keywords as before, so that no
 * client has to fetch anything again.
 *
 * It is made in an environment of its own, which takes its place under its name when it is complete: a
 * rebuild that is interrupted starts again. What it changes in a Maildir (names of files that carry no
 * UID yet) is the same when it is done a second time.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/log.h"
#include "store/batch.h"
#include "store/mailbox.h"
#include "store/once_keys.h"
#include "store/recovery.h"
#include "store/scan.h"
#include "store/users.h"

#define PROGRESS "rebuild.progress"

enum { MESSAGES_AT_ONCE = 1000, TELL_EVERY = 50, TELL_MILLISECONDS = 100 };

struct rebuilding {
	struct engine *engine;
	struct env_txn *txn;
	unsigned pending; /* rows in the transaction */
	uint64_t messages, mailboxes;
	size_t users;
	int64_t told; /* clock_milliseconds() */
};

/* For who waits and cannot ask (restante store rebuild): users done, users in all, messages. */
static void tell(struct rebuilding *rebuilding)
{
	struct engine *engine = rebuilding->engine;
	char line[80];

	if (clock_milliseconds() - rebuilding->told < TELL_MILLISECONDS)
		return;
	rebuilding->told = clock_milliseconds();
	const int length = snprintf(line, sizeof(line), "%zu %zu %llu\n", rebuilding->users,
		engine->user_count, (unsigned long long)rebuilding->messages);
	/* Of this moment only: not synced. */
	const int file = sys.openat(engine->root, PROGRESS ".new",
		O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, S_IRUSR | S_IWUSR);
	if (file < 0)
		return;
	const int written = sys_write_all(file, line, (size_t)length);
	sys.close(file);
	if (written == 0)
		sys.renameat(engine->root, PROGRESS ".new", engine->root, PROGRESS);
}

static int step(struct rebuilding *rebuilding, bool last)
{
	int error = 0;

	if (!last && ++rebuilding->pending < MESSAGES_AT_ONCE)
		return 0;
	rebuilding->pending = 0;
	error = env_commit(rebuilding->txn);
	rebuilding->txn = NULL;
	return error || last ? error : env_begin(rebuilding->engine->env, &rebuilding->txn);
}

/* ---- one mailbox ---- */

struct found {
	const char *leaf;
	uint32_t uid; /* 0: it gets one */
};

static int compare_found(const void *a, const void *b)
{
	const struct found *x = a, *y = b;

	/* Those without a UID last, in the order of their names. */
	if (x->uid != y->uid)
		return x->uid - 1 < y->uid - 1 ? -1 : 1;
	return strcmp(x->leaf + 4, y->leaf + 4);
}

static int put_message(struct rebuilding *rebuilding, struct mailbox *mailbox,
	struct folder *folder, const struct found *found)
{
	struct engine *engine = rebuilding->engine;
	struct index_message row = { .version = INDEX_VERSION, .modseq = mailbox->row.modseq };
	char base[INDEX_BASE_LIMIT + 1], to[MAILDIR_LEAF_LIMIT + 1];
	unsigned char key[INDEX_MESSAGE_KEY];
	struct maildir_base parts;
	int error = scan_measure(folder->fd, found->leaf, &row);

	if (error == ENOENT)
		return 0;
	/* One file of all must not keep the store from starting. It is adopted when it can be read. */
	if (error && engine_errno_failure(error) != STORE_BUSY) {
		LOG_WARNING("not-adopted", LOG_STRING("directory", mailbox->directory),
			LOG_STRING("file", found->leaf), LOG_ERRNO(error));
		return 0;
	}
	if (error)
		return error;
	row.base =
		maildir_name_parse(text_from(text_of(found->leaf), 4), &row.flags, &row.keywords);
	row.keywords &= mailbox_keyword_mask(mailbox->row.keywords);
	row.place = memcmp(found->leaf, "new", 3) == 0 ? INDEX_NEW : INDEX_CUR;
	const uint32_t uid = found->uid ? found->uid : mailbox->row.uidnext++;
	maildir_base_parse(row.base, &parts);
	if (!found->uid || parts.size != row.size || parts.wire != row.wire ||
		row.base.len > INDEX_BASE_LIMIT) {
		row.base = (struct text){ .ptr = base,
			.len = maildir_base_adopt(parts.unique, row.size, row.wire, uid, base) };
		batch_leaf(&row, to);
		if (sys.renameat(folder->fd, found->leaf, folder->fd, to) != 0)
			return errno;
	}
	index_message_key(mailbox->id, uid, key);
	buf_clear(&engine->value);
	index_message_encode(&engine->value, &row);
	error = env_put(engine->env, rebuilding->txn, ENV_MESSAGES,
		(struct text){ .ptr = (char *)key, .len = sizeof(key) }, buf_text(&engine->value));
	mailbox->row.messages++;
	mailbox->row.unseen += !(row.flags & STORE_FLAG_SEEN);
	mailbox->row.octets += row.size;
	mailbox->row.wire += row.wire;
	if (++rebuilding->messages % TELL_EVERY == 0)
		tell(rebuilding);
	return error ? error : step(rebuilding, false);
}

/* Sorted by UID. A UID that two files claim is the first one's. */
static size_t find_all(const struct folder *folder, struct mailbox *mailbox, struct found **found)
{
	const size_t all = names_count(folder->names);
	struct found *list = mem_array(all + 1, sizeof(*list));

	for (size_t i = 0; i < all; i++) {
		struct maildir_base parts;
		maildir_base_parse(names_at(folder->names, i)->base, &parts);
		list[i] = (struct found){ .leaf = names_at(folder->names, i)->leaf,
			.uid = parts.has_uid && parts.uid < UINT32_MAX / 2 ? parts.uid : 0 };
	}
	qsort(list, all, sizeof(*list), compare_found);
	uint32_t last = 0;
	for (size_t i = 0; i < all && list[i].uid; i++) {
		if (list[i].uid == last)
			list[i].uid = 0;
		else
			last = list[i].uid;
	}
	qsort(list, all, sizeof(*list), compare_found);
	if (last >= mailbox->row.uidnext)
		mailbox->row.uidnext = last + 1;
	*found = list;
	return all;
}

static int put_messages(
	struct rebuilding *rebuilding, struct mailbox *mailbox, struct folder *folder)
{
	struct found *found;
	int error = 0;

	folder->names = names_read(folder->fd);
	if (!folder->names)
		return errno;
	const size_t count = find_all(folder, mailbox, &found);
	for (size_t i = 0; i < count && error == 0; i++)
		error = put_message(rebuilding, mailbox, folder, &found[i]);
	mem_free(found);
	folder_forget(folder);
	return error;
}

/* UIDVALIDITY, keywords and the next UID as the text file has them; else new ones. */
static int read_text_file(struct rebuilding *rebuilding, struct mailbox *mailbox, int fd)
{
	struct engine *engine = rebuilding->engine;
	struct user *user = mailbox->account->user;
	struct buf keywords = { 0 };
	struct maildir_file file;
	size_t size;
	char *octets = sys_read_file(fd, MAILDIR_FILE, MAILDIR_FILE_LIMIT, &size);

	if (!octets && errno != ENOENT)
		return errno;
	const bool good = octets && maildir_file_parse((struct text){ .ptr = octets, .len = size },
					    &file, &keywords) == 0;
	if (good) {
		mailbox->row.uidvalidity = file.uidvalidity;
		mailbox->row.uidnext = file.ceiling;
		mailbox_set_keywords(mailbox, file.keywords);
		if (file.id.user == user->public.number && file.id.mailbox < UINT32_MAX / 2)
			mailbox->id.mailbox = file.id.mailbox;
	} else {
		if (octets)
			LOG_WARNING("mailbox-file", LOG_STRING("directory", mailbox->directory));
		engine->counters.last_uidvalidity++;
		mailbox->row.uidvalidity = engine->counters.last_uidvalidity;
		mailbox->row.uidnext = 1;
	}
	for (size_t i = 0; i < mailbox->account->count; i++) {
		if (mailbox->account->mailboxes[i]->id.mailbox == mailbox->id.mailbox)
			mailbox->id.mailbox = user->next_mailbox;
	}
	if (engine->counters.last_uidvalidity < mailbox->row.uidvalidity)
		engine->counters.last_uidvalidity = mailbox->row.uidvalidity;
	if (user->next_mailbox <= mailbox->id.mailbox)
		user->next_mailbox = mailbox->id.mailbox + 1;
	buf_release(&keywords);
	mem_free(octets);
	return 0;
}

static int put_mailbox(struct rebuilding *rebuilding, struct mailbox *mailbox, int fd)
{
	struct engine *engine = rebuilding->engine;
	struct buf text = { 0 };

	mailbox->row.ceiling = mailbox->row.uidnext + ENGINE_CEILING_BLOCK;
	const struct maildir_file file = { .id = mailbox->id,
		.uidvalidity = mailbox->row.uidvalidity,
		.ceiling = mailbox->row.ceiling,
		.keywords = mailbox->row.keywords };
	maildir_file_print(&file, &text);
	/* Synced: it replaces the only one, and no log has it. */
	const struct text octets = buf_text(&text);
	int error =
		sys_replace_file(fd, MAILDIR_FILE, octets.ptr, octets.len, S_IRUSR | S_IWUSR) == 0
			? 0
			: errno;
	buf_release(&text);
	if (error == 0)
		error = mailbox_put(engine, rebuilding->txn, mailbox, &mailbox->row);
	rebuilding->mailboxes++;
	return error ? error : step(rebuilding, false);
}

static int add_mailbox(struct rebuilding *rebuilding, struct account *account, struct text name)
{
	struct engine *engine = rebuilding->engine;
	char *directory = mailbox_path(account->user->public.address, name);

	if (!directory)
		return EBADMSG;
	const struct index_mailbox_id id = { .user = account->user->public.number,
		.mailbox = account->user->next_mailbox };
	struct mailbox *mailbox = mailbox_new(account, id, name, directory);
	mem_free(directory);
	mailbox->row.modseq = engine_first_modseq();
	mailbox->row.expunged_since = mailbox->row.modseq;
	int error = folder_make(engine->root, mailbox->directory);
	struct folder folder = { .fd = -1 };
	if (error == 0 && (folder.fd = mailbox_directory(engine, mailbox)) < 0)
		error = errno;
	if (error == 0)
		error = read_text_file(rebuilding, mailbox, folder.fd);
	if (error == 0)
		error = put_messages(rebuilding, mailbox, &folder);
	if (error == 0)
		error = put_mailbox(rebuilding, mailbox, folder.fd);
	if (error)
		LOG_ERROR("rebuild", LOG_STRING("directory", mailbox->directory),
			LOG_STRING("error", env_error_text(error)));
	mailbox_add(account, mailbox);
	return error;
}

/* ---- one user ---- */

/*
 * A mailbox that was deleted: nothing in the new index says so any more. What the disk does not let go must
 * not keep the store from starting, and stays.
 */
static int clear_deleted(const struct account *account, int fd, const char *name)
{
	unsigned budget = UINT_MAX;
	const int error = folder_clear(fd, name, &budget);

	if (error == 0 || engine_errno_failure(error) == STORE_BUSY)
		return error;
	LOG_WARNING("not-removed", LOG_TEXT("user", account->user->public.address),
		LOG_STRING("directory", name), LOG_ERRNO(error));
	return 0;
}

static int add_folders(struct rebuilding *rebuilding, struct account *account, int fd)
{
	struct buf name = { 0 };
	const struct dirent *entry;
	DIR *dir = sys_open_directory(fd, ".", 0);
	int error = 0;

	if (!dir)
		return errno;
	while (error == 0 && (entry = readdir(dir)) != NULL) {
		char cur[MAILDIR_NAME_LIMIT + 8];
		struct stat st;
		if (text_begins(text_of(entry->d_name), TEXT(MAILDIR_DELETED)))
			error = clear_deleted(account, fd, entry->d_name);
		if (entry->d_name[0] != '.' || !strcmp(entry->d_name, ".") ||
			!strcmp(entry->d_name, ".."))
			continue;
		snprintf(cur, sizeof(cur), "%s/cur", entry->d_name);
		if (sys.fstatat(fd, cur, &st, AT_SYMLINK_NOFOLLOW) != 0 || !S_ISDIR(st.st_mode))
			continue;
		if (maildir_mailbox(text_of(entry->d_name), &name) == 0)
			error = add_mailbox(rebuilding, account, buf_text(&name));
		else
			LOG_WARNING("folder-passed-over",
				LOG_TEXT("user", account->user->public.address),
				LOG_STRING("folder", entry->d_name));
	}
	closedir(dir);
	buf_release(&name);
	return error;
}

static int add_user(struct rebuilding *rebuilding, struct user *user)
{
	struct engine *engine = rebuilding->engine;
	struct account *account;

	if (account_open(engine, user, &account) != STORE_OK)
		return EBADMSG;
	int error = add_mailbox(rebuilding, account, TEXT("INBOX"));
	const int fd = error ? -1 : mailbox_directory(engine, account->mailboxes[0]);
	if (error == 0)
		error = fd < 0 ? errno : add_folders(rebuilding, account, fd);
	if (error == 0)
		error = users_put(engine, rebuilding->txn, user, user->hash);
	/* Everything is read again from the finished index. */
	account_drop(engine, account);
	return error ? error : step(rebuilding, false);
}

static int add_all(struct rebuilding *rebuilding)
{
	struct engine *engine = rebuilding->engine;
	int error = env_begin(engine->env, &rebuilding->txn);

	for (; rebuilding->users < engine->user_count && error == 0; rebuilding->users++)
		error = add_user(rebuilding, engine->users[rebuilding->users]);
	if (error == 0)
		error = users_put_counters(engine, rebuilding->txn);
	if (error == 0)
		error = directory_put_all(engine, rebuilding->txn);
	if (error == 0)
		error = step(rebuilding, true);
	else if (rebuilding->txn)
		env_abort(rebuilding->txn);
	return error;
}

int rebuild(struct engine *engine, const char *home)
{
	struct rebuilding rebuilding = { .engine = engine };
	const int64_t began = clock_milliseconds();

	engine->counters =
		(struct index_counters){ .next_user = 1, .last_uidvalidity = (uint32_t)time(NULL) };
	/* Without its users every message would be refused for good: better not to start at all. */
	const int users = users_read_file(engine);
	if (users < 0) {
		const int why = errno;
		LOG_ERROR(
			"users-file", LOG_STRING("error", "it is not readable; mend or remove it"));
		return why == EBADMSG ? EPERM : why;
	}
	int error = engine_open_environment(engine, home, true);
	if (error == 0)
		error = add_all(&rebuilding);
	if (error == 0)
		error = once_restore(engine);
	if (error == 0 && (error = env_flush(engine->env)) == 0)
		error = env_checkpoint(engine->env);
	if (error == 0 && users)
		LOG_INFO("index-rebuilt", LOG_NUMBER("users", engine->user_count),
			LOG_NUMBER("mailboxes", rebuilding.mailboxes),
			LOG_NUMBER("messages", rebuilding.messages),
			LOG_NUMBER("milliseconds", clock_milliseconds() - began));
	sys.unlinkat(engine->root, PROGRESS ".new", 0);
	sys.unlinkat(engine->root, PROGRESS, 0);
	users_free(engine);
	env_close(&engine->env);
	return error;
}

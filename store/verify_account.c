/*
 * A user's account held against the user's directory: folders, numbers of mailboxes, once-keys, expunges
 * that are remembered, the list of subscriptions.
 */
#include <dirent.h>
#include <endian.h>
#include <errno.h>
#include <fcntl.h>
#include <string.h>

#include "store/hidden.h"
#include "store/mailbox.h"
#include "store/verify_private.h"

/* ---- folders ---- */

static void look_at_folder(int fd, const struct account *account, const char *name,
	struct buf *mailbox, struct verify_result *result)
{
	char cur[MAILDIR_NAME_LIMIT + 8];
	struct stat st;

	snprintf(cur, sizeof(cur), "%s/cur", name);
	if (sys.fstatat(fd, cur, &st, AT_SYMLINK_NOFOLLOW) != 0 || !S_ISDIR(st.st_mode))
		return;
	if (maildir_mailbox(text_of(name), mailbox) != 0)
		verify_find(result, account->mailboxes[0],
			"a folder's name is not one of a mailbox: %s", name);
	else if (!account_find((struct account *)account, buf_text(mailbox)) &&
		 !verify_is_bare(fd, name))
		verify_find(result, account->mailboxes[0], "a folder has no entry: %s", name);
}

static void look_at_folders(int fd, const struct account *account, struct verify_result *result)
{
	DIR *dir = sys_open_directory(fd, ".", 0);
	const struct dirent *entry;
	struct buf mailbox = { 0 };

	if (!dir) {
		verify_find(result, account->mailboxes[0], "the directory cannot be read: %s",
			env_error_text(errno));
		return;
	}
	while ((entry = readdir(dir)) != NULL) {
		if (entry->d_name[0] == '.' && strcmp(entry->d_name, ".") != 0 &&
			strcmp(entry->d_name, "..") != 0)
			look_at_folder(fd, account, entry->d_name, &mailbox, result);
	}
	closedir(dir);
	buf_release(&mailbox);
}

/* ---- once-keys ---- */

struct once_scan {
	const struct account *account;
	struct verify_result *result;
};

static int look_at_once(void *owner, struct text key, struct text value)
{
	const struct once_scan *scan = owner;
	struct index_once row;
	uint32_t user;

	if (key.len < sizeof(user))
		return 1;
	memcpy(&user, key.ptr, sizeof(user));
	if (be32toh(user) != scan->account->user->public.number)
		return 1;
	if (key.len > INDEX_ONCE_KEY_LIMIT || index_once_decode(value, &row) != 0)
		verify_find(scan->result, scan->account->mailboxes[0],
			"a once-key cannot be read: %.*s", TEXT_ARG(text_from(key, sizeof(user))));
	return 0;
}

static int look_at_once_keys(
	struct engine *engine, const struct account *account, struct verify_result *result)
{
	const uint32_t key = htobe32(account->user->public.number);
	struct once_scan scan = { .account = account, .result = result };

	return env_scan(engine->env, ENV_ONCE,
		(struct text){ .ptr = (const char *)&key, .len = sizeof(key) }, look_at_once,
		&scan);
}

/* ---- the whole ---- */

static void look_at_numbers(const struct account *account, struct verify_result *result)
{
	uint64_t messages = 0, octets = 0;

	for (size_t i = 0; i < account->count; i++) {
		const struct mailbox *mailbox = account->mailboxes[i];
		messages += mailbox->row.messages;
		octets += mailbox->row.octets;
		hidden_count(mailbox, &messages, &octets);
		if (mailbox->id.mailbox >= account->user->next_mailbox)
			verify_find(result, mailbox, "its number %u is not below the next one, %u",
				mailbox->id.mailbox, account->user->next_mailbox);
	}
	if (messages != account->messages || octets != account->octets)
		verify_find(result, account->mailboxes[0],
			"the user's mailboxes hold %llu messages of %llu octets, not %u of %llu",
			(unsigned long long)messages, (unsigned long long)octets, account->messages,
			(unsigned long long)account->octets);
	if (account->user->importing)
		verify_find(
			result, account->mailboxes[0], "an import was begun and is not finished");
}

static void look_at_subscriptions(
	int fd, const struct account *account, struct verify_result *result)
{
	size_t size;
	char *octets = sys_read_file(fd, MAILDIR_SUBSCRIPTIONS, STORE_SUBSCRIPTIONS_LIMIT, &size);

	if (!octets && errno != ENOENT)
		verify_find(result, account->mailboxes[0], "%s cannot be read: %s",
			MAILDIR_SUBSCRIPTIONS, env_error_text(errno));
	mem_free(octets);
}

int verify_account(
	struct engine *engine, const struct account *account, struct verify_result *result)
{
	const int fd = mailbox_directory(engine, account->mailboxes[0]);

	look_at_numbers(account, result);
	if (fd >= 0) {
		look_at_folders(fd, account, result);
		look_at_subscriptions(fd, account, result);
	}
	return look_at_once_keys(engine, account, result);
}

/* ---- expunges ---- */

struct expunged_scan {
	struct engine *engine;
	const struct mailbox *mailbox;
	struct verify_result *result;
	uint32_t count;
	int error;
};

static int look_at_expunge(void *owner, struct text key, struct text value)
{
	struct expunged_scan *scan = owner;
	const struct mailbox *mailbox = scan->mailbox;
	struct index_mailbox_id id;
	uint64_t modseq;
	uint32_t uid;

	(void)value;
	if (index_expunged_key_decode(key, &id, &modseq, &uid) != 0) {
		verify_find(scan->result, mailbox, "an entry of an expunge cannot be read");
		return 1;
	}
	if (id.user != mailbox->id.user || id.mailbox != mailbox->id.mailbox)
		return 1;
	scan->count++;
	if (modseq > mailbox->row.modseq)
		verify_find(scan->result, mailbox,
			"UID %u was expunged later than the mailbox changed", uid);
	if (uid >= mailbox->row.uidnext)
		verify_find(scan->result, mailbox, "expunged UID %u is not below the next one, %u",
			uid, mailbox->row.uidnext);
	unsigned char message[INDEX_MESSAGE_KEY];
	index_message_key(mailbox->id, uid, message);
	if (modseq > mailbox->row.expunged_since &&
		env_get(scan->engine->env, NULL, ENV_MESSAGES,
			(struct text){ .ptr = (char *)message, .len = sizeof(message) },
			&scan->engine->value, &scan->error) == 1)
		verify_find(scan->result, mailbox, "UID %u was expunged and is there", uid);
	return scan->error != 0;
}

int verify_expunged(
	struct engine *engine, const struct mailbox *mailbox, struct verify_result *result)
{
	struct expunged_scan scan = { .engine = engine, .mailbox = mailbox, .result = result };
	unsigned char key[INDEX_EXPUNGED_KEY];

	index_expunged_key(mailbox->id, 0, 0, key);
	const int error = env_scan(engine->env, ENV_EXPUNGED,
		(struct text){ .ptr = (char *)key, .len = sizeof(key) }, look_at_expunge, &scan);
	if (error == 0 && scan.count != mailbox->row.expunged)
		verify_find(result, mailbox, "expunges: there are %u, the index counts %u",
			scan.count, mailbox->row.expunged);
	return error ? error : scan.error;
}

#include "restante/dovecot_tree.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/log.h"
#include "base/mem.h"
#include "base/sys.h"
#include "restante/terminal.h"
#include "store/protocol.h"

enum {
	LIST_LIMIT = 1 << 28,
	SMALL_LIMIT = 1 << 20,
	PATH_LIMIT = 4096,
	HEAD = 16, /* octets of a message that are looked at */
	DEPTH = 32,
};

/* ---- what is wrong ---- */

static void __attribute__((format(printf, 2, 3)))
say(struct dovecot_tree *tree, const char *format, ...)
{
	char what[PATH_LIMIT + 200];
	va_list arguments;

	tree->faults++;
	progress_clear(tree->progress);
	va_start(arguments, format);
	vsnprintf(what, sizeof(what), format, arguments);
	va_end(arguments);
	/* Whoever gave the files their names may want to be read as us. */
	terminal_complain("%s/%s", tree->directory, what);
}

/* "mailbox/file:3: why" */
static void say_line(struct dovecot_tree *tree, const struct dovecot_mailbox *mailbox,
	const char *file, const struct dovecot_error *error)
{
	say(tree, "%s%s:%u: %s", mailbox->prefix, file, error->line, error->why);
}

static int open_directory(int at, const char *path)
{
	return sys.openat(at, path, O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW, 0);
}

/* Every level of the path, none of them a link. -1 with errno. */
static int open_below(int at, const char *path)
{
	int fd = open_directory(at, ".");
	struct text rest = text_of(path), level;
	char name[NAME_MAX + 1];

	while (fd >= 0 && rest.ptr && text_split(&rest, '/', &level)) {
		const int parent = fd;
		if (level.len > NAME_MAX) {
			errno = ENAMETOOLONG;
			fd = -1;
		} else {
			memcpy(name, level.ptr, level.len);
			name[level.len] = '\0';
			fd = open_directory(parent, name);
		}
		const int error = errno;
		sys.close(parent);
		errno = error;
	}
	return fd;
}

/* What a user can put there as a second name without being allowed to read it (link(2)). */
static bool is_borrowed(const struct dovecot_tree *tree, const struct stat *st)
{
	return st->st_nlink > 1 && st->st_uid != tree->owner;
}

/* A plain file, no link, of whose reading nobody gets stuck. -1 with errno. */
static int open_plain(const struct dovecot_tree *tree, int at, const char *path, struct stat *st)
{
	const int fd =
		sys.openat(at, path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY, 0);
	int number;

	if (fd < 0)
		return -1;
	if (sys.fstat(fd, st) != 0)
		number = errno;
	else if (!S_ISREG(st->st_mode))
		number = EINVAL;
	else if (is_borrowed(tree, st))
		number = EMLINK;
	else
		return fd;
	sys.close(fd);
	errno = number;
	return -1;
}

static const char *why(int number)
{
	switch (number) {
	case EINVAL:
		return "not a plain file";
	case ELOOP:
		return "a symbolic link, which is not followed";
	case EMLINK:
		return "a second name of a file that belongs to somebody else; take it out";
	}
	return log_errno(number);
}

/* NULL at the end, and when it cannot be read, which is said. */
static const struct dirent *next_entry(struct dovecot_tree *tree, DIR *dir, const char *path)
{
	errno = 0;
	const struct dirent *entry = readdir(dir);
	if (!entry && errno)
		say(tree, "%s: %s", path, log_errno(errno));
	return entry;
}

/* The file's octets in the arena; len 0 and ptr NULL when there is none, which is no fault. */
static struct text read_file(struct dovecot_tree *tree, const struct dovecot_mailbox *mailbox,
	int fd, const char *name, size_t limit)
{
	struct text octets = { 0 };
	struct stat st;
	const int file = open_plain(tree, fd, name, &st);

	if (file < 0) {
		if (errno != ENOENT)
			say(tree, "%s%s: %s", mailbox->prefix, name, why(errno));
		return octets;
	}
	if ((uint64_t)st.st_size > limit) {
		say(tree, "%s%s: too large", mailbox->prefix, name);
	} else {
		char *room = arena_take(tree->arena, (size_t)st.st_size + 1);
		size_t got = 0;
		ssize_t step = 1;
		while (got < (size_t)st.st_size && step > 0) {
			step = sys.read(file, room + got, (size_t)st.st_size - got);
			got += step > 0 ? (size_t)step : 0;
		}
		if (step < 0)
			say(tree, "%s%s: %s", mailbox->prefix, name, log_errno(errno));
		else
			octets = (struct text){ .ptr = room, .len = got };
	}
	sys.close(file);
	return octets;
}

/* ---- the files of one mailbox ---- */

struct reading {
	struct dovecot_tree *tree;
	struct dovecot_mailbox *mailbox;
	struct dovecot_uidlist list;
	struct dovecot_uid *by_base; /* the list in the order of names */
	struct buf messages;         /* struct dovecot_message each */
	uint32_t used;               /* keyword letters, or-ed */
};

static int compare_bases(const void *a, const void *b)
{
	return text_compare(
		((const struct dovecot_uid *)a)->base, ((const struct dovecot_uid *)b)->base);
}

static uint32_t find_uid(const struct reading *reading, struct text base)
{
	const struct dovecot_uid wanted = { .base = base };
	const struct dovecot_uid *found =
		reading->list.count ? bsearch(&wanted, reading->by_base, reading->list.count,
					      sizeof(wanted), compare_bases)
				    : NULL;

	return found ? found->uid : 0;
}

static void read_uidlist(struct reading *reading, int fd)
{
	struct dovecot_tree *tree = reading->tree;
	struct dovecot_mailbox *mailbox = reading->mailbox;
	struct dovecot_error error;
	const struct text octets = read_file(tree, mailbox, fd, "dovecot-uidlist", LIST_LIMIT);

	if (!octets.ptr)
		return;
	if (dovecot_uidlist_parse(tree->arena, octets, &reading->list, &error) != 0) {
		say_line(tree, mailbox, "dovecot-uidlist", &error);
		reading->list.count = 0;
		return;
	}
	const size_t size = reading->list.count * sizeof(*reading->by_base);
	reading->by_base = arena_take(tree->arena, size + 1);
	memcpy(reading->by_base, reading->list.uids, size);
	qsort(reading->by_base, reading->list.count, sizeof(*reading->by_base), compare_bases);
	for (size_t i = 1; i < reading->list.count; i++) {
		if (compare_bases(&reading->by_base[i - 1], &reading->by_base[i]) == 0)
			say(tree, "%sdovecot-uidlist: UIDs %u and %u have the same file",
				mailbox->prefix, reading->by_base[i - 1].uid,
				reading->by_base[i].uid);
	}
	mailbox->uidvalidity = reading->list.uidvalidity;
	mailbox->uidnext = reading->list.uidnext;
}

static void read_keywords(struct reading *reading, int fd)
{
	struct dovecot_error error;
	const struct text octets =
		read_file(reading->tree, reading->mailbox, fd, "dovecot-keywords", SMALL_LIMIT);

	if (dovecot_keywords_parse(
		    octets.ptr ? octets : TEXT(""), reading->mailbox->keywords, &error) != 0)
		say_line(reading->tree, reading->mailbox, "dovecot-keywords", &error);
}

/* Its head tells whether it is mail at all. */
static void add_message(struct reading *reading, int fd, const char *part, const char *file)
{
	struct dovecot_tree *tree = reading->tree;
	struct dovecot_name name;
	char head[HEAD];
	struct stat st;

	dovecot_name_parse(text_of(file), &name);
	const struct text leaf = text_format(tree->arena, "%s/%s", part, file);
	const int plain = open_plain(tree, fd, file, &st);
	const ssize_t got = plain < 0 ? -1 : sys.pread(plain, head, sizeof(head), 0);
	if (got < 0)
		say(tree, "%s%s: %s", reading->mailbox->prefix, leaf.ptr, why(errno));
	else if (dovecot_is_compressed((struct text){ .ptr = head, .len = (size_t)got }))
		say(tree, "%s%s: compressed by Dovecot's zlib plugin; decompress it first",
			reading->mailbox->prefix, leaf.ptr);
	if (plain >= 0)
		sys.close(plain);
	const struct dovecot_message message = { .uid = find_uid(reading, name.base),
		.flags = name.flags,
		.keywords = name.keywords,
		.leaf = leaf.ptr };
	buf_add(&reading->messages,
		(struct text){ .ptr = (const char *)&message, .len = sizeof(message) });
	reading->used |= name.keywords;
	tree->messages++;
}

static void read_part(struct reading *reading, int mailbox_fd, const char *part)
{
	struct dovecot_tree *tree = reading->tree;
	const char *path = text_format(tree->arena, "%s%s", reading->mailbox->prefix, part).ptr;
	const struct dirent *entry;
	const int fd = open_directory(mailbox_fd, part);
	DIR *dir = fd < 0 ? NULL : sys.fdopendir(fd);

	if (!dir) {
		if (errno != ENOENT)
			say(tree, "%s: %s", path, log_errno(errno));
		if (fd >= 0)
			sys.close(fd);
		return;
	}
	while ((entry = next_entry(tree, dir, path)) != NULL) {
		/* What is neither is no message: a directory of an index, say. */
		if (entry->d_name[0] != '.' &&
			(entry->d_type == DT_REG || entry->d_type == DT_UNKNOWN))
			add_message(reading, fd, part, entry->d_name);
	}
	closedir(dir);
}

/* As Dovecot gives UIDs to what it finds: in the order of the names, behind all the others. */
static int compare_messages(const void *a, const void *b)
{
	const struct dovecot_message *x = a, *y = b;

	if (x->uid != y->uid)
		return x->uid - 1 < y->uid - 1 ? -1 : 1;
	return strcmp(x->leaf + 4, y->leaf + 4);
}

static void number_messages(struct reading *reading)
{
	struct dovecot_mailbox *mailbox = reading->mailbox;
	const struct text octets = buf_text(&reading->messages);

	mailbox->count = octets.len / sizeof(*mailbox->messages);
	mailbox->messages = arena_take(reading->tree->arena, octets.len + 1);
	if (octets.len)
		memcpy(mailbox->messages, octets.ptr, octets.len);
	qsort(mailbox->messages, mailbox->count, sizeof(*mailbox->messages), compare_messages);
	for (size_t i = 0; i < mailbox->count; i++) {
		struct dovecot_message *message = &mailbox->messages[i];
		if (message->uid == 0 && mailbox->uidnext < STORE_UID_LIMIT)
			message->uid = mailbox->uidnext++;
		else if (i && message->uid == mailbox->messages[i - 1].uid)
			say(reading->tree, "%s%s: another file has the same name and UID",
				mailbox->prefix, message->leaf);
	}
	if (mailbox->count && mailbox->uidvalidity == 0)
		say(reading->tree,
			"%sdovecot-uidlist: there is none; let Dovecot open the mailbox once",
			mailbox->prefix);
	for (unsigned i = 0; i < DOVECOT_KEYWORDS; i++) {
		if ((reading->used >> i & 1) && mailbox->keywords[i].len == 0)
			say(reading->tree, "%sdovecot-keywords: no line names keyword %u",
				mailbox->prefix, i);
	}
}

/* folder: as Maildir++ has it; empty: INBOX. */
static void add_mailbox(struct dovecot_tree *tree, const char *path, struct text folder)
{
	struct dovecot_mailbox *mailbox = arena_take(tree->arena, sizeof(*mailbox));
	struct dovecot_mailbox **last = &tree->mailboxes;
	struct reading reading = { .tree = tree, .mailbox = mailbox };

	*mailbox = (struct dovecot_mailbox){ .path = text_copy(tree->arena, text_of(path)).ptr,
		.prefix = *path == '.' && !path[1] ? "" : text_format(tree->arena, "%s/", path).ptr,
		.folder = text_copy(tree->arena, folder),
		.uidnext = 1 };
	while (*last)
		last = &(*last)->next;
	*last = mailbox;
	const int fd = open_below(tree->fd, path);
	if (fd < 0) {
		/* There is a cur in it, so what is no directory is a link to one. */
		say(tree, "%s: %s", path, why(errno == ENOTDIR ? ELOOP : errno));
		return;
	}
	read_uidlist(&reading, fd);
	read_keywords(&reading, fd);
	read_part(&reading, fd, "new");
	read_part(&reading, fd, "cur");
	number_messages(&reading);
	sys.close(fd);
	buf_release(&reading.messages);
}

/* ---- the tree ---- */

/* Also of another name for it, a symbolic link. path: below the tree, to say that it cannot be known. */
static bool is_mailbox(struct dovecot_tree *tree, int fd, const char *name, const char *path)
{
	char cur[NAME_MAX + 5];
	struct stat st;

	snprintf(cur, sizeof(cur), "%s/cur", name);
	if (sys.fstatat(fd, cur, &st, AT_SYMLINK_NOFOLLOW) == 0)
		return S_ISDIR(st.st_mode);
	if (errno != ENOENT && errno != ENOTDIR && errno != ELOOP)
		say(tree, "%s: %s", path, log_errno(errno));
	return false;
}

static void read_level(struct dovecot_tree *tree, int fd, const char *above, unsigned depth);

/* A directory of the tree that may be a mailbox, with LAYOUT=fs also hold others. */
static void look_at(
	struct dovecot_tree *tree, int fd, const char *above, const char *name, unsigned depth)
{
	char path[PATH_LIMIT];
	struct buf folder = { 0 };

	if (snprintf(path, sizeof(path), "%s%s%s", above, *above ? "/" : "", name) >=
		(int)sizeof(path)) {
		say(tree, "%s: too long a path", name);
		return;
	}
	if (is_mailbox(tree, fd, name, path)) {
		if (name[0] == '.' && !*above)
			add_mailbox(tree, path, text_of(name));
		else if (dovecot_folder(text_of(path), '/', &folder) != 0)
			say(tree, "%s: not the name of a mailbox", path);
		else
			add_mailbox(tree, path, buf_text(&folder));
	}
	if (name[0] != '.' && depth < DEPTH) {
		const int below = open_directory(fd, name);
		if (below >= 0)
			read_level(tree, below, path, depth + 1);
		else if (errno != ENOTDIR && errno != ELOOP && errno != ENOENT)
			say(tree, "%s: %s", path, log_errno(errno));
	}
	buf_release(&folder);
}

static void read_level(struct dovecot_tree *tree, int fd, const char *above, unsigned depth)
{
	static const char *const parts[] = { "cur", "new", "tmp", ".", ".." };
	const struct dirent *entry;
	DIR *dir = sys.fdopendir(fd);

	if (!dir) {
		say(tree, "%s: %s", above, log_errno(errno));
		sys.close(fd);
		return;
	}
	while ((entry = next_entry(tree, dir, *above ? above : ".")) != NULL) {
		bool part = entry->d_name[0] == '.' && *above;
		for (size_t i = 0; i < sizeof(parts) / sizeof(parts[0]); i++)
			part |= strcmp(entry->d_name, parts[i]) == 0;
		if (!part && (entry->d_type == DT_DIR || entry->d_type == DT_LNK ||
				     entry->d_type == DT_UNKNOWN))
			look_at(tree, fd, above, entry->d_name, depth);
	}
	closedir(dir);
}

static void read_subscriptions(struct dovecot_tree *tree)
{
	struct dovecot_error error;
	char separator = '.';
	const struct text octets =
		read_file(tree, tree->mailboxes, tree->fd, "subscriptions", SMALL_LIMIT);

	for (const struct dovecot_mailbox *at = tree->mailboxes->next; at; at = at->next) {
		if (at->path[0] != '.')
			separator = '/';
	}
	if (octets.ptr &&
		dovecot_subscriptions_parse(octets, separator, &tree->subscriptions, &error) != 0)
		say_line(tree, tree->mailboxes, "subscriptions", &error);
}

/* 0, or -1 with errno; also when the tree could not be opened. */
static int find_owner(struct dovecot_tree *tree)
{
	struct stat st;

	if (tree->fd < 0 || sys.fstat(tree->fd, &st) != 0)
		return -1;
	tree->owner = st.st_uid;
	return 0;
}

int dovecot_tree_read(struct dovecot_tree *tree, const char *directory, struct progress *progress)
{
	*tree = (struct dovecot_tree){ .arena = arena_new(64 * 1024),
		.fd = sys_open_straight(directory, O_RDONLY | O_DIRECTORY),
		.directory = directory,
		.progress = progress };
	if (find_owner(tree) != 0) {
		terminal_complain("%s: %s", directory,
			errno == ELOOP ? "there is a symbolic link in this path; if it leads where "
					 "it should, give the path that realpath(1) prints"
				       : log_errno(errno));
		return -1;
	}
	if (!is_mailbox(tree, tree->fd, ".", ".")) {
		if (tree->faults == 0)
			terminal_complain("%s: not a Maildir: there is no cur in it", directory);
		return -1;
	}
	add_mailbox(tree, ".", TEXT(""));
	const int again = open_directory(tree->fd, ".");
	if (again >= 0)
		read_level(tree, again, "", 0);
	else
		say(tree, ".: %s", log_errno(errno));
	read_subscriptions(tree);
	return tree->faults ? -1 : 0;
}

void dovecot_tree_free(struct dovecot_tree *tree)
{
	if (tree->fd >= 0)
		sys.close(tree->fd);
	buf_release(&tree->subscriptions);
	arena_free(&tree->arena);
}

int dovecot_tree_open(const struct dovecot_tree *tree, const struct dovecot_mailbox *mailbox,
	const struct dovecot_message *message, uint64_t *size, int64_t *received)
{
	struct stat st;
	const int fd = open_below(tree->fd, mailbox->path);
	int part = -1, file = -1;
	char name[4] = "";

	if (fd < 0)
		return -1;
	memcpy(name, message->leaf, 3);
	part = open_directory(fd, name);
	if (part >= 0)
		file = open_plain(tree, part, message->leaf + 4, &st);
	const int error = errno;
	if (part >= 0)
		sys.close(part);
	sys.close(fd);
	errno = error;
	if (file < 0)
		return -1;
	*size = (uint64_t)st.st_size;
	*received = st.st_mtim.tv_sec > 0 ? st.st_mtim.tv_sec : 1;
	return file;
}

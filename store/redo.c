#include "store/redo.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>

#include "base/log.h"
#include "base/mem.h"
#include "base/sys.h"
#include "store/folder.h"
#include "store/journal.h"

enum {
	BUCKETS = 1024,
	OPEN_LIMIT = 256,          /* directories open at once */
	NAMES_LIMIT = 1000 * 1000, /* names in memory, all directories together */
};

/* One mailbox and where it is by now. */
struct place {
	struct place *next;
	struct index_mailbox_id id;
	char *path;           /* NULL: nowhere */
	struct folder folder; /* fd -1: not open now */
	bool copied;          /* its octets may be needed for a copy: nothing is unlinked */
};

struct redo {
	int root;
	struct place *buckets[BUCKETS];
	unsigned open;
	uint64_t records, files;
	struct buf once;
};

struct redo *redo_new(int root)
{
	struct redo *redo = mem_new(sizeof(*redo));

	redo->root = root;
	return redo;
}

static void close_place(struct redo *redo, struct place *place)
{
	if (place->folder.fd >= 0) {
		sys.close(place->folder.fd);
		place->folder.fd = -1;
		redo->open--;
	}
}

/* It has moved to that path, or, with NULL, it is nowhere. An open directory stays open. */
static void set_path(struct redo *redo, struct place *place, const char *path)
{
	char *copy = path ? mem_copy(path, strlen(path)) : NULL;

	mem_free(place->path);
	place->path = copy;
	if (!path) {
		close_place(redo, place);
		folder_forget(&place->folder);
	}
}

static void forget_all(struct redo *redo)
{
	for (size_t i = 0; i < BUCKETS; i++) {
		while (redo->buckets[i]) {
			struct place *place = redo->buckets[i];
			redo->buckets[i] = place->next;
			set_path(redo, place, NULL);
			mem_free(place);
		}
	}
}

void redo_free(struct redo **redo)
{
	if (!*redo)
		return;
	forget_all(*redo);
	buf_release(&(*redo)->once);
	mem_free(*redo);
	*redo = NULL;
}

struct buf *redo_once(struct redo *redo)
{
	return &redo->once;
}

uint64_t redo_records(const struct redo *redo)
{
	return redo->records;
}

uint64_t redo_files(const struct redo *redo)
{
	return redo->files;
}

/* ---- directories ---- */

/* Many directories and names are kept; past the limits the names are let go and read again. */
static void make_room(struct redo *redo)
{
	size_t names = 0;

	if (redo->open < OPEN_LIMIT)
		return;
	for (size_t i = 0; i < BUCKETS; i++) {
		for (struct place *place = redo->buckets[i]; place; place = place->next) {
			close_place(redo, place);
			names += place->folder.names ? names_count(place->folder.names) : 0;
		}
	}
	for (size_t i = 0; i < BUCKETS && names > NAMES_LIMIT; i++) {
		for (struct place *place = redo->buckets[i]; place; place = place->next)
			folder_forget(&place->folder);
	}
}

/* No way out of the store's own tree, whatever a damaged log says. */
static bool is_inside(struct text path)
{
	struct text rest = path, level;

	if (path.len == 0 || path.len > MAILDIR_PATH_LIMIT || path.ptr[0] == '/' ||
		text_find(path, '\0') >= 0)
		return false;
	while (text_split(&rest, '/', &level)) {
		if (text_equal(level, TEXT("..")))
			return false;
	}
	return true;
}

static bool is_same(struct index_mailbox_id a, struct index_mailbox_id b)
{
	return a.user == b.user && a.mailbox == b.mailbox;
}

/* The numbers in a directory's text file; 0 0: it is no such directory, or has no such file. */
static int read_id(const struct redo *redo, const char *path, struct index_mailbox_id *id)
{
	char name[MAILDIR_PATH_LIMIT + 1 + sizeof(MAILDIR_FILE)];
	struct maildir_file file;
	struct buf keywords = { 0 };
	size_t size;

	*id = (struct index_mailbox_id){ 0 };
	snprintf(name, sizeof(name), "%s/" MAILDIR_FILE, path);
	char *octets = sys_read_file(redo->root, name, MAILDIR_FILE_LIMIT, &size);
	if (!octets)
		return errno == ENOENT || errno == ENOTDIR ? 0 : errno;
	if (maildir_file_parse((struct text){ .ptr = octets, .len = size }, &file, &keywords) == 0)
		*id = file.id;
	buf_release(&keywords);
	mem_free(octets);
	return 0;
}

/* "mail/DOMAIN/LOCAL" of a mailbox's directory. */
static void user_directory(const char *path, char directory[MAILDIR_PATH_LIMIT + 1])
{
	size_t length = 0;

	for (unsigned levels = 0; path[length]; length++) {
		if (path[length] == '/' && ++levels == 3)
			break;
	}
	memcpy(directory, path, length);
	directory[length] = '\0';
}

static bool is_folder(const char *name)
{
	return (name[0] == '.' && strcmp(name, ".") != 0 && strcmp(name, "..") != 0) ||
	       text_begins(text_of(name), TEXT(MAILDIR_DELETED)) ||
	       text_begins(text_of(name), TEXT(MAILDIR_ASTRAY));
}

/* Among all that the user has, the directory with these numbers: into path, or it becomes "". */
static int search(
	const struct redo *redo, struct index_mailbox_id wanted, char path[MAILDIR_PATH_LIMIT + 1])
{
	char directory[MAILDIR_PATH_LIMIT + 1];
	const struct dirent *entry;
	struct index_mailbox_id id;
	int error = 0;

	user_directory(path, directory);
	path[0] = '\0';
	const int fd = sys.openat(
		redo->root, directory, O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW, 0);
	DIR *dir = fd < 0 ? NULL : sys.fdopendir(fd);
	if (!dir) {
		error = errno;
		if (fd >= 0)
			sys.close(fd);
		return error == ENOENT || error == ENOTDIR ? 0 : error;
	}
	while (error == 0 && (entry = readdir(dir)) != NULL) {
		char below[MAILDIR_PATH_LIMIT + MAILDIR_NAME_LIMIT + 2];
		if (!is_folder(entry->d_name))
			continue;
		const int length =
			snprintf(below, sizeof(below), "%s/%s", directory, entry->d_name);
		if (length > MAILDIR_PATH_LIMIT)
			continue;
		error = read_id(redo, below, &id);
		if (error == 0 && is_same(id, wanted)) {
			memcpy(path, below, (size_t)length + 1);
			break;
		}
	}
	closedir(dir);
	return error;
}

/*
 * Where a mailbox is that was at `directory` when the record was written: still there, or where it was
 * renamed to later, or there without its text file, or nowhere.
 */
static int resolve(struct redo *redo, struct text directory, struct place *place)
{
	char path[MAILDIR_PATH_LIMIT + 1];
	struct index_mailbox_id there;
	struct stat st;

	snprintf(path, sizeof(path), "%.*s", TEXT_ARG(directory));
	int error = read_id(redo, path, &there);
	if (error == 0 && !is_same(there, place->id)) {
		error = search(redo, place->id, path);
		if (error == 0 && !path[0] && there.user == 0) {
			snprintf(path, sizeof(path), "%.*s", TEXT_ARG(directory));
			if (sys.fstatat(redo->root, path, &st, AT_SYMLINK_NOFOLLOW) != 0 ||
				!S_ISDIR(st.st_mode))
				path[0] = '\0';
		}
	}
	if (error == 0)
		set_path(redo, place, path[0] ? path : NULL);
	return error;
}

static struct place **find(struct redo *redo, struct index_mailbox_id id)
{
	const uint32_t hash = (id.user * 2654435761U ^ id.mailbox) * 2654435761U;
	struct place **place = &redo->buckets[(hash >> 16) % BUCKETS];

	while (*place && !is_same((*place)->id, id))
		place = &(*place)->next;
	return place;
}

/* As far as it is known, open or not. */
static int known(struct redo *redo, struct text directory, uint32_t user, uint32_t mailbox,
	struct place **place)
{
	const struct index_mailbox_id id = { .user = user, .mailbox = mailbox };

	*place = NULL;
	if (!is_inside(directory))
		return EBADMSG;
	struct place **at = find(redo, id);
	if (!*at) {
		struct place *found = mem_new(sizeof(*found));
		found->id = id;
		found->folder.fd = -1;
		const int error = resolve(redo, directory, found);
		if (error) {
			mem_free(found);
			return error;
		}
		*at = found;
	}
	*place = *at;
	return 0;
}

/*
 * *place: the directory, open; or NULL when the mailbox is nowhere, which is no error: a later record
 * explains it.
 */
static int visit(
	struct redo *redo, struct text path, uint32_t user, uint32_t mailbox, struct place **place)
{
	make_room(redo);
	const int error = known(redo, path, user, mailbox, place);

	if (error)
		return error;
	if ((*place)->path && (*place)->folder.fd < 0) {
		(*place)->folder.fd = sys.openat(redo->root, (*place)->path,
			O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW, 0);
		if ((*place)->folder.fd >= 0)
			redo->open++;
		else if (errno == ENOENT || errno == ENOTDIR)
			set_path(redo, *place, NULL);
		else
			return errno;
	}
	if (!(*place)->path)
		*place = NULL;
	return 0;
}

/* ---- the kinds ---- */

static int leaf_string(struct text leaf, char string[MAILDIR_LEAF_LIMIT + 1])
{
	if (leaf.len < 5 || leaf.len > MAILDIR_LEAF_LIMIT ||
		(!text_begins(leaf, TEXT("new/")) && !text_begins(leaf, TEXT("cur/")) &&
			!text_begins(leaf, TEXT("tmp/"))) ||
		!maildir_is_message(text_from(leaf, 4)))
		return EBADMSG;
	memcpy(string, leaf.ptr, leaf.len);
	string[leaf.len] = '\0';
	return 0;
}

/* The first file of a delivery that is in place: the others are links to it. */
struct source {
	char path[MAILDIR_PATH_LIMIT + MAILDIR_LEAF_LIMIT + 2];
};

static int deliver_one(struct redo *redo, const struct journal_deliver *record,
	const struct journal_target *target, struct source *source)
{
	char leaf[MAILDIR_LEAF_LIMIT + 1], now[MAILDIR_LEAF_LIMIT + 1];
	struct place *place;
	int error = leaf_string(target->leaf, leaf);

	if (error == 0)
		error = visit(redo, target->directory, target->user, target->mailbox, &place);
	if (error || !place)
		return error;
	if (!place->folder.names && !(place->folder.names = names_read(place->folder.fd)))
		return errno;
	const struct name *name = names_find(place->folder.names, names_base(leaf));
	if (name && record->spool.len == 0) {
		error = folder_mend(&place->folder, name->leaf, record->body);
	} else if (!name) {
		if (source->path[0])
			error = folder_link(&place->folder, redo->root, source->path, leaf);
		else
			error = folder_write(&place->folder, leaf, record->body);
		redo->files++;
	}
	if (error == 0 && folder_locate(&place->folder, leaf, now) == 0 && now[0])
		snprintf(source->path, sizeof(source->path), "%s/%s", place->path, now);
	return error;
}

static int deliver(struct redo *redo, struct text payload)
{
	struct journal_deliver record;
	struct journal_target target;
	struct source source = { .path = "" };
	struct stat st;
	int error = 0;

	if (journal_deliver_unpack(payload, &record) != 0)
		return EBADMSG;
	struct message_reader targets = { .at = record.targets.ptr, .left = record.targets.len };
	if (record.spool.len) {
		if (text_find(record.spool, '/') >= 0 || text_find(record.spool, '\0') >= 0)
			return EBADMSG;
		snprintf(source.path, sizeof(source.path), "spool/%.*s", TEXT_ARG(record.spool));
		/* Taken away after the checkpoint that made the messages' own files durable. */
		if (sys.fstatat(redo->root, source.path, &st, AT_SYMLINK_NOFOLLOW) != 0)
			return errno == ENOENT ? 0 : errno;
	}
	while (targets.left && error == 0) {
		if (journal_target_unpack_from(&targets, &target) != 0)
			return EBADMSG;
		error = deliver_one(redo, &record, &target, &source);
	}
	return error;
}

static int move(struct redo *redo, struct text payload)
{
	struct journal_move record;
	struct journal_step step;
	struct place *place;
	int error;

	if (journal_move_unpack(payload, &record) != 0)
		return EBADMSG;
	error = visit(redo, record.directory, record.user, record.mailbox, &place);
	struct message_reader moves = { .at = record.moves.ptr, .left = record.moves.len };
	while (moves.left && error == 0 && place) {
		char from[MAILDIR_LEAF_LIMIT + 1], to[MAILDIR_LEAF_LIMIT + 1];
		if (journal_step_unpack_from(&moves, &step) != 0 ||
			leaf_string(step.from, from) != 0 || leaf_string(step.to, to) != 0)
			return EBADMSG;
		error = folder_move(&place->folder, from, to);
	}
	return error;
}

static int remove_leaves(struct redo *redo, struct text payload)
{
	struct journal_remove record;
	struct journal_leaf entry;
	struct place *place;
	int error;

	if (journal_remove_unpack(payload, &record) != 0)
		return EBADMSG;
	error = visit(redo, record.directory, record.user, record.mailbox, &place);
	struct message_reader leaves = { .at = record.leaves.ptr, .left = record.leaves.len };
	while (leaves.left && error == 0 && place) {
		char leaf[MAILDIR_LEAF_LIMIT + 1];
		if (journal_leaf_unpack_from(&leaves, &entry) != 0 ||
			leaf_string(entry.leaf, leaf) != 0)
			return EBADMSG;
		error = place->copied ? folder_retire(&place->folder, leaf)
				      : folder_remove(&place->folder, leaf);
	}
	return error;
}

/* A new mailbox, or an old one's text file written anew. */
static int file(struct redo *redo, struct text payload)
{
	char path[MAILDIR_PATH_LIMIT + 1];
	struct journal_file record;
	struct index_mailbox_id there;
	struct place *place;

	if (journal_file_unpack(payload, &record) != 0)
		return EBADMSG;
	int error = known(redo, record.directory, record.user, record.mailbox, &place);
	if (error)
		return error;
	if (!place->path) {
		snprintf(path, sizeof(path), "%.*s", TEXT_ARG(record.directory));
		error = read_id(redo, path, &there);
		/* Somebody else's by now: this one went since, and a later record says so. */
		if (error || there.user)
			return error;
		set_path(redo, place, path);
	}
	if ((error = folder_make(redo->root, place->path)) != 0 ||
		(error = visit(redo, record.directory, record.user, record.mailbox, &place)) != 0 ||
		!place)
		return error;
	return sys_replace_file(place->folder.fd, MAILDIR_FILE, record.octets.ptr,
		       record.octets.len, S_IRUSR | S_IWUSR) == 0
		       ? 0
		       : errno;
}

/* Before it was taken over: the text file of a mailbox that the index did not know. */
static int disown(struct redo *redo, struct text payload)
{
	struct journal_disown record;
	struct place *place;

	if (journal_disown_unpack(payload, &record) != 0)
		return EBADMSG;
	const int error = visit(redo, record.directory, record.user, record.mailbox, &place);
	if (error || !place || !text_equal(text_of(place->path), record.directory))
		return error;
	if (sys.unlinkat(place->folder.fd, MAILDIR_FILE, 0) != 0 && errno != ENOENT)
		return errno;
	set_path(redo, place, NULL);
	return 0;
}

static int subscriptions(struct redo *redo, struct text payload)
{
	struct journal_subscriptions record;
	struct place *place;

	if (journal_subscriptions_unpack(payload, &record) != 0)
		return EBADMSG;
	const int error = visit(redo, record.directory, record.user, record.mailbox, &place);
	if (error || !place)
		return error;
	return sys_replace_file(place->folder.fd, MAILDIR_SUBSCRIPTIONS, record.octets.ptr,
		       record.octets.len, S_IRUSR | S_IWUSR) == 0
		       ? 0
		       : errno;
}

static int aside(struct redo *redo, struct text payload)
{
	struct journal_aside record;
	struct place *place;

	if (journal_aside_unpack(payload, &record) != 0 || !is_inside(record.aside))
		return EBADMSG;
	int error = visit(redo, record.directory, record.user, record.mailbox, &place);
	if (error || !place)
		return error;
	error = folder_set_aside(redo->root, place->path, record.aside);
	/* The folders below have gone with it. */
	forget_all(redo);
	return error;
}

static int rename_to(struct redo *redo, struct place *place, const char *to)
{
	const int error = folder_rename(redo->root, place->path, to);

	if (error == 0)
		set_path(redo, place, to);
	return error;
}

/*
 * Where the name belongs to another mailbox by now, this one has left it since: a later record says for
 * where, and until then it waits beside.
 */
static int rename_mailbox(struct redo *redo, struct text payload)
{
	char to[MAILDIR_PATH_LIMIT + 1], astray[MAILDIR_PATH_LIMIT + 32];
	struct journal_rename record;
	struct index_mailbox_id there;
	struct place *place;

	if (journal_rename_unpack(payload, &record) != 0 || !is_inside(record.to))
		return EBADMSG;
	int error = visit(redo, record.directory, record.user, record.mailbox, &place);
	if (error || !place || text_equal(text_of(place->path), record.to))
		return error;
	snprintf(to, sizeof(to), "%.*s", TEXT_ARG(record.to));
	error = read_id(redo, to, &there);
	if (error)
		return error;
	if (there.user == 0)
		return rename_to(redo, place, to);
	user_directory(to, astray);
	const size_t length = strlen(astray);
	snprintf(astray + length, sizeof(astray) - length, "/" MAILDIR_ASTRAY "%u", record.mailbox);
	return strcmp(astray, place->path) == 0 ? 0 : rename_to(redo, place, astray);
}

static int between(struct redo *redo, enum journal_kind kind, struct text payload)
{
	struct journal_copy record;
	struct journal_step step;
	struct place *source, *target;
	int error;

	if (journal_copy_unpack(payload, &record) != 0)
		return EBADMSG;
	error = visit(redo, record.directory, record.user, record.mailbox, &source);
	if (error == 0)
		error = visit(redo, record.to_directory, record.user, record.to_mailbox, &target);
	/* Opening the one may have closed the other. */
	if (error == 0)
		error = visit(redo, record.directory, record.user, record.mailbox, &source);
	if (error || !source)
		return error;
	source->copied |= kind == JOURNAL_COPY;
	struct message_reader steps = { .at = record.steps.ptr, .left = record.steps.len };
	while (steps.left && error == 0) {
		char from[MAILDIR_LEAF_LIMIT + 1], to[MAILDIR_LEAF_LIMIT + 1];
		if (journal_step_unpack_from(&steps, &step) != 0 ||
			leaf_string(step.from, from) != 0 || leaf_string(step.to, to) != 0)
			return EBADMSG;
		if (kind == JOURNAL_TRANSFER)
			error = target ? folder_transfer(&target->folder, &source->folder, from, to,
						 source->copied)
				       : folder_retire(&source->folder, from);
		else if (target)
			error = folder_copy(&target->folder, &source->folder, from, to);
		redo->files += kind == JOURNAL_COPY;
	}
	return error;
}

/* No file of a mailbox: the caller has the one where it goes. */
static int note_once(struct redo *redo, struct text payload)
{
	struct journal_once record;
	int64_t asked;

	if (journal_once_read(payload, &record, &asked) != 0)
		return EBADMSG;
	message_add_text(&redo->once, payload);
	return 0;
}

int redo_apply(struct redo *redo, struct text record)
{
	enum journal_kind kind;
	struct text payload;

	if (journal_open(record, &kind, &payload) != 0)
		return EBADMSG;
	redo->records++;
	switch (kind) {
	case JOURNAL_MARK:
		return 0;
	case JOURNAL_DELIVER:
		return deliver(redo, payload);
	case JOURNAL_MOVE:
		return move(redo, payload);
	case JOURNAL_REMOVE:
		return remove_leaves(redo, payload);
	case JOURNAL_FILE:
		return file(redo, payload);
	case JOURNAL_ASIDE:
		return aside(redo, payload);
	case JOURNAL_RENAME:
		return rename_mailbox(redo, payload);
	case JOURNAL_DISOWN:
		return disown(redo, payload);
	case JOURNAL_COPY:
	case JOURNAL_TRANSFER:
		return between(redo, kind, payload);
	case JOURNAL_SUBSCRIPTIONS:
		return subscriptions(redo, payload);
	case JOURNAL_ONCE:
		return note_once(redo, payload);
	case JOURNAL_KINDS:
		break;
	}
	return EBADMSG;
}

static int undo_delivery(struct redo *redo, struct text payload)
{
	char leaf[MAILDIR_LEAF_LIMIT + 1], tmp[MAILDIR_LEAF_LIMIT + 1];
	struct journal_deliver record;
	struct journal_target target;
	struct place *place;

	if (journal_deliver_unpack(payload, &record) != 0)
		return EBADMSG;
	struct message_reader targets = { .at = record.targets.ptr, .left = record.targets.len };
	if (journal_target_unpack_from(&targets, &target) != 0 ||
		leaf_string(target.leaf, leaf) != 0)
		return EBADMSG;
	const int error = visit(redo, target.directory, target.user, target.mailbox, &place);
	if (error || !place)
		return error;
	folder_tmp(leaf, tmp);
	return sys.unlinkat(place->folder.fd, tmp, 0) == 0 || errno == ENOENT ? 0 : errno;
}

int redo_undo(struct redo *redo, struct text record)
{
	enum journal_kind kind;
	struct text payload;

	if (journal_open(record, &kind, &payload) != 0)
		return EBADMSG;
	const int error = kind == JOURNAL_DELIVER ? undo_delivery(redo, payload) : 0;
	/* What is redone comes later, from an earlier state of the directories on. */
	forget_all(redo);
	return error;
}

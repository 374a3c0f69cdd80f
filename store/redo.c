#include "store/redo.h"

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

/* One mailbox directory. */
struct place {
	struct place *next;
	char *path;
	struct index_mailbox_id id; /* in its text file; 0 0: there is none */
	struct folder folder;       /* fd -1: not open now */
};

struct redo {
	int root;
	struct place *buckets[BUCKETS];
	unsigned open;
	uint64_t records, files;
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

static void forget_all(struct redo *redo)
{
	for (size_t i = 0; i < BUCKETS; i++) {
		while (redo->buckets[i]) {
			struct place *place = redo->buckets[i];
			redo->buckets[i] = place->next;
			close_place(redo, place);
			folder_forget(&place->folder);
			mem_free(place->path);
			mem_free(place);
		}
	}
}

void redo_free(struct redo **redo)
{
	if (!*redo)
		return;
	forget_all(*redo);
	mem_free(*redo);
	*redo = NULL;
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

/* Many directories and names are kept; past the limits all of them are let go and read again. */
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
	if (names > NAMES_LIMIT)
		forget_all(redo);
}

static int open_place(struct redo *redo, struct place *place)
{
	place->folder.fd = sys.openat(
		redo->root, place->path, O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW, 0);
	if (place->folder.fd < 0)
		return errno;
	redo->open++;
	return 0;
}

static int read_id(struct place *place)
{
	struct maildir_file file;
	struct buf keywords = { 0 };
	size_t size;
	char *octets = sys_read_file(place->folder.fd, MAILDIR_FILE, MAILDIR_FILE_LIMIT, &size);

	place->id = (struct index_mailbox_id){ 0 };
	if (!octets)
		return errno == ENOENT ? 0 : errno;
	if (maildir_file_parse((struct text){ .ptr = octets, .len = size }, &file, &keywords) == 0)
		place->id = file.id;
	buf_release(&keywords);
	mem_free(octets);
	return 0;
}

static struct place **find(struct redo *redo, struct text path)
{
	uint32_t hash = 2166136261U;

	for (size_t i = 0; i < path.len; i++)
		hash = (hash ^ (unsigned char)path.ptr[i]) * 16777619U;
	struct place **place = &redo->buckets[hash % BUCKETS];
	while (*place && !text_equal(text_of((*place)->path), path))
		place = &(*place)->next;
	return place;
}

/* No way out of the store's own tree, whatever a damaged log says. */
static bool is_inside(struct text path)
{
	struct text rest = path, level;

	if (path.len == 0 || path.ptr[0] == '/' || text_find(path, '\0') >= 0)
		return false;
	while (text_split(&rest, '/', &level)) {
		if (text_equal(level, TEXT("..")))
			return false;
	}
	return true;
}

/* Numbers only grow: a directory with a later one was made anew after this record. */
static bool is_newer(struct index_mailbox_id id, uint32_t user, uint32_t mailbox)
{
	return id.user > user || (id.user == user && id.mailbox > mailbox);
}

/*
 * *place: the directory, open; or NULL when it is not there or belongs to a later mailbox by now, which
 * is no error: a later record explains it.
 */
static int visit(
	struct redo *redo, struct text path, uint32_t user, uint32_t mailbox, struct place **place)
{
	int error = 0;

	if (!is_inside(path))
		return EBADMSG;
	make_room(redo);
	struct place **at = find(redo, path);
	if (!*at) {
		*at = mem_new(sizeof(**at));
		(*at)->path = mem_copy(path.ptr, path.len);
		(*at)->folder.fd = -1;
		error = open_place(redo, *at);
		if (error == 0)
			error = read_id(*at);
	} else if ((*at)->folder.fd < 0) {
		error = open_place(redo, *at);
	}
	*place = *at;
	if (error) {
		struct place *bad = *at;
		*at = bad->next;
		close_place(redo, bad);
		folder_forget(&bad->folder);
		mem_free(bad->path);
		mem_free(bad);
		*place = NULL;
		return error == ENOENT || error == ENOTDIR ? 0 : error;
	}
	if (is_newer((*place)->id, user, mailbox))
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
		error = folder_remove(&place->folder, leaf);
	}
	return error;
}

static int file(struct redo *redo, struct text payload)
{
	char path[MAILDIR_PATH_LIMIT + 1];
	struct journal_file record;
	struct place *place;
	int error;

	if (journal_file_unpack(payload, &record) != 0 || !is_inside(record.directory))
		return EBADMSG;
	snprintf(path, sizeof(path), "%.*s", TEXT_ARG(record.directory));
	error = visit(redo, record.directory, record.user, record.mailbox, &place);
	if (error)
		return error;
	/* Made anew by somebody else later on: that one's record comes. */
	struct place *known = *find(redo, record.directory);
	if (known && !place)
		return 0;
	if ((error = folder_make(redo->root, path)) != 0)
		return error;
	if (!place)
		error = visit(redo, record.directory, record.user, record.mailbox, &place);
	if (error || !place)
		return error;
	place->id = (struct index_mailbox_id){ .user = record.user, .mailbox = record.mailbox };
	return sys_replace_file(place->folder.fd, MAILDIR_FILE, record.octets.ptr,
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
	}
	return EBADMSG;
}

int redo_undo(struct redo *redo, struct text record)
{
	char leaf[MAILDIR_LEAF_LIMIT + 1], tmp[MAILDIR_LEAF_LIMIT + 1];
	struct journal_deliver deliver_record;
	struct journal_target target;
	enum journal_kind kind;
	struct text payload;
	struct place *place;

	if (journal_open(record, &kind, &payload) != 0)
		return EBADMSG;
	if (kind != JOURNAL_DELIVER)
		return 0;
	if (journal_deliver_unpack(payload, &deliver_record) != 0)
		return EBADMSG;
	struct message_reader targets = { .at = deliver_record.targets.ptr,
		.left = deliver_record.targets.len };
	if (journal_target_unpack_from(&targets, &target) != 0 ||
		leaf_string(target.leaf, leaf) != 0)
		return EBADMSG;
	const int error = visit(redo, target.directory, target.user, target.mailbox, &place);
	if (error || !place)
		return error;
	folder_tmp(leaf, tmp);
	return sys.unlinkat(place->folder.fd, tmp, 0) == 0 || errno == ENOENT ? 0 : errno;
}

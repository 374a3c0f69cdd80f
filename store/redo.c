#include "store/redo.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>

#include "base/mem.h"
#include "base/sys.h"
#include "store/journal.h"
#include "store/places.h"

struct redo {
	int root;
	struct places *places;
	bool distrusts;
	uint64_t records, files;
	struct buf once;
};

struct redo *redo_new(int root)
{
	struct redo *redo = mem_new(sizeof(*redo));

	redo->root = root;
	redo->places = places_new(root);
	return redo;
}

void redo_free(struct redo **redo)
{
	if (!*redo)
		return;
	places_free(&(*redo)->places);
	buf_release(&(*redo)->once);
	mem_free(*redo);
	*redo = NULL;
}

void redo_distrust(struct redo *redo)
{
	redo->distrusts = true;
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
		error = places_visit(
			redo->places, target->directory, target->user, target->mailbox, &place);
	if (error || !place)
		return error;
	if (!place->folder.names && !(place->folder.names = names_read(place->folder.fd)))
		return errno;
	const struct name *name = names_find(place->folder.names, names_base(leaf));
	if (name && record->spool.len == 0) {
		error = folder_mend(&place->folder, name->leaf, record->body, redo->distrusts);
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
	error = places_visit(redo->places, record.directory, record.user, record.mailbox, &place);
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
	error = places_visit(redo->places, record.directory, record.user, record.mailbox, &place);
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
	int error =
		places_known(redo->places, record.directory, record.user, record.mailbox, &place);
	if (error)
		return error;
	if (!place->path) {
		snprintf(path, sizeof(path), "%.*s", TEXT_ARG(record.directory));
		error = places_read_id(redo->places, path, &there);
		/* Somebody else's by now: this one went since, and a later record says so. */
		if (error || there.user)
			return error;
		places_set_path(redo->places, place, path);
	}
	if ((error = folder_make(redo->root, place->path)) != 0 ||
		(error = places_visit(redo->places, record.directory, record.user, record.mailbox,
			 &place)) != 0 ||
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
	const int error =
		places_visit(redo->places, record.directory, record.user, record.mailbox, &place);
	if (error || !place || !text_equal(text_of(place->path), record.directory))
		return error;
	if (sys.unlinkat(place->folder.fd, MAILDIR_FILE, 0) != 0 && errno != ENOENT)
		return errno;
	places_set_path(redo->places, place, NULL);
	return 0;
}

static int subscriptions(struct redo *redo, struct text payload)
{
	struct journal_subscriptions record;
	struct place *place;

	if (journal_subscriptions_unpack(payload, &record) != 0)
		return EBADMSG;
	const int error =
		places_visit(redo->places, record.directory, record.user, record.mailbox, &place);
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

	if (journal_aside_unpack(payload, &record) != 0 || !places_is_inside(record.aside))
		return EBADMSG;
	int error =
		places_visit(redo->places, record.directory, record.user, record.mailbox, &place);
	if (error || !place)
		return error;
	error = folder_set_aside(redo->root, place->path, record.aside);
	/* The folders below have gone with it. */
	places_forget(redo->places);
	return error;
}

static int rename_to(struct redo *redo, struct place *place, const char *to)
{
	const int error = folder_rename(redo->root, place->path, to);

	if (error == 0)
		places_set_path(redo->places, place, to);
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

	if (journal_rename_unpack(payload, &record) != 0 || !places_is_inside(record.to))
		return EBADMSG;
	int error =
		places_visit(redo->places, record.directory, record.user, record.mailbox, &place);
	if (error || !place || text_equal(text_of(place->path), record.to))
		return error;
	snprintf(to, sizeof(to), "%.*s", TEXT_ARG(record.to));
	error = places_read_id(redo->places, to, &there);
	if (error)
		return error;
	if (there.user == 0)
		return rename_to(redo, place, to);
	places_user_directory(to, astray);
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
	error = places_visit(redo->places, record.directory, record.user, record.mailbox, &source);
	if (error == 0)
		error = places_visit(
			redo->places, record.to_directory, record.user, record.to_mailbox, &target);
	/* Opening the one may have closed the other. */
	if (error == 0)
		error = places_visit(
			redo->places, record.directory, record.user, record.mailbox, &source);
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
	const int error =
		places_visit(redo->places, target.directory, target.user, target.mailbox, &place);
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
	places_forget(redo->places);
	return error;
}

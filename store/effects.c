/*
 * What durable changes do to files: carried out a group at a time, in the order of the commits.
 *
 * What the disk refuses waits and is tried again every second, and all that follows waits behind it, as it
 * may need what that leaves behind. Directories that another program took away meanwhile are made again.
 *
 * The times of the directories are noted before and after a group, so that what it did is not taken for
 * somebody else's doing (scan.c).
 */
#include <errno.h>
#include <string.h>

#include "base/log.h"
#include "store/change.h"
#include "store/checkpoint.h"
#include "store/effects.h"
#include "store/garbage.h"
#include "store/mailbox.h"
#include "store/scan.h"

enum { LATE_SECONDS = 1 };

struct late {
	STAILQ_ENTRY(late) link;
	struct effect effect; /* strings are of this allocation */
};

STAILQ_HEAD(mailbox_list, mailbox);

void effect_let_go(const struct effect *effect)
{
	if (effect->mailbox)
		effect->mailbox->pins--;
	if (effect->source)
		effect->source->pins--;
}

/* ---- one effect ---- */

/* Durable by the log, like every other file: so it is not synced here. */
static int write_text_file(struct engine *engine, const struct effect *effect)
{
	const int error = folder_make(engine->root, effect->mailbox->place);
	const int fd = error ? -1 : mailbox_directory(engine, effect->mailbox);

	if (error)
		return error;
	return fd < 0 ? errno : folder_replace_file(fd, effect->from, text_of(effect->to));
}

/* While a copy's name may not be on the disk, the name that it was made from stays there. */
static bool must_retire(const struct engine *engine, const struct mailbox *mailbox)
{
	return mailbox->copied > engine->checkpoint.covered;
}

static int remove_file(struct engine *engine, const struct effect *effect, struct folder *folder)
{
	if (!must_retire(engine, effect->mailbox))
		return folder_remove(folder, effect->from);
	const int error = folder_retire(folder, effect->from);
	if (error == 0)
		garbage_retired(engine, effect->mailbox, effect->from);
	return error;
}

static int transfer_file(struct engine *engine, const struct effect *effect, struct folder *folder)
{
	struct folder source = { .fd = mailbox_directory(engine, effect->source) };
	const bool retire = must_retire(engine, effect->source);

	if (source.fd < 0)
		return errno == ENOENT ? 0 : errno;
	folder->fd = mailbox_directory(engine, effect->mailbox);
	if (folder->fd < 0)
		return errno;
	const int error = folder_transfer_new(folder, &source, effect->from, effect->to, retire);
	folder_forget(&source);
	if (error == 0 && retire)
		garbage_retired(engine, effect->source, effect->from);
	return error;
}

static int to_files(struct engine *engine, const struct effect *effect, struct folder *folder)
{
	folder->fd = mailbox_directory(engine, effect->mailbox);
	if (folder->fd < 0)
		return errno;
	switch (effect->kind) {
	case EFFECT_PLACE:
		return folder_move(folder, effect->from, effect->to);
	case EFFECT_LINK:
		return folder_link(folder, engine->root, effect->from, effect->to);
	case EFFECT_REMOVE:
		return remove_file(engine, effect, folder);
	case EFFECT_FILE:
		return write_text_file(engine, effect);
	case EFFECT_TRANSFER:
		return transfer_file(engine, effect, folder);
	case EFFECT_ASIDE:
	case EFFECT_RENAME:
		break;
	}
	return 0;
}

static int rename_directory(struct engine *engine, const struct effect *effect)
{
	struct mailbox *mailbox = effect->mailbox;
	const int error = folder_rename(engine->root, effect->from, effect->to);

	if (error)
		return error;
	mailbox_close_directory(engine, mailbox);
	mem_free(mailbox->place);
	mailbox->place = mem_copy(effect->to, strlen(effect->to));
	return 0;
}

static int apply(struct engine *engine, const struct effect *effect, struct folder *folder)
{
	if (effect->kind == EFFECT_ASIDE)
		return folder_set_aside(engine->root, effect->from, text_of(effect->to));
	if (effect->kind == EFFECT_RENAME)
		return rename_directory(engine, effect);
	int error = to_files(engine, effect, folder);
	if (error != ENOENT)
		return error;
	/* Another program took the directory away, or a part of it. */
	mailbox_close_directory(engine, effect->mailbox);
	folder_forget(folder);
	if ((error = folder_make(engine->root, effect->mailbox->place)) != 0)
		return error;
	if ((error = to_files(engine, effect, folder)) != ENOENT)
		return error;
	LOG_ERROR("message-gone", LOG_STRING("directory", effect->mailbox->place),
		LOG_STRING("file", effect->kind == EFFECT_REMOVE ? effect->from : effect->to));
	return 0;
}

/* ---- later ---- */

static void retry_later(struct engine *engine, const struct effect *effect, int error)
{
	const size_t from = effect->from ? strlen(effect->from) + 1 : 0;
	const size_t to = effect->to ? strlen(effect->to) + 1 : 0;
	struct late *late = mem_new(sizeof(*late) + from + to);
	char *strings = (char *)(late + 1);

	if (STAILQ_EMPTY(&engine->late)) {
		LOG_WARNING("maildir-behind", LOG_ERRNO(error),
			LOG_STRING("directory",
				effect->mailbox ? effect->mailbox->place : effect->from));
		event_add(engine->late_timer, &(struct timeval){ .tv_sec = LATE_SECONDS });
	}
	late->effect = *effect;
	if (from)
		late->effect.from = memcpy(strings, effect->from, from);
	if (to)
		late->effect.to = memcpy(strings + from, effect->to, to);
	if (effect->mailbox)
		effect->mailbox->pins++;
	if (effect->source)
		effect->source->pins++;
	STAILQ_INSERT_TAIL(&engine->late, late, link);
}

void effects_retry_late(struct engine *engine)
{
	struct late *late;

	while ((late = STAILQ_FIRST(&engine->late)) != NULL) {
		struct folder folder = { .fd = -1 };
		const int error = apply(engine, &late->effect, &folder);
		folder_forget(&folder);
		if (error) {
			event_add(engine->late_timer, &(struct timeval){ .tv_sec = LATE_SECONDS });
			return;
		}
		STAILQ_REMOVE_HEAD(&engine->late, link);
		effect_let_go(&late->effect);
		mem_free(late);
	}
	LOG_INFO("maildir-complete");
	checkpoint_settled(engine);
}

void effects_free(struct engine *engine)
{
	struct late *late;

	while ((late = STAILQ_FIRST(&engine->late)) != NULL) {
		STAILQ_REMOVE_HEAD(&engine->late, link);
		mem_free(late);
	}
}

/* ---- a group ---- */

static void carry_out(struct engine *engine, const struct change *change)
{
	struct folder folder = { .fd = -1 };
	const struct mailbox *of = NULL;
	int error = 0;

	for (size_t i = 0; i < change->effect_count; i++) {
		const struct effect *effect = &change->effects[i];
		/* Names that had to be read serve for the rest of this mailbox. */
		if (effect->mailbox != of)
			folder_forget(&folder);
		of = effect->mailbox;
		/* What follows may need what an earlier one leaves behind: it waits as well. */
		if (STAILQ_EMPTY(&engine->late))
			error = apply(engine, effect, &folder);
		if (!STAILQ_EMPTY(&engine->late) || error)
			retry_later(engine, effect, error);
	}
	folder_forget(&folder);
}

static void note_mailbox(
	struct engine *engine, struct mailbox_list *grouped, struct mailbox *mailbox, bool with_cur)
{
	if (!mailbox)
		return;
	if (!mailbox->grouped) {
		mailbox->grouped = true;
		mailbox->pins++;
		STAILQ_INSERT_TAIL(grouped, mailbox, group_link);
		scan_before(engine, mailbox);
	}
	if (with_cur && !mailbox->cur_before)
		scan_before_cur(engine, mailbox);
}

static bool is_within(const char *part, const char *leaf)
{
	return strncmp(leaf, part, strlen(part)) == 0;
}

/* A delivery without flags, as nearly all are, leaves cur/ alone. */
static bool may_alter_cur(const struct effect *effect)
{
	switch (effect->kind) {
	case EFFECT_LINK:
		return !is_within("new/", effect->to);
	case EFFECT_PLACE:
		return !is_within("tmp/", effect->from) || !is_within("new/", effect->to);
	case EFFECT_REMOVE:
	case EFFECT_TRANSFER:
		return true;
	case EFFECT_FILE:
	case EFFECT_ASIDE:
	case EFFECT_RENAME:
		break;
	}
	return false;
}

/* What the group does to directories is ours: note their times around it. */
static void note_before(struct engine *engine, struct mailbox_list *grouped)
{
	struct change *change;

	STAILQ_FOREACH (change, &engine->showing, link) {
		for (size_t i = 0; i < change->effect_count; i++) {
			const struct effect *effect = &change->effects[i];
			const bool with_cur = may_alter_cur(effect);
			note_mailbox(engine, grouped, effect->mailbox, with_cur);
			note_mailbox(engine, grouped, effect->source, with_cur);
		}
	}
}

static void note_after(struct engine *engine, struct mailbox_list *grouped)
{
	struct mailbox *mailbox;

	while ((mailbox = STAILQ_FIRST(grouped)) != NULL) {
		STAILQ_REMOVE_HEAD(grouped, group_link);
		scan_after(engine, mailbox);
		mailbox->grouped = false;
		mailbox->pins--;
	}
}

void effects_carry_out(struct engine *engine)
{
	struct mailbox_list grouped = STAILQ_HEAD_INITIALIZER(grouped);
	const struct change *change;

	note_before(engine, &grouped);
	for (change = STAILQ_FIRST(&engine->showing); change; change = STAILQ_NEXT(change, link)) {
		carry_out(engine, change);
		engine->to_show++;
	}
	note_after(engine, &grouped);
}

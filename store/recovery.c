/*
 * The index at a start: opened with recovery, or, when it is no good, made anew from the Maildirs. After a
 * sync that failed, what is on the disk is made sure of first (resync.h).
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "base/log.h"
#include "store/garbage.h"
#include "store/once_keys.h"
#include "store/recovery.h"
#include "store/redo.h"
#include "store/resync.h"
#include "store/space.h"
#include "store/users.h"

enum {
	LOG_MOST = 32 << 20, /* octets of a log file */
	LOG_LEAST = 4 << 20,
	LOG_PART = 16, /* of a small disk, between these two */
	ASIDE_TRIES = 1000,
};

/* There while the index is not to be believed: the next start throws it away. */
#define SUSPECT "env.suspect"

static int note_suspect(int root, const char *note)
{
	return sys_replace_file(root, SUSPECT, note, strlen(note), S_IRUSR | S_IWUSR);
}

void recovery_distrust(struct engine *engine, const char *note)
{
	/* A disk that does not write puts Berkeley DB into a panic: that tells nothing about the index. */
	if (!engine->broken && !env_sync_failed() && note_suspect(engine->root, note) != 0)
		LOG_ERROR("suspect", LOG_ERRNO(errno));
}

/* A directory with nothing but files in it, as Berkeley DB makes them. */
static void remove_environment(int root, const char *name)
{
	const struct dirent *entry;
	DIR *dir = sys_open_directory(root, name, O_NOFOLLOW);

	if (!dir)
		return;
	while ((entry = readdir(dir)) != NULL) {
		if (strcmp(entry->d_name, ".") != 0 && strcmp(entry->d_name, "..") != 0)
			sys.unlinkat(dirfd(dir), entry->d_name, 0);
	}
	closedir(dir);
	sys.unlinkat(root, name, AT_REMOVEDIR);
}

struct recovery {
	struct redo *redo;
	struct engine *engine;
};

static int recovery_redo(void *owner, struct text record)
{
	return redo_apply(((struct recovery *)owner)->redo, record);
}

static int recovery_undo(void *owner, struct text record)
{
	return redo_undo(((struct recovery *)owner)->redo, record);
}

/* Keys that no checkpoint has brought into the file: the index may be lost the next time. */
static int keep_once(struct engine *engine, struct redo *redo)
{
	struct message_reader in = { .at = buf_text(redo_once(redo)).ptr,
		.left = buf_length(redo_once(redo)) };
	struct journal_once record;
	struct buf lines = { 0 };
	int64_t asked;

	while (in.left &&
		journal_once_read(message_get_text(&in, UINT32_MAX), &record, &asked) == 0)
		once_print(&lines, record.user,
			&(struct index_once){ .time = record.time, .asked = asked }, record.key);
	const int error = once_append(engine, buf_text(&lines));
	if (error == 0)
		buf_clear(redo_once(redo));
	buf_release(&lines);
	return error;
}

static int sync_mail(const struct engine *engine)
{
	if (sys.syncfs(engine->root) == 0)
		return 0;
	const int error = errno;
	LOG_ERROR("sync-failed", LOG_ERRNO(error));
	resync_note(engine->root);
	return error;
}

static int recovery_sync(void *owner)
{
	const struct recovery *recovery = owner;
	const int error = keep_once(recovery->engine, recovery->redo);

	return error ? error : sync_mail(recovery->engine);
}

static void on_unsynced(void *owner, int error)
{
	(void)error;
	resync_note(((struct engine *)owner)->root);
}

static struct redo *new_redo(const struct engine *engine)
{
	struct redo *redo = redo_new(engine->root);

	if (engine->rewrites)
		redo_distrust(redo);
	return redo;
}

static struct env_recovery how_to_recover(struct recovery *recovery)
{
	return (struct env_recovery){ .redo = recovery_redo,
		.undo = recovery_undo,
		.sync = recovery_sync,
		.owner = recovery };
}

static void report_recovery(const char *event, const struct redo *redo, int64_t began)
{
	if (redo_records(redo))
		LOG_INFO(event, LOG_NUMBER("records", redo_records(redo)),
			LOG_NUMBER("files", redo_files(redo)),
			LOG_NUMBER("milliseconds", clock_milliseconds() - began));
}

int engine_open_environment(struct engine *engine, const char *home, bool create)
{
	struct recovery recovery = { .redo = new_redo(engine), .engine = engine };
	const int64_t began = clock_milliseconds();
	const struct env_options options = { .home = home,
		.cache_octets = engine->options.cache_octets,
		.log_octets = engine->options.log_octets
				      ? engine->options.log_octets
				      : space_part(engine, LOG_PART, LOG_LEAST, LOG_MOST),
		.create = create,
		.recovery = how_to_recover(&recovery),
		.unsynced = on_unsynced,
		.owner = engine };
	const int error = env_open(&engine->env, &options);

	report_recovery("recovered", recovery.redo, began);
	redo_free(&recovery.redo);
	return error;
}

/*
 * An index is made again from the Maildirs, but what was acknowledged just before a power cut may be in
 * the log alone: the files are made from it first. They must be durable before the log is set aside, where
 * nobody looks for it any more. It is read from its beginning, and on the way to its end there is mail again
 * that went long ago: a start after a salvage that was cut short does it again, even if the index opens.
 */
static int salvage(struct engine *engine, const char *home)
{
	struct recovery recovery = { .redo = new_redo(engine), .engine = engine };
	const struct env_recovery how = how_to_recover(&recovery);
	const int64_t began = clock_milliseconds();
	int error = note_suspect(engine->root, "The index is being made anew.\n") == 0 ? 0 : errno;

	if (error == 0)
		error = env_salvage(home, &how);
	if (error == 0)
		error = recovery_sync(&recovery);
	report_recovery("salvaged", recovery.redo, began);
	redo_free(&recovery.redo);
	return error;
}

/* Kept for who wants to know what went wrong. */
static int set_environment_aside(struct engine *engine)
{
	char aside[64];
	const int length =
		snprintf(aside, sizeof(aside), "env.damaged.%lld", (long long)time(NULL));

	for (unsigned i = 1; sys.renameat(engine->root, "env", engine->root, aside) != 0; i++) {
		if (errno == ENOENT)
			return 0;
		if ((errno != EEXIST && errno != ENOTEMPTY) || i > ASIDE_TRIES)
			return errno;
		/* More than one in a second. */
		snprintf(aside + length, sizeof(aside) - (size_t)length, ".%u", i);
	}
	LOG_WARNING("index-set-aside", LOG_STRING("directory", aside));
	return 0;
}

/* From what is there; 0, or an error: of damage when the index is to be rebuilt. */
static int open_existing(struct engine *engine, const char *home)
{
	struct stat st;

	if (sys.fstatat(engine->root, "env", &st, AT_SYMLINK_NOFOLLOW) != 0)
		return errno == ENOENT ? EBADMSG : errno;
	int error = engine_open_environment(engine, home, false);
	/* Recovered in any case, for the files that only the log may have. Why, was told then. */
	const bool is_suspect = error == 0 && sys.fstatat(engine->root, SUSPECT, &st, 0) == 0;
	if (is_suspect)
		error = EBADMSG;
	if (error == 0)
		error = users_load(engine);
	if (error == 0)
		error = garbage_find(engine);
	if (error) {
		if (!is_suspect)
			LOG_ERROR("index", LOG_STRING("error", env_error_text(error)));
		users_free(engine);
		garbage_free(engine);
		env_close(&engine->env);
	}
	return error;
}

static int open_or_make(struct engine *engine, const char *directory)
{
	char home[4096], making[4096];
	struct stat st;

	if (snprintf(home, sizeof(home), "%s/env", directory) >= (int)sizeof(home) ||
		snprintf(making, sizeof(making), "%s/env.new", directory) >= (int)sizeof(making))
		return ENAMETOOLONG;
	remove_environment(engine->root, "env.new");
	const bool is_there =
		sys.fstatat(engine->root, "env", &st, AT_SYMLINK_NOFOLLOW) == 0 || errno != ENOENT;
	int error = is_there ? open_existing(engine, home) : EBADMSG;
	if (!env_is_damage(error))
		return error;
	if ((is_there && (error = salvage(engine, home)) != 0) ||
		(error = set_environment_aside(engine)) != 0)
		return error;
	if (sys.unlinkat(engine->root, SUSPECT, 0) != 0 && errno != ENOENT)
		return errno;
	if (engine_make_directory(engine->root, "env.new") != 0)
		return errno;
	if ((error = rebuild(engine, making)) != 0)
		return error;
	if ((error = sync_mail(engine)) != 0)
		return error;
	if (sys.renameat(engine->root, "env.new", engine->root, "env") != 0 ||
		sys.fsync(engine->root) != 0)
		return errno;
	return open_existing(engine, home);
}

int recovery_open_index(struct engine *engine, const char *directory)
{
	engine->rewrites = resync_is_due(engine->root);
	if (engine->rewrites) {
		/* What nobody was told yet is about what is written again now. */
		sys.syncfs(engine->root);
		const int error = resync_environment(engine->root);
		if (error)
			return error;
	}
	const int error = open_or_make(engine, directory);
	if (error == 0 && engine->rewrites && !env_sync_failed())
		resync_done(engine->root);
	return error;
}

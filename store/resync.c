#include "store/resync.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/sys.h"

#define NOTE "env.unwritten"

enum { BLOCK = 256 * 1024 };

void resync_note(int root)
{
	/* Nothing in it: a full disk has room for a name. */
	const int file = sys.openat(
		root, NOTE, O_WRONLY | O_CREAT | O_CLOEXEC | O_NOFOLLOW, S_IRUSR | S_IWUSR);

	if (file < 0)
		LOG_ERROR("unwritten", LOG_STRING("file", NOTE), LOG_ERRNO(errno));
	else
		sys.close(file);
}

bool resync_is_due(int root)
{
	struct stat st;

	return sys.fstatat(root, NOTE, &st, AT_SYMLINK_NOFOLLOW) == 0 || errno != ENOENT;
}

void resync_done(int root)
{
	/* While it stays, every start writes again what it need not. */
	if (sys.unlinkat(root, NOTE, 0) != 0 && errno != ENOENT)
		LOG_WARNING("unwritten", LOG_STRING("file", NOTE), LOG_ERRNO(errno));
}

/* Up to end, or where the file ends. 0, or an errno. */
static int copy_part(int from, int to, off_t at, off_t end, char *block)
{
	if (lseek(to, at, SEEK_SET) < 0)
		return errno;
	while (at < end) {
		const size_t wanted = end - at < BLOCK ? (size_t)(end - at) : BLOCK;
		const ssize_t got = sys.pread(from, block, wanted, at);
		if (got == 0)
			return 0;
		if ((got < 0 && errno != EINTR) ||
			(got > 0 && sys_write_all(to, block, (size_t)got) != 0))
			return errno;
		at += got > 0 ? got : 0;
	}
	return 0;
}

/*
 * The same octets at the same place, so that memory has to bring them to the disk once more. Room where
 * nobody ever wrote stays so: that it is kept does not mean that the disk has it.
 */
static int copy_onto_itself(int from, int to)
{
	char *block = mem_new(BLOCK);
	off_t at = 0, end = 0;
	int error = 0;

	while (error == 0 && (at = lseek(from, end, SEEK_DATA)) >= 0) {
		end = lseek(from, at, SEEK_HOLE);
		error = end < 0 ? errno : copy_part(from, to, at, end, block);
	}
	if (error == 0 && errno != ENXIO)
		error = errno;
	mem_free(block);
	return error;
}

static int write_again(int directory, const char *name)
{
	const int from =
		sys.openat(directory, name, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK, 0);
	const int to = from < 0 ? -1
				: sys.openat(directory, name,
					  O_WRONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK, 0);
	int error = to < 0 ? errno : 0;

	if (error == 0) {
		/* What nobody was told yet is about octets that are written again now. */
		sys.fsync(to);
		error = copy_onto_itself(from, to);
	}
	if (error == 0 && sys.fsync(to) != 0)
		error = errno;
	if (from >= 0)
		sys.close(from);
	if (to >= 0)
		sys.close(to);
	if (error)
		LOG_ERROR("not-written-again", LOG_STRING("file", name), LOG_ERRNO(error),
			LOG_STRING("remedy", "the disk must take writes; then start again"));
	return error;
}

/* Of the files of the log, or of the others. */
static int write_all_again(int root, bool log, unsigned *files)
{
	const struct dirent *entry;
	DIR *dir = sys_open_directory(root, "env", O_NOFOLLOW);
	int error = 0;

	if (!dir)
		return errno == ENOENT ? 0 : errno;
	while (error == 0 && (entry = readdir(dir)) != NULL) {
		if (strcmp(entry->d_name, ".") == 0 || strcmp(entry->d_name, "..") == 0 ||
			(strncmp(entry->d_name, "log.", 4) == 0) != log)
			continue;
		error = write_again(dirfd(dir), entry->d_name);
		++*files;
	}
	if (error == 0 && sys.fsync(dirfd(dir)) != 0)
		error = errno;
	closedir(dir);
	return error;
}

int resync_environment(int root)
{
	const int64_t began = clock_milliseconds();
	unsigned files = 0;
	/* A page of a table is on the disk after the records that made it what it is, and never before. */
	int error = write_all_again(root, true, &files);

	if (error == 0)
		error = write_all_again(root, false, &files);
	if (error == 0)
		LOG_WARNING("written-again", LOG_NUMBER("files", files),
			LOG_NUMBER("milliseconds", clock_milliseconds() - began));
	return error;
}

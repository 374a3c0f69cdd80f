#include "store/folder.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>

#include "base/buf.h"
#include "base/sys.h"

enum {
	COPY_BLOCK = 64 * 1024,
	RETIRED_LIMIT = MAILDIR_LEAF_LIMIT + sizeof(MAILDIR_RETIRED),
};

void folder_tmp(const char *leaf, char tmp[MAILDIR_LEAF_LIMIT + 1])
{
	const struct text base = names_base(leaf);

	memcpy(tmp, "tmp/", 4);
	memcpy(tmp + 4, base.ptr, base.len);
	tmp[4 + base.len] = '\0';
}

void folder_forget(struct folder *folder)
{
	names_free(&folder->names);
}

static void copy_leaf(char to[MAILDIR_LEAF_LIMIT + 1], const char *leaf)
{
	memcpy(to, leaf, strlen(leaf) + 1);
}

static int read_names(struct folder *folder)
{
	if (!folder->names)
		folder->names = names_read(folder->fd);
	return folder->names ? 0 : errno;
}

static bool is_there(int fd, const char *leaf)
{
	struct stat st;

	return sys.fstatat(fd, leaf, &st, AT_SYMLINK_NOFOLLOW) == 0;
}

int folder_locate(struct folder *folder, const char *leaf, char now[MAILDIR_LEAF_LIMIT + 1])
{
	now[0] = '\0';
	if (!folder->names && is_there(folder->fd, leaf)) {
		copy_leaf(now, leaf);
		return 0;
	}
	const int error = read_names(folder);
	if (error)
		return error;
	const struct name *name = names_find(folder->names, names_base(leaf));
	if (name) {
		copy_leaf(now, name->leaf);
		return 0;
	}
	folder_tmp(leaf, now);
	if (!is_there(folder->fd, now))
		now[0] = '\0';
	return 0;
}

static int rename_known(struct folder *folder, const char *from, const char *to)
{
	if (strcmp(from, to) != 0 && sys.renameat(folder->fd, from, folder->fd, to) != 0)
		return errno == ENOENT ? 0 : errno;
	if (folder->names) {
		struct name *old = names_find(folder->names, names_base(from));
		if (old && strcmp(from, to) != 0)
			names_remove(folder->names, old);
		names_set(folder->names, to);
	}
	return 0;
}

/*
 * A message gets another base. What a reader did to the rest of its name since it was `from`, to mark it,
 * stays.
 */
static void renamed_leaf(
	const char *now, const char *from, const char *to, char renamed[MAILDIR_LEAF_LIMIT + 1])
{
	const struct text base = names_base(to);
	const char *info = strchr(now, ':');
	const size_t length = info ? strlen(info) : 0;

	copy_leaf(renamed, to);
	if (strcmp(now, from) == 0 ||
		(memcmp(now, "new/", 4) != 0 && memcmp(now, "cur/", 4) != 0) ||
		4 + base.len + length > MAILDIR_LEAF_LIMIT)
		return;
	memcpy(renamed, now, 4);
	memcpy(renamed + 4, base.ptr, base.len);
	memcpy(renamed + 4 + base.len, info ? info : "", length + 1);
}

int folder_move(struct folder *folder, const char *from, const char *to)
{
	char now[MAILDIR_LEAF_LIMIT + 1], renamed[MAILDIR_LEAF_LIMIT + 1];

	if (!folder->names && sys.renameat(folder->fd, from, folder->fd, to) == 0)
		return 0;
	if (!folder->names && errno != ENOENT)
		return errno;
	/* Under its new name already? Then perhaps moved on since; else whatever it was called before. */
	int error = folder_locate(folder, to, now);
	if (error == 0 && !now[0] && !text_equal(names_base(from), names_base(to))) {
		error = folder_locate(folder, from, now);
		renamed_leaf(now, from, to, renamed);
		to = renamed;
	}
	if (error || !now[0])
		return error;
	return rename_known(folder, now, to);
}

int folder_remove(struct folder *folder, const char *leaf)
{
	char now[MAILDIR_LEAF_LIMIT + 1];

	if (!folder->names && sys.unlinkat(folder->fd, leaf, 0) == 0)
		return 0;
	if (!folder->names && errno != ENOENT)
		return errno;
	const int error = folder_locate(folder, leaf, now);
	if (error || !now[0])
		return error;
	if (sys.unlinkat(folder->fd, now, 0) != 0 && errno != ENOENT)
		return errno;
	struct name *name = folder->names ? names_find(folder->names, names_base(leaf)) : NULL;
	if (name)
		names_remove(folder->names, name);
	return 0;
}

/* The names of a message in tmp/. */
static void retired_leaf(const char *leaf, char retired[RETIRED_LIMIT + 1])
{
	const struct text base = names_base(leaf);

	snprintf(retired, RETIRED_LIMIT + 1, "tmp/" MAILDIR_RETIRED "%.*s", TEXT_ARG(base));
}

/*
 * Of two links to one file the first stays when it is renamed to the second (rename(2)). Redo has both when
 * the file was linked again from another recipient's, and went where it goes before the crash.
 */
static int rename_for_sure(int from_fd, const char *from, int to_fd, const char *to)
{
	if (sys.renameat(from_fd, from, to_fd, to) != 0)
		return errno;
	return sys.unlinkat(from_fd, from, 0) == 0 || errno == ENOENT ? 0 : errno;
}

int folder_retire(struct folder *folder, const char *leaf)
{
	char now[MAILDIR_LEAF_LIMIT + 1], retired[RETIRED_LIMIT + 1];
	int error = folder_locate(folder, leaf, now);

	if (error || !now[0])
		return error;
	retired_leaf(leaf, retired);
	error = rename_for_sure(folder->fd, now, folder->fd, retired);
	if (error && error != ENOENT)
		return error;
	struct name *name = folder->names ? names_find(folder->names, names_base(leaf)) : NULL;
	if (name)
		names_remove(folder->names, name);
	return 0;
}

int folder_write_tmp(int fd, const char *leaf, struct text octets)
{
	char tmp[MAILDIR_LEAF_LIMIT + 1];
	int error = 0;

	folder_tmp(leaf, tmp);
	const int file = sys.openat(
		fd, tmp, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, S_IRUSR | S_IWUSR);
	if (file < 0)
		return errno;
	if (sys_write_all(file, octets.ptr, octets.len) != 0)
		error = errno;
	if (sys.close(file) != 0 && error == 0)
		error = errno;
	if (error)
		sys.unlinkat(fd, tmp, 0);
	return error;
}

int folder_write(struct folder *folder, const char *to, struct text octets)
{
	char tmp[MAILDIR_LEAF_LIMIT + 1];
	int error = read_names(folder);

	if (error || names_find(folder->names, names_base(to)))
		return error;
	/* A file left in tmp/ may be half written. */
	folder_tmp(to, tmp);
	if (sys.unlinkat(folder->fd, tmp, 0) != 0 && errno != ENOENT)
		return errno;
	if ((error = folder_write_tmp(folder->fd, to, octets)) != 0)
		return error;
	return rename_known(folder, tmp, to);
}

/* 1: the file is just that; 0: it is not; -1 with errno. */
static int holds(int file, struct text octets)
{
	char block[COPY_BLOCK];
	struct stat st;
	size_t at = 0;

	if (sys.fstat(file, &st) != 0)
		return -1;
	if ((uint64_t)st.st_size != octets.len)
		return 0;
	while (at < octets.len) {
		const ssize_t got = sys.pread(file, block, sizeof(block), (off_t)at);
		if (got < 0 && errno == EINTR)
			continue;
		if (got < 0)
			return -1;
		if (got == 0 || (size_t)got > octets.len - at ||
			memcmp(block, octets.ptr + at, (size_t)got) != 0)
			return 0;
		at += (size_t)got;
	}
	return 1;
}

int folder_mend(struct folder *folder, const char *leaf, struct text octets, bool again)
{
	int error = 0;
	int file = sys.openat(folder->fd, leaf, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK, 0);

	if (file < 0)
		return errno == ENOENT ? 0 : errno;
	const int right = holds(file, octets);
	if (right < 0)
		error = errno;
	sys.close(file);
	if (right < 0 || (right && !again))
		return error;
	/* In place, for every other name that it has; who reads it sees no less than there was. */
	file = sys.openat(
		folder->fd, leaf, O_WRONLY | (right ? 0 : O_TRUNC) | O_CLOEXEC | O_NOFOLLOW, 0);
	if (file < 0)
		return errno;
	if (sys_write_all(file, octets.ptr, octets.len) != 0)
		error = errno;
	if (sys.close(file) != 0 && error == 0)
		error = errno;
	return error;
}

static int copy_octets(int from, int to)
{
	char block[COPY_BLOCK];
	ssize_t got;

	while ((got = sys.read(from, block, sizeof(block))) != 0) {
		if (got < 0 && errno == EINTR)
			continue;
		if (got < 0 || sys_write_all(to, block, (size_t)got) != 0)
			return errno;
	}
	return 0;
}

static int copy(struct folder *folder, int from_fd, const char *from, const char *to)
{
	char tmp[MAILDIR_LEAF_LIMIT + 1];
	const int source = sys.openat(from_fd, from, O_RDONLY | O_CLOEXEC | O_NOFOLLOW, 0);

	if (source < 0)
		return errno;
	folder_tmp(to, tmp);
	const int file = sys.openat(folder->fd, tmp,
		O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, S_IRUSR | S_IWUSR);
	int error = file < 0 ? errno : copy_octets(source, file);
	if (file >= 0 && sys.close(file) != 0 && error == 0)
		error = errno;
	sys.close(source);
	return error ? error : rename_known(folder, tmp, to);
}

int folder_link(struct folder *folder, int from_fd, const char *from, const char *to)
{
	if (folder->names && names_find(folder->names, names_base(to)))
		return 0;
	if (sys.linkat(from_fd, from, folder->fd, to, 0) == 0 || errno == EEXIST) {
		if (folder->names)
			names_set(folder->names, to);
		return 0;
	}
	/* Another file system, too many links, or one that knows no links. */
	if (errno == EXDEV || errno == EMLINK || errno == EPERM || errno == EOPNOTSUPP)
		return copy(folder, from_fd, from, to);
	return errno;
}

/* ---- between two mailboxes ---- */

/* Where the octets of a message of source are: also one that was retired. "" when nowhere. */
static int find_source(struct folder *source, const char *from, char now[RETIRED_LIMIT + 1])
{
	const int error = folder_locate(source, from, now);

	if (error == 0 && !now[0]) {
		retired_leaf(from, now);
		if (!is_there(source->fd, now))
			now[0] = '\0';
	}
	return error;
}

int folder_link_tmp(struct folder *folder, struct folder *source, const char *from, const char *to)
{
	char now[RETIRED_LIMIT + 1], tmp[MAILDIR_LEAF_LIMIT + 1];
	const struct folder plain = { .fd = folder->fd };
	const int error = find_source(source, from, now);

	if (error || !now[0])
		return error ? error : ENOENT;
	folder_tmp(to, tmp);
	if (sys.unlinkat(folder->fd, tmp, 0) != 0 && errno != ENOENT)
		return errno;
	return folder_link((struct folder *)&plain, source->fd, now, tmp);
}

static bool is_same_file(int a_fd, const char *a, int b_fd, const char *b)
{
	struct stat x, y;

	return sys.fstatat(a_fd, a, &x, AT_SYMLINK_NOFOLLOW) == 0 &&
	       sys.fstatat(b_fd, b, &y, AT_SYMLINK_NOFOLLOW) == 0 && x.st_dev == y.st_dev &&
	       x.st_ino == y.st_ino;
}

/* *place: where the message of `to` is by now, or where it belongs. In tmp/ it was on its way there. */
static int find_target(struct folder *folder, const char *to, char place[MAILDIR_LEAF_LIMIT + 1])
{
	const int error = folder_locate(folder, to, place);

	if (error == 0 && (!place[0] || memcmp(place, "tmp/", 4) == 0))
		copy_leaf(place, to);
	return error;
}

int folder_copy(struct folder *folder, struct folder *source, const char *from, const char *to)
{
	char now[RETIRED_LIMIT + 1], place[MAILDIR_LEAF_LIMIT + 1], tmp[MAILDIR_LEAF_LIMIT + 1];
	int error = find_target(folder, to, place);

	if (error == 0)
		error = find_source(source, from, now);
	if (error)
		return error;
	folder_tmp(to, tmp);
	if (now[0] && is_same_file(source->fd, now, folder->fd, place))
		return 0;
	if (now[0] && (error = folder_link_tmp(folder, source, from, to)) != 0)
		return error;
	return rename_known(folder, tmp, place);
}

int folder_transfer(
	struct folder *folder, struct folder *source, const char *from, const char *to, bool retire)
{
	char now[MAILDIR_LEAF_LIMIT + 1], place[MAILDIR_LEAF_LIMIT + 1];
	int error = folder_locate(source, from, now);

	if (error == 0 && (retire || !now[0])) {
		error = folder_copy(folder, source, from, to);
		return error ? error : folder_retire(source, from);
	}
	if (error == 0)
		error = find_target(folder, to, place);
	if (error)
		return error;
	error = rename_for_sure(source->fd, now, folder->fd, place);
	if (error == EXDEV)
		return folder_transfer(folder, source, from, to, true);
	if (error)
		return error == ENOENT ? 0 : error;
	struct name *name = source->names ? names_find(source->names, names_base(from)) : NULL;
	if (name)
		names_remove(source->names, name);
	if (folder->names)
		names_set(folder->names, place);
	return 0;
}

int folder_transfer_new(
	struct folder *folder, struct folder *source, const char *from, const char *to, bool retire)
{
	char tmp[MAILDIR_LEAF_LIMIT + 1];

	/* There already: it is done again, after a fault. */
	if (folder->names || is_there(folder->fd, to))
		return folder_transfer(folder, source, from, to, retire);
	if (!retire && sys.renameat(source->fd, from, folder->fd, to) == 0)
		return 0;
	if (!retire || !is_there(source->fd, from))
		return folder_transfer(folder, source, from, to, retire);
	const int error = folder_link_tmp(folder, source, from, to);
	if (error)
		return error;
	folder_tmp(to, tmp);
	return sys.renameat(folder->fd, tmp, folder->fd, to) == 0 ? folder_retire(source, from)
								  : errno;
}

/* ---- text files ---- */

int folder_replace_file(int fd, const char *name, struct text octets)
{
	char tmp[MAILDIR_LEAF_LIMIT + 1];

	snprintf(tmp, sizeof(tmp), "tmp/%s", name);
	const int file = sys.openat(
		fd, tmp, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, S_IRUSR | S_IWUSR);
	if (file < 0)
		return errno;
	int error = sys_write_all(file, octets.ptr, octets.len) == 0 ? 0 : errno;
	if (sys.close(file) != 0 && error == 0)
		error = errno;
	if (error == 0 && sys.renameat(fd, tmp, fd, name) != 0)
		error = errno;
	return error;
}

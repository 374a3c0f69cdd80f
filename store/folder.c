#include "store/folder.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>

#include "base/buf.h"
#include "base/sys.h"

enum { COPY_BLOCK = 64 * 1024, ASIDE_TRIES = 100 };

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

int folder_move(struct folder *folder, const char *from, const char *to)
{
	char now[MAILDIR_LEAF_LIMIT + 1];

	if (!folder->names && sys.renameat(folder->fd, from, folder->fd, to) == 0)
		return 0;
	if (!folder->names && errno != ENOENT)
		return errno;
	/* Under its new name already? Then perhaps moved on since; else whatever it was called before. */
	int error = folder_locate(folder, to, now);
	if (error == 0 && !now[0] && !text_equal(names_base(from), names_base(to)))
		error = folder_locate(folder, from, now);
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

int folder_mend(struct folder *folder, const char *leaf, struct text octets)
{
	int error = 0;
	int file = sys.openat(folder->fd, leaf, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK, 0);

	if (file < 0)
		return errno == ENOENT ? 0 : errno;
	const int right = holds(file, octets);
	if (right < 0)
		error = errno;
	sys.close(file);
	if (right != 0)
		return error;
	/* In place, for every other name that it has. */
	file = sys.openat(folder->fd, leaf, O_WRONLY | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0);
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

/* One directory; there already is as good. */
static int make(int root, const char *path)
{
	return sys.mkdirat(root, path, S_IRWXU) == 0 || errno == EEXIST ? 0 : errno;
}

/* Every directory above the last level of the path. */
static int make_parents(int root, const char *path)
{
	char parent[MAILDIR_PATH_LIMIT + 1];
	int error = 0;

	for (size_t i = 1; path[i] && error == 0; i++) {
		if (path[i] != '/')
			continue;
		memcpy(parent, path, i);
		parent[i] = '\0';
		error = make(root, parent);
	}
	return error;
}

int folder_make(int root, const char *directory)
{
	static const char parts[3][5] = { "/cur", "/new", "/tmp" };
	char path[MAILDIR_PATH_LIMIT + 5];
	const size_t length = strlen(directory);

	if (length > MAILDIR_PATH_LIMIT)
		return ENAMETOOLONG;
	memcpy(path, directory, length + 1);
	int error = make_parents(root, path);
	if (error == 0)
		error = make(root, path);
	for (size_t i = 0; i < 3 && error == 0; i++) {
		memcpy(path + length, parts[i], sizeof(parts[i]));
		error = make(root, path);
	}
	return error;
}

int folder_set_aside(int root, const char *directory, struct text aside)
{
	char path[MAILDIR_PATH_LIMIT + 8];
	const int length = snprintf(path, sizeof(path), "%.*s", TEXT_ARG(aside));
	int error = aside.len > MAILDIR_PATH_LIMIT ? ENAMETOOLONG : make_parents(root, path);

	for (unsigned i = 0; error == 0 && i < ASIDE_TRIES; i++) {
		if (i)
			snprintf(path + length, sizeof(path) - (size_t)length, ".%u", i);
		if (sys.renameat(root, directory, root, path) == 0 || errno == ENOENT)
			return 0;
		if (errno != EEXIST && errno != ENOTEMPTY)
			error = errno;
	}
	return error ? error : EEXIST;
}

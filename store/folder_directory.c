/* Whole directories of mailboxes: made, moved, taken away. */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>

#include "base/mem.h"
#include "base/sys.h"
#include "store/folder.h"

enum { ASIDE_TRIES = 100, CLEAR_DEPTH = 8 };

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
	/* cur makes it a Maildir, so it comes last: one cut short is none. */
	static const char parts[3][5] = { "/tmp", "/new", "/cur" };
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

/*
 * Recovery tells by its text file which mailbox a directory is, when another one has its name by now. So
 * the file is on the disk, octets and all, before the directory moves.
 */
static int hold_identity(int root, const char *directory)
{
	char path[MAILDIR_PATH_LIMIT + 1 + sizeof(MAILDIR_FILE)];
	size_t size;

	snprintf(path, sizeof(path), "%.*s/" MAILDIR_FILE, MAILDIR_PATH_LIMIT, directory);
	char *octets = sys_read_file(root, path, MAILDIR_FILE_LIMIT, &size);
	if (!octets)
		return errno == ENOENT || errno == ENOTDIR || errno == EFBIG ? 0 : errno;
	const int error =
		sys_replace_file(root, path, octets, size, S_IRUSR | S_IWUSR) == 0 ? 0 : errno;
	mem_free(octets);
	/* Whoever makes room is not kept from it. */
	return error == ENOSPC || error == EDQUOT ? 0 : error;
}

int folder_set_aside(int root, const char *directory, struct text aside)
{
	char path[MAILDIR_PATH_LIMIT + 8];
	const int length = snprintf(path, sizeof(path), "%.*s", TEXT_ARG(aside));
	int error = aside.len > MAILDIR_PATH_LIMIT ? ENAMETOOLONG : make_parents(root, path);

	if (error == 0)
		error = hold_identity(root, directory);
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

int folder_rename(int root, const char *directory, const char *to)
{
	char aside[MAILDIR_PATH_LIMIT + 16];
	int error = hold_identity(root, directory);

	if (error)
		return error;
	if (sys.renameat(root, directory, root, to) == 0)
		return 0;
	if (errno == ENOTEMPTY || errno == EEXIST) {
		const char *below = strchr(to, '/');
		snprintf(aside, sizeof(aside), "removed%s", below ? below : "/");
		error = folder_set_aside(root, to, text_of(aside));
		if (error)
			return error;
		if (sys.renameat(root, directory, root, to) == 0)
			return 0;
	}
	return errno == ENOENT ? folder_make(root, to) : errno;
}

int folder_vacate(int root, const char *directory)
{
	static const char parts[4][5] = { "/cur", "/new", "/tmp", "" };
	char path[MAILDIR_PATH_LIMIT + 5];
	const size_t length = strlen(directory);

	if (length > MAILDIR_PATH_LIMIT)
		return ENAMETOOLONG;
	memcpy(path, directory, length + 1);
	for (size_t i = 0; i < 4; i++) {
		memcpy(path + length, parts[i], strlen(parts[i]) + 1);
		if (sys.unlinkat(root, path, AT_REMOVEDIR) != 0 && errno != ENOENT) {
			const int error = errno;
			/* Somebody's after all: as it was. */
			folder_make(root, directory);
			return error;
		}
	}
	return 0;
}

static int clear(int root, const char *directory, unsigned *budget, unsigned depth);

static int clear_entry(int fd, const char *name, unsigned *budget, unsigned depth)
{
	if (*budget == 0)
		return EAGAIN;
	--*budget;
	if (sys.unlinkat(fd, name, 0) == 0 || errno == ENOENT)
		return 0;
	/* EPERM is POSIX's answer for a directory, EISDIR Linux's. */
	return errno == EISDIR || errno == EPERM ? clear(fd, name, budget, depth + 1) : errno;
}

static int clear(int root, const char *directory, unsigned *budget, unsigned depth)
{
	const struct dirent *entry;
	int error = 0;

	if (depth > CLEAR_DEPTH)
		return ELOOP;
	DIR *dir = sys_open_directory(root, directory, O_NOFOLLOW);
	if (!dir)
		return errno == ENOENT ? 0 : errno;
	while (error == 0 && (entry = readdir(dir)) != NULL) {
		if (strcmp(entry->d_name, ".") != 0 && strcmp(entry->d_name, "..") != 0)
			error = clear_entry(dirfd(dir), entry->d_name, budget, depth);
	}
	closedir(dir);
	if (error == 0 && sys.unlinkat(root, directory, AT_REMOVEDIR) != 0 && errno != ENOENT)
		error = errno;
	return error;
}

int folder_clear(int root, const char *directory, unsigned *budget)
{
	return clear(root, directory, budget, 0);
}

#include "tests/crash/record.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

#include "tests/crash/record_private.h"

enum { DESCRIPTORS = 4096, PATH_SIZE = 4096 };
enum { FAILING_SYNCFS = 4, FAILING_FSYNC = 150 }; /* one in so many */

struct recorded recorded;

static struct {
	pthread_mutex_t lock;
	bool on;
	enum record_lie lie;
	char root[PATH_SIZE];
	size_t root_length;
	/* Node + 1 of what a descriptor has open; a reused number is told by its inode. */
	size_t nodes[DESCRIPTORS];
	uint32_t sleeps;
	unsigned to_fail, lost;
	unsigned failed; /* those that lost nothing themselves, but were told of it, among them */
} recorder = { .lock = PTHREAD_MUTEX_INITIALIZER };

/* ---- the tree as the store sees it ---- */

static void *checked(void *memory)
{
	if (!memory)
		abort();
	return memory;
}

static size_t node_new(bool is_directory, int fd, int dir, const char *path)
{
	struct stat st = { 0 };

	if (fd >= 0)
		syscall(SYS_fstat, fd, &st);
	else
		syscall(SYS_newfstatat, dir, path, &st, AT_SYMLINK_NOFOLLOW);
	if (recorded.node_count == recorded.node_room) {
		recorded.node_room = recorded.node_room ? 2 * recorded.node_room : 1024;
		recorded.nodes = checked(
			realloc(recorded.nodes, recorded.node_room * sizeof(*recorded.nodes)));
	}
	recorded.nodes[recorded.node_count] =
		(struct node){ .is_directory = is_directory, .inode = st.st_ino };
	return recorded.node_count++;
}

struct entry *record_find(struct directory *directory, const char *name)
{
	for (size_t i = 0; i < directory->count; i++) {
		if (strcmp(directory->entries[i].name, name) == 0)
			return &directory->entries[i];
	}
	return NULL;
}

void record_enter(struct directory *directory, const char *name, size_t node)
{
	struct entry *entry = record_find(directory, name);

	if (!entry) {
		if (directory->count == directory->room) {
			directory->room = directory->room ? 2 * directory->room : 16;
			directory->entries = checked(realloc(
				directory->entries, directory->room * sizeof(*directory->entries)));
		}
		entry = &directory->entries[directory->count++];
		entry->name = name;
	}
	entry->node = node;
}

void record_leave(struct directory *directory, const char *name)
{
	struct entry *entry = record_find(directory, name);

	if (entry)
		*entry = directory->entries[--directory->count];
}

static struct directory *names_of(size_t node)
{
	return &recorded.nodes[node].names;
}

/* Of a name that the call's caller may free. */
static const char *keep(const char *name)
{
	return checked(strdup(name));
}

static struct call *call_new(enum call_kind kind)
{
	if (recorded.count == recorded.room) {
		recorded.room = recorded.room ? 2 * recorded.room : 65536;
		recorded.calls =
			checked(realloc(recorded.calls, recorded.room * sizeof(*recorded.calls)));
	}
	struct call *call = &recorded.calls[recorded.count++];
	*call = (struct call){ .kind = kind };
	return call;
}

/* ---- descriptors and paths ---- */

static bool node_of(int fd, size_t *node)
{
	struct stat st;

	if (!recorder.on || fd < 0 || fd >= DESCRIPTORS || !recorder.nodes[fd])
		return false;
	*node = recorder.nodes[fd] - 1;
	if (syscall(SYS_fstat, fd, &st) == 0 && st.st_ino == recorded.nodes[*node].inode)
		return true;
	recorder.nodes[fd] = 0;
	return false;
}

/* The directory and the last level of a path in our tree. An empty level: the directory itself. */
static bool place_of(int dir, const char *path, size_t *directory, char name[PATH_SIZE])
{
	if (!recorder.on)
		return false;
	if (path[0] == '/') {
		if (strncmp(path, recorder.root, recorder.root_length) != 0 ||
			(path[recorder.root_length] && path[recorder.root_length] != '/'))
			return false;
		path += recorder.root_length;
		*directory = 0;
	} else if (!node_of(dir, directory)) {
		return false;
	}
	name[0] = '\0';
	for (;;) {
		while (*path == '/')
			path++;
		if (*path == '\0')
			return true;
		if (name[0]) {
			const struct entry *entry = record_find(names_of(*directory), name);
			if (!entry)
				return false;
			*directory = entry->node;
		}
		const size_t length = strcspn(path, "/");
		snprintf(name, PATH_SIZE, "%.*s", (int)length, path);
		if (strcmp(name, ".") == 0)
			name[0] = '\0';
		path += length;
	}
}

static void opened(int fd, int dir, const char *path, int flags)
{
	char name[PATH_SIZE];
	size_t directory, node;

	if (!place_of(dir, path, &directory, name))
		return;
	const struct entry *entry = name[0] ? record_find(names_of(directory), name) : NULL;
	if (!name[0]) {
		node = directory;
	} else if (entry) {
		node = entry->node;
		if (flags & O_TRUNC && recorded.nodes[node].size) {
			struct call *call = call_new(CALL_SIZE);
			call->node = node;
			recorded.nodes[node].size = 0;
		}
	} else {
		node = node_new(false, fd, 0, NULL);
		const char *kept = keep(name);
		record_enter(names_of(directory), kept, node);
		struct call *call = call_new(CALL_ENTER);
		call->directory = directory;
		call->name = kept;
		call->node = node;
	}
	if (fd < DESCRIPTORS)
		recorder.nodes[fd] = node + 1;
}

static void written(int fd, const struct iovec *parts, ssize_t size, off_t offset)
{
	size_t node, left = size > 0 ? (size_t)size : 0;

	if (!left || !node_of(fd, &node))
		return;
	struct call *call = call_new(CALL_WRITE);
	call->node = node;
	call->offset = (uint64_t)offset;
	call->size = left;
	call->octets = checked(malloc(left));
	for (char *at = call->octets; left; parts++) {
		const size_t piece = parts->iov_len < left ? parts->iov_len : left;
		memcpy(at, parts->iov_base, piece);
		at += piece;
		left -= piece;
	}
	if (call->offset + call->size > recorded.nodes[node].size)
		recorded.nodes[node].size = call->offset + call->size;
	recorded.nodes[node].dirty = true;
}

/* ---- in the place of the C library's ---- */

static void lock(void)
{
	pthread_mutex_lock(&recorder.lock);
}

static void unlock(void)
{
	const int error = errno;

	pthread_mutex_unlock(&recorder.lock);
	errno = error;
}

static int open_and_record(int dir, const char *path, int flags, mode_t mode)
{
	lock();
	const int fd = (int)syscall(SYS_openat, dir, path, flags, mode);
	if (fd >= 0 && fd < DESCRIPTORS)
		recorder.nodes[fd] = 0;
	if (fd >= 0)
		opened(fd, dir, path, flags);
	unlock();
	return fd;
}

int open(const char *path, int flags, ...)
{
	va_list arguments;

	va_start(arguments, flags);
	const mode_t mode = flags & O_CREAT ? va_arg(arguments, mode_t) : 0;
	va_end(arguments);
	return open_and_record(AT_FDCWD, path, flags, mode);
}

int openat(int dir, const char *path, int flags, ...)
{
	va_list arguments;

	va_start(arguments, flags);
	const mode_t mode = flags & O_CREAT ? va_arg(arguments, mode_t) : 0;
	va_end(arguments);
	return open_and_record(dir, path, flags, mode);
}

ssize_t write(int fd, const void *octets, size_t size)
{
	const struct iovec part = { .iov_base = (void *)octets, .iov_len = size };

	lock();
	const ssize_t result = syscall(SYS_write, fd, octets, size);
	written(fd, &part, result, recorder.on ? lseek(fd, 0, SEEK_CUR) - result : 0);
	unlock();
	return result;
}

ssize_t pwrite(int fd, const void *octets, size_t size, off_t offset)
{
	const struct iovec part = { .iov_base = (void *)octets, .iov_len = size };

	lock();
	const ssize_t result = syscall(SYS_pwrite64, fd, octets, size, offset);
	written(fd, &part, result, offset);
	unlock();
	return result;
}

ssize_t writev(int fd, const struct iovec *parts, int count)
{
	lock();
	const ssize_t result = syscall(SYS_writev, fd, parts, count);
	written(fd, parts, result, recorder.on ? lseek(fd, 0, SEEK_CUR) - result : 0);
	unlock();
	return result;
}

int ftruncate(int fd, off_t size)
{
	size_t node;

	lock();
	const int result = (int)syscall(SYS_ftruncate, fd, size);
	if (result == 0 && node_of(fd, &node)) {
		struct call *call = call_new(CALL_SIZE);
		call->node = node;
		call->size = (size_t)size;
		recorded.nodes[node].size = (uint64_t)size;
	}
	unlock();
	return result;
}

int renameat(int dir, const char *old, int to_dir, const char *new)
{
	char name[PATH_SIZE], to[PATH_SIZE];
	size_t directory, target;

	lock();
	const bool ours = place_of(dir, old, &directory, name) &&
			  place_of(to_dir, new, &target, to) &&
			  record_find(names_of(directory), name);
	const int result = (int)syscall(SYS_renameat2, dir, old, to_dir, new, 0);
	if (result == 0 && ours) {
		struct call *call = call_new(CALL_RENAME);
		call->node = record_find(names_of(directory), name)->node;
		call->directory = directory;
		call->name = keep(name);
		call->target = target;
		call->to = keep(to);
		record_leave(names_of(directory), name);
		record_enter(names_of(target), call->to, call->node);
	}
	unlock();
	return result;
}

int rename(const char *old, const char *new)
{
	return renameat(AT_FDCWD, old, AT_FDCWD, new);
}

int linkat(int dir, const char *old, int to_dir, const char *new, int flags)
{
	char name[PATH_SIZE], to[PATH_SIZE];
	size_t directory, target;

	lock();
	const int result = (int)syscall(SYS_linkat, dir, old, to_dir, new, flags);
	if (result == 0 && place_of(dir, old, &directory, name) &&
		place_of(to_dir, new, &target, to)) {
		struct call *call = call_new(CALL_ENTER);
		call->node = record_find(names_of(directory), name)->node;
		call->directory = target;
		call->name = keep(to);
		record_enter(names_of(target), call->name, call->node);
	}
	unlock();
	return result;
}

int unlinkat(int dir, const char *path, int flags)
{
	char name[PATH_SIZE];
	size_t directory;

	lock();
	const int result = (int)syscall(SYS_unlinkat, dir, path, flags);
	if (result == 0 && place_of(dir, path, &directory, name)) {
		struct call *call = call_new(CALL_LEAVE);
		call->directory = directory;
		call->name = keep(name);
		record_leave(names_of(directory), name);
	}
	unlock();
	return result;
}

int unlink(const char *path)
{
	return unlinkat(AT_FDCWD, path, 0);
}

int mkdirat(int dir, const char *path, mode_t mode)
{
	char name[PATH_SIZE];
	size_t directory;

	lock();
	const int result = (int)syscall(SYS_mkdirat, dir, path, mode);
	if (result == 0 && place_of(dir, path, &directory, name)) {
		struct call *call = call_new(CALL_ENTER);
		const size_t node = node_new(true, -1, dir, path);
		call->directory = directory;
		call->name = keep(name);
		call->node = node;
		record_enter(names_of(directory), call->name, node);
	}
	unlock();
	return result;
}

int mkdir(const char *path, mode_t mode)
{
	return mkdirat(AT_FDCWD, path, mode);
}

static uint32_t draw(void)
{
	recorder.sleeps = recorder.sleeps * 1664525 + 1013904223;
	return recorder.sleeps >> 8;
}

static bool is_to_fail(bool everything)
{
	if (!recorder.to_fail || draw() % (everything ? FAILING_SYNCFS : FAILING_FSYNC))
		return false;
	recorder.to_fail--;
	recorder.lost++;
	return true;
}

/* Of the files that wait to be written some are not. Each says so once more, when it is synced itself. */
static void lose(struct call *call)
{
	if (!call->everything) {
		recorded.nodes[call->node].dirty = false;
		return;
	}
	call->size = recorded.node_count;
	call->octets = checked(calloc(1, call->size));
	for (size_t i = 0; i < recorded.node_count; i++) {
		struct node *node = &recorded.nodes[i];
		if (!node->dirty || draw() % 4 == 0)
			continue;
		call->octets[i] = 1;
		node->dirty = false;
		node->failed = true;
	}
}

static void begin_sync(const struct call *call)
{
	if (call->everything) {
		for (size_t i = 0; i < recorded.node_count; i++)
			recorded.nodes[i].dirty = false;
	} else {
		recorded.nodes[call->node].dirty = false;
	}
}

/* A sync takes a moment in which others go on, so that what it does not cover is told apart. */
static int sync_of(int fd, bool everything)
{
	const enum record_lie lie = everything ? RECORD_LIE_SYNCFS : RECORD_LIE_FSYNC;
	size_t node = 0;

	lock();
	const bool counts = recorder.on && recorder.lie != lie && node_of(fd, &node);
	const bool failed = counts && !everything && recorded.nodes[node].failed;
	bool fails = failed || (counts && is_to_fail(everything));
	const unsigned before = recorder.lost;
	const size_t began = recorded.count;
	if (failed) {
		recorded.nodes[node].failed = false;
	} else if (counts) {
		struct call *call = call_new(fails ? CALL_LOST : CALL_SYNC);
		call->node = node;
		call->everything = everything;
		if (fails)
			lose(call);
		else
			begin_sync(call);
	}
	const bool on = recorder.on;
	const uint32_t moment = draw() >> 14;
	const int error = draw() % 4 ? EIO : ENOSPC;
	unlock();
	if (on)
		usleep(moment);
	lock();
	/* What another one lost in the meantime is missing here, too. */
	if (counts && !fails && recorder.lost != before) {
		fails = true;
		recorded.nodes[node].failed = false;
	}
	if (counts && !fails)
		call_new(CALL_SYNCED)->began = began;
	recorder.failed += fails;
	unlock();
	errno = fails ? error : errno;
	return fails ? -1 : 0;
}

int fsync(int fd)
{
	return sync_of(fd, false);
}

int fdatasync(int fd)
{
	return sync_of(fd, false);
}

int syncfs(int fd)
{
	return sync_of(fd, true);
}

/* ---- on and off ---- */

void record_start(const char *directory)
{
	struct stat st;

	snprintf(recorder.root, sizeof(recorder.root), "%s", directory);
	recorder.root_length = strlen(directory);
	memset(recorder.nodes, 0, sizeof(recorder.nodes));
	node_new(true, -1, AT_FDCWD, directory);
	recorder.on = stat(directory, &st) == 0;
	if (!recorder.on)
		abort();
}

void record_stop(void)
{
	lock();
	recorder.on = false;
	recorder.lie = RECORD_NO_LIE;
	recorder.to_fail = 0;
	unlock();
}

size_t record_count(void)
{
	lock();
	const size_t count = recorded.count;
	unlock();
	return count;
}

bool record_is_dull(size_t call)
{
	const struct call *of = &recorded.calls[call];

	return of->kind == CALL_WRITE && of->size == 4096 && of->octets[0] == '\0' &&
	       memcmp(of->octets, of->octets + 1, of->size - 1) == 0;
}

void record_lie(enum record_lie lie)
{
	recorder.lie = lie;
}

void record_fail_syncs(unsigned most)
{
	lock();
	recorder.to_fail = most;
	unlock();
}

size_t record_failed(void)
{
	lock();
	const size_t failed = recorder.failed;
	unlock();
	return failed;
}

void record_free(void)
{
	for (size_t i = 0; i < recorded.count; i++) {
		free((char *)recorded.calls[i].name);
		free((char *)recorded.calls[i].to);
		free(recorded.calls[i].octets);
	}
	for (size_t i = 0; i < recorded.node_count; i++)
		free(recorded.nodes[i].names.entries);
	free(recorded.calls);
	free(recorded.nodes);
	recorded = (struct recorded){ 0 };
}

#include "store/ahead.h"

#include <errno.h>
#include <fcntl.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <sys/vfs.h>

#include "base/mem.h"
#include "base/sys.h"

#define NAME "next.log"

enum {
	BLOCK = 256 * 1024,
	SCARCE = 32, /* a disk with less free than so many of these files is left alone */
};

enum state { ABSENT, MAKING, READY };

struct ahead {
	int directory;
	uint64_t octets;
	_Atomic enum state state;
};

struct ahead *ahead_new(const char *home, uint64_t octets)
{
	const int directory =
		sys.openat(AT_FDCWD, home, O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW, 0);

	if (directory < 0)
		return NULL;
	struct ahead *ahead = mem_new(sizeof(*ahead));
	ahead->directory = directory;
	ahead->octets = octets;
	return ahead;
}

void ahead_free(struct ahead **ahead)
{
	if (!*ahead)
		return;
	sys.close((*ahead)->directory);
	mem_free(*ahead);
	*ahead = NULL;
}

bool ahead_is_taken_care_of(const struct ahead *ahead)
{
	return ahead->state != ABSENT;
}

static bool space_is_scarce(const struct ahead *ahead)
{
	struct statfs space;

	return fstatfs(ahead->directory, &space) != 0 ||
	       (uint64_t)space.f_bavail * (uint64_t)space.f_bsize < SCARCE * ahead->octets;
}

/* One that is left from before keeps its blocks, whatever is in them. */
static int fill(const struct ahead *ahead, int file)
{
	char *zeros = mem_new(BLOCK);
	int error = sys.ftruncate(file, (off_t)ahead->octets) == 0 ? 0 : errno;

	for (uint64_t done = 0; done < ahead->octets && error == 0; done += BLOCK)
		error = sys_write_all(file, zeros, BLOCK) == 0 ? 0 : errno;
	mem_free(zeros);
	if (error == 0 && sys.fsync(file) != 0)
		error = errno;
	return error;
}

static int make(const struct ahead *ahead)
{
	if (space_is_scarce(ahead))
		return ENOSPC;
	const int file = sys.openat(ahead->directory, NAME,
		O_WRONLY | O_CREAT | O_CLOEXEC | O_NOFOLLOW, S_IRUSR | S_IWUSR);
	if (file < 0)
		return errno;
	int error = fill(ahead, file);
	if (sys.close(file) != 0 && error == 0)
		error = errno;
	if (error)
		sys.unlinkat(ahead->directory, NAME, 0);
	return error;
}

int ahead_make(struct ahead *ahead)
{
	ahead->state = MAKING;
	const int error = make(ahead);
	ahead->state = error ? ABSENT : READY;
	return error;
}

void ahead_fetch(const struct ahead *ahead, uint32_t number, uint64_t from, uint64_t octets)
{
	char name[32];

	snprintf(name, sizeof(name), "log.%010u", (unsigned)number);
	const int file = sys.openat(ahead->directory, name, O_RDONLY | O_CLOEXEC | O_NOFOLLOW, 0);
	if (file < 0)
		return;
	posix_fadvise(file, (off_t)from, (off_t)octets, POSIX_FADV_WILLNEED);
	sys.close(file);
}

/* 0 also when there is none to take; an errno when the new name may not be on disk. */
static int take(struct ahead *ahead, const char *name)
{
	enum state ready = READY;
	struct stat st;

	if (sys.fstatat(ahead->directory, name, &st, AT_SYMLINK_NOFOLLOW) == 0 || errno != ENOENT ||
		!atomic_compare_exchange_strong(&ahead->state, &ready, ABSENT) ||
		sys.renameat(ahead->directory, NAME, ahead->directory, name) != 0)
		return 0;
	return sys.fsync(ahead->directory) == 0 ? 0 : errno;
}

int ahead_open(struct ahead *ahead, const char *path, int flags, int mode)
{
	const char *slash = strrchr(path, '/');
	const char *name = slash ? slash + 1 : path;

	if (ahead && (flags & O_CREAT) && strncmp(name, "log.", 4) == 0) {
		const int error = take(ahead, name);
		if (error) {
			errno = error;
			return -1;
		}
	}
	return sys.openat(AT_FDCWD, path, flags | O_CLOEXEC, (mode_t)mode);
}

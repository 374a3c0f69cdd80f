#include "base/sys.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/openat2.h>
#include <stdint.h>
#include <stdio.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/buf.h"

/* openat is variadic, which a table of functions with prototypes cannot hold. */
static int open_at(int dir, const char *path, int flags, mode_t mode)
{
	return openat(dir, path, flags, mode);
}

/* glibc's own takes the call that also takes a path, which only the store may make (priv_table.c). */
static int stat_of(int fd, struct stat *st)
{
	return (int)syscall(SYS_fstat, fd, st);
}

struct sys sys = {
	.openat = open_at,
	.close = close,
	.read = read,
	.pread = pread,
	.write = write,
	.writev = writev,
	.fsync = fsync,
	.fdatasync = fdatasync,
	.syncfs = syncfs,
	.linkat = linkat,
	.renameat = renameat,
	.unlinkat = unlinkat,
	.mkdirat = mkdirat,
	.fstat = stat_of,
	.fstatat = fstatat,
	.ftruncate = ftruncate,
	.fdopendir = fdopendir,
};

void sys_hold_standard(void)
{
	int fd;

	do {
		fd = open("/dev/null", O_WRONLY);
	} while (fd >= 0 && fd <= STDERR_FILENO);
	if (fd >= 0)
		close(fd);
}

int sys_write_all(int fd, const void *octets, size_t size)
{
	struct iovec part = { .iov_base = (void *)octets, .iov_len = size };

	return sys_writev_all(fd, &part, 1);
}

/* Steps over what was written; parts that are used up are skipped. */
static void advance(struct iovec **parts, int *count, size_t written)
{
	while (*count && written >= (*parts)->iov_len) {
		written -= (*parts)->iov_len;
		(*parts)++;
		(*count)--;
	}
	if (*count) {
		(*parts)->iov_base = (char *)(*parts)->iov_base + written;
		(*parts)->iov_len -= written;
	}
}

int sys_writev_all(int fd, struct iovec *parts, int count)
{
	advance(&parts, &count, 0);
	while (count) {
		ssize_t written =
			count == 1 ? sys.write(fd, parts->iov_base, parts->iov_len)
				   : sys.writev(fd, parts, count < IOV_MAX ? count : IOV_MAX);
		if (written < 0 && errno == EINTR)
			continue;
		if (written == 0)
			errno = EIO; /* nothing and no reason: it would never end */
		if (written <= 0)
			return -1;
		advance(&parts, &count, (size_t)written);
	}
	return 0;
}

/* Up to limit octets into out. 0, or -1 with errno: EFBIG when there are more. */
static int read_all(int fd, size_t limit, struct buf *out)
{
	struct stat st;
	size_t guess = 4096;

	if (sys.fstat(fd, &st) != 0)
		return -1;
	if (S_ISREG(st.st_mode) && st.st_size > 0)
		guess = (uintmax_t)st.st_size < limit ? (size_t)st.st_size : limit;
	for (;;) {
		char *at = buf_room(out, guess + 1);
		ssize_t got = sys.read(fd, at, guess + 1);
		if (got < 0 && errno == EINTR)
			continue;
		if (got < 0)
			return -1;
		if (got == 0)
			return 0;
		buf_commit(out, (size_t)got);
		if (buf_length(out) > limit) {
			errno = EFBIG;
			return -1;
		}
	}
}

int sys_open_straight(const char *path, int flags)
{
	const struct open_how how = { .flags = (uint64_t)(flags | O_CLOEXEC),
		.resolve = RESOLVE_NO_SYMLINKS };

	return (int)syscall(SYS_openat2, AT_FDCWD, path, &how, sizeof(how));
}

DIR *sys_open_directory(int dir, const char *path, int flags)
{
	const int fd = sys.openat(dir, path, O_RDONLY | O_DIRECTORY | O_CLOEXEC | flags, 0);
	DIR *opened = fd < 0 ? NULL : sys.fdopendir(fd);

	if (fd >= 0 && !opened) {
		const int number = errno;
		sys.close(fd);
		errno = number;
	}
	return opened;
}

char *sys_read_file(int dir, const char *path, size_t limit, size_t *size)
{
	struct buf octets = { 0 };
	/* A pipe that somebody put there must not stop us. */
	int fd = sys.openat(dir, path, O_RDONLY | O_NONBLOCK | O_CLOEXEC, 0);

	if (fd < 0)
		return NULL;
	int result = read_all(fd, limit, &octets);
	const int number = errno;
	sys.close(fd);
	if (result != 0) {
		buf_release(&octets);
		errno = number;
		return NULL;
	}
	*size = buf_length(&octets);
	buf_add_char(&octets, '\0');
	return octets.block; /* nothing was consumed, so its start is the block's */
}

/* What an earlier attempt left under this name, when it did not live to the end, is removed. */
static int create_file(int dir, const char *path, mode_t mode)
{
	const int flags = O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC;
	int fd = sys.openat(dir, path, flags, mode);

	if (fd < 0 && errno == EEXIST && sys.unlinkat(dir, path, 0) == 0)
		fd = sys.openat(dir, path, flags, mode);
	return fd;
}

static int write_new_file(int dir, const char *path, const void *octets, size_t size, mode_t mode)
{
	int fd = create_file(dir, path, mode);

	if (fd < 0)
		return -1;
	int result = sys_write_all(fd, octets, size) != 0 || sys.fsync(fd) != 0 ? -1 : 0;
	int number = errno;
	if (sys.close(fd) != 0 && result == 0) {
		result = -1;
		number = errno;
	}
	errno = number;
	return result;
}

/* The directory that path lies in, itself. */
static int sync_directory_of(int dir, const char *path)
{
	const ptrdiff_t slash = text_find_last(text_of(path), '/');
	char directory[PATH_MAX];

	snprintf(directory, sizeof(directory), "%.*s",
		slash < 0    ? 1
		: slash == 0 ? 1
			     : (int)slash,
		slash < 0 ? "." : path);
	int fd = sys.openat(dir, directory, O_RDONLY | O_DIRECTORY | O_CLOEXEC, 0);
	if (fd < 0)
		return -1;
	int result = sys.fsync(fd);
	const int number = errno;
	sys.close(fd);
	errno = number;
	return result;
}

int sys_replace_file(int dir, const char *path, const void *octets, size_t size, mode_t mode)
{
	char temporary[PATH_MAX];
	const int length = snprintf(temporary, sizeof(temporary), "%s.new", path);

	if (length < 0 || (size_t)length >= sizeof(temporary)) {
		errno = ENAMETOOLONG;
		return -1;
	}
	if (write_new_file(dir, temporary, octets, size, mode) != 0 ||
		sys.renameat(dir, temporary, dir, path) != 0) {
		const int number = errno;
		sys.unlinkat(dir, temporary, 0);
		errno = number;
		return -1;
	}
	return sync_directory_of(dir, path);
}

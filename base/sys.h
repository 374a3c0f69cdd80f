/*
 * System calls that can fail on a bad day, behind one thin table that a test can replace.
 *
 * Roles that touch files (the store) call these; a test fails the n-th of them with an errno of its
 * choice, or records them. Semantics, results and errno are the system call's own.
 */
#ifndef BASE_SYS_H
#define BASE_SYS_H

#include <dirent.h>
#include <sys/stat.h>
#include <sys/types.h>
#include <sys/uio.h>

struct sys {
	int (*openat)(int dir, const char *path, int flags, mode_t mode);
	int (*close)(int fd);
	ssize_t (*read)(int fd, void *octets, size_t size);
	ssize_t (*pread)(int fd, void *octets, size_t size, off_t offset);
	ssize_t (*write)(int fd, const void *octets, size_t size);
	ssize_t (*writev)(int fd, const struct iovec *parts, int count);
	int (*fsync)(int fd);
	int (*fdatasync)(int fd);
	int (*syncfs)(int fd);
	int (*linkat)(int olddir, const char *old, int newdir, const char *new, int flags);
	int (*renameat)(int olddir, const char *old, int newdir, const char *new);
	int (*unlinkat)(int dir, const char *path, int flags);
	int (*mkdirat)(int dir, const char *path, mode_t mode);
	int (*fstat)(int fd, struct stat *st);
	int (*fstatat)(int dir, const char *path, struct stat *st, int flags);
	int (*ftruncate)(int fd, off_t size);
	DIR *(*fdopendir)(int fd);
};

/* The calls in force; the kernel's own unless a test put others here. */
extern struct sys sys;

/*
 * Descriptors 0 to 2 are open after this, before anything else is: whoever started us may have closed some,
 * and no file of ours shall have the number that complaints are written to. What was closed can be written
 * to, to no effect, and not be read from.
 */
void sys_hold_standard(void);

/* All octets, over short writes and EINTR. 0, or -1 with errno. */
int sys_write_all(int fd, const void *octets, size_t size);
int sys_writev_all(int fd, struct iovec *parts, int count);

/*
 * Open a path none of whose parts may be a symbolic link, with close-on-exec: for what others than we
 * ourselves may have arranged. -1 with errno; ELOOP: one is.
 */
int sys_open_straight(const char *path, int flags);

/* To be read with readdir(), and closed with closedir(). flags: O_NOFOLLOW or 0. NULL with errno. */
DIR *sys_open_directory(int dir, const char *path, int flags);

/* The whole file dir/path up to limit octets into fresh heap memory with a NUL after it; NULL with errno. */
char *sys_read_file(int dir, const char *path, size_t limit, size_t *size);

/*
 * Replace dir/path by these octets: written as path.new, fsync, rename, fsync of the directory. 0, or -1
 * with errno; after -1 the old file or the new one is there, never a mixture.
 */
int sys_replace_file(int dir, const char *path, const void *octets, size_t size, mode_t mode);

#endif

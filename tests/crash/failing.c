/*
 * Every system call of the store fails once.
 *
 *	failing [-n TRIALS] [-s SEED] [-c CALL -e ERRNO] [-v]
 *
 * The calls of a run are counted; then, in a process of its own each time, one of them fails with no
 * space, an I/O error, too many descriptors, or writes less than it was given. What follows may be
 * refused for the moment, or the engine may stop and be opened again. Afterwards everything that it
 * promised must be there.
 */
#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/log.h"
#include "tests/crash/workload.h"

enum { STEPS = 12, RUNS = 2, CHECK_SECONDS = 60, CHECK_FAILED = 3, SHORT = -1 };

/* ---- calls that fail ---- */

static struct {
	pthread_mutex_t lock;
	bool on;
	long count, fail_at;
	int error; /* an errno, or SHORT */
	bool fired;
	const char *fired_in;
	char root[256];
} faults = { .lock = PTHREAD_MUTEX_INITIALIZER };

/* Whether this one is to fail; a call that cannot fail that way does not count. */
static bool fails(const char *call, int error)
{
	pthread_mutex_lock(&faults.lock);
	const bool fail = faults.on && ++faults.count == faults.fail_at;
	if (fail) {
		faults.fired = true;
		faults.fired_in = call;
		errno = error;
	}
	pthread_mutex_unlock(&faults.lock);
	return fail && faults.error != SHORT;
}

static bool is_ours(int fd)
{
	struct stat st;

	return faults.on && fd > STDERR_FILENO && syscall(SYS_fstat, fd, &st) == 0 &&
	       (S_ISREG(st.st_mode) || S_ISDIR(st.st_mode));
}

static bool is_our_path(int dir, const char *path)
{
	if (path[0] == '/')
		return faults.on && strncmp(path, faults.root, strlen(faults.root)) == 0;
	return is_ours(dir);
}

/* Reads and renames do not run out of space, and only what opens runs out of descriptors. */
static int as_read(void)
{
	return EIO;
}

static int as_open(void)
{
	return faults.error == SHORT ? EMFILE : faults.error;
}

static int as_write(void)
{
	return faults.error == EMFILE || faults.error == SHORT ? EIO : faults.error;
}

static int open_or_fail(int dir, const char *path, int flags, mode_t mode)
{
	if (is_our_path(dir, path) && fails("open", as_open()))
		return -1;
	return (int)syscall(SYS_openat, dir, path, flags, mode);
}

int open(const char *path, int flags, ...)
{
	va_list arguments;

	va_start(arguments, flags);
	const mode_t mode = flags & O_CREAT ? va_arg(arguments, mode_t) : 0;
	va_end(arguments);
	return open_or_fail(AT_FDCWD, path, flags, mode);
}

int openat(int dir, const char *path, int flags, ...)
{
	va_list arguments;

	va_start(arguments, flags);
	const mode_t mode = flags & O_CREAT ? va_arg(arguments, mode_t) : 0;
	va_end(arguments);
	return open_or_fail(dir, path, flags, mode);
}

/* Half of it, when that is what this call was chosen for. */
static size_t shortened(const char *call, size_t size)
{
	const bool was = faults.fired;

	(void)fails(call, EIO);
	return !was && faults.fired && size > 1 ? size / 2 : size;
}

/* Berkeley DB fills the rest of its log with zeros, page by page: a few of these will do. */
static bool is_dull(const char *octets, size_t size)
{
	static unsigned seen;

	return size == 4096 && octets[0] == '\0' && memcmp(octets, octets + 1, size - 1) == 0 &&
	       ++seen % 512;
}

ssize_t write(int fd, const void *octets, size_t size)
{
	if (is_ours(fd) && !is_dull(octets, size)) {
		if (faults.error == SHORT)
			size = shortened("write", size);
		else if (fails("write", as_write()))
			return -1;
	}
	return syscall(SYS_write, fd, octets, size);
}

ssize_t pwrite(int fd, const void *octets, size_t size, off_t offset)
{
	if (is_ours(fd)) {
		if (faults.error == SHORT)
			size = shortened("pwrite", size);
		else if (fails("pwrite", as_write()))
			return -1;
	}
	return syscall(SYS_pwrite64, fd, octets, size, offset);
}

ssize_t writev(int fd, const struct iovec *parts, int count)
{
	if (is_ours(fd) && fails("writev", as_write()))
		return -1;
	return syscall(SYS_writev, fd, parts, count);
}

ssize_t read(int fd, void *octets, size_t size)
{
	if (is_ours(fd) && fails("read", as_read()))
		return -1;
	return syscall(SYS_read, fd, octets, size);
}

ssize_t pread(int fd, void *octets, size_t size, off_t offset)
{
	if (is_ours(fd) && fails("pread", as_read()))
		return -1;
	return syscall(SYS_pread64, fd, octets, size, offset);
}

int ftruncate(int fd, off_t size)
{
	if (is_ours(fd) && fails("ftruncate", as_write()))
		return -1;
	return (int)syscall(SYS_ftruncate, fd, size);
}

/* Nothing here is about durability, so the kernel is spared the work. */
static int sync_or_fail(int fd, const char *call)
{
	return is_ours(fd) && fails(call, as_write()) ? -1 : 0;
}

int fsync(int fd)
{
	return sync_or_fail(fd, "fsync");
}

int fdatasync(int fd)
{
	return sync_or_fail(fd, "fdatasync");
}

int syncfs(int fd)
{
	return sync_or_fail(fd, "syncfs");
}

int renameat(int dir, const char *old, int to_dir, const char *new)
{
	if (is_our_path(dir, old) && fails("rename", as_write()))
		return -1;
	return (int)syscall(SYS_renameat2, dir, old, to_dir, new, 0);
}

int rename(const char *old, const char *new)
{
	return renameat(AT_FDCWD, old, AT_FDCWD, new);
}

int linkat(int dir, const char *old, int to_dir, const char *new, int flags)
{
	if (is_our_path(dir, old) && fails("link", as_write()))
		return -1;
	return (int)syscall(SYS_linkat, dir, old, to_dir, new, flags);
}

int unlinkat(int dir, const char *path, int flags)
{
	if (is_our_path(dir, path) && fails("unlink", as_write()))
		return -1;
	return (int)syscall(SYS_unlinkat, dir, path, flags);
}

int unlink(const char *path)
{
	return unlinkat(AT_FDCWD, path, 0);
}

int mkdirat(int dir, const char *path, mode_t mode)
{
	if (is_our_path(dir, path) && fails("mkdir", as_write()))
		return -1;
	return (int)syscall(SYS_mkdirat, dir, path, mode);
}

int mkdir(const char *path, mode_t mode)
{
	return mkdirat(AT_FDCWD, path, mode);
}

int fstatat(int dir, const char *restrict path, struct stat *restrict st, int flags)
{
	if (is_our_path(dir, path) && fails("stat", as_read()))
		return -1;
	return (int)syscall(SYS_newfstatat, dir, path, st, flags);
}

/* ---- trials ---- */

static int remove_one(const char *path, const struct stat *st, int flag, struct FTW *ftw)
{
	(void)st, (void)flag, (void)ftw;
	return remove(path);
}

static const char *name_of(int error)
{
	return error == SHORT ? "a short write" : strerror(error);
}

static void report(const char *finding)
{
	printf("call %ld, %s, %s: %s\n", faults.fail_at, faults.fired_in ? faults.fired_in : "-",
		name_of(faults.error), finding);
	fflush(stdout);
	_exit(CHECK_FAILED);
}

/* How many calls there were. Does not return when something was found. */
static long work(uint32_t seed, bool check)
{
	struct workload *workload = workload_new(seed, NULL);

	workload_expect_faults(workload, true);
	faults.on = true;
	for (unsigned i = 0; i < RUNS; i++) {
		const bool before = faults.fired;
		if (workload_run(workload, faults.root, STEPS))
			continue;
		/* One that does not open tells why and ends; the next one must. */
		if (before || !faults.fired || workload_is_open(workload))
			report(workload_finding(workload));
	}
	faults.on = false;
	workload_expect_faults(workload, false);
	const long count = faults.count;
	if (check && !workload_check(workload, faults.root, 0, faults.fail_at % 3 == 0))
		report(workload_finding(workload));
	workload_free(&workload);
	return count;
}

static void fresh(void)
{
	nftw(faults.root, remove_one, 16, FTW_DEPTH | FTW_PHYS);
	if (mkdir(faults.root, S_IRWXU) != 0)
		abort();
}

static bool try_fault(uint32_t seed, bool verbose)
{
	int status;

	fresh();
	const pid_t child = fork();
	if (child == 0) {
		alarm(CHECK_SECONDS);
		log_open("failing", verbose ? LOG_LEVEL_DEBUG : LOG_LEVEL_ERROR);
		if (!verbose && !freopen("/dev/null", "w", stderr))
			abort();
		work(seed, true);
		_exit(0);
	}
	waitpid(child, &status, 0);
	if (status == 0)
		return true;
	if (!WIFEXITED(status) || WEXITSTATUS(status) != CHECK_FAILED)
		printf("call %ld, %s: the store ended with status %x\n", faults.fail_at,
			name_of(faults.error), (unsigned)status);
	fflush(stdout);
	return false;
}

int main(int argc, char **argv)
{
	static const int errors[] = { ENOSPC, EIO, EMFILE, SHORT };
	char scratch[] = "/tmp/failing.XXXXXX", shared[] = "/dev/shm/failing.XXXXXX";
	const char *home = mkdtemp(shared);
	unsigned trials = 400, seed = 1, found = 0;
	bool verbose = false;
	int option;

	while ((option = getopt(argc, argv, "n:s:c:e:v")) != -1) {
		if (option == 'n')
			trials = (unsigned)strtoul(optarg, NULL, 10);
		else if (option == 's')
			seed = (unsigned)strtoul(optarg, NULL, 10);
		else if (option == 'c')
			faults.fail_at = strtol(optarg, NULL, 10);
		else if (option == 'e')
			faults.error = (int)strtol(optarg, NULL, 10);
		else if (option == 'v')
			verbose = true;
		else
			return 64;
	}
	if (!home && !(home = mkdtemp(scratch)))
		return 1;
	snprintf(faults.root, sizeof(faults.root), "%s", home);
	log_open("failing", LOG_LEVEL_ERROR);
	if (faults.fail_at) {
		found = !try_fault(seed, verbose);
		trials = 1;
	} else {
		fresh();
		const long calls = work(seed, false);
		printf("%ld calls\n", calls);
		fflush(stdout);
		for (unsigned i = 0; i < trials; i++) {
			/* Spread over the run, each kind of error in turn. */
			faults.count = 0;
			faults.error = errors[i % 4];
			faults.fail_at = 1 + (long)((uint64_t)i * (uint64_t)calls / trials);
			found += !try_fault(seed, verbose);
		}
	}
	printf("%u failing calls, %u with a finding\n", trials, found);
	nftw(faults.root, remove_one, 16, FTW_DEPTH | FTW_PHYS);
	return found != 0;
}

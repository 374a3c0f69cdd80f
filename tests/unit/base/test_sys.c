/* Whole writes, whole reads and replaced files, when every system call in turn goes wrong. */
#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/mem.h"
#include "base/sys.h"
#include "base/text.h"

static char directory[64];
static int dir;
static struct sys real;

/* The n-th call from here fails with this errno; 0: none. */
static struct {
	unsigned countdown;
	int number;
	unsigned calls;
	unsigned interrupts; /* so many reads and writes give EINTR first */
	size_t piece;        /* at most so many octets a call */
} plan;

static bool goes_wrong(void)
{
	plan.calls++;
	if (plan.countdown == 0 || --plan.countdown > 0)
		return false;
	errno = plan.number;
	return true;
}

static bool is_interrupted(void)
{
	if (plan.interrupts == 0)
		return false;
	plan.interrupts--;
	errno = EINTR;
	return true;
}

static size_t piece_of(size_t size)
{
	return plan.piece && size > plan.piece ? plan.piece : size;
}

static int bad_openat(int at, const char *path, int flags, mode_t mode)
{
	return goes_wrong() ? -1 : real.openat(at, path, flags, mode);
}

static int bad_close(int fd)
{
	const bool wrong = goes_wrong();
	const int number = errno;
	int result = real.close(fd);

	errno = number;
	return wrong ? -1 : result;
}

static ssize_t bad_read(int fd, void *octets, size_t size)
{
	return is_interrupted() || goes_wrong() ? -1 : real.read(fd, octets, piece_of(size));
}

static ssize_t bad_write(int fd, const void *octets, size_t size)
{
	return is_interrupted() || goes_wrong() ? -1 : real.write(fd, octets, piece_of(size));
}

static ssize_t bad_writev(int fd, const struct iovec *parts, int count)
{
	if (is_interrupted() || goes_wrong())
		return -1;
	if (plan.piece == 0)
		return real.writev(fd, parts, count);
	/* Ends in the middle of the second part, where that is possible. */
	struct iovec some[2] = { parts[0], parts[1] };
	some[1].iov_len = piece_of(some[1].iov_len);
	return real.writev(fd, some, 2);
}

static int bad_fsync(int fd)
{
	return goes_wrong() ? -1 : real.fsync(fd);
}

static int bad_renameat(int olddir, const char *old, int newdir, const char *new)
{
	return goes_wrong() ? -1 : real.renameat(olddir, old, newdir, new);
}

static int bad_fstat(int fd, struct stat *st)
{
	return goes_wrong() ? -1 : real.fstat(fd, st);
}

static int set_up(void **state)
{
	(void)state;
	memset(&plan, 0, sizeof(plan));
	real = sys;
	sys.openat = bad_openat;
	sys.close = bad_close;
	sys.read = bad_read;
	sys.write = bad_write;
	sys.writev = bad_writev;
	sys.fsync = bad_fsync;
	sys.renameat = bad_renameat;
	sys.fstat = bad_fstat;
	snprintf(directory, sizeof(directory), "/tmp/test-sys.XXXXXX");
	if (!mkdtemp(directory))
		return -1;
	dir = open(directory, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	return dir < 0 ? -1 : 0;
}

static int tear_down(void **state)
{
	(void)state;
	sys = real;
	unlinkat(dir, "file", 0);
	unlinkat(dir, "file.new", 0);
	unlinkat(dir, "sub/file", 0);
	unlinkat(dir, "sub", AT_REMOVEDIR);
	close(dir);
	return rmdir(directory);
}

static void expect_file(const char *path, struct text wanted)
{
	size_t size = 0;
	char *octets = sys_read_file(dir, path, 1 << 20, &size);

	assert_non_null(octets);
	assert_int_equal(size, wanted.len);
	assert_memory_equal(octets, wanted.ptr, size);
	assert_int_equal(octets[size], '\0');
	mem_free(octets);
}

static void writing_goes_on_after_short_writes(void **state)
{
	static char first[100], second[3000];
	struct iovec parts[] = { { NULL, 0 }, { first, 100 }, { second, 3000 }, { first, 0 },
		{ first, 7 } };

	(void)state;
	memset(first, 'a', sizeof(first));
	memset(second, 'b', sizeof(second));
	plan.piece = 17;
	plan.interrupts = 5;
	int fd = open(directory, O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);
	if (fd < 0)
		fd = openat(dir, "file", O_CREAT | O_RDWR | O_CLOEXEC, 0600);
	assert_int_equal(sys_writev_all(fd, parts, 5), 0);
	assert_int_equal(sys_write_all(fd, "end", 3), 0);
	assert_int_equal(sys_write_all(fd, NULL, 0), 0);
	char back[3200];
	assert_int_equal(pread(fd, back, sizeof(back), 0), 3110);
	assert_memory_equal(back, first, 100);
	assert_memory_equal(back + 100, second, 3000);
	assert_memory_equal(back + 3100, "aaaaaaaend", 10);
	plan.countdown = 2;
	plan.number = ENOSPC;
	assert_int_equal(sys_write_all(fd, second, 100), -1);
	assert_int_equal(errno, ENOSPC);
	close(fd);
}

static ssize_t write_nothing(int fd, const void *octets, size_t size)
{
	(void)fd, (void)octets, (void)size;
	return 0;
}

static void a_write_of_nothing_does_not_hang(void **state)
{
	(void)state;
	sys.write = write_nothing;
	assert_int_equal(sys_write_all(1, "x", 1), -1);
	assert_int_equal(errno, EIO);
}

static void reading(void **state)
{
	char octets[10000];
	size_t size = 99;

	(void)state;
	memset(octets, 'r', sizeof(octets));
	assert_null(sys_read_file(dir, "file", 100, &size));
	assert_int_equal(errno, ENOENT);
	assert_int_equal(sys_replace_file(dir, "file", octets, sizeof(octets), 0600), 0);
	plan.piece = 999;
	plan.interrupts = 3;
	expect_file("file", (struct text){ .ptr = octets, .len = sizeof(octets) });
	char *exact = sys_read_file(dir, "file", sizeof(octets), &size);
	assert_non_null(exact);
	mem_free(exact);
	assert_null(sys_read_file(dir, "file", sizeof(octets) - 1, &size));
	assert_int_equal(errno, EFBIG);
	/* A device does not know its size. */
	char *empty = sys_read_file(AT_FDCWD, "/dev/null", 100, &size);
	assert_non_null(empty);
	assert_int_equal(size, 0);
	mem_free(empty);
	plan.piece = 0;
	assert_null(sys_read_file(AT_FDCWD, "/dev/zero", 100000, &size));
	assert_int_equal(errno, EFBIG);
	/* Every call in turn fails, and nothing is lost or left open. */
	for (unsigned n = 1; n <= 3; n++) {
		plan.countdown = n;
		plan.number = EIO;
		assert_null(sys_read_file(dir, "file", sizeof(octets), &size));
		assert_int_equal(errno, EIO);
	}
}

static void replacing(void **state)
{
	struct stat st;

	(void)state;
	assert_int_equal(sys_replace_file(dir, "file", "one", 3, 0640), 0);
	expect_file("file", TEXT("one"));
	assert_int_equal(fstatat(dir, "file", &st, 0), 0);
	assert_int_equal(st.st_mode & 07777 & ~0640U, 0);
	/* What an attempt that did not live to its end left behind. */
	int fd = openat(dir, "file.new", O_CREAT | O_WRONLY, 0600);
	assert_int_equal(write(fd, "rubbish that is longer", 22), 22);
	close(fd);
	assert_int_equal(sys_replace_file(dir, "file", "two", 3, 0600), 0);
	expect_file("file", TEXT("two"));
	assert_int_equal(fstatat(dir, "file.new", &st, 0), -1);
	assert_int_equal(mkdirat(dir, "sub", 0700), 0);
	assert_int_equal(sys_replace_file(dir, "sub/file", "", 0, 0600), 0);
	expect_file("sub/file", TEXT(""));
	assert_int_equal(sys_replace_file(dir, "none/file", "", 0, 0600), -1);
	assert_int_equal(errno, ENOENT);
}

static void replacing_is_all_or_nothing(void **state)
{
	struct stat st;

	(void)state;
	assert_int_equal(sys_replace_file(dir, "file", "old", 3, 0600), 0);
	plan.calls = 0;
	assert_int_equal(sys_replace_file(dir, "file", "old", 3, 0600), 0);
	const unsigned calls = plan.calls;
	assert_true(calls >= 7);
	/* The last close is of a directory that has been synced already. */
	for (unsigned n = 1; n < calls; n++) {
		plan.countdown = n;
		plan.number = ENOSPC;
		assert_int_equal(sys_replace_file(dir, "file", "new", 3, 0600), -1);
		assert_int_equal(errno, ENOSPC);
		plan.countdown = 0;
		size_t size;
		char *octets = sys_read_file(dir, "file", 100, &size);
		assert_non_null(octets);
		assert_true(strcmp(octets, "old") == 0 || (n > 4 && strcmp(octets, "new") == 0));
		mem_free(octets);
		assert_int_equal(fstatat(dir, "file.new", &st, 0), -1);
		assert_int_equal(sys_replace_file(dir, "file", "old", 3, 0600), 0);
	}
}

#define CASE(f) cmocka_unit_test_setup_teardown(f, set_up, tear_down)

int main(void)
{
	const struct CMUnitTest tests[] = {
		CASE(writing_goes_on_after_short_writes),
		CASE(a_write_of_nothing_does_not_hang),
		CASE(reading),
		CASE(replacing),
		CASE(replacing_is_all_or_nothing),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

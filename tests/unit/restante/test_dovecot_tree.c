/* A tree of which something cannot be read: nobody is to believe that it was all there is. */
#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/sys.h"
#include "restante/dovecot_tree.h"

static char top[40];
static struct sys real;
static unsigned calls, bad_one;

static bool goes_wrong(void)
{
	errno = EIO;
	return ++calls == bad_one;
}

static int bad_openat(int dir, const char *path, int flags, mode_t mode)
{
	return goes_wrong() ? -1 : real.openat(dir, path, flags, mode);
}

static int bad_fstat(int fd, struct stat *st)
{
	return goes_wrong() ? -1 : real.fstat(fd, st);
}

static int bad_fstatat(int dir, const char *path, struct stat *st, int flags)
{
	return goes_wrong() ? -1 : real.fstatat(dir, path, st, flags);
}

static ssize_t bad_read(int fd, void *octets, size_t size)
{
	return goes_wrong() ? -1 : real.read(fd, octets, size);
}

static ssize_t bad_pread(int fd, void *octets, size_t size, off_t offset)
{
	return goes_wrong() ? -1 : real.pread(fd, octets, size, offset);
}

/* One that can be opened, and then not be read: it turns into what is no directory. */
static DIR *bad_fdopendir(int fd)
{
	DIR *dir = real.fdopendir(fd);

	if (dir && goes_wrong()) {
		const int null = open("/dev/null", O_RDONLY | O_CLOEXEC);
		assert_int_equal(dup2(null, fd), fd);
		close(null);
	}
	return dir;
}

static void path_of(char path[200], const char *below)
{
	snprintf(path, 200, "%s/%s", top, below);
}

static void make_file(const char *below, const char *octets)
{
	char path[200];

	path_of(path, below);
	FILE *file = fopen(path, "w");
	assert_non_null(file);
	fputs(octets, file);
	assert_int_equal(fclose(file), 0);
}

static void make_mailbox(const char *below)
{
	static const char *const parts[] = { "", "/cur", "/new", "/tmp" };
	char path[200], name[100];

	for (size_t i = 0; i < sizeof(parts) / sizeof(parts[0]); i++) {
		snprintf(name, sizeof(name), "%s%s", below, parts[i]);
		path_of(path, name);
		if (mkdir(path, 0700) != 0)
			assert_int_equal(errno, EEXIST);
	}
	snprintf(name, sizeof(name), "%s/dovecot-uidlist", below);
	make_file(name, "3 V7 N2\n1 :a\n");
	snprintf(name, sizeof(name), "%s/cur/a:2,S", below);
	make_file(name, "Subject: a\n\n");
}

static int set_up(void **state)
{
	(void)state;
	snprintf(top, sizeof(top), "/tmp/test-tree-XXXXXX");
	if (!mkdtemp(top))
		return -1;
	make_mailbox(".");
	make_mailbox(".Dotted");
	make_mailbox("Plain");
	make_mailbox("Plain/Below");
	make_file("subscriptions", "INBOX\n");
	real = sys;
	return 0;
}

static int remove_one(const char *path, const struct stat *st, int type, struct FTW *ftw)
{
	(void)st, (void)type, (void)ftw;
	return remove(path);
}

static int tear_down(void **state)
{
	(void)state;
	sys = real;
	return nftw(top, remove_one, 16, FTW_DEPTH | FTW_PHYS);
}

static int read_tree(unsigned *mailboxes)
{
	struct progress progress;
	struct dovecot_tree tree;

	progress_init(&progress);
	const int result = dovecot_tree_read(&tree, top, &progress);
	*mailboxes = 0;
	for (const struct dovecot_mailbox *at = tree.mailboxes; at; at = at->next)
		++*mailboxes;
	dovecot_tree_free(&tree);
	return result;
}

static void test_no_failure_is_passed_over(void **state)
{
	unsigned mailboxes;

	(void)state;
	assert_int_equal(read_tree(&mailboxes), 0);
	assert_int_equal(mailboxes, 4);
	sys.openat = bad_openat;
	sys.fstat = bad_fstat;
	sys.fstatat = bad_fstatat;
	sys.read = bad_read;
	sys.pread = bad_pread;
	sys.fdopendir = bad_fdopendir;
	bad_one = 0;
	do {
		calls = 0;
		bad_one++;
		const int result = read_tree(&mailboxes);
		if ((result == 0) != (calls < bad_one))
			fail_msg("call %u of %u failed, and %d came of it", bad_one, calls, result);
	} while (calls >= bad_one);
	assert_true(bad_one > 50);
}

static void test_a_mailbox_behind_a_link(void **state)
{
	char path[200];
	unsigned mailboxes;

	(void)state;
	path_of(path, ".Linked");
	assert_int_equal(symlink("/nonexistent", path), 0);
	assert_int_equal(read_tree(&mailboxes), 0);
	assert_int_equal(unlink(path), 0);
	assert_int_equal(symlink(".Dotted", path), 0);
	assert_int_equal(read_tree(&mailboxes), -1);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_no_failure_is_passed_over, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_a_mailbox_behind_a_link, set_up, tear_down),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

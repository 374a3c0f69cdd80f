/*
 * Files that are in two places after a crash: redo has linked them again, and they went before it.
 */
#include "base/sys.h"
#include "store/folder.h"
#include "tests/unit/store/engine_fixture.h"

#define LEAF "new/1000000001.M1P1Q1.mail.example.test,S=4,W=5,U=7"
#define GONE "tmp/" MAILDIR_RETIRED "1000000001.M1P1Q1.mail.example.test,S=4,W=5,U=7"
#define THERE "cur/1000000001.M1P1Q1.mail.example.test,S=4,W=5,U=3:2,S"

struct two {
	char directory[64];
	int root;
	struct folder source, target;
};

static int setup(void **state)
{
	struct two *two = calloc(1, sizeof(*two));

	log_open("test", LOG_LEVEL_ERROR);
	snprintf(two->directory, sizeof(two->directory), "/tmp/test-folder.XXXXXX");
	assert_non_null(mkdtemp(two->directory));
	two->root = open(two->directory, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	assert_true(two->root >= 0);
	assert_int_equal(folder_make(two->root, "mail/a"), 0);
	assert_int_equal(folder_make(two->root, "mail/a/.b"), 0);
	two->source.fd = openat(two->root, "mail/a", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	two->target.fd = openat(two->root, "mail/a/.b", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	assert_int_equal(folder_write(&two->source, LEAF, TEXT("one\n")), 0);
	folder_forget(&two->source);
	*state = two;
	return 0;
}

static int teardown(void **state)
{
	struct two *two = *state;

	folder_forget(&two->source);
	folder_forget(&two->target);
	close(two->source.fd);
	close(two->target.fd);
	close(two->root);
	fixture_remove_tree(two->directory);
	free(two);
	return 0;
}

static bool is_there(const struct folder *folder, const char *leaf)
{
	return faccessat(folder->fd, leaf, F_OK, 0) == 0;
}

static void test_retired_before(void **state)
{
	struct two *two = *state;

	assert_int_equal(linkat(two->source.fd, LEAF, two->source.fd, GONE, 0), 0);
	assert_int_equal(folder_retire(&two->source, LEAF), 0);
	assert_false(is_there(&two->source, LEAF));
	assert_true(is_there(&two->source, GONE));
	assert_int_equal(folder_retire(&two->source, LEAF), 0);
	assert_true(is_there(&two->source, GONE));
}

static void test_moved_before(void **state)
{
	struct two *two = *state;

	for (int retire = 0; retire <= 1; retire++) {
		/* The first time leaves it in the target alone. */
		if (retire)
			assert_int_equal(linkat(two->target.fd, THERE, two->source.fd, LEAF, 0), 0);
		else
			assert_int_equal(linkat(two->source.fd, LEAF, two->target.fd, THERE, 0), 0);
		assert_int_equal(
			folder_transfer(&two->target, &two->source, LEAF, THERE, retire == 1), 0);
		assert_false(is_there(&two->source, LEAF));
		assert_true(is_there(&two->target, THERE));
		folder_forget(&two->source);
		folder_forget(&two->target);
	}
}

/* As it is, as it was left half way, and where the message has another name by now, or none. */
static void test_new(void **state)
{
	static const char other[] = "cur/1000000001.M1P1Q1.mail.example.test,S=4,W=5,U=7:2,F";
	struct two *two = *state;

	for (int i = 0; i < 8; i++) {
		const bool retire = i % 2;
		unlinkat(two->target.fd, THERE, 0);
		unlinkat(two->source.fd, GONE, 0);
		if (i > 0)
			assert_int_equal(folder_write(&two->source, LEAF, TEXT("one\n")), 0);
		folder_forget(&two->source);
		if (i / 2 == 1)
			assert_int_equal(linkat(two->source.fd, LEAF, two->target.fd, THERE, 0), 0);
		if (i / 2 == 2)
			assert_int_equal(renameat(two->source.fd, LEAF, two->source.fd, other), 0);
		if (i / 2 == 3)
			assert_int_equal(unlinkat(two->source.fd, LEAF, 0), 0);
		assert_int_equal(
			folder_transfer_new(&two->target, &two->source, LEAF, THERE, retire), 0);
		assert_false(is_there(&two->source, LEAF));
		assert_false(is_there(&two->source, other));
		assert_int_equal(is_there(&two->source, GONE), retire && i / 2 < 3);
		assert_int_equal(is_there(&two->target, THERE), i / 2 < 3);
		folder_forget(&two->source);
		folder_forget(&two->target);
	}
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

/* ---- what moves is known by its text file ---- */

static struct sys kernel;
static ino_t synced;
static bool is_held; /* the file was on the disk, and its name, when its directory moved */

static int noting_fsync(int fd)
{
	struct stat st;

	if (fstat(fd, &st) == 0 && S_ISREG(st.st_mode))
		synced = st.st_ino;
	return kernel.fsync(fd);
}

static int noting_renameat(int from_dir, const char *from, int to_dir, const char *to)
{
	char path[128];
	struct stat st;

	snprintf(path, sizeof(path), "%s/" MAILDIR_FILE, from);
	if (fstatat(from_dir, path, &st, 0) == 0)
		is_held = st.st_ino == synced;
	return kernel.renameat(from_dir, from, to_dir, to);
}

static void write_identity(const struct two *two)
{
	is_held = false;
	const int file = openat(two->target.fd, MAILDIR_FILE, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
	assert_int_equal(write(file, "known\n", 6), 6);
	close(file);
}

static void test_held(void **state)
{
	struct two *two = *state;

	kernel = sys;
	sys.fsync = noting_fsync;
	sys.renameat = noting_renameat;
	write_identity(two);
	assert_int_equal(folder_rename(two->root, "mail/a/.b", "mail/a/.c"), 0);
	assert_true(is_held);
	write_identity(two);
	assert_int_equal(folder_set_aside(two->root, "mail/a/.c", TEXT("mail/a/aside")), 0);
	assert_true(is_held);
	sys = kernel;
	assert_true(is_there(&two->target, MAILDIR_FILE));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(test_held),
		TEST(test_retired_before),
		TEST(test_moved_before),
		TEST(test_new),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

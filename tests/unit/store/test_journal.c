#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/log.h"
#include "store/checksum.h"
#include "store/folder.h"
#include "store/journal.h"
#include "store/redo.h"

static void test_checksum(void **state)
{
	unsigned char octets[67];

	(void)state;
	/* RFC 3720 section B.4 */
	assert_int_equal(checksum(0, "123456789", 9), 0xe3069283);
	memset(octets, 0, sizeof(octets));
	assert_int_equal(checksum(0, octets, 32), 0x8a9136aa);
	memset(octets, 0xff, sizeof(octets));
	assert_int_equal(checksum(0, octets, 32), 0x62a8ab43);
	for (size_t i = 0; i < sizeof(octets); i++)
		octets[i] = (unsigned char)(i * 7);
	for (size_t size = 0; size <= sizeof(octets); size++) {
		assert_int_equal(checksum(0, octets, size), checksum_by_table(0, octets, size));
		assert_int_equal(
			checksum(checksum(0, octets, size / 2), octets + size / 2, size - size / 2),
			checksum(0, octets, size));
	}
}

static void test_record(void **state)
{
	const struct journal_file fields = {
		.user = 1, .mailbox = 2, .directory = TEXT("mail/x/y"), .octets = TEXT("text\n")
	};
	struct buf record = { 0 };
	struct journal_file read;
	enum journal_kind kind;
	struct text payload;

	(void)state;
	journal_begin(&record, JOURNAL_FILE);
	journal_file_pack(&record, &fields);
	journal_seal(&record);
	assert_int_equal(journal_open(buf_text(&record), &kind, &payload), 0);
	assert_int_equal(kind, JOURNAL_FILE);
	assert_int_equal(journal_file_unpack(payload, &read), 0);
	assert_true(text_equal(read.directory, fields.directory));
	/* One bit of type, version, checksum or payload is enough. */
	char *octets = (char *)buf_text(&record).ptr;
	for (size_t i = 0; i < buf_length(&record); i++) {
		if (i >= 4 && i < 16)
			continue; /* Berkeley DB's own */
		octets[i] ^= 64;
		assert_int_equal(journal_open(buf_text(&record), &kind, &payload), -1);
		octets[i] ^= 64;
	}
	for (size_t length = 0; length < buf_length(&record); length++)
		assert_int_equal(
			journal_open(text_head(buf_text(&record), length), &kind, &payload), -1);
	buf_release(&record);
}

/* ---- redo ---- */

struct tree {
	char path[64];
	int root;
	struct redo *redo;
	struct buf record, run;
};

static int setup(void **state)
{
	struct tree *tree = calloc(1, sizeof(*tree));

	log_open("test", LOG_LEVEL_ERROR);
	snprintf(tree->path, sizeof(tree->path), "/tmp/test-journal.XXXXXX");
	assert_non_null(mkdtemp(tree->path));
	tree->root = open(tree->path, O_RDONLY | O_DIRECTORY);
	assert_int_equal(mkdirat(tree->root, "spool", 0700), 0);
	tree->redo = redo_new(tree->root);
	*state = tree;
	return 0;
}

static int unlink_one(const char *path, const struct stat *st, int flag, struct FTW *ftw)
{
	(void)st, (void)flag, (void)ftw;
	return remove(path);
}

static int teardown(void **state)
{
	struct tree *tree = *state;

	redo_free(&tree->redo);
	close(tree->root);
	nftw(tree->path, unlink_one, 16, FTW_DEPTH | FTW_PHYS);
	buf_release(&tree->record);
	buf_release(&tree->run);
	free(tree);
	return 0;
}

static int apply(struct tree *tree)
{
	journal_seal(&tree->record);
	return redo_apply(tree->redo, buf_text(&tree->record));
}

static int redo_file(struct tree *tree, uint32_t mailbox, const char *directory)
{
	const struct maildir_file file = {
		.id = { .user = 1, .mailbox = mailbox }, .uidvalidity = 5, .ceiling = 100
	};
	struct buf text = { 0 };

	maildir_file_print(&file, &text);
	journal_begin(&tree->record, JOURNAL_FILE);
	journal_file_pack(&tree->record, &(struct journal_file){ .user = 1,
						 .mailbox = mailbox,
						 .directory = text_of(directory),
						 .octets = buf_text(&text) });
	buf_release(&text);
	return apply(tree);
}

static int redo_deliver(struct tree *tree, uint32_t mailbox, const char *directory,
	const char *leaf, const char *other, const char *body)
{
	buf_clear(&tree->run);
	journal_target_pack(&tree->run, &(struct journal_target){ .user = 1,
						.mailbox = mailbox,
						.directory = text_of(directory),
						.leaf = text_of(leaf) });
	if (other)
		journal_target_pack(&tree->run, &(struct journal_target){ .user = 1,
							.mailbox = mailbox + 1,
							.directory = text_of(other),
							.leaf = text_of(leaf) });
	journal_begin(&tree->record, JOURNAL_DELIVER);
	journal_deliver_pack(&tree->record, &(struct journal_deliver){ .id = TEXT(""),
						    .spool = TEXT(""),
						    .body = text_of(body),
						    .targets = buf_text(&tree->run) });
	return apply(tree);
}

static int redo_move(struct tree *tree, const char *from, const char *to)
{
	buf_clear(&tree->run);
	journal_step_pack(
		&tree->run, &(struct journal_step){ .from = text_of(from), .to = text_of(to) });
	journal_begin(&tree->record, JOURNAL_MOVE);
	journal_move_pack(&tree->record, &(struct journal_move){ .user = 1,
						 .mailbox = 1,
						 .directory = TEXT("mail/x/a"),
						 .moves = buf_text(&tree->run) });
	return apply(tree);
}

static int redo_remove(struct tree *tree, const char *leaf)
{
	buf_clear(&tree->run);
	journal_leaf_pack(&tree->run, &(struct journal_leaf){ .leaf = text_of(leaf) });
	journal_begin(&tree->record, JOURNAL_REMOVE);
	journal_remove_pack(&tree->record, &(struct journal_remove){ .user = 1,
						   .mailbox = 1,
						   .directory = TEXT("mail/x/a"),
						   .leaves = buf_text(&tree->run) });
	return apply(tree);
}

static bool is_there(const struct tree *tree, const char *path)
{
	return faccessat(tree->root, path, F_OK, 0) == 0;
}

/* The whole history from any state that it passed through ends in the same state. */
static void test_redo_from_anywhere(void **state)
{
	struct tree *tree = *state;
	struct stat st;

	for (int again = 0; again < 3; again++) {
		assert_int_equal(redo_file(tree, 1, "mail/x/a"), 0);
		assert_int_equal(redo_file(tree, 2, "mail/x/b"), 0);
		assert_int_equal(
			redo_deliver(tree, 1, "mail/x/a", "new/1,U=1", "mail/x/b", "one\n"), 0);
		assert_int_equal(fstatat(tree->root, "mail/x/b/new/1,U=1", &st, 0), 0);
		assert_int_equal(st.st_size, 4);
		assert_int_equal(redo_deliver(tree, 1, "mail/x/a", "new/2,U=2", NULL, "two\n"), 0);
		assert_int_equal(redo_move(tree, "new/1,U=1", "cur/1,U=1:2,S"), 0);
		assert_int_equal(redo_remove(tree, "new/2,U=2"), 0);
		assert_int_equal(redo_move(tree, "cur/1,U=1:2,S", "cur/1,U=1:2,FS"), 0);
		assert_true(is_there(tree, "mail/x/a/cur/1,U=1:2,FS"));
		assert_false(is_there(tree, "mail/x/a/new/1,U=1"));
		assert_false(is_there(tree, "mail/x/a/new/2,U=2"));
		/* With and without what the first run remembers. */
		if (again == 1) {
			redo_free(&tree->redo);
			tree->redo = redo_new(tree->root);
		}
	}
	assert_int_equal(redo_records(tree->redo), 7);
}

/* A directory that was made anew belongs to the later mailbox; older records leave it alone. */
static void test_redo_spares_the_later(void **state)
{
	struct tree *tree = *state;

	assert_int_equal(redo_file(tree, 9, "mail/x/a"), 0);
	redo_free(&tree->redo);
	tree->redo = redo_new(tree->root);
	assert_int_equal(redo_file(tree, 1, "mail/x/a"), 0);
	assert_int_equal(redo_deliver(tree, 1, "mail/x/a", "new/1,U=1", NULL, "one\n"), 0);
	assert_false(is_there(tree, "mail/x/a/new/1,U=1"));
	assert_int_equal(redo_deliver(tree, 9, "mail/x/a", "new/1,U=1", NULL, "one\n"), 0);
	assert_true(is_there(tree, "mail/x/a/new/1,U=1"));
	/* A directory that is not there any more is no error. */
	assert_int_equal(redo_deliver(tree, 1, "mail/x/gone", "new/1,U=1", NULL, "one\n"), 0);
}

/* Whatever a record says, nothing outside the store's own tree is touched. */
static void test_redo_stays_inside(void **state)
{
	static const char *const directories[] = { "../x", "mail/../../x", "/tmp", "",
		"mail/x/.." };
	static const char *const leaves[] = { "new/../../x", "etc/x", "new/", "cur", "new/.x", "",
		"new/a/b" };
	struct tree *tree = *state;

	assert_int_equal(redo_file(tree, 1, "mail/x/a"), 0);
	for (size_t i = 0; i < sizeof(directories) / sizeof(directories[0]); i++) {
		assert_int_equal(redo_file(tree, 1, directories[i]), EBADMSG);
		assert_int_equal(
			redo_deliver(tree, 1, directories[i], "new/1,U=1", NULL, "x"), EBADMSG);
	}
	for (size_t i = 0; i < sizeof(leaves) / sizeof(leaves[0]); i++) {
		assert_int_equal(redo_deliver(tree, 1, "mail/x/a", leaves[i], NULL, "x"), EBADMSG);
		assert_int_equal(redo_move(tree, "new/1,U=1", leaves[i]), EBADMSG);
		assert_int_equal(redo_remove(tree, leaves[i]), EBADMSG);
	}
}

/* A file left half written in tmp/ is not taken for the message. */
static void test_redo_over_leftover(void **state)
{
	struct tree *tree = *state;
	struct stat st;

	assert_int_equal(redo_file(tree, 1, "mail/x/a"), 0);
	const int fd = openat(tree->root, "mail/x/a/tmp/1,U=1", O_WRONLY | O_CREAT, 0600);
	assert_int_equal(write(fd, "o", 1), 1);
	close(fd);
	assert_int_equal(redo_deliver(tree, 1, "mail/x/a", "new/1,U=1", NULL, "one\n"), 0);
	assert_int_equal(fstatat(tree->root, "mail/x/a/new/1,U=1", &st, 0), 0);
	assert_int_equal(st.st_size, 4);
	assert_false(is_there(tree, "mail/x/a/tmp/1,U=1"));
	assert_int_equal(redo_deliver(tree, 1, "mail/x/a", "new/3,U=3", NULL, "three\n"), 0);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_checksum),
		cmocka_unit_test(test_record),
		TEST(test_redo_from_anywhere),
		TEST(test_redo_spares_the_later),
		TEST(test_redo_stays_inside),
		TEST(test_redo_over_leftover),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

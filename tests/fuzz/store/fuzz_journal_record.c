/*
 * Records from a log that may be damaged or forged, redone in a tree of its own with a valid checksum.
 * The first octet is the kind, the rest the payload. Nothing outside the tree may be touched: every path
 * that reaches the file system is looked at on its way.
 */
#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/log.h"
#include "base/sys.h"
#include "store/journal.h"
#include "store/redo.h"
#include "tests/fuzz/fuzz.h"

static char tree[] = "/tmp/fuzz-journal.XXXXXX";
static int root = -1;
static struct sys real;

static void look(const char *path)
{
	struct text rest = text_of(path), level;

	if (path[0] == '/')
		abort();
	while (text_split(&rest, '/', &level)) {
		if (text_equal(level, TEXT("..")))
			abort();
	}
}

static int look_openat(int dir, const char *path, int flags, mode_t mode)
{
	look(path);
	return real.openat(dir, path, flags, mode);
}

static int look_linkat(int from_dir, const char *from, int to_dir, const char *to, int flags)
{
	look(from);
	look(to);
	return real.linkat(from_dir, from, to_dir, to, flags);
}

static int look_renameat(int from_dir, const char *from, int to_dir, const char *to)
{
	look(from);
	look(to);
	return real.renameat(from_dir, from, to_dir, to);
}

static int look_unlinkat(int dir, const char *path, int flags)
{
	look(path);
	return real.unlinkat(dir, path, flags);
}

static int look_mkdirat(int dir, const char *path, mode_t mode)
{
	look(path);
	return real.mkdirat(dir, path, mode);
}

static int no_sync(int fd)
{
	(void)fd;
	return 0;
}

static int unlink_one(const char *path, const struct stat *st, int flag, struct FTW *ftw)
{
	(void)st, (void)flag;
	return ftw->level == 0 ? 0 : remove(path);
}

static void leave(void)
{
	nftw(tree, unlink_one, 16, FTW_DEPTH | FTW_PHYS);
	rmdir(tree);
}

static void prepare(void)
{
	log_open("fuzz", LOG_LEVEL_ERROR + 1);
	if (!mkdtemp(tree))
		abort();
	root = open(tree, O_RDONLY | O_DIRECTORY);
	atexit(leave);
	real = sys;
	sys.openat = look_openat;
	sys.linkat = look_linkat;
	sys.renameat = look_renameat;
	sys.unlinkat = look_unlinkat;
	sys.mkdirat = look_mkdirat;
	sys.fsync = no_sync;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static unsigned runs;
	struct buf record = { 0 };

	if (root < 0)
		prepare();
	if (++runs % 1000 == 0)
		nftw(tree, unlink_one, 16, FTW_DEPTH | FTW_PHYS);
	if (size == 0)
		return 0;
	struct redo *redo = redo_new(root);
	redo_apply(redo, fuzz_text(data, size));
	journal_begin(&record, (enum journal_kind)(1 + data[0] % (JOURNAL_KINDS - 1)));
	buf_add(&record, (struct text){ .ptr = (const char *)data + 1, .len = size - 1 });
	journal_seal(&record);
	/* Twice: the second time it must find everything done. */
	const int first = redo_apply(redo, buf_text(&record));
	if (first == 0 && redo_apply(redo, buf_text(&record)) != 0)
		abort();
	redo_undo(redo, buf_text(&record));
	redo_free(&redo);
	buf_release(&record);
	return 0;
}

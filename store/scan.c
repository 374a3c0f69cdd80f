/*
 * What other programs did to a Maildir: noticed, and taken over once.
 *
 * When to look. A directory's modification time tells that something in it changed. The index remembers
 * the times of new/ and cur/ as of which it knows what is in them (row.new_seen, row.cur_seen). The
 * store's own renames change them, too; so the times are noted before and after a group is carried
 * out, and when they were known before, they are presumed known after. What somebody else did in
 * between, or within the same tick of the clock, would be missed by that: so times that are only
 * presumed, or that were fresh when they were read, hold for HONEST_AFTER seconds only.
 *
 * Directories of a large mailbox are read by a thread, so that others are served meanwhile. What it read
 * counts if nothing of ours has changed the mailbox since it began.
 *
 * What is found.
 *
 *	a name with an unknown base         a new message: it gets a UID, and a name that carries it
 *	a known base, other flags or place  taken over
 *	a known base twice                  the second one is a new message
 *	no file for a row                   expunged, when a second look does not find it either
 */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/log.h"
#include "mail/wire.h"
#include "store/batch.h"
#include "store/change.h"
#include "store/create.h"
#include "store/hidden.h"
#include "store/mailbox.h"
#include "store/quota.h"
#include "store/scan.h"

#define SECOND INT64_C(1000000000)

enum {
	HONEST_AFTER = 30,   /* seconds */
	SETTLED_AFTER = 2,   /* seconds from a change to a look that will see every later one */
	ADOPT_AT_ONCE = 500, /* new messages in one go: each may have to be read */
	BLOCK = 64 * 1024,
	LARGE = 2000, /* messages from which on directories are read by a thread */
	ASIDE_TRIES = 3,
};

/* ---- times ---- */

/* 0 for a directory that is not there. */
static int64_t modified(int fd, const char *part)
{
	struct stat st;

	if (sys.fstatat(fd, part, &st, 0) != 0)
		return 0;
	return (int64_t)st.st_mtim.tv_sec * SECOND + st.st_mtim.tv_nsec;
}

void scan_before(struct engine *engine, struct mailbox *mailbox)
{
	const int fd = mailbox_directory(engine, mailbox);

	mailbox->new_before = fd < 0 ? 0 : modified(fd, "new");
	mailbox->cur_before = 0;
}

void scan_before_cur(struct engine *engine, struct mailbox *mailbox)
{
	const int fd = mailbox_directory(engine, mailbox);

	mailbox->cur_before = fd < 0 ? 0 : modified(fd, "cur");
}

static void carry(struct mailbox *mailbox, int64_t *seen, int64_t before, int64_t after)
{
	if (*seen != before || after == before || before == 0)
		return;
	*seen = after;
	mailbox->presumed = true;
	mailbox->dirty = true;
}

void scan_after(struct engine *engine, struct mailbox *mailbox)
{
	const int fd = mailbox_directory(engine, mailbox);

	if (fd < 0)
		return;
	carry(mailbox, &mailbox->row.new_seen, mailbox->new_before, modified(fd, "new"));
	if (mailbox->cur_before)
		carry(mailbox, &mailbox->row.cur_seen, mailbox->cur_before, modified(fd, "cur"));
}

bool scan_is_due(struct engine *engine, struct mailbox *mailbox)
{
	/* While files are not where they belong, what is there says nothing about what others did. */
	if (!STAILQ_EMPTY(&engine->late))
		return false;
	const int fd = mailbox_directory(engine, mailbox);
	if (fd < 0)
		return true;
	/* Not by the clock on the wall, which may be set: it is right only beside times of files. */
	if (mailbox->presumed && clock_nanoseconds() - mailbox->scanned > HONEST_AFTER * SECOND)
		return true;
	return modified(fd, "new") != mailbox->row.new_seen ||
	       modified(fd, "cur") != mailbox->row.cur_seen;
}

/* ---- one look ---- */

struct missing {
	uint32_t uid;
	struct index_message row; /* its base is in the arena */
};

struct scan {
	struct engine *engine;
	struct mailbox *mailbox;
	struct batch batch;
	struct folder folder;
	struct arena *arena;
	uint64_t keyword_mask;
	struct buf missing; /* struct missing each */
	struct buf altered; /* struct missing each: the row as it was */
	bool damaged;
	bool left_out; /* a file could not be read: there is still something to adopt */
};

static void keep(struct scan *scan, struct buf *list, uint32_t uid, const struct index_message *row)
{
	struct missing entry = { .uid = uid, .row = *row };

	entry.row.base = text_copy(scan->arena, row->base);
	buf_add(list, (struct text){ .ptr = (const char *)&entry, .len = sizeof(entry) });
}

/* The row as the file's name has it. */
static struct index_message as_named(
	const struct scan *scan, const struct index_message *row, const char *leaf)
{
	struct index_message named = *row;
	uint64_t keywords;

	maildir_name_parse(text_from(text_of(leaf), 4), &named.flags, &keywords);
	named.place = memcmp(leaf, "new", 3) == 0 ? INDEX_NEW : INDEX_CUR;
	named.keywords = keywords & scan->keyword_mask;
	return named;
}

static int look_at_row(void *owner, struct text key, struct text value)
{
	struct scan *scan = owner;
	const struct mailbox *mailbox = scan->mailbox;
	struct index_mailbox_id id;
	struct index_message row;
	uint32_t uid;

	scan->damaged = index_message_key_decode(key, &id, &uid) != 0;
	if (scan->damaged || id.user != mailbox->id.user || id.mailbox != mailbox->id.mailbox ||
		(uid >= mailbox->visible.uidnext && !mailbox->hidden))
		return 1;
	if (uid >= mailbox->visible.uidnext && !hidden_has(mailbox, uid))
		return 0;
	scan->damaged = index_message_decode(value, &row) != 0;
	if (scan->damaged)
		return 1;
	struct name *name = names_find(scan->folder.names, row.base);
	if (hidden_has(mailbox, uid)) {
		/* Not new, whatever became of it. */
		if (name)
			name->seen = true;
		return 0;
	}
	if (!name) {
		keep(scan, &scan->missing, uid, &row);
		return 0;
	}
	name->seen = true;
	const struct index_message named = as_named(scan, &row, name->leaf);
	if (named.place != row.place || named.flags != row.flags || named.keywords != row.keywords)
		keep(scan, &scan->altered, uid, &row);
	return 0;
}

static int look_at_rows(struct scan *scan)
{
	unsigned char key[INDEX_MESSAGE_KEY];

	index_message_key(scan->mailbox->id, 0, key);
	return env_scan(scan->engine->env, ENV_MESSAGES,
		(struct text){ .ptr = (char *)key, .len = sizeof(key) }, look_at_row, scan);
}

/*
 * A file that was renamed while the directories were read may have been in neither list, and one whose
 * rename the disk refused so far is in tmp/: look again before calling it gone.
 */
static int remove_missing(struct scan *scan)
{
	struct text list = buf_text(&scan->missing);
	char now[MAILDIR_LEAF_LIMIT + 1], leaf[MAILDIR_LEAF_LIMIT + 1];
	struct folder again = { .fd = scan->folder.fd };
	int error = 0;

	for (; list.len && error == 0; list = text_from(list, sizeof(struct missing))) {
		struct missing entry;
		memcpy(&entry, list.ptr, sizeof(entry));
		batch_leaf(&entry.row, leaf);
		error = folder_locate(&again, leaf, now);
		if (error == 0 && !now[0])
			batch_remove(&scan->batch, entry.uid, &entry.row);
	}
	folder_forget(&again);
	return error;
}

static void alter_renamed(struct scan *scan)
{
	struct text list = buf_text(&scan->altered);
	char from[MAILDIR_LEAF_LIMIT + 1];

	for (; list.len; list = text_from(list, sizeof(struct missing))) {
		struct missing entry;
		memcpy(&entry, list.ptr, sizeof(entry));
		const char *leaf = names_find(scan->folder.names, entry.row.base)->leaf;
		struct index_message row = as_named(scan, &entry.row, leaf);
		row.modseq = scan->batch.modseq;
		batch_leaf(&entry.row, from);
		batch_alter(&scan->batch, entry.uid, &entry.row, &row, from, leaf);
	}
}

/* ---- new messages ---- */

int scan_count_wire(int file, uint64_t *wire)
{
	struct wire_encode state = { 0 };
	char *block = mem_new(BLOCK);
	ssize_t got;

	*wire = 0;
	while ((got = sys.read(file, block, BLOCK)) != 0) {
		if (got < 0 && errno == EINTR)
			continue;
		if (got < 0)
			break;
		*wire += wire_size_piece(&state, (struct text){ .ptr = block, .len = (size_t)got });
	}
	const int error = got < 0 ? errno : 0;
	*wire += wire_size_end(&state);
	mem_free(block);
	return error;
}

/* The numbers in its name are believed when the size among them is right. */
int scan_measure(int fd, const char *leaf, struct index_message *row)
{
	struct maildir_base parts;
	struct stat st;
	int error = 0;

	if (sys.fstatat(fd, leaf, &st, AT_SYMLINK_NOFOLLOW) != 0)
		return errno;
	if (!S_ISREG(st.st_mode))
		return ENOENT;
	maildir_base_parse(names_base(leaf), &parts);
	row->size = (uint64_t)st.st_size;
	row->wire = parts.wire;
	row->received = parts.seconds ? parts.seconds : st.st_mtim.tv_sec;
	if (parts.has_size && parts.has_wire && parts.size == row->size &&
		parts.wire >= parts.size && parts.wire <= 2 * parts.size + 2)
		return 0;
	const int file = sys.openat(fd, leaf, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK, 0);
	if (file < 0)
		return errno;
	error = scan_count_wire(file, &row->wire);
	sys.close(file);
	return error;
}

/* 0, or why it could not be read. */
static int adopt(struct scan *scan, const char *leaf)
{
	struct index_mailbox *mailbox = &scan->mailbox->row;
	char base[INDEX_BASE_LIMIT + 1], to[MAILDIR_LEAF_LIMIT + 1];
	struct maildir_base parts;
	struct index_message row = { .version = INDEX_VERSION, .modseq = scan->batch.modseq };
	const int error = scan_measure(scan->folder.fd, leaf, &row);

	if (error == ENOENT)
		return 0;
	if (error) {
		/* One of them tells enough: there may be thousands. */
		if (!scan->left_out)
			LOG_WARNING("not-adopted", LOG_STRING("directory", scan->mailbox->place),
				LOG_STRING("file", leaf), LOG_ERRNO(error));
		scan->left_out = true;
		return error;
	}
	const uint32_t uid = mailbox->uidnext++;
	maildir_base_parse(names_base(leaf), &parts);
	row.base = (struct text){ .ptr = base,
		.len = maildir_base_adopt(parts.unique, row.size, row.wire, uid, base) };
	row = as_named(scan, &row, leaf);
	batch_leaf(&row, to);
	batch_add(&scan->batch, uid, &row, leaf, to);
	scan->engine->counted.adopted++;
	return 0;
}

static int compare_leaves(const void *a, const void *b)
{
	return strcmp(*(const char *const *)a + 4, *(const char *const *)b + 4);
}

/* So many UIDs are about to be given: never beyond what the text file has reserved. */
static void raise_ceiling(struct scan *scan, size_t count)
{
	struct index_mailbox *row = &scan->mailbox->row;

	if (row->uidnext + count < row->ceiling || scan->batch.error)
		return;
	row->ceiling = row->uidnext + (uint32_t)count + ENGINE_CEILING_BLOCK;
	scan->batch.error = create_log_file(scan->engine, scan->batch.txn, scan->batch.change,
		scan->mailbox, row->ceiling, row->keywords);
}

/* No file can be opened now, whichever it is. */
static bool is_shortage(int error)
{
	return error == EMFILE || error == ENFILE || error == ENOMEM;
}

/*
 * Whether some were left that may be adopted at once. Those that cannot be read are not counted: they would
 * keep what comes after them from its turn for ever.
 */
static bool adopt_some(struct scan *scan, const char *const *leaves, size_t count)
{
	const struct index_mailbox *row = &scan->mailbox->row;
	const uint32_t most = count < ADOPT_AT_ONCE ? (uint32_t)count : ADOPT_AT_ONCE;
	size_t i = 0;
	int error = 0;

	if (count == 0)
		return false;
	hidden_pass(scan->mailbox, most);
	if (row->uidnext >= UINT32_MAX - 2 * ENGINE_CEILING_BLOCK)
		return false;
	raise_ceiling(scan, most);
	for (const uint32_t end = row->uidnext + most;
		i < count && row->uidnext < end && !is_shortage(error); i++)
		error = adopt(scan, leaves[i]);
	return i < count || is_shortage(error);
}

/* In the order of their names, which begin with the time of delivery. Whether some were left. */
static bool adopt_unknown(struct scan *scan)
{
	const size_t all = names_count(scan->folder.names);
	const char **leaves = mem_array(all + 1, sizeof(*leaves));
	size_t count = 0;

	for (size_t i = 0; i < all; i++) {
		const struct name *name = names_at(scan->folder.names, i);
		if (!name->seen && name->leaf)
			leaves[count++] = name->leaf;
	}
	qsort(leaves, count, sizeof(*leaves), compare_leaves);
	const bool more = adopt_some(scan, leaves, count);
	mem_free(leaves);
	return more;
}

/* ---- large directories are read by a thread ---- */

/* Of this mailbox, and nothing of ours has changed it since the reading began. */
static bool aside_is_of(const struct engine *engine, const struct mailbox *mailbox)
{
	const struct scan_aside *aside = &engine->aside;

	return aside->names && !worker_is_busy(engine->reader) &&
	       aside->id.user == mailbox->id.user && aside->id.mailbox == mailbox->id.mailbox &&
	       aside->modseq == mailbox->row.modseq;
}

static int read_aside(void *owner)
{
	struct scan_aside *aside = owner;

	aside->names = names_read(aside->fd);
	const int error = aside->names ? 0 : errno;
	sys.close(aside->fd);
	return error;
}

static void on_read(void *owner, int error)
{
	struct scan_aside *aside = owner;

	/* Without names the scan reads them itself, and says what is wrong. */
	if (error)
		aside->tries = ASIDE_TRIES;
	engine_round_soon(aside->engine);
}

bool scan_waits(struct engine *engine, struct mailbox *mailbox)
{
	struct scan_aside *aside = &engine->aside;
	const bool is_same =
		aside->id.user == mailbox->id.user && aside->id.mailbox == mailbox->id.mailbox;

	if (mailbox->row.messages < LARGE || aside_is_of(engine, mailbox))
		return false;
	if (worker_is_busy(engine->reader))
		return true;
	names_free(&aside->names);
	const unsigned tries = is_same ? aside->tries : 0;
	/* One that changes all the time is read here in the end. */
	if (tries >= ASIDE_TRIES) {
		aside->tries = 0;
		return false;
	}
	const int fd = mailbox_directory(engine, mailbox);
	const int own = fd < 0 ? -1 : sys.openat(fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC, 0);
	if (own < 0)
		return false;
	*aside = (struct scan_aside){ .engine = engine,
		.id = mailbox->id,
		.modseq = mailbox->row.modseq,
		.began = engine_now(),
		.new_time = modified(fd, "new"),
		.cur_time = modified(fd, "cur"),
		.fd = own,
		.tries = tries + 1 };
	engine->counted.read_aside++;
	worker_start(engine->reader, read_aside, on_read, aside);
	return true;
}

/* ---- the whole ---- */

static void note_seen(
	struct mailbox *mailbox, int64_t began, int64_t new_time, int64_t cur_time, bool left_out)
{
	const int64_t settled = began - SETTLED_AFTER * SECOND;

	mailbox->row.new_seen = new_time;
	mailbox->row.cur_seen = cur_time;
	mailbox->presumed = new_time > settled || cur_time > settled || left_out;
	mailbox->scanned = clock_nanoseconds();
	mailbox->dirty = true;
}

static enum store_failure unreadable(
	struct engine *engine, const struct mailbox *mailbox, int error)
{
	trouble_tell(&engine->troubles, TROUBLE_DIRECTORIES, mailbox->account->user->public.address,
		text_of(log_errno(error)));
	return engine_errno_failure(error);
}

static enum store_failure look(struct scan *scan, struct change *change, bool *more)
{
	int error = look_at_rows(scan);

	if (error)
		return engine_env_failure(scan->engine, "messages", error);
	if (scan->damaged)
		return engine_damaged(scan->engine, "messages");
	batch_begin(&scan->batch, scan->engine, scan->mailbox, change);
	error = remove_missing(scan);
	alter_renamed(scan);
	*more = adopt_unknown(scan);
	return batch_end(
		&scan->batch, error ? unreadable(scan->engine, scan->mailbox, error) : STORE_OK);
}

enum store_failure scan_run(
	struct engine *engine, struct mailbox *mailbox, bool *staged, bool *more)
{
	struct scan scan = { .engine = engine, .mailbox = mailbox };
	struct change *change = change_new(engine, NULL, NULL);
	const uint64_t before = engine->staged_count;
	int64_t began = engine_now();

	*staged = *more = false;
	scan.folder.fd = mailbox_directory(engine, mailbox);
	if (scan.folder.fd < 0 && errno == ENOENT && folder_make(engine->root, mailbox->place) == 0)
		scan.folder.fd = mailbox_directory(engine, mailbox);
	int64_t new_time = scan.folder.fd < 0 ? 0 : modified(scan.folder.fd, "new");
	int64_t cur_time = scan.folder.fd < 0 ? 0 : modified(scan.folder.fd, "cur");
	if (aside_is_of(engine, mailbox)) {
		struct scan_aside *aside = &engine->aside;
		began = aside->began;
		new_time = aside->new_time;
		cur_time = aside->cur_time;
		scan.folder.names = aside->names;
		aside->names = NULL;
		aside->tries = 0;
	}
	if (scan.folder.fd < 0 ||
		(!scan.folder.names && !(scan.folder.names = names_read(scan.folder.fd)))) {
		const int error = errno;
		change_release(change);
		return unreadable(engine, mailbox, error);
	}
	scan.arena = arena_new(BLOCK);
	scan.keyword_mask = mailbox_keyword_mask(mailbox->row.keywords);
	const enum store_failure failure = look(&scan, change, more);
	*staged = engine->staged_count != before;
	if (*staged)
		quota_follow(engine, mailbox->account);
	if (failure == STORE_OK && !*more)
		note_seen(mailbox, began, new_time, cur_time, scan.left_out);
	if (!*staged)
		change_release(change);
	buf_release(&scan.missing);
	buf_release(&scan.altered);
	folder_forget(&scan.folder);
	arena_free(&scan.arena);
	return failure;
}

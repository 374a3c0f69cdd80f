/*
 * Views: what sessions see of a mailbox, and the requests that wait for their turn at it.
 *
 * A select that has to look at the directories, or to read the messages from the index, needs a mailbox
 * in which nothing is being altered. It waits for that, and what comes after it for the same mailbox
 * waits behind it, so that it gets its turn.
 */
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/log.h"
#include "store/batch.h"
#include "store/change.h"
#include "store/mailbox.h"
#include "store/roster.h"
#include "store/scan.h"
#include "store/view.h"

enum { PASSES = 100000 }; /* of adoption for one select: 50 million messages */

struct task {
	STAILQ_ENTRY(task) link;
	struct mailbox *mailbox;
	struct change *change; /* whose callback answers the request */
	bool (*run)(struct engine *engine, struct change *change); /* NULL: a select */
	bool is_ahead; /* of the others for this mailbox */
	/* Of a select. */
	enum store_select_mode mode;
	uint64_t await;  /* engine.shown_count from which on the last adoption is visible */
	unsigned passes; /* adoptions so far */
	bool looked;     /* and there is nothing more to adopt */
};

static void task_add(struct engine *engine, struct task *task)
{
	task->mailbox->pins++;
	STAILQ_INSERT_TAIL(&engine->tasks, task, link);
	engine_round_soon(engine);
}

static void task_free(struct task *task)
{
	task->mailbox->pins--;
	mem_free(task);
}

static struct task *task_new(struct mailbox *mailbox, struct change *change,
	bool (*run)(struct engine *engine, struct change *change))
{
	struct task *task = mem_new(sizeof(*task));

	task->mailbox = mailbox;
	task->change = change;
	task->run = run;
	return task;
}

void task_queue(struct engine *engine, struct mailbox *mailbox, struct change *change,
	bool (*run)(struct engine *engine, struct change *change))
{
	task_add(engine, task_new(mailbox, change, run));
}

static bool piece_settled(struct change *piece)
{
	struct change *whole = piece->context;

	return whole->settled && whole->settled(whole);
}

struct change *task_piece(struct change *whole)
{
	struct change *piece = change_new(whole->engine, NULL, NULL);

	piece->context = whole;
	piece->settled = piece_settled;
	return piece;
}

void task_queue_ahead(struct engine *engine, struct mailbox *mailbox, struct change *change,
	bool (*run)(struct engine *engine, struct change *change))
{
	struct task *task = task_new(mailbox, change, run);

	task->is_ahead = true;
	task_add(engine, task);
}

/* ---- select ---- */

static bool is_exclusive(enum store_select_mode mode)
{
	return mode == STORE_SELECT_EXCLUSIVE;
}

void engine_select(struct engine *engine, struct text user, struct text name,
	enum store_select_mode mode, engine_done *done, void *owner)
{
	struct change *change = change_new(engine, done, owner);
	struct mailbox *mailbox = NULL;
	struct account *account;
	enum store_failure failure =
		engine->broken || engine->closing ? STORE_BUSY : account_of(engine, user, &account);

	if (failure == STORE_OK) {
		mailbox = account_find(account, name);
		if (!mailbox || mailbox_is_new(mailbox))
			failure = STORE_NO_SUCH_MAILBOX;
		else if (is_exclusive(mode) && mailbox->exclusive)
			failure = STORE_LOCKED;
	}
	if (failure != STORE_OK) {
		if (failure == STORE_BUSY)
			trouble_tell(&engine->troubles, TROUBLE_CLOSED, user,
				engine->broken || engine->closing
					? TEXT("the store ends")
					: TEXT("the user is being imported or removed"));
		change_ready(change, failure);
		return;
	}
	if (is_exclusive(mode))
		mailbox->exclusive++;
	struct task *task = task_new(mailbox, change, NULL);
	task->mode = mode;
	task_add(engine, task);
}

static void end_select(struct task *task, enum store_failure failure)
{
	if (failure != STORE_OK && is_exclusive(task->mode))
		task->mailbox->exclusive--;
	change_ready(task->change, failure);
}

static struct engine_view *view_new(struct engine *engine, const struct task *task)
{
	struct engine_view *view = mem_new(sizeof(*view));

	view->engine = engine;
	view->mailbox = task->mailbox;
	view->mode = task->mode;
	view->mailbox->pins++;
	LIST_INSERT_HEAD(&view->mailbox->views, view, link);
	return view;
}

/* True: done with, one way or the other. */
static bool select_run(struct engine *engine, struct task *task)
{
	struct mailbox *mailbox = task->mailbox;
	enum store_failure failure = STORE_OK;
	bool staged = false, more = false;

	if (engine->shown_count < task->await || mailbox->leaving)
		return false;
	if (mailbox->gone) {
		end_select(task, STORE_NO_SUCH_MAILBOX);
		return true;
	}
	if (!task->looked && task->passes < PASSES && scan_is_due(engine, mailbox)) {
		if (mailbox->altering || scan_waits(engine, mailbox))
			return false;
		failure = scan_run(engine, mailbox, &staged, &more);
		task->passes++;
		task->looked = !more;
	}
	if (failure == STORE_OK && staged) {
		task->await = engine->staged_count;
		return false;
	}
	if (failure == STORE_OK && !mailbox->roster && mailbox->altering)
		return false;
	if (failure == STORE_OK)
		failure = roster_read(engine, mailbox);
	if (failure == STORE_OK)
		task->change->result.view = view_new(engine, task);
	end_select(task, failure);
	return true;
}

void engine_view_close(struct engine_view **view)
{
	struct engine_view *closed = *view;

	if (!closed)
		return;
	*view = NULL;
	LIST_REMOVE(closed, link);
	struct mailbox *mailbox = closed->mailbox;
	if (is_exclusive(closed->mode))
		mailbox->exclusive--;
	if (LIST_EMPTY(&mailbox->views))
		roster_leave(closed->engine, mailbox);
	mailbox->pins--;
	mem_free(closed);
}

static void close_all(struct mailbox *mailbox)
{
	while (!LIST_EMPTY(&mailbox->views)) {
		struct engine_view *view = LIST_FIRST(&mailbox->views);
		engine_view_close(&view);
	}
}

void views_close(struct engine *engine)
{
	struct account *account;
	struct mailbox *orphan;

	LIST_FOREACH (orphan, &engine->orphans, orphan_link)
		close_all(orphan);
	TAILQ_FOREACH (account, &engine->accounts, link) {
		for (size_t i = 0; i < account->count; i++)
			close_all(account->mailboxes[i]);
	}
}

/* ---- tasks ---- */

void tasks_run(struct engine *engine)
{
	STAILQ_HEAD(, task) waiting = STAILQ_HEAD_INITIALIZER(waiting);
	const uint64_t pass = ++engine->tasks_pass;
	struct task *task;

	while (!engine->broken && (task = STAILQ_FIRST(&engine->tasks)) != NULL) {
		STAILQ_REMOVE_HEAD(&engine->tasks, link);
		if ((task->is_ahead || task->mailbox->waits != pass) &&
			(task->run ? task->run(engine, task->change) : select_run(engine, task))) {
			task_free(task);
			continue;
		}
		task->mailbox->waits = pass;
		STAILQ_INSERT_TAIL(&waiting, task, link);
	}
	STAILQ_CONCAT(&waiting, &engine->tasks);
	STAILQ_CONCAT(&engine->tasks, &waiting);
}

void tasks_forget(struct engine *engine, const void *owner)
{
	struct task *task;

	STAILQ_FOREACH (task, &engine->tasks, link) {
		if (task->change->owner == owner)
			task->change->done = NULL;
	}
}

void tasks_fail(struct engine *engine, enum store_failure failure)
{
	struct task *task;

	while ((task = STAILQ_FIRST(&engine->tasks)) != NULL) {
		STAILQ_REMOVE_HEAD(&engine->tasks, link);
		if (task->run)
			change_ready(task->change, failure);
		else
			end_select(task, STORE_BUSY);
		task_free(task);
	}
}

/* ---- looking ---- */

/*
 * The pieces as a sealed memory file: nobody can alter or shorten it any more. -1 with errno. Not
 * F_SEAL_WRITE, which is for files that somebody has mapped: it waits until nobody in the kernel has a
 * page of the file (who compacts memory may, and keep us for a fifth of a second), and then gives EBUSY.
 */
static int sealed(struct iovec *parts, int count)
{
	const int fd = memfd_create("listing", MFD_CLOEXEC | MFD_ALLOW_SEALING);

	if (fd < 0)
		return -1;
	if (sys_writev_all(fd, parts, count) != 0 ||
		fcntl(fd, F_ADD_SEALS,
			F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_FUTURE_WRITE | F_SEAL_SEAL) != 0) {
		const int error = errno;
		close(fd);
		errno = error;
		return -1;
	}
	return fd;
}

static enum store_failure list(const struct store_listing_entry *entries, size_t count, int *fd)
{
	struct store_listing header = { .count = count };
	struct iovec parts[] = {
		{ .iov_base = &header, .iov_len = sizeof(header) },
		{ .iov_base = (void *)entries, .iov_len = count * sizeof(*entries) },
	};

	*fd = sealed(parts, count ? 2 : 1);
	return *fd < 0 ? engine_errno_failure(errno) : STORE_OK;
}

enum store_failure engine_view_listing(
	struct engine_view *view, int *fd, struct engine_status *status)
{
	const struct mailbox *mailbox = view->mailbox;
	struct roster *roster = mailbox->roster;

	*fd = -1;
	if (mailbox->gone)
		return STORE_NO_SUCH_MAILBOX;
	if (status)
		*status = (struct engine_status){ .uidvalidity = mailbox->row.uidvalidity,
			.uidnext = mailbox->visible.uidnext,
			.messages = mailbox->visible.messages,
			.octets = mailbox->visible.wire,
			.modseq = mailbox->visible.modseq,
			.keywords = mailbox->row.keywords };
	*fd = roster_listing(roster);
	if (*fd >= 0)
		return STORE_OK;
	const enum store_failure failure = list(roster->entries, roster->count, fd);
	if (failure == STORE_OK)
		roster_keep_listing(view->engine, roster, *fd);
	else
		trouble_tell(&view->engine->troubles, TROUBLE_LISTING,
			mailbox->account->user->public.address, text_of(log_errno(errno)));
	return failure;
}

/*
 * Where the row says, or, while a rename of ours is under way or refused by the disk, where it was
 * before. Only then is the directory read.
 */
static int open_message(struct engine *engine, struct mailbox *mailbox,
	const struct index_message *row, const struct store_listing_entry *seen)
{
	char leaf[MAILDIR_LEAF_LIMIT + 1], other[MAILDIR_LEAF_LIMIT + 1];
	struct folder folder = { .fd = mailbox_directory(engine, mailbox) };
	const int flags = O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK;

	if (folder.fd < 0)
		return -1;
	batch_leaf(row, leaf);
	int fd = sys.openat(folder.fd, leaf, flags, 0);
	if (fd < 0 && errno == ENOENT) {
		maildir_leaf_print(INDEX_NEW, row->base, 0, 0, other);
		fd = sys.openat(folder.fd, other, flags, 0);
	}
	if (fd < 0 && errno == ENOENT) {
		maildir_leaf_print(INDEX_CUR, row->base, seen->flags, seen->keywords, other);
		fd = sys.openat(folder.fd, other, flags, 0);
	}
	if (fd < 0 && errno == ENOENT) {
		const int error = folder_locate(&folder, leaf, other);
		folder_forget(&folder);
		errno = error ? error : ENOENT;
		if (error == 0 && other[0])
			fd = sys.openat(folder.fd, other, flags, 0);
	}
	return fd;
}

enum store_failure engine_view_fetch(
	struct engine_view *view, uint32_t uid, int *fd, uint64_t *size)
{
	struct engine *engine = view->engine;
	struct mailbox *mailbox = view->mailbox;
	const struct store_listing_entry *seen = roster_find(mailbox->roster, uid);
	unsigned char key[INDEX_MESSAGE_KEY];
	struct buf value = { 0 };
	struct index_message row;
	struct stat st;
	int error = 0;

	*fd = -1;
	if (mailbox->gone)
		return STORE_NO_SUCH_MAILBOX;
	if (!seen)
		return STORE_NO_SUCH_MESSAGE;
	index_message_key(mailbox->id, uid, key);
	const int found = env_get(engine->env, NULL, ENV_MESSAGES,
		(struct text){ .ptr = (char *)key, .len = sizeof(key) }, &value, &error);
	enum store_failure failure = STORE_OK;
	if (found < 0)
		failure = engine_env_failure(engine, "messages", error);
	else if (found == 0)
		failure = STORE_NO_SUCH_MESSAGE; /* its expunge is under way */
	else if (index_message_decode(buf_text(&value), &row) != 0)
		failure = engine_damaged(engine, "messages");
	if (failure == STORE_OK) {
		*fd = open_message(engine, mailbox, &row, seen);
		if (*fd < 0)
			failure = errno != ENOENT               ? engine_errno_failure(errno)
				  : STAILQ_EMPTY(&engine->late) ? STORE_NO_SUCH_MESSAGE
								: STORE_BUSY;
	}
	buf_release(&value);
	if (failure == STORE_OK && (sys.fstat(*fd, &st) != 0 || !S_ISREG(st.st_mode))) {
		sys.close(*fd);
		*fd = -1;
		failure = STORE_DAMAGED;
	}
	if (failure == STORE_OK)
		*size = (uint64_t)st.st_size;
	return failure;
}

/* ---- changes ---- */

struct vanishing {
	const struct mailbox *mailbox;
	struct buf *out;
	bool damaged;
};

static int vanished_one(void *owner, struct text key, struct text value)
{
	struct vanishing *vanishing = owner;
	struct index_mailbox_id id;
	uint64_t modseq;
	uint32_t uid;

	(void)value;
	vanishing->damaged = index_expunged_key_decode(key, &id, &modseq, &uid) != 0;
	if (vanishing->damaged || id.user != vanishing->mailbox->id.user ||
		id.mailbox != vanishing->mailbox->id.mailbox ||
		modseq > vanishing->mailbox->visible.modseq)
		return 1;
	message_add_u32(vanishing->out, uid);
	return 0;
}

enum store_failure engine_view_changes(struct engine_view *view, uint64_t since,
	struct engine_changes *changes, struct buf *vanished)
{
	const struct mailbox *mailbox = view->mailbox;
	struct vanishing vanishing = { .mailbox = mailbox, .out = vanished };
	unsigned char key[INDEX_EXPUNGED_KEY];
	struct buf entries = { 0 };

	*changes = (struct engine_changes){ .fd = -1,
		.complete = since >= mailbox->row.expunged_since,
		.modseq = mailbox->visible.modseq };
	if (mailbox->gone)
		return STORE_NO_SUCH_MAILBOX;
	index_expunged_key(mailbox->id, since < UINT64_MAX ? since + 1 : since, 0, key);
	const int error = env_scan(view->engine->env, ENV_EXPUNGED,
		(struct text){ .ptr = (char *)key, .len = sizeof(key) }, vanished_one, &vanishing);
	if (error)
		return engine_env_failure(view->engine, "expunged", error);
	if (vanishing.damaged)
		return engine_damaged(view->engine, "expunged");
	for (size_t i = 0; i < mailbox->roster->count; i++) {
		const struct store_listing_entry *entry = &mailbox->roster->entries[i];
		if (entry->modseq > since)
			buf_add(&entries,
				(struct text){ .ptr = (const char *)entry, .len = sizeof(*entry) });
	}
	const struct text octets = buf_text(&entries);
	const enum store_failure failure =
		list((const struct store_listing_entry *)(const void *)octets.ptr,
			octets.len / sizeof(struct store_listing_entry), &changes->fd);
	buf_release(&entries);
	return failure;
}

void engine_view_watch(struct engine_view *view,
	void (*changed)(void *owner, const struct store_changed *notice), void *owner)
{
	view->changed = changed;
	view->owner = owner;
}

static void tell(struct mailbox *mailbox)
{
	struct engine_view *view;
	bool told;

	LIST_FOREACH (view, &mailbox->views, link)
		view->untold = view->changed != NULL;
	/* From the start each time: a callback may close any view. */
	do {
		told = false;
		LIST_FOREACH (view, &mailbox->views, link) {
			if (!view->untold)
				continue;
			view->untold = false;
			const struct store_changed notice = {
				.uidnext = mailbox->gone ? 0 : mailbox->visible.uidnext,
				.messages = mailbox->visible.messages,
				.modseq = mailbox->visible.modseq
			};
			if (view->changed) {
				view->changed(view->owner, &notice);
				told = true;
				break;
			}
		}
	} while (told);
}

void views_notify(struct engine *engine)
{
	struct mailbox *mailbox;

	while ((mailbox = STAILQ_FIRST(&engine->changed)) != NULL) {
		STAILQ_REMOVE_HEAD(&engine->changed, changed_link);
		mailbox->changed = false;
		tell(mailbox);
		mailbox->pins--;
	}
}

enum store_failure engine_mailboxes(struct engine *engine, struct text user,
	void (*each)(void *owner, const struct store_mailbox *mailbox), void *owner)
{
	struct account *account;
	const enum store_failure failure =
		engine->broken ? STORE_BUSY : account_of(engine, user, &account);

	for (size_t i = 0; failure == STORE_OK && i < account->count; i++) {
		const struct mailbox *mailbox = account->mailboxes[i];
		const struct visible *visible = &mailbox->visible;
		if (mailbox_is_new(mailbox))
			continue;
		each(owner, &(struct store_mailbox){ .name = text_of(mailbox->name),
				    .uidvalidity = mailbox->row.uidvalidity,
				    .uidnext = visible->uidnext,
				    .messages = visible->messages,
				    .unseen = visible->unseen,
				    .octets = visible->octets,
				    .modseq = visible->modseq });
	}
	return failure;
}

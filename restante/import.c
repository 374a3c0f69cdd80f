/*
 * First the whole tree is read; what is wrong with it is said, and nothing is changed then. After that the
 * store is asked to take the numbers of every mailbox: when it refuses one, the user is opened again,
 * without a message of the tree. Then it takes mailbox by mailbox, each in the order of its UIDs, so that
 * an import that ended in between goes on where it was.
 */
#include "restante/import.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sysexits.h>
#include <unistd.h>

#include "base/log.h"
#include "base/mem.h"
#include "base/sys.h"
#include "mail/address.h"
#include "restante/directory.h"
#include "restante/dovecot_tree.h"
#include "restante/terminal.h"

enum {
	UNDER_WAY = 256, /* messages that are not answered yet */
	OCTETS_UNDER_WAY = 8 << 20,
	BLOCK = 64 * 1024,
	BUSY_MICROSECONDS = 20000,
	BUSY_LIMIT = 500,
};

struct import {
	struct desk *desk;
	struct dovecot_tree tree;
	struct progress progress;
	struct text user;
	uint64_t taken, before, passed_over; /* messages: new here, here already, neither */
	uint64_t looked_at, octets;
	size_t pending; /* messages sent and not answered */
	char *body;
	bool resumed; /* an earlier one was not finished */

	bool done;
	enum store_failure failure; /* the first one */
	uint32_t uidnext, spool;
	int spool_fd;
	struct buf uids; /* u32 little-endian, ascending */
};

/* ---- answers ---- */

static void on_answer(void *owner, struct store_reply *reply)
{
	struct import *import = owner;

	import->failure = reply->failure;
	import->done = true;
}

/* Only the first answer knows what was before. */
static void on_first_answer(void *owner, struct store_reply *reply)
{
	struct import *import = owner;

	import->resumed = reply->failure != STORE_AWAY && reply->of.import_begin.resumed;
	on_answer(owner, reply);
}

static void on_mailbox(void *owner, struct store_reply *reply)
{
	struct import *import = owner;

	on_answer(owner, reply);
	buf_clear(&import->uids);
	if (reply->failure != STORE_OK)
		return;
	import->uidnext = reply->of.import_mailbox.uidnext;
	buf_add(&import->uids, reply->of.import_mailbox.uids);
}

static void on_spool(void *owner, struct store_reply *reply)
{
	struct import *import = owner;

	on_answer(owner, reply);
	import->spool_fd = reply->fd;
	reply->fd = -1;
	if (reply->failure == STORE_OK)
		import->spool = reply->of.spool.spool;
}

static void on_message(void *owner, struct store_reply *reply)
{
	struct import *import = owner;

	import->pending--;
	import->done = true;
	if (reply->failure == STORE_OK)
		import->taken++;
	else if (import->failure == STORE_OK)
		import->failure = reply->failure;
}

static enum store_failure wait_for_answer(struct import *import)
{
	if (desk_wait(import->desk, &import->done) != 0)
		import->failure = STORE_AWAY;
	import->done = false;
	return import->failure;
}

/* Until no more than so many messages are under way. */
static enum store_failure wait_for_messages(struct import *import, size_t limit)
{
	while (import->pending > limit ||
		(import->pending && store_client_pending_octets(desk_client(import->desk)) >
					    OCTETS_UNDER_WAY)) {
		import->done = false;
		if (desk_wait(import->desk, &import->done) != 0)
			return import->failure = STORE_AWAY;
	}
	import->done = false;
	return import->failure;
}

/* ---- one message ---- */

static int read_all(int fd, char *octets, size_t size)
{
	size_t at = 0;

	while (at < size) {
		const ssize_t got = sys.read(fd, octets + at, size - at);
		if (got < 0 && errno == EINTR)
			continue;
		if (got <= 0) {
			errno = got == 0 ? EAGAIN : errno; /* it became shorter */
			return -1;
		}
		at += (size_t)got;
	}
	return 0;
}

/* No more than that, even when it grows. */
static int copy_all(int from, int to, char *block, uint64_t size)
{
	while (size) {
		const size_t part = size < BLOCK ? (size_t)size : BLOCK;
		if (read_all(from, block, part) != 0 || sys_write_all(to, block, part) != 0)
			return -1;
		size -= part;
	}
	return 0;
}

static void name_keywords(const struct dovecot_mailbox *mailbox, uint32_t bits, struct buf *names)
{
	for (unsigned i = 0; i < DOVECOT_KEYWORDS; i++) {
		if (!(bits >> i & 1))
			continue;
		if (buf_length(names))
			buf_add_char(names, ' ');
		buf_add(names, mailbox->keywords[i]);
	}
}

static void send_message(struct import *import, const struct dovecot_mailbox *mailbox,
	const struct dovecot_message *message, int64_t received, struct text body)
{
	struct buf keywords = { 0 };

	name_keywords(mailbox, message->keywords, &keywords);
	import->pending++;
	store_client_import_message(desk_client(import->desk),
		&(struct store_import_message){ .user = import->user,
			.folder = mailbox->folder,
			.uid = message->uid,
			.flags = message->flags,
			.keywords = buf_text(&keywords),
			.received = received,
			.spool = body.ptr ? 0 : import->spool,
			.body = body.ptr ? body : TEXT("") },
		on_message, import);
	buf_release(&keywords);
}

/* By a file of the store's own. In its turn: UIDs have to arrive in order. */
static int send_large(struct import *import, const struct dovecot_mailbox *mailbox,
	const struct dovecot_message *message, int fd, uint64_t size, int64_t received)
{
	if (wait_for_messages(import, 0) != STORE_OK)
		return 0;
	store_client_spool(desk_client(import->desk), &(struct store_spool){ .size_hint = 0 },
		on_spool, import);
	if (wait_for_answer(import) != STORE_OK)
		return 0;
	const int error = copy_all(fd, import->spool_fd, import->body, size) == 0 ? 0 : errno;
	sys.close(import->spool_fd);
	if (error == ENOSPC || error == EDQUOT) {
		import->failure = STORE_NO_SPACE;
		return 0;
	}
	if (error) {
		errno = error;
		return -1;
	}
	send_message(import, mailbox, message, received, (struct text){ 0 });
	wait_for_messages(import, 0);
	return 0;
}

/* 0, also when the store refused something; -1 when the file cannot be read. */
static int send_file(struct import *import, const struct dovecot_mailbox *mailbox,
	const struct dovecot_message *message)
{
	int64_t received;
	uint64_t size;
	const int fd = dovecot_tree_open(&import->tree, mailbox, message, &size, &received);
	int result = -1;

	if (fd < 0)
		return -1;
	if (size > STORE_INLINE_LIMIT) {
		result = send_large(import, mailbox, message, fd, size, received);
	} else if ((result = read_all(fd, import->body, (size_t)size)) == 0) {
		send_message(import, mailbox, message, received,
			(struct text){ .ptr = import->body, .len = (size_t)size });
		wait_for_messages(import, UNDER_WAY);
	}
	import->octets += size;
	const int error = errno;
	sys.close(fd);
	errno = error;
	return result;
}

/* ---- one mailbox ---- */

static enum store_failure ask_for_mailbox(
	struct import *import, const struct dovecot_mailbox *mailbox, uint32_t uidnext)
{
	store_client_import_mailbox(desk_client(import->desk),
		&(struct store_import_mailbox){ .user = import->user,
			.folder = mailbox->folder,
			.uidvalidity = mailbox->uidvalidity,
			.uidnext = uidnext },
		on_mailbox, import);
	return wait_for_answer(import);
}

static int compare_uids(const void *a, const void *b)
{
	const uint32_t x = *(const uint32_t *)a;
	unsigned char octets[4];

	memcpy(octets, b, sizeof(octets));
	const uint32_t y = octets[0] | (uint32_t)octets[1] << 8 | (uint32_t)octets[2] << 16 |
			   (uint32_t)octets[3] << 24;
	return (x > y) - (x < y);
}

static bool is_here(const struct import *import, uint32_t uid)
{
	const struct text uids = buf_text(&import->uids);

	return uids.len && bsearch(&uid, uids.ptr, uids.len / 4, 4, compare_uids);
}

static int import_mailbox(struct import *import, const struct dovecot_mailbox *mailbox)
{
	if (ask_for_mailbox(import, mailbox, 0) != STORE_OK)
		return 0;
	const uint32_t uidnext = import->uidnext;
	for (size_t i = 0; i < mailbox->count && import->failure == STORE_OK; i++) {
		const struct dovecot_message *message = &mailbox->messages[i];
		progress_show(
			&import->progress, ++import->looked_at, import->tree.messages, "messages");
		if (is_here(import, message->uid)) {
			import->before++;
		} else if (message->uid < uidnext) {
			import->passed_over++;
		} else if (send_file(import, mailbox, message) != 0) {
			const int error = errno;
			progress_clear(&import->progress);
			terminal_complain("%s/%s%s: %s", import->tree.directory, mailbox->prefix,
				message->leaf, log_errno(error));
			wait_for_messages(import, 0);
			return -1;
		}
	}
	if (wait_for_messages(import, 0) == STORE_OK && mailbox->uidnext > import->uidnext)
		ask_for_mailbox(import, mailbox, mailbox->uidnext);
	return 0;
}

/* ---- the whole ---- */

static enum store_failure begin(struct import *import)
{
	for (unsigned busy = 0;; busy++) {
		store_client_import_begin(desk_client(import->desk),
			&(struct store_import_begin){ .user = import->user },
			busy ? on_answer : on_first_answer, import);
		if (wait_for_answer(import) != STORE_BUSY || busy == BUSY_LIMIT)
			return import->failure;
		usleep(BUSY_MICROSECONDS);
	}
}

static enum store_failure finish(struct import *import, struct text subscriptions)
{
	store_client_import_end(desk_client(import->desk),
		&(struct store_import_end){ .user = import->user, .subscriptions = subscriptions },
		on_answer, import);
	return wait_for_answer(import);
}

/* Nothing of the tree is here yet: whether the user is now as before. The failure stays. */
static bool open_again(struct import *import)
{
	const enum store_failure failure = import->failure;
	const bool open =
		!import->resumed && failure != STORE_AWAY && finish(import, TEXT("")) == STORE_OK;

	import->failure = failure;
	return open;
}

/* The sentence for what stopped it, with what to do about it. */
static const char *sentence(enum store_failure failure)
{
	switch (failure) {
	case STORE_NO_SUCH_USER:
		return "there is no such user; add it first: restante user add ADDRESS";
	case STORE_ALREADY_EXISTS:
		return "the mailbox has messages of its own; take them out, or import for a new "
		       "user";
	case STORE_LOCKED:
		return "a session of the user has a mailbox open; try again when it has ended";
	case STORE_BUSY:
		return "something is still under way for the user; try again";
	case STORE_NO_SPACE:
		return "the disk is full; make room and do the import again";
	case STORE_INVALID:
		return "the store does not take it: a name, a keyword or a number that cannot be";
	case STORE_TOO_LARGE:
		return "there are too many messages in the mailbox";
	case STORE_OK:
	case STORE_BAD_LOGIN:
	case STORE_FAILURES:
	case STORE_OVER_QUOTA:
	case STORE_NOT_DURABLE:
	case STORE_DAMAGED:
	case STORE_REFUSED:
	case STORE_NO_SUCH_MAILBOX:
	case STORE_NO_SUCH_MESSAGE:
	case STORE_AWAY:
		break;
	}
	return directory_judge(failure).sentence;
}

static void warn_of_half(const struct import *import)
{
	fprintf(stderr,
		"restante: mail for %.*s is put off until the import is done again and succeeds\n",
		TEXT_ARG(import->user));
}

static int complain(const struct import *import, const struct dovecot_mailbox *mailbox, bool begun)
{
	const enum store_failure failure = import->failure;

	terminal_complain("%.*s%s%s: %s", TEXT_ARG(import->user), mailbox ? ", " : "",
		!mailbox              ? ""
		: mailbox->folder.len ? mailbox->prefix
				      : "INBOX",
		sentence(failure));
	if (begun)
		warn_of_half(import);
	return failure == STORE_NO_SUCH_USER ? EX_NOUSER
	       : failure == STORE_BUSY || failure == STORE_LOCKED || failure == STORE_NO_SPACE
		       ? EX_TEMPFAIL
	       : failure == STORE_ALREADY_EXISTS || failure == STORE_INVALID ? EX_DATAERR
									     : EX_UNAVAILABLE;
}

static int run(struct import *import)
{
	const struct dovecot_mailbox *mailbox;
	uint64_t mailboxes = 0;

	if (begin(import) != STORE_OK)
		return complain(import, NULL, import->failure == STORE_BUSY && !open_again(import));
	for (mailbox = import->tree.mailboxes; mailbox; mailbox = mailbox->next) {
		if (ask_for_mailbox(import, mailbox, 0) != STORE_OK)
			return complain(import, mailbox, !open_again(import));
	}
	for (mailbox = import->tree.mailboxes; mailbox; mailbox = mailbox->next, mailboxes++) {
		const int result = import_mailbox(import, mailbox);
		progress_clear(&import->progress);
		if (import->failure != STORE_OK)
			return complain(import, mailbox, true);
		if (result != 0) {
			warn_of_half(import);
			return EX_IOERR;
		}
	}
	if (finish(import, buf_text(&import->tree.subscriptions)) != STORE_OK)
		return complain(import, NULL, true);
	printf("%.*s: %llu mailboxes, %llu messages taken over, %llu here before\n",
		TEXT_ARG(import->user), (unsigned long long)mailboxes,
		(unsigned long long)import->taken, (unsigned long long)import->before);
	if (import->passed_over)
		printf("%llu left out: they were deleted here, or their UIDs are given to others\n",
			(unsigned long long)import->passed_over);
	return EX_OK;
}

static int with_tree(struct import *import, const char *file)
{
	struct host host;
	int status = EX_CONFIG;

	host_init(&host, &(struct host_source){ .file = file });
	if (host_settings_read(&host.source, &host.settings, host_complain, NULL) == 0) {
		log_open("restante", LOG_LEVEL_WARNING);
		import->desk = desk_enter(&host, &status);
		if (import->desk) {
			import->body = mem_new(STORE_INLINE_LIMIT);
			status = run(import);
			desk_leave(&import->desk);
			mem_free(import->body);
		}
	}
	host_free(&host);
	return status;
}

/* "/var/vmail/alice@example.test" says whose it is. */
static struct text last_part(const char *directory)
{
	struct text path = text_of(directory);

	while (path.len && path.ptr[path.len - 1] == '/')
		path.len--;
	const ptrdiff_t slash = text_find_last(path, '/');
	return slash < 0 ? path : text_from(path, (size_t)slash + 1);
}

int import_command(const struct command_line *line, const char *file,
	const struct import_options *options, const char *directory)
{
	const char *user = options->user;
	struct import import = { .spool_fd = -1 };
	struct arena *arena = arena_new(1024);
	struct address address;
	int status;

	if (!options->from || strcmp(options->from, "dovecot") != 0) {
		status = command_misused(line, "say --from dovecot: no other is known");
	} else if (address_parse(arena, user ? text_of(user) : last_part(directory), true,
			   &address) != ADDRESS_OK ||
		   address.domain.len == 0 || !address_canonical(arena, &address).ptr) {
		status = command_misused(line,
			user ? "\"%s\" is not an address"
			     : "%s does not say whose it is; say --user ADDRESS",
			user ? user : directory);
	} else {
		progress_init(&import.progress);
		import.user = address_canonical(arena, &address);
		status = dovecot_tree_read(&import.tree, directory, &import.progress) == 0
				 ? with_tree(&import, file)
				 : EX_DATAERR;
		dovecot_tree_free(&import.tree);
	}
	buf_release(&import.uids);
	arena_free(&arena);
	return status;
}

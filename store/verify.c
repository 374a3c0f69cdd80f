#include "store/verify.h"

#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include "store/batch.h"
#include "store/hidden.h"
#include "store/mailbox.h"
#include "store/scan.h"
#include "store/verify_private.h"

enum {
	LINE = 1024,
	FINDINGS = 512 * 1024,     /* octets in one answer */
	MESSAGES = 200,            /* looked into in one piece */
	OCTETS = 16 * 1024 * 1024, /* the same, unless a single message is larger */
};

struct verification {
	struct engine *engine;
	struct mailbox *mailbox;
	struct verify_result *result;
	struct folder folder;
	uint64_t keyword_mask;
	uint32_t from;
	uint64_t read;
	/* What the entries add up to. */
	uint32_t messages, unseen;
	uint64_t octets, wire;
};

void verify_find(
	struct verify_result *result, const struct mailbox *mailbox, const char *format, ...)
{
	char line[LINE];
	va_list arguments;

	if (buf_length(&result->findings) > FINDINGS)
		return;
	int length = mailbox ? snprintf(line, sizeof(line),
				       "%s %s: ", mailbox->account->user->address, mailbox->name)
			     : 0;
	va_start(arguments, format);
	vsnprintf(line + length, sizeof(line) - (size_t)length, format, arguments);
	va_end(arguments);
	for (char *at = line; *at; at++) {
		if ((unsigned char)*at < ' ' || *at == 0x7f)
			*at = '?';
	}
	buf_format(&result->findings, "%s\n", line);
}

static bool is_settled(const struct engine *engine, const struct mailbox *mailbox)
{
	const struct visible staged = mailbox_staged(mailbox);

	return STAILQ_EMPTY(&engine->late) && staged.modseq == mailbox->visible.modseq &&
	       staged.uidnext == mailbox->visible.uidnext;
}

/* ---- one entry and its file's name ---- */

static void compare_uid(
	struct verification *verification, uint32_t uid, const struct index_message *row)
{
	const struct mailbox *mailbox = verification->mailbox;
	struct maildir_base parts;

	if (uid >= mailbox->row.uidnext)
		verify_find(verification->result, mailbox, "UID %u is not below the next one, %u",
			uid, mailbox->row.uidnext);
	if (uid >= mailbox->row.ceiling)
		verify_find(verification->result, mailbox, "UID %u is not below the ceiling, %u",
			uid, mailbox->row.ceiling);
	if (row->modseq > mailbox->row.modseq)
		verify_find(verification->result, mailbox, "UID %u changed later than the mailbox",
			uid);
	maildir_base_parse(row->base, &parts);
	if (!parts.has_uid || parts.uid != uid)
		verify_find(verification->result, mailbox, "UID %u has a name that says U=%u: %.*s",
			uid, parts.uid, TEXT_ARG(row->base));
	if (!parts.has_size || parts.size != row->size)
		verify_find(verification->result, mailbox,
			"UID %u has %llu octets, its name says S=%llu", uid,
			(unsigned long long)row->size, (unsigned long long)parts.size);
	if (!parts.has_wire || parts.wire != row->wire)
		verify_find(verification->result, mailbox,
			"UID %u has %llu octets with CRLF, its name says W=%llu", uid,
			(unsigned long long)row->wire, (unsigned long long)parts.wire);
}

static void compare_name(
	struct verification *verification, uint32_t uid, const struct index_message *row)
{
	const struct mailbox *mailbox = verification->mailbox;
	struct name *name = names_find(verification->folder.names, row->base);
	uint32_t flags;
	uint64_t keywords;

	if (!name || !name->leaf) {
		verify_find(verification->result, mailbox, "UID %u has no file: %.*s", uid,
			TEXT_ARG(row->base));
		return;
	}
	if (name->seen)
		verify_find(verification->result, mailbox, "UID %u has the file of another: %s",
			uid, name->leaf);
	name->seen = true;
	maildir_name_parse(text_from(text_of(name->leaf), 4), &flags, &keywords);
	if (memcmp(name->leaf, row->place == INDEX_NEW ? "new" : "cur", 3) != 0)
		verify_find(verification->result, mailbox, "UID %u is somewhere else: %s", uid,
			name->leaf);
	if (flags != row->flags)
		verify_find(verification->result, mailbox, "UID %u has flags %#x, its file %#x: %s",
			uid, row->flags, flags, name->leaf);
	if ((keywords & verification->keyword_mask) != row->keywords)
		verify_find(verification->result, mailbox,
			"UID %u has other keywords than its file: %s", uid, name->leaf);
}

/* 1: the end of the mailbox. -1: an octet in the way. */
static int decode(const struct verification *verification, struct text key, struct text value,
	uint32_t *uid, struct index_message *row)
{
	const struct mailbox *mailbox = verification->mailbox;
	struct index_mailbox_id id;

	if (index_message_key_decode(key, &id, uid) != 0)
		return -1;
	if (id.user != mailbox->id.user || id.mailbox != mailbox->id.mailbox)
		return 1;
	return index_message_decode(value, row) == 0 ? 0 : -1;
}

/* A copy that nobody sees yet, or will ever see. */
static void pass_over(struct verification *verification, const struct index_message *row)
{
	struct name *name = names_find(verification->folder.names, row->base);

	if (name)
		name->seen = true;
}

static int look_at_row(void *owner, struct text key, struct text value)
{
	struct verification *verification = owner;
	struct index_message row;
	uint32_t uid;
	const int end = decode(verification, key, value, &uid, &row);

	if (end < 0)
		verify_find(verification->result, verification->mailbox, "an entry cannot be read");
	if (end)
		return end > 0;
	if (hidden_has(verification->mailbox, uid)) {
		pass_over(verification, &row);
		return 0;
	}
	verification->messages++;
	verification->unseen += !(row.flags & STORE_FLAG_SEEN);
	verification->octets += row.size;
	verification->wire += row.wire;
	compare_uid(verification, uid, &row);
	compare_name(verification, uid, &row);
	return 0;
}

static int scan_rows(struct verification *verification, uint32_t from,
	int (*each)(void *owner, struct text key, struct text value))
{
	unsigned char key[INDEX_MESSAGE_KEY];

	index_message_key(verification->mailbox->id, from, key);
	return env_scan(verification->engine->env, ENV_MESSAGES,
		(struct text){ .ptr = (char *)key, .len = sizeof(key) }, each, verification);
}

/* ---- a mailbox as a whole ---- */

static int compare_numbers(const void *a, const void *b)
{
	const uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;

	return x < y ? -1 : x > y;
}

static void look_at_names(struct verification *verification)
{
	const size_t all = names_count(verification->folder.names);
	uint32_t *uids = mem_array(all + 1, sizeof(*uids));
	size_t count = 0;

	for (size_t i = 0; i < all; i++) {
		const struct name *name = names_at(verification->folder.names, i);
		struct maildir_base parts;
		if (!name->leaf)
			continue;
		maildir_base_parse(name->base, &parts);
		if (parts.has_uid)
			uids[count++] = parts.uid;
		if (!name->seen)
			verify_find(verification->result, verification->mailbox,
				"a file has no entry: %s", name->leaf);
	}
	qsort(uids, count, sizeof(*uids), compare_numbers);
	for (size_t i = 1; i < count; i++) {
		if (uids[i] == uids[i - 1])
			verify_find(verification->result, verification->mailbox,
				"two files have UID %u in their names", uids[i]);
	}
	mem_free(uids);
}

static void compare_counts(struct verification *verification)
{
	const struct mailbox *mailbox = verification->mailbox;
	const struct {
		const char *what;
		uint64_t counted, kept;
	} counts[] = {
		{ "messages", verification->messages, mailbox->row.messages },
		{ "unseen messages", verification->unseen, mailbox->row.unseen },
		{ "octets", verification->octets, mailbox->row.octets },
		{ "octets with CRLF", verification->wire, mailbox->row.wire },
	};

	for (size_t i = 0; i < sizeof(counts) / sizeof(counts[0]); i++) {
		if (counts[i].counted != counts[i].kept)
			verify_find(verification->result, mailbox,
				"%s: there are %llu, the index counts %llu", counts[i].what,
				(unsigned long long)counts[i].counted,
				(unsigned long long)counts[i].kept);
	}
}

static void compare_file(struct verification *verification)
{
	const struct mailbox *mailbox = verification->mailbox;
	struct buf keywords = { 0 };
	struct maildir_file file;
	size_t size;
	char *octets =
		sys_read_file(verification->folder.fd, MAILDIR_FILE, MAILDIR_FILE_LIMIT, &size);

	if (!octets || maildir_file_parse(
			       (struct text){ .ptr = octets, .len = size }, &file, &keywords) != 0)
		verify_find(verification->result, mailbox, "%s cannot be read", MAILDIR_FILE);
	else if (file.id.user != mailbox->id.user || file.id.mailbox != mailbox->id.mailbox ||
		 file.uidvalidity != mailbox->row.uidvalidity ||
		 !text_equal(file.keywords, mailbox->row.keywords))
		verify_find(
			verification->result, mailbox, "%s is not this mailbox's", MAILDIR_FILE);
	else if (file.ceiling < mailbox->row.uidnext)
		verify_find(verification->result, mailbox, "%s has its ceiling below the next UID",
			MAILDIR_FILE);
	buf_release(&keywords);
	mem_free(octets);
}

static int whole_mailbox(struct verification *verification)
{
	verification->folder.names = names_read(verification->folder.fd);
	if (!verification->folder.names)
		return errno;
	int error = scan_rows(verification, 0, look_at_row);
	if (error == 0)
		error = verify_expunged(
			verification->engine, verification->mailbox, verification->result);
	look_at_names(verification);
	compare_counts(verification);
	compare_file(verification);
	folder_forget(&verification->folder);
	verification->result->from = 1;
	return error;
}

/* ---- contents ---- */

static void look_into(
	struct verification *verification, uint32_t uid, const struct index_message *row)
{
	const struct mailbox *mailbox = verification->mailbox;
	char leaf[MAILDIR_LEAF_LIMIT + 1];
	struct stat st;
	uint64_t wire;

	batch_leaf(row, leaf);
	const int file = sys.openat(
		verification->folder.fd, leaf, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK, 0);
	if (file < 0 || sys.fstat(file, &st) != 0) {
		/* One that is elsewhere was found when the names were compared. */
		if (errno != ENOENT)
			verify_find(verification->result, mailbox,
				"UID %u cannot be opened: %s: %s", uid, leaf,
				env_error_text(errno));
	} else if (!S_ISREG(st.st_mode)) {
		verify_find(
			verification->result, mailbox, "UID %u is no plain file: %s", uid, leaf);
	} else if ((uint64_t)st.st_size != row->size) {
		verify_find(verification->result, mailbox,
			"UID %u has a file of %llu octets, not of %llu: %s", uid,
			(unsigned long long)st.st_size, (unsigned long long)row->size, leaf);
	} else if (scan_count_wire(file, &wire) != 0) {
		verify_find(verification->result, mailbox, "UID %u cannot be read: %s", uid, leaf);
	} else if (wire != row->wire) {
		verify_find(verification->result, mailbox,
			"UID %u has %llu octets with CRLF in its file, not %llu: %s", uid,
			(unsigned long long)wire, (unsigned long long)row->wire, leaf);
	}
	if (file >= 0)
		sys.close(file);
}

static int look_into_row(void *owner, struct text key, struct text value)
{
	struct verification *verification = owner;
	struct verify_result *result = verification->result;
	struct index_message row;
	uint32_t uid;

	if (decode(verification, key, value, &uid, &row) != 0)
		return 1;
	if (result->messages == MESSAGES || verification->read > OCTETS) {
		result->from = uid;
		return 1;
	}
	result->messages++;
	verification->read += row.size;
	look_into(verification, uid, &row);
	return 0;
}

/* ---- pieces ---- */

static enum store_failure verify_mailbox(
	struct engine *engine, struct mailbox *mailbox, uint32_t from, struct verify_result *result)
{
	struct verification verification = { .engine = engine,
		.mailbox = mailbox,
		.result = result,
		.folder = { .fd = mailbox_directory(engine, mailbox) },
		.keyword_mask = mailbox_keyword_mask(mailbox->row.keywords) };
	int error = 0;

	if (verification.folder.fd < 0)
		verify_find(
			result, mailbox, "the directory is not there: %s", env_error_text(errno));
	else if (from == 0)
		error = whole_mailbox(&verification);
	else
		error = scan_rows(&verification, from, look_into_row);
	return error ? engine_env_failure(engine, "verify", error) : STORE_OK;
}

enum store_failure engine_verify(
	struct engine *engine, const struct verify_piece *piece, struct verify_result *result)
{
	struct account *account;
	enum store_failure failure = STORE_BUSY;

	if (!engine->broken)
		failure = piece->user.len ? account_look(engine, piece->user, &account)
					  : verify_store(engine, piece, result);
	if (failure != STORE_OK || piece->user.len == 0)
		return failure;
	if (piece->mailbox.len == 0) {
		const int error = verify_account(engine, account, result);
		buf_add(&result->mailbox, text_of(account->mailboxes[0]->name));
		return error ? engine_env_failure(engine, "verify", error) : STORE_OK;
	}
	for (size_t i = 0; i < account->count; i++) {
		struct mailbox *mailbox = account->mailboxes[i];
		if (!text_equal(text_of(mailbox->name), piece->mailbox))
			continue;
		if (!is_settled(engine, mailbox))
			return STORE_BUSY;
		failure = verify_mailbox(engine, mailbox, piece->from, result);
		if (result->from)
			buf_add(&result->mailbox, piece->mailbox);
		else if (i + 1 < account->count)
			buf_add(&result->mailbox, text_of(account->mailboxes[i + 1]->name));
		return failure;
	}
	return STORE_NO_SUCH_MAILBOX;
}

/*
 * Names in a Maildir tree: directories of users and mailboxes, files of messages. Pure text, no I/O.
 *
 *	mail/DOMAIN/LOCAL/{cur,new,tmp}            the user's INBOX
 *	mail/DOMAIN/LOCAL/.Lists.Linux/{cur,…}     mailbox "Lists/Linux" (Maildir++)
 *
 *	new/BASE
 *	cur/BASE:2,FLAGS
 *
 *	BASE    = SECONDS.M<usec>P<pid>Q<count>.HOST,S=<octets>,W=<octets with CRLF>,U=<uid>
 *	FLAGS   = letters of D F P R S T (system flags), then one character for each keyword
 *
 * A domain or a local part becomes a file name by %XX for whatever could mislead a program or a person:
 * '/', '%', blanks, control characters, octets that are not UTF-8, and a leading '.'.
 * Names of mailboxes become modified UTF-7 (RFC 3501 section 5.1.3) level by level, as Dovecot has them;
 * a '.' within a level, which separates levels in Maildir++, is written shifted, too ("&AC4-").
 */
#ifndef STORE_MAILDIR_H
#define STORE_MAILDIR_H

#include <stdbool.h>

#include "base/buf.h"
#include "base/text.h"
#include "store/index_codec.h"

enum {
	MAILDIR_NAME_LIMIT = 255, /* NAME_MAX */
	MAILDIR_DIRECTORY_LIMIT = 5 + 3 * (MAILDIR_NAME_LIMIT + 1),
	MAILDIR_LEAF_LIMIT = 4 + MAILDIR_NAME_LIMIT, /* "new/", "cur/" or "tmp/" and a file name */
	MAILDIR_PATH_LIMIT = MAILDIR_DIRECTORY_LIMIT + 1 + MAILDIR_NAME_LIMIT, /* with a folder */
	MAILDIR_HOST_LIMIT = 40,
};

/* "mail/DOMAIN/LOCAL" of a canonical address. 0, or -1: no '@', empty parts, or too long. */
int maildir_user_directory(struct text address, char directory[MAILDIR_DIRECTORY_LIMIT + 1]);

/* The mailbox's folder below it: "" for INBOX, else ".Lists.Linux". 0, or -1: not a name for a mailbox. */
int maildir_folder(struct text mailbox, char folder[MAILDIR_NAME_LIMIT + 1]);

/* The name of the mailbox in such a folder; "" is INBOX. 0, or -1: not one of ours or Dovecot's making. */
int maildir_mailbox(struct text folder, struct buf *mailbox);

/* "inbox" in any case is "INBOX". */
struct text maildir_canonical(struct text mailbox);

/* What a base name tells. */
struct maildir_base {
	bool has_size, has_wire, has_uid;
	uint64_t size, wire;
	uint32_t uid;
	int64_t seconds;    /* 0: none at the start of the name */
	struct text unique; /* the part before the first comma */
};

void maildir_base_parse(struct text base, struct maildir_base *parts);

struct maildir_unique {
	int64_t seconds;
	uint32_t microseconds;
	uint32_t process;
	uint64_t count;
	const char *host; /* letters, digits, '-' and '.' only */
};

/* A name of our own up to the UID, which is all that differs between recipients. The octets written. */
size_t maildir_base_begin(const struct maildir_unique *unique, uint64_t size, uint64_t wire,
	char base[INDEX_BASE_LIMIT + 1]);
/* The rest of it, a NUL at the end; may be done again for the next recipient. The octets of the whole. */
size_t maildir_base_end(char base[INDEX_BASE_LIMIT + 1], size_t begun, uint32_t uid);

/* The name for a file that others put there: its unique part is kept when it fits. As above. */
size_t maildir_base_adopt(struct text unique, uint64_t size, uint64_t wire, uint32_t uid,
	char base[INDEX_BASE_LIMIT + 1]);

/* Whether a file name can be a message: not empty, no leading '.', no '/' or NUL in it, not too long. */
bool maildir_is_message(struct text name);

/* A file name to base name, flags and keywords. What is no flag of ours is passed over. */
struct text maildir_name_parse(struct text name, uint32_t *flags, uint64_t *keywords);

/* "new/BASE", or "cur/BASE:2,FLAGS"; the octets written, a NUL after them. */
size_t maildir_leaf_print(enum index_place place, struct text base, uint32_t flags,
	uint64_t keywords, char leaf[MAILDIR_LEAF_LIMIT + 1]);

enum { MAILDIR_KEYWORDS = STORE_KEYWORDS };

/* ---- the small text file beside cur, new and tmp ---- */

#define MAILDIR_FILE "restante-mailbox"

/* Beside that of INBOX: the names that the user has subscribed to, in UTF-8, one a line. */
#define MAILDIR_SUBSCRIPTIONS "restante-subscriptions"

/*
 * Directories beside that of INBOX, with a mailbox's number behind the dot: one that was deleted and is being
 * emptied, and, during a recovery only, one whose place is taken by the time it is renamed.
 */
#define MAILDIR_DELETED "restante-deleted."
#define MAILDIR_ASTRAY "restante-astray."

/*
 * Before the base name of a file in tmp/: a message that is gone, of which a copy was made since the last
 * checkpoint. Recovery may need its octets for the copy.
 */
#define MAILDIR_RETIRED "gone."

/*
 *	restante-mailbox 1
 *	user 1
 *	mailbox 1
 *	uidvalidity 1795310862
 *	ceiling 16385
 *	keyword $Forwarded
 *	keyword work
 *
 * ceiling: no UID from here on was ever given. Keywords in the order of their bits.
 */
struct maildir_file {
	struct index_mailbox_id id;
	uint32_t uidvalidity;
	uint32_t ceiling;
	struct text keywords; /* blanks between */
};

enum { MAILDIR_FILE_LIMIT = 2 * STORE_KEYWORDS_LIMIT };

void maildir_file_print(const struct maildir_file *file, struct buf *out);

/* keywords into the buffer, to which file->keywords then points. 0, or -1: not such a file. */
int maildir_file_parse(struct text octets, struct maildir_file *file, struct buf *keywords);

#endif

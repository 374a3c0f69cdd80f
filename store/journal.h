/*
 * Our records in Berkeley DB's log: every change to a Maildir that the store makes, written before the
 * change itself. Redo (redo.h) makes the files from them.
 *
 *	offset  0  u32 type: DB_user_BEGIN + kind     as Berkeley DB wants every record to begin,
 *	        4  u32 transaction                    in the machine's byte order, filled in by env.h
 *	        8  u32 u32 the transaction's previous record
 *	       16  u8  version of the rest            ours, little-endian
 *	       17  u32 CRC-32C of the payload
 *	       21  payload, fields as base/message.h packs them
 *
 * A record names directories and files; it holds nothing that only this host or this moment knows, so
 * another host can replay it into its own tree. Each directory comes with the numbers of its mailbox,
 * which are in the directory's text file, too, and never given again. A directory that was renamed since
 * is known by them; one that has others is left alone.
 */
#ifndef STORE_JOURNAL_H
#define STORE_JOURNAL_H

#include "store/maildir.h"

enum {
	JOURNAL_VERSION = 1,
	JOURNAL_HEADER = 21,
	JOURNAL_FIRST_TYPE = 10000, /* DB_user_BEGIN */
	JOURNAL_SPOOL_LIMIT = 64,   /* of the name of a file in spool/ */
	JOURNAL_RUN_LIMIT =
		1 << 20, /* octets of a run of moves or leaves in one record; then another one */
	JOURNAL_BODY_LIMIT = STORE_INLINE_LIMIT,
};

enum journal_kind {
	JOURNAL_MARK = 1, /* a checkpoint starts here; nothing to redo */
	JOURNAL_DELIVER,  /* one body, a file for each target */
	JOURNAL_MOVE,     /* files get another name within their mailbox */
	JOURNAL_REMOVE,   /* files go */
	JOURNAL_FILE,     /* a mailbox's directories and its text file as given here */
	JOURNAL_ASIDE,    /* a user's directory goes to another place */
	JOURNAL_RENAME,   /* a mailbox's directory gets another name, for good or to be deleted */
	JOURNAL_DISOWN, /* the text file in a directory is of a mailbox that is no more: it goes */
	JOURNAL_COPY,   /* files of one mailbox get a name in another one as well */
	JOURNAL_TRANSFER,      /* files of one mailbox go to another one */
	JOURNAL_SUBSCRIPTIONS, /* a user's text file of subscriptions as given here */
	JOURNAL_ONCE,          /* a once-key counts from now on */
	JOURNAL_KINDS
};

/* clang-format off */
/* spool: the name in spool/ of a file that is already durable, or empty: body. targets: a run. */
#define JOURNAL_DELIVER_FIELDS(F) \
	F(text, id, 20) F(text, spool, JOURNAL_SPOOL_LIMIT) F(text, body, JOURNAL_BODY_LIMIT) \
	F(text, targets, STORE_RECIPIENTS_LIMIT * 2048)
#define JOURNAL_PLACE_FIELDS(F) \
	F(u32, user, 0) F(u32, mailbox, 0) F(text, directory, MAILDIR_PATH_LIMIT)
#define JOURNAL_TARGET_FIELDS(F) JOURNAL_PLACE_FIELDS(F) F(text, leaf, MAILDIR_LEAF_LIMIT)
#define JOURNAL_MOVE_FIELDS(F) JOURNAL_PLACE_FIELDS(F) F(text, moves, JOURNAL_RUN_LIMIT + 2048)
#define JOURNAL_STEP_FIELDS(F) F(text, from, MAILDIR_LEAF_LIMIT) F(text, to, MAILDIR_LEAF_LIMIT)
#define JOURNAL_REMOVE_FIELDS(F) JOURNAL_PLACE_FIELDS(F) F(text, leaves, JOURNAL_RUN_LIMIT + 2048)
#define JOURNAL_LEAF_FIELDS(F) F(text, leaf, MAILDIR_LEAF_LIMIT)
#define JOURNAL_FILE_FIELDS(F) JOURNAL_PLACE_FIELDS(F) F(text, octets, MAILDIR_FILE_LIMIT)
#define JOURNAL_ASIDE_FIELDS(F) JOURNAL_PLACE_FIELDS(F) F(text, aside, MAILDIR_PATH_LIMIT)
#define JOURNAL_RENAME_FIELDS(F) JOURNAL_PLACE_FIELDS(F) F(text, to, MAILDIR_PATH_LIMIT)
#define JOURNAL_DISOWN_FIELDS(F) JOURNAL_PLACE_FIELDS(F)
/* Of COPY and TRANSFER. steps: a run of journal_step, `from` in the one and `to` in the other. */
#define JOURNAL_COPY_FIELDS(F) \
	JOURNAL_PLACE_FIELDS(F) F(u32, to_mailbox, 0) F(text, to_directory, MAILDIR_PATH_LIMIT) \
	F(text, steps, JOURNAL_RUN_LIMIT + 2048)
/* The place is the user's INBOX. */
#define JOURNAL_SUBSCRIPTIONS_FIELDS(F) \
	JOURNAL_PLACE_FIELDS(F) F(text, octets, STORE_SUBSCRIPTIONS_LIMIT)
/* time: of the acceptance. asked, an i64, stands behind it when it is another time (journal_once_write). */
#define JOURNAL_ONCE_FIELDS(F) F(u32, user, 0) F(i64, time, 0) F(text, key, STORE_ONCE_LIMIT)
/* clang-format on */

MESSAGE_DECLARE(journal_deliver, JOURNAL_DELIVER_FIELDS)
MESSAGE_DECLARE(journal_target, JOURNAL_TARGET_FIELDS)
MESSAGE_DECLARE(journal_move, JOURNAL_MOVE_FIELDS)
MESSAGE_DECLARE(journal_step, JOURNAL_STEP_FIELDS)
MESSAGE_DECLARE(journal_remove, JOURNAL_REMOVE_FIELDS)
MESSAGE_DECLARE(journal_leaf, JOURNAL_LEAF_FIELDS)
MESSAGE_DECLARE(journal_file, JOURNAL_FILE_FIELDS)
MESSAGE_DECLARE(journal_aside, JOURNAL_ASIDE_FIELDS)
MESSAGE_DECLARE(journal_once, JOURNAL_ONCE_FIELDS)
MESSAGE_DECLARE(journal_rename, JOURNAL_RENAME_FIELDS)
MESSAGE_DECLARE(journal_disown, JOURNAL_DISOWN_FIELDS)
MESSAGE_DECLARE(journal_copy, JOURNAL_COPY_FIELDS)
MESSAGE_DECLARE(journal_subscriptions, JOURNAL_SUBSCRIPTIONS_FIELDS)

/* An empty buffer gets the header; then pack the fields into it; then seal it. */
void journal_begin(struct buf *record, enum journal_kind kind);
void journal_seal(struct buf *record);

/* What is in a record. The payload points into it. 0, or -1: not ours, another version, or damaged. */
int journal_open(struct text record, enum journal_kind *kind, struct text *payload);

/* asked: when the key was last asked for. _read: 0, or -1 when that is no such record. */
void journal_once_write(struct buf *out, const struct journal_once *record, int64_t asked);
int journal_once_read(struct text payload, struct journal_once *record, int64_t *asked);

#endif

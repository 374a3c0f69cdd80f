/*
 * Keys and values of the index, as octets in Berkeley DB.
 *
 *	table      key (integers big-endian: ranges are in order)   value
 *	users      address; "" for the store's own counters         user | counters
 *	mailboxes  user u32, mailbox u32                            mailbox
 *	messages   user u32, mailbox u32, uid u32                   message
 *	expunged   user u32, mailbox u32, modseq u64, uid u32       (version only)
 *	once       user u32, key                                    time i64, asked i64 or nothing
 *	directory  see directory_file.c                             alias | domain
 *	expunging  user u32, mailbox u32, first uid u32             expunging
 *	copying    user u32, mailbox u32, first uid u32             copying
 *
 * Every value begins with its format's version, u8. Fields follow as base/message.h packs them. Those of
 * messages and mailboxes, which come with every delivery, are written in its short form under a version of
 * its own, and read in both. A value that does not decode to its last octet is damage: -1.
 *
 * The version of the store's own counters, which are read before anything else, is that of the index as a
 * whole. It grows with every change by which a version of the store before this one would find rows that
 * it cannot read: so that one takes the index for damaged at its start, and makes it anew.
 */
#ifndef STORE_INDEX_CODEC_H
#define STORE_INDEX_CODEC_H

#include "base/message.h"
#include "store/protocol.h"

enum {
	INDEX_VERSION = 1,
	INDEX_SHORT_VERSION = 2,
	INDEX_FORMAT = 2,       /* of the index as a whole */
	INDEX_HASH_LIMIT = 512, /* of a crypt(3) hash */
	INDEX_BASE_LIMIT = 180, /* of a base name: ':2,', flags and 64 keywords fit behind it */
	INDEX_MAILBOX_KEY = 8,
	INDEX_MESSAGE_KEY = 12,
	INDEX_EXPUNGED_KEY = 20,
	INDEX_ONCE_KEY_LIMIT = 4 + STORE_ONCE_LIMIT,
	INDEX_EXPUNGING_UIDS = 1024,                          /* in one row */
	INDEX_MEMBERS_LIMIT = 8000 + STORE_ADDRESS_LIMIT + 8, /* octets of members in one row */
};

/* Where a message's file is. */
enum index_place { INDEX_NEW, INDEX_CUR };

/* clang-format off */
#define INDEX_COUNTERS_FIELDS(F) F(u8, version, 0) F(u32, next_user, 0) F(u32, last_uidvalidity, 0)

#define INDEX_USER_FIELDS(F) \
	F(u8, version, 0) F(u32, number, 0) F(u32, next_mailbox, 0) F(u64, quota_octets, 0) \
	F(u64, quota_messages, 0) F(text, hash, INDEX_HASH_LIMIT)

/*
 * new_seen, cur_seen: modification times of the two directories (nanoseconds) as of which the index holds
 * what is in them; 0: look again. ceiling: no UID from here on was ever given. expunged_since: expunges
 * after this modseq are all in the table. keywords: names by bit, blanks between.
 */
#define INDEX_MAILBOX_FIELDS(F) \
	F(u8, version, 0) F(u32, uidvalidity, 0) F(u32, uidnext, 0) F(u32, ceiling, 0) \
	F(u64, modseq, 0) F(u32, messages, 0) F(u32, unseen, 0) F(u64, octets, 0) F(u64, wire, 0) \
	F(u64, expunged_since, 0) F(u32, expunged, 0) F(i64, new_seen, 0) F(i64, cur_seen, 0) \
	F(text, name, STORE_MAILBOX_LIMIT) F(text, keywords, STORE_KEYWORDS_LIMIT)

#define INDEX_MESSAGE_FIELDS(F) \
	F(u8, version, 0) F(u8, place, 1) F(u32, flags, 0) F(u64, keywords, 0) F(u64, size, 0) \
	F(u64, wire, 0) F(i64, received, 0) F(u64, modseq, 0) F(text, base, INDEX_BASE_LIMIT)

/* uids: a run of u32 little-endian, ascending. */
#define INDEX_EXPUNGING_FIELDS(F) F(u8, version, 0) F(text, uids, INDEX_EXPUNGING_UIDS * 4)

/* end: the UIDs of the copies that are being made are below it. */
#define INDEX_COPYING_FIELDS(F) F(u8, version, 0) F(u32, end, 0)

#define INDEX_DOMAIN_FIELDS(F) F(u8, version, 0)
/* members: a run of STORE_MEMBER. */
#define INDEX_ALIAS_FIELDS(F) \
	F(u8, version, 0) F(u8, from_file, 1) F(text, owner, STORE_ADDRESS_LIMIT) \
	F(text, members, INDEX_MEMBERS_LIMIT)
/* clang-format on */

MESSAGE_DECLARE(index_counters, INDEX_COUNTERS_FIELDS)
MESSAGE_DECLARE(index_user, INDEX_USER_FIELDS)
MESSAGE_DECLARE(index_mailbox, INDEX_MAILBOX_FIELDS)
MESSAGE_DECLARE(index_message, INDEX_MESSAGE_FIELDS)
MESSAGE_DECLARE(index_expunging, INDEX_EXPUNGING_FIELDS)
MESSAGE_DECLARE(index_copying, INDEX_COPYING_FIELDS)
MESSAGE_DECLARE(index_domain, INDEX_DOMAIN_FIELDS)
MESSAGE_DECLARE(index_alias, INDEX_ALIAS_FIELDS)
MESSAGE_DECLARE_SHORT(index_mailbox)
MESSAGE_DECLARE_SHORT(index_message)

/* Of the acceptance; and of the last time it was asked for, which is written when it is another one. */
struct index_once {
	int64_t time, asked;
};

/* The row's value, whatever its version says. */
void index_mailbox_encode(struct buf *out, const struct index_mailbox *row);
void index_message_encode(struct buf *out, const struct index_message *row);
void index_once_encode(struct buf *out, const struct index_once *row);

/* The format of an index with these counters. */
unsigned index_format(struct text counters);

/* As _unpack, and the version must be ours. Texts point into value. 0, or -1. */
int index_counters_decode(struct text value, struct index_counters *counters);
int index_user_decode(struct text value, struct index_user *user);
int index_mailbox_decode(struct text value, struct index_mailbox *mailbox);
int index_message_decode(struct text value, struct index_message *message);
int index_once_decode(struct text value, struct index_once *once);
int index_expunging_decode(struct text value, struct index_expunging *row);
int index_copying_decode(struct text value, struct index_copying *row);
int index_domain_decode(struct text value, struct index_domain *domain);
int index_alias_decode(struct text value, struct index_alias *alias);

struct index_mailbox_id {
	uint32_t user;
	uint32_t mailbox;
};

/*
 * In the place of a mailbox's row while what belonged to it is taken away: the version alone.
 */
struct text index_deleted(void);
bool index_is_deleted(struct text value);

void index_mailbox_key(struct index_mailbox_id id, unsigned char key[INDEX_MAILBOX_KEY]);
int index_mailbox_key_decode(struct text key, struct index_mailbox_id *id);
void index_message_key(
	struct index_mailbox_id id, uint32_t uid, unsigned char key[INDEX_MESSAGE_KEY]);
int index_message_key_decode(struct text key, struct index_mailbox_id *id, uint32_t *uid);
void index_expunged_key(struct index_mailbox_id id, uint64_t modseq, uint32_t uid,
	unsigned char key[INDEX_EXPUNGED_KEY]);
int index_expunged_key_decode(
	struct text key, struct index_mailbox_id *id, uint64_t *modseq, uint32_t *uid);

/* The octets of the key; once is at most STORE_ONCE_LIMIT long. */
size_t index_once_key(uint32_t user, struct text once, unsigned char key[INDEX_ONCE_KEY_LIMIT]);

#endif

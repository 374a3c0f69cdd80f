/*
 * What may be said to the store, declared once: message, fields, who may send it, in which state.
 *
 * Frames are base/ipc.h's. A request carries a tag other than 0 that is not in use on the connection; its
 * reply (or, for FETCH, each of its replies) carries the same. A frame with tag 0 is a notice. Requests
 * are answered in any order. Whoever a connection comes from is known by the listening socket it came
 * through, before its first octet.
 *
 * Anything off (unknown type, not allowed for this peer, a field over its limit, octets left over) ends
 * the connection. A request that is well formed but not possible now gets a failure.
 */
#ifndef STORE_PROTOCOL_H
#define STORE_PROTOCOL_H

#include "base/message.h"
#include "store/failure.h"

/* clang-format off: tables read better as they stand */

/* Listening sockets below STATE/run, and the peer each one stands for. */
#define STORE_SOCKETS(X) \
	X(STORE_BY_SMTP_IN, 1, "store-smtp-in") \
	X(STORE_BY_MDA, 2, "store-mda") \
	X(STORE_BY_POP3D, 4, "store-pop3d") \
	X(STORE_BY_IMAPD, 8, "store-imapd") \
	X(STORE_BY_ADMIN, 16, "store-admin")

#define STORE_SOCKET_ENUM_(name, bit, path) name = bit,
enum store_peer { STORE_SOCKETS(STORE_SOCKET_ENUM_) };

/* clang-format on */

#define STORE_BY_LOGIN (STORE_BY_SMTP_IN | STORE_BY_POP3D | STORE_BY_IMAPD)
#define STORE_BY_USER (STORE_BY_POP3D | STORE_BY_IMAPD)

#define STORE_QUOTA_NONE ((uint64_t)INT64_MAX)

/* Of what another server made, the largest numbers that leave enough to count on with. */
#define STORE_UIDVALIDITY_LIMIT (UINT32_MAX - (1U << 24))
#define STORE_UID_LIMIT (UINT32_MAX / 2 - 1)

/* In which state of the connection a request may come. */
enum store_need {
	STORE_NEEDS_NOTHING,
	STORE_NEEDS_LOGIN = 1,   /* LOGIN succeeded on this connection */
	STORE_NEEDS_MAILBOX = 3, /* and SELECT did */
};

enum {
	STORE_ADDRESS_LIMIT = 320,
	STORE_MAILBOX_LIMIT = 255,   /* octets of a name in UTF-8, '/' between levels; "INBOX" */
	STORE_KEYWORDS_LIMIT = 4096, /* keyword names, blanks between */
	STORE_KEYWORDS = 64,         /* different keywords a mailbox can have */
	STORE_PASSWORD_LIMIT = 1024,
	STORE_SASL_LIMIT = 4096, /* octets of a SASL message, not in base64 */
	STORE_ONCE_LIMIT = 255,
	STORE_ONCE_KEYS = 256,           /* in one ONCE */
	STORE_INLINE_LIMIT = 256 * 1024, /* larger bodies do not travel in DELIVER but by SPOOL */
	STORE_RECIPIENTS_LIMIT = 1000,
	STORE_DELIVER_RECIPIENTS_LIMIT = STORE_RECIPIENTS_LIMIT * 1024, /* octets of the run */
	STORE_UIDS_LIMIT = 4 << 20, /* octets: a run of u32 little-endian */
	STORE_PAYLOAD_LIMIT = (4 << 20) + 4096,
	STORE_FETCH_LIMIT = 256,        /* messages in one FETCH */
	STORE_MEMBERS_LIMIT = 1000,     /* addresses that an alias leads to */
	STORE_ALIASES_LIMIT = 4 << 20,  /* octets of aliases in one ALIASES_PUT */
	STORE_SENTENCE_LIMIT = 1 << 16, /* what is said to the admin about a request */
	STORE_COPY_UIDS_LIMIT = STORE_UIDS_LIMIT / 2, /* octets: the reply has two such runs */
	STORE_SUBSCRIPTIONS_LIMIT = 256 * 1024,       /* octets of a user's list */
};

/* System flags (RFC 9051 section 2.3.2), as Maildir letters P R S T D F where it has them. */
enum store_flag {
	STORE_FLAG_SEEN = 1,
	STORE_FLAG_ANSWERED = 2,
	STORE_FLAG_FLAGGED = 4,
	STORE_FLAG_DELETED = 8,
	STORE_FLAG_DRAFT = 16,
	STORE_FLAG_PASSED = 32,
};

enum store_select_mode {
	STORE_SELECT_SHARED, /* with others; may change flags and expunge */
	STORE_SELECT_READ_ONLY,
	STORE_SELECT_EXCLUSIVE, /* POP3's maildrop lock (RFC 1939 section 4): alone among exclusive ones */
};

enum store_update_kind {
	STORE_UPDATE_FLAGS_ADD,
	STORE_UPDATE_FLAGS_REMOVE,
	STORE_UPDATE_FLAGS_SET,
	STORE_UPDATE_EXPUNGE, /* flags and keywords are not looked at */
};

enum store_aliases_mode {
	STORE_ALIASES_ADD,  /* members join those that an alias has */
	STORE_ALIASES_SET,  /* each alias becomes what is given */
	STORE_ALIASES_FILE, /* and what an earlier file brought and this one does not is gone */
};

/*
 * A listing is a sealed memory file: this header, then `count` entries by ascending UID. Both sides map
 * it; the reader checks the file's size against count before it looks at an entry.
 */
struct store_listing_entry {
	uint32_t uid;
	uint32_t flags;
	uint64_t keywords; /* bit i: the i-th name of the SELECT reply */
	uint64_t size;     /* octets in the file */
	uint64_t wire;     /* octets with CRLF line ends: what RETR and RFC822.SIZE mean */
	int64_t received;  /* internal date, seconds since 1970 */
	uint64_t modseq;
};

struct store_listing {
	uint64_t count;
	struct store_listing_entry entry[];
};

/* clang-format off */
/* ---- fields of requests; a reply's first field is always its failure ---- */

/*
 * Who gets mail for this canonical address (mail/address.h), or for "postmaster"? size: octets as announced,
 * or 0; quota counts. Aliases, lists, subaddresses and catch-alls are resolved; at most
 * STORE_RECIPIENTS_LIMIT `targets`, each mailbox once.
 *
 * lasting 1: the answer holds until DIRECTORY says otherwise; else it is for this once. alias: the first one
 * on the way, "" when there is none. Failures: STORE_REFUSED (not a domain of this host),
 * STORE_NO_SUCH_USER, STORE_OVER_QUOTA (`user`), STORE_TOO_LARGE (more targets than that),
 * STORE_INVALID (aliases that lead in a circle).
 */
#define STORE_LOOKUP_FIELDS(F) F(text, address, STORE_ADDRESS_LIMIT) F(u64, size, 0)
#define STORE_LOOKUP_REPLY_FIELDS(F) \
	F(u8, failure, 0) F(u8, lasting, 1) F(text, user, STORE_ADDRESS_LIMIT) \
	F(text, alias, STORE_ADDRESS_LIMIT) F(text, targets, STORE_RECIPIENTS_LIMIT * 960)
/* owner: of the list by which it is reached, who gets the errors; "": by none. */
#define STORE_TARGET_FIELDS(F) \
	F(text, user, STORE_ADDRESS_LIMIT) F(text, mailbox, STORE_MAILBOX_LIMIT) \
	F(text, owner, STORE_ADDRESS_LIMIT)

/*
 * A file to write a large body into, already where it will stay. The descriptor comes with the reply; it
 * must be closed before the DELIVER that names it. Dropped with the connection or by naming it in a
 * DELIVER.
 */
#define STORE_SPOOL_FIELDS(F) F(u64, size_hint, 0)
#define STORE_SPOOL_REPLY_FIELDS(F) F(u8, failure, 0) F(u32, spool, 0)

/*
 * One recipient of a delivery; `recipients` of DELIVER is a run of these. once: "" or the key under which
 * this acceptance counts only once for the user; of once_seconds' age the key counts no more (0: it
 * counts for ever). group: those of one number, who stand together, get the message all or none.
 */
#define STORE_RECIPIENT_FIELDS(F) \
	F(text, user, STORE_ADDRESS_LIMIT) F(text, mailbox, STORE_MAILBOX_LIMIT) F(u32, flags, 0) \
	F(text, keywords, STORE_KEYWORDS_LIMIT) F(text, once, STORE_ONCE_LIMIT) F(u32, once_seconds, 0) \
	F(u32, group, 0)

/*
 * One transaction, durable when answered. spool 0: the message is in body, LF line ends, trace fields and
 * all. once: the key of recipients who have none of their own.
 *
 * When there are several groups, one whose users are gone or full is left out and the others go on; any
 * other failure is one for all. The reply's failure is STORE_OK as soon as one group went well. verdicts:
 * an octet for each recipient, in order (enum store_failure; STORE_ALREADY_EXISTS: its key had counted
 * before); empty: the failure holds for all. uids: u32 each, 0 where nothing was stored. file: the part
 * of the names that the message's files have in common.
 *
 * A peer that breaks off before DELIVER leaves nothing behind: what it wrote to a spool file goes with
 * the connection, and what it still held was never here.
 */
#define STORE_DELIVER_FIELDS(F) \
	F(text, id, 20) F(text, once, STORE_ONCE_LIMIT) F(i64, received, 0) F(u32, spool, 0) \
	F(text, recipients, STORE_DELIVER_RECIPIENTS_LIMIT) F(text, body, STORE_INLINE_LIMIT)
#define STORE_DELIVER_REPLY_FIELDS(F) \
	F(u8, failure, 0) F(text, user, STORE_ADDRESS_LIMIT) F(text, verdicts, STORE_RECIPIENTS_LIMIT) \
	F(text, uids, STORE_RECIPIENTS_LIMIT * 4) F(text, file, 255)

/*
 * Which of these once-keys (a run of STORE_ONCE_KEY) count for the user: `times` is a run of i64, one a
 * key, of when the delivery was accepted, -1 for a key that does not count. Answered when what it says
 * is durable.
 */
#define STORE_ONCE_FIELDS(F) F(text, user, STORE_ADDRESS_LIMIT) F(text, keys, STORE_ONCE_KEYS * 260)
#define STORE_ONCE_KEY_FIELDS(F) F(text, key, STORE_ONCE_LIMIT)
#define STORE_ONCE_REPLY_FIELDS(F) F(u8, failure, 0) F(text, times, STORE_ONCE_KEYS * 8)

/*
 * peer: the client's address, for limits and the log. spacing: seconds that have to lie between two logins of
 * the user that ask for it; too soon is STORE_REFUSED (LOGIN-DELAY of RFC 2449). The reply names the user
 * canonically.
 */
#define STORE_LOGIN_FIELDS(F) \
	F(text, user, STORE_ADDRESS_LIMIT) F(text, password, STORE_PASSWORD_LIMIT) F(text, peer, 64) \
	F(u32, spacing, 0)
#define STORE_LOGIN_REPLY_FIELDS(F) F(u8, failure, 0) F(text, user, STORE_ADDRESS_LIMIT)

/*
 * SASL (see store/sasl.h for how a front end uses it): several exchanges may be under way on one connection,
 * each with a number of the store's. begins 1: `initial` is the client's initial response. A reply with
 * done 0 holds a challenge; with done 1 the exchange is over, and on success the reply is LOGIN's.
 */
#define STORE_SASL_START_FIELDS(F) \
	F(text, mechanism, 32) F(text, binding_type, 16) F(text, binding, 64) F(text, peer, 64) \
	F(u32, spacing, 0) F(u8, begins, 1) F(text, initial, STORE_SASL_LIMIT)
#define STORE_SASL_START_REPLY_FIELDS(F) \
	F(u8, failure, 0) F(u32, exchange, 0) F(u8, done, 1) F(text, challenge, STORE_SASL_LIMIT) \
	F(text, user, STORE_ADDRESS_LIMIT)
/* cancel 1: the client gave up; answered STORE_REFUSED. */
#define STORE_SASL_STEP_FIELDS(F) \
	F(u32, exchange, 0) F(u8, cancel, 1) F(text, response, STORE_SASL_LIMIT)
#define STORE_SASL_STEP_REPLY_FIELDS(F) STORE_SASL_START_REPLY_FIELDS(F)

/* May the user, who logged in at smtp-in, send as this address? STORE_REFUSED: no. */
#define STORE_OWNS_FIELDS(F) F(text, user, STORE_ADDRESS_LIMIT) F(text, address, STORE_ADDRESS_LIMIT)
#define STORE_OWNS_REPLY_FIELDS(F) F(u8, failure, 0)

#define STORE_MAILBOXES_FIELDS(F) F(u32, options, 0)
/* `mailboxes` is a run of STORE_MAILBOX. */
#define STORE_MAILBOXES_REPLY_FIELDS(F) F(u8, failure, 0) F(text, mailboxes, 4 << 20)
#define STORE_MAILBOX_FIELDS(F) \
	F(text, name, STORE_MAILBOX_LIMIT) F(u32, uidvalidity, 0) F(u32, uidnext, 0) F(u32, messages, 0) \
	F(u32, unseen, 0) F(u64, octets, 0) F(u64, modseq, 0)

#define STORE_CREATE_FIELDS(F) F(text, mailbox, STORE_MAILBOX_LIMIT)
#define STORE_CREATE_REPLY_FIELDS(F) F(u8, failure, 0) F(u32, uidvalidity, 0)

/*
 * RFC 9051 section 6.3.6: the mailboxes below it go along; INBOX gives its messages to a new mailbox and
 * stays, as do those below it; they go one after the other, and when that fails some may have gone. Who has
 * one of them selected goes on with it.
 */
#define STORE_RENAME_FIELDS(F) F(text, mailbox, STORE_MAILBOX_LIMIT) F(text, to, STORE_MAILBOX_LIMIT)
#define STORE_RENAME_REPLY_FIELDS(F) F(u8, failure, 0)

/*
 * RFC 9051 section 6.3.5: the messages go, the mailboxes below it stay. STORE_REFUSED for INBOX. Who has it
 * selected is told so by CHANGED with uidnext 0, and then gets STORE_NO_SUCH_MAILBOX.
 */
#define STORE_DELETE_FIELDS(F) F(text, mailbox, STORE_MAILBOX_LIMIT)
#define STORE_DELETE_REPLY_FIELDS(F) F(u8, failure, 0)

/*
 * Messages of the selected mailbox get a second place, or another one (RFC 6851), in `mailbox` with flags,
 * keywords and date, durable when answered. All are copied or none; of a move that fails (RFC 6851 section
 * 3.3), the reply tells what has moved. UIDs that are gone are passed over. The reply pairs the UIDs (RFC
 * 4315 section 3): the i-th of `from` is the i-th of `to` there.
 */
#define STORE_COPY_FIELDS(F) \
	F(text, mailbox, STORE_MAILBOX_LIMIT) F(text, uids, STORE_COPY_UIDS_LIMIT)
#define STORE_COPY_REPLY_FIELDS(F) \
	F(u8, failure, 0) F(u32, uidvalidity, 0) F(text, from, STORE_COPY_UIDS_LIMIT) \
	F(text, to, STORE_COPY_UIDS_LIMIT)
#define STORE_MOVE_FIELDS(F) STORE_COPY_FIELDS(F)
#define STORE_MOVE_REPLY_FIELDS(F) STORE_COPY_REPLY_FIELDS(F)

/* Names need not be those of mailboxes, and stay when a mailbox goes (RFC 9051 section 6.3.7). */
#define STORE_SUBSCRIBE_FIELDS(F) F(text, mailbox, STORE_MAILBOX_LIMIT) F(u8, on, 1)
#define STORE_SUBSCRIBE_REPLY_FIELDS(F) F(u8, failure, 0)
/* names: one a line, in order. */
#define STORE_SUBSCRIPTIONS_FIELDS(F) F(u32, options, 0)
#define STORE_SUBSCRIPTIONS_REPLY_FIELDS(F) \
	F(u8, failure, 0) F(text, names, STORE_SUBSCRIPTIONS_LIMIT)

/* The descriptor of the listing comes with the reply. octets: the sum of `wire`. */
#define STORE_SELECT_FIELDS(F) F(text, mailbox, STORE_MAILBOX_LIMIT) F(u8, mode, 0)
#define STORE_SELECT_REPLY_FIELDS(F) \
	F(u8, failure, 0) F(u32, uidvalidity, 0) F(u32, uidnext, 0) F(u32, messages, 0) F(u64, octets, 0) \
	F(u64, modseq, 0) F(text, keywords, STORE_KEYWORDS_LIMIT)

/* Leave the mailbox (and its lock); nothing is expunged. */
#define STORE_UNSELECT_FIELDS(F) F(u32, options, 0)
#define STORE_UNSELECT_REPLY_FIELDS(F) F(u8, failure, 0)

/* One reply a UID, in the order asked, `last` set in the final one; each with the message's descriptor. */
#define STORE_FETCH_FIELDS(F) F(text, uids, STORE_FETCH_LIMIT * 4)
#define STORE_FETCH_REPLY_FIELDS(F) F(u8, failure, 0) F(u8, last, 0) F(u32, uid, 0) F(u64, size, 0)

/*
 * Durable when answered. UIDs that are gone are passed over. Many messages are altered in several
 * transactions, by ascending UID: on failure the first ones may have been, and `changed` counts these.
 */
#define STORE_UPDATE_FIELDS(F) \
	F(u8, kind, 0) F(u32, flags, 0) F(text, keywords, STORE_KEYWORDS_LIMIT) \
	F(text, uids, STORE_UIDS_LIMIT)
#define STORE_UPDATE_REPLY_FIELDS(F) F(u8, failure, 0) F(u32, changed, 0) F(u64, modseq, 0)

/* From now on (or no more) a CHANGED notice when the selected mailbox changes. */
#define STORE_WATCH_FIELDS(F) F(u8, on, 0)
#define STORE_WATCH_REPLY_FIELDS(F) F(u8, failure, 0)

/*
 * What changed after that modseq: a listing of new and altered messages comes with the reply. complete 0:
 * expunges that far back are no longer known; compare UIDs with a fresh listing instead.
 */
#define STORE_CHANGES_FIELDS(F) F(u64, since, 0)
#define STORE_CHANGES_REPLY_FIELDS(F) \
	F(u8, failure, 0) F(u8, complete, 0) F(u64, modseq, 0) F(text, vanished, STORE_UIDS_LIMIT)

/* hashed 1: password is a crypt(3) hash (yescrypt, bcrypt, sha512-crypt) taken as it is. */
#define STORE_USER_ADD_FIELDS(F) \
	F(text, address, STORE_ADDRESS_LIMIT) F(text, password, STORE_PASSWORD_LIMIT) F(u8, hashed, 0)
#define STORE_USER_ADD_REPLY_FIELDS(F) F(u8, failure, 0)
#define STORE_USER_PASSWORD_FIELDS(F) STORE_USER_ADD_FIELDS(F)
#define STORE_USER_PASSWORD_REPLY_FIELDS(F) F(u8, failure, 0)
/* 0: the default; STORE_QUOTA_NONE: no limit. */
#define STORE_USER_QUOTA_FIELDS(F) \
	F(text, address, STORE_ADDRESS_LIMIT) F(u64, octets, 0) F(u64, messages, 0)
#define STORE_USER_QUOTA_REPLY_FIELDS(F) F(u8, failure, 0)
/* The account goes; its Maildir is moved aside, not deleted. */
#define STORE_USER_REMOVE_FIELDS(F) F(text, address, STORE_ADDRESS_LIMIT)
#define STORE_USER_REMOVE_REPLY_FIELDS(F) F(u8, failure, 0)
/* In order of address, after `from`, as many as fit; `more` when there are others. */
#define STORE_USERS_FIELDS(F) F(text, from, STORE_ADDRESS_LIMIT)
#define STORE_USERS_REPLY_FIELDS(F) F(u8, failure, 0) F(u8, more, 0) F(text, users, 1 << 20)
/* Quotas as they hold, defaults included; 0 or STORE_QUOTA_NONE: no limit. */
#define STORE_USER_FIELDS(F) \
	F(text, address, STORE_ADDRESS_LIMIT) F(u32, messages, 0) F(u64, octets, 0) \
	F(u64, quota_octets, 0) F(u64, quota_messages, 0)

/*
 * Aliases. An address is local@domain as people write it, or "@domain": whoever is not there (catch-all).
 * owner: "", or the alias is a list and errors go to that address. Members are addresses of this host, as a
 * run of STORE_MEMBER; a member that is the alias itself is the user of that name.
 */
#define STORE_ALIAS_FIELDS(F) \
	F(text, address, STORE_ADDRESS_LIMIT) F(text, owner, STORE_ADDRESS_LIMIT) F(u8, from_file, 1) \
	F(text, members, STORE_MEMBERS_LIMIT * (STORE_ADDRESS_LIMIT + 8))
/* missing 1 (in replies): nobody is there at the moment. */
#define STORE_MEMBER_FIELDS(F) F(text, address, STORE_ADDRESS_LIMIT) F(u8, missing, 1)
/*
 * A run of STORE_ALIAS: all of them or none. `sentence` of these replies says what is wrong, or, with
 * STORE_OK, what the admin may not have meant. STORE_REFUSED: a domain that is not ours;
 * STORE_NO_SUCH_USER: a member whom nobody knows (STORE_ALIASES_ADD only); STORE_INVALID: no address, no
 * member, too many, or a circle.
 */
#define STORE_ALIASES_PUT_FIELDS(F) F(u8, mode, 2) F(text, aliases, STORE_ALIASES_LIMIT)
#define STORE_ALIASES_PUT_REPLY_FIELDS(F) \
	F(u8, failure, 0) F(text, sentence, STORE_SENTENCE_LIMIT) F(u32, changed, 0)
/* Without members the whole alias goes, with members these. STORE_NO_SUCH_USER: no such alias or member. */
#define STORE_ALIAS_REMOVE_FIELDS(F) \
	F(text, address, STORE_ADDRESS_LIMIT) \
	F(text, members, STORE_MEMBERS_LIMIT * (STORE_ADDRESS_LIMIT + 8))
#define STORE_ALIAS_REMOVE_REPLY_FIELDS(F) STORE_ALIASES_PUT_REPLY_FIELDS(F)
/* In order of address, after `from`, as many as fit; `more` when there are others. */
#define STORE_ALIASES_FIELDS(F) F(text, from, STORE_ADDRESS_LIMIT)
#define STORE_ALIASES_REPLY_FIELDS(F) F(u8, failure, 0) F(u8, more, 0) F(text, aliases, 2 << 20)

/* Domains beside those in the settings. STORE_REFUSED: that one stands in the settings. */
#define STORE_DOMAIN_ADD_FIELDS(F) F(text, domain, STORE_ADDRESS_LIMIT)
#define STORE_DOMAIN_ADD_REPLY_FIELDS(F) STORE_ALIASES_PUT_REPLY_FIELDS(F)
#define STORE_DOMAIN_REMOVE_FIELDS(F) F(text, domain, STORE_ADDRESS_LIMIT)
#define STORE_DOMAIN_REMOVE_REPLY_FIELDS(F) STORE_ALIASES_PUT_REPLY_FIELDS(F)
#define STORE_DOMAINS_FIELDS(F) F(text, from, STORE_ADDRESS_LIMIT)
#define STORE_DOMAINS_REPLY_FIELDS(F) F(u8, failure, 0) F(u8, more, 0) F(text, domains, 1 << 20)
#define STORE_DOMAIN_FIELDS(F) \
	F(text, domain, STORE_ADDRESS_LIMIT) F(u8, in_settings, 1) F(u32, users, 0) F(u32, aliases, 0)

/*
 * Piece by piece: begin with an empty mailbox and from 0, go on with what the reply says until its
 * mailbox is empty. findings: lines of text.
 */
#define STORE_VERIFY_FIELDS(F) \
	F(text, user, STORE_ADDRESS_LIMIT) F(text, mailbox, STORE_MAILBOX_LIMIT) F(u32, from, 0)
#define STORE_VERIFY_REPLY_FIELDS(F) \
	F(u8, failure, 0) F(text, mailbox, STORE_MAILBOX_LIMIT) F(u32, from, 0) F(u32, messages, 0) \
	F(text, findings, 1 << 20)
/* The index is thrown away and made anew by a store that starts again: the connection ends. really: 1. */
#define STORE_REBUILD_FIELDS(F) F(u8, really, 1)
#define STORE_REBUILD_REPLY_FIELDS(F) F(u8, failure, 0)
/*
 * Taking over what another server made (store/import.h). folder: as Maildir++ names it, "" for INBOX.
 * IMPORT_MAILBOX gives the next UID and those there are (u32 little-endian): messages with other UIDs from
 * the next one on may follow, by ascending UID.
 */
#define STORE_IMPORT_BEGIN_FIELDS(F) F(text, user, STORE_ADDRESS_LIMIT)
/* resumed 1: one that was begun earlier has not been finished. */
#define STORE_IMPORT_BEGIN_REPLY_FIELDS(F) F(u8, failure, 0) F(u8, resumed, 1)
#define STORE_IMPORT_MAILBOX_FIELDS(F) \
	F(text, user, STORE_ADDRESS_LIMIT) F(text, folder, STORE_MAILBOX_LIMIT) F(u32, uidvalidity, 0) \
	F(u32, uidnext, 0)
#define STORE_IMPORT_MAILBOX_REPLY_FIELDS(F) \
	F(u8, failure, 0) F(u32, uidnext, 0) F(text, uids, STORE_UIDS_LIMIT)
#define STORE_IMPORT_MESSAGE_FIELDS(F) \
	F(text, user, STORE_ADDRESS_LIMIT) F(text, folder, STORE_MAILBOX_LIMIT) F(u32, uid, 0) \
	F(u32, flags, 0) F(text, keywords, STORE_KEYWORDS_LIMIT) F(i64, received, 0) F(u32, spool, 0) \
	F(text, body, STORE_INLINE_LIMIT)
#define STORE_IMPORT_MESSAGE_REPLY_FIELDS(F) F(u8, failure, 0)
/* subscriptions: folders, one a line, each with the line's end. */
#define STORE_IMPORT_END_FIELDS(F) \
	F(text, user, STORE_ADDRESS_LIMIT) F(text, subscriptions, STORE_SUBSCRIPTIONS_LIMIT)
#define STORE_IMPORT_END_REPLY_FIELDS(F) F(u8, failure, 0)

/* "name=number\n" each. */
#define STORE_STATS_FIELDS(F) F(u32, options, 0)
#define STORE_STATS_REPLY_FIELDS(F) F(u8, failure, 0) F(text, counters, 1 << 16)

/* Notices. uidnext 0: the mailbox was deleted. */
#define STORE_CHANGED_FIELDS(F) F(u32, uidnext, 0) F(u32, messages, 0) F(u64, modseq, 0)
/* To mda connections: what LOOKUP said before may no longer hold. */
#define STORE_DIRECTORY_FIELDS(F) F(u64, version, 0)

/* ---- the table: REQUEST(name, NAME, who, needs) and NOTICE(name, NAME, to whom) ---- */

#define STORE_REQUESTS(REQUEST) \
	REQUEST(lookup, LOOKUP, STORE_BY_MDA | STORE_BY_ADMIN, STORE_NEEDS_NOTHING) \
	REQUEST(spool, SPOOL, STORE_BY_MDA | STORE_BY_ADMIN, STORE_NEEDS_NOTHING) \
	REQUEST(deliver, DELIVER, STORE_BY_MDA, STORE_NEEDS_NOTHING) \
	REQUEST(login, LOGIN, STORE_BY_LOGIN, STORE_NEEDS_NOTHING) \
	REQUEST(mailboxes, MAILBOXES, STORE_BY_USER, STORE_NEEDS_LOGIN) \
	REQUEST(create, CREATE, STORE_BY_IMAPD, STORE_NEEDS_LOGIN) \
	REQUEST(select, SELECT, STORE_BY_USER, STORE_NEEDS_LOGIN) \
	REQUEST(unselect, UNSELECT, STORE_BY_USER, STORE_NEEDS_MAILBOX) \
	REQUEST(fetch, FETCH, STORE_BY_USER, STORE_NEEDS_MAILBOX) \
	REQUEST(update, UPDATE, STORE_BY_USER, STORE_NEEDS_MAILBOX) \
	REQUEST(watch, WATCH, STORE_BY_IMAPD, STORE_NEEDS_MAILBOX) \
	REQUEST(changes, CHANGES, STORE_BY_IMAPD, STORE_NEEDS_MAILBOX) \
	REQUEST(user_add, USER_ADD, STORE_BY_ADMIN, STORE_NEEDS_NOTHING) \
	REQUEST(user_password, USER_PASSWORD, STORE_BY_ADMIN, STORE_NEEDS_NOTHING) \
	REQUEST(user_quota, USER_QUOTA, STORE_BY_ADMIN, STORE_NEEDS_NOTHING) \
	REQUEST(user_remove, USER_REMOVE, STORE_BY_ADMIN, STORE_NEEDS_NOTHING) \
	REQUEST(users, USERS, STORE_BY_ADMIN, STORE_NEEDS_NOTHING) \
	REQUEST(verify, VERIFY, STORE_BY_ADMIN, STORE_NEEDS_NOTHING) \
	REQUEST(rebuild, REBUILD, STORE_BY_ADMIN, STORE_NEEDS_NOTHING) \
	REQUEST(stats, STATS, STORE_BY_ADMIN, STORE_NEEDS_NOTHING) \
	REQUEST(sasl_start, SASL_START, STORE_BY_LOGIN, STORE_NEEDS_NOTHING) \
	REQUEST(sasl_step, SASL_STEP, STORE_BY_LOGIN, STORE_NEEDS_NOTHING) \
	REQUEST(owns, OWNS, STORE_BY_SMTP_IN, STORE_NEEDS_NOTHING) \
	REQUEST(import_begin, IMPORT_BEGIN, STORE_BY_ADMIN, STORE_NEEDS_NOTHING) \
	REQUEST(import_mailbox, IMPORT_MAILBOX, STORE_BY_ADMIN, STORE_NEEDS_NOTHING) \
	REQUEST(import_message, IMPORT_MESSAGE, STORE_BY_ADMIN, STORE_NEEDS_NOTHING) \
	REQUEST(import_end, IMPORT_END, STORE_BY_ADMIN, STORE_NEEDS_NOTHING) \
	REQUEST(aliases_put, ALIASES_PUT, STORE_BY_ADMIN, STORE_NEEDS_NOTHING) \
	REQUEST(alias_remove, ALIAS_REMOVE, STORE_BY_ADMIN, STORE_NEEDS_NOTHING) \
	REQUEST(aliases, ALIASES, STORE_BY_ADMIN, STORE_NEEDS_NOTHING) \
	REQUEST(domain_add, DOMAIN_ADD, STORE_BY_ADMIN, STORE_NEEDS_NOTHING) \
	REQUEST(domain_remove, DOMAIN_REMOVE, STORE_BY_ADMIN, STORE_NEEDS_NOTHING) \
	REQUEST(domains, DOMAINS, STORE_BY_ADMIN, STORE_NEEDS_NOTHING) \
	REQUEST(rename, RENAME, STORE_BY_IMAPD, STORE_NEEDS_LOGIN) \
	REQUEST(delete, DELETE, STORE_BY_IMAPD, STORE_NEEDS_LOGIN) \
	REQUEST(copy, COPY, STORE_BY_IMAPD, STORE_NEEDS_MAILBOX) \
	REQUEST(move, MOVE, STORE_BY_IMAPD, STORE_NEEDS_MAILBOX) \
	REQUEST(subscribe, SUBSCRIBE, STORE_BY_IMAPD, STORE_NEEDS_LOGIN) \
	REQUEST(subscriptions, SUBSCRIPTIONS, STORE_BY_IMAPD, STORE_NEEDS_LOGIN) \
	REQUEST(once, ONCE, STORE_BY_MDA, STORE_NEEDS_NOTHING)

#define STORE_NOTICES(NOTICE) \
	NOTICE(changed, CHANGED, STORE_BY_IMAPD) \
	NOTICE(directory, DIRECTORY, STORE_BY_MDA)

#define STORE_TYPE_(name, NAME, who, ...) STORE_##NAME,
enum store_message {
	STORE_MESSAGE_NONE,
	STORE_REQUESTS(STORE_TYPE_)
	STORE_NOTICES(STORE_TYPE_)
	STORE_MESSAGES
};

#define STORE_DECLARE_(name, NAME, who, needs) \
	MESSAGE_DECLARE(store_##name, STORE_##NAME##_FIELDS) \
	MESSAGE_DECLARE(store_##name##_reply, STORE_##NAME##_REPLY_FIELDS)
#define STORE_DECLARE_NOTICE_(name, NAME, to) MESSAGE_DECLARE(store_##name, STORE_##NAME##_FIELDS)
STORE_REQUESTS(STORE_DECLARE_)
STORE_NOTICES(STORE_DECLARE_NOTICE_)
MESSAGE_DECLARE(store_recipient, STORE_RECIPIENT_FIELDS)
MESSAGE_DECLARE(store_once_key, STORE_ONCE_KEY_FIELDS)
MESSAGE_DECLARE(store_mailbox, STORE_MAILBOX_FIELDS)
MESSAGE_DECLARE(store_user, STORE_USER_FIELDS)
MESSAGE_DECLARE(store_target, STORE_TARGET_FIELDS)
MESSAGE_DECLARE(store_alias, STORE_ALIAS_FIELDS)
MESSAGE_DECLARE(store_member, STORE_MEMBER_FIELDS)
MESSAGE_DECLARE(store_domain, STORE_DOMAIN_FIELDS)

/* clang-format on */

/* "LOGIN", for logs. */
const char *store_message_name(enum store_message type);

#endif

/*
 * The engine of the store: Maildirs, the index over them and the journal in front of them, as seen by
 * the store's sessions. One main thread calls all of this; the engine's own threads stay inside.
 *
 * What changes something takes a `done` callback. It runs on the loop, exactly once, never inside the
 * call, and with STORE_OK only when the change is durable. By then it is in the Maildir, too, unless the
 * disk refuses that for the moment. Nothing that is not yet durable can be seen through any function of
 * this header.
 *
 *	engine_deliver(engine, &(struct engine_delivery){ … }, on_delivered, request);
 *	engine_select(engine, user, TEXT("INBOX"), STORE_SELECT_EXCLUSIVE, on_selected, session);
 *
 * Users are named by their canonical address (mail/address.h), mailboxes by their UTF-8 name with '/'
 * between the levels; "INBOX" in any case of letters is the first one, and every user has it.
 */
#ifndef STORE_ENGINE_H
#define STORE_ENGINE_H

#include <stdbool.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/text.h"
#include "store/protocol.h"

struct engine;
struct engine_view;
struct event_base;

struct engine_options {
	const char *hostname;    /* part of the file names, as Maildir wants it */
	uint64_t quota_octets;   /* of users without their own; 0: none */
	uint64_t quota_messages; /* 0: none */
	uint64_t message_octets; /* a larger one is STORE_TOO_LARGE; 0: no limit */
	uint64_t cache_octets;   /* of the index; 0: 32 MiB */
	uint64_t log_octets;     /* of one file of the log, 1 MiB or more; 0: as the disk allows */
	uint64_t checkpoint_octets;  /* of log between two checkpoints; 0: 32 MiB */
	unsigned checkpoint_seconds; /* 0: 60 */
	unsigned update_messages;    /* in one transaction of an update or a move; 0: 100 */
	unsigned once_days; /* without being asked for, and a once-key is forgotten; 0: never */
	/*
	 * The engine can no longer tell what is durable (a flush failed, the index is in panic). All that was
	 * pending has been answered STORE_NOT_DURABLE; from now on everything is answered STORE_BUSY. Send
	 * what is queued and exit non-zero: the next start recovers. NULL: the engine exits by itself.
	 */
	void (*broken)(void *owner);
	/*
	 * Users were added or removed, got a quota or have less room: what engine_lookup() said before may no
	 * longer hold. May be NULL.
	 */
	void (*directory)(void *owner, uint64_t version);
	void *owner;
};

/*
 * Open (or make) the store below directory, which holds mail/, spool/, env/ and users when this returns;
 * recover what a crash left, rebuild the index if there is none or it is beyond recovery. Blocks; logs
 * what it does. NULL after logging why (another process has the lock; no permission; no space).
 * options are copied; hostname, too.
 */
struct engine *engine_open(
	struct event_base *loop, const char *directory, const struct engine_options *options);

/*
 * Answer what is pending, take a checkpoint, close. Blocks. Views and spools are closed with it: their
 * pointers are dead afterwards.
 */
void engine_close(struct engine **engine);

/* Whether a change waits to become durable. */
bool engine_is_busy(const struct engine *engine);

/*
 * Throw the index away: it is built anew from the Maildirs at the next start, which this leads to
 * (engine_options.broken).
 */
void engine_rebuild(struct engine *engine);

/* Add "name=number\n" lines. */
void engine_count(const struct engine *engine, struct buf *out);

/* What a change gave. Texts are valid during the callback only. */
struct engine_result {
	enum store_failure failure;
	struct text user; /* deliver: whose mailbox it failed at first, or empty */
	struct text
		verdicts; /* deliver: enum store_failure, an octet each; empty: `failure` for all */
	const uint32_t *uids; /* deliver: as many; NULL: none */
	struct text file;     /* deliver: what the names of the message's files begin with */
	struct text sentence; /* directory.h: for the admin, or empty */
	struct text times;    /* once: a run of i64 */
	uint32_t changed;     /* update: messages altered or expunged; directory.h: aliases */
	uint64_t modseq;      /* update: of its last transaction */
	uint32_t uidvalidity; /* create, copy: of the mailbox made or copied to */
	const uint32_t *from; /* copy: UIDs there were, by ascending UID … */
	const uint32_t *to;   /* … and those they got, in the same order */
	size_t pairs;
	struct engine_view *view; /* select: the caller's to close; NULL when it failed */
};

typedef void engine_done(void *owner, const struct engine_result *result);

/*
 * The callbacks of this owner do not run any more; the changes go on. A view it would have been given
 * is closed.
 */
void engine_forget(struct engine *engine, const void *owner);

/* ---- users ---- */

struct engine_user {
	struct text address;
	const char *hash;      /* crypt(3) */
	const char *scram;     /* store/sasl.h's verifier; NULL: none */
	uint64_t quota_octets; /* 0: the default of the options */
	uint64_t quota_messages;
	uint32_t number; /* never given to another user */
};

/* From memory; valid until the control goes back to the loop. NULL: no such user. */
const struct engine_user *engine_user_find(const struct engine *engine, struct text address);

/* The first user after this address in octet order (start with an empty one), or NULL. */
const struct engine_user *engine_users_next(const struct engine *engine, struct text after);

/* STORE_ALREADY_EXISTS; STORE_INVALID for an address no directory can be made for. Makes INBOX, too. */
void engine_user_add(struct engine *engine, struct text address, const char *hash,
	engine_done *done, void *owner);

/* A new hash. STORE_NO_SUCH_USER. */
void engine_user_password(struct engine *engine, struct text address, const char *hash,
	engine_done *done, void *owner);

/*
 * A quota of the user's own: 0 is the default of the options, STORE_QUOTA_NONE is no limit whatever the
 * default. STORE_NO_SUCH_USER. Who has more already keeps it.
 */
void engine_user_quota(struct engine *engine, struct text address, uint64_t octets,
	uint64_t messages, engine_done *done, void *owner);

/* What holds for the user, defaults included; 0: no limit by default. */
void engine_user_limits(const struct engine *engine, const struct engine_user *user,
	uint64_t *octets, uint64_t *messages);

/* The account goes and its Maildir is moved to removed/. STORE_LOCKED while it is in use. */
void engine_user_remove(struct engine *engine, struct text address, engine_done *done, void *owner);

/* What the user has, all mailboxes together. octets as in the files. */
enum store_failure engine_usage(
	struct engine *engine, struct text user, uint32_t *messages, uint64_t *octets);

/*
 * May a message of so many octets (0: not known) be accepted for this user? STORE_OK, STORE_NO_SUCH_USER or
 * STORE_OVER_QUOTA. A user who was told to have room for it and has not later is announced by
 * engine_options.directory.
 */
enum store_failure engine_lookup(struct engine *engine, struct text user, uint64_t size);

/* Grows by every addition and removal of a user. */
uint64_t engine_directory_version(const struct engine *engine);

/* ---- delivery ---- */

struct engine_recipient {
	struct text user;
	struct text mailbox;   /* made if it is not there; empty: INBOX */
	uint32_t flags;        /* enum store_flag */
	struct text keywords;  /* blanks between */
	struct text once;      /* "": the delivery's */
	uint32_t once_seconds; /* that the key counts; 0: for ever */
	uint32_t group;        /* who stand together with the same number stand or fall together */
	uint32_t uid;          /* of an import: the UID to get; 0: the next one */
};

struct engine_delivery {
	struct text id;   /* for the log */
	struct text once; /* "", or: counts only once per recipient */
	int64_t received; /* seconds since 1970; 0: now */
	uint32_t spool;   /* 0: body holds the message */
	struct text body; /* LF line ends */
	const struct engine_recipient *recipients;
	size_t count;
	bool is_import; /* store/import.h: to a user who is closed for it, whatever the quota */
};

/*
 * One group of recipients: all or none. Several: a group whose users are gone or full is left out, and any
 * other failure is one for all. Nothing of the delivery is kept by pointer. The spool is gone in any
 * case.
 */
void engine_deliver(struct engine *engine, const struct engine_delivery *delivery,
	engine_done *done, void *owner);

/*
 * Which of these once-keys (as in STORE_ONCE) count for the user, answered when that is durable.
 * STORE_NO_SUCH_USER, STORE_INVALID (not a run of keys, or too many).
 */
void engine_once(
	struct engine *engine, struct text user, struct text keys, engine_done *done, void *owner);

/*
 * A file for a large body. *fd is the caller's: it goes to who writes, and every copy of it has to be
 * closed before the delivery, which otherwise is STORE_BUSY. STORE_NO_SPACE, STORE_BUSY (too many).
 */
enum store_failure engine_spool(
	struct engine *engine, uint64_t size_hint, int *fd, uint32_t *spool);
void engine_spool_drop(struct engine *engine, uint32_t spool);

/* ---- mailboxes ---- */

/* Once per mailbox in order of name, INBOX first. */
enum store_failure engine_mailboxes(struct engine *engine, struct text user,
	void (*each)(void *owner, const struct store_mailbox *mailbox), void *owner);

/* STORE_ALREADY_EXISTS, STORE_INVALID (name), STORE_NO_SUCH_USER. */
void engine_create(struct engine *engine, struct text user, struct text mailbox, engine_done *done,
	void *owner);

/*
 * The mailbox and those below it get other names; views of them stay. INBOX stays, and its messages go to
 * a new mailbox (RFC 9051 section 6.3.6), as if they were moved there: after a failure, or a crash, that
 * mailbox may have some and INBOX the others. STORE_NO_SUCH_MAILBOX; STORE_ALREADY_EXISTS for any of the new
 * names, also when another program has made a folder there; STORE_INVALID for a name that cannot be, or
 * one below the mailbox itself; STORE_LOCKED while a session has it exclusively.
 */
void engine_rename(struct engine *engine, struct text user, struct text mailbox, struct text to,
	engine_done *done, void *owner);

/*
 * The mailbox goes with its messages; those below it stay (RFC 9051 section 6.3.5). Views of it are told
 * (notice with uidnext 0), stay to be closed, and give STORE_NO_SUCH_MAILBOX. STORE_REFUSED for INBOX;
 * STORE_NO_SUCH_MAILBOX; STORE_LOCKED while a session has it exclusively.
 */
void engine_delete(struct engine *engine, struct text user, struct text mailbox, engine_done *done,
	void *owner);

/*
 * The name is put on the user's list of subscriptions, or taken off it; either may have been so before.
 * STORE_INVALID: not a name for a mailbox, or the list is full. The list is the text file
 * restante-subscriptions in the directory of INBOX, one name in UTF-8 a line.
 */
void engine_subscribe(struct engine *engine, struct text user, struct text mailbox, bool on,
	engine_done *done, void *owner);

/* Adds the names to the buffer, one a line, in order. */
enum store_failure engine_subscriptions(struct engine *engine, struct text user, struct buf *names);

/*
 * A session's view of a mailbox. Before it is given, what others did to the Maildir is adopted.
 * STORE_SELECT_EXCLUSIVE: STORE_LOCKED while there is another exclusive one; the lock goes with the view.
 */
void engine_select(struct engine *engine, struct text user, struct text mailbox,
	enum store_select_mode mode, engine_done *done, void *owner);

/* Changes under way are finished; their callbacks still run unless forgotten. */
void engine_view_close(struct engine_view **view);

struct engine_status {
	uint32_t uidvalidity;
	uint32_t uidnext;
	uint32_t messages;
	uint64_t octets; /* the sum of `wire` */
	uint64_t modseq;
	struct text keywords; /* blanks between; valid until the control goes back to the loop */
};

/*
 * A sealed memory file with a struct store_listing of the mailbox as it is now, and its status if
 * that is not NULL. *fd is the caller's to close.
 */
enum store_failure engine_view_listing(
	struct engine_view *view, int *fd, struct engine_status *status);

/* The message's file for reading; *fd is the caller's. STORE_NO_SUCH_MESSAGE. */
enum store_failure engine_view_fetch(
	struct engine_view *view, uint32_t uid, int *fd, uint64_t *size);

/*
 * By ascending UID, engine_options.update_messages of them in a transaction; what was altered before one of
 * these failed stays so, and result.changed counts it. An expunge that a crash interrupts is done by the next
 * start. UIDs that are gone are passed over; uids need not be sorted. STORE_REFUSED: read-only.
 */
void engine_view_update(struct engine_view *view, enum store_update_kind kind, uint32_t flags,
	struct text keywords, const uint32_t *uids, size_t count, engine_done *done, void *owner);

/*
 * The messages get a second place in the user's other mailbox, or the same one, or they move there, with
 * flags, keywords and dates. All are copied, or none, whatever happens: more than go in one transaction are
 * seen with the last of several, and have the next UIDs but some that are left out. They move by ascending
 * UID, as many in a transaction as are updated; what has moved before one of these failed stays so, and is
 * told in the result's pairs. UIDs that are gone are passed over; uids need not be sorted.
 * STORE_NO_SUCH_MAILBOX; STORE_BUSY: not now; STORE_OVER_QUOTA (a copy counts like a message);
 * STORE_INVALID: the mailbox has no room for the keywords; STORE_REFUSED: to move out of a view that is
 * read-only; STORE_NOT_DURABLE: one transaction more than is told may be found done.
 */
void engine_view_copy(struct engine_view *view, struct text to, bool move, const uint32_t *uids,
	size_t count, engine_done *done, void *owner);

struct engine_changes {
	int fd;          /* a listing of what is new or altered; the caller's */
	bool complete;   /* vanished is all there is to know */
	uint64_t modseq; /* the state this leads to */
};

/* What changed after that modseq. vanished: u32 little-endian UIDs are added to it. */
enum store_failure engine_view_changes(struct engine_view *view, uint64_t since,
	struct engine_changes *changes, struct buf *vanished);

/*
 * Call `changed` whenever the mailbox has changed, at most once per round of the loop. NULL: no more.
 * notice: as the protocol has it.
 */
void engine_view_watch(struct engine_view *view,
	void (*changed)(void *owner, const struct store_changed *notice), void *owner);

#endif

/*
 * The engine from inside: what its files share. Only they include it.
 *
 *	engine.c      open, close, the round at the end of each turn of the loop
 *	recovery.c    the index at a start
 *	users.c       users in memory, in the index and in the text file beside it
 *	directory*.c  domains and aliases, likewise; who is behind an address
 *	mailbox.c     accounts and mailboxes in memory
 *	change.c      one transaction's way: staged, flushed, carried out, answered
 *	effects.c     its carrying out: files
 *	checkpoint.c  the marker, the sync, Berkeley DB's checkpoint
 *	deliver*.c arrival.c spool.c update.c view.c scan.c create.c reshape.c transfer.c subscribe.c
 *	              what sessions ask for
 *	copy.c        copies and moves, as sessions ask for them
 *	expunging.c hidden.c   expunges and copies that a crash must not leave half done
 *	rebuild.c     an index from the Maildirs
 *	import.c      Maildirs that another server made
 *	space.c       room on the disk
 *
 * Two states of everything. What the index holds is `staged`: it may be ahead of the disk by the
 * transactions whose flush is under way. What sessions may see is `visible`, and follows when a
 * transaction is durable and its files are in place. Changes become visible in the order in which they
 * were committed.
 *
 * A mailbox is itself by its numbers, whatever its name: who holds one goes on with it when it is renamed.
 * Renames and deletions of one account are carried out one after the other, and nothing is made in an
 * account meanwhile (account.vacating): so a name in the index, in memory and on disk differ only by
 * what is under way. One that was deleted stays in memory until nobody holds it (engine.orphans).
 */
#ifndef STORE_ENGINE_PRIVATE_H
#define STORE_ENGINE_PRIVATE_H

#include <event2/event.h>
#include <sys/queue.h>

#include "base/arena.h"
#include "base/clock.h"
#include "base/mem.h"
#include "base/sys.h"
#include "store/engine.h"
#include "store/env.h"
#include "store/folder.h"
#include "store/index_codec.h"
#include "store/journal.h"
#include "store/maildir.h"
#include "store/trouble.h"
#include "store/worker.h"

enum {
	ENGINE_CEILING_BLOCK = 16384,  /* UIDs reserved at a time */
	ENGINE_DIRECTORIES = 256,      /* open at once */
	ENGINE_ACCOUNTS = 4096,        /* in memory at once, unless more are in use */
	ENGINE_EXPUNGED_LIMIT = 16384, /* expunges remembered per mailbox */
	ENGINE_SPOOLS = 256, /* not delivered yet; after so many deliveries a checkpoint is taken */
	ENGINE_IDLE_ROSTERS = 16 << 20, /* octets of rosters that nobody looks at */
	ENGINE_LISTINGS = 64,           /* kept for the next one who selects a mailbox */
	ENGINE_LISTING_WORTH = 1024,    /* messages from which on one is kept */
};

/* ---- mailboxes in memory ---- */

struct roster {
	TAILQ_ENTRY(roster) link; /* while idle, least recently left first */
	struct roster **owner;
	size_t idle; /* octets, as counted when it became idle; 0: it is looked at */
	struct store_listing_entry *entries; /* by ascending UID */
	size_t count, room;
	int listing; /* a sealed memory file of the entries as they are; -1: none is kept */
};

struct visible {
	uint32_t uidnext, messages, unseen;
	uint64_t octets, wire, modseq;
};

struct mailbox {
	struct account *account;
	struct index_mailbox_id id;
	char *name;      /* visible */
	char *directory; /* staged: what records and effects to come are about */
	char *place;     /* where the directory is now */
	/* Staged. Its texts are in the next two. */
	struct index_mailbox row;
	char *row_name;
	char *keywords;
	struct visible visible;
	struct roster *roster; /* visible state of the messages; NULL: not read */
	unsigned altering;     /* changes under way that alter or remove messages */
	unsigned pins;         /* changes, views and tasks that hold it */
	unsigned exclusive;    /* views that are (0 or 1), and the select that will make one */
	LIST_HEAD(, engine_view) views;
	STAILQ_ENTRY(mailbox) changed_link; /* watchers have not been told yet */
	bool changed;
	bool leaving; /* its deletion is under way */
	bool gone;    /* it is deleted, and an orphan */
	LIST_ENTRY(mailbox) orphan_link;
	uint64_t copied; /* staged_count of the last copy made from it */
	/* In tmp/, to be unlinked: u64 shown_count that a checkpoint has to cover before, text leaf. */
	struct buf retired;
	LIST_ENTRY(mailbox) retired_link;
	uint64_t stamp; /* of the last delivery that looked at it */
	uint64_t waits; /* engine.tasks_pass in which a task has to wait */

	int fd; /* of the directory; -1: not open */
	TAILQ_ENTRY(mailbox) open_link;
	bool tidied;           /* leftovers in tmp/ are gone */
	struct hidden *hidden; /* copies that are being made here; NULL */

	/* Of row.new_seen and row.cur_seen; see scan.c. */
	bool presumed;
	int64_t scanned;                /* nanoseconds; 0: not yet */
	int64_t new_before, cur_before; /* while a group is being carried out */
	bool grouped;
	bool dirty; /* the row in the index lacks what new_seen and cur_seen say */
	STAILQ_ENTRY(mailbox) group_link;
};

struct account {
	struct user *user;
	struct mailbox **mailboxes; /* by name, INBOX first */
	size_t count;
	uint32_t messages; /* staged, all mailboxes */
	uint64_t octets;
	unsigned vacating; /* renames and deletions under way */
	unsigned orphans;
	struct buf subscriptions;  /* staged; what it was before is in the file */
	unsigned subscribing;      /* changes of it under way: else it is not looked at */
	TAILQ_ENTRY(account) link; /* least recently used first */
};

struct user {
	struct engine_user public;
	char *address;
	char *hash;            /* as the index has it: crypt(3)'s, perhaps a blank and a verifier */
	char *crypt;           /* the part before the blank */
	uint32_t next_mailbox; /* staged */
	bool hidden;           /* being added: not there for anybody yet */
	bool leaving;          /* being removed */
	bool importing;        /* closed; see store/import.h */
	uint64_t promised; /* octets for which engine_lookup() said that there is room; 0: none */
	uint64_t stamp;    /* of the last resolution that led to the INBOX */
	struct account *account; /* NULL: not in memory */
};

struct engine_view {
	struct engine *engine;
	struct mailbox *mailbox;
	enum store_select_mode mode;
	void (*changed)(void *owner, const struct store_changed *notice);
	void *owner;
	bool untold; /* a notice is on its way */
	LIST_ENTRY(engine_view) link;
};

/* ---- changes ---- */

enum effect_kind {
	EFFECT_PLACE,    /* from -> to within the mailbox */
	EFFECT_LINK,     /* from, relative to the store's directory -> to */
	EFFECT_REMOVE,   /* from */
	EFFECT_FILE,     /* directories and the text file `from`; to: its octets */
	EFFECT_ASIDE,    /* the directory from -> to, both relative to the store's directory */
	EFFECT_RENAME,   /* the same, of the mailbox itself */
	EFFECT_TRANSFER, /* from in source -> to in the mailbox */
};

struct effect {
	enum effect_kind kind;
	struct mailbox *mailbox; /* NULL for EFFECT_ASIDE */
	struct mailbox *source;  /* of EFFECT_TRANSFER */
	const char *from, *to;
};

enum touch_kind { TOUCH_ADD, TOUCH_ALTER, TOUCH_REMOVE };

/* What a change does to what sessions see of one mailbox. */
struct touch {
	struct mailbox *mailbox;
	enum touch_kind kind;
	struct visible after;
	struct store_listing_entry *entries; /* by ascending UID; TOUCH_REMOVE looks at uid only */
	size_t count;
};

struct change {
	STAILQ_ENTRY(change) link;
	struct engine *engine;
	struct arena *arena; /* everything below points into it */
	engine_done *done;   /* NULL: nobody wants to know any more */
	void *owner;
	struct engine_result result;
	struct effect *effects;
	size_t effect_count, effect_room;
	struct touch *touches;
	size_t touch_count, touch_room;
	uint32_t spool;   /* to be let go after the next checkpoint; 0: none */
	struct text once; /* lines (once_keys.h) */
	/* More to do now that the change is visible. True: it answers later. May be NULL. */
	bool (*settled)(struct change *change);
	void *context;
};

STAILQ_HEAD(change_list, change);

struct spool {
	uint32_t number;
	char name[JOURNAL_SPOOL_LIMIT + 1];
	bool claimed; /* a delivery is under way or done */
	/* Of the durable delivery that names it: stays until a checkpoint covers that. 0: none. */
	uint64_t shown;
	TAILQ_ENTRY(spool) link;
};

struct late;
struct task;
struct arrival;
struct directory;
struct garbage;

/* What lies in the directories of a large mailbox, as a thread reads it; see scan.c. */
struct scan_aside {
	struct engine *engine;
	struct index_mailbox_id id;
	uint64_t modseq; /* of the mailbox when it began */
	int64_t began, new_time, cur_time;
	int fd;
	struct names *names;
	unsigned tries;
};

struct engine {
	struct event_base *loop;
	struct engine_options options;
	char *hostname;
	int lock, root, spool_directory;
	struct env *env;
	bool broken, told, closing;
	bool renewed; /* broken because somebody wants another index */
	struct troubles troubles;
	struct event *round;

	struct worker *flusher, *checkpointer, *chores, *preparer, *reader;
	struct scan_aside aside;
	struct change_list staged;   /* committed; the next flush covers them */
	struct change_list flushing; /* the flush under way covers them */
	struct change_list showing;  /* durable; being carried out and answered */
	struct change_list ready;    /* only to be answered */
	struct change_list answering;
	size_t gathered;     /* changes in staged */
	size_t to_show;      /* and in showing */
	int64_t flush_took;  /* the last one, in nanoseconds; 0: there was none */
	int64_t rests_since; /* clock_nanoseconds() after the last group was answered */
	uint64_t staged_count,
		shown_count; /* since the start: every staged change is shown some day */
	struct change *spares;
	unsigned spare_count;
	struct {
		struct buf pending; /* lines of what is durable, for the next checkpoint */
		struct buf writing; /* by the one under way */
		struct buf place;   /* where the look for expired ones goes on */
		bool whole;         /* the file ends with a whole line */
		struct event *timer;
	} once;
	STAILQ_HEAD(, late) late; /* effects that the disk refused so far */
	struct event *late_timer;

	struct {
		struct event *timer;
		struct env_txn *marker;
		uint64_t
			await; /* shown_count from which on everything before the marker is in place */
		uint64_t covered; /* shown_count that the last complete one covers */
		uint64_t logged;  /* env_logged() at the last one */
		uint64_t spools;  /* engine.spools_shown, likewise */
		uint64_t count;
	} checkpoint;

	struct user **users; /* by address */
	size_t user_count, user_room;
	struct index_counters counters;
	uint64_t directory_version;
	struct buf users_text; /* what the chore is writing */
	bool users_behind;     /* it could not be written: the file is older than the index */
	struct change_list users_waiting, users_writing;
	struct directory *directory;
	STAILQ_HEAD(, garbage) garbage;
	LIST_HEAD(, mailbox) orphans;
	LIST_HEAD(, mailbox) retired; /* those that have retired messages */
	struct event *garbage_timer;
	TAILQ_HEAD(, account) accounts;
	size_t account_count;
	TAILQ_HEAD(, mailbox) directories; /* open ones, least recently used first */
	size_t directory_count, directory_limit;

	TAILQ_HEAD(, roster) idle_rosters;
	size_t idle_octets;
	unsigned listings;
	STAILQ_HEAD(, task) tasks;
	STAILQ_HEAD(, mailbox) changed;
	uint64_t tasks_pass;
	TAILQ_HEAD(, spool) spools;
	size_t spool_count;    /* without those that only wait for a checkpoint */
	uint64_t spools_shown; /* since the start */
	uint32_t last_spool;
	uint64_t last_unique, last_stamp;
	int64_t space_checked; /* milliseconds, monotonic */
	bool space_low;
	uint64_t disk_octets; /* what the file system has in all */
	bool has_reserve, reserve_tried;

	struct buf record, value, run; /* scratch */
	struct worker *spooler;
	STAILQ_HEAD(, arrival)
	arrivals; /* large deliveries whose bodies are being synced, one at a time */
	struct {
		uint64_t deliveries, messages, octets, flushes, adopted, read_aside;
	} counted;
};

/* engine.c */
int64_t engine_now(void); /* nanoseconds since 1970 */
/*
 * Microseconds since 1970, to count on from: an index that is rebuilt later starts higher than any modseq
 * that was given, unless a mailbox changes a million times a second.
 */
uint64_t engine_first_modseq(void);
void engine_round_soon(struct engine *engine);
/* The engine cannot go on; see engine_options.broken. */
void engine_break(struct engine *engine, const char *event, const char *detail);
/* The index is not as it must be: the next start rebuilds it. Gives STORE_DAMAGED. */
enum store_failure engine_damaged(struct engine *engine, const char *where);
/* An error of env.h's functions, logged where it is worth it. */
enum store_failure engine_env_failure(struct engine *engine, const char *where, int error);
enum store_failure engine_errno_failure(int error);
int engine_make_directory(int root, const char *name); /* 0 also when it is there; -1 with errno */

/* recovery.c */
/* The environment below home, recovered. An error of env.h, or 0. */
int engine_open_environment(struct engine *engine, const char *home, bool create);
/* The store's index, made anew where it has to be. The same. */
int recovery_open_index(struct engine *engine, const char *directory);
/* The next start makes it anew, and says why in this note. */
void recovery_distrust(struct engine *engine, const char *note);

/* space.c */
/* Before the index is opened: what was kept back for that goes when there is nothing else left. */
void space_begin(struct engine *engine);
/* Too little space is left for taking mail. */
bool engine_space_is_low(struct engine *engine);
/* One part in so many of the disk, but not less and not more than that. */
uint64_t space_part(const struct engine *engine, unsigned part, uint64_t least, uint64_t most);

/* users.c */
int users_load(struct engine *engine); /* from the index */
void users_free(struct engine *engine);
struct user *users_find(struct engine *engine, struct text address);          /* hidden ones, too */
struct user *users_with_number(const struct engine *engine, uint32_t number); /* likewise */
/* In memory only; the address is not taken. */
struct user *users_insert(struct engine *engine, struct text address, struct text hash);
void users_remove(struct engine *engine, struct user *user);
/*
 * hash: a new one, or user->hash to leave what the index has, which may be one that was put and is not
 * durable yet. The same holds for quotas.
 */
int users_put(
	struct engine *engine, struct env_txn *txn, const struct user *user, const char *hash);
/* As users_put(), with this quota and the hash left alone. */
int users_put_quota(struct engine *engine, struct env_txn *txn, const struct user *user,
	uint64_t octets, uint64_t messages);
int users_put_counters(struct engine *engine, struct env_txn *txn);
/* What engine_lookup() said before may no longer hold. */
void users_announce(struct engine *engine);
/* Write what changed into the text file, then answer this change. */
void users_save(struct engine *engine, struct change *change);
/* If that failed, try again. */
void users_catch_up(struct engine *engine);

/* users_file.c */
void users_print(const struct engine *engine, struct buf *out);
int users_parse(struct engine *engine, struct text octets); /* into memory. 0, or -1 */
int users_write_file(struct engine *engine);                /* blocks. 0, or -1 with errno */
/* 1: the users are in memory; 0: there is no such file; -1 with errno. */
int users_read_file(struct engine *engine);

void users_print_address(struct text address, struct buf *out);
int users_parse_address(struct text escaped, struct buf *address);

/* directory*.c: whatever is done to users as a whole is done to domains and aliases */
struct directory *directory_new(void);
void directory_free(struct engine *engine);
void directory_clear(struct engine *engine); /* what is in memory, options apart */
int directory_load(struct engine *engine);   /* from the index */
int directory_put_all(struct engine *engine, struct env_txn *txn);
void directory_print(const struct engine *engine, struct buf *out);
int directory_parse(struct engine *engine, struct text line); /* one line of the text file */
bool directory_takes(const struct engine *engine, struct text address);
void directory_forget(struct engine *engine, const void *owner);
void directory_give_up(struct engine *engine); /* before changes_give_up() */

/* garbage.c: rows of users and mailboxes that are gone, files of deleted mailboxes, retired messages */
int garbage_find(struct engine *engine); /* an error of env.h, or 0 */
int garbage_start(struct engine *engine);
/*
 * mailbox 0: all that the user had, which is rows only. directory: of the deleted mailbox; it goes when a
 * checkpoint covers that shown_count.
 */
void garbage_add(
	struct engine *engine, struct index_mailbox_id id, const char *directory, uint64_t shown);
/* The message of this leaf was retired (folder.h). */
void garbage_retired(struct engine *engine, struct mailbox *mailbox, const char *leaf);
void garbage_after_checkpoint(struct engine *engine);
void garbage_free(struct engine *engine);
/* Whether the rows of this user are being taken away. */
bool garbage_has_user(const struct engine *engine, uint32_t user);

/* mailbox.c */
/* Read from the index if need be. The account stays in memory at least until the next call. */
enum store_failure account_open(struct engine *engine, struct user *user, struct account **account);
/* STORE_NO_SUCH_USER also while the user is being added; STORE_BUSY while being removed or closed. */
enum store_failure account_of(struct engine *engine, struct text address, struct account **account);
/* The same for who may reach a user that is closed for an import, too. */
enum store_failure account_look(
	struct engine *engine, struct text address, struct account **account);
struct mailbox *account_find(struct account *account, struct text name);
struct mailbox *account_find_number(struct account *account, uint32_t number);
void account_drop(struct engine *engine, struct account *account);
void accounts_free(struct engine *engine);
struct mailbox *mailbox_new(struct account *account, struct index_mailbox_id id, struct text name,
	const char *directory);
void mailbox_add(struct account *account, struct mailbox *mailbox);
void mailbox_discard(
	struct engine *engine, struct mailbox *mailbox); /* one never added, or taken out */
void mailbox_set_name(
	struct mailbox *mailbox, struct text name); /* visible; its account is in order */
void mailbox_set_row_name(struct mailbox *mailbox, struct text name);
/* It is deleted: out of its account, in memory as long as somebody holds it. */
void mailbox_orphan(struct engine *engine, struct mailbox *mailbox);
void orphans_reap(struct engine *engine);
/* All of them, whoever holds them: at the end of the engine nobody uses them any more. */
void orphans_free(struct engine *engine);
/* Where it goes when it is deleted. On the heap. */
char *mailbox_deleted_path(struct text address, uint32_t mailbox);
/* Its directory; -1 with errno. */
int mailbox_directory(struct engine *engine, struct mailbox *mailbox);
void mailbox_close_directory(struct engine *engine, struct mailbox *mailbox);
void mailbox_set_keywords(struct mailbox *mailbox, struct text keywords);
void mailbox_show(struct mailbox *mailbox); /* visible := staged */
struct visible mailbox_staged(const struct mailbox *mailbox);
int mailbox_put(struct engine *engine, struct env_txn *txn, const struct mailbox *mailbox,
	const struct index_mailbox *row);
/* Keyword names to bits; what is new is added to *names. STORE_INVALID: not names, or too many. */
enum store_failure mailbox_keyword_bits(struct text wanted, struct buf *names, uint64_t *bits);
/* The bits that these keywords may have. */
uint64_t mailbox_keyword_mask(struct text names);
/* Nobody sees it yet. */
static inline bool mailbox_is_new(const struct mailbox *mailbox)
{
	return mailbox->visible.uidnext == 0;
}
/* "mail/DOMAIN/LOCAL/.Folder" on the heap, NULL when it cannot be. */
char *mailbox_path(struct text address, struct text name);
void mailbox_changed(struct engine *engine, struct mailbox *mailbox);

/* roster.c */
/* Into mailbox->roster, unless it is there. */
enum store_failure roster_read(struct engine *engine, struct mailbox *mailbox);
void roster_apply(struct engine *engine, struct roster *roster, const struct touch *touch);
/*
 * The listing of a mailbox that has not changed is made once: copying that of 100,000 messages takes longer
 * than the rest of a login. A descriptor of the caller's own, or -1: there is none.
 */
int roster_listing(const struct roster *roster);
/* Keep that one as well, if it is worth it. fd stays the caller's. */
void roster_keep_listing(struct engine *engine, struct roster *roster, int fd);
struct store_listing_entry *roster_find(const struct roster *roster, uint32_t uid);
/* Nobody looks at it any more: it stays up to date, and in memory while there is room. */
void roster_leave(struct engine *engine, struct mailbox *mailbox);
void roster_free(struct engine *engine, struct roster **roster);

/* change.c */
struct change *change_new(struct engine *engine, engine_done *done, void *owner);
struct effect *change_effect(struct change *change, enum effect_kind kind, struct mailbox *mailbox);
struct touch *change_touch(struct change *change, struct mailbox *mailbox, enum touch_kind kind);
/* Committed: it joins the group that the next flush covers. */
void change_stage(struct change *change);
/* Nothing was committed (or what was is clear again): answer from the loop. */
void change_ready(struct change *change, enum store_failure failure);
/* Only to be answered, but not before everything staged so far is durable. */
void change_follow(struct change *change);
void changes_start_flush(struct engine *engine);
/* The same; a lone change may be durable, visible and answered on return. */
void changes_flush(struct engine *engine);
void changes_answer_ready(struct engine *engine);
void changes_drain(struct engine *engine);
void changes_give_up(struct engine *engine);
void changes_free(struct engine *engine);
void changes_forget(struct engine *engine, const void *owner);
/* Its effects and touches are forgotten and their mailboxes let go: the transaction failed. */
void change_clear(struct change *change);
void change_release(struct change *change);

/* checkpoint.c */
void checkpoint_start(struct engine *engine); /* unless one is under way */
void checkpoint_look(struct engine *engine);  /* enough log for one? */
void checkpoint_settled(
	struct engine *engine);            /* changes became visible, or nothing is late any more */
int checkpoint_now(struct engine *engine); /* blocks; nothing may be under way */
int checkpoint_init(struct engine *engine);
void checkpoint_free(struct engine *engine);

/* create.c */
/*
 * A new mailbox in this transaction: its row, its record, its effect. It is in the account at once, and
 * taken out again by create_undo() when the transaction fails.
 */
enum store_failure create_within(struct engine *engine, struct env_txn *txn, struct change *change,
	struct account *account, struct text name, struct mailbox **mailbox);
void create_undo(struct change *change, struct mailbox *mailbox);
/* The text file with this ceiling and these keywords, logged and as an effect. */
int create_log_file(struct engine *engine, struct env_txn *txn, struct change *change,
	struct mailbox *mailbox, uint32_t ceiling, struct text keywords);

/* subscribe.c */
/*
 * The list of subscriptions with these names, too. Staged when it gives STORE_OK; change->settled is the
 * caller's and calls subscriptions_shown().
 */
enum store_failure subscriptions_add(
	struct engine *engine, struct change *change, struct account *account, struct text names);
void subscriptions_shown(struct account *account);

/* reshape.c */
/* Whether names of the account are changing: then none may be added. */
bool reshape_is_under_way(const struct account *account);

/* transfer.c */
/* How far a transfer of INBOX is. All zero at first. */
struct inbox_transfer {
	uint32_t target;    /* number of the new mailbox */
	uint32_t next, end; /* UIDs */
	bool more;          /* another piece is to follow when this one is visible */
};

/*
 * The next messages of INBOX to a new mailbox of that name, which comes with the first of them. Staged when
 * it gives STORE_OK, the last ones as `change`.
 */
enum store_failure transfer_inbox(struct engine *engine, struct mailbox *source, struct text name,
	struct change *change, struct inbox_transfer *inbox);

/* update.c */
/* An expunge of these UIDs (a run as in index_expunging), of which there is a note, goes on in its turn. */
void update_resume(struct engine *engine, struct mailbox *mailbox, struct text uids);

/* hidden.c; see hidden.h */
/* Whether the UID is one of copies that nobody sees. */
bool hidden_has(const struct mailbox *mailbox, uint32_t uid);
/* Before so many UIDs are given in a row: none of theirs. */
void hidden_pass(struct mailbox *mailbox, uint32_t count);
/* What they take of the user's quota. */
void hidden_count(const struct mailbox *mailbox, uint64_t *messages, uint64_t *octets);
/* Those that were being made before the start go. An error of env.h, or 0. */
int hidden_resume(struct engine *engine);
void hidden_free(struct mailbox *mailbox);

/* expunging.c */
/*
 * A note in this transaction that all of these are to go, by ascending UID, whatever happens meanwhile. An
 * error of env.h, or 0.
 */
int expunging_note(struct engine *engine, struct env_txn *txn, struct index_mailbox_id id,
	const uint32_t *uids, size_t count);
/* Away with it; false: it stays. It may come back with a crash before the next flush. */
bool expunging_forget(
	struct engine *engine, struct index_mailbox_id id, const uint32_t *uids, size_t count);
/* What is noted goes on, before anybody can select the mailboxes. An error of env.h, or 0. */
int expunging_resume(struct engine *engine);

/* arrival.c */
/* Of a delivery from a spool. Unless it fails at once, the change is taken over. */
enum store_failure arrival_start(
	struct engine *engine, struct change *change, const struct engine_delivery *delivery);
void arrivals_drain(struct engine *engine);
void arrivals_forget(struct engine *engine, const void *owner);

/* spool.c */
int spools_init(struct engine *engine);
void spools_free(struct engine *engine);
struct spool *spool_find(struct engine *engine, uint32_t number);
void spool_discard(struct engine *engine, struct spool *spool);
/* Of a durable delivery: all it waits for is a checkpoint. */
void spool_shown(struct engine *engine, uint32_t number);
void spools_after_checkpoint(struct engine *engine, uint64_t shown);
/* Descriptor of one nobody writes any more; -1 with errno (EBUSY: somebody does). */
int spool_claim(struct engine *engine, struct spool *spool);

/* view.c: selects, and whatever else asks for a turn at a mailbox, wait here for it */
/*
 * Calls run() in its turn, again and again until it gives true: then the change is answered or staged.
 * What comes later for the same mailbox waits behind it.
 */
void task_queue(struct engine *engine, struct mailbox *mailbox, struct change *change,
	bool (*run)(struct engine *engine, struct change *change));
/* The same, and it waits behind nobody. */
void task_queue_ahead(struct engine *engine, struct mailbox *mailbox, struct change *change,
	bool (*run)(struct engine *engine, struct change *change));
/*
 * A change for a piece that is not the last: whole->settled, which gives false, is called when it is visible,
 * so that the result tells how far the whole came, should the rest fail.
 */
struct change *task_piece(struct change *whole);
void tasks_run(struct engine *engine);
void tasks_forget(struct engine *engine, const void *owner);
/* Selects are refused as busy. */
void tasks_fail(struct engine *engine, enum store_failure failure);
void views_close(struct engine *engine);
void views_notify(struct engine *engine);

/* scan.c */
bool scan_is_due(struct engine *engine, struct mailbox *mailbox);
/* A thread reads its directories, which are large: run the scan when the engine's next round comes. */
bool scan_waits(struct engine *engine, struct mailbox *mailbox);
/*
 * Take over what others did. *staged: something was, and a change is under way; *more: look again when it
 * is visible, there was too much for one go.
 */
enum store_failure scan_run(
	struct engine *engine, struct mailbox *mailbox, bool *staged, bool *more);
/* Size, octets with CRLF and date of a file that carries no such numbers. 0, or an errno. */
int scan_measure(int fd, const char *leaf, struct index_message *row);
/* What a file's octets are with CRLF. 0, or an errno. */
int scan_count_wire(int file, uint64_t *wire);
/*
 * Before and after renames of our own, so that they do not look like somebody else's. Those that have to
 * do with cur/ need scan_before_cur() as well, after scan_before().
 */
void scan_before(struct engine *engine, struct mailbox *mailbox);
void scan_before_cur(struct engine *engine, struct mailbox *mailbox);
void scan_after(struct engine *engine, struct mailbox *mailbox);

/* import.c: whether an import of the user was begun and not finished */
bool import_is_unfinished(struct engine *engine, const struct user *user);

/* rebuild.c */
int rebuild(struct engine *engine, const char *home);

#endif

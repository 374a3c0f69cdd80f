/*
 * The engine from inside: what it has in memory, which all of its files share. What they ask of one another
 * is in a header of each file or two. Nobody else includes any of these (make check-source): to the store's
 * sessions the engine is engine.h, directory.h, import.h and verify.h.
 *
 *	engine.c                            open, close, the round at the end of each turn of the loop
 *	recovery.c rebuild.c                the index at a start; one made from the Maildirs
 *	users*.c directory*.c               users, domains, aliases: in memory, in the index, in a text file
 *	mailbox.c roster.c                  accounts and mailboxes in memory; the messages of some
 *	change.c effects.c                  one transaction's way: staged, flushed, carried out, answered
 *	checkpoint.c garbage.c              the marker, the sync, Berkeley DB's checkpoint; what goes after it
 *	deliver*.c arrival.c spool.c        deliveries, and large bodies on their way into them
 *	view.c scan.c                       selects, looks, turns at a mailbox; what other programs did there
 *	batch.c update.c copy.c transfer.c  messages altered, expunged, copied, moved
 *	expunging.c hidden.c notes.c        expunges and copies that a crash must not leave half done
 *	create.c reshape.c subscribe.c      mailboxes made, renamed, deleted, subscribed to
 *	once*.c quota.c space.c             what was accepted before; how much may be; room on the disk
 *	import.c verify*.c                  Maildirs that another server made; whether all is as it must be
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
	ENGINE_CEILING_BLOCK = 16384, /* UIDs reserved at a time */
};

/* ---- mailboxes in memory ---- */

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
	int64_t scanned;                /* clock_nanoseconds(); 0: not yet */
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
	struct account *account;     /* NULL: not in memory */
	struct user *next_by_number; /* whose numbers have the same place in engine.by_number */
};

/* ---- the whole ---- */

struct arrival;
struct change;
struct directory;
struct garbage;
struct late;
struct roster;
struct spool;
struct task;

STAILQ_HEAD(change_list, change);

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
	bool renewed;  /* broken because somebody wants another index */
	bool rewrites; /* this start writes again what a failed sync left in doubt (resync.h) */
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
		bool unsound; /* its sync failed: there are no more of them (resync.h) */
	} checkpoint;

	struct user **users;          /* by address */
	size_t user_count, user_room; /* room: none, or a power of two */
	struct user **by_number;      /* as many places */
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

/* ---- engine.c ---- */

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

#endif

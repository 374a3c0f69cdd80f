/*
 * A change: one transaction's way from its commit to its answer (change.c).
 *
 *	struct change *change = change_new(engine, done, owner);
 *	change_effect(), change_touch()     what is to happen to files, and to what sessions see
 *	env_commit()
 *	change_stage(change)                it joins the group that the next flush covers
 *
 * From change_stage(), change_ready() or change_follow() on it is not the caller's any more: it is answered
 * once, from the loop. Until then the effects and touches hold their mailboxes (mailbox.pins).
 */
#ifndef STORE_CHANGE_H
#define STORE_CHANGE_H

#include "store/engine_private.h"

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

/* ---- one change ---- */

struct change *change_new(struct engine *engine, engine_done *done, void *owner);
struct effect *change_effect(struct change *change, enum effect_kind kind, struct mailbox *mailbox);
struct touch *change_touch(struct change *change, struct mailbox *mailbox, enum touch_kind kind);
/* Committed: it joins the group that the next flush covers. */
void change_stage(struct change *change);
/* Nothing was committed (or what was is clear again): answer from the loop. */
void change_ready(struct change *change, enum store_failure failure);
/* Only to be answered, but not before everything staged so far is durable. */
void change_follow(struct change *change);
/* Its effects and touches are forgotten and their mailboxes let go: the transaction failed. */
void change_clear(struct change *change);
void change_release(struct change *change);

/* ---- all of them: for engine.c ---- */

void changes_start_flush(struct engine *engine);
/* The same; a lone change may be durable, visible and answered on return. */
void changes_flush(struct engine *engine);
void changes_answer_ready(struct engine *engine);
void changes_drain(struct engine *engine);
void changes_give_up(struct engine *engine);
void changes_free(struct engine *engine);
void changes_forget(struct engine *engine, const void *owner);

#endif

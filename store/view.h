/*
 * Views, and turns at a mailbox (view.c): selects, and whatever else asks for a turn, wait here for it.
 *
 * A view holds its mailbox (mailbox.pins), also when that is deleted: view->mailbox->gone. What waits for a
 * turn at one mailbox gets it in the order in which it came, each until it is done.
 */
#ifndef STORE_VIEW_H
#define STORE_VIEW_H

#include "store/engine_private.h"

struct engine_view {
	struct engine *engine;
	struct mailbox *mailbox;
	enum store_select_mode mode;
	void (*changed)(void *owner, const struct store_changed *notice);
	void *owner;
	bool untold; /* a notice is on its way */
	LIST_ENTRY(engine_view) link;
};

void views_close(struct engine *engine);
void views_notify(struct engine *engine);

/* ---- turns ---- */

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

#endif

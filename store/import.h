/*
 * Taking over a mailbox that another mail server made, with its UIDVALIDITY and UIDs.
 *
 * UIDs are given in ascending order and seen in ascending order. So the user is closed from begin to end:
 * mail for the user is put off (STORE_BUSY), and so are the user's sessions. A file in the user's
 * directory keeps it closed when the store or the importer ends in between; the same import, done again,
 * goes on where it stopped and opens it.
 *
 *	mail/DOMAIN/LOCAL/restante-import
 */
#ifndef STORE_IMPORT_H
#define STORE_IMPORT_H

#include "store/engine.h"

#define IMPORT_FILE "restante-import"

/*
 * Close the user. Blocks for a moment. STORE_LOCKED: a session is in one of the mailboxes; STORE_BUSY: closed
 * now, but something is still under way, ask again. STORE_NO_SUCH_USER, STORE_NO_SPACE. *resumed: the user
 * was closed already.
 */
enum store_failure engine_import_begin(struct engine *engine, struct text user, bool *resumed);

struct engine_import {
	struct text user;
	struct text mailbox;
	uint32_t uidvalidity; /* 0: the mailbox's own */
	uint32_t uidnext;     /* no UID below will be given to a new message */
};

/*
 * The mailbox with these numbers, made if need be. One without messages takes them; in another one they
 * must be its own: STORE_ALREADY_EXISTS. STORE_REFUSED: the user is not closed. STORE_INVALID: no name, or
 * numbers out of bounds.
 */
void engine_import_mailbox(
	struct engine *engine, const struct engine_import *import, engine_done *done, void *owner);

/* The next UID, and those of the messages there are: u32 little-endian each, added to uids. */
enum store_failure engine_import_uids(struct engine *engine, struct text user, struct text mailbox,
	uint32_t *uidnext, struct buf *uids);

/*
 * Subscribe the user to these mailboxes, too (names, one a line), and open it again when that is durable.
 * STORE_INVALID: too many; STORE_REFUSED: the user is not closed.
 */
void engine_import_end(struct engine *engine, struct text user, struct text subscriptions,
	engine_done *done, void *owner);

struct user;

/* For mailbox.c: whether an import of the user was begun and not finished. */
bool import_is_unfinished(struct engine *engine, const struct user *user);

#endif

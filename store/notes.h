/*
 * Notes in the index of what goes piece by piece (expunging.c, hidden.c), read after a start. Their keys are
 * those of a message: user, mailbox, first UID.
 */
#ifndef STORE_NOTES_H
#define STORE_NOTES_H

#include "store/engine_private.h"

/* What a note says is begun again. 0, or an error of env.h: then none of the others follow. */
typedef int notes_resume_one(struct engine *engine, struct text key, struct text value);

int notes_resume(struct engine *engine, enum env_table table, notes_resume_one *one);

/* The mailbox of a note. NULL: it is gone, and garbage.c takes the note away with the rest. */
struct mailbox *notes_mailbox(struct engine *engine, struct index_mailbox_id id);

#endif

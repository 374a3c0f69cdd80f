/*
 * After a sync that failed.
 *
 * Linux says once that octets did not reach the disk. From then on they count as written: whoever reads
 * them finds them in memory, and the next sync has nothing to say. So what the disk has after a failed sync
 * of the mail, the log or the tables is known to nobody, and a checkpoint on top of it would cut away the
 * log that has it all.
 *
 *	note     env.unwritten beside the index, by the thread that got the error, before anybody hears of it
 *	end      of the engine. All that waits is answered "not durable", and the role starts again
 *	start    with the note: every file of env/ is written again, in place and whole, before it is
 *	         opened, and redo writes every body that the log has again, however it looks
 *	sync     of both, as at every recovery; if that fails, so does the start, and the note stays
 *	then     the note goes
 *
 * Nothing else is in doubt. Names (of files made, linked, renamed, unlinked) are the file system's own
 * affair: one that cannot write them stops. A large body is synced by itself before a record names it. Text
 * files of mailboxes and lists of subscriptions are written anew by every redo, once-keys are added again,
 * and the users' file is written at every start.
 *
 * The note is not synced, as it is about memory: the power cut that takes the one takes the other, and
 * recovery then finds what the disk has. When it cannot even be made, the file system has stopped, and does
 * not go on before that.
 *
 * No room (ENOSPC, EDQUOT) for the mail is no reason to end: who is served goes on being served, and can
 * delete. But there are no checkpoints any more, so that the log keeps everything, until there is room for a
 * start that writes again.
 */
#ifndef STORE_RESYNC_H
#define STORE_RESYNC_H

#include <stdbool.h>

/* root: the store's directory. In any thread. */
void resync_note(int root);

/* Whether there is a note. */
bool resync_is_due(int root);

/* The files of env/, which nobody has open. 0, or an errno after logging where. */
int resync_environment(int root);

/* All is on the disk. */
void resync_done(int root);

#endif

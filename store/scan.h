/*
 * What other programs did to a Maildir, and how not to take our own doings for theirs (scan.c).
 *
 * A scan needs a mailbox in which nothing is being altered: who runs one has a turn at it (view.h). Whoever
 * renames files in new/ or cur/ notes the times of the directories around it.
 */
#ifndef STORE_SCAN_H
#define STORE_SCAN_H

#include "store/engine_private.h"

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

#endif

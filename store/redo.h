/*
 * Recovery's half of the journal: files are made to be as the log says.
 *
 * Records come in the order of the log, each whose transaction was committed after the last checkpoint
 * began; some or all of them may have been carried out before. Whatever state the tree is in between
 * that checkpoint and the crash, the result is the same. A file that another program deleted since the
 * checkpoint comes back; one that it renamed is recognised.
 */
#ifndef STORE_REDO_H
#define STORE_REDO_H

#include <stdint.h>

#include "base/buf.h"
#include "base/text.h"

struct redo;

/* root: the store's directory. */
struct redo *redo_new(int root);
void redo_free(struct redo **redo);

/* Bodies are written again, even if they look as they should: only memory may have them (resync.h). */
void redo_distrust(struct redo *redo);

/* 0, or an errno. A record that makes no sense is EBADMSG. */
int redo_apply(struct redo *redo, struct text record);

/* What a transaction that never ended may have left: its file in tmp/. */
int redo_undo(struct redo *redo, struct text record);

/* Once-keys so far: payloads of JOURNAL_ONCE, u32 length and octets each. The caller may empty it. */
struct buf *redo_once(struct redo *redo);

/* Records carried out, files made. */
uint64_t redo_records(const struct redo *redo);
uint64_t redo_files(const struct redo *redo);

#endif

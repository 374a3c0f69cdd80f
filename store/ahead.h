/*
 * The next file of Berkeley DB's log, made ready before it is needed: at its full length, with zeros that
 * are on disk. A flush into such a file overwrites blocks, and waits for nothing else. A flush into one
 * that takes up new blocks waits for the file system's own journal as well, with everybody's changes in it.
 *
 *	next.log         zeros, perhaps not all of them; nobody's
 *	log.0000000007   the same file, from the moment on when Berkeley DB opens it
 *
 * Berkeley DB takes a log file that begins with zeros for one that nothing was written to yet, in
 * recovery as well. Where there is none in time it makes a file itself, as ever.
 */
#ifndef STORE_AHEAD_H
#define STORE_AHEAD_H

#include <stdbool.h>
#include <stdint.h>

struct ahead;

/* home: the environment's directory. NULL with errno. */
struct ahead *ahead_new(const char *home, uint64_t octets);
/* Nobody may be in ahead_make(). */
void ahead_free(struct ahead **ahead);

/* There is one, or one is being made. Any thread. */
bool ahead_is_taken_care_of(const struct ahead *ahead);

/* Make one. Blocks; any thread, one at a time. 0, or an errno: then the disk is as it was before. */
int ahead_make(struct ahead *ahead);

/*
 * What is written next to this log file is brought into memory where the kernel has let go of it, or each
 * write of a part of a page would first read it. Does not wait for that. Any thread.
 */
void ahead_fetch(const struct ahead *ahead, uint32_t number, uint64_t from, uint64_t octets);

/*
 * In place of open(2): a new log file is the one made ready. Its new name is on disk when this returns,
 * so that a flush of the file alone covers what will be in it. A descriptor, or -1 with errno.
 */
int ahead_open(struct ahead *ahead, const char *path, int flags, int mode);

#endif

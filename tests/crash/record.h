/*
 * What the store asked of the file system, call by call, and trees as a power cut may leave them.
 *
 * The recorder stands in the place of the C library's calls for its whole process, Berkeley DB's
 * included, and follows what happens below one directory. Syncs take a moment and do nothing: what they
 * promise counts in the trees that are made later.
 *
 *	record_start(directory);  …  the store at work  …  record_stop();
 *	record_rebuild(&(struct record_cut){ .at = 1234, .seed = 1 }, fresh_directory);
 *
 * What a tree holds. Names follow a journal: every sync that has something to commit commits all changes
 * of names before it, and of the later ones a beginning is there, of each directory on its own. Octets
 * that no sync of the file covered are there in part: whole files, blocks or sectors are missing, are
 * zero or the file is shorter. A sync that failed took what it should have covered, or a part, for good: no
 * later one brings it, unless its page is written again.
 */
#ifndef TESTS_CRASH_RECORD_H
#define TESTS_CRASH_RECORD_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* directory exists and is empty. */
void record_start(const char *directory);
void record_stop(void);
void record_free(void);

/* Calls recorded so far. */
size_t record_count(void);

/* A call that only fills a page with zeros, as Berkeley DB does with the rest of its log. */
bool record_is_dull(size_t call);

/* A call that promises something and keeps nothing, for the test of the test. */
enum record_lie {
	RECORD_NO_LIE,
	RECORD_LIE_FSYNC, /* fsync and fdatasync of anything */
	RECORD_LIE_SYNCFS,
};
void record_lie(enum record_lie lie);

/*
 * From now on some syncs fail, for want of room or for no reason, up to so many; files stay as the store
 * sees them.
 */
void record_fail_syncs(unsigned most);
/* Those that did so far. */
size_t record_failed(void);

struct record_cut {
	size_t at; /* calls before the cut */
	uint32_t seed;
	bool sectors; /* blocks may be torn in sectors of 512 octets */
};

/* Makes the tree in a directory that exists and is empty. Aborts when that fails. */
void record_rebuild(const struct record_cut *cut, const char *directory);

#endif

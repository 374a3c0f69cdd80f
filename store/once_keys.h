/*
 * Once-keys: what was accepted under one is not accepted again for that user.
 *
 * The index has them, in the transaction of the delivery. An index may be lost; so each key has a record
 * in the journal, too, and every checkpoint adds those that it covers to a text file, one for each month,
 * in the store's directory:
 *
 *	once/2026-11
 *	5f0c9a31 7 1795310862 imap/4/77/1234        checksum of the rest, user's number, time, key
 *	0c77d2e6 7 1795310862/1799999999 imap/…     the same, and when it was last asked for
 *
 * An index that is made anew takes them from there; recovery adds what the last checkpoint did not cover. A
 * line that a power cut has torn does not have its checksum and is passed over. A key is forgotten when it
 * has not been asked for during engine_options.once_days; it is written anew while it is.
 */
#ifndef STORE_ONCE_KEYS_H
#define STORE_ONCE_KEYS_H

#include "store/engine_private.h"

/* A line of the file. */
void once_print(struct buf *out, uint32_t user, const struct index_once *times, struct text key);

/* Into the index and the journal; the line is added to `lines`. An error of env.h, or 0. */
int once_put(struct engine *engine, struct env_txn *txn, uint32_t user,
	const struct index_once *times, struct text key, struct buf *lines);

/* asked: see struct index_once. */
bool once_is_expired(const struct engine *engine, int64_t asked, int64_t now);
/* So long ago that it is to be written anew. */
bool once_is_old(const struct engine *engine, int64_t asked, int64_t now);

/* Of a delivery that is durable: for the next checkpoint. */
void once_shown(struct engine *engine, struct text lines);
/* The next checkpoint begins to write: what was shown so far is covered by it. */
void once_begin(struct engine *engine);
/* In any thread. 0, or an errno: then the checkpoint must not be. */
int once_write(struct engine *engine);
void once_written(struct engine *engine);

/* Lines into the file at once. 0, or an errno. */
int once_append(struct engine *engine, struct text lines);

/* Into an index that is made anew, for the users in memory. An error of env.h, or 0. */
int once_restore(struct engine *engine);

int once_start(struct engine *engine); /* forgetting, a little at a time */
void once_free(struct engine *engine);

#endif

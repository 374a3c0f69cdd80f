/*
 * A growing run of octets that is added to at its end and consumed from its start.
 *
 * An empty buffer holds no memory once buf_release() was called, so an idle connection costs none.
 */
#ifndef BASE_BUF_H
#define BASE_BUF_H

#include <stdint.h>

#include "base/text.h"

struct buf {
	char *block;
	size_t start; /* first octet not yet consumed */
	size_t end;   /* one past the last octet */
	size_t size;  /* of block */
};

/* {0} is an empty buffer. */
struct text buf_text(const struct buf *buf);
size_t buf_length(const struct buf *buf);

void buf_add(struct buf *buf, struct text octets);
void buf_add_char(struct buf *buf, char octet);
void buf_add_string(struct buf *buf, const char *string);
void buf_format(struct buf *buf, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* Room for at least `octets` more; write there, then buf_commit() what was written. */
char *buf_room(struct buf *buf, size_t octets);
void buf_commit(struct buf *buf, size_t octets);

/* Drop octets from the start. Pointers into the buffer stay valid until the next buf_add/buf_room. */
void buf_consume(struct buf *buf, size_t octets);

/* Empty; keeps its memory. */
void buf_clear(struct buf *buf);

/* Empty; gives its memory back. */
void buf_release(struct buf *buf);

/* The same for one that held a secret: it is overwritten first, as what it outgrew was. */
void buf_wipe(struct buf *buf);

#endif

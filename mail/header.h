/*
 * The header section of a message (RFC 5322 section 2.2), fields as they stand, in stored (LF) or
 * wire (CRLF) form.
 */
#ifndef MAIL_HEADER_H
#define MAIL_HEADER_H

#include <stdbool.h>

#include "base/text.h"

struct arena;

/* {0} over a text that begins with the message. */
struct header_field {
	struct text name;  /* without the colon and blanks before it */
	struct text value; /* after the colon, folded as it is, without the final line end */
	struct text whole; /* with the final line end */
};

/*
 * The next field; *rest starts as the message and moves on. 1: a field; 0: the header ended (its blank
 * line, if there is one, is gone from *rest); -1: this line is not a field and not the end (*rest is
 * untouched: the body begins here without a blank line, unless a broken line stands amid the header).
 */
int header_next(struct text *rest, struct header_field *field);

/* The next field, broken lines skipped. False: the header ended. All below walk like this. */
bool header_walk(struct text *rest, struct header_field *field);

/* Octets of the header section with its blank line; the whole text when it never ends. */
size_t header_length(struct text message);

/* How many fields of that name. */
unsigned header_count(struct text message, struct text name);

/*
 * The first field of that name, value unfolded and trimmed into the arena; it holds no CR and no LF,
 * and of a monstrous one HEADER_VALUE_LIMIT octets. False: none.
 */
enum { HEADER_VALUE_LIMIT = 65536 };
bool header_find(struct arena *arena, struct text message, struct text name, struct text *value);

#endif

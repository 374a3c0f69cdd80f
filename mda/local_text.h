/*
 * A message as programs on this host write it, made fit for the wire: LF or CRLF ends a line, a separator
 * line of an mbox file may stand first, and anything may stand in it.
 *
 * LMTP carries no lone CR, no NUL (RFC 5321 section 2.3.8) and no line over WIRE_TEXT_LINE_LIMIT. Cron's
 * progress bars and other people's programs write them, and a message must not be lost for that: a
 * lone CR or a NUL becomes a blank, a longer line is broken, a blank at the start of the new line. A CR
 * that is the very last octet counts as a line end.
 */
#ifndef MDA_LOCAL_TEXT_H
#define MDA_LOCAL_TEXT_H

#include <stdbool.h>

#include "base/text.h"

/* {0} to begin with. */
struct local_text {
	bool after_cr; /* a CR whose meaning the next octet decides */
	size_t line;   /* octets in the line so far */
};

/* Octets that cleaning `octets` of input may need at most. */
size_t local_text_bound(size_t octets);

/* Clean all of `in` to `to`, which has that room; the octets written, with LF line ends. */
size_t local_text_clean(struct local_text *state, struct text in, char *to);

/*
 * The separator line of an mbox file at the start of t: 1 when it is there, *sender being who it names and
 * *used its octets; 0 when it is not; -1 when more octets are needed to tell and more is true.
 */
int local_text_separator(struct text t, bool more, struct text *sender, size_t *used);

#endif

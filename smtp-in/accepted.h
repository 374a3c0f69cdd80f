/*
 * Which questions about a recipient were answered with "accepted" lately. A fixed number of places, each for
 * a question up to a fixed length: what finds no place pushes out what is older, what is longer is forgotten.
 *
 * Times are milliseconds of whatever clock the caller has.
 */
#ifndef SMTP_IN_ACCEPTED_H
#define SMTP_IN_ACCEPTED_H

#include <stdbool.h>
#include <stdint.h>

#include "base/text.h"

enum {
	ACCEPTED_PLACES = 1024,
	ACCEPTED_LIMIT = 236, /* octets of a question */
};

/* {0}: nothing is remembered, and no memory held. */
struct accepted {
	struct accepted_place *place;
};

/* Accepted for a message of `size` octets, and good to know before `until`. */
void accepted_note(
	struct accepted *accepted, struct text question, uint64_t size, int64_t now, int64_t until);

/* Whether it was accepted for a message of this size or a larger one. */
bool accepted_holds(
	const struct accepted *accepted, struct text question, uint64_t size, int64_t now);

/* It was answered otherwise. */
void accepted_drop(struct accepted *accepted, struct text question);

/* Nothing is remembered any more. */
void accepted_release(struct accepted *accepted);

#endif

/*
 * What libetpan's parser is spared: it goes one call deeper with every list in a list, so that a line of
 * nothing but parentheses would take all of the stack; and it takes memory for a literal as soon as it is
 * told how long that is. No answer to what is asked for holds many lists, or octets beyond what was
 * expected; the text of a message may look as if, and passes by as a literal. What a server says in words,
 * behind OK and the like, holds no literal, whatever it looks like. Pure.
 */
#ifndef BRIDGE_IMAP_GUARD_H
#define BRIDGE_IMAP_GUARD_H

#include "base/text.h"

enum { IMAP_GUARD_LISTS = 100 }; /* in one response */

enum imap_guard_verdict { IMAP_GUARD_FINE, IMAP_GUARD_TOO_DEEP, IMAP_GUARD_TOO_LARGE };
enum imap_guard_place { IMAP_GUARD_LINE, IMAP_GUARD_SIZE, IMAP_GUARD_BRACE, IMAP_GUARD_CR };

/* {0} to begin with. */
struct imap_guard {
	enum imap_guard_verdict verdict;
	enum imap_guard_place place;
	unsigned lists; /* that the response has begun */
	unsigned words; /* likewise, up to the third */
	bool in_word;
	bool is_told;     /* the rest of the response is for people */
	char word[8];     /* what there is of the second one, in lower case; NULs behind it */
	uint64_t number;  /* behind the last brace */
	uint64_t literal; /* octets of one that are still to come (RFC 9051 section 4.3) */
};

/* Octets as they come, cut anywhere; most: octets that an announced literal may have. */
enum imap_guard_verdict imap_guard_take(
	struct imap_guard *guard, struct text octets, uint64_t most);

#endif

/*
 * The messages that this host refused for good: not fetched again for a day, though they stay there.
 *
 * It is kept in the hint of one session for the next (report.h), so a bridge that is started anew, or
 * `restante bridge run`, tries them all.
 */
#ifndef BRIDGE_REFUSED_H
#define BRIDGE_REFUSED_H

#include "base/buf.h"
#include "bridge/once.h"

enum {
	REFUSED_MOST = 200,
	REFUSED_SECONDS = 86400,
	REFUSED_LINE = 8 + ONCE_LENGTH + 1 + 20 + 1, /* "refused KEY SECONDS" */
	REFUSED_OCTETS = REFUSED_MOST * REFUSED_LINE,
};

/* {0} to begin with; the oldest makes room. */
struct refused {
	size_t count, next;
	struct {
		struct once_key key;
		int64_t when; /* seconds since 1970 */
	} entries[REFUSED_MOST];
};

/* Those lines of a hint that are of this kind; others are passed by. */
void refused_load(struct refused *refused, struct text hint);
/* At most REFUSED_OCTETS. What is due again is left out. */
void refused_store(const struct refused *refused, int64_t now, struct buf *hint);

void refused_add(struct refused *refused, const struct once_key *key, int64_t now);
bool refused_has(const struct refused *refused, const struct once_key *key, int64_t now);

#endif

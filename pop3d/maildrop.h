/*
 * The maildrop of one session: messages numbered once and for all when it was opened, and marks on
 * those to be deleted (RFC 1939 sections 5 and 6). Knows no connection and no store: pure bookkeeping
 * over a listing.
 */
#ifndef POP3D_MAILDROP_H
#define POP3D_MAILDROP_H

#include <stdbool.h>

#include "base/buf.h"
#include "store/protocol.h"

struct maildrop {
	const struct store_listing
		*listing; /* mapped, read-only; sealed, so it cannot change under us */
	size_t mapped;
	uint32_t uidvalidity;
	uint32_t messages; /* numbers 1 to messages */
	uint32_t deleted;
	uint64_t octets; /* of those not deleted, as sent */
	uint64_t whole;  /* of all */
	uint8_t *marks;  /* a bit a message; NULL until the first deletion */
};

/*
 * Takes the mapping over (store_listing_map) and does not look at its entries yet: those of 100,000
 * messages fill 4.8 MB, and most sessions need a few of them. octets: the sum of `wire`.
 */
void maildrop_open(struct maildrop *maildrop, const struct store_listing *listing, size_t mapped,
	uint32_t uidvalidity, uint64_t octets);

/* Safe on zeroed memory. */
void maildrop_close(struct maildrop *maildrop);

/* The message of that number, or NULL when there is none or it is marked. */
const struct store_listing_entry *maildrop_find(const struct maildrop *maildrop, uint64_t number);
bool maildrop_is_deleted(const struct maildrop *maildrop, uint64_t number);

/* False when there is no such message or it is marked already. */
bool maildrop_delete(struct maildrop *maildrop, uint64_t number);
/* Mark those that came before that time (seconds since 1970). */
void maildrop_expire(struct maildrop *maildrop, int64_t before);
void maildrop_reset(struct maildrop *maildrop);

/* The UIDs of the marked messages as a run of u32, as UPDATE wants them. */
void maildrop_deleted_uids(const struct maildrop *maildrop, struct buf *out);

/*
 * The unique-id of RFC 1939 section 7: UIDVALIDITY and UID in hexadecimal. Both are part of the
 * mailbox on disk, so it outlives the index, a move of the tree and every other message.
 */
enum { MAILDROP_UIDL = 16 };
void maildrop_uidl(const struct maildrop *maildrop, uint32_t uid, char out[MAILDROP_UIDL + 1]);

#endif

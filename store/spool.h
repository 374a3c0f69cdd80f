/*
 * Files in spool/, each the large body of one delivery (spool.c). For arrival.c, which takes them over, and
 * for who knows when a delivery is durable and when a checkpoint covers it.
 *
 * A file is the peer's to write until it is claimed, the delivery's from then on, and stays until a
 * checkpoint covers the delivery: the record only names it.
 */
#ifndef STORE_SPOOL_H
#define STORE_SPOOL_H

#include "store/engine_private.h"

enum {
	ENGINE_SPOOLS = 256, /* not delivered yet; after so many deliveries a checkpoint is taken */
};

struct spool {
	uint32_t number;
	char name[JOURNAL_SPOOL_LIMIT + 1];
	bool claimed; /* a delivery is under way or done */
	/* Of the durable delivery that names it: stays until a checkpoint covers that. 0: none. */
	uint64_t shown;
	TAILQ_ENTRY(spool) link;
};

int spools_init(struct engine *engine);
void spools_free(struct engine *engine);
struct spool *spool_find(struct engine *engine, uint32_t number);
void spool_discard(struct engine *engine, struct spool *spool);
/* Of a durable delivery: all it waits for is a checkpoint. */
void spool_shown(struct engine *engine, uint32_t number);
void spools_after_checkpoint(struct engine *engine, uint64_t shown);
/* Descriptor of one nobody writes any more; -1 with errno (EBUSY: somebody does). */
int spool_claim(struct engine *engine, struct spool *spool);

#endif

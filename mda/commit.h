/*
 * Carrying out a delivery plan: one transaction of the store for all recipients, or for none.
 */
#ifndef MDA_COMMIT_H
#define MDA_COMMIT_H

#include <time.h>

#include "base/id.h"
#include "mda/plan.h"
#include "store/failure.h"

struct store_link;

/* A message ready to be stored: LF line ends, trace fields and all. */
struct commit_message {
	struct id id;
	struct text once; /* "": none */
	time_t received;
	struct text body;    /* when spool is 0; at most STORE_INLINE_LIMIT octets */
	uint32_t spool;      /* the store's file that holds it, closed by us */
	uint64_t generation; /* of the link that the spool file belongs to */
};

struct commit_outcome {
	enum store_failure failure; /* STORE_REFUSED also when the plan itself refuses */
	struct reply reply;         /* for every recipient, so never for good on account of one */
	struct text user;           /* for whom the store said no; "": for nobody in particular */
};

/* Lies with the caller until `done`. Texts of the outcome last during the call only. */
struct commit {
	void (*done)(void *owner, const struct commit_outcome *outcome);
	void *owner;
	bool several; /* users; set by commit_start() */
};

/*
 * Store the message as the plan says. True: `done` will be called once, later; the message may go at
 * once. False: it will not, nothing is stored, and *outcome says why.
 */
bool commit_start(struct commit *commit, struct store_link *link, const struct plan *plan,
	const struct commit_message *message, struct commit_outcome *outcome);

/* A spool file that will not become a message after all. */
void commit_drop_spool(struct store_link *link, uint32_t spool, uint64_t generation);

#endif

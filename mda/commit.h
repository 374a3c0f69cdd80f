/*
 * Carrying out a delivery plan: one transaction of the store at most.
 *
 * Either all recipients get the message or none does, as a sender needs who hears one verdict for all;
 * or each recipient stands or falls alone, as LMTP can tell (RFC 2033 section 4.2). In both cases what
 * belongs to one recipient is carried out whole or not at all.
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
	time_t received;
	struct text body;    /* when spool is 0; at most STORE_INLINE_LIMIT octets */
	uint32_t spool;      /* the store's file that holds it, closed by us */
	uint64_t generation; /* of the link that the spool file belongs to */
};

/* Lies with the caller until `done`, as does the plan. */
struct commit {
	/* file: the name, without what differs from mailbox to mailbox; during the call only. */
	void (*done)(void *owner, struct text file);
	void *owner;
	bool each; /* every recipient has a verdict of its own */
	/* Below: commit's own. */
	struct plan *plan;
	struct plan_target *targets;
	size_t count;
};

/* What the plan wants of the store: a run of its recipients, into out. */
void commit_pack(struct buf *out, const struct plan_target *targets, size_t count, bool each);

/*
 * Store the message as the plan says. True: `done` will be called once, later; the message may go at
 * once. False: it will not, there is nothing to wait for. Either way every recipient has its verdict in
 * the end, and every target says what became of it.
 */
bool commit_start(struct commit *commit, struct store_link *link, struct plan *plan,
	const struct commit_message *message);

/* A spool file that will not become a message after all. */
void commit_drop_spool(struct store_link *link, uint32_t spool, uint64_t generation);

#endif

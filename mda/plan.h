/*
 * The delivery plan of one message, as data: for each recipient a list of actions. Resolution makes it,
 * commit carries it out, and neither knows the other.
 */
#ifndef MDA_PLAN_H
#define MDA_PLAN_H

#include "mail/address.h"
#include "mail/reply.h"

struct arena;

enum plan_kind {
	PLAN_KEEP,   /* into a mailbox of a user of this host */
	PLAN_REFUSE, /* nothing is stored, and the sender is told so */
};

/* Texts are canonical and last as long as the plan's arena. */
struct plan_keep {
	struct text user;
	struct text mailbox;
	struct text keywords; /* blanks between */
	uint32_t flags;       /* enum store_flag */
};

struct plan_action {
	enum plan_kind kind;
	union {
		struct plan_keep keep;
		struct reply refuse;
	} of;
	struct plan_action *next;
};

struct plan_recipient {
	struct address address; /* as RCPT named it */
	struct plan_action *first, **end;
	struct plan_recipient *next;
};

struct plan {
	struct arena *arena;
	struct plan_recipient *first, **end;
	size_t recipients;
};

void plan_init(struct plan *plan, struct arena *arena);

/* A recipient for whom nothing is to be done yet; the address is copied. Not yet part of a plan. */
struct plan_recipient *plan_recipient_new(struct arena *arena, const struct address *address);

/* One action more; texts are copied. */
void plan_add_keep(
	struct arena *arena, struct plan_recipient *recipient, const struct plan_keep *keep);
void plan_add_refuse(
	struct arena *arena, struct plan_recipient *recipient, const struct reply *reply);

/* Put a recipient at the plan's end. */
void plan_add(struct plan *plan, struct plan_recipient *recipient);

/* Why this recipient gets nothing, or NULL. */
const struct reply *plan_recipient_refusal(const struct plan_recipient *recipient);

/* The first refusal in the plan, or NULL: as a commit is for all or none, it holds for all. */
const struct reply *plan_refusal(const struct plan *plan);

/*
 * What is to be kept, each mailbox once however many recipients lead to it, by user and mailbox. The
 * array is in the plan's arena.
 */
size_t plan_mailboxes(const struct plan *plan, const struct plan_keep ***mailboxes);

/* The only user who gets the message; ptr NULL when there are several, or none. */
struct text plan_only_user(const struct plan *plan);

#endif

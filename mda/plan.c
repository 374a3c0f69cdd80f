#include "mda/plan.h"

#include <stdlib.h>

#include "base/arena.h"

void plan_init(struct plan *plan, struct arena *arena)
{
	*plan = (struct plan){ .arena = arena };
	plan->end = &plan->first;
}

struct plan_recipient *plan_recipient_new(struct arena *arena, const struct address *address)
{
	struct plan_recipient *recipient = arena_take(arena, sizeof(*recipient));

	recipient->address.local = text_copy(arena, address->local);
	recipient->address.domain = text_copy(arena, address->domain);
	recipient->end = &recipient->first;
	return recipient;
}

static struct plan_action *add_action(
	struct arena *arena, struct plan_recipient *recipient, enum plan_kind kind)
{
	struct plan_action *action = arena_take(arena, sizeof(*action));

	action->kind = kind;
	*recipient->end = action;
	recipient->end = &action->next;
	return action;
}

void plan_add_keep(
	struct arena *arena, struct plan_recipient *recipient, const struct plan_keep *keep)
{
	add_action(arena, recipient, PLAN_KEEP)->of.keep = (struct plan_keep){
		.user = text_copy(arena, keep->user),
		.mailbox = text_copy(arena, keep->mailbox),
		.keywords = text_copy(arena, keep->keywords),
		.flags = keep->flags,
	};
}

void plan_add_refuse(
	struct arena *arena, struct plan_recipient *recipient, const struct reply *reply)
{
	struct reply *refuse = &add_action(arena, recipient, PLAN_REFUSE)->of.refuse;

	*refuse = *reply;
	refuse->text = text_copy(arena, reply->text);
}

void plan_add(struct plan *plan, struct plan_recipient *recipient)
{
	*plan->end = recipient;
	plan->end = &recipient->next;
	plan->recipients++;
}

const struct reply *plan_recipient_refusal(const struct plan_recipient *recipient)
{
	for (const struct plan_action *action = recipient->first; action; action = action->next) {
		if (action->kind == PLAN_REFUSE)
			return &action->of.refuse;
	}
	return NULL;
}

const struct reply *plan_refusal(const struct plan *plan)
{
	for (const struct plan_recipient *at = plan->first; at; at = at->next) {
		const struct reply *refusal = plan_recipient_refusal(at);
		if (refusal)
			return refusal;
	}
	return NULL;
}

/* The next thing to keep after *action of *recipient, through all recipients; NULL at the end. */
static const struct plan_keep *next_keep(
	const struct plan_recipient **recipient, const struct plan_action **action)
{
	while (*recipient) {
		*action = *action ? (*action)->next : (*recipient)->first;
		if (!*action)
			*recipient = (*recipient)->next;
		else if ((*action)->kind == PLAN_KEEP)
			return &(*action)->of.keep;
	}
	return NULL;
}

static int compare(const void *left, const void *right)
{
	const struct plan_keep *a = *(const struct plan_keep *const *)left;
	const struct plan_keep *b = *(const struct plan_keep *const *)right;
	int order = text_compare(a->user, b->user);

	return order ? order : text_compare(a->mailbox, b->mailbox);
}

size_t plan_mailboxes(const struct plan *plan, const struct plan_keep ***mailboxes)
{
	const struct plan_recipient *recipient = plan->first;
	const struct plan_action *action = NULL;
	size_t count = 0, kept = 0;

	while (next_keep(&recipient, &action))
		count++;
	const struct plan_keep **all = arena_take(plan->arena, (count + 1) * sizeof(*all));
	recipient = plan->first;
	action = NULL;
	for (size_t i = 0; i < count; i++)
		all[i] = next_keep(&recipient, &action);
	qsort(all, count, sizeof(*all), compare);
	for (size_t i = 0; i < count; i++) {
		if (kept == 0 || compare(&all[kept - 1], &all[i]) != 0)
			all[kept++] = all[i];
	}
	*mailboxes = all;
	return kept;
}

struct text plan_only_user(const struct plan *plan)
{
	const struct plan_recipient *recipient = plan->first;
	const struct plan_action *action = NULL;
	const struct plan_keep *keep = next_keep(&recipient, &action);
	const struct text user = keep ? keep->user : (struct text){ 0 };

	while (keep) {
		if (!text_equal(keep->user, user))
			return (struct text){ 0 };
		keep = next_keep(&recipient, &action);
	}
	return user;
}

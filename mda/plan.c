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
	recipient->alias = TEXT("");
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

static void add_keep(struct arena *arena, struct plan_recipient *recipient, enum plan_kind kind,
	const struct plan_keep *keep)
{
	struct plan_keep *kept = &add_action(arena, recipient, kind)->of.keep;

	*kept = *keep;
	kept->user = text_copy(arena, keep->user);
	kept->mailbox = text_copy(arena, keep->mailbox);
	kept->keywords = text_copy(arena, keep->keywords);
	kept->once = text_copy(arena, keep->once);
	kept->sender = keep->sender.len ? text_copy(arena, keep->sender) : TEXT("");
}

void plan_add_keep(
	struct arena *arena, struct plan_recipient *recipient, const struct plan_keep *keep)
{
	add_keep(arena, recipient, PLAN_KEEP, keep);
}

void plan_add_file_into(
	struct arena *arena, struct plan_recipient *recipient, const struct plan_keep *keep)
{
	add_keep(arena, recipient, PLAN_FILE_INTO, keep);
}

void plan_add_redirect(
	struct arena *arena, struct plan_recipient *recipient, const struct address *address)
{
	struct plan_redirect *redirect = &add_action(arena, recipient, PLAN_REDIRECT)->of.redirect;

	redirect->address.local = text_copy(arena, address->local);
	redirect->address.domain = text_copy(arena, address->domain);
	redirect->depth = 1;
}

void plan_add_discard(struct arena *arena, struct plan_recipient *recipient, struct text why)
{
	add_action(arena, recipient, PLAN_DISCARD)->of.discard.why = text_copy(arena, why);
}

void plan_add_refuse(
	struct arena *arena, struct plan_recipient *recipient, const struct reply *reply)
{
	struct reply *refuse = &add_action(arena, recipient, PLAN_REFUSE)->of.refuse;

	*refuse = *reply;
	refuse->text = text_copy(arena, reply->text);
}

static void wish_keep(struct arena *arena, struct plan_keep *keep, const struct plan_wish *wish)
{
	if (wish->mailbox.len)
		keep->mailbox = text_copy(arena, wish->mailbox);
	if (wish->keywords.len)
		keep->keywords = text_format(arena, "%.*s%s%.*s", TEXT_ARG(keep->keywords),
			keep->keywords.len ? " " : "", TEXT_ARG(wish->keywords));
	if (wish->once.len)
		keep->once = text_copy(arena, wish->once);
	keep->flags |= wish->flags;
}

void plan_wish(struct arena *arena, struct plan_recipient *recipient, const struct plan_wish *wish)
{
	for (struct plan_action *at = recipient->first; at; at = at->next) {
		if (!plan_action_keep(at))
			continue;
		wish_keep(arena, &at->of.keep, wish);
		if (wish->mailbox.len)
			at->kind = PLAN_FILE_INTO;
	}
}

static size_t kept_for(const struct plan_recipient *recipient)
{
	size_t count = 0;

	for (const struct plan_action *action = recipient->first; action; action = action->next)
		count += plan_action_keep(action) != NULL;
	return count;
}

bool plan_has_room(const struct plan *plan, const struct plan_recipient *recipient)
{
	return plan->kept + kept_for(recipient) <= PLAN_KEPT_LIMIT;
}

enum { ONCE_MAILBOX_LIMIT = 180 }; /* a key has room for no more */

/* Keys are the user's; so the mailbox is part of it. */
static void keep_once(
	struct arena *arena, struct plan_keep *keep, struct text same, uint32_t seconds)
{
	if (keep->once.len || keep->mailbox.len > ONCE_MAILBOX_LIMIT)
		return;
	keep->once = text_format(arena, "same %.*s %.*s", TEXT_ARG(same), TEXT_ARG(keep->mailbox));
	keep->once_seconds = seconds;
}

void plan_keep_once(struct plan *plan, struct text same, uint32_t seconds)
{
	for (struct plan_recipient *at = plan->first; at; at = at->next) {
		for (struct plan_action *action = at->first; action; action = action->next) {
			if (plan_action_keep(action))
				keep_once(plan->arena, &action->of.keep, same, seconds);
		}
	}
}

void plan_add(struct plan *plan, struct plan_recipient *recipient)
{
	plan->kept += kept_for(recipient);
	*plan->end = recipient;
	plan->end = &recipient->next;
	plan->recipients++;
}

const struct plan_keep *plan_action_keep(const struct plan_action *action)
{
	switch (action->kind) {
	case PLAN_KEEP:
	case PLAN_FILE_INTO:
		return &action->of.keep;
	case PLAN_REDIRECT:
	case PLAN_DISCARD:
	case PLAN_REFUSE:
		break;
	}
	return NULL;
}

const struct reply *plan_recipient_refusal(const struct plan_recipient *recipient)
{
	for (const struct plan_action *action = recipient->first; action; action = action->next) {
		if (action->kind == PLAN_REFUSE)
			return &action->of.refuse;
	}
	return NULL;
}

/* ---- what is kept ---- */

/* All that is kept, into targets when there is room for it; how much it is. */
static size_t gather(const struct plan *plan, struct plan_target *targets)
{
	size_t count = 0, number = 0;

	for (const struct plan_recipient *at = plan->first; at; at = at->next, number++) {
		if (plan_recipient_refusal(at))
			continue;
		for (const struct plan_action *action = at->first; action; action = action->next) {
			const struct plan_keep *keep = plan_action_keep(action);
			if (!keep)
				continue;
			if (targets)
				targets[count] =
					(struct plan_target){ .keep = keep, .recipient = number };
			count++;
		}
	}
	return count;
}

static int compare_mailboxes(const struct plan_target *a, const struct plan_target *b)
{
	int order = text_compare(a->keep->user, b->keep->user);

	return order ? order : text_compare(a->keep->mailbox, b->keep->mailbox);
}

static int compare_for_all(const void *left, const void *right)
{
	const struct plan_target *a = left, *b = right;
	int order = compare_mailboxes(a, b);

	/* Of several that lead there the first decides on flags. */
	return order ? order : (a->recipient > b->recipient) - (a->recipient < b->recipient);
}

static int compare_for_each(const void *left, const void *right)
{
	const struct plan_target *a = left, *b = right;

	if (a->recipient != b->recipient)
		return a->recipient < b->recipient ? -1 : 1;
	return compare_mailboxes(a, b);
}

size_t plan_targets(const struct plan *plan, bool each, struct plan_target **targets)
{
	const size_t count = gather(plan, NULL);
	struct plan_target *all = arena_take(plan->arena, (count + 1) * sizeof(*all));
	size_t kept = 0;

	gather(plan, all);
	qsort(all, count, sizeof(*all), each ? compare_for_each : compare_for_all);
	for (size_t i = 0; i < count; i++) {
		if (kept == 0 || compare_mailboxes(&all[kept - 1], &all[i]) != 0 ||
			(each && all[kept - 1].recipient != all[i].recipient))
			all[kept++] = all[i];
	}
	*targets = all;
	return kept;
}

static bool is_from(const struct plan_recipient *recipient, struct text owner)
{
	for (const struct plan_action *action = recipient->first; action; action = action->next) {
		const struct plan_keep *keep = plan_action_keep(action);
		if (keep && !text_equal(keep->sender, owner))
			return false;
	}
	return true;
}

struct address plan_sender(const struct plan *plan, const struct address *sender)
{
	const struct plan_action *first = plan->first ? plan->first->first : NULL;
	const struct plan_keep *keep = first ? plan_action_keep(first) : NULL;
	const struct text owner = keep ? keep->sender : TEXT("");
	const ptrdiff_t at = text_find_last(owner, '@');

	if (at < 0 || sender->local.len == 0)
		return *sender;
	for (const struct plan_recipient *to = plan->first; to; to = to->next) {
		if (!is_from(to, owner))
			return *sender;
	}
	return (struct address){ .local = text_head(owner, (size_t)at),
		.domain = text_from(owner, (size_t)at + 1) };
}

struct text plan_only_user(const struct plan *plan)
{
	struct plan_target *targets;
	const size_t count = plan_targets(plan, false, &targets);

	/* They are in order. */
	if (count == 0 || !text_equal(targets[0].keep->user, targets[count - 1].keep->user))
		return (struct text){ 0 };
	return targets[0].keep->user;
}

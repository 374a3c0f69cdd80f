#include "mda/redirect.h"

#include "base/arena.h"

/* One recipient on its way; in its arena. */
struct journey {
	struct resolve *resolve;
	struct arena *arena;
	struct plan_recipient *recipient;
	struct plan_action *redirect;  /* that is being resolved; NULL: the recipient itself */
	struct plan_recipient *target; /* what it leads to */
	uint64_t size;
	resolve_done *done;
	void *owner;
};

static bool is_same(const struct address *a, const struct address *b)
{
	return text_equal_nocase(a->local, b->local) && text_equal_nocase(a->domain, b->domain);
}

/* Whether the recipient already has what this redirect stands for, or is about to. */
static bool was_there(const struct plan_recipient *recipient, const struct plan_action *redirect)
{
	const struct address *address = &redirect->of.redirect.address;

	if (is_same(&recipient->address, address))
		return true;
	for (const struct plan_action *at = recipient->first; at != redirect; at = at->next) {
		if (at->kind == PLAN_REDIRECT && is_same(&at->of.redirect.address, address))
			return true;
	}
	return false;
}

static size_t count_redirects(const struct plan_recipient *recipient)
{
	size_t count = 0;

	for (const struct plan_action *at = recipient->first; at; at = at->next)
		count += at->kind == PLAN_REDIRECT;
	return count;
}

static void refuse(const struct journey *journey, struct reply reply)
{
	plan_add_refuse(journey->arena, journey->recipient, &reply);
}

/* What the target's resolution says, as the recipient's own actions. */
static void take_over(struct journey *journey)
{
	struct plan_recipient *recipient = journey->recipient;
	const unsigned depth = journey->redirect->of.redirect.depth;

	for (struct plan_action *at = journey->target->first; at; at = at->next) {
		if (at->kind == PLAN_REDIRECT)
			at->of.redirect.depth = depth + 1;
		/* "Not one of our domains" is said to strangers; here somebody of ours chose it. */
		if (at->kind == PLAN_REFUSE && at->of.refuse.enhanced[0] == 5 &&
			at->of.refuse.enhanced[1] == 7 && at->of.refuse.enhanced[2] == 1)
			at->of.refuse = REPLY(550, 5, 4, 4,
				"redirected to another host, and this one sends no mail on");
	}
	if (!journey->target->first)
		return;
	*recipient->end = journey->target->first;
	recipient->end = journey->target->end;
}

static void on_resolved(void *owner, struct plan_recipient *target);

/* Resolve one redirect. True: done with it. */
static bool follow(struct journey *journey, struct plan_action *action)
{
	struct plan_redirect *redirect = &action->of.redirect;

	redirect->resolved = true;
	if (was_there(journey->recipient, action))
		return true;
	if (redirect->depth > REDIRECT_DEPTH_LIMIT ||
		count_redirects(journey->recipient) > REDIRECT_LIMIT) {
		refuse(journey, REPLY(554, 5, 4, 6, "redirected too often"));
		return true;
	}
	journey->redirect = action;
	journey->target = plan_recipient_new(journey->arena, &redirect->address);
	if (!resolve_recipient(journey->resolve, journey->arena, journey->target, journey->size,
		    on_resolved, journey))
		return false;
	take_over(journey);
	return true;
}

static bool ends_somewhere(const struct plan_recipient *recipient)
{
	for (const struct plan_action *at = recipient->first; at; at = at->next) {
		if (at->kind != PLAN_REDIRECT)
			return true;
	}
	return false;
}

/* Go on until nothing is left to resolve, or something has to be waited for. True: all is there. */
static bool go_on(struct journey *journey)
{
	const struct plan_recipient *recipient = journey->recipient;

	for (struct plan_action *at = recipient->first; at; at = at->next) {
		if (plan_recipient_refusal(recipient))
			return true;
		if (at->kind == PLAN_REDIRECT && !at->of.redirect.resolved && !follow(journey, at))
			return false;
	}
	if (!ends_somewhere(recipient))
		refuse(journey, REPLY(554, 5, 4, 6, "redirected in a circle"));
	return true;
}

static void on_resolved(void *owner, struct plan_recipient *target)
{
	struct journey *journey = owner;

	(void)target;
	if (journey->redirect)
		take_over(journey);
	if (go_on(journey))
		journey->done(journey->owner, journey->recipient);
}

static struct journey *begin(struct resolve *resolve, struct arena *arena,
	struct plan_recipient *recipient, uint64_t size, resolve_done *done, void *owner)
{
	struct journey *journey = arena_take(arena, sizeof(*journey));

	*journey = (struct journey){ .resolve = resolve,
		.arena = arena,
		.recipient = recipient,
		.size = size,
		.done = done,
		.owner = owner };
	return journey;
}

bool redirect_recipient(struct resolve *resolve, struct arena *arena,
	struct plan_recipient *recipient, uint64_t size, resolve_done *done, void *owner)
{
	struct journey *journey = begin(resolve, arena, recipient, size, done, owner);

	return resolve_recipient(resolve, arena, recipient, size, on_resolved, journey) &&
	       go_on(journey);
}

bool redirect_follow(struct resolve *resolve, struct arena *arena, struct plan_recipient *recipient,
	uint64_t size, resolve_done *done, void *owner)
{
	return go_on(begin(resolve, arena, recipient, size, done, owner));
}

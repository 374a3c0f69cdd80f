#include "mda/commit.h"

#include "mda/settings.h"
#include "mda/store_link.h"
#include "mda/verdict.h"

_Static_assert((int)MDA_RECIPIENTS_MOST <= (int)STORE_RECIPIENTS_LIMIT &&
		       (int)PLAN_KEPT_LIMIT <= (int)STORE_RECIPIENTS_LIMIT,
	"one transaction has room");

/* ---- verdicts ---- */

static void give_all(struct plan *plan, const struct reply *verdict)
{
	for (struct plan_recipient *at = plan->first; at; at = at->next)
		at->verdict = *verdict;
}

/* Those who are refused by the plan hear so, all others that all is well so far. */
static void give_first(struct plan *plan)
{
	for (struct plan_recipient *at = plan->first; at; at = at->next) {
		const struct reply *refusal = plan_recipient_refusal(at);
		at->verdict = refusal ? *refusal : verdict_reply(STORE_OK);
	}
}

/*
 * One reply for all. A user who was there at RCPT and is gone now must not cost the others their
 * message: at the next attempt RCPT tells them apart.
 */
static struct reply reply_for_all(const struct plan *plan, enum store_failure failure)
{
	const bool several = !plan_only_user(plan).ptr;

	if (failure == STORE_NO_SUCH_USER && several)
		return REPLY(451, 4, 3, 0, "a recipient is gone, try again for the others");
	if (failure == STORE_OVER_QUOTA && several)
		return REPLY(
			452, 4, 2, 2, "message would take a recipient over quota, try each alone");
	return verdict_at_end(failure);
}

static bool is_kept(enum store_failure failure)
{
	return failure == STORE_OK || failure == STORE_ALREADY_EXISTS;
}

/* What became of these targets together: the first that failed, or whether all were there before. */
static enum store_failure sum_up(const struct plan_target *targets, size_t count)
{
	size_t before = 0;

	for (size_t i = 0; i < count; i++) {
		if (!is_kept(targets[i].failure))
			return targets[i].failure;
		before += targets[i].failure == STORE_ALREADY_EXISTS;
	}
	return before == count ? STORE_ALREADY_EXISTS : STORE_OK;
}

static const struct reply already_here = { 250, { 2, 0, 0 }, TEXT("already here") };

/* The targets are in the order of the recipients. */
static void give_each(struct commit *commit)
{
	const struct plan_target *targets = commit->targets;
	struct plan_recipient *recipient = commit->plan->first;
	size_t number = 0;

	for (size_t begin = 0, end; begin < commit->count; begin = end) {
		for (end = begin;
			end < commit->count && targets[end].recipient == targets[begin].recipient;)
			end++;
		for (; number < targets[begin].recipient; number++)
			recipient = recipient->next;
		const enum store_failure sum = sum_up(targets + begin, end - begin);
		recipient->verdict =
			sum == STORE_ALREADY_EXISTS ? already_here : verdict_at_end(sum);
	}
}

static void give_verdicts(struct commit *commit, enum store_failure failure)
{
	struct reply reply = reply_for_all(commit->plan, failure);

	if (commit->each) {
		give_each(commit);
		return;
	}
	if (failure == STORE_OK && sum_up(commit->targets, commit->count) == STORE_ALREADY_EXISTS)
		reply = already_here;
	give_all(commit->plan, &reply);
}

/* What the store says of each target; nothing of any: `failure` holds for all. */
static void note_fates(struct commit *commit, const struct store_deliver_reply *reply)
{
	struct message_reader verdicts = { .at = reply->verdicts.ptr, .left = reply->verdicts.len };
	struct message_reader uids = { .at = reply->uids.ptr, .left = reply->uids.len };

	for (size_t i = 0; i < commit->count; i++) {
		struct plan_target *target = &commit->targets[i];
		/* That it is here already is said of each or not at all. */
		target->failure =
			reply->failure == STORE_ALREADY_EXISTS ? STORE_INVALID : reply->failure;
		if (verdicts.left)
			target->failure = message_get_u8(&verdicts, STORE_FAILURES - 1);
		target->uid = uids.left ? message_get_u32(&uids, 0) : 0;
	}
}

static void name_culprits(struct commit *commit, const struct store_deliver_reply *reply)
{
	for (size_t i = 0; i < commit->count; i++)
		commit->targets[i].culprit =
			text_equal(commit->targets[i].keep->user, reply->user) ||
			(reply->verdicts.len && !is_kept(commit->targets[i].failure));
}

static void on_delivered(void *owner, struct store_reply *reply)
{
	struct commit *commit = owner;
	struct store_deliver_reply nothing = { .failure = (uint8_t)reply->failure };
	const bool away = reply->failure == STORE_AWAY;
	const struct store_deliver_reply *said = away ? &nothing : &reply->of.deliver;

	note_fates(commit, said);
	if (!away)
		name_culprits(commit, said);
	give_verdicts(commit, reply->failure);
	commit->done(commit->owner, said->file);
}

/* ---- requests ---- */

void commit_pack(struct buf *out, const struct plan_target *targets, size_t count, bool each)
{
	for (size_t i = 0; i < count; i++) {
		const struct plan_keep *keep = targets[i].keep;
		store_recipient_pack(
			out, &(struct store_recipient){
				     .user = keep->user,
				     .mailbox = keep->mailbox,
				     .flags = keep->flags,
				     .keywords = keep->keywords,
				     .once = keep->once,
				     .once_seconds = keep->once_seconds,
				     .group = each ? (uint32_t)targets[i].recipient : 0,
			     });
	}
}

static void deliver(struct commit *commit, struct store_client *client, struct text recipients,
	const struct commit_message *message)
{
	store_client_deliver(client,
		&(struct store_deliver){
			.id = text_of(message->id.string),
			.once = TEXT(""),
			.received = message->received,
			.spool = message->spool,
			.recipients = recipients,
			.body = message->spool ? TEXT("") : message->body,
		},
		on_delivered, commit);
}

/* All with this verdict, without asking. */
static bool end_now(struct commit *commit, struct store_link *link,
	const struct commit_message *message, const struct reply *verdict)
{
	give_all(commit->plan, verdict);
	commit->count = 0;
	commit_drop_spool(link, message->spool, message->generation);
	return false;
}

static const struct reply *first_refusal(const struct plan *plan)
{
	for (const struct plan_recipient *at = plan->first; at; at = at->next) {
		const struct reply *refusal = plan_recipient_refusal(at);
		if (refusal)
			return refusal;
	}
	return NULL;
}

bool commit_start(struct commit *commit, struct store_link *link, struct plan *plan,
	const struct commit_message *message)
{
	struct store_client *client = store_link_client(link);
	const struct reply *refusal = commit->each ? NULL : first_refusal(plan);
	const struct reply away = verdict_reply(STORE_AWAY);
	struct buf recipients = { 0 };

	commit->plan = plan;
	commit->count = plan_targets(plan, commit->each, &commit->targets);
	give_first(plan);
	if (refusal)
		return end_now(commit, link, message, refusal);
	if (commit->count == 0) {
		commit_drop_spool(link, message->spool, message->generation);
		return false;
	}
	if (!client || (message->spool && message->generation != store_link_generation(link)))
		return end_now(commit, link, message, &away);
	commit_pack(&recipients, commit->targets, commit->count, commit->each);
	const bool fits = commit->count <= STORE_RECIPIENTS_LIMIT &&
			  buf_length(&recipients) <= STORE_DELIVER_RECIPIENTS_LIMIT;
	if (fits)
		deliver(commit, client, buf_text(&recipients), message);
	else
		end_now(commit, link, message,
			&REPLY(452, 4, 5, 3, "too many mailboxes for one message"));
	buf_release(&recipients);
	return fits;
}

void commit_drop_spool(struct store_link *link, uint32_t spool, uint64_t generation)
{
	struct store_client *client = store_link_client(link);

	if (spool && client && generation == store_link_generation(link))
		store_client_drop_spool(client, spool);
}

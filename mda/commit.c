#include "mda/commit.h"

#include "mda/settings.h"
#include "mda/store_link.h"
#include "mda/verdict.h"

_Static_assert((int)MDA_RECIPIENTS_MOST <= (int)STORE_RECIPIENTS_LIMIT, "one transaction has room");

/*
 * A user who was there at RCPT and is gone now must not cost the others their message: at the next
 * attempt RCPT tells them apart.
 */
static struct reply reply_for(const struct commit *commit, enum store_failure failure)
{
	if (failure == STORE_NO_SUCH_USER && commit->several)
		return REPLY(451, 4, 3, 0, "a recipient is gone, try again for the others");
	if (failure == STORE_OVER_QUOTA)
		return commit->several ? REPLY(452, 4, 2, 2,
						 "message would take a recipient over quota, try "
						 "each alone")
				       : REPLY(452, 4, 2, 2,
						 "message would take the mailbox over its quota");
	return verdict_reply(failure);
}

static void on_delivered(void *owner, struct store_reply *reply)
{
	const struct commit *commit = owner;
	const bool away = reply->failure == STORE_AWAY;
	const struct commit_outcome outcome = {
		.failure = reply->failure,
		.reply = reply_for(commit, reply->failure),
		.user = away ? TEXT("") : reply->of.deliver.user,
	};

	commit->done(commit->owner, &outcome);
}

static void add_recipients(struct buf *out, const struct plan *plan)
{
	const struct plan_keep **mailbox;
	size_t count = plan_mailboxes(plan, &mailbox);

	for (size_t i = 0; i < count; i++) {
		const struct store_recipient recipient = {
			.user = mailbox[i]->user,
			.mailbox = mailbox[i]->mailbox,
			.flags = mailbox[i]->flags,
			.keywords = mailbox[i]->keywords,
		};
		store_recipient_pack(out, &recipient);
	}
}

static void deliver(struct commit *commit, struct store_client *client, const struct plan *plan,
	const struct commit_message *message)
{
	struct buf recipients = { 0 };

	add_recipients(&recipients, plan);
	store_client_deliver(client,
		&(struct store_deliver){
			.id = text_of(message->id.string),
			.once = message->once,
			.received = message->received,
			.spool = message->spool,
			.recipients = buf_text(&recipients),
			.body = message->spool ? TEXT("") : message->body,
		},
		on_delivered, commit);
	buf_release(&recipients);
}

static struct commit_outcome outcome_of(enum store_failure failure)
{
	return (struct commit_outcome){
		.failure = failure,
		.reply = verdict_reply(failure),
		.user = TEXT(""),
	};
}

bool commit_start(struct commit *commit, struct store_link *link, const struct plan *plan,
	const struct commit_message *message, struct commit_outcome *outcome)
{
	const struct reply *refusal = plan_refusal(plan);
	struct store_client *client = store_link_client(link);

	if (refusal) {
		*outcome = outcome_of(STORE_REFUSED);
		outcome->reply = *refusal;
		commit_drop_spool(link, message->spool, message->generation);
		return false;
	}
	if (!client || (message->spool && message->generation != store_link_generation(link))) {
		*outcome = outcome_of(STORE_AWAY);
		return false;
	}
	commit->several = !plan_only_user(plan).ptr;
	deliver(commit, client, plan, message);
	return true;
}

/* A delivery to nobody: the store answers that it makes no sense, and the file is gone. */
void commit_drop_spool(struct store_link *link, uint32_t spool, uint64_t generation)
{
	struct store_client *client = store_link_client(link);

	if (!spool || !client || generation != store_link_generation(link))
		return;
	store_client_deliver(client,
		&(struct store_deliver){
			.id = TEXT(""),
			.once = TEXT(""),
			.spool = spool,
			.recipients = TEXT(""),
			.body = TEXT(""),
		},
		NULL, NULL);
}

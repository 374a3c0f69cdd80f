#include "store/quota.h"

#include <string.h>

#include "store/change.h"
#include "store/mailbox.h"
#include "store/users.h"

void engine_user_limits(const struct engine *engine, const struct engine_user *user,
	uint64_t *octets, uint64_t *messages)
{
	*octets = user->quota_octets ? user->quota_octets : engine->options.quota_octets;
	*messages = user->quota_messages ? user->quota_messages : engine->options.quota_messages;
}

bool quota_allows(const struct engine *engine, const struct account *account, uint64_t size)
{
	uint64_t octets, messages;

	engine_user_limits(engine, &account->user->public, &octets, &messages);
	return (!octets || (account->octets <= octets && size <= octets - account->octets)) &&
	       (!messages || account->messages < messages);
}

void quota_follow(struct engine *engine, struct account *account)
{
	struct user *user = account->user;

	if (user->promised == 0 || quota_allows(engine, account, user->promised))
		return;
	user->promised = 0;
	users_announce(engine);
}

enum store_failure engine_lookup(struct engine *engine, struct text user, uint64_t size)
{
	struct account *account;
	const enum store_failure failure =
		engine->broken ? STORE_BUSY : account_of(engine, user, &account);

	if (failure != STORE_OK)
		return failure;
	/* No message is smaller than an octet: who has used up the last one is full. */
	if (size == 0)
		size = 1;
	if (!quota_allows(engine, account, size))
		return STORE_OVER_QUOTA;
	if (account->user->promised < size)
		account->user->promised = size;
	return STORE_OK;
}

/* ---- a quota of one's own ---- */

struct quota {
	uint64_t octets, messages;
};

static bool quota_set(struct change *change)
{
	struct user *user = users_find(change->engine, change->result.user);
	const struct quota *quota = change->context;

	if (user) {
		user->public.quota_octets = quota->octets;
		user->public.quota_messages = quota->messages;
		users_announce(change->engine);
	}
	users_save(change->engine, change);
	return true;
}

static enum store_failure store_quota(
	struct engine *engine, const struct user *user, const struct quota *quota)
{
	struct env_txn *txn;
	int error = env_begin(engine->env, &txn);

	if (error == 0) {
		error = users_put_quota(engine, txn, user, quota->octets, quota->messages);
		if (error)
			env_abort(txn);
		else
			error = env_commit(txn);
	}
	return error ? engine_env_failure(engine, "user-quota", error) : STORE_OK;
}

void engine_user_quota(struct engine *engine, struct text address, uint64_t octets,
	uint64_t messages, engine_done *done, void *owner)
{
	struct change *change = change_new(engine, done, owner);
	const struct user *user = users_find(engine, address);
	struct quota *quota = arena_take(change->arena, sizeof(*quota));
	enum store_failure failure;

	*quota = (struct quota){ .octets = octets, .messages = messages };
	if (engine->broken || (user && user->leaving))
		failure = STORE_BUSY;
	else if (!user || user->hidden)
		failure = STORE_NO_SUCH_USER;
	else if (octets > STORE_QUOTA_NONE || messages > STORE_QUOTA_NONE)
		failure = STORE_INVALID;
	else
		failure = store_quota(engine, user, quota);
	if (failure != STORE_OK) {
		change_ready(change, failure);
		return;
	}
	change->result.user = text_copy(change->arena, address);
	change->context = quota;
	change->settled = quota_set;
	change_stage(change);
}

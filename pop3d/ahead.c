#include "pop3d/ahead.h"

#include <unistd.h>

#include "base/mem.h"
#include "store/client.h"

struct ahead *ahead_new(void)
{
	return mem_new(sizeof(struct ahead));
}

static void close_rest(struct ahead *ahead)
{
	for (uint32_t i = 0; i < ahead->answered; i++) {
		if (ahead->fd[i] >= 0)
			close(ahead->fd[i]);
		ahead->fd[i] = -1;
	}
}

void ahead_free(struct ahead **ahead)
{
	if (*ahead == NULL)
		return;
	close_rest(*ahead);
	mem_free(*ahead);
	*ahead = NULL;
}

int ahead_take(struct ahead *ahead, uint32_t number, int *fd, enum store_failure *failure)
{
	const uint32_t index = number - ahead->first;

	if (number < ahead->first || index >= ahead->answered)
		return 0;
	if (ahead->fd[index] < 0) {
		*failure = (enum store_failure)ahead->failure[index];
		/* Taken before: the client asks for the same message once more. */
		return *failure == STORE_OK ? 0 : -1;
	}
	*fd = ahead->fd[index];
	ahead->fd[index] = -1;
	return 1;
}

bool ahead_is_settled(const struct ahead *ahead)
{
	return ahead->answered == ahead->asked;
}

void ahead_ask(
	struct ahead *ahead, const struct maildrop *maildrop, uint32_t number, struct buf *out)
{
	const bool in_sequence = ahead->asked > 0 && number == ahead->first + ahead->asked;
	uint32_t count = in_sequence ? ahead->asked * 2 : 1;

	close_rest(ahead);
	if (count > AHEAD_LIMIT)
		count = AHEAD_LIMIT;
	if (count > maildrop->messages - (number - 1))
		count = maildrop->messages - (number - 1);
	ahead->first = number;
	ahead->asked = count;
	ahead->answered = 0;
	for (uint32_t i = 0; i < count; i++)
		message_add_u32(out, maildrop->listing->entry[number - 1 + i].uid);
}

void ahead_answer(struct ahead *ahead, struct store_reply *reply)
{
	if (ahead_is_settled(ahead))
		return;
	ahead->failure[ahead->answered] = (uint8_t)reply->failure;
	ahead->fd[ahead->answered] = reply->failure == STORE_OK ? reply->fd : -1;
	if (reply->failure == STORE_OK)
		reply->fd = -1;
	ahead->answered++;
}

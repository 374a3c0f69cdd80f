#include "pop3d/ahead.h"

#include <unistd.h>

#include "base/mem.h"
#include "store/client.h"

struct ahead *ahead_new(unsigned *held)
{
	struct ahead *ahead = mem_new(sizeof(*ahead));

	ahead->held = held;
	return ahead;
}

static struct ahead_message *slot(struct ahead *ahead, uint32_t number)
{
	return &ahead->message[number % AHEAD_ROOM];
}

/* The oldest one is no longer kept. */
static struct ahead_message pass(struct ahead *ahead)
{
	const struct ahead_message message = *slot(ahead, ahead->first);

	ahead->first++;
	ahead->asked--;
	ahead->answered--;
	if (message.fd >= 0)
		--*ahead->held;
	return message;
}

static void drop(struct ahead *ahead, uint32_t count)
{
	while (count-- > 0) {
		const struct ahead_message message = pass(ahead);

		if (message.fd >= 0)
			close(message.fd);
	}
}

void ahead_free(struct ahead **ahead)
{
	if (*ahead == NULL)
		return;
	drop(*ahead, (*ahead)->answered);
	mem_free(*ahead);
	*ahead = NULL;
}

int ahead_take(struct ahead *ahead, uint32_t number, struct ahead_message *message)
{
	if (number < ahead->first || number - ahead->first >= ahead->answered)
		return 0;
	drop(ahead, number - ahead->first);
	*message = pass(ahead);
	return message->fd >= 0 ? 1 : -1;
}

static void ask(
	struct ahead *ahead, const struct maildrop *maildrop, uint32_t count, struct buf *out)
{
	const uint32_t from = ahead->first + ahead->asked;

	if (count > AHEAD_QUESTION)
		count = AHEAD_QUESTION;
	if (count > 1 && *ahead->held >= AHEAD_DESCRIPTORS)
		count = 1;
	if (count > maildrop->messages - (from - 1))
		count = maildrop->messages - (from - 1);
	ahead->asked += count;
	ahead->question = count;
	for (uint32_t i = 0; i < count; i++)
		message_add_u32(out, maildrop->listing->entry[from - 1 + i].uid);
}

void ahead_ask(
	struct ahead *ahead, const struct maildrop *maildrop, uint32_t number, struct buf *out)
{
	const bool in_sequence = ahead->question > 0 && number == ahead->first + ahead->asked;

	if (ahead->answered < ahead->asked)
		return;
	drop(ahead, ahead->answered);
	ahead->first = number;
	ask(ahead, maildrop, in_sequence ? ahead->question * 2 : 1, out);
}

void ahead_ask_more(struct ahead *ahead, const struct maildrop *maildrop, struct buf *out)
{
	/* From the second message in a row on; and not before half of what was asked for is used. */
	if (ahead->question < 2 || ahead->asked > ahead->question / 2 ||
		ahead->first + ahead->asked > maildrop->messages ||
		*ahead->held >= AHEAD_DESCRIPTORS)
		return;
	ask(ahead, maildrop, ahead->question * 2, out);
}

bool ahead_gathers(const struct ahead *ahead)
{
	return ahead->answered < ahead->asked && ahead->answered < AHEAD_FEW;
}

void ahead_answer(struct ahead *ahead, struct store_reply *reply)
{
	struct ahead_message *message;

	if (ahead->answered == ahead->asked)
		return;
	message = slot(ahead, ahead->first + ahead->answered++);
	*message = (struct ahead_message){ .fd = -1, .failure = reply->failure };
	if (reply->failure != STORE_OK)
		return;
	if (reply->fd < 0) {
		message->failure = STORE_DAMAGED;
		return;
	}
	message->fd = reply->fd;
	message->size = reply->of.fetch.size;
	reply->fd = -1;
	++*ahead->held;
}

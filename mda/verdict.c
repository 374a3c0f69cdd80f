#include "mda/verdict.h"

struct reply verdict_reply(enum store_failure failure)
{
	switch (failure) {
	case STORE_OK:
		return REPLY(250, 2, 0, 0, "stored");
	case STORE_NO_SUCH_USER:
		return REPLY(550, 5, 1, 1, "no such user here");
	case STORE_OVER_QUOTA:
		return REPLY(452, 4, 2, 2, "mailbox is over its quota");
	case STORE_TOO_LARGE:
		return REPLY(552, 5, 3, 4, "message too large");
	case STORE_LOCKED:
		return REPLY(450, 4, 2, 0, "mailbox is locked, try again later");
	case STORE_NO_SPACE:
		return REPLY(452, 4, 3, 1, "no space left, try again later");
	case STORE_BUSY:
		return REPLY(451, 4, 3, 2, "too busy, try again later");
	case STORE_NO_SUCH_MAILBOX:
		return REPLY(451, 4, 2, 0, "mailbox is missing, try again later");
	case STORE_AWAY:
		return REPLY(451, 4, 3, 0, "mail store is away, try again later");
	case STORE_NOT_DURABLE:
		return REPLY(451, 4, 3, 0, "message could not be made safe, try again later");
	case STORE_REFUSED:
		return REPLY(451, 4, 3, 5, "mail store is not set up for this, try again later");
	case STORE_DAMAGED:
	case STORE_NO_SUCH_MESSAGE:
	case STORE_BAD_LOGIN:
	case STORE_ALREADY_EXISTS:
	case STORE_INVALID:
	case STORE_FAILURES:
		break;
	}
	return REPLY(451, 4, 3, 0, "local error, try again later");
}

struct reply verdict_at_end(enum store_failure failure)
{
	if (failure == STORE_OVER_QUOTA)
		return REPLY(452, 4, 2, 2, "message would take the mailbox over its quota");
	return verdict_reply(failure);
}

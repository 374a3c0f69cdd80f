#include "store/failure.h"

const char *store_failure_name(enum store_failure failure)
{
	switch (failure) {
	case STORE_OK:
		return "ok";
	case STORE_NO_SUCH_USER:
		return "no such user";
	case STORE_NO_SUCH_MAILBOX:
		return "no such mailbox";
	case STORE_NO_SUCH_MESSAGE:
		return "no such message";
	case STORE_BAD_LOGIN:
		return "wrong user or password";
	case STORE_ALREADY_EXISTS:
		return "already exists";
	case STORE_OVER_QUOTA:
		return "over quota";
	case STORE_TOO_LARGE:
		return "too large";
	case STORE_LOCKED:
		return "mailbox locked";
	case STORE_NO_SPACE:
		return "no space left";
	case STORE_NOT_DURABLE:
		return "could not be made durable";
	case STORE_DAMAGED:
		return "damaged";
	case STORE_BUSY:
		return "busy";
	case STORE_REFUSED:
		return "refused";
	case STORE_INVALID:
		return "invalid request";
	case STORE_AWAY:
		return "store not reachable";
	case STORE_FAILURES:
		break;
	}
	return "unknown failure";
}

bool store_failure_is_temporary(enum store_failure failure)
{
	switch (failure) {
	case STORE_OVER_QUOTA:
	case STORE_LOCKED:
	case STORE_NO_SPACE:
	case STORE_NOT_DURABLE:
	case STORE_DAMAGED:
	case STORE_BUSY:
	case STORE_AWAY:
		return true;
	case STORE_OK:
	case STORE_NO_SUCH_USER:
	case STORE_NO_SUCH_MAILBOX:
	case STORE_NO_SUCH_MESSAGE:
	case STORE_BAD_LOGIN:
	case STORE_ALREADY_EXISTS:
	case STORE_TOO_LARGE:
	case STORE_REFUSED:
	case STORE_INVALID:
	case STORE_FAILURES:
		break;
	}
	return false;
}

#include "store/trouble.h"

#include "base/clock.h"
#include "base/log.h"

static const struct {
	const char *event, *why;
} kinds[TROUBLES] = {
	[TROUBLE_LOGINS_WAITING] = { "login-put-off",
		"as many passwords wait to be checked as may" },
	[TROUBLE_LOGINS_FAILED] = { "login-put-off",
		"too many logins from this address have failed" },
	[TROUBLE_PASSWORD_CHANGED] = { "login-put-off",
		"the password was changed while the one before was checked" },
	[TROUBLE_PASSWORD_UNCHECKED] = { "login-put-off",
		"crypt(3) failed, as it does for want of memory" },
	[TROUBLE_CLOSED] = { "mailbox-not-opened", "closed for the moment" },
	[TROUBLE_DIRECTORIES] = { "mailbox-not-opened", "its directories could not be read" },
	[TROUBLE_LISTING] = { "mailbox-not-opened", "its listing could not be made" },
};

void trouble_tell(
	struct troubles *troubles, enum trouble kind, struct text user, struct text detail)
{
	const int64_t now = clock_milliseconds();

	if (now < troubles->kind[kind].until) {
		troubles->kind[kind].untold++;
		return;
	}
	LOG_WARNING(kinds[kind].event, LOG_STRING("why", kinds[kind].why), LOG_TEXT("user", user),
		LOG_OPTIONAL("detail", detail), LOG_NUMBER("untold", troubles->kind[kind].untold));
	troubles->kind[kind].until = now + TROUBLE_SECONDS * 1000;
	troubles->kind[kind].untold = 0;
}

/*
 * Logins: user and password to verdict. The password is checked in another thread (store/password.h),
 * unless the same login was verified a short time ago (store/password_cache.h).
 *
 * A failure is told only when the delay since the attempt has passed, whatever was found out until then,
 * and is counted against the client's address, whose next ones are told later and later. Beyond the
 * limit of failures a client's passwords are not looked at, but a login that is remembered still
 * succeeds: others behind the same address are not locked out by a neighbour who guesses.
 */
#ifndef STORE_LOGIN_H
#define STORE_LOGIN_H

#include "base/buf.h"
#include "store/engine.h"
#include "store/password.h"

struct event_base;
struct login;
struct logins;

struct login_options {
	uint64_t remember; /* seconds; 0: not */
	uint64_t delay;    /* seconds */
	uint64_t failures; /* of one client address within window; 0: no limit */
	uint64_t window;   /* seconds */
	bool limit_loopback;
	const char *domain; /* added to a user's name that has none; may be NULL. Copied. */
};

struct logins *logins_new(struct event_base *loop, struct engine *engine,
	struct passwords *passwords, const struct login_options *options);
/* After every login has ended or was forgotten. */
void logins_free(struct logins **logins);

void logins_configure(struct logins *logins, const struct login_options *options);

/* Add "name=number\n" lines. */
void logins_count(const struct logins *logins, struct buf *out);

/* STORE_OK with the user, or STORE_BAD_LOGIN or STORE_BUSY with NULL. */
typedef void login_done(void *owner, enum store_failure failure, const struct engine_user *user);

/* NULL: `done` has been called already. Otherwise it will be, once, from the loop. */
struct login *login_begin(
	struct logins *logins, const struct store_login *request, login_done *done, void *owner);

/*
 * The same for a login whose proof was looked at elsewhere (store/sasl.h): it counts, is put off and is
 * told like one with a password. request->password is not looked at.
 */
struct login *login_judge(struct logins *logins, const struct store_login *request, bool proven,
	login_done *done, void *owner);

/*
 * Whether a client has failed so often that no exchange with it need be begun whose end is known only at its
 * end: nothing is remembered of SCRAM.
 */
bool login_is_refused(struct logins *logins, struct text peer);

/*
 * Whether this login of a user comes within that many seconds of the last one asked for; if not, it is
 * remembered as the last one.
 */
bool login_is_too_soon(struct logins *logins, const struct engine_user *user, uint32_t spacing);

/* The user whom a client names, or NULL. *canonical is valid until the next call for these logins. */
const struct engine_user *login_find(
	struct logins *logins, struct text name, struct text *canonical);

/* `done` will not be called. Not from within it. */
void login_forget(struct login **login);

#endif

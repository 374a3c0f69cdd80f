#include <event2/event.h>
#include <event2/event_struct.h>
#include <string.h>
#include <time.h>

#include "base/arena.h"
#include "base/clock.h"
#include "base/log.h"
#include "base/mem.h"
#include "mail/address.h"
#include "store/login.h"
#include "store/login_peers.h"
#include "store/password_cache.h"
#include "store/trouble.h"

enum {
	DELAYED_LIMIT = 10000, /* answers that may be put off at once; one more is told at once */
	SWEEP_SECONDS = 15,
	LONGEST_DELAY = 30, /* seconds; many clients give up after a minute */
};

struct logins {
	struct event_base *loop;
	struct engine *engine;
	struct passwords *passwords;
	struct password_cache *cache;
	struct login_peers *peers;
	struct login_options options;
	struct arena *scratch;
	struct event sweep;
	size_t delayed;
	uint64_t *last; /* seconds of the last spaced login, by user number; 0: none */
	size_t last_room;
	uint64_t verified, remembered, failed, busy, limited;
	struct troubles troubles;
};

struct login {
	struct logins *logins;
	login_done *done;
	void *owner;
	struct password_job *job;
	struct event answer; /* at the end of the delay */
	bool is_delayed;
	enum store_failure failure;
	uint64_t begun;   /* milliseconds */
	struct text user; /* on the heap: canonical, or as it came when that cannot be */
	char *hash;       /* that the password is checked against; NULL: no such user */
	struct password_proof proof;
	bool has_proof;
	struct login_peer peer;
	bool peer_counts;
	char *peer_name;
};

static uint64_t milliseconds(void)
{
	return (uint64_t)clock_milliseconds();
}

static uint64_t seconds(void)
{
	return milliseconds() / 1000;
}

/* ---- life ---- */

static void sweep_later(struct logins *logins)
{
	const struct timeval later = { .tv_sec = SWEEP_SECONDS };

	if (!event_pending(&logins->sweep, EV_TIMEOUT, NULL))
		event_add(&logins->sweep, &later);
}

static void on_sweep(evutil_socket_t fd, short what, void *argument)
{
	struct logins *logins = argument;

	(void)fd, (void)what;
	if (password_cache_sweep(logins->cache, seconds()) > 0)
		sweep_later(logins);
}

static void set_options(struct logins *logins, const struct login_options *options)
{
	mem_free((char *)logins->options.domain);
	logins->options = *options;
	if (options->domain)
		logins->options.domain = mem_copy(options->domain, strlen(options->domain));
}

struct logins *logins_new(struct event_base *loop, struct engine *engine,
	struct passwords *passwords, const struct login_options *options)
{
	struct logins *logins = mem_new(sizeof(*logins));

	logins->loop = loop;
	logins->engine = engine;
	logins->passwords = passwords;
	logins->cache = password_cache_new();
	logins->peers = login_peers_new();
	set_options(logins, options);
	logins->scratch = arena_new(2048);
	event_assign(&logins->sweep, loop, -1, 0, on_sweep, logins);
	return logins;
}

void logins_free(struct logins **handle)
{
	struct logins *logins = *handle;

	*handle = NULL;
	if (!logins)
		return;
	event_del(&logins->sweep);
	password_cache_free(&logins->cache);
	login_peers_free(&logins->peers);
	arena_free(&logins->scratch);
	mem_free(logins->last);
	mem_free((char *)logins->options.domain);
	mem_free(logins);
}

void logins_configure(struct logins *logins, const struct login_options *options)
{
	if (options->remember < logins->options.remember)
		password_cache_clear(logins->cache);
	set_options(logins, options);
}

void logins_count(const struct logins *logins, struct buf *out)
{
	buf_format(out, "logins=%llu\n", (unsigned long long)logins->verified);
	buf_format(out, "logins-remembered=%llu\n", (unsigned long long)logins->remembered);
	buf_format(out, "logins-failed=%llu\n", (unsigned long long)logins->failed);
	buf_format(out, "logins-busy=%llu\n", (unsigned long long)logins->busy);
	buf_format(out, "logins-limited=%llu\n", (unsigned long long)logins->limited);
}

/* ---- one login ---- */

static void free_login(struct login *login)
{
	if (login->is_delayed) {
		event_del(&login->answer);
		login->logins->delayed--;
	}
	mem_free((char *)login->user.ptr);
	mem_free(login->hash);
	mem_free(login->peer_name);
	mem_wipe(login, sizeof(*login));
	mem_free(login);
}

static void finish(struct login *login, enum store_failure failure, const struct engine_user *user)
{
	login_done *done = login->done;
	void *owner = login->owner;

	free_login(login);
	done(owner, failure, user);
}

static void on_answer(evutil_socket_t fd, short what, void *argument)
{
	struct login *login = argument;

	(void)fd, (void)what;
	finish(login, login->failure, NULL);
}

static uint64_t failures_of(const struct login *login)
{
	const struct logins *logins = login->logins;

	if (!login->peer_counts)
		return 0;
	return login_peers_failures(logins->peers, &login->peer, seconds(), logins->options.window);
}

/* Seconds: the setting's, and twice as many with each failure of that address so far. */
static uint64_t delay_of(const struct login *login)
{
	uint64_t delay = login->logins->options.delay;

	for (uint64_t i = failures_of(login); i > 1 && delay > 0 && delay < LONGEST_DELAY; i--)
		delay *= 2;
	if (delay > LONGEST_DELAY && login->logins->options.delay < LONGEST_DELAY)
		return LONGEST_DELAY;
	return delay;
}

/* Tell it when the delay has passed. False: it is told already, and the login is gone. */
static bool finish_later(struct login *login, enum store_failure failure)
{
	struct logins *logins = login->logins;
	const uint64_t end = login->begun + delay_of(login) * 1000, now = milliseconds();

	if (now >= end || logins->delayed >= DELAYED_LIMIT) {
		finish(login, failure, NULL);
		return false;
	}
	const struct timeval left = {
		.tv_sec = (time_t)((end - now) / 1000),
		.tv_usec = (suseconds_t)((end - now) % 1000 * 1000),
	};
	login->failure = failure;
	login->is_delayed = true;
	logins->delayed++;
	event_assign(&login->answer, logins->loop, -1, 0, on_answer, login);
	/* Else it counts from the loop's last look at the clock, and on a busy machine that is too soon. */
	event_base_update_cache_time(logins->loop);
	event_add(&login->answer, &left);
	return true;
}

static bool is_over_limit(const struct login *login)
{
	const struct login_options *options = &login->logins->options;

	return options->failures && failures_of(login) >= options->failures;
}

bool login_is_refused(struct logins *logins, struct text peer)
{
	const struct login_options *options = &logins->options;
	struct login_peer address;

	if (options->failures == 0 || !login_peer_parse(peer, &address) ||
		(!options->limit_loopback && login_peer_is_loopback(&address)) ||
		login_peers_failures(logins->peers, &address, seconds(), options->window) <
			options->failures)
		return false;
	logins->limited++;
	trouble_tell(&logins->troubles, TROUBLE_LOGINS_FAILED, TEXT("-"), peer);
	return true;
}

/* False: it is told already. */
static bool fail(struct login *login)
{
	struct logins *logins = login->logins;

	logins->failed++;
	LOG_INFO("login-failed", LOG_TEXT("user", login->user),
		LOG_STRING("peer", login->peer_name));
	if (login->peer_counts)
		login_peers_fail(logins->peers, &login->peer, seconds(), logins->options.window);
	return finish_later(login, STORE_BAD_LOGIN);
}

/* Guesses made at once are no way around the limit, not even for the right one. False: it is told. */
static bool refuse(struct login *login)
{
	struct logins *logins = login->logins;

	logins->limited++;
	trouble_tell(
		&logins->troubles, TROUBLE_LOGINS_FAILED, login->user, text_of(login->peer_name));
	return finish_later(login, STORE_BUSY);
}

/* Nobody is to blame: it may be right, and was not looked at. */
static void put_off(struct login *login, enum trouble why)
{
	struct logins *logins = login->logins;

	logins->busy++;
	trouble_tell(&logins->troubles, why, login->user, TEXT(""));
	finish(login, STORE_BUSY, NULL);
}

static void on_checked(void *owner, enum password_verdict verdict)
{
	struct login *login = owner;
	struct logins *logins = login->logins;

	login->job = NULL;
	if (is_over_limit(login)) {
		refuse(login);
		return;
	}
	/* The account may have changed while the thread was at it: a new password was not looked at. */
	const struct engine_user *user = engine_user_find(logins->engine, login->user);
	if (user && login->hash && strcmp(user->hash, login->hash) != 0) {
		trouble_tell(&logins->troubles, TROUBLE_PASSWORD_CHANGED, login->user, TEXT(""));
		finish_later(login, STORE_BUSY);
		return;
	}
	if (verdict == PASSWORD_UNCHECKED) {
		put_off(login, TROUBLE_PASSWORD_UNCHECKED);
		return;
	}
	if (verdict == PASSWORD_WRONG || !user || !login->hash) {
		fail(login);
		return;
	}
	logins->verified++;
	if (login->has_proof && logins->options.remember) {
		const uint64_t now = seconds();
		password_cache_add(
			logins->cache, &login->proof, now, now + logins->options.remember);
		sweep_later(logins);
	}
	finish(login, STORE_OK, user);
}

/* The user that is meant, as the store knows it; as it came when it is no address. */
static struct text resolve(struct logins *logins, struct text name)
{
	struct address address;
	struct text whole = name;

	arena_empty(logins->scratch);
	if (text_find(name, '\0') >= 0)
		return name;
	if (logins->options.domain && text_find(name, '@') < 0)
		whole = text_format(
			logins->scratch, "%.*s@%s", TEXT_ARG(name), logins->options.domain);
	if (address_parse(logins->scratch, whole, true, &address) != ADDRESS_OK)
		return name;
	const struct text canonical = address_canonical(logins->scratch, &address);
	return canonical.ptr ? canonical : name;
}

static struct login *new_login(
	struct logins *logins, const struct store_login *request, login_done *done, void *owner)
{
	struct login *login = mem_new(sizeof(*login));
	const struct text user = resolve(logins, request->user);

	login->logins = logins;
	login->done = done;
	login->owner = owner;
	login->begun = milliseconds();
	login->user = (struct text){ .ptr = mem_copy(user.ptr, user.len), .len = user.len };
	login->peer_name = mem_copy(request->peer.ptr, request->peer.len);
	login->peer_counts =
		login_peer_parse(request->peer, &login->peer) &&
		(logins->options.limit_loopback || !login_peer_is_loopback(&login->peer));
	return login;
}

struct login *login_begin(
	struct logins *logins, const struct store_login *request, login_done *done, void *owner)
{
	struct login *login = new_login(logins, request, done, owner);
	const struct engine_user *user = engine_user_find(logins->engine, login->user);

	if (user) {
		login->hash = mem_copy(user->hash, strlen(user->hash));
		login->has_proof = password_cache_prove(logins->cache, user->address,
			text_of(user->hash), request->password, &login->proof);
	}
	if (login->has_proof && logins->options.remember &&
		password_cache_has(logins->cache, &login->proof, seconds())) {
		logins->remembered++;
		finish(login, STORE_OK, user);
		return NULL;
	}
	if (is_over_limit(login))
		return refuse(login) ? login : NULL;
	login->job = password_check(logins->passwords, request->password,
		login->hash ? text_of(login->hash) : TEXT(""), on_checked, login);
	if (login->job)
		return login;
	put_off(login, TROUBLE_LOGINS_WAITING);
	return NULL;
}

struct login *login_judge(struct logins *logins, const struct store_login *request, bool proven,
	login_done *done, void *owner)
{
	struct login *login = new_login(logins, request, done, owner);
	const struct engine_user *user = engine_user_find(logins->engine, login->user);

	if (is_over_limit(login))
		return refuse(login) ? login : NULL;
	if (!proven || !user)
		return fail(login) ? login : NULL;
	logins->verified++;
	finish(login, STORE_OK, user);
	return NULL;
}

bool login_is_too_soon(struct logins *logins, const struct engine_user *user, uint32_t spacing)
{
	const uint64_t now = seconds();

	if (spacing == 0)
		return false;
	if (user->number >= logins->last_room) {
		const size_t room = (size_t)user->number + 64;
		logins->last = mem_resize(logins->last, room * sizeof(*logins->last));
		memset(logins->last + logins->last_room, 0,
			(room - logins->last_room) * sizeof(*logins->last));
		logins->last_room = room;
	}
	if (logins->last[user->number] != 0 && now < logins->last[user->number] + spacing)
		return true;
	logins->last[user->number] = now;
	return false;
}

const struct engine_user *login_find(
	struct logins *logins, struct text name, struct text *canonical)
{
	*canonical = resolve(logins, name);
	return engine_user_find(logins->engine, *canonical);
}

void login_forget(struct login **handle)
{
	struct login *login = *handle;

	*handle = NULL;
	if (!login)
		return;
	password_job_forget(&login->job);
	free_login(login);
}

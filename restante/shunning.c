#include "restante/shunning.h"

#include <errno.h>
#include <event2/event.h>
#include <event2/event_struct.h>
#include <string.h>

#include "base/limits.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/shun.h"
#include "restante/child.h"

enum { SOON_MICROSECONDS = 20000, AGAIN_SECONDS = 1 };

struct shunning {
	const struct host *host;
	struct event look;
	struct shunned {
		struct net_prefix list[SHUN_MOST]; /* at the role's listeners */
		size_t count;
		bool failed; /* to be put there, at one of them at least */
	} roles[HOST_ROLES];
	bool looks_soon;
	bool told; /* that it cannot be done */
};

static void put(struct shunning *shunning, enum host_role_id role)
{
	const struct listeners *listeners = &shunning->host->listeners;
	struct shunned *shunned = &shunning->roles[role];

	shunned->failed = false;
	for (size_t i = 0; i < listeners->count; i++) {
		const struct listener *listener = &listeners->list[i];
		if (listener->role != role || !listener->service ||
			shun_attach(listener->fd, shunned->list, shunned->count) == 0)
			continue;
		if (!shunning->told)
			LOG_WARNING("not-shunned", LOG_ERRNO(errno),
				LOG_STRING("effect", "floods are refused connection by "
						     "connection"));
		shunning->told = shunned->failed = true;
	}
}

static void update(struct shunning *shunning, enum host_role_id role)
{
	struct shunned *shunned = &shunning->roles[role];
	struct net_prefix list[SHUN_MOST];
	const size_t count =
		limits_shunned(shunning->host->limits[role].table, child_now(), list, SHUN_MOST);

	if (!shunned->failed && count == shunned->count &&
		memcmp(list, shunned->list, count * sizeof(*list)) == 0)
		return;
	memcpy(shunned->list, list, count * sizeof(*list));
	shunned->count = count;
	put(shunning, role);
}

static void on_look(evutil_socket_t fd, short what, void *argument)
{
	const struct timeval again = { .tv_sec = AGAIN_SECONDS };
	struct shunning *shunning = argument;
	size_t count = 0;

	(void)fd, (void)what;
	shunning->looks_soon = false;
	for (enum host_role_id role = 0; role < HOST_ROLES; role++) {
		update(shunning, role);
		count += shunning->roles[role].count;
	}
	if (count)
		evtimer_add(&shunning->look, &again);
}

/* However often a worker says so: it may be one that has been taken over. */
void shunning_look(struct shunning *shunning)
{
	const struct timeval soon = { .tv_usec = SOON_MICROSECONDS };

	if (!shunning->looks_soon)
		evtimer_add(&shunning->look, &soon);
	shunning->looks_soon = true;
}

struct shunning *shunning_new(const struct host *host)
{
	struct shunning *shunning = mem_new(sizeof(*shunning));

	*shunning = (struct shunning){ .host = host };
	evtimer_assign(&shunning->look, host->loop, on_look, shunning);
	return shunning;
}

void shunning_free(struct shunning **at)
{
	struct shunning *shunning = *at;

	*at = NULL;
	if (!shunning)
		return;
	event_del(&shunning->look);
	mem_free(shunning);
}

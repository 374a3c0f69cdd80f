#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/socket.h>
#include <sysexits.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/limits.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/net.h"
#include "base/role_private.h"
#include "base/shun.h"

enum {
	ACCEPT_BATCH = 64, /* clients a round, so that the sessions there are get their turn */
	RETRY_MICROSECONDS = 200000,
	SHUN_MILLISECONDS = 100, /* the supervisor is told of a flood, and not flooded */
};

static bool is_listening(const struct role_run *run)
{
	return run->going && !run->stopping && !run->paused && !run->out_of_reach;
}

void role_update_listeners(struct role_run *run)
{
	const bool listening = is_listening(run);

	for (size_t i = 0; i < run->listener_count; i++) {
		struct role_listener *listener = run->listeners[i];
		if (listener->fd < 0)
			continue;
		if (listening)
			event_add(&listener->readable, NULL);
		else
			event_del(&listener->readable);
	}
}

void role_pause(struct role_context *context, bool paused)
{
	struct role_run *run = (struct role_run *)context;

	if (run->paused == paused)
		return;
	run->paused = paused;
	role_update_listeners(run);
}

static void on_retry(evutil_socket_t fd, short what, void *argument)
{
	struct role_run *run = argument;

	(void)fd, (void)what;
	run->out_of_reach = false;
	role_update_listeners(run);
}

/* Clients wait in the kernel's queue until something is free again. */
static void rest(struct role_run *run, int number)
{
	const struct timeval while_ = { .tv_usec = RETRY_MICROSECONDS };

	if (!run->told)
		LOG_WARNING("accept-failed", LOG_ERRNO(number),
			LOG_STRING("effect", "new clients wait until sessions have ended"));
	run->told = true;
	run->out_of_reach = true;
	role_update_listeners(run);
	evtimer_add(&run->retry, &while_);
}

/* Whether to go on with the next client. */
static bool accept_failed(struct role_run *run, int number)
{
	switch (number) {
	case EAGAIN:
		return false;
	case EMFILE:
	case ENFILE:
	case ENOBUFS:
	case ENOMEM:
		rest(run, number);
		return false;
	case EBADF:
	case EINVAL:
	case ENOTSOCK:
	case EOPNOTSUPP:
		LOG_ERROR("accept-failed", LOG_ERRNO(number));
		role_fail(run, EX_OSERR);
		return false;
	default: /* of this one client only: it has gone, or a firewall stood in between */
		return true;
	}
}

/* Who comes while others are shunned has the filter against them from the listener. */
static void release(const struct role_run *run, int client)
{
	struct net_prefix any;

	if (limits_shunned(run->context.limits, clock_milliseconds(), &any, 1))
		shun_release(client);
}

/* Told again while they go on coming: the supervisor may have looked before. */
static void tell_of_shunned(struct role_run *run)
{
	const int64_t now = clock_milliseconds();

	run->context.shunned = false;
	if (now - run->shun_said < SHUN_MILLISECONDS)
		return;
	run->shun_said = now;
	role_say_shun(run);
}

static void take_client(
	struct role_listener *listener, int client, const struct sockaddr_storage *from)
{
	struct role_run *run = listener->run;
	struct net_address peer;

	run->told = false;
	if (run->context.limits)
		release(run, client);
	run->context.peer = net_address_of_socket(from, &peer) == 0 ? &peer : NULL;
	run->role->accept(run->context.state, listener->name, client);
	run->context.peer = NULL;
	if (run->context.shunned)
		tell_of_shunned(run);
}

static void on_client(evutil_socket_t fd, short what, void *argument)
{
	struct role_listener *listener = argument;
	struct role_run *run = listener->run;

	(void)what;
	run->context.enough = false;
	for (int i = 0; i < ACCEPT_BATCH && is_listening(run) && !run->context.enough; i++) {
		struct sockaddr_storage from = { .ss_family = AF_UNSPEC };
		socklen_t size = sizeof(from);
		int client =
			accept4(fd, (struct sockaddr *)&from, &size, SOCK_NONBLOCK | SOCK_CLOEXEC);
		if (client >= 0)
			take_client(listener, client, &from);
		else if (!accept_failed(run, errno))
			return;
	}
}

int role_add_listener(struct role_run *run, struct text name, int fd)
{
	struct role_listener *listener = mem_new(sizeof(*listener));

	if (run->listener_count == ROLE_LISTENERS || name.len >= sizeof(listener->name) ||
		fcntl(fd, F_SETFL, O_NONBLOCK) != 0) {
		close(fd);
		mem_free(listener);
		return -1;
	}
	if (run->listener_count == 0)
		evtimer_assign(&run->retry, run->context.loop, on_retry, run);
	listener->run = run;
	listener->fd = fd;
	memcpy(listener->name, name.ptr, name.len);
	event_assign(&listener->readable, run->context.loop, fd, EV_READ | EV_PERSIST, on_client,
		listener);
	run->listeners[run->listener_count++] = listener;
	return 0;
}

/* The names stay: sessions may point to them. */
void role_close_listeners(struct role_run *run)
{
	if (run->listener_count)
		event_del(&run->retry);
	for (size_t i = 0; i < run->listener_count; i++) {
		struct role_listener *listener = run->listeners[i];
		if (listener->fd < 0)
			continue;
		event_del(&listener->readable);
		close(listener->fd);
		listener->fd = -1;
	}
}

void role_free_listeners(struct role_run *run)
{
	role_close_listeners(run);
	while (run->listener_count)
		mem_free(run->listeners[--run->listener_count]);
}

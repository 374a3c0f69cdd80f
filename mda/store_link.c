#include "mda/store_link.h"

#include <errno.h>
#include <event2/event.h>
#include <event2/event_struct.h>
#include <time.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/mem.h"

enum {
	FIRST_DELAY = 20, /* milliseconds until the first attempt to come back */
	LAST_DELAY = 1000,
	SOUND_SECONDS = 5, /* a connection that held so long makes the next delay the first again */
};

struct store_link {
	struct event_base *loop;
	const struct store_link_handlers *handlers;
	void *owner;
	struct store_client *client; /* NULL: away */
	struct event retry;
	unsigned delay;
	time_t since;
	uint64_t generation;
};

static void on_directory(void *owner, const struct store_directory *notice);
static void on_ended(void *owner);

static const struct store_client_handlers client_handlers = {
	.directory = on_directory,
	.ended = on_ended,
};

static time_t seconds_now(void)
{
	return clock_coarse_milliseconds() / 1000;
}

static void try_later(struct store_link *link)
{
	const struct timeval wait = {
		.tv_sec = link->delay / 1000,
		.tv_usec = (suseconds_t)(link->delay % 1000 * 1000),
	};

	event_add(&link->retry, &wait);
	link->delay = link->delay * 2 < LAST_DELAY ? link->delay * 2 : LAST_DELAY;
}

static void connect_now(struct store_link *link)
{
	int fd = link->handlers->connect(link->owner);

	if (fd < 0) {
		LOG_WARNING("store-unreachable", LOG_ERRNO(errno));
		try_later(link);
		return;
	}
	link->client = store_client_over(link->loop, fd, &client_handlers, link);
	link->since = seconds_now();
	link->generation++;
}

static void on_retry(evutil_socket_t fd, short what, void *argument)
{
	(void)fd, (void)what;
	connect_now(argument);
}

static void on_directory(void *owner, const struct store_directory *notice)
{
	struct store_link *link = owner;

	(void)notice;
	link->handlers->stale(link->owner);
}

static void on_ended(void *owner)
{
	struct store_link *link = owner;

	store_client_free(&link->client);
	if (seconds_now() - link->since >= SOUND_SECONDS)
		link->delay = FIRST_DELAY;
	/* Notices may be missed from here on. */
	link->handlers->stale(link->owner);
	try_later(link);
}

struct store_link *store_link_new(
	struct event_base *loop, const struct store_link_handlers *handlers, void *owner)
{
	struct store_link *link = mem_new(sizeof(*link));

	link->loop = loop;
	link->handlers = handlers;
	link->owner = owner;
	link->delay = FIRST_DELAY;
	event_assign(&link->retry, loop, -1, 0, on_retry, link);
	connect_now(link);
	return link;
}

void store_link_free(struct store_link **link)
{
	if (!*link)
		return;
	store_client_free(&(*link)->client);
	event_del(&(*link)->retry);
	mem_free(*link);
	*link = NULL;
}

struct store_client *store_link_client(struct store_link *link)
{
	return link->client;
}

uint64_t store_link_generation(const struct store_link *link)
{
	return link->generation;
}

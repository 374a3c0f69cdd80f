#include "restante/feed.h"

#include <event2/event.h>
#include <event2/event_struct.h>
#include <sysexits.h>

#include "base/log.h"
#include "base/mem.h"
#include "restante/aliases.h"
#include "restante/directory.h"
#include "store/client.h"

enum {
	RETRY_SECONDS = 1,
	REFUSALS =
		5, /* a domain that is new in the settings may reach the store after its aliases */
};

struct feed {
	struct host *host;
	struct store_client *client; /* while it is asked */
	struct event again;
	unsigned refusals;
	char *path; /* NULL: there is no file */
	struct aliases_file file;
};

static void end(struct feed *feed)
{
	store_client_free(&feed->client);
	event_del(&feed->again);
	aliases_release(&feed->file);
	mem_free(feed->path);
	feed->path = NULL;
	feed->refusals = 0;
}

static void log_mistake(void *owner, const char *sentence)
{
	(void)owner;
	LOG_ERROR("aliases-mistake", LOG_STRING("what", sentence));
}

static void log_doubt(void *owner, const char *sentence)
{
	(void)owner;
	LOG_WARNING("aliases-doubt", LOG_STRING("what", sentence));
}

static void on_answer(void *owner, struct store_reply *reply)
{
	const struct store_aliases_put_reply *said = &reply->of.aliases_put;
	struct feed *feed = owner;

	if (store_failure_is_temporary(reply->failure) ||
		(reply->failure == STORE_REFUSED && ++feed->refusals < REFUSALS)) {
		const struct timeval later = { .tv_sec = RETRY_SECONDS };
		store_client_free(&feed->client);
		event_add(&feed->again, &later);
		return;
	}
	aliases_report(&feed->file, said->sentence,
		reply->failure == STORE_OK ? log_doubt : log_mistake, NULL);
	if (reply->failure != STORE_OK)
		LOG_ERROR("aliases-refused", LOG_STRING("file", feed->path),
			LOG_STRING("why", store_failure_name(reply->failure)));
	else if (feed->path)
		LOG_INFO("aliases-read", LOG_STRING("file", feed->path),
			LOG_NUMBER("aliases", feed->file.count),
			LOG_NUMBER("changed", said->changed));
	end(feed);
}

static const struct store_client_handlers no_handlers = { 0 };

static void ask(struct feed *feed)
{
	feed->client = store_client_new(feed->host->loop, "store-admin", &no_handlers, feed);
	store_client_aliases_put(feed->client,
		&(struct store_aliases_put){
			.mode = STORE_ALIASES_FILE, .aliases = buf_text(&feed->file.run) },
		on_answer, feed);
}

static void on_again(evutil_socket_t fd, short what, void *argument)
{
	(void)fd, (void)what;
	ask(argument);
}

struct feed *feed_new(struct host *host)
{
	struct feed *feed = mem_new(sizeof(*feed));

	feed->host = host;
	evtimer_assign(&feed->again, host->loop, on_again, feed);
	return feed;
}

void feed_free(struct feed **feed)
{
	if (!*feed)
		return;
	end(*feed);
	mem_free(*feed);
	*feed = NULL;
}

void feed_start(struct feed *feed)
{
	const struct host *host = feed->host;
	const char *name = host_settings_string(host->settings, HOST_STORE, "aliases");

	end(feed);
	if (name[0]) {
		feed->path = host_settings_path(host->source.file, text_of(name));
		if (aliases_read(&feed->file, feed->path, directory_domain(host->settings),
			    log_mistake, NULL) != EX_OK) {
			LOG_ERROR("aliases-refused", LOG_STRING("file", feed->path));
			end(feed);
			return;
		}
	}
	ask(feed);
}

/*
 * A whole store in this process, for tests: real engine below a temporary directory, real server, and
 * connections of every kind to it.
 */
#ifndef TESTS_STORE_HOST_H
#define TESTS_STORE_HOST_H

#include <event2/event.h>
#include <fcntl.h>
#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "base/log.h"
#include "base/mem.h"
#include "store/client.h"
#include "store/directory.h"
#include "store/engine.h"
#include "store/server.h"

#define HOST_DOMAIN "example.test"
/* of the password "restante" */
#define HOST_HASH "$2b$04$WVC9gL8zlc3EEXgCbQHoGuVaeerbFj4SMUyqZW6j7zdojoN9g/TTC"

struct host {
	struct event_base *loop;
	struct engine *engine;
	struct server *server;
	char directory[64];
};

static void host_fail(const char *what)
{
	fprintf(stderr, "store_host: %s\n", what);
	abort();
}

static void host_directory_changed(void *owner, uint64_t version)
{
	struct host *host = owner;

	(void)version;
	if (host->server)
		server_directory_changed(host->server);
}

/* Cheap hashes, answers without delay; a test changes what it is about. */
static inline struct server_options host_options(void)
{
	return (struct server_options){
		.passwords = { .threads = 2, .waiting = 64, .method = "bcrypt", .cost = 4 },
		.logins = { .remember = 300,
			.delay = 0,
			.failures = 0,
			.window = 600,
			.domain = HOST_DOMAIN },
		.connections = 1000,
	};
}

static inline struct engine_options host_engine_options(struct host *host)
{
	return (struct engine_options){
		.hostname = "host.example.test",
		.cache_octets = 4 << 20,
		.directory = host_directory_changed,
		.owner = host,
	};
}

static inline void host_make_directory(struct host *host)
{
	struct stat st;

	snprintf(host->directory, sizeof(host->directory), "%s/restante-store-XXXXXX",
		stat("/dev/shm", &st) == 0 ? "/dev/shm" : "/tmp");
	if (!mkdtemp(host->directory))
		host_fail("no temporary directory");
}

/* Also again, over what an earlier life left. */
static inline void host_start(
	struct host *host, const struct server_options *server, const struct engine_options *engine)
{
	host->engine = engine_open(host->loop, host->directory, engine);
	if (!host->engine)
		host_fail("the engine does not open");
	engine_directory_configure(host->engine,
		&(struct directory_options){ .domains = (const char *const[]){ HOST_DOMAIN },
			.domain_count = 1,
			.separators = "+",
			.postmaster = "",
			.detail = DIRECTORY_DETAIL_EXISTING });
	host->server = server_new(host->loop, host->engine, server);
	if (!host->server)
		host_fail("the server does not start");
}

static inline void host_stop(struct host *host)
{
	server_free(&host->server);
	if (host->engine)
		engine_close(&host->engine);
}

static inline int host_unlink_entry(
	const char *path, const struct stat *st, int kind, struct FTW *where)
{
	(void)st, (void)kind, (void)where;
	return remove(path);
}

static inline void host_remove_directory(struct host *host)
{
	nftw(host->directory, host_unlink_entry, 16, FTW_DEPTH | FTW_PHYS);
}

/* One end is the server's; the other is returned. */
static inline int host_connect(struct host *host, enum store_peer peer)
{
	int pair[2];

	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, pair) != 0)
		host_fail("no socket pair");
	server_accept(host->server, peer, pair[0]);
	return pair[1];
}

/* Run the loop until *done; false when that takes longer than two minutes. */
static inline bool host_run_until(struct host *host, const bool *done)
{
	const struct timeval limit = { .tv_sec = 120 }, tick = { .tv_usec = 200000 };
	struct timespec begin, now;

	clock_gettime(CLOCK_MONOTONIC, &begin);
	while (!*done) {
		event_base_loopexit(host->loop, &tick);
		event_base_loop(host->loop, EVLOOP_ONCE);
		clock_gettime(CLOCK_MONOTONIC, &now);
		if (now.tv_sec - begin.tv_sec > limit.tv_sec)
			return false;
	}
	return true;
}

static inline void host_engine_done(void *owner, const struct engine_result *result)
{
	if (result->failure != STORE_OK)
		host_fail(store_failure_name(result->failure));
	*(bool *)owner = true;
}

/* With the password "restante". */
static inline void host_add_user(struct host *host, const char *address)
{
	bool done = false;

	engine_user_add(host->engine, text_of(address), HOST_HASH, host_engine_done, &done);
	if (!host_run_until(host, &done))
		host_fail("no user");
}

#endif

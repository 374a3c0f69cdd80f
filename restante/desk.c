#include "restante/desk.h"

#include <errno.h>
#include <event2/event.h>
#include <event2/event_struct.h>
#include <signal.h>
#include <stdio.h>
#include <sys/wait.h>
#include <sysexits.h>
#include <unistd.h>

#include "base/ipc.h"
#include "base/log.h"
#include "base/mem.h"
#include "restante/child.h"

enum {
	RETRY_MICROSECONDS = 20000, /* a host that is just starting has not bound its sockets yet */
	RETRIES = 250,
	STOP_SECONDS = 60,
};

struct desk {
	struct host *host;
	struct store_client *client;
	bool away;
	bool alone; /* the store is our own child */
	struct child child;
	bool child_ready, child_ended;
	int child_status;
};

static void on_ready(void *owner)
{
	struct desk *desk = owner;

	desk->child_ready = true;
}

static void on_child_ended(void *owner, int status, int64_t lived)
{
	struct desk *desk = owner;

	(void)lived;
	desk->child_ended = true;
	desk->child_status = status;
}

static const struct child_handlers child_handlers = {
	.ready = on_ready,
	.ended = on_child_ended,
};

static void on_away(void *owner)
{
	struct desk *desk = owner;

	desk->away = true;
}

static const struct store_client_handlers client_handlers = { .ended = on_away };

static int fail(int status, const char *what)
{
	host_complain(NULL, what);
	return status;
}

static int refuse(const char *what)
{
	return fail(EX_UNAVAILABLE, what);
}

/* ---- a store of our own ---- */

static int start_store(struct desk *desk)
{
	struct host *host = desk->host;
	char error[1200];

	host->libexec = host_libexec(error, sizeof(error));
	if (!host->libexec)
		return refuse(error);
	if (listeners_bind_store_admin(&host->listeners, host->settings, host_complain, NULL) != 0)
		return EX_UNAVAILABLE;
	/* A person is looking, who did not ask for the story of a store's short life. */
	settings_set(&common_section, host->settings->values[0], "log-level", TEXT("warning"),
		error, sizeof(error));
	child_init(&desk->child, host, HOST_STORE, 0, &child_handlers, desk);
	if (child_start(&desk->child) != 0) {
		snprintf(error, sizeof(error), "the store cannot be started: %s", log_errno(errno));
		return refuse(error);
	}
	desk->alone = true;
	while (!desk->child_ready && !desk->child_ended)
		event_base_loop(host->loop, EVLOOP_ONCE);
	return desk->child_ready ? EX_OK : refuse("the store did not start; its log line says why");
}

/* ---- the store of a host that runs ---- */

static int connect_to_host(struct desk *desk)
{
	char error[200];

	for (unsigned i = 0; i < RETRIES; i++) {
		const int fd = ipc_connect("store-admin");
		if (fd >= 0) {
			desk->client =
				store_client_over(desk->host->loop, fd, &client_handlers, desk);
			return EX_OK;
		}
		if (errno != ENOENT && errno != ECONNREFUSED)
			break;
		usleep(RETRY_MICROSECONDS);
	}
	snprintf(error, sizeof(error), "the host that runs there does not answer: %s",
		log_errno(errno));
	return refuse(error);
}

static int open_desk(struct desk *desk)
{
	struct host *host = desk->host;
	const char *path = host_settings_common(host->settings)->state;
	const struct sigaction ignore = { .sa_handler = SIG_IGN };
	char error[5000] = "";
	pid_t holder;

	sigaction(SIGPIPE, &ignore, NULL);
	const enum state_result result =
		state_open(&host->state, path, &holder, error, sizeof(error));
	if (result == STATE_FAILED)
		return fail(EX_CANTCREAT, error);
	const int run = result == STATE_OPEN ? host->state.run : state_open_run(path);
	if (run < 0 || fchdir(run) != 0) {
		snprintf(error, sizeof(error), "%.4000s/run: %s", path, log_errno(errno));
		return fail(EX_CANTCREAT, error);
	}
	if (result == STATE_IN_USE) {
		close(run);
		return connect_to_host(desk);
	}
	int status = host_open_store(host);
	if (status == EX_OK)
		status = start_store(desk);
	return status == EX_OK ? connect_to_host(desk) : status;
}

struct desk *desk_enter(struct host *host, int *status)
{
	struct desk *desk = mem_new(sizeof(*desk));

	desk->host = host;
	*status = open_desk(desk);
	if (*status != EX_OK)
		desk_leave(&desk);
	return desk;
}

struct store_client *desk_client(struct desk *desk)
{
	return desk->client;
}

int desk_wait(struct desk *desk, const bool *done)
{
	while (!*done && !desk->away)
		event_base_loop(desk->host->loop, EVLOOP_ONCE);
	return *done ? 0 : -1;
}

static void on_late(evutil_socket_t fd, short what, void *argument)
{
	(void)fd, (void)what;
	child_kill(argument);
}

static void stop_store(struct desk *desk)
{
	const struct timeval patience = { .tv_sec = STOP_SECONDS };
	struct event late;

	evtimer_assign(&late, desk->host->loop, on_late, &desk->child);
	event_add(&late, &patience);
	child_stop(&desk->child, STOP_SECONDS);
	while (!desk->child_ended)
		event_base_loop(desk->host->loop, EVLOOP_ONCE);
	event_del(&late);
	child_deinit(&desk->child);
}

void desk_leave(struct desk **handle)
{
	struct desk *desk = *handle;

	*handle = NULL;
	store_client_free(&desk->client);
	if (desk->alone)
		stop_store(desk);
	mem_free(desk);
}

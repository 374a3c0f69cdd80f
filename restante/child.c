#include "restante/child.h"

#include <errno.h>
#include <event2/event.h>
#include <signal.h>
#include <sys/wait.h>
#include <time.h>

#include "base/clock.h"
#include "base/control.h"
#include "base/ipc.h"
#include "base/limits.h"
#include "base/log.h"
#include "restante/spawn.h"

enum { LAST_SECONDS = 10 }; /* from the end of the control socket to that of the process */

static const struct host_role *role_of(const struct child *child)
{
	return &host_roles[child->role];
}

#define LOG_CHILD(child) \
	LOG_STRING("child", role_of(child)->name), LOG_NUMBER("worker", (child)->worker), \
		LOG_NUMBER("child-pid", (child)->pid)

int64_t child_now(void)
{
	return clock_milliseconds();
}

const char *child_state_name(enum child_state state)
{
	switch (state) {
	case CHILD_DOWN:
		return "down";
	case CHILD_STARTING:
		return "starting";
	case CHILD_RUNNING:
		return "running";
	case CHILD_STOPPING:
		return "stopping";
	}
	return "?";
}

/* ---- what it says ---- */

/* It does not keep to the protocol: whatever it is by now, it is not our role any more. */
static void distrust(struct child *child, const char *what)
{
	LOG_ERROR("child-confused", LOG_CHILD(child), LOG_STRING("what", what));
	child_kill(child);
}

static void take_ready(struct child *child)
{
	if (child->state != CHILD_STARTING) {
		LOG_DEBUG("child-reloaded", LOG_CHILD(child));
		return;
	}
	child->state = CHILD_RUNNING;
	event_del(&child->patience);
	LOG_DEBUG("child-ready", LOG_CHILD(child), LOG_NUMBER("ms", child_now() - child->started));
	if (child->handlers->ready)
		child->handlers->ready(child->owner);
}

static void on_frame(void *owner, struct ipc_frame *frame)
{
	struct child *child = owner;
	struct control_ready ready;
	struct control_counters counters;
	struct control_shun shun;

	if (frame->type == CONTROL_READY && frame->fd < 0 &&
		control_ready_unpack(frame->payload, &ready) == 0) {
		take_ready(child);
	} else if (frame->type == CONTROL_COUNTERS && frame->fd < 0 &&
		   control_counters_unpack(frame->payload, &counters) == 0) {
		if (child->handlers->counters)
			child->handlers->counters(child->owner, counters.lines);
	} else if (frame->type == CONTROL_SHUN && frame->fd < 0 &&
		   control_shun_unpack(frame->payload, &shun) == 0) {
		if (child->handlers->shun)
			child->handlers->shun(child->owner);
	} else {
		distrust(child, "an unknown message on the control socket");
	}
}

/* Most often it is about to exit, and SIGCHLD tells more; without us it is of no use in any case. */
static void on_ended(void *owner, const char *reason)
{
	const struct timeval patience = { .tv_sec = LAST_SECONDS };
	struct child *child = owner;

	(void)reason;
	ipc_free(&child->ipc);
	if (child->state != CHILD_STOPPING)
		event_add(&child->patience, &patience);
}

static const struct ipc_handlers ipc_handlers = { .frame = on_frame, .ended = on_ended };

/* ---- what it is told ---- */

static void send_configure(struct child *child)
{
	const struct host_settings *settings = child->host->settings;
	struct buf common = { 0 }, section = { 0 };
	const uid_t uid = host_uid(settings, child->role);

	settings_store(&common_section, host_settings_common(settings), &common);
	host_settings_store(settings, child->role, &section);
	const struct control_configure configure = {
		.common = buf_text(&common),
		.section = buf_text(&section),
		.uid = uid,
		.gid = uid,
	};
	control_configure_pack(ipc_begin(child->ipc, CONTROL_CONFIGURE, 0), &configure);
	ipc_end(child->ipc, -1);
	buf_release(&common);
	buf_release(&section);
}

static void send_listeners(struct child *child)
{
	const struct listeners *listeners = &child->host->listeners;

	for (size_t i = 0; i < listeners->count; i++) {
		const struct listener *listener = &listeners->list[i];
		if (listener->role != child->role)
			continue;
		const struct control_listener message = { .name = text_of(listener->name) };
		control_listener_pack(ipc_begin(child->ipc, CONTROL_LISTENER, 0), &message);
		ipc_end(child->ipc, listener->fd);
	}
}

static void send_certificates(struct child *child)
{
	const struct certificates *certificates = &child->host->certificates;

	for (size_t i = 0; role_of(child)->tls && i < certificates->count; i++) {
		const struct certificate *certificate = &certificates->list[i];
		const struct control_certificate message = {
			.chain = { .ptr = certificate->chain, .len = certificate->chain_size },
			.key = { .ptr = certificate->key, .len = certificate->key_size },
		};
		control_certificate_pack(ipc_begin(child->ipc, CONTROL_CERTIFICATE, 0), &message);
		ipc_end(child->ipc, -1);
	}
}

static void send_tickets(struct child *child)
{
	const struct host_tickets *tickets = &child->host->tickets[child->role];
	const struct control_tickets message = {
		.current = { .ptr = (const char *)tickets->current, .len = TLS_TICKET_KEY },
		.previous = { .ptr = (const char *)tickets->previous,
			.len = tickets->has_previous ? TLS_TICKET_KEY : 0 },
	};

	if (!role_of(child)->tls || !tickets->is_made)
		return;
	control_tickets_pack(ipc_begin(child->ipc, CONTROL_TICKETS, 0), &message);
	ipc_end(child->ipc, -1);
}

static void send_limits(struct child *child)
{
	const struct host_limits *limits = &child->host->limits[child->role];
	const struct control_limits message = { .workers = limits->workers };

	if (!limits->table)
		return;
	control_limits_pack(ipc_begin(child->ipc, CONTROL_LIMITS, 0), &message);
	ipc_end(child->ipc, limits->fd);
}

static void send_log(struct child *child)
{
	const struct control_log message = { 0 };

	if (child->host->log < 0)
		return;
	control_log_pack(ipc_begin(child->ipc, CONTROL_LOG, 0), &message);
	ipc_end(child->ipc, child->host->log);
}

static void send_go(struct child *child)
{
	const struct control_go go = { .worker = child->worker };

	control_go_pack(ipc_begin(child->ipc, CONTROL_GO, 0), &go);
	ipc_end(child->ipc, -1);
}

void child_reconfigure(struct child *child)
{
	if (!child->ipc || child->state == CHILD_STOPPING)
		return;
	child->reconfigured = true;
	send_configure(child);
	send_certificates(child);
	send_go(child);
}

void child_renew_tickets(struct child *child)
{
	if (child->ipc && child->state != CHILD_STOPPING)
		send_tickets(child);
}

void child_renew_log(struct child *child)
{
	if (child->ipc && child->state != CHILD_STOPPING)
		send_log(child);
}

bool child_count(struct child *child)
{
	const struct control_count count = { .worker = child->worker };

	if (!child->ipc || child->state != CHILD_RUNNING)
		return false;
	control_count_pack(ipc_begin(child->ipc, CONTROL_COUNT, 0), &count);
	ipc_end(child->ipc, -1);
	return true;
}

void child_stop(struct child *child, uint32_t seconds)
{
	const struct control_stop stop = { .seconds = seconds };

	if (child->state == CHILD_DOWN)
		return;
	child->state = CHILD_STOPPING;
	if (!child->ipc)
		return;
	event_del(&child->patience);
	control_stop_pack(ipc_begin(child->ipc, CONTROL_STOP, 0), &stop);
	ipc_end(child->ipc, -1);
}

void child_kill(struct child *child)
{
	if (child->state != CHILD_DOWN)
		kill(child->pid, SIGKILL);
}

/* ---- its life ---- */

static void on_sigchld(evutil_socket_t number, short what, void *argument)
{
	struct child *child = argument;
	int status;

	(void)number, (void)what;
	if (child->state == CHILD_DOWN || waitpid(child->pid, &status, WNOHANG) != child->pid)
		return;
	event_del(&child->reaper);
	event_del(&child->patience);
	ipc_free(&child->ipc);
	child->state = CHILD_DOWN;
	limits_forget(child->host->limits[child->role].table, child->worker);
	child->handlers->ended(child->owner, status, child_now() - child->started);
}

static void on_impatience(evutil_socket_t fd, short what, void *argument)
{
	struct child *child = argument;

	(void)fd, (void)what;
	LOG_ERROR("child-useless", LOG_CHILD(child),
		LOG_STRING("why",
			child->ipc ? "it is not ready in time" : "it closed its control socket"));
	child_kill(child);
}

void child_init(struct child *child, const struct host *host, enum host_role_id role,
	uint32_t worker, const struct child_handlers *handlers, void *owner)
{
	*child = (struct child){
		.host = host,
		.role = role,
		.worker = worker,
		.handlers = handlers,
		.owner = owner,
	};
	evsignal_assign(&child->reaper, host->loop, SIGCHLD, on_sigchld, child);
	evtimer_assign(&child->patience, host->loop, on_impatience, child);
}

void child_deinit(struct child *child)
{
	event_del(&child->reaper);
	event_del(&child->patience);
	ipc_free(&child->ipc);
}

int child_start(struct child *child)
{
	const struct host_role *role = role_of(child);
	const struct state *state = &child->host->state;
	const struct timeval patience = { .tv_sec = role->ready_seconds };
	int control;

	/* Before the fork, or its death could go unseen. */
	event_add(&child->reaper, NULL);
	if (spawn_role(child->host->libexec, role->name,
		    child->role == HOST_STORE ? state->store : state->run, &child->pid,
		    &control) != 0) {
		const int number = errno;
		event_del(&child->reaper);
		errno = number;
		return -1;
	}
	child->state = CHILD_STARTING;
	child->reconfigured = false;
	child->since = time(NULL);
	child->started = child_now();
	child->ipc = ipc_new(child->host->loop, control, CONTROL_PAYLOAD, &ipc_handlers, child);
	event_add(&child->patience, &patience);
	send_configure(child);
	send_listeners(child);
	send_certificates(child);
	send_tickets(child);
	send_limits(child);
	send_log(child);
	send_go(child);
	LOG_DEBUG("child-started", LOG_CHILD(child));
	return 0;
}

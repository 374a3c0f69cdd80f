#include "restante/supervisor.h"

#include <errno.h>
#include <event2/event.h>
#include <fcntl.h>
#include <signal.h>
#include <string.h>
#include <sys/wait.h>
#include <sysexits.h>
#include <time.h>
#include <unistd.h>

#include "base/log.h"
#include "base/mem.h"
#include "restante/feed.h"
#include "restante/reload.h"
#include "restante/shunning.h"
#include "restante/supervisor_private.h"

enum {
	FIRST_DEATHS = 8,  /* a role that never was ready gets so many starts */
	GRACE_SECONDS = 2, /* beyond what a role was given */
	STORE_SECONDS =
		60, /* its last checkpoint may take long, and costs a replay when cut short */
	HURRY_SECONDS = 1, /* the same when told twice */
	HURRY_STORE_SECONDS = 10,
	LOG_SECONDS = 5, /* between looks at the size of the log */
};

static void stop(struct supervisor *supervisor);

static struct timeval milliseconds(uint32_t ms)
{
	return (struct timeval){ .tv_sec = ms / 1000, .tv_usec = (ms % 1000) * 1000 };
}

/* ---- starting, and starting again ---- */

static void announce_when_ready(struct supervisor *supervisor)
{
	if (supervisor->announced || supervisor->stopping)
		return;
	for (size_t i = 0; i < supervisor->count; i++) {
		if (!supervisor->slots[i].was_ready)
			return;
	}
	supervisor->announced = true;
	LOG_INFO("host-ready", LOG_NUMBER("processes", supervisor->count));
	feed_start(supervisor->feed);
	if (supervisor->hooks->ready)
		supervisor->hooks->ready(supervisor->hooks->owner);
}

static void on_child_ready(void *owner)
{
	struct slot *slot = owner;

	slot->was_ready = true;
	announce_when_ready(slot->supervisor);
}

static void on_child_shuns(void *owner)
{
	const struct slot *slot = owner;

	shunning_look(slot->supervisor->shunning);
}

/* Milliseconds to wait, counted from a death or from a start that failed. */
static uint32_t schedule_restart(struct slot *slot, int64_t lived)
{
	const uint32_t pause = backoff_next(&slot->backoff, lived);
	const struct timeval delay = milliseconds(pause);

	event_add(&slot->restart, &delay);
	return pause;
}

/* A host that cannot come up says so and ends, instead of trying for ever behind somebody's back. */
static void give_up_if_hopeless(struct slot *slot)
{
	struct supervisor *supervisor = slot->supervisor;

	if (supervisor->announced || slot->was_ready || slot->backoff.deaths < FIRST_DEATHS)
		return;
	LOG_ERROR("start-failed", LOG_STRING("child", slot_role(slot)->name),
		LOG_NUMBER("starts", slot->backoff.deaths));
	supervisor->status = EX_UNAVAILABLE;
	stop(supervisor);
}

static void start_child(struct slot *slot)
{
	if (child_start(&slot->child) == 0)
		return;
	const int number = errno;
	const uint32_t pause = schedule_restart(slot, 0);
	LOG_ERROR("child-not-started", LOG_STRING("child", slot_role(slot)->name),
		LOG_NUMBER("worker", slot->child.worker), LOG_ERRNO(number),
		LOG_NUMBER("again-ms", pause));
	give_up_if_hopeless(slot);
}

static void on_restart(evutil_socket_t fd, short what, void *argument)
{
	struct slot *slot = argument;

	(void)fd, (void)what;
	slot->restarts++;
	start_child(slot);
}

/* An end after new settings is no death: no pause, and not counted. Once for each reload. */
static bool has_renewed_itself(const struct slot *slot, int status)
{
	return status == 0 && slot->child.reconfigured;
}

static void log_death(const struct slot *slot, int status, int64_t lived, uint32_t pause)
{
	const bool killed = WIFSIGNALED(status);

	/* With 0 it wished for it, as the bridge does at a reload. */
	LOG_EVENT(status == 0 ? LOG_LEVEL_INFO : LOG_LEVEL_WARNING,
		status == 0 ? "child-ended" : "child-died",
		LOG_STRING("child", slot_role(slot)->name),
		LOG_NUMBER("worker", slot->child.worker), LOG_NUMBER("child-pid", slot->child.pid),
		LOG_STRING("by", killed ? "signal" : "exit"),
		LOG_NUMBER("status", killed ? WTERMSIG(status) : WEXITSTATUS(status)),
		LOG_NUMBER("lived-ms", lived), LOG_NUMBER("again-ms", pause));
}

/* ---- stopping ---- */

static bool lives_in_stage(const struct slot *slot)
{
	return slot_role(slot)->stop == slot->supervisor->stage && slot->child.state != CHILD_DOWN;
}

static bool stage_is_empty(const struct supervisor *supervisor)
{
	for (size_t i = 0; i < supervisor->count; i++) {
		if (lives_in_stage(&supervisor->slots[i]))
			return false;
	}
	return true;
}

static void stop_stage(struct supervisor *supervisor)
{
	const uint32_t given =
		(uint32_t)host_settings_common(supervisor->host->settings)->stop_seconds;
	const bool store = supervisor->stage == HOST_STOP_STORE;
	struct timeval deadline = { .tv_sec = given + (store ? STORE_SECONDS : GRACE_SECONDS) };

	if (supervisor->hurrying)
		deadline.tv_sec = store ? HURRY_STORE_SECONDS : HURRY_SECONDS;
	for (size_t i = 0; i < supervisor->count; i++) {
		struct slot *slot = &supervisor->slots[i];
		if (slot_role(slot)->stop != supervisor->stage)
			continue;
		event_del(&slot->restart);
		child_stop(&slot->child, supervisor->hurrying ? 0 : given);
	}
	event_add(&supervisor->deadline, &deadline);
}

static void stop_next_stage(struct supervisor *supervisor)
{
	event_del(&supervisor->deadline);
	while (supervisor->stage < HOST_STOPS && stage_is_empty(supervisor)) {
		supervisor->stage++;
		if (supervisor->stage < HOST_STOPS)
			stop_stage(supervisor);
	}
	if (supervisor->stage == HOST_STOPS)
		event_base_loopbreak(supervisor->host->loop);
}

static void stop(struct supervisor *supervisor)
{
	if (supervisor->stopping)
		return;
	LOG_INFO("stopping");
	supervisor->stopping = true;
	supervisor->stage = HOST_STOP_NETWORK;
	stop_stage(supervisor);
	if (stage_is_empty(supervisor))
		stop_next_stage(supervisor);
}

static void on_deadline(evutil_socket_t fd, short what, void *argument)
{
	struct supervisor *supervisor = argument;

	(void)fd, (void)what;
	for (size_t i = 0; i < supervisor->count; i++) {
		struct slot *slot = &supervisor->slots[i];
		if (!lives_in_stage(slot))
			continue;
		LOG_WARNING("child-killed", LOG_STRING("child", slot_role(slot)->name),
			LOG_NUMBER("worker", slot->child.worker),
			LOG_STRING("why", "it did not stop in time"));
		child_kill(&slot->child);
	}
}

static void on_child_ended(void *owner, int status, int64_t lived)
{
	struct slot *slot = owner;
	struct supervisor *supervisor = slot->supervisor;

	slot->counting = false;
	if (supervisor->stopping && slot_role(slot)->stop <= supervisor->stage) {
		if (status != 0)
			log_death(slot, status, lived, 0);
		if (stage_is_empty(supervisor))
			stop_next_stage(supervisor);
		return;
	}
	if (has_renewed_itself(slot, status)) {
		log_death(slot, status, lived, 0);
		start_child(slot);
		return;
	}
	const uint32_t pause = schedule_restart(slot, lived);
	log_death(slot, status, lived, pause);
	give_up_if_hopeless(slot);
}

/* ---- signals ---- */

static void on_term(evutil_socket_t number, short what, void *argument)
{
	struct supervisor *supervisor = argument;

	(void)number, (void)what;
	if (!supervisor->stopping) {
		stop(supervisor);
	} else if (!supervisor->hurrying) {
		LOG_INFO("hurrying");
		supervisor->hurrying = true;
		stop_stage(supervisor);
	} else {
		on_deadline(-1, 0, supervisor);
	}
}

static bool has_terminal(void)
{
	const int fd = open("/dev/tty", O_RDWR | O_CLOEXEC | O_NOCTTY);

	if (fd < 0)
		return false;
	close(fd);
	return true;
}

static void on_hangup(evutil_socket_t number, short what, void *argument)
{
	struct supervisor *supervisor = argument;

	(void)number, (void)what;
	/* The terminal we were started from was closed: that is not a wish for new settings. */
	if (supervisor->has_terminal && !supervisor->ignored_hangup && !has_terminal()) {
		stop(supervisor);
		return;
	}
	if (supervisor->stopping || host_reload(supervisor->host) != 0)
		return;
	for (size_t i = 0; i < supervisor->count; i++)
		child_reconfigure(&supervisor->slots[i].child);
	if (supervisor->announced)
		feed_start(supervisor->feed);
}

/* ---- session tickets ---- */

static void renew_tickets(struct supervisor *supervisor)
{
	const struct timeval later = { .tv_sec = TLS_TICKET_PERIOD };

	host_renew_tickets(supervisor->host);
	for (size_t i = 0; i < supervisor->count; i++)
		child_renew_tickets(&supervisor->slots[i].child);
	event_add(&supervisor->renewal, &later);
}

/* Certificates come to their end meanwhile, too. */
static void on_renewal(evutil_socket_t fd, short what, void *argument)
{
	struct supervisor *supervisor = argument;

	(void)fd, (void)what;
	renew_tickets(supervisor);
	host_log_doubts(supervisor->host);
}

/* ---- the log that is kept ---- */

static void renew_log(struct supervisor *supervisor)
{
	const struct timeval later = { .tv_sec = LOG_SECONDS };

	if (host_renew_log(supervisor->host)) {
		for (size_t i = 0; i < supervisor->count; i++)
			child_renew_log(&supervisor->slots[i].child);
	}
	event_add(&supervisor->log, &later);
}

static void on_log(evutil_socket_t fd, short what, void *argument)
{
	(void)fd, (void)what;
	renew_log(argument);
}

/* ---- all together ---- */

static const struct child_handlers child_handlers = {
	.ready = on_child_ready,
	.counters = supervisor_on_counters,
	.shun = on_child_shuns,
	.ended = on_child_ended,
};

static void make_slots(struct supervisor *supervisor)
{
	const struct host *host = supervisor->host;
	size_t at = 0;

	for (enum host_role_id role = 0; role < HOST_ROLES; role++)
		supervisor->count += host_settings_workers(host->settings, role);
	supervisor->slots = mem_array(supervisor->count, sizeof(*supervisor->slots));
	for (enum host_role_id role = 0; role < HOST_ROLES; role++) {
		const unsigned workers = host_settings_workers(host->settings, role);
		for (unsigned worker = 0; worker < workers; worker++) {
			struct slot *slot = &supervisor->slots[at++];
			slot->supervisor = supervisor;
			child_init(&slot->child, host, role, worker, &child_handlers, slot);
			evtimer_assign(&slot->restart, host->loop, on_restart, slot);
		}
	}
}

/* While the host can be found already, and does not catch it yet: it would die of it. */
static void hold_hangup(int how)
{
	sigset_t signals;

	sigemptyset(&signals);
	sigaddset(&signals, SIGHUP);
	sigprocmask(how, &signals, NULL);
}

static void catch_signals(struct supervisor *supervisor)
{
	struct event_base *loop = supervisor->host->loop;
	const struct sigaction ignore = { .sa_handler = SIG_IGN };
	struct sigaction old;

	sigaction(SIGPIPE, &ignore, NULL);
	supervisor->has_terminal = has_terminal();
	supervisor->ignored_hangup =
		sigaction(SIGHUP, NULL, &old) == 0 && old.sa_handler == SIG_IGN;
	evsignal_assign(&supervisor->term, loop, SIGTERM, on_term, supervisor);
	evsignal_assign(&supervisor->interrupt, loop, SIGINT, on_term, supervisor);
	evsignal_assign(&supervisor->hangup, loop, SIGHUP, on_hangup, supervisor);
	event_add(&supervisor->term, NULL);
	event_add(&supervisor->interrupt, NULL);
	event_add(&supervisor->hangup, NULL);
	hold_hangup(SIG_UNBLOCK);
	evtimer_assign(&supervisor->deadline, loop, on_deadline, supervisor);
	evtimer_assign(&supervisor->renewal, loop, on_renewal, supervisor);
	evtimer_assign(&supervisor->log, loop, on_log, supervisor);
}

static void run(struct supervisor *supervisor)
{
	struct host *host = supervisor->host;

	catch_signals(supervisor);
	make_slots(supervisor);
	renew_tickets(supervisor);
	renew_log(supervisor);
	supervisor->since = time(NULL);
	supervisor_status_init(supervisor);
	supervisor->feed = feed_new(host);
	supervisor->shunning = shunning_new(host);
	for (size_t i = 0; i < supervisor->count; i++)
		start_child(&supervisor->slots[i]);
	event_base_dispatch(host->loop);
}

static void clean_up(struct supervisor *supervisor)
{
	supervisor_status_deinit(supervisor);
	feed_free(&supervisor->feed);
	shunning_free(&supervisor->shunning);
	for (size_t i = 0; i < supervisor->count; i++) {
		struct slot *slot = &supervisor->slots[i];
		event_del(&slot->restart);
		child_deinit(&slot->child);
		mem_free(slot->counters);
	}
	mem_free(supervisor->slots);
	event_del(&supervisor->term);
	event_del(&supervisor->interrupt);
	event_del(&supervisor->hangup);
	event_del(&supervisor->deadline);
	event_del(&supervisor->renewal);
	event_del(&supervisor->log);
	mem_wipe(supervisor->host->tickets, sizeof(supervisor->host->tickets));
}

/* Everything that can be found wrong before a process is started. */
static int prepare(struct host *host, const char *advice)
{
	char error[1200];
	int status = EX_OK;

	host->libexec = host_libexec(error, sizeof(error));
	if (!host->libexec) {
		host_complain(NULL, error);
		return EX_SOFTWARE;
	}
	if (host_settings_read(&host->source, &host->settings, host_complain, NULL) != 0 ||
		certificates_read(&host->certificates, host->settings, host->source.file,
			host_complain, NULL) != 0)
		return EX_CONFIG;
	if (host->state.lock < 0)
		status = host_enter_state(host, host_settings_common(host->settings)->state);
	if (status == EX_OK)
		status = host_open_store(host);
	if (status == EX_OK && host_make_limits(host) != 0) {
		snprintf(
			error, sizeof(error), "memory for limits of clients: %s", log_errno(errno));
		host_complain(NULL, error);
		status = EX_OSERR;
	}
	if (status == EX_OK &&
		listeners_bind(&host->listeners, host->settings, advice, host_complain, NULL) != 0)
		status = EX_UNAVAILABLE;
	return status;
}

int supervisor_run(struct host *host, const char *advice, const struct supervisor_hooks *hooks)
{
	struct supervisor supervisor = { .host = host, .hooks = hooks };

	hold_hangup(SIG_BLOCK);
	const int status = prepare(host, advice);

	if (status != EX_OK)
		return status;
	host_open_log(host->settings);
	if (host_settings_common(host->settings)->syslog)
		log_to_syslog();
	host_log_doubts(host);
	run(&supervisor);
	clean_up(&supervisor);
	LOG_INFO("stopped");
	return supervisor.status;
}

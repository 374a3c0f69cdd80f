#include "smtp-in/worker.h"

#include <event2/event.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/arena.h"
#include "base/clock.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/role.h"
#include "smtp-in/lmtp.h"
#include "smtp-in/session.h"
#include "smtp-in/store_link.h"
#include "smtp-in/transaction.h"

enum {
	INPUT_LIMIT = 64 * 1024,
	OUTPUT_HIGH = 64 * 1024,
	OUTPUT_LOW = 16 * 1024,
	REFUSALS_IN_A_ROUND = 4,
};

static const struct session_listener listeners[] = {
	{ .name = "smtp" },
	{ .name = "smtps", .tls = true },
	{ .name = "submission", .submission = true },
	{ .name = "submissions", .tls = true, .submission = true },
};

int64_t worker_seconds(void)
{
	return clock_coarse_milliseconds() / 1000;
}

int64_t worker_milliseconds(void)
{
	return clock_milliseconds();
}

const struct smtp_in_settings *worker_settings(const struct worker *worker)
{
	return worker->context->settings;
}

struct text worker_hostname(const struct worker *worker)
{
	return text_of(worker->context->common->hostname);
}

/* ---- making, settings ---- */

/* Clients whose EHLO came first have waited for it. */
static void on_asked(void *owner)
{
	const struct worker *worker = owner;
	struct session *session;

	LIST_FOREACH (session, &worker->sessions, link) {
		if (session->waiting)
			session_resume(session);
	}
}

static int lmtp_options(struct worker *worker, struct lmtp_options *options)
{
	const struct smtp_in_settings *settings = worker_settings(worker);

	*options = (struct lmtp_options){
		.hostname = worker_hostname(worker),
		.connections = settings->hand_over_connections,
		.seconds = (unsigned)settings->hand_over_seconds,
		.end_seconds = (unsigned)settings->hand_over_end_seconds,
		.memory_seconds = (unsigned)settings->hand_over_memory_seconds,
		.asked = on_asked,
		.owner = worker,
	};
	return smtp_in_hand_over_parse(text_of(settings->hand_over), &options->server);
}

static void set_limits(struct worker *worker)
{
	/* No idle limit here: a client that says nothing is told so before the end, by on_tick(). */
	worker->limits = (struct conn_limits){
		.input = INPUT_LIMIT,
		.output_high = OUTPUT_HIGH,
		.output_low = OUTPUT_LOW,
		.send_seconds = (unsigned)worker_settings(worker)->send_seconds,
	};
}

static void on_tick(evutil_socket_t fd, short what, void *arg)
{
	struct worker *worker = arg;
	const int64_t now = worker_seconds();
	struct session *next;

	(void)fd, (void)what;
	worker->pressed = lmtp_pool_is_full(worker->pool);
	for (struct session *session = LIST_FIRST(&worker->sessions); session; session = next) {
		next = LIST_NEXT(session, link);
		if (session->deadline && now >= session->deadline)
			session_expire(session);
		else
			session_tick(session);
	}
}

struct worker *worker_new(struct role_context *context)
{
	struct worker *worker = mem_new(sizeof(*worker));
	struct lmtp_options options;

	worker->context = context;
	LIST_INIT(&worker->sessions);
	if (lmtp_options(worker, &options) != 0) {
		LOG_ERROR("bad-setting", LOG_STRING("name", "hand-over"));
		mem_free(worker);
		return NULL;
	}
	set_limits(worker);
	worker->guard.context = context;
	worker->pool = lmtp_pool_new(context->loop, &options);
	lmtp_pool_ask(worker->pool);
	worker->tick = event_new(context->loop, -1, EV_PERSIST, on_tick, worker);
	if (!worker->tick)
		LOG_FATAL("out-of-memory", LOG_STRING("what", "timer"));
	event_add(worker->tick, &(struct timeval){ .tv_sec = 1 });
	return worker;
}

void worker_reload(struct worker *worker)
{
	struct lmtp_options options;

	set_limits(worker);
	if (lmtp_options(worker, &options) == 0)
		lmtp_pool_change(worker->pool, &options);
}

static void free_spares(struct worker *worker)
{
	while (worker->spare) {
		struct transaction *next = worker->spare->next_spare;
		arena_free(&worker->spare->arena);
		mem_free(worker->spare);
		worker->spare = next;
	}
	worker->spares = 0;
}

void worker_free(struct worker **at)
{
	struct worker *worker = *at;

	*at = NULL;
	if (!worker)
		return;
	while (!LIST_EMPTY(&worker->sessions))
		session_free(LIST_FIRST(&worker->sessions));
	free_spares(worker);
	store_link_free(worker);
	lmtp_pool_free(&worker->pool);
	event_free(worker->tick);
	buf_release(&worker->scratch);
	mem_free(worker);
}

/* ---- clients ---- */

static const struct session_listener *find_listener(const char *name)
{
	for (size_t i = 0; i < sizeof(listeners) / sizeof(listeners[0]); i++) {
		if (strcmp(name, listeners[i].name) == 0)
			return &listeners[i];
	}
	return NULL;
}

/* One attempt: who is too many gets no share of our memory. */
static void turn_away(struct worker *worker, const struct session_listener *listener, int fd,
	const struct reply *reply)
{
	struct buf *out = &worker->scratch;

	/* Or a flood of them would take every turn, and sessions would wait for the end of it. */
	worker->context->enough = ++worker->total.refused_connections % REFUSALS_IN_A_ROUND == 0;
	worker->total.replies[reply->code]++;
	buf_clear(out);
	reply_print(out, reply);
	if (!listener->tls)
		(void)!send(fd, buf_text(out).ptr, buf_length(out), MSG_NOSIGNAL | MSG_DONTWAIT);
	close(fd);
}

static bool admit(struct worker *worker, const struct net_address *from,
	struct guard_client *client, struct reply *refusal)
{
	const struct guard_peer peer = { .address = *from, .near = true };

	return guard_admit(&worker->guard, &peer, client, refusal);
}

void worker_accept(struct worker *worker, const char *name, int fd)
{
	const struct session_listener *listener = find_listener(name);
	const struct reply full = REPLY(421, 4, 7, 0, "Too many clients, come again later");
	struct guard_client client = { .limited = false };
	const struct net_address *from = worker->context->peer;
	struct reply refusal;

	if (!listener || worker->stopping) {
		close(fd);
		return;
	}
	worker->total.connections++;
	const bool proxied = from && net_list_holds(&worker_settings(worker)->proxy.from, from);
	/* Before the room that is left is looked at: a flood is known as one also where there is none. */
	if (from && !proxied && !admit(worker, from, &client, &refusal)) {
		turn_away(worker, listener, fd, &refusal);
	} else if (worker->session_count >= worker_settings(worker)->clients) {
		guard_leave(&worker->guard, &client);
		turn_away(worker, listener, fd, &full);
	} else {
		session_new(worker, listener, fd, &client, proxied);
	}
}

static void count_lmtp(const struct worker *worker, struct buf *out)
{
	struct lmtp_counts counts;

	lmtp_pool_count(worker->pool, &counts);
	buf_format(out, "hand-over-connections=%llu\n", (unsigned long long)counts.connections);
	buf_format(out, "hand-over-reuses=%llu\n", (unsigned long long)counts.reuses);
	buf_format(out, "hand-over-failures=%llu\n", (unsigned long long)counts.failures);
	buf_format(out, "hand-over-open=%zu\n", counts.open);
	buf_format(out, "hand-over-idle=%zu\n", counts.idle);
}

void worker_count(const struct worker *worker, struct buf *out)
{
	const struct {
		const char *name;
		uint64_t number;
	} lines[] = {
		{ "sessions", worker->session_count },
		{ "connections", worker->total.connections },
		{ "refused-connections", worker->total.refused_connections },
		{ "tls-sessions", worker->total.tls_sessions },
		{ "timeouts", worker->total.timeouts },
		{ "logins", worker->total.logins },
		{ "login-failures", worker->total.login_failures },
		{ "recipients", worker->total.recipients },
		{ "refused-recipients", worker->total.refused_recipients },
		{ "messages", worker->total.messages },
		{ "octets", worker->total.octets },
		{ "refused-messages", worker->total.refused_messages },
		{ "lost-messages", worker->total.lost_messages },
	};

	for (size_t i = 0; i < sizeof(lines) / sizeof(lines[0]); i++)
		buf_format(out, "%s=%llu\n", lines[i].name, (unsigned long long)lines[i].number);
	count_lmtp(worker, out);
	guard_count(&worker->guard, out);
	for (unsigned code = 0; code < WORKER_REPLY_CODES; code++) {
		if (worker->total.replies[code])
			buf_format(out, "reply-%u=%llu\n", code,
				(unsigned long long)worker->total.replies[code]);
	}
}

void worker_stop(struct worker *worker)
{
	struct session *next;

	worker->stopping = true;
	free_spares(worker);
	for (struct session *session = LIST_FIRST(&worker->sessions); session; session = next) {
		next = LIST_NEXT(session, link);
		session_stop(session);
	}
	lmtp_pool_drain(worker->pool);
}

bool worker_is_busy(const struct worker *worker)
{
	return worker->session_count;
}

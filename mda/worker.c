#include "mda/worker.h"
#include "base/mem.h"
#include "mda/resolve.h"
#include "mda/session.h"
#include "mda/store_link.h"

static int on_connect(void *owner)
{
	struct worker *worker = owner;

	return worker->options.connect(worker->options.owner);
}

static void on_stale(void *owner)
{
	struct worker *worker = owner;

	resolve_drop_cache(worker->resolve);
}

static const struct store_link_handlers link_handlers = {
	.connect = on_connect,
	.stale = on_stale,
};

struct worker *worker_new(const struct worker_options *options)
{
	struct worker *worker = mem_new(sizeof(*worker));

	worker->options = *options;
	worker->link = store_link_new(options->loop, &link_handlers, worker);
	worker->resolve = resolve_new(worker->link);
	return worker;
}

void worker_free(struct worker **handle)
{
	struct worker *worker = *handle;

	if (!worker)
		return;
	while (worker->sessions)
		session_free(worker->sessions);
	store_link_free(&worker->link);
	resolve_free(&worker->resolve);
	buf_release(&worker->reply);
	mem_free(worker);
	*handle = NULL;
}

void worker_accept(struct worker *worker, int fd, bool trusted)
{
	worker->counters.connections++;
	session_new(worker, fd, trusted);
}

void worker_reload(struct worker *worker, const struct common_settings *common,
	const struct mda_settings *settings)
{
	worker->options.common = common;
	worker->options.settings = settings;
}

void worker_count(const struct worker *worker, struct buf *out)
{
	const struct worker_counters *counters = &worker->counters;

#define WORKER_PRINT_(name, string) \
	buf_format(out, string "=%llu\n", (unsigned long long)counters->name);
	WORKER_COUNTERS(WORKER_PRINT_)
	buf_format(out, "sessions-now=%zu\n", worker->session_count);
	buf_format(out, "users-cached=%zu\n", resolve_cached(worker->resolve));
}

void worker_stop(struct worker *worker)
{
	struct session *next;

	worker->stopping = true;
	for (struct session *session = worker->sessions; session; session = next) {
		next = session->next;
		session_stop(session);
	}
}

static void tell_full(struct worker *worker)
{
	const bool full = worker->session_count >= worker->options.settings->sessions;

	if (full == worker->full)
		return;
	worker->full = full;
	if (worker->options.full)
		worker->options.full(worker->options.owner, full);
}

void worker_session_added(struct worker *worker)
{
	worker->session_count++;
	tell_full(worker);
}

void worker_session_gone(struct worker *worker)
{
	worker->session_count--;
	tell_full(worker);
}

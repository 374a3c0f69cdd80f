/* What `restante status` shows: a census of the processes, each asked for its counters. */
#include <event2/event.h>
#include <unistd.h>

#include "base/mem.h"
#include "restante/admin.h"
#include "restante/supervisor_private.h"
#include "restante/terminal.h"

enum { CENSUS_SECONDS = 1 }; /* a role that does not answer is shown without fresh counters */

static void add_processes(const struct supervisor *supervisor, struct buf *out)
{
	for (size_t i = 0; i < supervisor->count; i++) {
		const struct slot *slot = &supervisor->slots[i];
		const bool down = slot->child.state == CHILD_DOWN;
		const struct admin_process process = {
			.role = text_of(slot_role(slot)->name),
			.worker = slot->child.worker,
			.state = text_of(child_state_name(slot->child.state)),
			.pid = down ? 0 : (uint32_t)slot->child.pid,
			.since = down ? 0 : slot->child.since,
			.restarts = slot->restarts,
			.counters = text_of(slot->counters ? slot->counters : ""),
		};
		admin_process_pack(out, &process);
	}
}

static void add_listeners(const struct supervisor *supervisor, struct buf *out)
{
	const struct listeners *listeners = &supervisor->host->listeners;

	for (size_t i = 0; i < listeners->count; i++) {
		const struct admin_listener listener = {
			.name = text_of(listeners->list[i].name),
			.where = text_of(listeners->list[i].where),
		};
		if (listeners->list[i].service)
			admin_listener_pack(out, &listener);
	}
}

static void finish_census(struct supervisor *supervisor)
{
	struct buf listeners = { 0 }, processes = { 0 };

	event_del(&supervisor->census);
	add_listeners(supervisor, &listeners);
	add_processes(supervisor, &processes);
	const struct admin_status_reply reply = {
		.pid = (uint32_t)getpid(),
		.since = supervisor->since,
		.listeners = buf_text(&listeners),
		.processes = buf_text(&processes),
	};
	admin_answer(supervisor->admin, &reply);
	buf_release(&listeners);
	buf_release(&processes);
}

static void finish_census_when_counted(struct supervisor *supervisor)
{
	for (size_t i = 0; i < supervisor->count; i++) {
		if (supervisor->slots[i].counting)
			return;
	}
	finish_census(supervisor);
}

void supervisor_on_counters(void *owner, struct text lines)
{
	struct slot *slot = owner;
	struct buf safe = { 0 };

	if (lines.len <= ADMIN_COUNTERS_LIMIT)
		terminal_add_lines(&safe, lines);
	mem_free(slot->counters);
	slot->counters = mem_copy(buf_text(&safe).ptr, buf_length(&safe));
	buf_release(&safe);
	if (!slot->counting)
		return;
	slot->counting = false;
	finish_census_when_counted(slot->supervisor);
}

static void on_census_late(evutil_socket_t fd, short what, void *argument)
{
	(void)fd, (void)what;
	finish_census(argument);
}

static void on_status_asked(void *owner)
{
	struct supervisor *supervisor = owner;
	const struct timeval patience = { .tv_sec = CENSUS_SECONDS };

	if (evtimer_pending(&supervisor->census, NULL))
		return;
	for (size_t i = 0; i < supervisor->count; i++) {
		struct slot *slot = &supervisor->slots[i];
		slot->counting = child_count(&slot->child);
	}
	event_add(&supervisor->census, &patience);
	finish_census_when_counted(supervisor);
}

void supervisor_status_init(struct supervisor *supervisor)
{
	const struct host *host = supervisor->host;

	evtimer_assign(&supervisor->census, host->loop, on_census_late, supervisor);
	supervisor->admin =
		admin_new(host->loop, host->listeners.admin, on_status_asked, supervisor);
}

void supervisor_status_deinit(struct supervisor *supervisor)
{
	admin_free(&supervisor->admin);
	event_del(&supervisor->census);
}

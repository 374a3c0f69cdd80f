#include "restante/status.h"

#include <errno.h>
#include <event2/event.h>
#include <fcntl.h>
#include <stdio.h>
#include <sysexits.h>
#include <time.h>
#include <unistd.h>

#include "base/ipc.h"
#include "base/log.h"
#include "base/mem.h"
#include "restante/command.h"
#include "restante/host.h"

enum { PATIENCE_SECONDS = 5, INDENT = 10 };

struct question {
	status_take *take;
	void *owner;
	bool answered;
	const char *fault;
};

/* ---- the answer ---- */

static void print_since(int64_t since)
{
	const time_t when = (time_t)since;
	struct tm local;
	char string[40] = "-";

	if (since && localtime_r(&when, &local))
		strftime(string, sizeof(string), "%Y-%m-%d %H:%M:%S", &local);
	printf("%-19s", string);
}

/* "name=number" lines side by side, as many as a line takes; nothing about what never happened. */
static void print_counters(struct text counters)
{
	struct text line;
	size_t column = 0;

	while (counters.len && text_split(&counters, '\n', &line)) {
		if (line.len == 0 || text_equal(text_from(line, line.len - 2), TEXT("=0")))
			continue;
		if (column && column + line.len + 2 > 100) {
			putchar('\n');
			column = 0;
		}
		if (column == 0)
			column = (size_t)printf("%*s", INDENT, "");
		column += (size_t)printf("  %.*s", TEXT_ARG(line));
	}
	if (column)
		putchar('\n');
}

static int print_processes(struct text run)
{
	struct message_reader reader = { .at = run.ptr, .left = run.len };

	printf("%-9s %6s  %-8s %8s  %-19s %8s\n", "role", "worker", "state", "pid", "since",
		"restarts");
	while (reader.left) {
		struct admin_process process;
		if (admin_process_unpack_from(&reader, &process) != 0)
			return -1;
		printf("%-9.*s %6u  %-8.*s %8u  ", TEXT_ARG(process.role), process.worker,
			TEXT_ARG(process.state), process.pid);
		print_since(process.since);
		printf(" %8u\n", process.restarts);
		print_counters(process.counters);
	}
	return 0;
}

static int print_listeners(struct text run)
{
	struct message_reader reader = { .at = run.ptr, .left = run.len };

	while (reader.left) {
		struct admin_listener listener;
		if (admin_listener_unpack_from(&reader, &listener) != 0)
			return -1;
		printf("%-12.*s %.*s\n", TEXT_ARG(listener.name), TEXT_ARG(listener.where));
	}
	return 0;
}

static int print_reply(void *owner, const struct admin_status_reply *reply)
{
	(void)owner;
	printf("host, process %u, since ", reply->pid);
	print_since(reply->since);
	puts("\n");
	if (print_listeners(reply->listeners) != 0)
		return -1;
	putchar('\n');
	return print_processes(reply->processes);
}

/* ---- the question ---- */

static void on_frame(void *owner, struct ipc_frame *frame)
{
	struct question *question = owner;
	struct admin_status_reply reply;

	question->answered = true;
	if (frame->type != ADMIN_STATUS_REPLY ||
		admin_status_reply_unpack(frame->payload, &reply) != 0 ||
		question->take(question->owner, &reply) != 0)
		question->fault = "its answer makes no sense";
}

static void on_ended(void *owner, const char *reason)
{
	struct question *question = owner;

	question->answered = true;
	question->fault = reason;
}

static const struct ipc_handlers ipc_handlers = { .frame = on_frame, .ended = on_ended };

static int ask(struct event_base *loop, int fd, status_take *take, void *owner)
{
	const struct timeval patience = { .tv_sec = PATIENCE_SECONDS };
	const struct admin_status status = { 0 };
	struct question question = { .take = take, .owner = owner };
	struct ipc *ipc = ipc_new(loop, fd, ADMIN_PAYLOAD, &ipc_handlers, &question);

	admin_status_pack(ipc_begin(ipc, ADMIN_STATUS, 1), &status);
	ipc_end(ipc, -1);
	event_base_loopexit(loop, &patience);
	while (!question.answered && !event_base_got_exit(loop))
		event_base_loop(loop, EVLOOP_ONCE);
	ipc_free(&ipc);
	if (!question.answered)
		question.fault = "it does not answer";
	if (!question.fault)
		return EX_OK;
	fprintf(stderr, "restante: the host cannot be asked: %s\n", question.fault);
	return EX_UNAVAILABLE;
}

static int connect_to_host(const char *state, bool *absent)
{
	const int run = state_open_run(state);
	int fd = -1;

	if (run >= 0 && fchdir(run) == 0)
		fd = ipc_connect("admin");
	const int number = errno;
	if (run >= 0)
		close(run);
	if (fd >= 0)
		return fd;
	*absent = number == ENOENT || number == ECONNREFUSED;
	if (!*absent)
		fprintf(stderr, "restante: %s/run/admin: %s%s\n", state, log_errno(number),
			number == EACCES ? "; be root, or the user who runs the host" : "");
	return -1;
}

int status_ask(struct host *host, status_take *take, void *owner, bool *absent)
{
	*absent = false;
	const int fd = connect_to_host(host_settings_common(host->settings)->state, absent);

	return fd < 0 ? EX_UNAVAILABLE : ask(host->loop, fd, take, owner);
}

bool status_host_runs(const struct host *host)
{
	bool absent;
	const int fd = connect_to_host(host_settings_common(host->settings)->state, &absent);

	if (fd >= 0)
		close(fd);
	return fd >= 0;
}

void status_tell_of_mistakes(const struct host *host)
{
	fprintf(stderr,
		"restante: the host on %s runs with the settings it read before these mistakes\n",
		host_settings_common(host->settings)->state);
}

/* A host that runs has settings that were right once, whatever somebody has made of the file since. */
static int show_host(struct host *host, bool right)
{
	bool absent;
	const int status = status_ask(host, print_reply, NULL, &absent);

	fflush(stdout);
	if (absent)
		fprintf(stderr, "restante: no host runs on %s\n",
			host_settings_common(host->settings)->state);
	else if (!right && status == EX_OK)
		status_tell_of_mistakes(host);
	return absent && !right ? EX_CONFIG : status;
}

int command_status(const struct command_line *line)
{
	const char *file = HOST_SETTINGS_FILE;
	struct option_list rest;
	const struct option options[] = { { "-c", OPTION_VALUE, &file } };
	int status = option_parse(line, options, 1, &rest);

	if (status == 0 && rest.count)
		status = command_misused(line, "status does not take \"%s\"", rest.item[0]);
	mem_free(rest.item);
	if (status != 0)
		return status;
	struct host host;
	host_init(&host, &(struct host_source){ .file = file });
	const bool right =
		host_settings_read(&host.source, &host.settings, host_complain, NULL) == 0;
	if (right || access(file, R_OK) == 0)
		status = show_host(&host, right);
	else
		status = EX_CONFIG;
	host_free(&host);
	return status;
}

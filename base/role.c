#include "base/role.h"

#include <errno.h>
#include <malloc.h>
#include <openssl/ssl.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sysexits.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/limits.h"
#include "base/log.h"
#include "base/loop.h"
#include "base/mem.h"
#include "base/role_private.h"

enum {
	FIRST_CHECK_MICROSECONDS = 10000,
	CHECK_MICROSECONDS = 100000,
	LAST_WORDS_MILLISECONDS = 200,
	LARGE_BLOCK = 1 << 20,
};

int64_t role_seconds_now(void)
{
	return clock_milliseconds() / 1000;
}

void role_fail(struct role_run *run, int status)
{
	run->failed = true;
	run->status = status;
	event_base_loopbreak(run->context.loop);
}

/* ---- the clean stop ---- */

static void on_stop_check(evutil_socket_t fd, short what, void *argument)
{
	const struct timeval again = { .tv_usec = CHECK_MICROSECONDS };
	struct role_run *run = argument;
	const struct role *role = run->role;
	const bool busy = role->busy && role->busy(run->context.state);

	(void)fd, (void)what;
	if (busy && role_seconds_now() < run->deadline) {
		evtimer_add(&run->stop_check, &again);
		return;
	}
	if (busy)
		LOG_WARNING("stop-cut-short",
			LOG_STRING("effect", "transfers in progress are broken off"));
	event_base_loopbreak(run->context.loop);
}

void role_begin_stop(struct role_run *run, uint64_t seconds)
{
	const struct timeval first = { .tv_usec = FIRST_CHECK_MICROSECONDS };
	const int64_t deadline = role_seconds_now() + (int64_t)seconds;

	if (!run->going) {
		role_fail(run, EX_OK);
		return;
	}
	if (!run->stopping || deadline < run->deadline)
		run->deadline = deadline;
	if (run->stopping)
		return;
	run->stopping = true;
	LOG_DEBUG("stopping", LOG_NUMBER("seconds", seconds));
	role_close_listeners(run);
	if (run->role->stop)
		run->role->stop(run->context.state);
	evtimer_add(&run->stop_check, &first);
}

/* ---- the start ---- */

/*
 * Ctrl-C, a closed terminal and a service manager's SIGTERM reach every process of the host: the
 * supervisor decides what comes of them, so that roles stop in an order in which nothing is lost.
 */
static void ignore_signals(void)
{
	static const int ignored[] = { SIGTERM, SIGINT, SIGQUIT, SIGHUP, SIGPIPE, SIGUSR1,
		SIGUSR2 };
	const struct sigaction ignore = { .sa_handler = SIG_IGN };
	sigset_t none;

	for (size_t i = 0; i < sizeof(ignored) / sizeof(ignored[0]); i++)
		sigaction(ignored[i], &ignore, NULL);
	sigemptyset(&none);
	sigprocmask(SIG_SETMASK, &none, NULL);
}

/* Fixed, or glibc learns from the first large block to keep memory that it could give back. */
static void keep_memory_small(void)
{
	mallopt(M_ARENA_MAX, 2);
	mallopt(M_MMAP_THRESHOLD, LARGE_BLOCK);
	mallopt(M_TRIM_THRESHOLD, LARGE_BLOCK);
}

static bool speaks_tls(enum priv_role role)
{
	switch (role) {
	case PRIV_SMTP_IN:
	case PRIV_POP3D:
	case PRIV_IMAPD:
	case PRIV_RELAY:
	case PRIV_BRIDGE:
		return true;
	case PRIV_STORE:
	case PRIV_MDA:
	case PRIV_ROLES:
		break;
	}
	return false;
}

/* What libraries read from files at first use, while they still can. */
static void warm_libraries(const struct role_run *run)
{
	tzset();
	if (speaks_tls(run->role->priv))
		OPENSSL_init_ssl(OPENSSL_INIT_LOAD_SSL_STRINGS | OPENSSL_INIT_LOAD_CONFIG, NULL);
}

static void open_log(const struct role_run *run)
{
	enum log_level level;

	if (log_level_parse(text_of(run->common->log_level), &level) == 0)
		log_open(run->role->name, level);
	if (run->common->syslog)
		log_to_syslog();
}

static int confine(struct role_run *run, uint32_t uid, uint32_t gid)
{
	const struct role *role = run->role;
	const unsigned extra = role->priv_extra ? role->priv_extra(&run->context) : 0;

	if ((uid || gid) && priv_drop(uid, gid) != 0) {
		LOG_ERROR("uid-not-dropped", LOG_NUMBER("uid", uid), LOG_ERRNO(errno));
		return -1;
	}
	if (!uid && geteuid() == 0) {
		LOG_ERROR("uid-not-dropped",
			LOG_STRING("error", "started as root without a uid to run as"));
		return -1;
	}
	if (priv_confine(role->priv, extra) != 0) {
		LOG_ERROR("not-confined", LOG_ERRNO(errno));
		return -1;
	}
	return 0;
}

/* Before the sandbox, as the hash comes from a library that may look for files. */
static int open_limits(struct role_run *run)
{
	if (run->limits_fd < 0)
		return 0;
	run->context.limits = limits_open(run->limits_fd, run->limits_workers, run->context.worker);
	run->limits_fd = -1;
	if (run->context.limits)
		return 0;
	LOG_ERROR("limits-refused", LOG_ERRNO(errno));
	return -1;
}

/* From GO to READY. 0, or -1 with the status to exit with. */
static int start(struct role_run *run)
{
	const struct role *role = run->role;
	const uint32_t uid = run->news.uid, gid = run->news.gid;

	role_swap_news(run);
	role_free_news(run);
	open_log(run);
	warm_libraries(run);
	if (open_limits(run) != 0 || (role->prepare && role->prepare(&run->context) != 0)) {
		role_fail(run, EX_UNAVAILABLE);
		return -1;
	}
	if (confine(run, uid, gid) != 0) {
		role_fail(run, EX_OSERR);
		return -1;
	}
	run->context.state = role->start(&run->context);
	if (!run->context.state) {
		role_fail(run, EX_UNAVAILABLE);
		return -1;
	}
	run->going = true;
	run->started = role_seconds_now();
	role_update_listeners(run);
	role_say_ready(run);
	LOG_DEBUG("ready", LOG_NUMBER("worker", run->context.worker));
	return 0;
}

static int run_role(struct role_run *run)
{
	loop_run(run->context.loop);
	if (run->failed || start(run) != 0)
		return run->status;
	ipc_release(run->control);
	loop_run(run->context.loop);
	if (run->role->end)
		run->role->end(&run->context.state);
	LOG_DEBUG("stopped", LOG_NUMBER("status", run->failed ? run->status : EX_OK));
	return run->failed ? run->status : EX_OK;
}

static void tear_down(struct role_run *run)
{
	if (run->control)
		ipc_flush(run->control, LAST_WORDS_MILLISECONDS);
	ipc_free(&run->control);
	role_free_listeners(run);
	limits_close(&run->context.limits);
	if (run->limits_fd >= 0)
		close(run->limits_fd);
	role_free_news(run);
	role_swap_news(run);
	role_free_news(run);
}

static int usage(const char *name, bool asked)
{
	fprintf(asked ? stdout : stderr,
		"%s is a part of restante and takes no arguments. It is started by the supervisor\n"
		"(restante run), which gives it settings, listening sockets and certificates over\n"
		"descriptor %d.\n",
		name, CONTROL_FD);
	return asked ? EX_OK : EX_USAGE;
}

static bool has_supervisor(void)
{
	int domain;
	socklen_t size = sizeof(domain);

	return getsockopt(CONTROL_FD, SOL_SOCKET, SO_DOMAIN, &domain, &size) == 0 &&
	       domain == AF_UNIX;
}

static struct event_base *new_loop(void)
{
	struct event_config *config = event_config_new();
	struct event_base *loop = NULL;

	/* Threads never touch the loop. */
	if (config && event_config_set_flag(config, EVENT_BASE_FLAG_NOLOCK) == 0)
		loop = event_base_new_with_config(config);
	if (!loop)
		LOG_FATAL("no-event-loop");
	event_config_free(config);
	return loop;
}

int role_main(int argc, char **argv, const struct role *role)
{
	struct role_run run = { .role = role, .limits_fd = -1 };

	if (argc == 2 && strcmp(argv[1], "--help") == 0)
		return usage(role->name, true);
	if (argc != 1 || !has_supervisor())
		return usage(role->name, false);
	log_open(role->name, LOG_LEVEL_INFO);
	ignore_signals();
	keep_memory_small();
	run.context.loop = new_loop();
	evtimer_assign(&run.stop_check, run.context.loop, on_stop_check, &run);
	run.control = ipc_new(
		run.context.loop, CONTROL_FD, CONTROL_PAYLOAD, &role_control_handlers, &run);
	int status = run_role(&run);
	event_del(&run.stop_check);
	tear_down(&run);
	event_base_free(run.context.loop);
	return status;
}

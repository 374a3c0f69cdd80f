/*
 * A role's process seen from the supervisor's side. This program is also the role: started under the
 * name of one, it does what the host name in its settings says.
 */
#include <dirent.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>
#include <event2/event.h>

#include "base/control.h"
#include "base/ipc.h"
#include "base/limits.h"
#include "base/mem.h"
#include "restante/child.h"

/* ---- the role ---- */

struct puppet {
	struct event_base *loop;
	struct ipc *ipc;
	char *behaviour;
	unsigned listeners, certificates, configures, current, previous, renewals;
	unsigned extra_fds, environment;
	bool quiet_stdin, ignores_interrupt;
};

/* Looked at before anything else opens a descriptor. */
static void look_around(struct puppet *puppet)
{
	extern char **environ;
	struct stat st;
	struct sigaction action;

	for (int fd = CONTROL_FD + 1; fd < 256; fd++)
		puppet->extra_fds += fstat(fd, &st) == 0;
	for (char **entry = environ; *entry; entry++)
		puppet->environment += strncmp(*entry, "ASAN_", 5) &&
				       strncmp(*entry, "UBSAN_", 6) && strncmp(*entry, "LSAN_", 5);
	puppet->quiet_stdin =
		fstat(STDIN_FILENO, &st) == 0 && S_ISCHR(st.st_mode) && !isatty(STDIN_FILENO);
	puppet->ignores_interrupt =
		sigaction(SIGINT, NULL, &action) == 0 && action.sa_handler == SIG_IGN;
}

static void puppet_send_ready(struct puppet *puppet)
{
	control_ready_pack(ipc_begin(puppet->ipc, CONTROL_READY, 0), &(struct control_ready){ 0 });
	ipc_end(puppet->ipc, -1);
}

static void puppet_go(struct puppet *puppet)
{
	if (strcmp(puppet->behaviour, "dies") == 0)
		_exit(3);
	if (strcmp(puppet->behaviour, "babbles") == 0) {
		ipc_begin(puppet->ipc, 99, 0);
		ipc_end(puppet->ipc, -1);
	} else if (strcmp(puppet->behaviour, "hangs.up") == 0) {
		ipc_free(&puppet->ipc);
		pause();
	} else if (strcmp(puppet->behaviour, "is.killed") == 0) {
		raise(SIGKILL);
	} else {
		puppet_send_ready(puppet);
	}
}

static void puppet_configure(struct puppet *puppet, struct text payload)
{
	struct control_configure configure;
	struct common_settings common = { 0 };
	char error[200];

	if (control_configure_unpack(payload, &configure) != 0 ||
		settings_load(&common_section, configure.common, &common, error, sizeof(error)) !=
			0)
		_exit(99);
	free(puppet->behaviour);
	puppet->behaviour = strdup(common.hostname);
	settings_free(&common_section, &common);
	puppet->configures++;
}

static void puppet_count(struct puppet *puppet)
{
	char lines[400], here[256] = "";

	if (!getcwd(here, sizeof(here)))
		_exit(98);
	snprintf(lines, sizeof(lines),
		"%s configures=%u listeners=%u certificates=%u fds=%u environment=%u stdin=%d "
		"int=%d",
		strrchr(here, '/'), puppet->configures, puppet->listeners, puppet->certificates,
		puppet->extra_fds, puppet->environment, puppet->quiet_stdin,
		puppet->ignores_interrupt);
	if (puppet->renewals)
		snprintf(lines, sizeof(lines), "renewals=%u current=%u previous=%u",
			puppet->renewals, puppet->current, puppet->previous);
	const struct control_counters counters = { .lines = text_of(lines) };
	control_counters_pack(ipc_begin(puppet->ipc, CONTROL_COUNTERS, 0), &counters);
	ipc_end(puppet->ipc, -1);
}

/* One client that it will not live to let go. */
static void puppet_limits(struct ipc_frame *frame)
{
	const struct net_address address = { .octets = { 1 } };
	struct control_limits message;

	if (control_limits_unpack(frame->payload, &message) != 0)
		_exit(95);
	struct limits *limits = limits_open(dup(frame->fd), message.workers, 0);
	if (!limits || limits_enter(limits, &address).tag == 0)
		_exit(94);
	limits_enter_everybody(limits);
}

/* The first octet of each key; no key at all is a zero. */
static void puppet_tickets(struct puppet *puppet, struct text payload)
{
	struct control_tickets tickets;

	if (control_tickets_unpack(payload, &tickets) != 0 || tickets.current.len != TLS_TICKET_KEY)
		_exit(93);
	puppet->current = (unsigned char)tickets.current.ptr[0];
	puppet->previous = tickets.previous.len ? (unsigned char)tickets.previous.ptr[0] : 0;
	puppet->renewals++;
}

static void puppet_frame(void *owner, struct ipc_frame *frame)
{
	struct puppet *puppet = owner;

	switch ((enum control_type)frame->type) {
	case CONTROL_CONFIGURE:
		puppet_configure(puppet, frame->payload);
		break;
	case CONTROL_LISTENER:
		puppet->listeners += frame->fd >= 0;
		break;
	case CONTROL_CERTIFICATE:
		puppet->certificates++;
		break;
	case CONTROL_GO:
		puppet_go(puppet);
		break;
	case CONTROL_COUNT:
		puppet_count(puppet);
		break;
	case CONTROL_STOP:
		_exit(0);
	case CONTROL_LIMITS:
		puppet_limits(frame);
		break;
	case CONTROL_TICKETS:
		puppet_tickets(puppet, frame->payload);
		break;
	case CONTROL_LOG:
	case CONTROL_READY:
	case CONTROL_COUNTERS:
	case CONTROL_SHUN:
		_exit(97);
	}
}

static void puppet_ended(void *owner, const char *reason)
{
	(void)owner, (void)reason;
	_exit(0);
}

static int run_puppet(void)
{
	static const struct ipc_handlers puppet_handlers = {
		.frame = puppet_frame,
		.ended = puppet_ended,
	};
	struct puppet puppet = { 0 };

	look_around(&puppet);
	puppet.loop = event_base_new();
	puppet.ipc = ipc_new(puppet.loop, CONTROL_FD, CONTROL_PAYLOAD, &puppet_handlers, &puppet);
	event_base_dispatch(puppet.loop);
	return 96;
}

/* ---- the supervisor's side ---- */

struct stage {
	char directory[64];
	struct host host;
	struct child child;
	unsigned ready, ended;
	int status;
	char counters[400];
};

static void on_ready(void *owner)
{
	((struct stage *)owner)->ready++;
}

static void on_counters(void *owner, struct text lines)
{
	struct stage *stage = owner;

	snprintf(stage->counters, sizeof(stage->counters), "%.*s", TEXT_ARG(lines));
}

static void on_ended(void *owner, int status, int64_t lived)
{
	struct stage *stage = owner;

	assert_true(lived >= 0);
	stage->ended++;
	stage->status = status;
}

static const struct child_handlers handlers = {
	.ready = on_ready,
	.counters = on_counters,
	.ended = on_ended,
};

static void hear(void *owner, const char *sentence)
{
	(void)owner;
	fprintf(stderr, "%s\n", sentence);
}

static void write_settings(const char *behaviour)
{
	FILE *file = fopen("conf", "w");

	assert_non_null(file);
	fprintf(file,
		"hostname = %s\nsmtp-in { listen = { 127.0.0.1:0, 127.0.0.1:0 } }\n"
		"pop3d { listen = { }\nlisten-tls = { } }\n",
		behaviour);
	assert_int_equal(fclose(file), 0);
}

static void read_settings(struct stage *stage, const char *behaviour)
{
	write_settings(behaviour);
	host_settings_free(&stage->host.settings);
	assert_int_equal(
		host_settings_read(&stage->host.source, &stage->host.settings, hear, NULL), 0);
}

static int set_up(void **state)
{
	struct stage *stage = calloc(1, sizeof(*stage));
	const struct host_source source = { .file = "conf" };
	char *self = realpath("/proc/self/exe", NULL), error[300], path[100];
	pid_t holder;

	*state = stage;
	snprintf(stage->directory, sizeof(stage->directory), "/tmp/restante-test-XXXXXX");
	if (!mkdtemp(stage->directory) || chdir(stage->directory) != 0 ||
		mkdir("libexec", 0755) != 0 || symlink(self, "libexec/store") != 0 ||
		symlink(self, "libexec/smtp-in") != 0)
		return -1;
	free(self);
	host_init(&stage->host, &source);
	snprintf(path, sizeof(path), "%s/libexec", stage->directory);
	stage->host.libexec = mem_copy(path, strlen(path));
	if (state_open(&stage->host.state, stage->directory, &holder, error, sizeof(error)) !=
			STATE_OPEN ||
		state_open_store(
			&stage->host.state, stage->directory, 0, 0, error, sizeof(error)) != 0)
		return -1;
	read_settings(stage, "works");
	return listeners_bind(&stage->host.listeners, stage->host.settings, NULL, hear, NULL);
}

static int tear_down(void **state)
{
	struct stage *stage = *state;
	static const char *const parts[] = { "conf", "libexec/store", "libexec/smtp-in", "libexec",
		"store", "run/lock", "run" };

	host_free(&stage->host);
	for (size_t i = 0; i < sizeof(parts) / sizeof(parts[0]); i++)
		remove(parts[i]);
	if (chdir("/") != 0 || rmdir(stage->directory) != 0)
		return -1;
	free(stage);
	return 0;
}

static void start(struct stage *stage, enum host_role_id role, const char *behaviour)
{
	read_settings(stage, behaviour);
	child_init(&stage->child, &stage->host, role, 0, &handlers, stage);
	assert_int_equal(child_start(&stage->child), 0);
	assert_int_equal(stage->child.state, CHILD_STARTING);
}

static void run_until(struct stage *stage, const unsigned *condition)
{
	while (!*condition)
		event_base_loop(stage->host.loop, EVLOOP_ONCE);
}

/* A process that works, and is ready. */
static void begin(struct stage *stage, enum host_role_id role)
{
	stage->ready = stage->ended = 0;
	start(stage, role, "works");
	run_until(stage, &stage->ready);
}

static void kill_it(struct stage *stage)
{
	child_kill(&stage->child);
	run_until(stage, &stage->ended);
}

static void count(struct stage *stage)
{
	stage->counters[0] = '\0';
	assert_true(child_count(&stage->child));
	while (!stage->counters[0] && !stage->ended)
		event_base_loop(stage->host.loop, EVLOOP_ONCE);
}

static void test_life(void **state)
{
	struct stage *stage = *state;

	begin(stage, HOST_SMTP_IN);
	assert_int_equal(stage->child.state, CHILD_RUNNING);
	count(stage);
	assert_string_equal(stage->counters,
		"/run configures=1 listeners=2 certificates=0 fds=0 environment=0 stdin=1 int=1");
	child_stop(&stage->child, 5);
	assert_int_equal(stage->child.state, CHILD_STOPPING);
	assert_false(child_count(&stage->child));
	run_until(stage, &stage->ended);
	assert_int_equal(stage->child.state, CHILD_DOWN);
	assert_true(WIFEXITED(stage->status) && WEXITSTATUS(stage->status) == 0);
	child_deinit(&stage->child);
}

static void test_store_stands_in_its_directory(void **state)
{
	struct stage *stage = *state;

	begin(stage, HOST_STORE);
	count(stage);
	assert_memory_equal(stage->counters, "/store configures=1 listeners=5 ", 32);
	kill_it(stage);
	assert_true(WIFSIGNALED(stage->status));
	child_deinit(&stage->child);
}

/* What clients hold of a process ends with it, whichever way that was. */
static void test_limits_are_given_back(void **state)
{
	struct stage *stage = *state;
	struct host_limits *limits = &stage->host.limits[HOST_SMTP_IN];
	struct limits *other;
	struct limits_client everybody;

	limits->workers = 2;
	limits->fd = limits_make(2);
	limits->table = limits_open(dup(limits->fd), 2, LIMITS_NO_WORKER);
	other = limits_open(dup(limits->fd), 2, 1);
	assert_non_null(limits->table);
	assert_non_null(other);
	everybody = limits_enter_everybody(other);
	begin(stage, HOST_SMTP_IN);
	assert_int_equal(limits_connections(other, &everybody), 2);
	kill_it(stage);
	assert_int_equal(limits_connections(other, &everybody), 1);
	limits_close(&other);
	child_deinit(&stage->child);
}

/* New settings and certificates reach a process that runs; only roles that speak TLS get keys. */
static void test_reconfigure(void **state)
{
	static char chain[] = "chain", key[] = "key";
	static struct certificate certificate = {
		.chain = chain,
		.chain_size = 5,
		.key = key,
		.key_size = 3,
	};
	struct stage *stage = *state;

	begin(stage, HOST_SMTP_IN);
	stage->host.certificates = (struct certificates){ .count = 1, .list = &certificate };
	child_reconfigure(&stage->child);
	count(stage);
	assert_non_null(strstr(stage->counters, "configures=2 listeners=2 certificates=1"));
	assert_int_equal(stage->ready, 1);
	kill_it(stage);
	child_deinit(&stage->child);

	begin(stage, HOST_STORE);
	count(stage);
	assert_non_null(strstr(stage->counters, "certificates=0"));
	stage->host.certificates = (struct certificates){ .count = 0 };
	kill_it(stage);
	child_deinit(&stage->child);
}

static void expect_tickets(
	struct stage *stage, unsigned renewals, unsigned current, unsigned previous)
{
	char lines[100];

	count(stage);
	snprintf(lines, sizeof(lines), "renewals=%u current=%u previous=%u", renewals, current,
		previous);
	assert_string_equal(stage->counters, lines);
}

/* Every process of a role gets the same keys, and new ones while it runs; another role gets others. */
static void test_session_tickets(void **state)
{
	struct stage *stage = *state;
	struct host_tickets *tickets = &stage->host.tickets[HOST_SMTP_IN];

	host_renew_tickets(&stage->host);
	assert_memory_not_equal(
		tickets->current, stage->host.tickets[HOST_POP3D].current, TLS_TICKET_KEY);
	const unsigned first = tickets->current[0];
	begin(stage, HOST_SMTP_IN);
	expect_tickets(stage, 1, first, 0);
	host_renew_tickets(&stage->host);
	child_renew_tickets(&stage->child);
	const unsigned second = tickets->current[0];
	expect_tickets(stage, 2, second, first);
	kill_it(stage);
	child_renew_tickets(&stage->child);
	child_deinit(&stage->child);

	begin(stage, HOST_SMTP_IN);
	expect_tickets(stage, 1, second, first);
	kill_it(stage);
	child_deinit(&stage->child);

	/* The store speaks no TLS. */
	begin(stage, HOST_STORE);
	count(stage);
	assert_null(strstr(stage->counters, "renewals"));
	kill_it(stage);
	child_deinit(&stage->child);
}

static void test_ends(void **state)
{
	static const struct {
		const char *behaviour;
		int exit, signal;
	} cases[] = {
		{ "dies", 3, 0 },
		{ "is.killed", 0, SIGKILL },
		{ "babbles", 0, SIGKILL },
		{ "hangs.up", 0, SIGKILL },
	};
	struct stage *stage = *state;

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		stage->ended = 0;
		start(stage, HOST_STORE, cases[i].behaviour);
		run_until(stage, &stage->ended);
		assert_int_equal(stage->ready, 0);
		assert_int_equal(stage->child.state, CHILD_DOWN);
		if (cases[i].signal)
			assert_int_equal(WTERMSIG(stage->status), cases[i].signal);
		else
			assert_int_equal(WEXITSTATUS(stage->status), cases[i].exit);
		child_deinit(&stage->child);
	}
}

static void test_starts_again_in_its_place(void **state)
{
	struct stage *stage = *state;

	start(stage, HOST_STORE, "dies");
	run_until(stage, &stage->ended);
	read_settings(stage, "works");
	assert_int_equal(child_start(&stage->child), 0);
	run_until(stage, &stage->ready);
	child_stop(&stage->child, 0);
	stage->ended = 0;
	run_until(stage, &stage->ended);
	assert_int_equal(stage->status, 0);
	child_deinit(&stage->child);
}

static void test_no_such_program(void **state)
{
	struct stage *stage = *state;

	start(stage, HOST_POP3D, "works");
	run_until(stage, &stage->ended);
	assert_int_equal(WEXITSTATUS(stage->status), 71);
	child_deinit(&stage->child);
}

int main(int argc, char **argv)
{
	const char *slash = strrchr(argv[0], '/');
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_life, set_up, tear_down),
		cmocka_unit_test_setup_teardown(
			test_store_stands_in_its_directory, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_limits_are_given_back, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_reconfigure, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_session_tickets, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_ends, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_starts_again_in_its_place, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_no_such_program, set_up, tear_down),
	};

	(void)argc;
	if (slash && (strcmp(slash, "/store") == 0 || strcmp(slash, "/smtp-in") == 0))
		return run_puppet();
	return cmocka_run_group_tests(tests, NULL, NULL);
}

/* A small role, run as a process of its own, is led through its life over descriptor 3. */
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <sysexits.h>
#include <unistd.h>

#include <cmocka.h>
#include <event2/event.h>

#include "base/control.h"
#include "base/ipc.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/role.h"
#include "tests/unit/base/small_role.h"
#include "tests/unit/base/tls_identity.h"

enum { ROLE_UID = 201299 };

/* ---- the supervisor's side ---- */

static struct {
	struct event_base *loop;
	struct ipc *ipc;
	pid_t pid;
	int log;
	unsigned ready, worker, ended;
	char counters[1000];
	uint16_t port[2]; /* hello, stay */
	int listener[2];
} host;

static void on_frame(void *owner, struct ipc_frame *frame)
{
	struct control_ready ready;
	struct control_counters counters;

	(void)owner;
	if (frame->type == CONTROL_READY) {
		assert_int_equal(control_ready_unpack(frame->payload, &ready), 0);
		host.ready++;
		host.worker = ready.worker;
	} else {
		assert_int_equal(frame->type, CONTROL_COUNTERS);
		assert_int_equal(control_counters_unpack(frame->payload, &counters), 0);
		snprintf(host.counters, sizeof(host.counters), "%.*s", TEXT_ARG(counters.lines));
	}
}

static void on_ended(void *owner, const char *reason)
{
	(void)owner, (void)reason;
	host.ended++;
}

static const struct ipc_handlers handlers = { .frame = on_frame, .ended = on_ended };

static void print_log(void)
{
	char octets[8000];
	ssize_t size = pread(host.log, octets, sizeof(octets), 0);

	if (size > 0)
		fprintf(stderr, "%.*s", (int)size, octets);
}

static bool log_says(const char *words)
{
	char octets[8000];
	ssize_t size = pread(host.log, octets, sizeof(octets) - 1, 0);

	octets[size > 0 ? size : 0] = '\0';
	return strstr(octets, words) != NULL;
}

static void on_guard(evutil_socket_t fd, short what, void *argument)
{
	(void)fd, (void)what, (void)argument;
	print_log();
	fail_msg("nothing came of it for two minutes");
}

#define RUN_UNTIL(condition) \
	do { \
		const struct timeval guard = { .tv_sec = 120 }; \
		struct event *timer = event_new(host.loop, -1, 0, on_guard, NULL); \
		event_add(timer, &guard); \
		while (!(condition)) \
			event_base_loop(host.loop, EVLOOP_ONCE); \
		event_free(timer); \
	} while (0)

static void spawn(char *const *arguments, int control, rlim_t descriptors)
{
	host.log = memfd_create("log", 0);
	host.pid = fork();
	if (host.pid != 0)
		return;
	const struct rlimit limit = { .rlim_cur = descriptors, .rlim_max = descriptors };
	setenv("ROLE_UNDER_TEST", "1", 1);
	dup2(host.log, STDERR_FILENO);
	dup2(host.log, STDOUT_FILENO);
	if (control >= 0 && control != CONTROL_FD)
		dup2(control, CONTROL_FD);
	if (control == CONTROL_FD)
		fcntl(control, F_SETFD, 0);
	close_range(control < 0 ? CONTROL_FD : CONTROL_FD + 1, ~0U, 0);
	if (descriptors)
		setrlimit(RLIMIT_NOFILE, &limit);
	execv("/proc/self/exe", arguments);
	_exit(127);
}

static int exit_status(void)
{
	int status;

	assert_int_equal(waitpid(host.pid, &status, 0), host.pid);
	host.pid = 0;
	if (!WIFEXITED(status)) {
		print_log();
		fail_msg("ended by signal %d", WTERMSIG(status));
	}
	return WEXITSTATUS(status);
}

static void expect_exit(int wanted)
{
	const int status = exit_status();

	if (status != wanted)
		print_log();
	assert_int_equal(status, wanted);
}

static void start_process(rlim_t descriptors)
{
	static char name[] = "small";
	char *const arguments[] = { name, NULL };
	int pair[2];

	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair), 0);
	spawn(arguments, pair[1], descriptors);
	close(pair[1]);
	host.ipc = ipc_new(host.loop, pair[0], CONTROL_PAYLOAD, &handlers, NULL);
}

static int set_up(void **state)
{
	(void)state;
	memset(&host, 0, sizeof(host));
	host.log = -1;
	host.loop = event_base_new();
	for (size_t i = 0; i < 2; i++) {
		struct sockaddr_in address = { .sin_family = AF_INET };
		socklen_t size = sizeof(address);
		address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
		host.listener[i] = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
		assert_int_equal(
			bind(host.listener[i], (const struct sockaddr *)&address, sizeof(address)),
			0);
		assert_int_equal(listen(host.listener[i], 100), 0);
		assert_int_equal(
			getsockname(host.listener[i], (struct sockaddr *)&address, &size), 0);
		host.port[i] = ntohs(address.sin_port);
	}
	return 0;
}

static int tear_down(void **state)
{
	(void)state;
	ipc_free(&host.ipc);
	event_base_free(host.loop);
	if (host.pid > 0) {
		kill(host.pid, SIGKILL);
		waitpid(host.pid, NULL, 0);
	}
	close(host.log);
	close(host.listener[0]);
	close(host.listener[1]);
	return 0;
}

static void configure(const char *common, const char *section)
{
	const uint32_t uid = geteuid() == 0 ? ROLE_UID : 0;
	const struct control_configure message = {
		.common = text_of(common), .section = text_of(section), .uid = uid, .gid = uid
	};

	control_configure_pack(ipc_begin(host.ipc, CONTROL_CONFIGURE, 0), &message);
	ipc_end(host.ipc, -1);
}

static void go(unsigned worker)
{
	const struct control_go message = { .worker = worker };

	control_go_pack(ipc_begin(host.ipc, CONTROL_GO, 0), &message);
	ipc_end(host.ipc, -1);
}

static void stop(unsigned seconds)
{
	const struct control_stop message = { .seconds = seconds };

	control_stop_pack(ipc_begin(host.ipc, CONTROL_STOP, 0), &message);
	ipc_end(host.ipc, -1);
	ipc_flush(host.ipc, 5000); /* the loop does not run while the exit is waited for */
}

static void give_listener(const char *name, int fd)
{
	const struct control_listener message = { .name = text_of(name) };

	control_listener_pack(ipc_begin(host.ipc, CONTROL_LISTENER, 0), &message);
	ipc_end(host.ipc, fd);
}

static char *common_lines, *section_lines;

/* As the supervisor would write the defaults. */
static void make_lines(void)
{
	struct common_settings common = { 0 };
	struct small_settings section = { 0 };
	struct buf lines = { 0 };

	settings_preset(&common_section, &common);
	mem_free(common.log_level);
	common.log_level = mem_copy("debug", 5); /* starts and stops are told, too */
	settings_store(&common_section, &common, &lines);
	common_lines = mem_copy(buf_text(&lines).ptr, buf_length(&lines));
	settings_free(&common_section, &common);
	buf_clear(&lines);
	settings_preset(&small_section, &section);
	settings_store(&small_section, &section, &lines);
	section_lines = mem_copy(buf_text(&lines).ptr, buf_length(&lines));
	settings_free(&small_section, &section);
	buf_release(&lines);
}

static void start_role(rlim_t descriptors)
{
	start_process(descriptors);
	configure(common_lines, section_lines);
	give_listener("hello", host.listener[0]);
	give_listener("stay", host.listener[1]);
	go(5);
	RUN_UNTIL(host.ready || host.ended);
	if (!host.ready)
		print_log();
	assert_int_equal(host.ready, 1);
	assert_int_equal(host.worker, 5);
}

static int dial(size_t which)
{
	struct sockaddr_in address = { .sin_family = AF_INET, .sin_port = htons(host.port[which]) };
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

	address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	if (connect(fd, (const struct sockaddr *)&address, sizeof(address)) == 0)
		return fd;
	close(fd);
	return -1;
}

static void expect_greeting(const char *greeting, bool tls)
{
	char line[200], wanted[200];
	size_t used = 0;
	int fd = dial(0);

	assert_true(fd >= 0);
	for (ssize_t got = 1; got > 0; used += (size_t)got) {
		got = read(fd, line + used, sizeof(line) - 1 - used);
		assert_true(got >= 0);
	}
	line[used] = '\0';
	close(fd);
	snprintf(wanted, sizeof(wanted), "%s confined=1 tls=%d uid=%d\n", greeting, tls,
		geteuid() == 0 ? ROLE_UID : (int)getuid());
	assert_string_equal(line, wanted);
}

static void count(void)
{
	const struct control_count message = { .worker = 5 };

	host.counters[0] = '\0';
	control_count_pack(ipc_begin(host.ipc, CONTROL_COUNT, 0), &message);
	ipc_end(host.ipc, -1);
	RUN_UNTIL(host.counters[0] || host.ended);
}

static void wait_for_guests(unsigned number)
{
	char wanted[40];

	snprintf(wanted, sizeof(wanted), "guests=%u\n", number);
	do
		count();
	while (!strstr(host.counters, wanted) && !host.ended);
	assert_int_equal(host.ended, 0);
}

/* ---- its life ---- */

static void it_serves_counts_and_stops(void **state)
{
	(void)state;
	start_role(0);
	expect_greeting("hello", false);
	expect_greeting("hello", false);
	count();
	assert_int_equal(strncmp(host.counters, "uptime=", 7), 0);
	assert_non_null(strstr(host.counters, "\ngreeted=2\nguests=0\n"));
	stop(10);
	expect_exit(EX_OK);
	assert_true(log_says("event=stopped"));
}

static void change(const char *greeting)
{
	char lines[100];
	const unsigned before = host.ready;

	snprintf(lines, sizeof(lines), "greeting=%s\n", greeting);
	configure(common_lines, lines);
	go(5);
	RUN_UNTIL(host.ready > before || host.ended);
}

static void it_takes_new_settings_over(void **state)
{
	(void)state;
	start_role(0);
	expect_greeting("hello", false);
	change("servus");
	expect_greeting("servus", false);
	change("far longer than the twenty octets that are allowed");
	assert_true(log_says("settings-refused"));
	expect_greeting("servus", false);
	change("moin");
	expect_greeting("moin", false);
	stop(10);
	expect_exit(EX_OK);
}

static void give_certificate(struct text chain, struct text key)
{
	const struct control_certificate message = { .chain = chain, .key = key };

	control_certificate_pack(ipc_begin(host.ipc, CONTROL_CERTIFICATE, 0), &message);
	ipc_end(host.ipc, -1);
}

/* Also a role that was confined without one gets its first certificate. */
static void it_takes_new_certificates_over(void **state)
{
	const struct tls_identity one =
		tls_identity_make(TLS_IDENTITY_ECDSA, "DNS:mail.example.test");
	const struct tls_identity two =
		tls_identity_make(TLS_IDENTITY_ECDSA, "DNS:pop.example.test");

	(void)state;
	start_role(0);
	expect_greeting("hello", false);
	configure(common_lines, section_lines);
	give_certificate(text_of(one.chain), text_of(one.key));
	give_certificate(text_of(two.chain), text_of(two.key));
	go(5);
	RUN_UNTIL(host.ready == 2 || host.ended);
	if (log_says("refused"))
		print_log();
	expect_greeting("hello", true);
	configure(common_lines, section_lines);
	give_certificate(TEXT("no certificate"), text_of(one.key));
	go(5);
	RUN_UNTIL(host.ready == 3 || host.ended);
	assert_true(log_says("certificate-refused"));
	expect_greeting("hello", true);
	configure(common_lines, section_lines);
	go(5);
	RUN_UNTIL(host.ready == 4 || host.ended);
	expect_greeting("hello", false);
	stop(10);
	expect_exit(EX_OK);
}

/* The listening socket is closed here too, so that nobody accepts once the role has stopped doing so. */
static void forget_listeners(void)
{
	close(host.listener[0]);
	close(host.listener[1]);
	host.listener[0] = host.listener[1] = -1;
}

static void a_stop_waits_for_transfers(void **state)
{
	(void)state;
	start_role(0);
	int guest = dial(1);
	wait_for_guests(1);
	forget_listeners();
	stop(600);
	while (!log_says("event=stopping"))
		count();
	count(); /* it still answers, and the listeners are closed */
	assert_non_null(strstr(host.counters, "guests=1\n"));
	assert_int_equal(dial(0), -1);
	assert_int_equal(waitpid(host.pid, NULL, WNOHANG), 0);
	close(guest);
	expect_exit(EX_OK);
	assert_false(log_says("stop-cut-short"));
}

static void a_stop_does_not_wait_for_ever(void **state)
{
	(void)state;
	start_role(0);
	int guest = dial(1);
	wait_for_guests(1);
	stop(600);
	stop(0);
	expect_exit(EX_OK);
	assert_true(log_says("stop-cut-short"));
	close(guest);
}

static void the_supervisors_death_is_a_stop(void **state)
{
	(void)state;
	start_role(0);
	ipc_free(&host.ipc);
	expect_exit(EX_OK);
	assert_true(log_says("supervisor-gone"));
}

static void signals(void **state)
{
	(void)state;
	start_role(0);
	kill(host.pid, SIGINT);
	kill(host.pid, SIGHUP);
	kill(host.pid, SIGPIPE);
	kill(host.pid, SIGTERM);
	expect_greeting("hello", false);
	ipc_free(&host.ipc);
	expect_exit(EX_OK);
}

/* Clients that cannot be accepted wait in the kernel's queue and get their turn. */
static void running_out_of_descriptors(void **state)
{
	enum { CLIENTS = 40 };
	int clients[CLIENTS];

	(void)state;
	start_role(24);
	for (int i = 0; i < CLIENTS; i++) {
		clients[i] = dial(1);
		assert_true(clients[i] >= 0);
	}
	while (!log_says("accept-failed"))
		count();
	assert_null(strstr(host.counters, "guests=40\n"));
	for (int i = 0; i < CLIENTS - 2; i++)
		close(clients[i]);
	wait_for_guests(2);
	expect_greeting("hello", false);
	close(clients[CLIENTS - 2]);
	close(clients[CLIENTS - 1]);
	stop(10);
	expect_exit(EX_OK);
}

/* ---- what goes wrong before ---- */

static void wrong_messages_end_it(void **state)
{
	for (int i = 0; i < 8; i++) {
		int wanted = EX_PROTOCOL;
		start_process(0);
		switch (i) {
		case 0: /* GO before CONFIGURE */
			go(0);
			break;
		case 1: /* settings that are not */
			configure(common_lines, "greeting\n");
			go(0);
			wanted = EX_CONFIG;
			break;
		case 2:
			configure("log-level=silly\n", section_lines);
			go(0);
			wanted = EX_CONFIG;
			break;
		case 3: /* a listener without a descriptor */
			configure(common_lines, section_lines);
			give_listener("hello", -1);
			break;
		case 4: /* a descriptor where none belongs */
			ipc_begin(host.ipc, CONTROL_GO, 0);
			ipc_end(host.ipc, host.listener[0]);
			break;
		case 5: /* what only a role says */
			ipc_begin(host.ipc, CONTROL_READY, 0);
			ipc_end(host.ipc, -1);
			break;
		case 6:
			ipc_begin(host.ipc, 999, 0);
			ipc_end(host.ipc, -1);
			break;
		case 7: /* gone before it said anything */
			ipc_free(&host.ipc);
			wanted = EX_UNAVAILABLE;
			break;
		}
		if (host.ipc)
			RUN_UNTIL(host.ended);
		expect_exit(wanted);
		assert_int_equal(host.ready, 0);
		tear_down(state);
		set_up(state);
	}
}

static void run_with(char *argument)
{
	static char name[] = "small";
	char *const arguments[] = { name, argument, NULL };

	close(host.log);
	spawn(arguments, -1, 0);
}

static void without_a_supervisor(void **state)
{
	char help[] = "--help", other[] = "--other";

	(void)state;
	run_with(NULL);
	expect_exit(EX_USAGE);
	assert_true(log_says("started by the supervisor"));
	run_with(other);
	expect_exit(EX_USAGE);
	run_with(help);
	expect_exit(EX_OK);
	assert_true(log_says("started by the supervisor"));
}

#define CASE(f) cmocka_unit_test_setup_teardown(f, set_up, tear_down)

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		CASE(it_serves_counts_and_stops),
		CASE(it_takes_new_settings_over),
		CASE(it_takes_new_certificates_over),
		CASE(a_stop_waits_for_transfers),
		CASE(a_stop_does_not_wait_for_ever),
		CASE(the_supervisors_death_is_a_stop),
		CASE(signals),
		CASE(running_out_of_descriptors),
		CASE(wrong_messages_end_it),
		CASE(without_a_supervisor),
	};

	if (getenv("ROLE_UNDER_TEST"))
		return role_main(argc, argv, &small_role);
	sigaction(SIGPIPE, &(const struct sigaction){ .sa_handler = SIG_IGN }, NULL);
	make_lines();
	int failed = cmocka_run_group_tests(tests, NULL, NULL);
	mem_free(common_lines);
	mem_free(section_lines);
	return failed;
}

#include "restante/spawn.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sysexits.h>
#include <unistd.h>

#include "base/control.h"
#include "base/log.h"
#include "base/mem.h"

enum { DESCRIPTORS_MOST = 1 << 20, ENVIRONMENT = 4 };

/* What a role may see of our environment. */
static const char *const passed[] = { "ASAN_OPTIONS", "UBSAN_OPTIONS", "LSAN_OPTIONS" };

static char **make_environment(void)
{
	char **environment = mem_array(ENVIRONMENT, sizeof(*environment));
	size_t count = 0;

	for (size_t i = 0; i < sizeof(passed) / sizeof(passed[0]); i++) {
		const char *value = getenv(passed[i]);
		if (!value)
			continue;
		const size_t size = strlen(passed[i]) + strlen(value) + 2;
		environment[count] = mem_new(size);
		snprintf(environment[count++], size, "%s=%s", passed[i], value);
	}
	return environment;
}

static void free_environment(char **environment)
{
	for (size_t i = 0; environment[i]; i++)
		mem_free(environment[i]);
	mem_free(environment);
}

/*
 * The terminal's signals reach every process of its group, but what they mean is the supervisor's to
 * decide.
 */
static void reset_signals(void)
{
	const struct sigaction ignore = { .sa_handler = SIG_IGN };
	sigset_t none;

	sigaction(SIGINT, &ignore, NULL);
	sigaction(SIGQUIT, &ignore, NULL);
	sigaction(SIGHUP, &ignore, NULL);
	sigemptyset(&none);
	sigprocmask(SIG_SETMASK, &none, NULL);
}

/* A session costs a descriptor or two: the hard limit is the one that was meant. */
static void raise_descriptors(void)
{
	struct rlimit limit;

	if (getrlimit(RLIMIT_NOFILE, &limit) != 0)
		return;
	limit.rlim_cur = limit.rlim_max < DESCRIPTORS_MOST ? limit.rlim_max : DESCRIPTORS_MOST;
	setrlimit(RLIMIT_NOFILE, &limit);
}

/* Descriptors 0 to 3 and no other. */
static int arrange_descriptors(int control)
{
	const int null = open("/dev/null", O_RDWR | O_CLOEXEC);

	if (null < 0 || dup2(null, STDIN_FILENO) < 0 || dup2(null, STDOUT_FILENO) < 0)
		return -1;
	if (control == CONTROL_FD) {
		if (fcntl(control, F_SETFD, 0) != 0)
			return -1;
	} else if (dup2(control, CONTROL_FD) < 0) {
		return -1;
	}
	return close_range(CONTROL_FD + 1, ~0U, 0);
}

static void become_role(const char *program, int cwd, int control, char *const *environment)
	__attribute__((noreturn));

static void become_role(const char *program, int cwd, int control, char *const *environment)
{
	char *const arguments[] = { (char *)program, NULL };

	reset_signals();
	raise_descriptors();
	if (fchdir(cwd) == 0 && arrange_descriptors(control) == 0)
		execve(program, arguments, environment);
	LOG_ERROR("spawn-failed", LOG_STRING("program", program), LOG_ERRNO(errno));
	_exit(EX_OSERR);
}

int spawn_role(const char *libexec, const char *name, int cwd, pid_t *pid, int *control)
{
	const size_t size = strlen(libexec) + strlen(name) + 2;
	int pair[2], result = -1;

	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) != 0)
		return -1;
	char *program = mem_new(size);
	char **environment = make_environment();
	snprintf(program, size, "%s/%s", libexec, name);
	*pid = fork();
	if (*pid == 0)
		become_role(program, cwd, pair[1], environment);
	const int number = errno;
	close(pair[1]);
	if (*pid > 0) {
		*control = pair[0];
		result = 0;
	} else {
		close(pair[0]);
	}
	free_environment(environment);
	mem_free(program);
	errno = number;
	return result;
}

/*
 * `restante bridge run` and `test`: the bridge's own program, with the settings on descriptor 3.
 */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <sysexits.h>
#include <unistd.h>

#include "base/control.h"
#include "base/log.h"
#include "base/sys.h"
#include "restante/bridge.h"

static void become_bridge(const char *program, const char *verb, const char *name, int settings)
	__attribute__((noreturn));

static void become_bridge(const char *program, const char *verb, const char *name, int settings)
{
	if (dup2(settings, CONTROL_FD) >= 0 && close_range(CONTROL_FD + 1, ~0U, 0) == 0)
		execl(program, program, verb, name, (char *)NULL);
	fprintf(stderr, "restante: %s: %s\n", program, log_errno(errno));
	_exit(EX_OSERR);
}

static void pack_settings(const struct host *host, struct buf *out)
{
	struct buf common = { 0 }, section = { 0 };
	const uid_t uid = host_uid(host->settings, HOST_BRIDGE);

	settings_store(&common_section, host_settings_common(host->settings), &common);
	host_settings_store(host->settings, HOST_BRIDGE, &section);
	const struct control_configure message = {
		.common = buf_text(&common), .section = buf_text(&section), .uid = uid, .gid = uid
	};
	control_configure_pack(out, &message);
	buf_release(&common);
	buf_release(&section);
}

static int hand_over(pid_t pid, int to, struct text settings)
{
	int status = 0;

	signal(SIGPIPE, SIG_IGN);
	sys_write_all(to, settings.ptr, settings.len);
	close(to);
	while (waitpid(pid, &status, 0) < 0 && errno == EINTR)
		;
	return WIFEXITED(status) ? WEXITSTATUS(status) : EX_SOFTWARE;
}

static int start(const char *program, const char *verb, const char *name, struct text settings)
{
	int ends[2];

	if (pipe2(ends, O_CLOEXEC) != 0)
		return EX_OSERR;
	fflush(NULL);
	const pid_t pid = fork();
	if (pid == 0)
		become_bridge(program, verb, name, ends[0]);
	close(ends[0]);
	if (pid < 0) {
		close(ends[1]);
		return EX_OSERR;
	}
	return hand_over(pid, ends[1], settings);
}

/* The delivery agent's socket is in the run directory of a host that runs. */
static int go_to_run(struct host *host)
{
	const char *state = host_settings_common(host->settings)->state;
	const int run = state_open_run(state);

	if (run >= 0 && fchdir(run) == 0) {
		close(run);
		return 0;
	}
	fprintf(stderr, "restante: %s/run: %s; start the host first\n", state, log_errno(errno));
	if (run >= 0)
		close(run);
	return EX_UNAVAILABLE;
}

int bridge_session(struct host *host, const char *verb, const char *name)
{
	struct buf settings = { 0 };
	char error[1200];

	if (!accounts_find(&host->settings->accounts, name)) {
		fprintf(stderr, "restante: there is no account %s\n", name);
		return EX_USAGE;
	}
	host->libexec = host_libexec(error, sizeof(error));
	if (!host->libexec) {
		host_complain(NULL, error);
		return EX_SOFTWARE;
	}
	int status = go_to_run(host);
	if (status == 0) {
		struct buf path = { 0 };
		buf_format(&path, "%s/bridge", host->libexec);
		buf_add_char(&path, '\0');
		pack_settings(host, &settings);
		status = start(buf_text(&path).ptr, verb, name, buf_text(&settings));
		buf_release(&path);
	}
	buf_release(&settings);
	return status;
}

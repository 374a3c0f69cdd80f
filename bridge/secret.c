#include "bridge/secret.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "base/log.h"
#include "base/mem.h"
#include "base/sys.h"
#include "bridge/stream.h"
#include "mail/base64.h"

enum { FILE_LIMIT = 1 << 16, LINGER_MILLISECONDS = 2000 };

/* Wider than RFC 6750 section 2.1; nothing in it can end a field of the login. */
static bool is_token(struct text line)
{
	for (size_t i = 0; i < line.len; i++) {
		if (line.ptr[i] <= ' ' || line.ptr[i] > '~')
			return false;
	}
	return true;
}

static int take_line(
	struct text octets, const char *from, struct secret *secret, struct fault *fault)
{
	const ptrdiff_t end = text_find(octets, '\n');
	struct text line = end < 0 ? octets : text_head(octets, (size_t)end);

	if (line.len && line.ptr[line.len - 1] == '\r')
		line.len--;
	if (line.len == 0)
		return fault_set(fault, FAULT_SETTINGS, "%s gives an empty first line", from);
	if (line.len > SECRET_LIMIT || text_find(line, '\0') >= 0 || text_find(line, '\r') >= 0)
		return fault_set(fault, FAULT_SETTINGS, "%s gives what is no password", from);
	if (secret->is_token && !is_token(line))
		return fault_set(fault, FAULT_SETTINGS,
			"%s gives what is no token: it has a blank, a control character or one "
			"beyond ASCII in it",
			from);
	memcpy(secret->string, line.ptr, line.len);
	secret->string[line.len] = '\0';
	return 0;
}

static int read_file(const char *path, struct secret *secret, struct fault *fault)
{
	size_t size;
	char *octets = sys_read_file(AT_FDCWD, path, FILE_LIMIT, &size);

	if (!octets)
		return fault_set(
			fault, FAULT_SETTINGS, "password-file %s: %s", path, log_errno(errno));
	const int result =
		take_line((struct text){ .ptr = octets, .len = size }, path, secret, fault);
	mem_wipe(octets, size);
	mem_free(octets);
	return result;
}

/* ---- a program ---- */

static void become_program(const struct settings_list *command, int out) __attribute__((noreturn));

static void become_program(const struct settings_list *command, int out)
{
	static char path[] = "PATH=/usr/local/bin:/usr/bin:/bin";
	static char *const environment[] = { path, NULL };
	const struct sigaction usual = { .sa_handler = SIG_DFL };
	char **arguments = mem_array(command->count + 1, sizeof(*arguments));
	const int null = open("/dev/null", O_RDWR | O_CLOEXEC);

	for (size_t i = 0; i < command->count; i++)
		arguments[i] = command->item[i];
	for (int number = 1; number < 32; number++)
		sigaction(number, &usual, NULL);
	setpgid(0, 0);
	if (null >= 0 && dup2(null, STDIN_FILENO) >= 0 && dup2(out, STDOUT_FILENO) >= 0 &&
		close_range(STDERR_FILENO + 1, ~0U, 0) == 0)
		execve(arguments[0], arguments, environment);
	_exit(127);
}

/* What it prints until it closes, or the time is over. */
static ssize_t read_all(int fd, char *octets, size_t size)
{
	const int64_t end = stream_now() + SECRET_SECONDS * 1000;
	size_t used = 0;

	while (used < size) {
		const int64_t left = end - stream_now();
		struct pollfd ready = { .fd = fd, .events = POLLIN };
		if (left <= 0 || (poll(&ready, 1, (int)left) == 0))
			return -1;
		const ssize_t got = read(fd, octets + used, size - used);
		if (got == 0)
			return (ssize_t)used;
		if (got < 0 && errno != EINTR)
			return -1;
		used += got > 0 ? (size_t)got : 0;
	}
	return (ssize_t)used;
}

/* Its status, once it has ended; one that lingers is ended, and what it started with it. */
static int reap(pid_t pid, unsigned milliseconds)
{
	const struct timespec moment = { .tv_nsec = 1000000 };
	int status = 0;

	for (; milliseconds; milliseconds--) {
		if (waitpid(pid, &status, WNOHANG) == pid)
			return status;
		nanosleep(&moment, NULL);
	}
	kill(-pid, SIGKILL);
	while (waitpid(pid, &status, 0) < 0 && errno == EINTR)
		;
	return status;
}

static int run_program(
	const struct settings_list *command, struct secret *secret, struct fault *fault)
{
	char octets[SECRET_LIMIT + 2];
	int ends[2];
	int result = -1;

	if (pipe2(ends, O_CLOEXEC) != 0)
		return fault_set(fault, FAULT_LOCAL, "pipe: %s", log_errno(errno));
	const struct sigaction usual = { .sa_handler = SIG_DFL };
	sigaction(SIGCHLD, &usual, NULL);
	const pid_t pid = fork();
	if (pid == 0)
		become_program(command, ends[1]);
	close(ends[1]);
	if (pid < 0) {
		close(ends[0]);
		return fault_set(fault, FAULT_LOCAL, "fork: %s", log_errno(errno));
	}
	const ssize_t got = read_all(ends[0], octets, sizeof(octets));
	close(ends[0]);
	if (got < 0) {
		reap(pid, 0);
		return fault_set(fault, FAULT_SETTINGS, "%s gives nothing within %d seconds",
			command->item[0], SECRET_SECONDS);
	}
	const int status = reap(pid, LINGER_MILLISECONDS);
	if (WIFEXITED(status) && WEXITSTATUS(status) == 127)
		fault_set(fault, FAULT_SETTINGS, "%s cannot be run", command->item[0]);
	else if (status != 0)
		fault_set(fault, FAULT_SETTINGS, "%s ends with an error (%d)", command->item[0],
			WIFEXITED(status) ? WEXITSTATUS(status) : WTERMSIG(status));
	else
		result = take_line((struct text){ .ptr = octets, .len = (size_t)got },
			command->item[0], secret, fault);
	mem_wipe(octets, sizeof(octets));
	return result;
}

int secret_read(const struct bridge_account *account, struct secret *secret, struct fault *fault)
{
	*secret = (struct secret){ .is_token = account->token_command.count != 0 };
	if (secret->is_token)
		return run_program(&account->token_command, secret, fault);
	if (account->password_command.count)
		return run_program(&account->password_command, secret, fault);
	return read_file(account->password_file, secret, fault);
}

static void hide(struct text octets, char *answer)
{
	const size_t size = strlen(answer);

	if (octets.len == 0)
		return;
	for (size_t i = 0; i + octets.len <= size;) {
		if (memcmp(answer + i, octets.ptr, octets.len) == 0) {
			memset(answer + i, '*', octets.len);
			i += octets.len;
		} else {
			i++;
		}
	}
}

void secret_hide(const struct secret *secret, char *answer)
{
	hide(text_of(secret->string), answer);
	hide(buf_text(&secret->coded), answer);
}

static void add_saslname(struct buf *octets, const char *name)
{
	for (; *name; name++) {
		if (*name == ',' || *name == '=')
			buf_add_string(octets, *name == ',' ? "=2C" : "=3D");
		else
			buf_add_char(octets, *name);
	}
}

void secret_add_token(
	const struct secret *secret, const struct bridge_account *account, struct buf *octets)
{
	if (strcmp(account->token_mechanism, "oauthbearer") == 0) {
		buf_add_string(octets, "n,a=");
		add_saslname(octets, account->user);
		buf_format(
			octets, ",\1host=%s\1port=%u", account->host, bridge_account_port(account));
	} else {
		buf_format(octets, "user=%s", account->user);
	}
	buf_format(octets, "\1auth=Bearer %s\1\1", secret->string);
}

struct text secret_code(struct secret *secret, struct buf *octets)
{
	buf_wipe(&secret->coded);
	base64_encode(buf_text(octets), &secret->coded);
	buf_wipe(octets);
	return buf_text(&secret->coded);
}

void secret_forget(struct secret *secret)
{
	buf_wipe(&secret->coded);
	mem_wipe(secret, sizeof(*secret));
}

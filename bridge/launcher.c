#include "bridge/launcher.h"

#include <errno.h>
#include <signal.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <sysexits.h>
#include <unistd.h>

#include "base/control.h"
#include "base/log.h"

struct request {
	uint32_t account;
	char hint[REPORT_HINT_LIMIT];
};

enum { REQUEST_HEAD = sizeof(uint32_t) };

pid_t launcher_fork(const struct session_options *options, int *reports)
{
	struct session_options own = *options;
	int pair[2];

	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair) != 0)
		return -1;
	const pid_t pid = fork();
	if (pid == 0) {
		close(pair[0]);
		close(CONTROL_FD);
		own.report = pair[1];
		_exit(session_run(&own));
	}
	const int number = errno;
	close(pair[1]);
	if (pid < 0) {
		close(pair[0]);
		errno = number;
		return -1;
	}
	*reports = pair[0];
	return pid;
}

/* ---- the launcher's side ---- */

/* What goes over the socket; the descriptor beside it. */
struct answer {
	uint32_t account;
	int32_t number;
};

int launcher_give(int bridge, const struct launcher_answer *given)
{
	struct answer answer = { .account = given->account, .number = given->number };
	union {
		struct cmsghdr align;
		char octets[CMSG_SPACE(sizeof(int))];
	} control = { .octets = { 0 } };
	struct iovec part = { .iov_base = &answer, .iov_len = sizeof(answer) };
	struct msghdr message = { .msg_iov = &part, .msg_iovlen = 1 };

	if (given->reports >= 0) {
		message.msg_control = &control;
		message.msg_controllen = sizeof(control.octets);
		struct cmsghdr *head = CMSG_FIRSTHDR(&message);
		head->cmsg_level = SOL_SOCKET;
		head->cmsg_type = SCM_RIGHTS;
		head->cmsg_len = CMSG_LEN(sizeof(int));
		memcpy(CMSG_DATA(head), &given->reports, sizeof(int));
	}
	return sendmsg(bridge, &message, MSG_NOSIGNAL) < 0 ? -1 : 0;
}

static int launch(const struct launcher_options *options, int bridge, const struct request *request,
	size_t size)
{
	struct launcher_answer answer = { .account = request->account, .reports = -1 };

	if (size < REQUEST_HEAD || request->account >= options->count)
		return -1;
	const struct session_options session = {
		.settings = options->settings,
		.account = &options->accounts[request->account],
		.hostname = options->hostname,
		.purpose = SESSION_SERVE,
		.uid = options->uid,
		.hint = { .ptr = request->hint, .len = size - REQUEST_HEAD },
	};
	if (launcher_fork(&session, &answer.reports) < 0)
		answer.number = errno;
	const int result = launcher_give(bridge, &answer);
	if (answer.reports >= 0)
		close(answer.reports);
	return result;
}

/*
 * What the bridge had open is not for those who are started here, its log file included: they tell what
 * there is to tell in reports, which the bridge logs.
 */
static int keep_only(int bridge, bool syslog_used)
{
	if (dup2(bridge, CONTROL_FD) < 0)
		return -1;
	log_to_file(-1);
	if (close_range(CONTROL_FD + 1, ~0U, 0) != 0)
		return -1;
	if (syslog_used)
		log_to_syslog();
	return CONTROL_FD;
}

static void run(const struct launcher_options *options, int bridge) __attribute__((noreturn));

static void run(const struct launcher_options *options, int bridge)
{
	static struct request request;
	const struct sigaction ignore = { .sa_handler = SIG_IGN };

	/* Nobody waits for them: their sockets tell when they end. */
	sigaction(SIGCHLD, &ignore, NULL);
	bridge = keep_only(bridge, options->syslog);
	for (;;) {
		const ssize_t got = recv(bridge, &request, sizeof(request), 0);
		if (got < 0 && errno == EINTR)
			continue;
		if (got <= 0 || launch(options, bridge, &request, (size_t)got) != 0)
			_exit(EX_OK);
	}
}

/* ---- the bridge's side ---- */

int launcher_start(const struct launcher_options *options)
{
	int pair[2];

	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair) != 0) {
		LOG_ERROR("no-launcher", LOG_ERRNO(errno));
		return -1;
	}
	const pid_t pid = fork();
	if (pid == 0)
		run(options, pair[1]);
	close(pair[1]);
	if (pid > 0)
		return pair[0];
	LOG_ERROR("no-launcher", LOG_ERRNO(errno));
	close(pair[0]);
	return -1;
}

int launcher_ask(int launcher, uint32_t account, struct text hint)
{
	struct iovec parts[] = {
		{ .iov_base = &account, .iov_len = sizeof(account) },
		{ .iov_base = (void *)hint.ptr, .iov_len = hint.len },
	};
	const struct msghdr message = { .msg_iov = parts, .msg_iovlen = hint.len ? 2 : 1 };

	if (sendmsg(launcher, &message, MSG_NOSIGNAL | MSG_DONTWAIT) >= 0)
		return 1;
	return errno == EAGAIN || errno == EINTR || errno == ENOBUFS ? 0 : -1;
}

/* The descriptor that came beside the octets, or -1. */
static int take_descriptor(struct msghdr *message)
{
	const struct cmsghdr *head = CMSG_FIRSTHDR(message);
	int fd = -1;

	if (head && head->cmsg_level == SOL_SOCKET && head->cmsg_type == SCM_RIGHTS)
		memcpy(&fd, CMSG_DATA(head), sizeof(int));
	return fd;
}

int launcher_take(int launcher, struct launcher_answer *taken)
{
	union {
		struct cmsghdr align;
		char octets[CMSG_SPACE(sizeof(int))];
	} control;
	struct answer answer;
	struct iovec part = { .iov_base = &answer, .iov_len = sizeof(answer) };
	struct msghdr message = { .msg_iov = &part,
		.msg_iovlen = 1,
		.msg_control = &control,
		.msg_controllen = sizeof(control.octets) };

	const ssize_t got = recvmsg(launcher, &message, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);
	if (got < 0 && (errno == EAGAIN || errno == EINTR))
		return 0;
	const int reports = got < 0 ? -1 : take_descriptor(&message);
	if (got == sizeof(answer)) {
		*taken = (struct launcher_answer){
			.account = answer.account, .number = answer.number, .reports = reports
		};
		return 1;
	}
	if (reports >= 0)
		close(reports);
	return -1;
}

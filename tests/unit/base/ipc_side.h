/*
 * Both ends of a connection between processes, in one process: each records what it is told.
 */
#ifndef TESTS_IPC_SIDE_H
#define TESTS_IPC_SIDE_H

#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/ipc_private.h"
#include "base/mem.h"

enum { LIMIT = 3 << 20, SEEN = 2048 };

struct seen {
	uint16_t type;
	uint32_t tag;
	size_t length;
	uint64_t sum;
	int number; /* what the descriptor's file says, or -1 */
};

struct side {
	struct ipc *ipc;
	struct seen seen[SEEN];
	size_t count, rounds, drained, ended;
	char reason[80];
	void (*in_frame)(struct side *side, struct ipc_frame *frame);
	void (*in_round)(struct side *side);
};

static struct event_base *loop;
static struct side left, right;

static uint64_t sum_of(struct text t)
{
	uint64_t sum = 14695981039346656037U;

	for (size_t i = 0; i < t.len; i++)
		sum = (sum ^ (unsigned char)t.ptr[i]) * 1099511628211U;
	return sum;
}

static int number_in(int fd)
{
	int number;

	if (fd < 0 || pread(fd, &number, sizeof(number), 0) != sizeof(number))
		return -1;
	return number;
}

static int file_with(int number)
{
	int fd = memfd_create("test", MFD_CLOEXEC);

	assert_int_equal(write(fd, &number, sizeof(number)), sizeof(number));
	return fd;
}

static void on_frame(void *owner, struct ipc_frame *frame)
{
	struct side *side = owner;

	assert_true(side->count < SEEN);
	side->seen[side->count++] = (struct seen){ .type = frame->type,
		.tag = frame->tag,
		.length = frame->payload.len,
		.sum = sum_of(frame->payload),
		.number = number_in(frame->fd) };
	if (side->in_frame)
		side->in_frame(side, frame);
}

static void on_round(void *owner)
{
	struct side *side = owner;

	side->rounds++;
	if (side->in_round)
		side->in_round(side);
}

static void on_drained(void *owner)
{
	((struct side *)owner)->drained++;
}

static void on_ended(void *owner, const char *reason)
{
	struct side *side = owner;

	side->ended++;
	snprintf(side->reason, sizeof(side->reason), "%s", reason);
}

static const struct ipc_handlers handlers = {
	.frame = on_frame, .round = on_round, .drained = on_drained, .ended = on_ended
};

static int open_descriptors(void)
{
	int count = 0;

	for (int fd = 0; fd < 256; fd++)
		count += fcntl(fd, F_GETFD) >= 0;
	return count;
}

static void on_guard(evutil_socket_t fd, short what, void *argument)
{
	(void)fd, (void)what, (void)argument;
	fail_msg("nothing came of it for two minutes");
}

#define RUN_UNTIL(condition) \
	do { \
		const struct timeval guard = { .tv_sec = 120 }; \
		struct event *timer = event_new(loop, -1, 0, on_guard, NULL); \
		event_add(timer, &guard); \
		while (!(condition)) \
			event_base_loop(loop, EVLOOP_ONCE); \
		event_free(timer); \
	} while (0)

static int descriptors_before;

static int set_up(void **state)
{
	(void)state;
	descriptors_before = open_descriptors();
	loop = event_base_new();
	memset(&left, 0, sizeof(left));
	memset(&right, 0, sizeof(right));
	return 0;
}

/* No test may leave a descriptor open: a leak of them is what a hostile peer would aim at. */
static int tear_down(void **state)
{
	(void)state;
	ipc_free(&left.ipc);
	ipc_free(&right.ipc);
	event_base_free(loop);
	assert_int_equal(open_descriptors(), descriptors_before);
	return 0;
}

static void start_anew(void **state)
{
	tear_down(state);
	set_up(state);
}

static void connect_sides(void)
{
	int pair[2];

	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair), 0);
	left.ipc = ipc_new(loop, pair[0], LIMIT, &handlers, &left);
	right.ipc = ipc_new(loop, pair[1], LIMIT, &handlers, &right);
}

/* The right side only; what is returned is the raw other end. */
static int connect_raw(void)
{
	int pair[2];

	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair), 0);
	right.ipc = ipc_new(loop, pair[1], LIMIT, &handlers, &right);
	return pair[0];
}

static void send_frame(struct side *side, uint16_t type, uint32_t tag, struct text payload, int fd)
{
	buf_add(ipc_begin(side->ipc, type, tag), payload);
	ipc_end(side->ipc, fd);
}

static void raw_send(int socket, const void *octets, size_t size, const int *fds, size_t fd_count)
{
	union {
		struct cmsghdr header;
		char octets[CMSG_SPACE(4 * sizeof(int))];
	} control;
	struct iovec part = { .iov_base = (void *)octets, .iov_len = size };
	struct msghdr message = { .msg_iov = &part, .msg_iovlen = 1 };

	memset(&control, 0, sizeof(control));
	if (fd_count) {
		message.msg_control = control.octets;
		message.msg_controllen = CMSG_SPACE(fd_count * sizeof(int));
		control.header.cmsg_level = SOL_SOCKET;
		control.header.cmsg_type = SCM_RIGHTS;
		control.header.cmsg_len = CMSG_LEN(fd_count * sizeof(int));
		memcpy(CMSG_DATA(&control.header), fds, fd_count * sizeof(int));
	}
	assert_int_equal(sendmsg(socket, &message, MSG_NOSIGNAL), size);
}

static void make_header(unsigned char h[IPC_HEADER], uint32_t length, uint16_t descriptors)
{
	memset(h, 0, IPC_HEADER);
	for (int i = 0; i < 4; i++)
		h[i] = (unsigned char)(length >> 8 * i);
	h[4] = 7;
	h[6] = (unsigned char)descriptors;
	h[7] = (unsigned char)(descriptors >> 8);
	h[8] = 9;
}

#endif

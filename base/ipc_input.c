/*
 * One recvmsg a readable event, most often, into memory that all connections of the process share, so an
 * idle one holds none. Frames are handed out from there; only what is left of a frame that is not whole,
 * or was held back, is copied into the connection's own `in`. A frame larger than the shared memory is
 * gathered in `in`.
 *
 * The kernel ends a recvmsg behind the segment that carried a descriptor, so each brings at most one,
 * and before a read at most one waits (for a header that is not whole yet). Two places are therefore
 * enough, and a peer that needs more has broken the rules. Where one carried a descriptor the next one
 * likely does: these few are read in one round of the loop.
 */
#include <endian.h>
#include <errno.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/ipc_private.h"
#include "base/loop.h"

enum {
	SHARED_INPUT = 128 << 10,
	READS = 32, /* in one round, of those that bring a descriptor each */
};

static char shared_input[SHARED_INPUT];

static struct ipc_header read_header(const char *octets)
{
	struct ipc_header header;

	memcpy(&header, octets, sizeof(header));
	return (struct ipc_header){ .length = le32toh(header.length),
		.type = le16toh(header.type),
		.descriptors = le16toh(header.descriptors),
		.tag = le32toh(header.tag) };
}

static const char *header_fault(const struct ipc *ipc, const struct ipc_header *header)
{
	if (header->length > ipc->payload_limit)
		return "a frame is over the limit";
	if (header->descriptors > 1)
		return "a frame announces several descriptors";
	if (header->descriptors > ipc->fd_count)
		return "a frame came without its descriptor";
	return NULL;
}

static int claim_fd(struct ipc *ipc)
{
	int fd = ipc->fds[0];

	ipc->fds[0] = ipc->fds[1];
	ipc->fd_count--;
	return fd;
}

static void deliver(struct ipc *ipc, const struct ipc_header *header, const char *payload)
{
	struct ipc_frame frame = {
		.type = header->type,
		.tag = header->tag,
		.payload = { .ptr = payload, .len = header->length },
		.fd = header->descriptors ? claim_fd(ipc) : -1,
	};

	ipc->handlers->frame(ipc->owner, &frame);
	if (frame.fd >= 0)
		close(frame.fd);
}

/* Hand out the whole frames at the start of octets. Returns the octets used up. */
static size_t take_frames(struct ipc *ipc, struct text octets)
{
	size_t used = 0;

	while (!ipc->held && !ipc_is_dead(ipc) && octets.len - used >= IPC_HEADER) {
		const struct ipc_header header = read_header(octets.ptr + used);
		const char *fault = header_fault(ipc, &header);
		if (fault) {
			ipc_set_fault(ipc, fault, 0);
			break;
		}
		if (octets.len - used - IPC_HEADER < header.length)
			break;
		deliver(ipc, &header, octets.ptr + used + IPC_HEADER);
		used += IPC_HEADER + header.length;
	}
	if (used && !ipc_is_dead(ipc) && ipc->handlers->round)
		ipc->handlers->round(ipc->owner);
	return used;
}

/* A descriptor may wait only for the frame whose first octets came with it. */
static void check_descriptors(struct ipc *ipc, struct text rest)
{
	unsigned allowed = rest.len > 0;

	if (rest.len >= IPC_HEADER)
		allowed = read_header(rest.ptr).descriptors;
	if (ipc->fd_count > allowed)
		ipc_set_fault(ipc, "a descriptor came without its frame", 0);
}

/* Octets that `in` still lacks to be a whole frame, as far as can be told. */
static size_t missing_octets(const struct ipc *ipc)
{
	const struct text have = buf_text(&ipc->in);

	if (have.len < IPC_HEADER)
		return IPC_HEADER - have.len;
	return IPC_HEADER + (size_t)read_header(have.ptr).length - have.len;
}

static void take_descriptors(struct ipc *ipc, struct msghdr *message)
{
	for (struct cmsghdr *c = CMSG_FIRSTHDR(message); c; c = CMSG_NXTHDR(message, c)) {
		if (c->cmsg_level != SOL_SOCKET || c->cmsg_type != SCM_RIGHTS)
			continue;
		size_t count = (c->cmsg_len - CMSG_LEN(0)) / sizeof(int);
		for (size_t i = 0; i < count; i++) {
			int fd;
			memcpy(&fd, CMSG_DATA(c) + i * sizeof(int), sizeof(fd));
			if (ipc->fd_count < IPC_WAITING_FDS) {
				ipc->fds[ipc->fd_count++] = fd;
			} else {
				close(fd);
				ipc_set_fault(ipc, "descriptors came without frames", 0);
			}
		}
	}
	if (message->msg_flags & MSG_CTRUNC)
		ipc_set_fault(
			ipc, "several descriptors came at once, or this process has too many", 0);
}

/* Octets received; 0 when there are none, now or ever (then fault is set). */
static size_t receive(struct ipc *ipc, char *at, size_t room)
{
	union {
		struct cmsghdr header;
		char octets[CMSG_SPACE(sizeof(int))];
	} control;
	struct iovec part = { .iov_base = at, .iov_len = room };
	struct msghdr message = {
		.msg_iov = &part,
		.msg_iovlen = 1,
		.msg_control = control.octets,
		.msg_controllen = CMSG_LEN(sizeof(int)), /* not _SPACE, which has room for two */
	};
	ssize_t got = recvmsg(ipc->fd, &message, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);

	ipc->brought = got > 0 && message.msg_controllen > 0;
	if (got > 0) {
		take_descriptors(ipc, &message);
		return (size_t)got;
	}
	if (got == 0)
		ipc_set_fault(
			ipc, buf_length(&ipc->in) ? "ended within a frame" : "end of file", 0);
	else if (errno != EAGAIN && errno != EINTR)
		ipc_set_fault(ipc, "", errno);
	return 0;
}

/* After frames were taken from octets that are not in `in`: keep what is left. */
static void keep_rest(struct ipc *ipc, struct text rest)
{
	buf_clear(&ipc->in);
	if (rest.len)
		buf_add(&ipc->in, rest);
	else
		buf_release(&ipc->in);
}

void ipc_take_input(struct ipc *ipc)
{
	size_t used = take_frames(ipc, buf_text(&ipc->in));

	if (ipc_is_dead(ipc))
		return;
	buf_consume(&ipc->in, used);
	if (buf_length(&ipc->in) == 0)
		buf_release(&ipc->in);
	ipc->leftover = ipc->held;
	if (!ipc->held)
		check_descriptors(ipc, buf_text(&ipc->in));
}

static void read_once(struct ipc *ipc)
{
	const size_t before = buf_length(&ipc->in), missing = missing_octets(ipc);

	if (before + missing > SHARED_INPUT) {
		size_t got = receive(ipc, buf_room(&ipc->in, missing), missing);
		buf_commit(&ipc->in, got);
		if (got && !ipc_is_dead(ipc))
			ipc_take_input(ipc);
		return;
	}
	if (before)
		memcpy(shared_input, buf_text(&ipc->in).ptr, before);
	size_t got = receive(ipc, shared_input + before, SHARED_INPUT - before);
	if (got == 0 || ipc_is_dead(ipc))
		return;
	struct text octets = { .ptr = shared_input, .len = before + got };
	size_t used = take_frames(ipc, octets);
	if (ipc_is_dead(ipc))
		return;
	keep_rest(ipc, text_from(octets, used));
	ipc->leftover = ipc->held;
	if (!ipc->held)
		check_descriptors(ipc, buf_text(&ipc->in));
}

void ipc_on_readable(evutil_socket_t fd, short what, void *argument)
{
	struct ipc *ipc = argument;

	(void)fd, (void)what;
	loop_came();
	if (ipc->held) {
		event_del(&ipc->readable);
		ipc->reading = false;
		return;
	}
	ipc_enter(ipc);
	if (ipc->leftover) {
		ipc_take_input(ipc);
	} else {
		unsigned reads = 0;
		do
			read_once(ipc);
		while (ipc->brought && ++reads < READS && !ipc->held && !ipc_is_dead(ipc));
	}
	ipc_leave(ipc);
}

void ipc_hold(struct ipc *ipc)
{
	ipc->held = true;
}

void ipc_release(struct ipc *ipc)
{
	if (!ipc->held)
		return;
	ipc->held = false;
	if (ipc->ended)
		return;
	if (!ipc->reading) {
		event_add(&ipc->readable, NULL);
		ipc->reading = true;
	}
	if (ipc->leftover)
		ipc_schedule(ipc);
}

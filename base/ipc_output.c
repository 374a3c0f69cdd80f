/*
 * Frames gather in `out` and leave at the end of the loop round. A frame with a descriptor is sent at
 * once, which most often saves duplicating the descriptor.
 */
#include <endian.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/ipc_private.h"
#include "base/log.h"

enum { RETRY_MICROSECONDS = 10000 }; /* when the kernel has no room that it would tell us about */

/* A descriptor that goes with the octet at this place of the whole stream. */
struct mark {
	uint64_t place;
	int fd;
	bool borrowed; /* the caller's, for the first attempt only */
};

static bool mark_at(const struct ipc *ipc, size_t index, struct mark *mark)
{
	const struct text marks = buf_text(&ipc->marks);

	if (index >= marks.len / sizeof(*mark))
		return false;
	memcpy(mark, marks.ptr + index * sizeof(*mark), sizeof(*mark));
	return true;
}

static void drop_mark(struct ipc *ipc, const struct mark *mark)
{
	if (!mark->borrowed)
		close(mark->fd);
	buf_consume(&ipc->marks, sizeof(*mark));
}

void ipc_drop_output(struct ipc *ipc)
{
	struct mark mark;

	while (mark_at(ipc, 0, &mark))
		drop_mark(ipc, &mark);
	buf_release(&ipc->marks);
	buf_wipe(&ipc->out);
}

struct buf *ipc_begin(struct ipc *ipc, uint16_t type, uint32_t tag)
{
	const struct ipc_header header = { .type = htole16(type), .tag = htole32(tag) };

	if (ipc->building)
		LOG_FATAL("frame-within-frame", LOG_NUMBER("type", type));
	ipc->building = true;
	ipc->frame_at = buf_length(&ipc->out);
	buf_add(&ipc->out, (struct text){ .ptr = (const char *)&header, .len = sizeof(header) });
	return &ipc->out;
}

/* Send up to the next octet that a descriptor goes with. Result and errno of sendmsg. */
static ssize_t send_segment(struct ipc *ipc)
{
	const struct text waiting = buf_text(&ipc->out);
	struct iovec part = { .iov_base = (char *)waiting.ptr, .iov_len = waiting.len };
	struct msghdr message = { .msg_iov = &part, .msg_iovlen = 1 };
	union {
		struct cmsghdr header;
		char octets[CMSG_SPACE(sizeof(int))];
	} control = { .octets = { 0 } };
	struct mark first, next;
	bool with_fd = mark_at(ipc, 0, &first) && first.place == ipc->sent;

	if (mark_at(ipc, with_fd ? 1 : 0, &next))
		part.iov_len = (size_t)(next.place - ipc->sent);
	if (with_fd) {
		control.header.cmsg_level = SOL_SOCKET;
		control.header.cmsg_type = SCM_RIGHTS;
		control.header.cmsg_len = CMSG_LEN(sizeof(int));
		memcpy(CMSG_DATA(&control.header), &first.fd, sizeof(first.fd));
		message.msg_control = control.octets;
		message.msg_controllen = sizeof(control.octets);
	}
	ssize_t sent = sendmsg(ipc->fd, &message, MSG_DONTWAIT | MSG_NOSIGNAL);
	if (sent <= 0)
		return sent;
	if (with_fd)
		drop_mark(ipc, &first);
	/* A password may be among them. */
	text_wipe(text_head(waiting, (size_t)sent));
	buf_consume(&ipc->out, (size_t)sent);
	ipc->sent += (uint64_t)sent;
	return sent;
}

static void wait_writable(struct ipc *ipc, bool wanted)
{
	if (ipc->writing == wanted || ipc->ended)
		return;
	ipc->writing = wanted;
	if (wanted)
		event_add(&ipc->writable, NULL);
	else
		event_del(&ipc->writable);
}

static void send_failed(struct ipc *ipc, int number)
{
	const struct timeval later = { .tv_usec = RETRY_MICROSECONDS };

	switch (number) {
	case EAGAIN:
		wait_writable(ipc, true);
		break;
	case ETOOMANYREFS: /* descriptors on their way that nobody has received yet */
	case ENOBUFS:
	case ENOMEM:
		wait_writable(ipc, false);
		event_add(&ipc->deferred, &later);
		break;
	case EPIPE:
	case ECONNRESET:
		/* Its last words may still wait to be read; the end of file behind them tells. */
		ipc->deaf = true;
		ipc_drop_output(ipc);
		wait_writable(ipc, false);
		break;
	default:
		ipc_set_fault(ipc, "", number);
		ipc_schedule(ipc);
		break;
	}
}

static void send_queued(struct ipc *ipc)
{
	while (buf_length(&ipc->out)) {
		if (send_segment(ipc) >= 0 || errno == EINTR)
			continue;
		send_failed(ipc, errno);
		return;
	}
	buf_release(&ipc->out);
	buf_release(&ipc->marks);
	wait_writable(ipc, false);
}

static bool owes_drained(const struct ipc *ipc)
{
	return ipc->above_low && buf_length(&ipc->out) <= IPC_OUTPUT_LOW;
}

void ipc_send(struct ipc *ipc)
{
	send_queued(ipc);
	if (ipc_is_dead(ipc) || !owes_drained(ipc))
		return;
	ipc->above_low = false;
	if (ipc->handlers->drained)
		ipc->handlers->drained(ipc->owner);
}

void ipc_on_writable(evutil_socket_t fd, short what, void *argument)
{
	struct ipc *ipc = argument;

	(void)fd, (void)what;
	ipc_enter(ipc);
	ipc_send(ipc);
	ipc_leave(ipc);
}

/* The last mark's descriptor could not go at once: keep a duplicate. */
static void keep_descriptor(struct ipc *ipc)
{
	const size_t count = buf_length(&ipc->marks) / sizeof(struct mark);
	struct mark mark;

	if (count == 0 || !mark_at(ipc, count - 1, &mark) || !mark.borrowed)
		return;
	mark.fd = fcntl(mark.fd, F_DUPFD_CLOEXEC, 0);
	mark.borrowed = false;
	if (mark.fd < 0) {
		ipc_set_fault(ipc, "", errno);
		ipc_schedule(ipc);
	}
	memcpy(ipc->marks.block + ipc->marks.end - sizeof(mark), &mark, sizeof(mark));
}

/* Send the last frame with the caller's descriptor now, or with a duplicate later. */
static void attach_descriptor(struct ipc *ipc, int fd)
{
	const struct mark mark = { .place = ipc->sent + ipc->frame_at, .fd = fd, .borrowed = true };

	buf_add(&ipc->marks, (struct text){ .ptr = (const char *)&mark, .len = sizeof(mark) });
	if (!ipc->writing)
		send_queued(ipc);
	keep_descriptor(ipc);
}

void ipc_end(struct ipc *ipc, int fd)
{
	if (!ipc->building)
		LOG_FATAL("frame-not-begun");
	ipc->building = false;
	const size_t length = buf_length(&ipc->out) - ipc->frame_at - IPC_HEADER;
	if (length > UINT32_MAX)
		LOG_FATAL("frame-too-long", LOG_NUMBER("octets", length));
	if (ipc_is_dead(ipc) || ipc->deaf) {
		ipc_drop_output(ipc);
		return;
	}
	char *at = ipc->out.block + ipc->out.start + ipc->frame_at;
	struct ipc_header header;
	memcpy(&header, at, sizeof(header));
	header.length = htole32((uint32_t)length);
	header.descriptors = htole16(fd >= 0);
	memcpy(at, &header, sizeof(header));
	if (buf_length(&ipc->out) > IPC_OUTPUT_LOW)
		ipc->above_low = true;
	if (fd >= 0)
		attach_descriptor(ipc, fd);
	if (!ipc->writing && (buf_length(&ipc->out) || owes_drained(ipc)))
		ipc_schedule(ipc);
}

size_t ipc_pending(const struct ipc *ipc)
{
	return buf_length(&ipc->out);
}

bool ipc_is_full(const struct ipc *ipc)
{
	return buf_length(&ipc->out) >= IPC_OUTPUT_HIGH;
}

void ipc_flush(struct ipc *ipc, unsigned milliseconds)
{
	const int64_t end = clock_milliseconds() + milliseconds;
	struct pollfd wait = { .fd = ipc->fd, .events = POLLOUT };

	while (!ipc_is_dead(ipc)) {
		send_queued(ipc);
		int64_t left = end - clock_milliseconds();
		if (buf_length(&ipc->out) == 0 || left <= 0)
			break;
		poll(&wait, 1, (int)left);
	}
	if (owes_drained(ipc))
		ipc_schedule(ipc);
}

/*
 * A hostile peer of a connection between processes.
 *
 * The input is a script: an octet that says how many octets follow (0 to 63), whether they come with
 * descriptors (0 to 3), then these octets. What is read must be the frames that a plain parser finds in
 * the same octets, up to the first fault; every descriptor must be closed in the end.
 */
#include <event2/event.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/ipc.h"
#include "base/log.h"
#include "tests/fuzz/fuzz.h"

enum { LIMIT = 200, STEPS = 4096 };

static struct event_base *loop;
static int spare;

static struct {
	struct ipc *ipc;
	struct buf stream;  /* all octets the peer sent */
	struct buf payload; /* all payloads that arrived, each behind its type and tag */
	unsigned ended, frames;
} side;

static void note(struct buf *out, uint16_t type, uint32_t tag, struct text payload)
{
	buf_add(out, (struct text){ .ptr = (const char *)&type, .len = sizeof(type) });
	buf_add(out, (struct text){ .ptr = (const char *)&tag, .len = sizeof(tag) });
	buf_add(out, payload);
}

static void on_frame(void *owner, struct ipc_frame *frame)
{
	(void)owner;
	if (side.ended || frame->payload.len > LIMIT)
		abort();
	note(&side.payload, frame->type, frame->tag, frame->payload);
	side.frames++;
	if (frame->fd >= 0 && fcntl(frame->fd, F_GETFD) != FD_CLOEXEC)
		abort();
	/* The tag decides what the owner does meanwhile. */
	switch (frame->tag & 7) {
	case 1:
		ipc_hold(side.ipc);
		break;
	case 2:
		ipc_free(&side.ipc);
		break;
	case 3:
		note(ipc_begin(side.ipc, 1, 2), 3, 4, frame->payload);
		ipc_end(side.ipc, frame->fd);
		break;
	}
}

static void on_ended(void *owner, const char *reason)
{
	(void)owner, (void)reason;
	side.ended++;
}

static const struct ipc_handlers handlers = { .frame = on_frame, .ended = on_ended };

static void raw_send(int socket, struct text octets, unsigned descriptors)
{
	union {
		struct cmsghdr header;
		char octets[CMSG_SPACE(3 * sizeof(int))];
	} control;
	const int fds[3] = { spare, spare, spare };
	struct iovec part = { .iov_base = (char *)octets.ptr, .iov_len = octets.len };
	struct msghdr message = { .msg_iov = &part, .msg_iovlen = 1 };

	if (descriptors) {
		memset(&control, 0, sizeof(control));
		message.msg_control = control.octets;
		message.msg_controllen = CMSG_SPACE(descriptors * sizeof(int));
		control.header.cmsg_level = SOL_SOCKET;
		control.header.cmsg_type = SCM_RIGHTS;
		control.header.cmsg_len = CMSG_LEN(descriptors * sizeof(int));
		memcpy(CMSG_DATA(&control.header), fds, descriptors * sizeof(int));
	}
	if (sendmsg(socket, &message, MSG_NOSIGNAL | MSG_DONTWAIT) == (ssize_t)octets.len)
		buf_add(&side.stream, octets);
}

static uint32_t little_endian(struct text t, size_t at, size_t size)
{
	uint32_t value = 0;

	while (size-- > 0)
		value = value << 8 | (unsigned char)t.ptr[at + size];
	return value;
}

/* What arrived is the beginning of what a plain parser finds. */
static void compare(void)
{
	struct text rest = buf_text(&side.stream);
	struct buf wanted = { 0 };

	for (unsigned i = 0; i < side.frames; i++) {
		if (rest.len < IPC_HEADER)
			abort();
		const uint32_t length = little_endian(rest, 0, 4);
		if (length > LIMIT || rest.len - IPC_HEADER < length)
			abort();
		note(&wanted, (uint16_t)little_endian(rest, 4, 2), little_endian(rest, 8, 4),
			text_head(text_from(rest, IPC_HEADER), length));
		rest = text_from(rest, IPC_HEADER + length);
	}
	if (!text_equal(buf_text(&wanted), buf_text(&side.payload)))
		abort();
	buf_release(&wanted);
}

static void play(int peer, struct text script)
{
	char octets[4096];

	for (unsigned step = 0; script.len && side.ipc && step < STEPS; step++) {
		const unsigned char control = (unsigned char)script.ptr[0];
		const struct text part = text_head(text_from(script, 1), control & 63);
		script = text_from(script, 1 + part.len);
		if (part.len)
			raw_send(peer, part, control >> 6);
		else if (side.ipc)
			ipc_release(side.ipc);
		event_base_loop(loop, EVLOOP_NONBLOCK);
		while (recv(peer, octets, sizeof(octets), MSG_DONTWAIT) > 0)
			; /* the descriptors sent back are closed with the octets */
	}
}

static int open_descriptors(void)
{
	int count = 0;

	for (int fd = 0; fd < 64; fd++)
		count += fcntl(fd, F_GETFD) >= 0;
	return count;
}

int LLVMFuzzerTestOneInput(const uint8_t *octets, size_t size)
{
	int pair[2];

	if (!loop) {
		log_open("fuzz", LOG_LEVEL_ERROR);
		loop = event_base_new();
		spare = open("/dev/null", O_RDONLY | O_CLOEXEC);
	}
	const int before = open_descriptors();
	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) != 0)
		abort();
	side.frames = side.ended = 0;
	side.ipc = ipc_new(loop, pair[1], LIMIT, &handlers, NULL);
	play(pair[0], fuzz_text(octets, size));
	close(pair[0]);
	for (int i = 0; i < 100 && side.ipc && !side.ended; i++) {
		ipc_release(side.ipc);
		event_base_loop(loop, EVLOOP_NONBLOCK);
	}
	if (side.ended > 1)
		abort();
	ipc_free(&side.ipc);
	compare();
	buf_release(&side.stream);
	buf_release(&side.payload);
	if (open_descriptors() != before)
		abort();
	return 0;
}

/*
 * What the files of a connection between processes share: ipc.c (its life), ipc_input.c, ipc_output.c.
 */
#ifndef BASE_IPC_PRIVATE_H
#define BASE_IPC_PRIVATE_H

#include <event2/event.h>
#include <event2/event_struct.h>

#include "base/ipc.h"

enum { IPC_WAITING_FDS = 2 };

/* As in the stream, little-endian. */
struct ipc_header {
	uint32_t length;
	uint16_t type;
	uint16_t descriptors;
	uint32_t tag;
};

_Static_assert(sizeof(struct ipc_header) == IPC_HEADER, "the header has no padding");

struct ipc {
	int fd;
	uint32_t payload_limit;
	const struct ipc_handlers *handlers;
	void *owner;
	struct event readable, writable, deferred;

	struct buf in;
	int fds[IPC_WAITING_FDS]; /* received, not yet claimed by a frame; oldest first */
	unsigned fd_count;
	bool brought; /* the last read ended behind a descriptor: more may be there */

	struct buf out;
	uint64_t sent;    /* octets that left; the stream place of the first octet of out */
	size_t frame_at;  /* of the frame being built, from the start of out */
	struct buf marks; /* which descriptors go with which octets (ipc_output.c) */
	bool building;
	bool above_low; /* the output was above its low-water mark: drained is owed */

	bool held;
	bool leftover; /* `in` may begin with whole frames, left there when held */
	bool reading, writing, scheduled; /* which events are on */
	bool deaf; /* the peer reads no more; what it wrote before is still to come */

	unsigned depth; /* callbacks of ours on the stack */
	bool freed, ended;
	const char *fault; /* why it must end */
	int fault_errno;
};

bool ipc_is_dead(const struct ipc *ipc);

/* It has to end, for this reason or with this errno; `ended` is called when the callbacks have returned. */
void ipc_set_fault(struct ipc *ipc, const char *fault, int number);

/* Around everything that calls the owner: ipc_leave() says `ended`, and frees what was freed inside. */
void ipc_enter(struct ipc *ipc);
void ipc_leave(struct ipc *ipc);

/* At the end of this loop round: hand out what is left over, and send. */
void ipc_schedule(struct ipc *ipc);

/* Hand out whole frames that were left in `in` when reading was held. */
void ipc_take_input(struct ipc *ipc);

/* Send what is queued, and say `drained` when that is owed. */
void ipc_send(struct ipc *ipc);
void ipc_drop_output(struct ipc *ipc);

void ipc_on_readable(evutil_socket_t fd, short what, void *argument);
void ipc_on_writable(evutil_socket_t fd, short what, void *argument);

#endif

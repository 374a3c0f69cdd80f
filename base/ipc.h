/*
 * Frames with file descriptors between our own processes, over a unix stream socket.
 *
 *	offset 0  u32 length of the payload       offset 8  u32 tag (pairs a reply with its request)
 *	offset 4  u16 type    6  u16 descriptors  offset 12 payload
 *
 * Little-endian. At most one descriptor a frame; it is attached to the frame's first octet. Many frames
 * leave in one sendmsg and arrive in one recvmsg. A peer that sends a frame over the limit, a wrong
 * number of descriptors, or half a frame and then nothing, is ended.
 */
#ifndef BASE_IPC_H
#define BASE_IPC_H

#include <stdbool.h>

#include "base/buf.h"
#include "base/text.h"

struct event_base;
struct ipc;

enum {
	IPC_HEADER = 12,
	IPC_OUTPUT_HIGH = 256 << 10, /* ipc_is_full() from here on */
	IPC_OUTPUT_LOW = 64 << 10,   /* `drained` from here down, if the output was above it */
};

struct ipc_frame {
	uint16_t type;
	uint32_t tag;
	struct text payload; /* valid during the callback only */
	int fd; /* -1: none. The receiver may take it by setting it to -1, else it is closed. */
};

struct ipc_handlers {
	void (*frame)(void *owner, struct ipc_frame *frame);
	void (*round)(void *owner);   /* after the last frame of one read; may be NULL */
	void (*drained)(void *owner); /* output below the low-water mark again; may be NULL */
	void (*ended)(void *owner, const char *reason); /* once; free it now, or later */
};

/*
 * Takes fd. All connections of a process share the memory they read into: one loop a process.
 * payload_limit: the largest payload accepted, in octets. handlers must outlive it.
 */
struct ipc *ipc_new(struct event_base *loop, int fd, uint32_t payload_limit,
	const struct ipc_handlers *handlers, void *owner);
void ipc_free(struct ipc **ipc); /* safe inside its own callbacks; unsent frames are lost */

/*
 * A frame is built in place: ipc_begin() gives the output buffer to add the payload to, ipc_end()
 * closes it. fd (or -1) is duplicated into the frame and stays the caller's.
 */
struct buf *ipc_begin(struct ipc *ipc, uint16_t type, uint32_t tag);
void ipc_end(struct ipc *ipc, int fd);

/* Octets not yet taken by the kernel. The owner stops reading its own source above its own mark. */
size_t ipc_pending(const struct ipc *ipc);
bool ipc_is_full(const struct ipc *ipc);

/* While held no frame is read: the back-pressure of a slow consumer. */
void ipc_hold(struct ipc *ipc);
void ipc_release(struct ipc *ipc);

/* Try to write everything now, waiting at most so long. For the last words before exit. */
void ipc_flush(struct ipc *ipc, unsigned milliseconds);

/* Credentials of the peer (SO_PEERCRED). */
int ipc_peer(const struct ipc *ipc, unsigned *uid, unsigned *gid, int *pid);

/* Connect to a unix socket; path may be relative. A non-blocking descriptor, or -1 with errno. */
int ipc_connect(const char *path);

#endif

#include "base/ipc.h"

#include <errno.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/ipc_private.h"
#include "base/log.h"
#include "base/mem.h"

bool ipc_is_dead(const struct ipc *ipc)
{
	return ipc->freed || ipc->ended || ipc->fault;
}

void ipc_set_fault(struct ipc *ipc, const char *fault, int number)
{
	if (ipc->fault)
		return;
	ipc->fault = number ? "system error" : fault;
	ipc->fault_errno = number;
}

void ipc_schedule(struct ipc *ipc)
{
	if (ipc->scheduled || ipc->ended)
		return;
	ipc->scheduled = true;
	event_active(&ipc->deferred, EV_TIMEOUT, 0);
}

/* Nothing moves any more; queued frames and waiting descriptors are gone. */
static void stop(struct ipc *ipc)
{
	event_del(&ipc->readable);
	event_del(&ipc->writable);
	event_del(&ipc->deferred);
	ipc->reading = ipc->writing = ipc->scheduled = false;
	while (ipc->fd_count)
		close(ipc->fds[--ipc->fd_count]);
	ipc_drop_output(ipc);
	ipc->above_low = ipc->leftover = false;
}

/* Only when no callback is on the stack: a payload it was given may lie in `in`. */
static void release(struct ipc *ipc)
{
	buf_release(&ipc->in);
	mem_free(ipc);
}

void ipc_enter(struct ipc *ipc)
{
	ipc->depth++;
}

void ipc_leave(struct ipc *ipc)
{
	if (ipc->fault && !ipc->ended && !ipc->freed) {
		ipc->ended = true;
		stop(ipc);
		ipc->handlers->ended(
			ipc->owner, ipc->fault_errno ? log_errno(ipc->fault_errno) : ipc->fault);
	}
	if (--ipc->depth == 0 && ipc->freed)
		release(ipc);
}

void ipc_free(struct ipc **handle)
{
	struct ipc *ipc = *handle;

	*handle = NULL;
	if (!ipc)
		return;
	stop(ipc);
	close(ipc->fd);
	ipc->freed = true;
	if (ipc->depth == 0)
		release(ipc);
}

static void on_deferred(evutil_socket_t fd, short what, void *argument)
{
	struct ipc *ipc = argument;

	(void)fd, (void)what;
	ipc->scheduled = false;
	ipc_enter(ipc);
	if (ipc->leftover && !ipc->held)
		ipc_take_input(ipc);
	if (!ipc_is_dead(ipc) && !ipc->writing)
		ipc_send(ipc);
	ipc_leave(ipc);
}

struct ipc *ipc_new(struct event_base *loop, int fd, uint32_t payload_limit,
	const struct ipc_handlers *handlers, void *owner)
{
	struct ipc *ipc = mem_new(sizeof(*ipc));

	ipc->fd = fd;
	ipc->payload_limit = payload_limit;
	ipc->handlers = handlers;
	ipc->owner = owner;
	event_assign(&ipc->readable, loop, fd, EV_READ | EV_PERSIST, ipc_on_readable, ipc);
	event_assign(&ipc->writable, loop, fd, EV_WRITE | EV_PERSIST, ipc_on_writable, ipc);
	event_assign(&ipc->deferred, loop, -1, 0, on_deferred, ipc);
	event_add(&ipc->readable, NULL);
	ipc->reading = true;
	return ipc;
}

int ipc_peer(const struct ipc *ipc, unsigned *uid, unsigned *gid, int *pid)
{
	struct ucred peer;
	socklen_t size = sizeof(peer);

	if (getsockopt(ipc->fd, SOL_SOCKET, SO_PEERCRED, &peer, &size) != 0)
		return -1;
	*uid = peer.uid;
	*gid = peer.gid;
	*pid = peer.pid;
	return 0;
}

int ipc_connect(const char *path)
{
	struct sockaddr_un address = { .sun_family = AF_UNIX };

	if (strlen(path) >= sizeof(address.sun_path)) {
		errno = ENAMETOOLONG;
		return -1;
	}
	memcpy(address.sun_path, path, strlen(path));
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (fd < 0)
		return -1;
	if (connect(fd, (const struct sockaddr *)&address, sizeof(address)) != 0) {
		const int number = errno;
		close(fd);
		errno = number;
		return -1;
	}
	return fd;
}

#include "restante/admin.h"

#include <errno.h>
#include <event2/event.h>
#include <event2/event_struct.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/ipc.h"
#include "base/log.h"
#include "base/mem.h"

MESSAGE_DEFINE(admin_status, ADMIN_STATUS_FIELDS)
MESSAGE_DEFINE(admin_status_reply, ADMIN_STATUS_REPLY_FIELDS)
MESSAGE_DEFINE(admin_listener, ADMIN_LISTENER_FIELDS)
MESSAGE_DEFINE(admin_process, ADMIN_PROCESS_FIELDS)

enum { REQUEST_LIMIT = 64, RETRY_MICROSECONDS = 200000 };

struct peer {
	struct admin *admin;
	struct ipc *ipc; /* NULL: this place is free */
	bool waits;
	uint32_t tag;
};

struct admin {
	struct event_base *loop;
	struct event acceptor, retry;
	void (*asked)(void *owner);
	void *owner;
	struct peer peers[ADMIN_PEERS];
};

static void drop(struct peer *peer, const char *why)
{
	LOG_DEBUG("admin-closed", LOG_STRING("why", why));
	ipc_free(&peer->ipc);
	peer->waits = false;
}

static void on_frame(void *owner, struct ipc_frame *frame)
{
	struct peer *peer = owner;
	struct admin_status status;

	if (frame->type != ADMIN_STATUS || frame->fd >= 0 || peer->waits ||
		admin_status_unpack(frame->payload, &status) != 0) {
		drop(peer, "not a request");
		return;
	}
	peer->tag = frame->tag;
	peer->waits = true;
	peer->admin->asked(peer->admin->owner);
}

static void on_ended(void *owner, const char *reason)
{
	drop(owner, reason);
}

static const struct ipc_handlers ipc_handlers = { .frame = on_frame, .ended = on_ended };

static void on_retry(evutil_socket_t fd, short what, void *argument)
{
	struct admin *admin = argument;

	(void)fd, (void)what;
	event_add(&admin->acceptor, NULL);
}

/* Who asks waits until there is a descriptor for it; the listener would be readable all the time. */
static void rest(struct admin *admin)
{
	const struct timeval later = { .tv_usec = RETRY_MICROSECONDS };

	LOG_DEBUG("admin-waits", LOG_ERRNO(errno));
	event_del(&admin->acceptor);
	evtimer_add(&admin->retry, &later);
}

static void on_client(evutil_socket_t listener, short what, void *argument)
{
	struct admin *admin = argument;
	const int fd = accept4(listener, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);

	(void)what;
	if (fd < 0) {
		if (errno == EMFILE || errno == ENFILE || errno == ENOBUFS || errno == ENOMEM)
			rest(admin);
		return;
	}
	for (size_t i = 0; i < ADMIN_PEERS; i++) {
		struct peer *peer = &admin->peers[i];
		if (peer->ipc)
			continue;
		peer->admin = admin;
		peer->ipc = ipc_new(admin->loop, fd, REQUEST_LIMIT, &ipc_handlers, peer);
		return;
	}
	close(fd);
}

struct admin *admin_new(
	struct event_base *loop, int listener, void (*asked)(void *owner), void *owner)
{
	struct admin *admin = mem_new(sizeof(*admin));

	admin->loop = loop;
	admin->asked = asked;
	admin->owner = owner;
	event_assign(&admin->acceptor, loop, listener, EV_READ | EV_PERSIST, on_client, admin);
	evtimer_assign(&admin->retry, loop, on_retry, admin);
	event_add(&admin->acceptor, NULL);
	return admin;
}

void admin_free(struct admin **handle)
{
	struct admin *admin = *handle;

	*handle = NULL;
	if (!admin)
		return;
	event_del(&admin->acceptor);
	event_del(&admin->retry);
	for (size_t i = 0; i < ADMIN_PEERS; i++)
		ipc_free(&admin->peers[i].ipc);
	mem_free(admin);
}

void admin_answer(struct admin *admin, const struct admin_status_reply *reply)
{
	for (size_t i = 0; i < ADMIN_PEERS; i++) {
		struct peer *peer = &admin->peers[i];
		if (!peer->waits)
			continue;
		peer->waits = false;
		admin_status_reply_pack(ipc_begin(peer->ipc, ADMIN_STATUS_REPLY, peer->tag), reply);
		ipc_end(peer->ipc, -1);
	}
}

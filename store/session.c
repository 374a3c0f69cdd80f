#include <event2/event.h>
#include <string.h>

#include "base/ipc.h"
#include "base/log.h"
#include "base/mem.h"
#include "store/login.h"
#include "store/password.h"
#include "store/server_private.h"

static void on_frame(void *owner, struct ipc_frame *frame);
static void on_drained(void *owner);
static void on_ended(void *owner, const char *reason);

static const struct ipc_handlers handlers = {
	.frame = on_frame,
	.drained = on_drained,
	.ended = on_ended,
};

#define PEER_NAME_(name, bit, path) \
	case name: \
		return path;

const char *session_peer_name(enum store_peer peer)
{
	switch (peer) {
		STORE_SOCKETS(PEER_NAME_)
	}
	return "unknown";
}

/* How many requests may be under way on one connection, and the chains they are found in. */
struct bounds {
	size_t requests, chains; /* chains: a power of two */
};

static struct bounds bounds_of(enum store_peer peer)
{
	switch (peer) {
	case STORE_BY_MDA: /* all deliveries share one connection */
		return (struct bounds){ .requests = 4096, .chains = 1024 };
	case STORE_BY_SMTP_IN: /* logins of many clients, some of them put off */
		return (struct bounds){ .requests = 16384, .chains = 1024 };
	case STORE_BY_POP3D:
	case STORE_BY_IMAPD:
	case STORE_BY_ADMIN:
		break;
	}
	return (struct bounds){ .requests = 64, .chains = 8 };
}

static size_t chains(const struct session *session)
{
	return bounds_of(session->peer).chains;
}

static struct request **chain_of(const struct session *session, uint32_t tag)
{
	return &session->requests[tag & (chains(session) - 1)];
}

/* ---- life ---- */

struct session *session_new(struct server *server, enum store_peer peer, int fd)
{
	struct session *session = mem_new(sizeof(*session));

	session->server = server;
	session->peer = peer;
	session->requests = mem_array(chains(session), sizeof(struct request *));
	TAILQ_INIT(&session->exchanges);
	session->ipc = ipc_new(server->loop, fd, STORE_PAYLOAD_LIMIT, &handlers, session);
	session->next = server->sessions;
	session->place = &server->sessions;
	if (session->next)
		session->next->place = &session->next;
	server->sessions = session;
	server->session_count++;
	server->peer_count[server_peer_index(peer)]++;
	return session;
}

static void free_request(struct request *request)
{
	mem_free(request->address);
	mem_free(request);
}

/* What the engine still works on comes back to a request without a session; the rest ends here. */
static void orphan(struct request *request)
{
	request->session = NULL;
	if (!request->login && !request->job)
		return;
	login_forget(&request->login);
	password_job_forget(&request->job);
	free_request(request);
}

static void orphan_requests(struct session *session)
{
	for (size_t i = 0; i < chains(session); i++) {
		struct request *next;
		for (struct request *request = session->requests[i]; request; request = next) {
			next = request->next;
			orphan(request);
		}
	}
	mem_free(session->requests);
	session->requests = NULL;
}

static void leave_server(struct session *session)
{
	struct server *server = session->server;

	*session->place = session->next;
	if (session->next)
		session->next->place = session->place;
	server->session_count--;
	server->peer_count[server_peer_index(session->peer)]--;
}

void session_end(struct session *session, const char *reason)
{
	if (session->ended)
		return;
	session->ended = true;
	if (reason) {
		session->server->expelled++;
		LOG_WARNING("peer-expelled", LOG_STRING("peer", session_peer_name(session->peer)),
			LOG_STRING("reason", reason));
	}
	leave_server(session);
	if (session->fetch) {
		struct request *request = session->fetch->request;
		fetch_free(&session->fetch);
		request_end(request);
	}
	orphan_requests(session);
	session_end_exchanges(session);
	session_leave_mailbox(session);
	while (session->spool_count)
		engine_spool_drop(session->server->engine, session->spools[--session->spool_count]);
	mem_free(session->spools);
	mem_free(session->user);
	ipc_free(&session->ipc);
	if (session->depth == 0)
		mem_free(session);
}

/* ---- rights ---- */

struct text session_user(const struct session *session)
{
	return text_of(session->user);
}

enum store_failure session_log_in(struct session *session, enum store_failure failure,
	const struct engine_user *user, uint32_t spacing)
{
	if (failure != STORE_OK || !(session->peer & STORE_BY_USER))
		return failure;
	if (login_is_too_soon(session->server->logins, user, spacing))
		return STORE_REFUSED;
	session->user = mem_copy(user->address.ptr, user->address.len);
	session->user_number = user->number;
	return STORE_OK;
}

bool session_user_stands(const struct session *session)
{
	const struct engine_user *user =
		engine_user_find(session->server->engine, session_user(session));

	return user && user->number == session->user_number;
}

void session_leave_mailbox(struct session *session)
{
	engine_view_close(&session->view);
	session->owes_changed = false;
}

/* ---- pace ---- */

static bool must_wait(const struct session *session)
{
	return session->blocking_count > 0 ||
	       session->request_count >= bounds_of(session->peer).requests ||
	       ipc_is_full(session->ipc);
}

void session_pace(struct session *session)
{
	const bool wait = must_wait(session);

	if (wait == session->held)
		return;
	session->held = wait;
	if (wait)
		ipc_hold(session->ipc);
	else
		ipc_release(session->ipc);
}

struct request *request_begin(struct session *session, uint32_t tag, bool blocks)
{
	struct request *request = mem_new(sizeof(*request));
	struct request **chain = chain_of(session, tag);

	request->session = session;
	request->tag = tag;
	request->blocks = blocks;
	request->next = *chain;
	*chain = request;
	session->request_count++;
	session->blocking_count += blocks;
	return request;
}

static bool is_under_way(const struct session *session, uint32_t tag)
{
	for (const struct request *r = *chain_of(session, tag); r; r = r->next) {
		if (r->tag == tag)
			return true;
	}
	return false;
}

void request_end(struct request *request)
{
	struct session *session = request->session;

	if (session) {
		struct request **at = chain_of(session, request->tag);
		while (*at != request)
			at = &(*at)->next;
		*at = request->next;
		session->request_count--;
		session->blocking_count -= request->blocks;
		session_pace(session);
	}
	free_request(request);
}

/* ---- spools ---- */

void session_spool_add(struct session *session, uint32_t spool)
{
	if (session->spool_count == session->spool_room) {
		session->spool_room = session->spool_room ? session->spool_room * 2 : 4;
		session->spools =
			mem_resize(session->spools, session->spool_room * sizeof(*session->spools));
	}
	session->spools[session->spool_count++] = spool;
}

bool session_spool_take(struct session *session, uint32_t spool)
{
	for (size_t i = 0; i < session->spool_count; i++) {
		if (session->spools[i] == spool) {
			session->spools[i] = session->spools[--session->spool_count];
			return true;
		}
	}
	return false;
}

/* ---- replies and notices ---- */

#define DEFINE_REPLY_(name, NAME, who, needs) \
	void session_reply_##name(struct session *session, uint32_t tag, \
		const struct store_##name##_reply *reply, int fd) \
	{ \
		store_##name##_reply_pack(ipc_begin(session->ipc, STORE_##NAME, tag), reply); \
		ipc_end(session->ipc, fd); \
	}
STORE_REQUESTS(DEFINE_REPLY_)

static void send_notices(struct session *session)
{
	if (ipc_is_full(session->ipc))
		return;
	if (session->owes_changed) {
		store_changed_pack(ipc_begin(session->ipc, STORE_CHANGED, 0), &session->changed);
		ipc_end(session->ipc, -1);
	}
	if (session->owes_directory) {
		store_directory_pack(ipc_begin(session->ipc, STORE_DIRECTORY, 0),
			&(struct store_directory){
				.version = engine_directory_version(session->server->engine),
			});
		ipc_end(session->ipc, -1);
	}
	session->owes_changed = session->owes_directory = false;
}

void session_notify_changed(struct session *session, const struct store_changed *notice)
{
	session->changed = *notice;
	session->owes_changed = true;
	send_notices(session);
}

void session_notify_directory(struct session *session)
{
	session->owes_directory = true;
	send_notices(session);
}

/* ---- frames ---- */

static const char *frame_fault(const struct session *session, const struct ipc_frame *frame)
{
	if (frame->fd >= 0)
		return "a request with a descriptor";
	if (frame->tag == 0)
		return "a request without a tag";
	if (is_under_way(session, frame->tag))
		return "a tag that is in use";
	return NULL;
}

static void enter(struct session *session)
{
	session->depth++;
}

static void leave(struct session *session)
{
	if (!session->ended)
		session_pace(session);
	if (--session->depth == 0 && session->ended)
		mem_free(session);
}

static void on_frame(void *owner, struct ipc_frame *frame)
{
	struct session *session = owner;
	const char *fault = frame_fault(session, frame);

	enter(session);
	if (fault)
		session_end(session, fault);
	else
		server_dispatch(session, frame);
	leave(session);
}

static void on_drained(void *owner)
{
	struct session *session = owner;

	enter(session);
	send_notices(session);
	leave(session);
}

static void on_ended(void *owner, const char *reason)
{
	struct session *session = owner;

	LOG_DEBUG("peer-gone", LOG_STRING("peer", session_peer_name(session->peer)),
		LOG_STRING("reason", reason));
	session_end(session, NULL);
}

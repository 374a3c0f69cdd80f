#include <string.h>
#include <unistd.h>

#include "base/arena.h"
#include "base/clock.h"
#include "base/ipc.h"
#include "base/log.h"
#include "base/mem.h"
#include "store/server_private.h"

/* ---- the table of requests ---- */

/* Each request's receiver: decodes strictly, hands on. 0, or -1 when it is malformed. */
#define DEFINE_RECEIVE_(name, NAME, who, needs) \
	static int receive_##name(struct session *session, const struct ipc_frame *frame) \
	{ \
		struct store_##name request; \
		if (store_##name##_unpack(frame->payload, &request) != 0) \
			return -1; \
		command_##name(session, frame->tag, &request); \
		return 0; \
	}
STORE_REQUESTS(DEFINE_RECEIVE_)

struct rule {
	unsigned who;   /* enum store_peer, or-ed */
	unsigned needs; /* enum store_need */
	int (*receive)(struct session *session, const struct ipc_frame *frame);
};

#define RULE_(name, NAME, peers, state) \
	[STORE_##NAME] = { .who = (peers), .needs = (state), .receive = receive_##name },

static const struct rule rules[STORE_MESSAGES] = { STORE_REQUESTS(RULE_) };

static unsigned state_of(const struct session *session)
{
	if (!session->user)
		return STORE_NEEDS_NOTHING;
	return session->view ? STORE_NEEDS_MAILBOX : STORE_NEEDS_LOGIN;
}

void server_dispatch(struct session *session, const struct ipc_frame *frame)
{
	const struct rule *rule = frame->type < STORE_MESSAGES ? &rules[frame->type] : &rules[0];

	if (!(rule->who & session->peer)) {
		session_end(session, "a request that is not for this peer");
		return;
	}
	if (rule->needs & ~state_of(session)) {
		session_end(session, "a request out of place");
		return;
	}
	session->server->requests[frame->type]++;
	if (rule->receive(session, frame) != 0)
		session_end(session, "a malformed request");
}

/* ---- peers ---- */

unsigned server_peer_index(enum store_peer peer)
{
	return (unsigned)__builtin_ctz((unsigned)peer);
}

#define PEER_BIT_(name, bit, path) | (bit)
_Static_assert((0 STORE_SOCKETS(PEER_BIT_)) == (1 << SERVER_PEERS) - 1, "a place for each peer");

#define PEER_ENTRY_(name, bit, path) { .socket = path, .peer = name },

int server_peer(struct text listener, enum store_peer *peer)
{
	static const struct {
		const char *socket;
		enum store_peer peer;
	} peers[] = { STORE_SOCKETS(PEER_ENTRY_) };

	for (size_t i = 0; i < SERVER_PEERS; i++) {
		if (text_equal(listener, text_of(peers[i].socket))) {
			*peer = peers[i].peer;
			return 0;
		}
	}
	return -1;
}

/* ---- life ---- */

static const char *find_verifier(void *owner, struct text name, struct text *canonical)
{
	const struct server *server = owner;
	const struct engine_user *user = login_find(server->logins, name, canonical);

	return user ? user->scram : NULL;
}

struct server *server_new(
	struct event_base *loop, struct engine *engine, const struct server_options *options)
{
	struct passwords *passwords = passwords_new(loop, &options->passwords);

	if (!passwords)
		return NULL;
	struct server *server = mem_new(sizeof(*server));
	server->loop = loop;
	server->engine = engine;
	server->passwords = passwords;
	server->logins = logins_new(loop, engine, passwords, &options->logins);
	server->sasl = sasl_new(options->sasl_key, find_verifier, server);
	server->connections = options->connections;
	server->scratch = arena_new(4096);
	return server;
}

void server_free(struct server **handle)
{
	struct server *server = *handle;

	*handle = NULL;
	if (!server)
		return;
	while (server->sessions)
		session_end(server->sessions, NULL);
	sasl_free(&server->sasl);
	logins_free(&server->logins);
	passwords_free(&server->passwords);
	arena_free(&server->scratch);
	mem_free(server->recipients);
	mem_free(server);
}

void server_configure(struct server *server, const struct server_options *options)
{
	logins_configure(server->logins, &options->logins);
	server->connections = options->connections;
}

void server_accept(struct server *server, enum store_peer peer, int fd)
{
	if (server->peer_count[server_peer_index(peer)] >= server->connections) {
		server->refused++;
		LOG_WARNING("too-many-connections", LOG_STRING("peer", session_peer_name(peer)),
			LOG_NUMBER("limit", server->connections));
		close(fd);
		return;
	}
	session_new(server, peer, fd);
}

void server_directory_changed(struct server *server)
{
	struct session *next;

	for (struct session *session = server->sessions; session; session = next) {
		next = session->next;
		if (session->peer == STORE_BY_MDA)
			session_notify_directory(session);
		else if (session->user && !session_user_stands(session))
			session_end(session, "its user was removed");
	}
}

size_t server_sessions(const struct server *server)
{
	return server->session_count;
}

#define COUNT_REQUEST_(name, NAME, who, needs) \
	buf_format(out, "requests-" #name "=%llu\n", \
		(unsigned long long)server->requests[STORE_##NAME]);
#define COUNT_PEER_(name, bit, path) \
	buf_format(out, "connections-" path "=%zu\n", server->peer_count[server_peer_index(name)]);

void server_count(const struct server *server, struct buf *out)
{
	STORE_SOCKETS(COUNT_PEER_)
	buf_format(out, "connections-refused=%llu\n", (unsigned long long)server->refused);
	buf_format(out, "connections-expelled=%llu\n", (unsigned long long)server->expelled);
	STORE_REQUESTS(COUNT_REQUEST_)
	logins_count(server->logins, out);
}

void server_flush(struct server *server, unsigned milliseconds)
{
	const int64_t end = clock_milliseconds() + milliseconds;

	for (struct session *session = server->sessions; session; session = session->next) {
		const int64_t left = end - clock_milliseconds();
		ipc_flush(session->ipc, left > 0 ? (unsigned)left : 0);
	}
}

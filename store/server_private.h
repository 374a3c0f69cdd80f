/*
 * What the files of the server share: server.c, session.c, commands_*.c.
 */
#ifndef STORE_SERVER_PRIVATE_H
#define STORE_SERVER_PRIVATE_H

#include "store/server.h"
#include "store/session.h"

struct arena;

enum { SERVER_PEERS = 5 };

struct server {
	struct event_base *loop;
	struct engine *engine;
	struct passwords *passwords;
	struct logins *logins;
	struct sasl *sasl;
	size_t connections; /* the limit */

	struct session *sessions;
	size_t session_count;
	size_t peer_count[SERVER_PEERS];
	uint64_t refused;  /* connections over the limit */
	uint64_t expelled; /* connections that broke the protocol */
	uint64_t requests[STORE_MESSAGES];

	struct arena *scratch;               /* emptied by who uses it */
	struct engine_recipient *recipients; /* of the DELIVER at hand */
};

/* 0 to SERVER_PEERS - 1. */
unsigned server_peer_index(enum store_peer peer);

/* A frame of this session's: checked against the table, decoded, handled. */
void server_dispatch(struct session *session, const struct ipc_frame *frame);

#endif

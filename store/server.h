/*
 * The front of the store: connections from the other roles, each with the rights of the socket it came
 * through, and their requests.
 */
#ifndef STORE_SERVER_H
#define STORE_SERVER_H

#include "base/buf.h"
#include "store/engine.h"
#include "store/login.h"
#include "store/password.h"
#include "store/protocol.h"
#include "store/sasl.h"

struct event_base;
struct server;

struct server_options {
	struct password_options passwords;
	struct login_options logins;
	size_t connections;                      /* at once, of one kind of peer */
	unsigned char sasl_key[SASL_KEY_OCTETS]; /* see sasl_new() */
};

/* NULL after having logged why. The engine is the caller's and must outlive the server. */
struct server *server_new(
	struct event_base *loop, struct engine *engine, const struct server_options *options);

/* Ends every session. */
void server_free(struct server **server);

/* Takes over what can change in a running server: logins and connections. */
void server_configure(struct server *server, const struct server_options *options);

/* The peer that a listening socket of this name stands for. 0, or -1. */
int server_peer(struct text listener, enum store_peer *peer);

/* Takes fd. Closes it when there are too many. */
void server_accept(struct server *server, enum store_peer peer, int fd);

/* To be called from engine_options.directory. */
void server_directory_changed(struct server *server);

size_t server_sessions(const struct server *server);

/* Add "name=number\n" lines. */
void server_count(const struct server *server, struct buf *out);

/* Send what is queued, waiting at most so long for all connections together. */
void server_flush(struct server *server, unsigned milliseconds);

#endif

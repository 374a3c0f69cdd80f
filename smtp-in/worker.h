/*
 * What all sessions of one smtp-in process share.
 */
#ifndef SMTP_IN_WORKER_H
#define SMTP_IN_WORKER_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/queue.h>

#include "base/buf.h"
#include "base/conn.h"
#include "smtp-in/guard.h"
#include "smtp-in/settings.h"

struct event;
struct lmtp_pool;
struct role_context;
struct session;
struct store_client;
struct transaction;

LIST_HEAD(session_list, session);

enum { WORKER_REPLY_CODES = 600 };

struct worker {
	struct role_context
		*context; /* settings, certificate: read at each use, a reload changes them */
	struct lmtp_pool *pool;
	bool pressed;               /* no connection of it was left at the last tick */
	struct store_client *store; /* see store_link.h */
	uint64_t store_links;       /* another number for each connection to it, and for none */
	struct session_list sessions;
	unsigned session_count;
	bool stopping;
	struct conn_limits limits; /* of clients' connections */
	struct transaction *spare; /* used and emptied, so that a message costs no allocations */
	unsigned spares;
	struct buf scratch; /* for whoever builds a line and passes it on at once */
	struct event *tick;
	struct guard guard;
	struct {
		uint64_t connections, refused_connections, timeouts;
		uint64_t tls_sessions;
		uint64_t logins, login_failures;
		uint64_t recipients, refused_recipients;
		uint64_t messages, octets; /* accepted */
		uint64_t refused_messages, lost_messages;
		uint64_t replies[WORKER_REPLY_CODES]; /* by code */
	} total;
};

const struct smtp_in_settings *worker_settings(const struct worker *worker);
struct text worker_hostname(const struct worker *worker);

struct worker *worker_new(struct role_context *context);

/* The context has new settings. */
void worker_reload(struct worker *worker);

/* A client on the listener of that name (settings.h). Takes fd. */
void worker_accept(struct worker *worker, const char *listener, int fd);

void worker_count(const struct worker *worker, struct buf *out);

/* Sessions end, those inside a message after its verdict. */
void worker_stop(struct worker *worker);
bool worker_is_busy(const struct worker *worker);

void worker_free(struct worker **worker);

/* Seconds and milliseconds of the monotonic clock. */
int64_t worker_seconds(void);
int64_t worker_milliseconds(void);

#endif

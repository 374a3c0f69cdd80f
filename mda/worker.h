/*
 * One process of the mda: what all its sessions share.
 */
#ifndef MDA_WORKER_H
#define MDA_WORKER_H

#include "base/buf.h"
#include "base/common.h"
#include "mda/settings.h"

struct event_base;
struct resolve;
struct session;
struct store_link;

#define WORKER_COUNTERS(C) \
	C(connections, "connections") \
	C(messages, "messages") \
	C(recipients, "recipients") \
	C(octets, "octets") \
	C(messages_refused, "messages-refused") \
	C(messages_deferred, "messages-deferred") \
	C(recipients_refused, "recipients-refused") \
	C(recipients_deferred, "recipients-deferred") \
	C(protocol_errors, "protocol-errors")

struct worker_counters {
#define WORKER_COUNTER_(name, string) uint64_t name;
	WORKER_COUNTERS(WORKER_COUNTER_)
};

struct worker_options {
	struct event_base *loop;
	const struct common_settings *common;
	const struct mda_settings *settings;
	int (*connect)(void *owner); /* a socket connected to the store, or -1 with errno */
	void (*full)(void *owner, bool full); /* no session more, for now; may be NULL */
	void *owner;
};

struct worker {
	struct worker_options options;
	struct store_link *link;
	struct resolve *resolve;
	struct session *sessions;
	size_t session_count;
	bool full;
	bool stopping;
	struct worker_counters counters;
	size_t body_octets; /* of messages that are coming in */
	struct buf reply;   /* while one is put together */
};

struct worker *worker_new(const struct worker_options *options);
void worker_free(struct worker **worker);

/* A client; takes fd. trusted: it is our smtp-in, which has added its own trace field. */
void worker_accept(struct worker *worker, int fd, bool trusted);

/* New settings; the old ones may go. */
void worker_reload(struct worker *worker, const struct common_settings *common,
	const struct mda_settings *settings);

/* "name=number\n" lines. */
void worker_count(const struct worker *worker, struct buf *out);

/* Sessions end now, those inside a message after it. */
void worker_stop(struct worker *worker);

/* Called by sessions at their start and end: keeps the number within the limit. */
void worker_session_added(struct worker *worker);
void worker_session_gone(struct worker *worker);

#endif

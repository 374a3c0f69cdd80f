/*
 * One connection to the store: what it may do, and what it has under way. For the files of the server
 * only (server.c, session.c, commands_*.c).
 *
 * Rights. `peer` is fixed by the listening socket, `user` is set by a verified LOGIN and never changes,
 * `view` is that user's selected mailbox. No request names a user in whose mailboxes it acts.
 *
 * Pace. No frame is read while a request that changes the state is under way (LOGIN and SELECT of a
 * user's session, FETCH), while too many requests are under way, or while output piles up. So requests
 * may be sent one behind the other, and each finds the state that the one before it left.
 *
 * Lifetime. A request outlives its connection when the engine still works on it; it then has no session, and
 * its callback only cleans up.
 */
#ifndef STORE_SESSION_H
#define STORE_SESSION_H

#include <event2/event_struct.h>
#include <sys/queue.h>

#include "store/engine.h"
#include "store/protocol.h"

enum {
	SESSION_FLAGS = STORE_FLAG_SEEN | STORE_FLAG_ANSWERED | STORE_FLAG_FLAGGED |
			STORE_FLAG_DELETED | STORE_FLAG_DRAFT | STORE_FLAG_PASSED,
};

struct ipc;
struct ipc_frame;
struct login;
struct password_job;
struct server;
struct session;

/* One that is answered later. */
struct request {
	struct session *session; /* NULL: its connection is gone */
	struct request *next;
	uint32_t tag;
	bool blocks;         /* the next frame has to wait for it */
	struct login *login; /* these two and `address` belong to the request */
	struct password_job *job;
	char *address;
	bool is_new_user;
	bool is_sasl_start;
	uint32_t spacing; /* of LOGIN and SASL_START */
};

struct fetch {
	struct request *request;
	struct event retry;
	size_t at, count;
	uint32_t uids[];
};

struct session {
	struct server *server;
	struct session *next, **place;
	struct ipc *ipc;
	enum store_peer peer;
	char *user;
	uint32_t user_number; /* the address may be given to another one day, this not */
	struct engine_view *view;
	struct fetch *fetch;
	uint32_t *spools; /* not yet delivered */
	size_t spool_count, spool_room;

	struct request **requests; /* under way, in chains by tag */
	size_t request_count, blocking_count;
	bool held;

	TAILQ_HEAD(, exchange) exchanges; /* of SASL, oldest first; see commands_sasl.c */
	size_t exchange_count;
	uint32_t last_exchange;

	bool owes_changed, owes_directory; /* notices that wait for room in the output */
	struct store_changed changed;

	unsigned depth; /* callbacks of ours on the stack */
	bool ended;
};

struct session *session_new(struct server *server, enum store_peer peer, int fd);

/* Everything it holds is given back, and the log says why if there is a reason. */
void session_end(struct session *session, const char *reason);

const char *session_peer_name(enum store_peer peer);

/* Its user is still the one who logged in. */
bool session_user_stands(const struct session *session);
struct text session_user(const struct session *session);

/*
 * After a login: on success the connection of a user's session belongs to that user from now on. What to
 * answer: the failure, or another one.
 */
enum store_failure session_log_in(struct session *session, enum store_failure failure,
	const struct engine_user *user, uint32_t spacing);
void session_end_exchanges(struct session *session);

/* Its view, lock and watch are gone. Does nothing when no mailbox is selected. */
void session_leave_mailbox(struct session *session);

/* Reading goes on or stops; to be called after whatever may change that. */
void session_pace(struct session *session);

/* Remember a request that is answered later; request_end() when it was. */
struct request *request_begin(struct session *session, uint32_t tag, bool blocks);
void request_end(struct request *request);

void session_spool_add(struct session *session, uint32_t spool);
/* It belongs to this session; it no longer does. */
bool session_spool_take(struct session *session, uint32_t spool);

/* Notices, now or when the output has room. */
void session_notify_changed(struct session *session, const struct store_changed *notice);
void session_notify_directory(struct session *session);

/* session_reply_login(session, tag, &(struct store_login_reply){ … }, -1); fd stays the caller's. */
#define SESSION_REPLY_(name, NAME, who, needs) \
	void session_reply_##name(struct session *session, uint32_t tag, \
		const struct store_##name##_reply *reply, int fd);
STORE_REQUESTS(SESSION_REPLY_)

/* command_login(session, tag, &request): the handlers, in commands_*.c. They may end the session. */
#define SESSION_COMMAND_(name, NAME, who, needs) \
	void command_##name( \
		struct session *session, uint32_t tag, const struct store_##name *request);
STORE_REQUESTS(SESSION_COMMAND_)

/* The handler of FETCH goes on; freed with the session. */
void fetch_free(struct fetch **fetch);

#endif

/*
 * What `restante status` and the supervisor say to each other over STATE/run/admin (base/ipc.h), and
 * the supervisor's side of it.
 */
#ifndef RESTANTE_ADMIN_H
#define RESTANTE_ADMIN_H

#include "base/message.h"

struct event_base;
struct admin;

enum admin_type { ADMIN_STATUS = 1, ADMIN_STATUS_REPLY };

enum {
	ADMIN_COUNTERS_LIMIT = 1 << 16,
	ADMIN_PAYLOAD = 9 << 20,
	ADMIN_PEERS = 8, /* connections at once; more are closed */
};

#define ADMIN_STATUS_FIELDS(F) F(u32, options, 0)
/* listeners is a run of ADMIN_LISTENER, processes one of ADMIN_PROCESS. since: seconds since 1970. */
#define ADMIN_STATUS_REPLY_FIELDS(F) \
	F(u32, pid, 0) F(i64, since, 0) F(text, listeners, 1 << 18) F(text, processes, 8 << 20)
#define ADMIN_LISTENER_FIELDS(F) F(text, name, 64) F(text, where, 128)
/* counters: "name=number\n" each, as the role gave them. */
#define ADMIN_PROCESS_FIELDS(F) \
	F(text, role, 64) \
	F(u32, worker, 0) \
	F(text, state, 16) \
	F(u32, pid, 0) F(i64, since, 0) F(u32, restarts, 0) F(text, counters, ADMIN_COUNTERS_LIMIT)

MESSAGE_DECLARE(admin_status, ADMIN_STATUS_FIELDS)
MESSAGE_DECLARE(admin_status_reply, ADMIN_STATUS_REPLY_FIELDS)
MESSAGE_DECLARE(admin_listener, ADMIN_LISTENER_FIELDS)
MESSAGE_DECLARE(admin_process, ADMIN_PROCESS_FIELDS)

/*
 * Serve a listening socket, which stays the caller's. asked(owner) is called when someone waits who did
 * not before, and must lead to admin_answer(), at once or later.
 */
struct admin *admin_new(
	struct event_base *loop, int listener, void (*asked)(void *owner), void *owner);
void admin_free(struct admin **admin);

/* The same answer to everybody who waits. */
void admin_answer(struct admin *admin, const struct admin_status_reply *reply);

#endif

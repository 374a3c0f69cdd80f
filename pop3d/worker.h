/*
 * What all sessions of one pop3d process share.
 */
#ifndef POP3D_WORKER_H
#define POP3D_WORKER_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/queue.h>

#include "base/conn.h"

struct role_context;
struct session;

LIST_HEAD(session_list, session);

struct worker {
	struct role_context
		*context; /* loop, settings, certificate: read at each use, a reload changes them */
	struct conn_limits limits; /* of every session, from the settings */
	struct session_list sessions;
	unsigned session_count;
	unsigned ahead; /* descriptors held ahead by all sessions */
	bool stopping;
	bool paused; /* as many sessions as the settings allow: no client is accepted */
	struct {
		uint64_t sessions, logins, login_failures, retrieved, octets, deleted, errors,
			refused;
	} total;
};

#endif

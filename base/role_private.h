/*
 * What the files of the skeleton share: role.c (start and end), role_control.c (what the supervisor
 * says), role_listen.c (clients that come).
 */
#ifndef BASE_ROLE_PRIVATE_H
#define BASE_ROLE_PRIVATE_H

#include <event2/event.h>
#include <event2/event_struct.h>

#include "base/control.h"
#include "base/ipc.h"
#include "base/role.h"

enum { ROLE_LISTENERS = 64 };

struct role_listener {
	struct role_run *run;
	char name[65];
	int fd;
	struct event readable;
};

/* Settings and certificates on their way, between CONFIGURE and GO. */
struct role_news {
	struct common_settings *common;
	void *settings;
	struct tls *tls;
	uint32_t uid, gid;
	bool refused; /* something of it was wrong, and has been logged */
};

struct role_run {
	struct role_context context; /* first: what the role holds a pointer to */
	const struct role *role;
	struct ipc *control;
	int limits_fd; /* between LIMITS and GO; -1: none */
	unsigned limits_workers;
	struct role_news news;
	struct common_settings *common; /* what the context points to, to be freed here */
	void *settings;
	int64_t started; /* seconds, CLOCK_MONOTONIC */

	struct role_listener *listeners[ROLE_LISTENERS];
	size_t listener_count;
	bool paused;       /* by the role */
	bool out_of_reach; /* no descriptors or memory for one more client; `retry` is running */
	bool told;         /* that has been logged */
	struct event retry;
	int64_t shun_said; /* milliseconds: when the supervisor was told last */

	bool going; /* GO came, and the role started */
	bool stopping;
	int64_t deadline; /* of the stop */
	struct event stop_check;
	int status; /* to exit with, when `failed` */
	bool failed;
};

int64_t role_seconds_now(void);

/* End the loop; the process exits with this status of sysexits.h. */
void role_fail(struct role_run *run, int status);

/* No more clients; the loop ends when the role is no longer busy, or after that many seconds. */
void role_begin_stop(struct role_run *run, uint64_t seconds);

extern const struct ipc_handlers role_control_handlers;

/* The news become what is in force. What was is in the news afterwards, to be freed. */
void role_swap_news(struct role_run *run);
void role_free_news(struct role_run *run);
void role_say_ready(struct role_run *run);

/* Somebody is not to be heard: the listeners are the supervisor's to see to. */
void role_say_shun(struct role_run *run);

/* Takes fd. 0, or -1 when there are too many. */
int role_add_listener(struct role_run *run, struct text name, int fd);

/* Accept, or cease to, by what is in force. */
void role_update_listeners(struct role_run *run);
void role_close_listeners(struct role_run *run);
void role_free_listeners(struct role_run *run);

#endif

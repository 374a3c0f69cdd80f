/*
 * What the supervisor and a role say to each other, over the role's descriptor 3 (base/ipc.h).
 *
 *	supervisor                             role
 *	CONFIGURE settings
 *	LISTENER name + descriptor  (each)
 *	CERTIFICATE chain key       (each)
 *	TICKETS current previous               (of roles that speak TLS)
 *	LIMITS workers + memory file           (base/limits.h; of roles that have limits)
 *	LOG + descriptor                       (log_to_file)
 *	GO                          ------->   drops, confines itself, starts
 *	                            <-------   READY
 *	CONFIGURE, CERTIFICATE…, GO ------->   takes new settings over (SIGHUP), keeps its sessions
 *	                            <-------   READY
 *	TICKETS current previous    ------->   the keys have been replaced
 *	LOG + descriptor            ------->   the file has been replaced
 *	COUNT                       ------->
 *	                            <-------   COUNTERS lines
 *	                            <-------   SHUN: somebody is not to be heard (limits_shun)
 *	STOP seconds                ------->   no new sessions; finishes what is in transfer; exits 0
 *	end of file                            the supervisor is gone: the same as STOP
 */
#ifndef BASE_CONTROL_H
#define BASE_CONTROL_H

#include "base/message.h"

enum control_type {
	CONTROL_CONFIGURE = 1,
	CONTROL_LISTENER,
	CONTROL_CERTIFICATE,
	CONTROL_GO,
	CONTROL_READY,
	CONTROL_COUNT,
	CONTROL_COUNTERS,
	CONTROL_STOP,
	CONTROL_LIMITS,
	CONTROL_TICKETS,
	CONTROL_LOG,
	CONTROL_SHUN,
};

enum {
	CONTROL_FD = 3,
	CONTROL_PAYLOAD = 1 << 20,
	CONTROL_COMMON_LIMIT = 1 << 18, /* octets of settings, as they are handed over */
	CONTROL_SECTION_LIMIT = 1 << 19,
};

/* Both as settings_store() writes them. uid and gid: 0 when not started as root. */
#define CONTROL_CONFIGURE_FIELDS(F) \
	F(text, common, CONTROL_COMMON_LIMIT) \
	F(text, section, CONTROL_SECTION_LIMIT) F(u32, uid, 0) F(u32, gid, 0)
#define CONTROL_LISTENER_FIELDS(F) F(text, name, 64)
#define CONTROL_CERTIFICATE_FIELDS(F) F(text, chain, 1 << 18) F(text, key, 1 << 16)
#define CONTROL_GO_FIELDS(F) F(u32, worker, 0)
#define CONTROL_READY_FIELDS(F) F(u32, worker, 0)
#define CONTROL_COUNT_FIELDS(F) F(u32, worker, 0)
#define CONTROL_COUNTERS_FIELDS(F) F(text, lines, 1 << 16) /* "name=number\n" each */
#define CONTROL_STOP_FIELDS(F) F(u32, seconds, 0)
#define CONTROL_LIMITS_FIELDS(F) F(u32, workers, 64)
#define CONTROL_SHUN_FIELDS(F) F(u32, worker, 0)
#define CONTROL_LOG_FIELDS(F) F(u32, options, 0)
/* Of session tickets, as tls_share_tickets() takes them. */
#define CONTROL_TICKETS_FIELDS(F) F(text, current, 80) F(text, previous, 80)

MESSAGE_DECLARE(control_configure, CONTROL_CONFIGURE_FIELDS)
MESSAGE_DECLARE(control_listener, CONTROL_LISTENER_FIELDS)
MESSAGE_DECLARE(control_certificate, CONTROL_CERTIFICATE_FIELDS)
MESSAGE_DECLARE(control_go, CONTROL_GO_FIELDS)
MESSAGE_DECLARE(control_ready, CONTROL_READY_FIELDS)
MESSAGE_DECLARE(control_count, CONTROL_COUNT_FIELDS)
MESSAGE_DECLARE(control_counters, CONTROL_COUNTERS_FIELDS)
MESSAGE_DECLARE(control_stop, CONTROL_STOP_FIELDS)
MESSAGE_DECLARE(control_limits, CONTROL_LIMITS_FIELDS)
MESSAGE_DECLARE(control_tickets, CONTROL_TICKETS_FIELDS)
MESSAGE_DECLARE(control_log, CONTROL_LOG_FIELDS)
MESSAGE_DECLARE(control_shun, CONTROL_SHUN_FIELDS)

#endif

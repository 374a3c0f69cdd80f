/*
 * What the files of the confinement share: priv.c (drop, filter), priv_table.c, priv_landlock.c.
 */
#ifndef BASE_PRIV_PRIVATE_H
#define BASE_PRIV_PRIVATE_H

#include <stddef.h>

#include "base/priv.h"

/* Arguments that a call is allowed with. */
enum priv_condition {
	PRIV_ALWAYS,
	PRIV_ENOSYS,         /* never; the C library then takes an older call that can be judged */
	PRIV_NOT_EXECUTABLE, /* third argument without PROT_EXEC */
	PRIV_UNIX_SOCKET,    /* AF_UNIX stream or datagram */
	PRIV_TCP_SOCKET,     /* AF_INET or AF_INET6 stream of TCP */
	PRIV_SENDTO_CONNECTED, /* without MSG_FASTOPEN, which would connect */
	PRIV_SENDMSG_CONNECTED,
	PRIV_THREAD,          /* clone of a thread, in no new namespace */
	PRIV_OWN_PROCESS,     /* first argument is this process: abort() */
	PRIV_OWN_LIMITS_READ, /* prlimit64 that sets nothing */
	PRIV_THREAD_NAME,     /* prctl(PR_SET_NAME) */
};

struct priv_rule {
	int call;     /* libseccomp's number */
	unsigned who; /* 1 << enum priv_role, or'ed; and the two below */
	enum priv_condition when;
};

enum {
	PRIV_WITH_TCP_CLIENT = 1 << PRIV_ROLES,
	PRIV_WITH_SANITIZER = 1 << (PRIV_ROLES + 1),
};

extern const struct priv_rule priv_rules[];
extern const size_t priv_rule_count;

/* Only the tree below the working directory, or nothing. 0 (also when the kernel has none), or -1. */
int priv_landlock(bool own_tree, bool tcp_client);

#endif

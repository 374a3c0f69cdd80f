/*
 * What a role may do: its own uid, no files beyond its tree, no system calls beyond its list.
 *
 * The lists stand in priv.c, one readable table, one row a role.
 */
#ifndef BASE_PRIV_H
#define BASE_PRIV_H

#include <stdbool.h>
#include <sys/types.h>

enum priv_role {
	PRIV_STORE,
	PRIV_MDA,
	PRIV_SMTP_IN,
	PRIV_POP3D,
	PRIV_IMAPD,
	PRIV_RELAY,
	PRIV_BRIDGE,
	PRIV_ROLES
};

const char *priv_role_name(enum priv_role role);

/* setgroups, setgid, setuid to these for good, and check that it holds. Only as root. 0, or -1 with errno. */
int priv_drop(uid_t uid, gid_t gid);

/*
 * no_new_privs, Landlock (the tree below the working directory for the store, nothing for the others)
 * and the role's seccomp filter: everything not listed fails with EPERM. Missing kernel support for
 * Landlock is logged and tolerated; missing seccomp is not. For all threads yet to be made. 0, or -1.
 */
int priv_confine(enum priv_role role);

#endif

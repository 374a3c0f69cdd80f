/*
 * What a role may do: its own uid, no files beyond its tree, no system calls beyond its list.
 *
 * The lists stand in priv_table.c, one readable table, one row a system call. What each layer does:
 *
 *	uid       as root only: a user id of its own for every role
 *	Landlock  no path can be opened, but the store's own tree; no TCP bind or connect
 *	seccomp   only the calls in the table; no program is executed, no memory made executable
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

/* What settings may ask for beyond the role's row. */
enum priv_extra {
	PRIV_TCP_CLIENT =
		1, /* connect to TCP addresses: smtp-in in front of another host's LMTP server */
};

const char *priv_role_name(enum priv_role role);

/*
 * setgroups, setgid, setuid to these for good, and check that it holds. Only as root, and not to root.
 * 0, or -1 with errno.
 */
int priv_drop(uid_t uid, gid_t gid);

/*
 * no_new_privs, Landlock (the tree below the working directory for the store, nothing for the others)
 * and the role's seccomp filter: everything not listed fails with EPERM. extra: enum priv_extra, or'ed.
 * Missing kernel support for Landlock is logged and tolerated; missing seccomp is not. For all threads
 * there are and yet to be made. 0, or -1 with errno.
 */
int priv_confine(enum priv_role role, unsigned extra);

#endif

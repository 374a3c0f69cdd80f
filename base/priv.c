#include "base/priv.h"

#include <errno.h>
#include <grp.h>
#include <netinet/in.h>
#include <sched.h>
#include <seccomp.h>
#include <stdint.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/priv_private.h"
#include "base/sanitizer.h"

static const char *const names[PRIV_ROLES] = {
	[PRIV_STORE] = "store",
	[PRIV_MDA] = "mda",
	[PRIV_SMTP_IN] = "smtp-in",
	[PRIV_POP3D] = "pop3d",
	[PRIV_IMAPD] = "imapd",
	[PRIV_RELAY] = "relay",
	[PRIV_BRIDGE] = "bridge",
};

const char *priv_role_name(enum priv_role role)
{
	return names[role];
}

int priv_drop(uid_t uid, gid_t gid)
{
	uid_t uids[3];
	gid_t gids[3];

	if (uid == 0 || gid == 0) {
		errno = EINVAL;
		return -1;
	}
	if (setgroups(0, NULL) != 0 || setresgid(gid, gid, gid) != 0 ||
		setresuid(uid, uid, uid) != 0)
		return -1;
	if (getresuid(&uids[0], &uids[1], &uids[2]) != 0 ||
		getresgid(&gids[0], &gids[1], &gids[2]) != 0)
		return -1;
	for (int i = 0; i < 3; i++) {
		if (uids[i] != uid || gids[i] != gid) {
			errno = EPERM;
			return -1;
		}
	}
	if (setuid(0) == 0 || setgid(0) == 0 || getgroups(0, NULL) != 0) {
		errno = EPERM;
		return -1;
	}
	return 0;
}

/* Everything a new thread must not ask for: it would be a process, or in a namespace of its own. */
enum {
	NAMESPACES = CLONE_NEWNS | CLONE_NEWUTS | CLONE_NEWIPC | CLONE_NEWUSER | CLONE_NEWPID |
		     CLONE_NEWNET | CLONE_NEWCGROUP,
};

static struct scmp_arg_cmp equal(unsigned argument, scmp_datum_t value)
{
	return (struct scmp_arg_cmp){ .arg = argument, .op = SCMP_CMP_EQ, .datum_a = value };
}

/* These bits of the argument are the value. */
static struct scmp_arg_cmp masked(unsigned argument, scmp_datum_t mask, scmp_datum_t value)
{
	return (struct scmp_arg_cmp){
		.arg = argument, .op = SCMP_CMP_MASKED_EQ, .datum_a = mask, .datum_b = value
	};
}

static int allow(scmp_filter_ctx filter, int call, struct scmp_arg_cmp argument)
{
	return seccomp_rule_add_array(filter, SCMP_ACT_ALLOW, call, 1, &argument);
}

static int allow_socket(scmp_filter_ctx filter, int call, int family, int type, int protocol)
{
	const struct scmp_arg_cmp arguments[] = {
		equal(0, (scmp_datum_t)family),
		masked(1, 0xf, (scmp_datum_t)type), /* above are SOCK_CLOEXEC and SOCK_NONBLOCK */
		equal(2, (scmp_datum_t)protocol),
	};

	return seccomp_rule_add_array(filter, SCMP_ACT_ALLOW, call, 3, arguments);
}

static int allow_unix_socket(scmp_filter_ctx filter, int call)
{
	int error = allow_socket(filter, call, AF_UNIX, SOCK_STREAM, 0);

	return error ? error : allow_socket(filter, call, AF_UNIX, SOCK_DGRAM, 0);
}

static int allow_tcp_socket(scmp_filter_ctx filter, int call)
{
	static const int families[] = { AF_INET, AF_INET6 };
	int error = 0;

	for (size_t i = 0; i < 2 && !error; i++) {
		error = allow_socket(filter, call, families[i], SOCK_STREAM, 0);
		if (!error)
			error = allow_socket(filter, call, families[i], SOCK_STREAM, IPPROTO_TCP);
	}
	return error;
}

/* 0, or a negative errno. */
static int add_rule(scmp_filter_ctx filter, const struct priv_rule *rule)
{
	const int call = rule->call;

	switch (rule->when) {
	case PRIV_ALWAYS:
		return seccomp_rule_add(filter, SCMP_ACT_ALLOW, call, 0);
	case PRIV_ENOSYS:
		return seccomp_rule_add(filter, SCMP_ACT_ERRNO(ENOSYS), call, 0);
	case PRIV_NOT_EXECUTABLE:
		return allow(filter, call, masked(2, PROT_EXEC, 0));
	case PRIV_UNIX_SOCKET:
		return allow_unix_socket(filter, call);
	case PRIV_TCP_SOCKET:
		return allow_tcp_socket(filter, call);
	case PRIV_SENDTO_CONNECTED:
		return allow(filter, call, masked(3, MSG_FASTOPEN, 0));
	case PRIV_SENDMSG_CONNECTED:
		return allow(filter, call, masked(2, MSG_FASTOPEN, 0));
	case PRIV_THREAD:
		return allow(filter, call, masked(0, CLONE_THREAD | NAMESPACES, CLONE_THREAD));
	case PRIV_OWN_PROCESS:
		return allow(filter, call, equal(0, (scmp_datum_t)getpid()));
	case PRIV_OWN_LIMITS_READ:
		return allow(filter, call, equal(2, 0));
	case PRIV_THREAD_NAME:
		return allow(filter, call, equal(0, PR_SET_NAME));
	}
	return -EINVAL;
}

/* 0, or a negative errno. */
static int fill_filter(scmp_filter_ctx filter, unsigned who)
{
	int error = seccomp_attr_set(filter, SCMP_FLTATR_CTL_TSYNC, 1);

	/* As a tree: the filter stands in the way of every system call. */
	if (!error)
		error = seccomp_attr_set(filter, SCMP_FLTATR_CTL_OPTIMIZE, 2);
	for (size_t i = 0; i < priv_rule_count && !error; i++) {
		if (priv_rules[i].who & who)
			error = add_rule(filter, &priv_rules[i]);
	}
	return error;
}

static int install_filter(unsigned who)
{
	scmp_filter_ctx filter = seccomp_init(SCMP_ACT_ERRNO(EPERM));

	if (!filter) {
		errno = ENOMEM;
		return -1;
	}
	int error = fill_filter(filter, who);
	if (!error)
		error = seccomp_load(filter);
	seccomp_release(filter);
	errno = -error;
	return error ? -1 : 0;
}

int priv_confine(enum priv_role role, unsigned extra)
{
	unsigned who = 1U << role;

	if (extra & PRIV_TCP_CLIENT)
		who |= PRIV_WITH_TCP_CLIENT;
	if (BASE_ADDRESS_SANITIZER)
		who |= PRIV_WITH_SANITIZER;
	const bool tcp_client =
		extra & PRIV_TCP_CLIENT || role == PRIV_RELAY || role == PRIV_BRIDGE;
	if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0 ||
		priv_landlock(role == PRIV_STORE, tcp_client) != 0)
		return -1;
	return install_filter(who);
}

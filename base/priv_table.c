/*
 * Every system call that a role may make once it is confined. What is not here fails with EPERM.
 *
 * Deliberately absent: execve, fork, ptrace, kill, bind, listen, ioctl, mount and all that need
 * privileges; for the front ends also everything that takes a path.
 */
#include <seccomp.h>

#include "base/priv_private.h"

#define STORE (1U << PRIV_STORE)
#define FRONT \
	(1U << PRIV_MDA | 1U << PRIV_SMTP_IN | 1U << PRIV_POP3D | 1U << PRIV_IMAPD | \
		1U << PRIV_RELAY | 1U << PRIV_BRIDGE)
#define ALL (STORE | FRONT)
/* Those whose purpose it is, and whom the settings send to a TCP address. */
#define TCP (1U << PRIV_RELAY | 1U << PRIV_BRIDGE | PRIV_WITH_TCP_CLIENT)
#define SANITIZER PRIV_WITH_SANITIZER
#define CALL(name) SCMP_SYS(name)

const struct priv_rule priv_rules[] = {
	/* Descriptors that are already open. */
	{ CALL(read), ALL, PRIV_ALWAYS },
	{ CALL(readv), ALL, PRIV_ALWAYS },
	{ CALL(pread64), ALL, PRIV_ALWAYS },
	{ CALL(write), ALL, PRIV_ALWAYS },
	{ CALL(writev), ALL, PRIV_ALWAYS },
	{ CALL(pwrite64), ALL, PRIV_ALWAYS },
	{ CALL(lseek), ALL, PRIV_ALWAYS },
	{ CALL(fstat), ALL, PRIV_ALWAYS },
	{ CALL(ftruncate), ALL, PRIV_ALWAYS },
	{ CALL(fcntl), ALL, PRIV_ALWAYS },
	{ CALL(close), ALL, PRIV_ALWAYS },
	{ CALL(memfd_create), ALL, PRIV_ALWAYS },
	{ CALL(pipe2), ALL, PRIV_ALWAYS },
	{ CALL(eventfd2), ALL, PRIV_ALWAYS },

	/* The loop. */
	{ CALL(epoll_create1), ALL, PRIV_ALWAYS },
	{ CALL(epoll_ctl), ALL, PRIV_ALWAYS },
	{ CALL(epoll_wait), ALL, PRIV_ALWAYS },
	{ CALL(epoll_pwait), ALL, PRIV_ALWAYS },
	{ CALL(epoll_pwait2), ALL, PRIV_ALWAYS },
	{ CALL(poll), ALL, PRIV_ALWAYS },
	{ CALL(ppoll), ALL, PRIV_ALWAYS },
	{ CALL(select), ALL, PRIV_ALWAYS },
	{ CALL(pselect6), ALL, PRIV_ALWAYS },
	{ CALL(restart_syscall), ALL, PRIV_ALWAYS },

	/* Sockets that are already there, or were accepted. */
	{ CALL(accept4), ALL, PRIV_ALWAYS },
	{ CALL(recvmsg), ALL, PRIV_ALWAYS },
	{ CALL(recvfrom), ALL, PRIV_ALWAYS },
	{ CALL(sendmsg), ALL, PRIV_SENDMSG_CONNECTED },
	{ CALL(sendto), ALL, PRIV_SENDTO_CONNECTED },
	{ CALL(shutdown), ALL, PRIV_ALWAYS },
	{ CALL(getsockopt), ALL, PRIV_ALWAYS },
	{ CALL(setsockopt), ALL, PRIV_ALWAYS },
	{ CALL(getsockname), ALL, PRIV_ALWAYS },
	{ CALL(getpeername), ALL, PRIV_ALWAYS },

	/* New ones. The store makes none: everybody comes to it. */
	{ CALL(socket), FRONT, PRIV_UNIX_SOCKET },
	{ CALL(socket), TCP, PRIV_TCP_SOCKET },
	{ CALL(connect), FRONT, PRIV_ALWAYS },

	/* Memory. */
	{ CALL(mmap), ALL, PRIV_NOT_EXECUTABLE },
	{ CALL(mprotect), ALL, PRIV_NOT_EXECUTABLE },
	{ CALL(munmap), ALL, PRIV_ALWAYS },
	{ CALL(mremap), ALL, PRIV_ALWAYS },
	{ CALL(madvise), ALL, PRIV_ALWAYS },
	{ CALL(brk), ALL, PRIV_ALWAYS },

	/* Time, signals, the process itself. */
	{ CALL(clock_gettime), ALL, PRIV_ALWAYS },
	{ CALL(clock_getres), ALL, PRIV_ALWAYS },
	{ CALL(clock_nanosleep), ALL, PRIV_ALWAYS },
	{ CALL(nanosleep), ALL, PRIV_ALWAYS },
	{ CALL(gettimeofday), ALL, PRIV_ALWAYS },
	{ CALL(getrandom), ALL, PRIV_ALWAYS },
	{ CALL(rt_sigaction), ALL, PRIV_ALWAYS },
	{ CALL(rt_sigprocmask), ALL, PRIV_ALWAYS },
	{ CALL(rt_sigreturn), ALL, PRIV_ALWAYS },
	{ CALL(sigaltstack), ALL, PRIV_ALWAYS },
	{ CALL(tgkill), ALL, PRIV_OWN_PROCESS },
	{ CALL(getpid), ALL, PRIV_ALWAYS },
	{ CALL(gettid), ALL, PRIV_ALWAYS },
	{ CALL(getuid), ALL, PRIV_ALWAYS },
	{ CALL(geteuid), ALL, PRIV_ALWAYS },
	{ CALL(getgid), ALL, PRIV_ALWAYS },
	{ CALL(getegid), ALL, PRIV_ALWAYS },
	{ CALL(getrusage), ALL, PRIV_ALWAYS },
	{ CALL(getrlimit), ALL, PRIV_ALWAYS },
	{ CALL(prlimit64), ALL, PRIV_OWN_LIMITS_READ },
	{ CALL(sysinfo), ALL, PRIV_ALWAYS },
	{ CALL(exit), ALL, PRIV_ALWAYS },
	{ CALL(exit_group), ALL, PRIV_ALWAYS },

	/* Threads: password hashes and log flushes of the store. The others run none, but may wait. */
	{ CALL(futex), ALL, PRIV_ALWAYS },
	{ CALL(sched_yield), ALL, PRIV_ALWAYS },
	{ CALL(sched_getaffinity), ALL, PRIV_ALWAYS },
	{ CALL(rseq), ALL, PRIV_ALWAYS },
	{ CALL(clone3), ALL, PRIV_ENOSYS },
	{ CALL(clone), STORE, PRIV_THREAD },
	{ CALL(set_robust_list), STORE, PRIV_ALWAYS },
	{ CALL(prctl), STORE, PRIV_THREAD_NAME },

	/* Files, by name: the store's own tree, as Landlock sees to. */
	{ CALL(openat), STORE, PRIV_ALWAYS },
	{ CALL(newfstatat), STORE, PRIV_ALWAYS },
	{ CALL(statx), STORE, PRIV_ALWAYS },
	{ CALL(stat), STORE, PRIV_ALWAYS },
	{ CALL(lstat), STORE, PRIV_ALWAYS },
	{ CALL(access), STORE, PRIV_ALWAYS },
	{ CALL(faccessat), STORE, PRIV_ALWAYS },
	{ CALL(faccessat2), STORE, PRIV_ALWAYS },
	{ CALL(getcwd), STORE, PRIV_ALWAYS },
	{ CALL(getdents64), STORE, PRIV_ALWAYS },
	{ CALL(link), STORE, PRIV_ALWAYS },
	{ CALL(linkat), STORE, PRIV_ALWAYS },
	{ CALL(rename), STORE, PRIV_ALWAYS },
	{ CALL(renameat), STORE, PRIV_ALWAYS },
	{ CALL(renameat2), STORE, PRIV_ALWAYS },
	{ CALL(unlink), STORE, PRIV_ALWAYS },
	{ CALL(unlinkat), STORE, PRIV_ALWAYS },
	{ CALL(mkdir), STORE, PRIV_ALWAYS },
	{ CALL(mkdirat), STORE, PRIV_ALWAYS },
	{ CALL(rmdir), STORE, PRIV_ALWAYS },
	{ CALL(fchmod), STORE, PRIV_ALWAYS },
	{ CALL(utimensat), STORE, PRIV_ALWAYS },
	{ CALL(umask), STORE, PRIV_ALWAYS },
	{ CALL(statfs), STORE, PRIV_ALWAYS },
	{ CALL(inotify_init1), STORE, PRIV_ALWAYS },
	{ CALL(inotify_add_watch), STORE, PRIV_ALWAYS },
	{ CALL(inotify_rm_watch), STORE, PRIV_ALWAYS },

	/* Files, by descriptor. */
	{ CALL(fstatfs), STORE, PRIV_ALWAYS },
	{ CALL(fsync), STORE, PRIV_ALWAYS },
	{ CALL(fdatasync), STORE, PRIV_ALWAYS },
	{ CALL(syncfs), STORE, PRIV_ALWAYS },
	{ CALL(sync_file_range), STORE, PRIV_ALWAYS },
	{ CALL(fallocate), STORE, PRIV_ALWAYS },
	{ CALL(fadvise64), STORE, PRIV_ALWAYS },
	{ CALL(flock), STORE, PRIV_ALWAYS },
	{ CALL(copy_file_range), STORE, PRIV_ALWAYS },

	/*
	 * In a sanitizer build, so that it can tell its findings: it looks into /proc (Landlock allows
	 * nothing else) and searches for leaks from a process of its own.
	 */
	{ CALL(open), SANITIZER, PRIV_ALWAYS },
	{ CALL(openat), SANITIZER, PRIV_ALWAYS },
	{ CALL(newfstatat), SANITIZER, PRIV_ALWAYS },
	{ CALL(readlink), SANITIZER, PRIV_ALWAYS },
	{ CALL(getdents), SANITIZER, PRIV_ALWAYS },
	{ CALL(getdents64), SANITIZER, PRIV_ALWAYS },
	{ CALL(clone), SANITIZER, PRIV_ALWAYS },
	{ CALL(wait4), SANITIZER, PRIV_ALWAYS },
	{ CALL(ptrace), SANITIZER, PRIV_ALWAYS },
	{ CALL(prctl), SANITIZER, PRIV_ALWAYS },
	{ CALL(getppid), SANITIZER, PRIV_ALWAYS },
};

const size_t priv_rule_count = sizeof(priv_rules) / sizeof(priv_rules[0]);

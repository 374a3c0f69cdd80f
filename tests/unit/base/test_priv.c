/* What a confined process still can and cannot do, tried from inside it, for every role. */
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <pthread.h>
#include <sched.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/ptrace.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/log.h"
#include "base/priv.h"
#include "base/sanitizer.h"
#include "base/sys.h"

static long landlock; /* the kernel's version of it */

static char tree[64];  /* the store's own */
static char other[64]; /* beside it, writable by us */

static int set_up(void **state)
{
	(void)state;
	landlock = syscall(SYS_landlock_create_ruleset, NULL, 0, 1);
	snprintf(tree, sizeof(tree), "/tmp/test-priv.XXXXXX");
	snprintf(other, sizeof(other), "/tmp/test-priv.XXXXXX");
	return mkdtemp(tree) && mkdtemp(other) ? 0 : -1;
}

static int tear_down(void **state)
{
	(void)state;
	return rmdir(tree) == 0 && rmdir(other) == 0 ? 0 : -1;
}

/* In a child: confine, run the probe, whose complaints go to standard error and make it fail. */
static int failures;

#define EXPECT(condition) \
	do { \
		if (!(condition)) { \
			fprintf(stderr, "%s:%d: %s (errno %d)\n", __FILE__, __LINE__, #condition, \
				errno); \
			failures++; \
		} \
	} while (0)

#define EXPECT_DENIED(call) \
	do { \
		errno = 0; \
		EXPECT((call) == -1 && (errno == EPERM || errno == EACCES)); \
	} while (0)

static void in_confined_child(enum priv_role role, unsigned extra, void (*probe)(enum priv_role))
{
	pid_t child = fork();

	if (child == 0) {
		failures = 0;
		/* A kernel without Landlock is told about in the log, and the probes show what it means. */
		if (chdir(tree) != 0 || priv_confine(role, extra) != 0)
			_exit(2);
		probe(role);
		_exit(failures ? 1 : 0);
	}
	int status;
	assert_int_equal(waitpid(child, &status, 0), child);
	if (!WIFEXITED(status) || WEXITSTATUS(status) != 0)
		fail_msg("%s: status %x", priv_role_name(role), (unsigned)status);
}

static void probe_files_and_programs(enum priv_role role)
{
	char name[] = "/bin/true";
	char *const arguments[] = { name, NULL };
	char path[100];
	struct stat st;

	/* Without Landlock the store is kept from these by its user id alone. */
	if (role != PRIV_STORE || landlock >= 2) {
		EXPECT_DENIED(open("/etc/passwd", O_RDONLY));
		EXPECT_DENIED(open("/", O_RDONLY | O_DIRECTORY));
		EXPECT_DENIED(open("/dev/null", O_RDWR));
		EXPECT_DENIED(open("..", O_RDONLY | O_DIRECTORY));
		snprintf(path, sizeof(path), "%s/new", other);
		EXPECT_DENIED(open(path, O_WRONLY | O_CREAT, 0600));
		EXPECT_DENIED(mkdir(path, 0700));
	}
	EXPECT_DENIED(symlink("/etc/passwd", "link"));
	EXPECT_DENIED(mknod("pipe", S_IFIFO | 0600, 0));
	EXPECT_DENIED(chmod(".", 0777));
	EXPECT_DENIED(chown(".", 1, 1));
	EXPECT_DENIED(chroot("."));
	EXPECT_DENIED(execve("/bin/true", arguments, arguments));
	EXPECT_DENIED((int)syscall(SYS_execveat, AT_FDCWD, "/bin/true", arguments, arguments, 0));
	if (role != PRIV_STORE && !BASE_ADDRESS_SANITIZER)
		EXPECT_DENIED(stat("/etc/passwd", &st));
	if (role != PRIV_STORE)
		EXPECT_DENIED(open("here", O_WRONLY | O_CREAT, 0600));
}

static void files_and_programs_are_out_of_reach(void **state)
{
	(void)state;
	for (enum priv_role role = 0; role < PRIV_ROLES; role++)
		in_confined_child(role, 0, probe_files_and_programs);
}

static void probe_processes(enum priv_role role)
{
	struct rlimit limit;

	(void)role;
	EXPECT_DENIED(kill(getpid(), 0));
	EXPECT_DENIED(kill(getppid(), SIGTERM));
	EXPECT_DENIED((int)syscall(SYS_tgkill, 1, 1, SIGTERM));
	EXPECT_DENIED(unshare(CLONE_NEWUSER));
	EXPECT_DENIED(setuid(getuid()));
	EXPECT_DENIED((int)syscall(SYS_bpf, 0, NULL, 0));
	EXPECT_DENIED((int)syscall(SYS_keyctl, 0, 0, 0, 0, 0));
	EXPECT_DENIED((int)syscall(SYS_process_vm_readv, 1, NULL, 0, NULL, 0, 0));
	EXPECT_DENIED((int)syscall(SYS_io_uring_setup, 1, NULL));
	EXPECT_DENIED((int)syscall(SYS_userfaultfd, 0));
	EXPECT(getrlimit(RLIMIT_NOFILE, &limit) == 0);
	EXPECT_DENIED(setrlimit(RLIMIT_NOFILE, &limit));
	errno = 0;
	EXPECT(syscall(SYS_clone3, NULL, 0) == -1 && errno == ENOSYS);
	if (!BASE_ADDRESS_SANITIZER) {
		EXPECT_DENIED((int)ptrace(PTRACE_ATTACH, getppid(), NULL, NULL));
		EXPECT_DENIED(fork());
	}
	EXPECT(mmap(NULL, 4096, PROT_READ | PROT_WRITE | PROT_EXEC, MAP_PRIVATE | MAP_ANONYMOUS, -1,
		       0) == MAP_FAILED);
	void *page = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	EXPECT(page != MAP_FAILED);
	EXPECT_DENIED(mprotect(page, 4096, PROT_READ | PROT_EXEC));
	EXPECT(mprotect(page, 4096, PROT_READ) == 0);
}

static void other_processes_are_out_of_reach(void **state)
{
	(void)state;
	for (enum priv_role role = 0; role < PRIV_ROLES; role++)
		in_confined_child(role, 0, probe_processes);
}

/* Of a socket to connect to TCP addresses: family and type; and all others. */
static void probe_sockets_but(bool unix_allowed, bool tcp_allowed)
{
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);

	EXPECT((fd >= 0) == unix_allowed);
	fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	EXPECT((fd >= 0) == tcp_allowed);
	fd = socket(AF_INET6, SOCK_STREAM, IPPROTO_TCP);
	EXPECT((fd >= 0) == tcp_allowed);
	EXPECT_DENIED(socket(AF_INET, SOCK_DGRAM, 0));
	EXPECT_DENIED(socket(AF_INET, SOCK_STREAM, IPPROTO_SCTP));
	EXPECT_DENIED(socket(AF_INET, SOCK_RAW, IPPROTO_ICMP));
	EXPECT_DENIED(socket(AF_PACKET, SOCK_RAW, 0));
	EXPECT_DENIED(socket(AF_NETLINK, SOCK_RAW, 0));
	EXPECT_DENIED(socket(AF_VSOCK, SOCK_STREAM, 0));
	EXPECT_DENIED(socket(AF_ALG, SOCK_SEQPACKET, 0));
	EXPECT_DENIED(
		bind(0, (const struct sockaddr *)&(struct sockaddr_un){ .sun_family = AF_UNIX },
			sizeof(struct sockaddr_un)));
	EXPECT_DENIED(listen(0, 1));
	EXPECT_DENIED((int)sendto(0, "", 0, MSG_FASTOPEN, NULL, 0));
	EXPECT_DENIED((int)sendmsg(0, &(struct msghdr){ 0 }, MSG_FASTOPEN));
}

static void probe_sockets(enum priv_role role)
{
	probe_sockets_but(role != PRIV_STORE, role == PRIV_RELAY || role == PRIV_BRIDGE);
}

static void probe_sockets_of_tcp_client(enum priv_role role)
{
	(void)role;
	probe_sockets_but(true, true);
}

static void only_the_sockets_that_are_needed(void **state)
{
	(void)state;
	for (enum priv_role role = 0; role < PRIV_ROLES; role++)
		in_confined_child(role, 0, probe_sockets);
	in_confined_child(PRIV_SMTP_IN, PRIV_TCP_CLIENT, probe_sockets_of_tcp_client);
}

/* A connection that was accepted is all a front end has of TCP: it cannot be turned elsewhere. */
static void accepted_connections_stay_where_they_are(void **state)
{
	struct sockaddr_in address = { .sin_family = AF_INET };
	socklen_t size = sizeof(address);
	int listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	int client = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

	(void)state;
	address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	assert_int_equal(bind(listener, (struct sockaddr *)&address, size), 0);
	assert_int_equal(listen(listener, 2), 0);
	assert_int_equal(getsockname(listener, (struct sockaddr *)&address, &size), 0);
	assert_int_equal(connect(client, (struct sockaddr *)&address, size), 0);
	pid_t child = fork();
	if (child == 0) {
		const struct sockaddr nowhere = { .sa_family = AF_UNSPEC };
		failures = 0;
		if (chdir(tree) != 0 || priv_confine(PRIV_POP3D, 0) != 0)
			_exit(2);
		EXPECT(write(client, "x", 1) == 1);
		EXPECT(connect(client, &nowhere, sizeof(nowhere)) == 0);
		EXPECT_DENIED(connect(client, (struct sockaddr *)&address, size));
		_exit(failures ? 1 : 0);
	}
	int status;
	assert_int_equal(waitpid(child, &status, 0), child);
	close(client);
	close(listener);
	if (landlock < 4)
		skip();
	assert_int_equal(status, 0);
}

static void *thread_main(void *argument)
{
	*(int *)argument = 42;
	return NULL;
}

/* What Landlock lets it do there, and the filter does not. */
static void probe_own_tree(void)
{
	char name[] = "./program";
	char *const arguments[] = { name, NULL };

	const int fd = open(name, O_RDWR | O_CREAT | O_EXCL, 0700);
	EXPECT(fd >= 0);
	EXPECT(write(fd, "#!/bin/true\n", 12) == 12);
	EXPECT_DENIED(execve(name, arguments, arguments));
	EXPECT_DENIED((int)syscall(SYS_execveat, fd, "", arguments, arguments, AT_EMPTY_PATH));
	EXPECT(mmap(NULL, 12, PROT_READ | PROT_EXEC, MAP_PRIVATE, fd, 0) == MAP_FAILED);
	EXPECT_DENIED(ioctl(fd, FIONREAD, &(int){ 0 }));
	EXPECT(close(fd) == 0 && unlink(name) == 0);
	EXPECT_DENIED(symlink("/etc/passwd", "made"));
	EXPECT_DENIED(symlinkat("/etc/passwd", AT_FDCWD, "made"));
	EXPECT_DENIED(mknod("made", S_IFIFO | 0600, 0));
	EXPECT_DENIED(mknod("made", S_IFCHR | 0600, 0));
	EXPECT_DENIED(mknod("made", S_IFBLK | 0600, 0));
	EXPECT_DENIED(mknodat(AT_FDCWD, "made", S_IFSOCK | 0600, 0));
	EXPECT_DENIED(bind(0,
		(const struct sockaddr *)&(struct sockaddr_un){
			.sun_family = AF_UNIX, .sun_path = "made" },
		sizeof(struct sockaddr_un)));
}

static void probe_store(enum priv_role role)
{
	pthread_t thread;
	int value = 0;
	struct stat st;

	(void)role;
	EXPECT(mkdir("a", 0700) == 0 && mkdir("b", 0700) == 0);
	int fd = open("a/file", O_RDWR | O_CREAT | O_EXCL, 0600);
	EXPECT(fd >= 0);
	EXPECT(write(fd, "hello", 5) == 5);
	EXPECT(fsync(fd) == 0 && fdatasync(fd) == 0 && syncfs(fd) == 0);
	EXPECT(fstat(fd, &st) == 0 && st.st_size == 5);
	EXPECT(ftruncate(fd, 2) == 0);
	EXPECT(link("a/file", "b/other") == 0);
	EXPECT(rename("a/file", "b/moved") == 0);
	EXPECT(stat("b/moved", &st) == 0 && st.st_nlink == 2 && st.st_size == 2);
	EXPECT(unlink("b/moved") == 0 && unlink("b/other") == 0);
	EXPECT(rmdir("a") == 0 && rmdir("b") == 0);
	EXPECT(pthread_create(&thread, NULL, thread_main, &value) == 0);
	EXPECT(pthread_join(thread, NULL) == 0 && value == 42);
	probe_own_tree();
}

static void the_store_works_in_its_tree(void **state)
{
	(void)state;
	in_confined_child(PRIV_STORE, 0, probe_store);
}

/* All that a front end lives on: memory, the log, and messages with descriptors. */
static void probe_front_end(enum priv_role role)
{
	char *block = malloc(8 << 20);
	struct stat st;
	int memory = memfd_create("body", MFD_CLOEXEC | MFD_ALLOW_SEALING);

	memset(block, 1, 8 << 20);
	EXPECT(write(memory, block, 1 << 20) == 1 << 20);
	EXPECT(fcntl(memory, F_ADD_SEALS, F_SEAL_WRITE | F_SEAL_SHRINK | F_SEAL_GROW) == 0);
	EXPECT(pread(memory, block, 100, 1000) == 100);
	EXPECT(sys.fstat(memory, &st) == 0 && st.st_size == 1 << 20);
	free(block);
	(void)role;
}

static void a_front_end_has_what_it_needs(void **state)
{
	(void)state;
	in_confined_child(PRIV_POP3D, 0, probe_front_end);
}

static void *try_after_go(void *argument)
{
	char octet;

	EXPECT(read(*(int *)argument, &octet, 1) == 1);
	EXPECT_DENIED(socket(AF_INET, SOCK_DGRAM, 0));
	return NULL;
}

static void threads_that_were_there_are_confined(void **state)
{
	(void)state;
	pid_t child = fork();
	if (child == 0) {
		pthread_t thread;
		int go[2];
		failures = 0;
		if (pipe(go) != 0 || pthread_create(&thread, NULL, try_after_go, &go[0]) != 0 ||
			chdir(tree) != 0 || priv_confine(PRIV_STORE, 0) != 0)
			_exit(2);
		EXPECT(write(go[1], "", 1) == 1);
		EXPECT(pthread_join(thread, NULL) == 0);
		_exit(failures ? 1 : 0);
	}
	int status;
	assert_int_equal(waitpid(child, &status, 0), child);
	assert_int_equal(status, 0);
}

static void abort_still_ends_the_process(void **state)
{
	(void)state;
	pid_t child = fork();
	if (child == 0) {
		const struct rlimit no_core = { 0 };
		setrlimit(RLIMIT_CORE, &no_core);
		sigaction(SIGABRT, &(const struct sigaction){ .sa_handler = SIG_DFL }, NULL);
		if (chdir(tree) == 0 && priv_confine(PRIV_MDA, 0) == 0)
			abort();
		_exit(0);
	}
	int status;
	assert_int_equal(waitpid(child, &status, 0), child);
	assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGABRT);
}

static void dropping_holds(void **state)
{
	(void)state;
	assert_int_equal(priv_drop(0, 1234), -1);
	assert_int_equal(errno, EINVAL);
	assert_int_equal(priv_drop(1234, 0), -1);
	if (geteuid() != 0)
		skip();
	pid_t child = fork();
	if (child == 0) {
		uid_t r, e, s;
		if (priv_drop(201234, 201235) != 0 || getresuid(&r, &e, &s) != 0)
			_exit(2);
		_exit(r == 201234 && e == r && s == r && getgid() == 201235 && setuid(0) == -1 &&
					seteuid(0) == -1 && getgroups(0, NULL) == 0
				? 0
				: 1);
	}
	int status;
	assert_int_equal(waitpid(child, &status, 0), child);
	assert_int_equal(status, 0);
}

#define CASE(f) cmocka_unit_test_setup_teardown(f, set_up, tear_down)

int main(void)
{
	const struct CMUnitTest tests[] = {
		CASE(files_and_programs_are_out_of_reach),
		CASE(other_processes_are_out_of_reach),
		CASE(only_the_sockets_that_are_needed),
		CASE(accepted_connections_stay_where_they_are),
		CASE(the_store_works_in_its_tree),
		CASE(a_front_end_has_what_it_needs),
		CASE(threads_that_were_there_are_confined),
		CASE(abort_still_ends_the_process),
		CASE(dropping_holds),
	};

	log_open("test", LOG_LEVEL_INFO);
	return cmocka_run_group_tests(tests, NULL, NULL);
}

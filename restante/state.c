#include "restante/state.h"

#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/log.h"
#include "base/mem.h"
#include "base/text.h"

enum { DIRECTORY = O_RDONLY | O_DIRECTORY | O_CLOEXEC };

int state_make_path(const char *path, mode_t mode)
{
	char *part = mem_copy(path, strlen(path));
	int result = 0;

	for (char *slash = part; result == 0 && *slash; slash++) {
		if (*slash != '/' || slash == part)
			continue;
		*slash = '\0';
		if (mkdir(part, 0755) != 0 && errno != EEXIST)
			result = -1;
		*slash = '/';
	}
	if (result == 0 && mkdir(part, mode) != 0 && errno != EEXIST)
		result = -1;
	mem_free(part);
	return result;
}

static int fail(char *error, size_t error_size, const char *path, const char *below)
{
	const int number = errno;

	snprintf(error, error_size, "%s%s: %s%s", path, below, log_errno(number),
		number == EACCES ? "; be root, or the user who runs the host" : "");
	return -1;
}

/* The descriptor of a directory below base, made when it is missing, or -1. */
static int open_below(int base, const char *name, mode_t mode, bool *made)
{
	*made = mkdirat(base, name, mode) == 0;
	if (!*made && errno != EEXIST)
		return -1;
	return openat(base, name, DIRECTORY | O_NOFOLLOW);
}

/* As root a fresh store directory is given away; one that belongs to somebody else is not touched. */
static int own_store(
	int fd, bool made, uid_t uid, gid_t gid, const char *path, char *error, size_t error_size)
{
	struct stat st;

	if (geteuid() != 0) {
		uid = geteuid();
	} else if (made && fchown(fd, uid, gid) != 0) {
		return fail(error, error_size, path, "/store");
	}
	if (fstat(fd, &st) != 0)
		return fail(error, error_size, path, "/store");
	if (st.st_uid == uid)
		return 0;
	snprintf(error, error_size,
		"%s/store belongs to user id %u, but the store would run as %u; give it over with "
		"chown -R %u:%u, or use another directory",
		path, (unsigned)st.st_uid, (unsigned)uid, (unsigned)uid, (unsigned)gid);
	return -1;
}

static pid_t read_holder(int lock)
{
	char line[24];
	uint64_t pid = 0;
	const ssize_t got = pread(lock, line, sizeof(line), 0);

	if (got > 0)
		text_to_number(text_head((struct text){ .ptr = line, .len = (size_t)got },
				       (size_t)got - 1),
			INT32_MAX, &pid);
	return (pid_t)pid;
}

static enum state_result take_lock(
	struct state *state, const char *path, pid_t *holder, char *error, size_t error_size)
{
	char line[24];

	*holder = 0;
	state->lock = openat(state->run, "lock", O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0644);
	if (state->lock < 0) {
		fail(error, error_size, path, "/run/lock");
		return STATE_FAILED;
	}
	if (flock(state->lock, LOCK_EX | LOCK_NB) != 0) {
		if (errno != EWOULDBLOCK) {
			fail(error, error_size, path, "/run/lock");
			return STATE_FAILED;
		}
		*holder = read_holder(state->lock);
		return STATE_IN_USE;
	}
	const int length = snprintf(line, sizeof(line), "%d\n", (int)getpid());
	if (ftruncate(state->lock, 0) != 0 ||
		pwrite(state->lock, line, (size_t)length, 0) != length) {
		fail(error, error_size, path, "/run/lock");
		return STATE_FAILED;
	}
	return STATE_OPEN;
}

enum state_result state_open(
	struct state *state, const char *path, pid_t *holder, char *error, size_t error_size)
{
	enum state_result result = STATE_FAILED;
	bool made;
	const int base = state_make_path(path, 0755) == 0 ? open(path, DIRECTORY) : -1;

	*state = (struct state){ .store = -1, .run = -1, .lock = -1 };
	if (base < 0) {
		fail(error, error_size, path, "");
		return STATE_FAILED;
	}
	state->run = open_below(base, "run", 0755, &made);
	if (state->run < 0)
		fail(error, error_size, path, "/run");
	else
		result = take_lock(state, path, holder, error, error_size);
	close(base);
	if (result != STATE_OPEN)
		state_close(state);
	return result;
}

int state_open_store(
	struct state *state, const char *path, uid_t uid, gid_t gid, char *error, size_t error_size)
{
	bool made = mkdirat(state->run, "../store", 0700) == 0;

	if (made || errno == EEXIST)
		state->store = openat(state->run, "../store", DIRECTORY | O_NOFOLLOW);
	if (state->store < 0)
		return fail(error, error_size, path, "/store");
	return own_store(state->store, made, uid, gid, path, error, error_size);
}

static void close_one(int *fd)
{
	if (*fd >= 0)
		close(*fd);
	*fd = -1;
}

void state_close(struct state *state)
{
	close_one(&state->store);
	close_one(&state->run);
	close_one(&state->lock);
}

int state_open_run(const char *path)
{
	char *run = mem_new(strlen(path) + sizeof("/run"));

	memcpy(run, path, strlen(path));
	memcpy(run + strlen(path), "/run", sizeof("/run"));
	const int fd = open(run, DIRECTORY);
	mem_free(run);
	return fd;
}

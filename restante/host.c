#include "restante/host.h"

#include <errno.h>
#include <event2/event.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sysexits.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/limits.h"
#include "base/log.h"
#include "base/mem.h"

void host_init(struct host *host, const struct host_source *source)
{
	*host = (struct host){
		.loop = event_base_new(),
		.source = *source,
		.state = { .store = -1, .run = -1, .lock = -1 },
		.log = -1,
		.listeners = { .admin = -1 },
	};
	for (enum host_role_id role = 0; role < HOST_ROLES; role++)
		host->limits[role].fd = -1;
	if (!host->loop)
		LOG_FATAL("no-event-loop", LOG_ERRNO(errno));
}

int host_make_limits(struct host *host)
{
	for (enum host_role_id role = 0; role < HOST_ROLES; role++) {
		struct host_limits *limits = &host->limits[role];
		if (!host_roles[role].limits)
			continue;
		limits->workers = host_settings_workers(host->settings, role);
		limits->fd = limits_make(limits->workers);
		limits->table = limits->fd < 0 ? NULL
					       : limits_open(fcntl(limits->fd, F_DUPFD_CLOEXEC, 3),
							 limits->workers, LIMITS_NO_WORKER);
		if (!limits->table)
			return -1;
	}
	return 0;
}

void host_renew_tickets(struct host *host)
{
	for (enum host_role_id role = 0; role < HOST_ROLES; role++) {
		struct host_tickets *tickets = &host->tickets[role];
		memcpy(tickets->previous, tickets->current, sizeof(tickets->previous));
		tickets->has_previous = tickets->is_made;
		tickets->is_made = true;
		tls_ticket_key_make(tickets->current);
	}
}

static void free_limits(struct host *host)
{
	for (enum host_role_id role = 0; role < HOST_ROLES; role++) {
		struct host_limits *limits = &host->limits[role];
		limits_close(&limits->table);
		if (limits->fd >= 0)
			close(limits->fd);
		limits->fd = -1;
	}
}

void host_free(struct host *host)
{
	free_limits(host);
	log_to_file(-1);
	if (host->log >= 0)
		close(host->log);
	host->log = -1;
	listeners_free(&host->listeners);
	certificates_free(&host->certificates);
	host_settings_free(&host->settings);
	host_settings_free(&host->started);
	state_close(&host->state);
	mem_free(host->libexec);
	host->libexec = NULL;
	event_base_free(host->loop);
	host->loop = NULL;
}

uid_t host_uid(const struct host_settings *settings, enum host_role_id role)
{
	if (geteuid() != 0)
		return 0;
	return (uid_t)(host_settings_common(settings)->uid_base + host_roles[role].priv);
}

void host_complain(void *owner, const char *sentence)
{
	(void)owner;
	fprintf(stderr, "restante: %s\n", sentence);
}

static char *join(struct text directory, const char *below)
{
	char *path = mem_new(directory.len + strlen(below) + 1);

	memcpy(path, directory.ptr, directory.len);
	memcpy(path + directory.len, below, strlen(below));
	return path;
}

static bool has_roles(const char *directory)
{
	char *program = join(text_of(directory), "/store");
	const bool found = access(program, X_OK) == 0;

	mem_free(program);
	return found;
}

char *host_program(void)
{
	char *self = realpath("/proc/self/exe", NULL);
	char *copy = self ? mem_copy(self, strlen(self)) : NULL;

	free(self);
	return copy;
}

char *host_libexec(char *error, size_t error_size)
{
	static const char *const places[] = { "/libexec", "/../libexec/restante" };
	char *self = host_program();

	if (!self) {
		snprintf(error, error_size, "/proc/self/exe: %s", log_errno(errno));
		return NULL;
	}
	const struct text directory =
		text_head(text_of(self), (size_t)text_find_last(text_of(self), '/'));
	for (size_t i = 0; i < sizeof(places) / sizeof(places[0]); i++) {
		char *path = join(directory, places[i]);
		if (has_roles(path)) {
			mem_free(self);
			return path;
		}
		mem_free(path);
	}
	snprintf(error, error_size,
		"the programs of the roles are neither in %.*s/libexec nor in "
		"%.*s/../libexec/restante; install them",
		TEXT_ARG(directory), TEXT_ARG(directory));
	mem_free(self);
	return NULL;
}

char *host_absolute(const char *file)
{
	char *real = realpath(file, NULL);
	char *copy = mem_copy(real ? real : file, strlen(real ? real : file));

	free(real);
	return copy;
}

char *host_from_here(const char *path)
{
	char *here = path[0] == '/' ? NULL : getcwd(NULL, 0);
	struct buf whole = { 0 };

	if (here)
		buf_format(&whole, "%s/", here);
	buf_add_string(&whole, path);
	char *copy = mem_copy(buf_text(&whole).ptr, buf_length(&whole));
	buf_release(&whole);
	free(here);
	return copy;
}

int host_enter_state(struct host *host, const char *path)
{
	char error[5000] = "";
	pid_t holder = 0;

	switch (state_open(&host->state, path, &holder, error, sizeof(error))) {
	case STATE_OPEN:
		if (fchdir(host->state.run) == 0)
			return EX_OK;
		snprintf(error, sizeof(error), "%.4000s/run: %s", path, log_errno(errno));
		break;
	case STATE_IN_USE:
		snprintf(error, sizeof(error),
			"a host runs on %.4000s already (process %d); end it, or use another "
			"directory",
			path, (int)holder);
		break;
	case STATE_FAILED:
		break;
	}
	host_complain(NULL, error);
	return EX_CANTCREAT;
}

int host_open_store(struct host *host)
{
	char error[5000] = "";
	const uid_t uid = host_uid(host->settings, HOST_STORE);

	if (state_open_store(&host->state, host_settings_common(host->settings)->state, uid,
		    (gid_t)uid, error, sizeof(error)) == 0)
		return EX_OK;
	host_complain(NULL, error);
	return EX_CANTCREAT;
}

/* ---- the log that is kept ---- */

static int open_log_file(const struct host *host)
{
	return openat(host->state.run, "../log",
		O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC | O_NOFOLLOW, 0600);
}

static bool log_is_full(const struct host *host, int fd)
{
	const uint64_t most = host_settings_common(host->settings)->log_size;
	struct stat st;

	return fstat(fd, &st) == 0 && (uint64_t)st.st_size >= most;
}

/* As logrotate(8) does, and who thinks that a log can be deleted. */
static bool log_was_moved(const struct host *host)
{
	struct stat ours, there;

	if (fstat(host->log, &ours) != 0)
		return false;
	if (fstatat(host->state.run, "../log", &there, AT_SYMLINK_NOFOLLOW) != 0)
		return errno == ENOENT;
	return ours.st_ino != there.st_ino || ours.st_dev != there.st_dev;
}

/* The file to write to, the one that is open or another. -1 with errno. */
static int choose_log_file(const struct host *host)
{
	int fd = host->log;

	if (fd < 0 || log_was_moved(host))
		fd = open_log_file(host);
	if (fd < 0 || !log_is_full(host, fd) ||
		renameat(host->state.run, "../log", host->state.run, "../log.1") != 0)
		return fd;
	if (fd != host->log)
		close(fd);
	return open_log_file(host);
}

bool host_renew_log(struct host *host)
{
	if (host_settings_common(host->settings)->log_size == 0)
		return false;
	const int fd = choose_log_file(host), number = errno;
	if (fd < 0) {
		/* What is open is better than nothing. */
		if (!host->log_failed)
			LOG_WARNING("no-log-file", LOG_ERRNO(number));
		host->log_failed = true;
		return false;
	}
	host->log_failed = false;
	if (fd == host->log)
		return false;
	/* The roles write to the old one until they hear of it: nothing is lost. */
	if (host->log >= 0)
		close(host->log);
	host->log = fd;
	log_to_file(fcntl(fd, F_DUPFD_CLOEXEC, 0));
	return true;
}

#include "restante/listen.h"

#include <errno.h>
#include <netinet/in.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/log.h"
#include "base/mem.h"
#include "restante/endpoint.h"
#include "store/protocol.h"

enum { BACKLOG = 1024, SOCKET_TYPE = SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK };

struct binding {
	struct listeners *listeners;
	const struct host_settings *settings;
	const char *advice;
	host_report *report;
	void *owner;
	unsigned failures;
	bool taken; /* by another program, that is */
};

static void add_listener(struct binding *binding, const char *name, enum host_role_id role,
	const struct host_service *service, const char *where, int fd)
{
	struct listeners *listeners = binding->listeners;

	listeners->list =
		mem_resize(listeners->list, (listeners->count + 1) * sizeof(*listeners->list));
	listeners->list[listeners->count++] = (struct listener){
		.name = name,
		.role = role,
		.service = service,
		.where = mem_copy(where, strlen(where)),
		.fd = fd,
	};
}

/* ---- TCP ---- */

static void report_tcp(
	struct binding *binding, const struct host_service *service, const char *where, int number)
{
	const char *why = "";
	char sentence[300];

	if (number == EADDRINUSE)
		binding->taken = true;
	else if (number == EACCES)
		why = " (ports below 1024 are for root)";
	else if (number == EADDRNOTAVAIL)
		why = " (this machine has no such address)";
	snprintf(sentence, sizeof(sentence), "%s for %s, %s.%s: %s%s", where, service->purpose,
		host_roles[service->role].name, service->item, log_errno(number), why);
	binding->report(binding->owner, sentence);
	binding->failures++;
}

/* A listening socket, or -1 with errno. */
static int listen_tcp(const struct sockaddr_storage *address)
{
	const int on = 1, fd = socket(address->ss_family, SOCKET_TYPE, 0);

	if (fd < 0)
		return -1;
	setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
	/* IPv4 clients come by a socket of their own and keep their plain address. */
	if (address->ss_family == AF_INET6)
		setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &on, sizeof(on));
	if (bind(fd, (const struct sockaddr *)address, endpoint_size(address)) == 0 &&
		listen(fd, BACKLOG) == 0)
		return fd;
	const int number = errno;
	close(fd);
	errno = number;
	return -1;
}

static bool lacks_ipv6(const struct sockaddr_storage *address)
{
	return address->ss_family == AF_INET6 && (errno == EAFNOSUPPORT || errno == EADDRNOTAVAIL);
}

static void bind_endpoint(struct binding *binding, const struct host_service *service,
	const struct endpoint *endpoint)
{
	for (size_t i = 0; i < endpoint->count; i++) {
		struct sockaddr_storage address = endpoint->address[i];
		socklen_t size = sizeof(address);
		char where[ENDPOINT_TEXT_LIMIT];
		const int fd = listen_tcp(&address);

		if (fd < 0 && endpoint->count > 1 && lacks_ipv6(&address))
			continue;
		endpoint_print(&address, where);
		if (fd < 0) {
			report_tcp(binding, service, where, errno);
			continue;
		}
		/* The kernel may have chosen the port. */
		if (getsockname(fd, (struct sockaddr *)&address, &size) == 0)
			endpoint_print(&address, where);
		add_listener(binding, service->name, service->role, service, where, fd);
	}
}

static void bind_service(struct binding *binding, const struct host_service *service)
{
	const struct settings_list *list =
		host_settings_list(binding->settings, service->role, service->item);
	struct endpoint endpoint;
	char error[300];

	for (size_t i = 0; i < list->count; i++) {
		if (endpoint_parse(text_of(list->item[i]), &endpoint, error, sizeof(error)) == 0) {
			bind_endpoint(binding, service, &endpoint);
		} else {
			binding->report(binding->owner, error);
			binding->failures++;
		}
	}
}

/* ---- unix sockets ---- */

/* What a host that was killed left behind; the lock says that nobody listens there now. */
static void remove_stale(const char *name)
{
	struct stat st;

	if (lstat(name, &st) == 0 && S_ISSOCK(st.st_mode))
		unlink(name);
}

/*
 * A listening socket in the working directory, or -1 with errno. It is nobody else's from its first
 * moment: opened up only after it was given to its owner.
 */
static int listen_unix(const char *name, mode_t mode, uid_t owner, gid_t group)
{
	struct sockaddr_un address = { .sun_family = AF_UNIX };
	const int fd = socket(AF_UNIX, SOCKET_TYPE, 0);

	if (fd < 0)
		return -1;
	if (strlen(name) >= sizeof(address.sun_path)) {
		close(fd);
		errno = ENAMETOOLONG;
		return -1;
	}
	memcpy(address.sun_path, name, strlen(name) + 1);
	remove_stale(name);
	const mode_t mask = umask(0177);
	int result = bind(fd, (const struct sockaddr *)&address, sizeof(address));
	umask(mask);
	if (result == 0 && geteuid() == 0)
		result = chown(name, owner, group);
	if (result == 0 && chmod(name, mode) == 0 && listen(fd, BACKLOG) == 0)
		return fd;
	const int number = errno;
	close(fd);
	errno = number;
	return -1;
}

static int bind_unix(struct binding *binding, const char *file, mode_t mode, uid_t owner)
{
	const int fd = listen_unix(file, mode, owner, (gid_t)owner);

	if (fd >= 0)
		return fd;
	char sentence[200];
	snprintf(sentence, sizeof(sentence), "socket %s in the run directory: %s", file,
		log_errno(errno));
	binding->report(binding->owner, sentence);
	binding->failures++;
	return -1;
}

static uid_t uid_of(const struct binding *binding, enum priv_role role)
{
	return (uid_t)(host_settings_common(binding->settings)->uid_base + role);
}

/* Who may connect is what makes the connection that peer's: only its user can. */
static void bind_store_socket(struct binding *binding, enum store_peer peer, const char *name)
{
	uid_t owner = 0;

	switch (peer) {
	case STORE_BY_SMTP_IN:
		owner = uid_of(binding, PRIV_SMTP_IN);
		break;
	case STORE_BY_MDA:
		owner = uid_of(binding, PRIV_MDA);
		break;
	case STORE_BY_POP3D:
		owner = uid_of(binding, PRIV_POP3D);
		break;
	case STORE_BY_IMAPD:
		owner = uid_of(binding, PRIV_IMAPD);
		break;
	case STORE_BY_ADMIN:
		owner = 0;
		break;
	}
	const int fd = bind_unix(binding, name, 0600, owner);
	if (fd >= 0)
		add_listener(binding, name, HOST_STORE, NULL, name, fd);
}

/* The same protocol again: what comes by these is known to be smtp-in, or the bridge. */
static void bind_trusted(struct binding *binding, const char *name, enum priv_role role)
{
	const int fd = bind_unix(binding, name, 0600, uid_of(binding, role));

	if (fd >= 0)
		add_listener(binding, name, HOST_MDA, NULL, name, fd);
}

static void bind_mda_sockets(struct binding *binding)
{
	const char *file = host_settings_string(binding->settings, HOST_MDA, "socket");
	const mode_t mode = host_settings_socket_mode(binding->settings);
	const int public = bind_unix(binding, file, mode, 0);

	if (public >= 0)
		add_listener(binding, "lmtp", HOST_MDA, NULL, file, public);
	bind_trusted(binding, "lmtp-smtp-in", PRIV_SMTP_IN);
	bind_trusted(binding, "lmtp-bridge", PRIV_BRIDGE);
}

/* ---- all of them ---- */

static int finish(struct binding *binding)
{
	if (binding->failures == 0)
		return 0;
	if (binding->taken)
		binding->report(binding->owner, binding->advice);
	listeners_free(binding->listeners);
	return -1;
}

int listeners_bind(struct listeners *listeners, const struct host_settings *settings,
	const char *advice, host_report *report, void *owner)
{
	struct binding binding = {
		.listeners = listeners,
		.settings = settings,
		.advice = advice,
		.report = report,
		.owner = owner,
	};

	*listeners = (struct listeners){ .admin = -1 };
	for (size_t i = 0; i < HOST_SERVICES; i++)
		bind_service(&binding, &host_services[i]);
#define BIND_(peer, bit, name) bind_store_socket(&binding, peer, name);
	STORE_SOCKETS(BIND_)
	bind_mda_sockets(&binding);
	listeners->admin = bind_unix(&binding, "admin", 0600, 0);
	return finish(&binding);
}

int listeners_bind_store_admin(struct listeners *listeners, const struct host_settings *settings,
	host_report *report, void *owner)
{
	struct binding binding = {
		.listeners = listeners,
		.settings = settings,
		.report = report,
		.owner = owner,
	};

	*listeners = (struct listeners){ .admin = -1 };
#define BIND_ADMIN_(peer, bit, name) \
	if (peer == STORE_BY_ADMIN) \
		bind_store_socket(&binding, peer, name);
	STORE_SOCKETS(BIND_ADMIN_)
	return finish(&binding);
}

void listeners_free(struct listeners *listeners)
{
	for (size_t i = 0; i < listeners->count; i++) {
		close(listeners->list[i].fd);
		if (!listeners->list[i].service)
			unlink(listeners->list[i].where);
		mem_free(listeners->list[i].where);
	}
	mem_free(listeners->list);
	if (listeners->admin >= 0) {
		close(listeners->admin);
		unlink("admin");
	}
	*listeners = (struct listeners){ .admin = -1 };
}

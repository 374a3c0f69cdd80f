#include <errno.h>
#include <event2/event.h>
#include <event2/event_struct.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sysexits.h>
#include <unistd.h>

#include "base/log.h"
#include "base/mem.h"
#include "base/sys.h"
#include "restante/banner.h"
#include "restante/command.h"
#include "restante/demo_settings.h"
#include "restante/supervisor.h"
#include "store/client.h"

enum {
	PEM_LIMIT = 1 << 16,
	CERTIFICATE_DAYS = 800, /* what clients take at most */
	RENEW_DAYS = 30,
	RETRY_MICROSECONDS = 200000,
};

struct demo {
	struct host host;
	struct demo_options options;
	int directory;
	struct store_client *desk; /* for making the users */
	struct event again;
	unsigned waiting; /* users whose answer is still to come */
	bool failed;      /* one of them must be tried again */
};

static int fail(const struct demo *demo, const char *what)
{
	fprintf(stderr, "restante: %s%s%s: %s\n", demo->options.directory, *what ? "/" : "", what,
		log_errno(errno));
	return EX_CANTCREAT;
}

/* ---- when everything runs: users, then the banner ---- */

static void show_banner(struct demo *demo)
{
	struct buf ports = { 0 }, banner = { 0 };
	char *program = host_program();

	banner_print_ports(&ports, &demo->host.listeners);
	if (sys_replace_file(
		    demo->directory, "ports", buf_text(&ports).ptr, buf_length(&ports), 0644) != 0)
		LOG_ERROR("ports-not-written", LOG_ERRNO(errno));
	banner_print(&banner, &demo->host.listeners, program ? program : "restante",
		demo->options.directory);
	fwrite(buf_text(&banner).ptr, 1, buf_length(&banner), stdout);
	fflush(stdout);
	buf_release(&ports);
	buf_release(&banner);
	mem_free(program);
}

static void try_again(struct demo *demo)
{
	const struct timeval pause = { .tv_usec = RETRY_MICROSECONDS };

	event_add(&demo->again, &pause);
}

static void on_user(void *owner, struct store_reply *reply)
{
	struct demo *demo = owner;

	if (reply->failure != STORE_OK && reply->failure != STORE_ALREADY_EXISTS) {
		LOG_WARNING("user-not-made", LOG_STRING("why", store_failure_name(reply->failure)));
		demo->failed = true;
	}
	if (--demo->waiting)
		return;
	store_client_free(&demo->desk);
	if (demo->failed)
		try_again(demo);
	else
		show_banner(demo);
}

static const struct store_client_handlers no_handlers = { 0 };

static void make_users(struct demo *demo)
{
	demo->failed = false;
	demo->waiting = DEMO_USERS;
	demo->desk = store_client_new(demo->host.loop, "store-admin", &no_handlers, demo);
	for (size_t i = 0; i < DEMO_USERS; i++) {
		char address[100];
		snprintf(address, sizeof(address), "%s@%s", demo_users[i], DEMO_DOMAIN);
		const struct store_user_add add = {
			.address = text_of(address),
			.password = TEXT(DEMO_PASSWORD),
		};
		store_client_user_add(demo->desk, &add, on_user, demo);
	}
}

static void on_again(evutil_socket_t fd, short what, void *argument)
{
	(void)fd, (void)what;
	make_users(argument);
}

static void on_host_ready(void *owner)
{
	make_users(owner);
}

/* ---- before anything runs: a directory with everything in it ---- */

static bool has_ipv6_loopback(void)
{
	const struct sockaddr_in6 address = {
		.sin6_family = AF_INET6,
		.sin6_addr = IN6ADDR_LOOPBACK_INIT,
	};
	const int fd = socket(AF_INET6, SOCK_STREAM | SOCK_CLOEXEC, 0);
	bool has = false;

	if (fd >= 0) {
		has = bind(fd, (const struct sockaddr *)&address, sizeof(address)) == 0;
		close(fd);
	}
	return has;
}

static bool has_good_certificate(const struct demo *demo)
{
	size_t chain_size = 0;
	char *chain = sys_read_file(demo->directory, "certificate.pem", PEM_LIMIT, &chain_size);
	const bool good = chain && faccessat(demo->directory, "key.pem", R_OK, 0) == 0 &&
			  certificate_is_valid((struct text){ chain, chain_size }, RENEW_DAYS);

	mem_free(chain);
	return good;
}

static int make_certificate(struct demo *demo)
{
	static const char *const names[] = { DEMO_HOSTNAME, "localhost", "127.0.0.1", "::1" };
	struct buf chain = { 0 }, key = { 0 };
	char error[200];
	int status = EX_OK;

	if (has_good_certificate(demo))
		return EX_OK;
	if (certificate_make(names, sizeof(names) / sizeof(names[0]), CERTIFICATE_DAYS, &chain,
		    &key, error, sizeof(error)) != 0) {
		host_complain(NULL, error);
		status = EX_SOFTWARE;
	} else if (sys_replace_file(demo->directory, "key.pem", buf_text(&key).ptr,
			   buf_length(&key), 0600) != 0) {
		status = fail(demo, "key.pem");
	} else if (sys_replace_file(demo->directory, "certificate.pem", buf_text(&chain).ptr,
			   buf_length(&chain), 0644) != 0) {
		status = fail(demo, "certificate.pem");
	}
	buf_wipe(&key);
	buf_release(&chain);
	return status;
}

static int write_settings(struct demo *demo)
{
	struct buf settings = { 0 };
	int status = EX_OK;

	demo->options.ipv6 = demo->options.port_base && has_ipv6_loopback();
	demo_settings_print(&settings, &demo->options);
	if (sys_replace_file(demo->directory, "restante.conf", buf_text(&settings).ptr,
		    buf_length(&settings), 0644) != 0)
		status = fail(demo, "restante.conf");
	buf_release(&settings);
	return status;
}

static int fill_directory(struct demo *demo)
{
	int status = host_enter_state(&demo->host, demo->options.directory);

	if (status != EX_OK)
		return status;
	/* From the last run; whoever waits for this one must not take them for its own. */
	if (unlinkat(demo->directory, "ports", 0) != 0 && errno != ENOENT)
		return fail(demo, "ports");
	status = make_certificate(demo);
	return status == EX_OK ? write_settings(demo) : status;
}

/* ---- the command ---- */

/* On the heap; NULL when there is no home. */
static char *default_directory(void)
{
	const char *base = getenv("XDG_STATE_HOME"), *below = "/restante-demo";

	if (geteuid() == 0)
		return mem_copy("/var/lib/restante/demo", 22);
	if (!base || base[0] != '/') {
		base = getenv("HOME");
		below = "/.local/state/restante-demo";
	}
	if (!base || base[0] != '/')
		return NULL;
	char *path = mem_new(strlen(base) + strlen(below) + 1);
	memcpy(path, base, strlen(base));
	memcpy(path + strlen(base), below, strlen(below));
	return path;
}

/* Made, and absolute without links; on the heap. NULL after having said why not. */
static char *open_directory(const struct command_line *line, const char *wanted)
{
	char *path = wanted ? mem_copy(wanted, strlen(wanted)) : default_directory();

	if (!path) {
		command_misused(line, "there is no home directory; give one with --dir");
		return NULL;
	}
	if (state_make_path(path, 0755) != 0) {
		fprintf(stderr, "restante: %s: %s\n", path, log_errno(errno));
		mem_free(path);
		return NULL;
	}
	char *absolute = host_absolute(path);
	mem_free(path);
	return absolute;
}

static int run(struct demo *demo, const struct option_list *overrides)
{
	static const char advice[] = "end what listens there (another demo?), or choose other "
				     "ports with --port-base N, or "
				     "make run DEMO='--port-base N'; 0 takes any that are free";
	const struct supervisor_hooks hooks = { .ready = on_host_ready, .owner = demo };
	const size_t size = strlen(demo->options.directory) + sizeof("/restante.conf");
	char *file = mem_new(size);

	snprintf(file, size, "%s/restante.conf", demo->options.directory);
	host_init(&demo->host, &(struct host_source){ file, overrides->item, overrides->count });
	evtimer_assign(&demo->again, demo->host.loop, on_again, demo);
	int status = fill_directory(demo);
	if (status == EX_OK)
		status = supervisor_run(&demo->host, advice, &hooks);
	event_del(&demo->again);
	store_client_free(&demo->desk);
	if (status == EX_OK)
		printf("\nEnded. The mail is kept in %s for the next time.\n",
			demo->options.directory);
	host_free(&demo->host);
	mem_free(file);
	return status;
}

static int read_port_base(const struct command_line *line, const char *string, unsigned *base)
{
	uint64_t number = DEMO_PORT_BASE;

	if (string && text_to_number(text_of(string), DEMO_PORT_BASE_MOST, &number) != 0)
		return command_misused(line, "--port-base %s is not a number up to %d", string,
			DEMO_PORT_BASE_MOST);
	*base = (unsigned)number;
	return 0;
}

int command_demo(const struct command_line *line)
{
	struct demo demo = { .directory = -1 };
	struct option_list overrides = { 0 }, rest;
	const char *directory = NULL, *port_base = NULL;
	const struct option options[] = {
		{ "--dir", OPTION_VALUE, &directory },
		{ "--port-base", OPTION_VALUE, &port_base },
		{ "--limits", OPTION_FLAG, &demo.options.limits },
		{ "-o", OPTION_LIST, &overrides },
	};
	int status = option_parse(line, options, 4, &rest);

	if (status == 0 && rest.count)
		status = command_misused(line, "demo does not take \"%s\"", rest.item[0]);
	if (status == 0)
		status = read_port_base(line, port_base, &demo.options.port_base);
	char *path = status == 0 ? open_directory(line, directory) : NULL;
	if (path) {
		demo.options.directory = path;
		demo.directory = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
		status = demo.directory < 0 ? fail(&demo, "") : run(&demo, &overrides);
		if (demo.directory >= 0)
			close(demo.directory);
	} else if (status == 0) {
		status = EX_CANTCREAT;
	}
	mem_free(path);
	mem_free(rest.item);
	mem_free(overrides.item);
	return status;
}

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/random.h>
#include <sys/resource.h>
#include <sysexits.h>
#include <unistd.h>

#include "base/log.h"
#include "base/mem.h"
#include "base/role.h"
#include "base/sys.h"
#include "store/directory.h"
#include "store/engine.h"
#include "store/server.h"
#include "store/settings.h"

enum { LAST_WORDS_MILLISECONDS = 500 };

struct worker {
	struct engine *engine;
	struct server *server; /* NULL while the engine opens */
};

static struct server_options options_of(const struct role_context *context)
{
	const struct store_settings *settings = context->settings;
	const struct settings_list *domains = &context->common->domains;

	return (struct server_options){
		.passwords = {
			.threads = (unsigned)settings->login_threads,
			.waiting = settings->login_waiting,
			.method = settings->password_method,
			.cost = settings->password_cost,
			.no_scram = !settings->password_scram,
		},
		.logins = {
			.remember = settings->login_remember,
			.delay = settings->login_delay,
			.failures = settings->login_failures,
			.window = settings->login_window,
			.limit_loopback = settings->login_limits_loopback,
			.domain = domains->count ? domains->item[0] : NULL,
		},
		.connections = settings->connections,
	};
}

static void configure_directory(struct engine *engine, const struct role_context *context)
{
	const struct store_settings *settings = context->settings;
	const struct settings_list *domains = &context->common->domains;
	const char *detail = settings->detail_mailbox;

	engine_directory_configure(engine,
		&(struct directory_options){
			.domains = (const char *const *)domains->item,
			.domain_count = domains->count,
			.separators = settings->separators,
			.postmaster = settings->postmaster,
			.detail = strcmp(detail, "create") == 0  ? DIRECTORY_DETAIL_CREATE
				  : strcmp(detail, "inbox") == 0 ? DIRECTORY_DETAIL_INBOX
								 : DIRECTORY_DETAIL_EXISTING,
		});
}

/* Each session takes a descriptor, and the engine some more. */
static int store_prepare(struct role_context *context)
{
	struct rlimit limit;

	(void)context;
	if (getrlimit(RLIMIT_NOFILE, &limit) != 0)
		return 0;
	limit.rlim_cur = limit.rlim_max;
	setrlimit(RLIMIT_NOFILE, &limit);
	return 0;
}

static void on_broken(void *owner)
{
	struct worker *worker = owner;

	if (worker->server)
		server_flush(worker->server, LAST_WORDS_MILLISECONDS);
	_exit(EX_IOERR);
}

static void on_directory(void *owner, uint64_t version)
{
	struct worker *worker = owner;

	(void)version;
	if (worker->server)
		server_directory_changed(worker->server);
}

/* The secret for the salts of users who are not there: made once, kept with the mail. */
static int read_sasl_key(unsigned char key[SASL_KEY_OCTETS])
{
	size_t size;
	char *octets = sys_read_file(AT_FDCWD, "sasl-key", SASL_KEY_OCTETS, &size);
	const bool found = octets && size == SASL_KEY_OCTETS;

	if (found)
		memcpy(key, octets, SASL_KEY_OCTETS);
	if (octets)
		mem_wipe(octets, size);
	mem_free(octets);
	if (found)
		return 0;
	if (getrandom(key, SASL_KEY_OCTETS, 0) == SASL_KEY_OCTETS &&
		sys_replace_file(AT_FDCWD, "sasl-key", key, SASL_KEY_OCTETS, S_IRUSR | S_IWUSR) ==
			0)
		return 0;
	LOG_ERROR("sasl-key", LOG_ERRNO(errno));
	return -1;
}

static struct worker *store_start(struct role_context *context)
{
	static struct worker worker;
	const struct store_settings *settings = context->settings;
	struct server_options options = options_of(context);

	worker.engine = engine_open(context->loop, ".",
		&(struct engine_options){
			.hostname = context->common->hostname,
			.quota_octets = settings->quota_octets,
			.quota_messages = settings->quota_messages,
			.message_octets = settings->message_octets,
			.cache_octets = settings->cache_octets,
			.checkpoint_octets = settings->checkpoint_octets,
			.checkpoint_seconds = (unsigned)settings->checkpoint_seconds,
			.once_days = (unsigned)settings->once_days,
			.broken = on_broken,
			.directory = on_directory,
			.owner = &worker,
		});
	if (!worker.engine)
		return NULL;
	configure_directory(worker.engine, context);
	if (read_sasl_key(options.sasl_key) != 0)
		return NULL;
	worker.server = server_new(context->loop, worker.engine, &options);
	return worker.server ? &worker : NULL;
}

static void store_accept(struct worker *worker, const char *listener, int fd)
{
	enum store_peer peer;

	if (server_peer(text_of(listener), &peer) == 0) {
		server_accept(worker->server, peer, fd);
		return;
	}
	LOG_ERROR("unknown-listener", LOG_STRING("listener", listener));
	close(fd);
}

static void store_reload(struct role_context *context)
{
	const struct server_options options = options_of(context);

	server_configure(context->state->server, &options);
	configure_directory(context->state->engine, context);
}

static void store_count(const struct worker *worker, struct buf *out)
{
	server_count(worker->server, out);
	engine_count(worker->engine, out);
}

/* The other roles end their sessions when their transfers are done; until then they need the store. */
static bool store_busy(const struct worker *worker)
{
	return server_sessions(worker->server) > 0 || engine_is_busy(worker->engine);
}

static void store_end(struct worker **worker)
{
	server_flush((*worker)->server, LAST_WORDS_MILLISECONDS);
	server_free(&(*worker)->server);
	engine_close(&(*worker)->engine);
}

static const struct role role = {
	.name = "store",
	.priv = PRIV_STORE,
	.section = &store_section,
	.prepare = store_prepare,
	.start = store_start,
	.accept = store_accept,
	.reload = store_reload,
	.count = store_count,
	.busy = store_busy,
	.end = store_end,
};

int main(int argc, char **argv)
{
	return role_main(argc, argv, &role);
}

/* mda: takes mail by LMTP and has the store keep it; with -d, delivers standard input. Wiring only. */
#include <string.h>

#include "base/digest.h"
#include "base/ipc.h"
#include "base/role.h"
#include "base/sys.h"
#include "mda/deliver_stdin.h"
#include "mda/settings.h"
#include "mda/worker.h"
#include "store/protocol.h"

static int connect_store(void *owner)
{
#define SOCKET_PATH_(name, bit, path) [name] = (path),
	static const char *const sockets[] = { STORE_SOCKETS(SOCKET_PATH_) };

	(void)owner;
	return ipc_connect(sockets[STORE_BY_MDA]);
}

static void set_full(void *owner, bool full)
{
	role_pause(owner, full);
}

static int prepare(struct role_context *context)
{
	(void)context;
	digest_prepare();
	return 0;
}

static struct worker *start(struct role_context *context)
{
	return worker_new(&(struct worker_options){
		.loop = context->loop,
		.common = context->common,
		.settings = context->settings,
		.connect = connect_store,
		.full = set_full,
		.owner = context,
	});
}

static void accept_client(struct worker *worker, const char *listener, int fd)
{
	worker_accept(worker, fd, strcmp(listener, "lmtp") != 0);
}

static void reload(struct role_context *context)
{
	worker_reload(context->state, context->common, context->settings);
}

static bool is_busy(const struct worker *worker)
{
	return worker->session_count > 0;
}

int main(int argc, char **argv)
{
	static const struct role role = {
		.name = "mda",
		.priv = PRIV_MDA,
		.section = &mda_section,
		.prepare = prepare,
		.start = start,
		.accept = accept_client,
		.reload = reload,
		.count = worker_count,
		.stop = worker_stop,
		.busy = is_busy,
		.end = worker_free,
	};

	sys_hold_standard();
	/* The supervisor gives none. */
	return argc > 1 ? deliver_stdin(argc, argv) : role_main(argc, argv, &role);
}

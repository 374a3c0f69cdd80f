/* pop3d: users pull their mail (RFC 1939). Arguments, privileges and wiring only; see session.c. */

#include <string.h>

#include "base/buf.h"
#include "base/role.h"
#include "pop3d/session.h"
#include "pop3d/settings.h"

static struct conn_limits limits_of(const struct pop3d_settings *settings)
{
	return (struct conn_limits){
		.input = 16 * 1024,
		.output_high = 256 * 1024,
		.output_low = 64 * 1024,
		.idle_seconds = (unsigned)settings->idle_seconds,
		.send_seconds = (unsigned)settings->send_seconds,
	};
}

static struct worker *pop3d_start(struct role_context *context)
{
	static struct worker worker;

	worker.context = context;
	worker.limits = limits_of(context->settings);
	LIST_INIT(&worker.sessions);
	return &worker;
}

static void pop3d_reload(struct role_context *context)
{
	const struct pop3d_settings *settings = context->settings;
	struct worker *worker = context->state;

	worker->limits = limits_of(settings);
	worker->paused = worker->session_count >= settings->clients;
	role_pause(context, worker->paused);
}

static void pop3d_accept(struct worker *worker, const char *listener, int fd)
{
	session_new(worker, fd, strcmp(listener, "pop3s") == 0);
}

static void pop3d_count(const struct worker *worker, struct buf *out)
{
	buf_format(out, "sessions-now=%u\n", worker->session_count);
	buf_format(out, "sessions=%llu\n", (unsigned long long)worker->total.sessions);
	buf_format(out, "logins=%llu\n", (unsigned long long)worker->total.logins);
	buf_format(out, "login-failures=%llu\n", (unsigned long long)worker->total.login_failures);
	buf_format(out, "retrieved=%llu\n", (unsigned long long)worker->total.retrieved);
	buf_format(out, "octets=%llu\n", (unsigned long long)worker->total.octets);
	buf_format(out, "deleted=%llu\n", (unsigned long long)worker->total.deleted);
	buf_format(out, "refused=%llu\n", (unsigned long long)worker->total.refused);
	buf_format(out, "errors=%llu\n", (unsigned long long)worker->total.errors);
}

static void pop3d_stop(struct worker *worker)
{
	struct session *next;

	worker->stopping = true;
	for (struct session *session = LIST_FIRST(&worker->sessions); session != NULL;
		session = next) {
		next = LIST_NEXT(session, link);
		session_stop(session);
	}
}

static bool pop3d_busy(const struct worker *worker)
{
	return worker->session_count > 0;
}

int main(int argc, char **argv)
{
	static const struct role role = {
		.name = "pop3d",
		.priv = PRIV_POP3D,
		.section = &pop3d_section,
		.start = pop3d_start,
		.accept = pop3d_accept,
		.reload = pop3d_reload,
		.count = pop3d_count,
		.stop = pop3d_stop,
		.busy = pop3d_busy,
	};

	return role_main(argc, argv, &role);
}

/*
 * smtp-in: receives mail by SMTP and hands it over by LMTP. Wiring only.
 */
#include "base/role.h"
#include "smtp-in/settings.h"
#include "smtp-in/worker.h"

static struct worker *worker;

/* Sockets other than unix ones are needed only for a server elsewhere. */
static unsigned priv_extra(struct role_context *context)
{
	const struct smtp_in_settings *settings = context->settings;
	struct smtp_in_hand_over to;

	if (smtp_in_hand_over_parse(text_of(settings->hand_over), &to) == 0 &&
		to.address.any.sa_family != AF_UNIX)
		return PRIV_TCP_CLIENT;
	return 0;
}

static int start(struct role_context *context)
{
	worker = worker_new(context);
	return worker ? 0 : -1;
}

static void accept_client(struct role_context *context, const char *listener, int fd)
{
	(void)context;
	worker_accept(worker, listener, fd);
}

static void reload(struct role_context *context)
{
	(void)context;
	worker_reload(worker);
}

static void count(struct role_context *context, struct buf *out)
{
	(void)context;
	worker_count(worker, out);
}

static void stop(struct role_context *context)
{
	(void)context;
	worker_stop(worker);
}

static bool busy(struct role_context *context)
{
	(void)context;
	return worker_is_busy(worker);
}

static void end(struct role_context *context)
{
	(void)context;
	worker_free(&worker);
}

int main(int argc, char **argv)
{
	return role_main(argc, argv,
		&(const struct role){
			.name = "smtp-in",
			.priv = PRIV_SMTP_IN,
			.section = &smtp_in_section,
			.priv_extra = priv_extra,
			.start = start,
			.accept = accept_client,
			.reload = reload,
			.count = count,
			.stop = stop,
			.busy = busy,
			.end = end,
		});
}

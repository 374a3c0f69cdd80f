/*
 * smtp-in: receives mail by SMTP and hands it over by LMTP. Wiring only.
 */
#include "base/role.h"
#include "smtp-in/settings.h"
#include "smtp-in/worker.h"

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

static void reload(struct role_context *context)
{
	worker_reload(context->state);
}

int main(int argc, char **argv)
{
	return role_main(argc, argv,
		&(const struct role){
			.name = "smtp-in",
			.priv = PRIV_SMTP_IN,
			.section = &smtp_in_section,
			.priv_extra = priv_extra,
			.start = worker_new,
			.accept = worker_accept,
			.reload = reload,
			.count = worker_count,
			.stop = worker_stop,
			.busy = worker_is_busy,
			.end = worker_free,
		});
}

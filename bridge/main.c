/* bridge: pulls mail from remote accounts and hands it to the delivery agent. Wiring only. */
#include <event2/event.h>
#include <string.h>
#include <unistd.h>

#include "base/log.h"
#include "base/mem.h"
#include "base/role.h"
#include "bridge/command.h"
#include "bridge/launcher.h"
#include "bridge/settings.h"
#include "bridge/worker.h"

static struct bridge_account *accounts;
static size_t account_count;
static int launcher = -1;

static int load_accounts(const struct bridge_settings *settings)
{
	char error[300];

	accounts = mem_array(settings->accounts.count, sizeof(*accounts));
	for (size_t i = 0; i < settings->accounts.count; i++) {
		if (bridge_account_load(text_of(settings->accounts.item[i]), &accounts[i], error,
			    sizeof(error)) != 0) {
			LOG_ERROR("account-refused", LOG_STRING("error", error));
			return -1;
		}
		account_count++;
	}
	return 0;
}

static int prepare(struct role_context *context)
{
	if (load_accounts(context->settings) != 0)
		return -1;
	launcher = launcher_start(&(struct launcher_options){
		.settings = context->settings,
		.accounts = accounts,
		.count = account_count,
		.hostname = context->common->hostname,
		.syslog = context->common->syslog,
		.uid = (uint32_t)context->common->uid_base + PRIV_BRIDGE,
	});
	return launcher < 0 ? -1 : 0;
}

/* The supervisor starts us again, and then all is as it should be. */
static void on_lost(void *owner)
{
	struct role_context *context = owner;

	LOG_WARNING("launcher-gone");
	event_base_loopbreak(context->loop);
}

static struct worker *start(struct role_context *context)
{
	return worker_new(&(struct worker_options){
		.loop = context->loop,
		.accounts = accounts,
		.count = account_count,
		.launcher = launcher,
		.lost = on_lost,
		.owner = context,
	});
}

static void refuse_client(struct worker *worker, const char *listener, int fd)
{
	(void)worker, (void)listener;
	close(fd);
}

/* The launcher knows the accounts it was born with: others need another one. */
static void reload(struct role_context *context)
{
	LOG_INFO("restarting", LOG_STRING("why", "the settings were read again"));
	event_base_loopbreak(context->loop);
}

static void end(struct worker **worker)
{
	worker_free(worker);
	close(launcher);
	while (account_count)
		bridge_account_free(&accounts[--account_count]);
	mem_free(accounts);
}

int main(int argc, char **argv)
{
	if (argc == 3 && (strcmp(argv[1], "pull") == 0 || strcmp(argv[1], "test") == 0))
		return command_bridge(argv[1], argv[2]);
	return role_main(argc, argv,
		&(const struct role){
			.name = "bridge",
			.priv = PRIV_BRIDGE,
			.section = &bridge_role_section,
			.prepare = prepare,
			.start = start,
			.accept = refuse_client,
			.reload = reload,
			.count = worker_count,
			.stop = worker_stop,
			.busy = worker_is_busy,
			.end = end,
		});
}

#include "smtp-in/store_link.h"

#include "base/role.h"
#include "smtp-in/worker.h"
#include "store/client.h"

/* Whatever was asked has been answered. The next who asks finds out whether it is back. */
static void on_ended(void *owner)
{
	struct worker *worker = owner;

	store_client_free(&worker->store);
	worker->store_links++;
}

static const struct store_client_handlers handlers = { .ended = on_ended };

struct store_client *store_link(struct worker *worker)
{
	if (!worker->store) {
		worker->store =
			store_client_new(worker->context->loop, "store-smtp-in", &handlers, worker);
		worker->store_links++;
	}
	return worker->store;
}

void store_link_forget(struct worker *worker, const void *owner)
{
	if (worker->store)
		store_client_forget(worker->store, owner);
}

void store_link_free(struct worker *worker)
{
	store_client_free(&worker->store);
}

/*
 * OWNS: who may send as whom. A user's own address, with a detail or without, and aliases that lead to that
 * user alone.
 */
#include "base/arena.h"
#include "mail/address.h"
#include "store/directory.h"
#include "store/server_private.h"

/* Their own address, whatever is done with its mail; and what leads to nobody else. */
static bool owns(struct engine *engine, struct text user, struct text address)
{
	return text_equal(user, address) || engine_address_owned(engine, user, address);
}

void command_owns(struct session *session, uint32_t tag, const struct store_owns *request)
{
	struct server *server = session->server;
	struct store_owns_reply reply = { .failure = STORE_REFUSED };
	struct address address;

	arena_empty(server->scratch);
	if (!engine_user_find(server->engine, request->user))
		reply.failure = STORE_NO_SUCH_USER;
	else if (address_parse(server->scratch, request->address, true, &address) == ADDRESS_OK &&
		 owns(server->engine, request->user, address_canonical(server->scratch, &address)))
		reply.failure = STORE_OK;
	session_reply_owns(session, tag, &reply, -1);
}

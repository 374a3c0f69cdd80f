/*
 * OWNS: who may send as whom. A user's own address, with a detail behind a plus or without.
 */
#include <string.h>

#include "base/arena.h"
#include "mail/address.h"
#include "store/server_private.h"

/* "alice+shop@example.org" is alice's, unless that is a user by itself. */
static bool is_detail_of(const struct engine *engine, struct text user, struct text address)
{
	const ptrdiff_t plus = text_find(address, '+'), at = text_find_last(address, '@');
	const ptrdiff_t own = text_find_last(user, '@');

	return plus > 0 && plus < at && plus == own && !engine_user_find(engine, address) &&
	       text_equal(text_head(address, (size_t)plus), text_head(user, (size_t)own)) &&
	       text_equal(text_from(address, (size_t)at), text_from(user, (size_t)own));
}

static bool owns(const struct engine *engine, struct text user, struct text address)
{
	return text_equal(user, address) || is_detail_of(engine, user, address);
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

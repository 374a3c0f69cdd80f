/*
 * LOOKUP, SPOOL and DELIVER. The body of a delivery is handed to the engine where it was received.
 */
#include <unistd.h>

#include "base/arena.h"
#include "base/id.h"
#include "base/mem.h"
#include "store/directory.h"
#include "store/server_private.h"

enum { SPOOLS_LIMIT = 256 }; /* of one connection */

void command_lookup(struct session *session, uint32_t tag, const struct store_lookup *request)
{
	struct server *server = session->server;
	struct buf run = { 0 };

	arena_empty(server->scratch);
	const struct engine_resolution found =
		engine_resolve(server->engine, server->scratch, request->address, request->size);
	for (size_t i = 0; i < found.count; i++)
		store_target_pack(&run, &(struct store_target){ .user = found.targets[i].user,
						.mailbox = found.targets[i].mailbox,
						.owner = found.targets[i].owner });
	session_reply_lookup(session, tag,
		&(struct store_lookup_reply){
			.failure = found.failure,
			.lasting = found.lasting,
			.user = found.user,
			.alias = found.alias,
			.targets = buf_text(&run),
		},
		-1);
	buf_release(&run);
}

void command_spool(struct session *session, uint32_t tag, const struct store_spool *request)
{
	struct store_spool_reply reply = { .failure = STORE_BUSY };
	int fd = -1;

	if (session->spool_count < SPOOLS_LIMIT)
		reply.failure = engine_spool(
			session->server->engine, request->size_hint, &fd, &reply.spool);
	if (reply.failure == STORE_OK)
		session_spool_add(session, reply.spool);
	session_reply_spool(session, tag, &reply, fd);
	if (fd >= 0)
		close(fd);
}

static void on_delivered(void *owner, const struct engine_result *result)
{
	struct request *request = owner;
	struct buf uids = { 0 };

	for (size_t i = 0; result->uids && i < result->verdicts.len; i++)
		message_add_u32(&uids, result->uids[i]);
	if (request->session)
		session_reply_deliver(request->session, request->tag,
			&(struct store_deliver_reply){
				.failure = result->failure,
				.user = result->user,
				.verdicts = result->verdicts,
				.uids = buf_text(&uids),
				.file = result->file,
			},
			-1);
	buf_release(&uids);
	request_end(request);
}

/* The run of recipients into the server's array. Their number, or -1 when it is malformed. */
static int read_recipients(struct server *server, struct text run)
{
	struct message_reader reader = { .at = run.ptr, .left = run.len };
	int count = 0;

	if (!server->recipients)
		server->recipients = mem_array(STORE_RECIPIENTS_LIMIT, sizeof(*server->recipients));
	for (; reader.left; count++) {
		struct store_recipient recipient;
		if (count == STORE_RECIPIENTS_LIMIT ||
			store_recipient_unpack_from(&reader, &recipient) != 0)
			return -1;
		server->recipients[count] = (struct engine_recipient){
			.user = recipient.user,
			.mailbox = recipient.mailbox,
			.flags = recipient.flags,
			.keywords = recipient.keywords,
			.once = recipient.once,
			.once_seconds = recipient.once_seconds,
			.group = recipient.group,
		};
	}
	return count;
}

static bool is_sensible(const struct server *server, const struct store_deliver *request, int count)
{
	struct id id;

	if (count == 0 || id_parse(request->id, &id) != 0 || (request->spool && request->body.len))
		return false;
	for (int i = 0; i < count; i++) {
		if (server->recipients[i].flags & ~(uint32_t)SESSION_FLAGS)
			return false;
	}
	return true;
}

void command_deliver(struct session *session, uint32_t tag, const struct store_deliver *request)
{
	struct server *server = session->server;
	const int count = read_recipients(server, request->recipients);

	if (count < 0) {
		session_end(session, "malformed recipients");
		return;
	}
	const bool has_spool = request->spool && session_spool_take(session, request->spool);
	if (!is_sensible(server, request, count) || (request->spool && !has_spool)) {
		if (has_spool)
			engine_spool_drop(server->engine, request->spool);
		session_reply_deliver(session, tag,
			&(struct store_deliver_reply){
				.failure = STORE_INVALID,
				.user = TEXT(""),
			},
			-1);
		return;
	}
	engine_deliver(server->engine,
		&(struct engine_delivery){
			.id = request->id,
			.once = request->once,
			.received = request->received,
			.spool = request->spool,
			.body = request->body,
			.recipients = server->recipients,
			.count = (size_t)count,
		},
		on_delivered, request_begin(session, tag, false));
}

static void on_once(void *owner, const struct engine_result *result)
{
	struct request *request = owner;

	if (request->session)
		session_reply_once(request->session, request->tag,
			&(struct store_once_reply){
				.failure = result->failure, .times = result->times },
			-1);
	request_end(request);
}

void command_once(struct session *session, uint32_t tag, const struct store_once *request)
{
	engine_once(session->server->engine, request->user, request->keys, on_once,
		request_begin(session, tag, false));
}

/*
 * BDAT (RFC 3030): the message in chunks whose length is said before.
 *
 * The octets of a chunk are read whatever becomes of it, or what a sender put into a message would be read
 * as commands. So a chunk that is refused is read to nowhere, and when its length cannot be made out, or
 * is beyond reason, the connection ends.
 */
#include "base/log.h"
#include "mda/session.h"

enum { IDLE_OCTETS = 16 }; /* a chunk of so few, and others to follow, moves no mail */

static const struct reply taken = { 250, { 2, 0, 0 }, TEXT("chunk taken, more to come") };

static void end_chunk(struct session *session)
{
	struct body *body = &session->mail->body;

	session->phase = SESSION_COMMANDS;
	if (session->chunk.last) {
		body_end(body);
		session_end_body(session);
	} else {
		session_set_timeout(session);
		session_reply(session, body->refusal.code ? &body->refusal : &taken);
	}
}

/* Read to nowhere. True: that was all of it. */
static bool skip_chunk(struct session *session)
{
	struct session_chunk *chunk = &session->chunk;
	const size_t length = conn_input(session->conn).len;
	const size_t used = length < chunk->left ? length : (size_t)chunk->left;

	conn_consume(session->conn, used);
	chunk->left -= used;
	if (chunk->left)
		return false;
	session->phase = SESSION_COMMANDS;
	session_set_timeout(session);
	session_fault(session, chunk->refusal);
	/* Amid the chunk it could not be told. */
	if (session->worker->stopping)
		session_stop(session);
	return true;
}

bool session_take_chunk(struct session *session)
{
	struct session_chunk *chunk = &session->chunk;
	struct text in = conn_input(session->conn);
	size_t used;

	if (chunk->refusal)
		return skip_chunk(session);
	if (in.len > chunk->left)
		in.len = (size_t)chunk->left;
	const enum body_result result = body_feed(&session->mail->body, in, &used);
	conn_consume(session->conn, used);
	chunk->left -= used;
	if (result == BODY_WAIT) {
		conn_hold(session->conn);
		return false;
	}
	if (chunk->left)
		return false;
	end_chunk(session);
	return true;
}

void session_begin_chunk(
	struct session *session, uint64_t octets, bool last, const struct reply *refusal)
{
	const uint64_t limit = session->worker->options.settings->message_size;

	if (octets > 2 * limit) {
		LOG_INFO("refused", LOG_STRING("peer", conn_peer(session->conn)),
			LOG_NUMBER("size", octets), LOG_NUMBER("code", 552),
			LOG_STRING("verdict", "chunk too large"));
		session->worker->counters.messages_refused++;
		session_end(session, &REPLY(552, 5, 3, 4, "chunk too large"));
		return;
	}
	if (octets < IDLE_OCTETS && !last && ++session->idle_commands > SESSION_IDLE_LIMIT) {
		session_end(session, &REPLY(421, 4, 7, 0, "too many commands and no mail"));
		return;
	}
	session->chunk = (struct session_chunk){ .left = octets, .last = last, .refusal = refusal };
	if (!refusal && !session->mail->chunked) {
		session->mail->chunked = true;
		session_prepare_body(session, true);
	}
	session->phase = SESSION_CHUNK;
	session_set_timeout(session);
}

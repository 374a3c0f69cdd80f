#include "smtp-in/bdat.h"

#include "base/conn.h"
#include "mail/command.h"
#include "smtp-in/message.h"
#include "smtp-in/session.h"
#include "smtp-in/transaction.h"

/* ---- the command ---- */

enum form { FORM_GOOD, FORM_BAD, FORM_NO_SIZE };

static enum form parse(struct text argument, struct bdat_chunk *chunk)
{
	const struct command parts = command_split(argument);
	const struct text last = parts.argument;

	*chunk = (struct bdat_chunk){ .last = text_equal_nocase(last, TEXT("LAST")) };
	if (parts.verb.len > 20 || text_to_number(parts.verb, UINT64_MAX, &chunk->size) != 0)
		return FORM_NO_SIZE;
	chunk->left = chunk->size;
	return chunk->last || last.len == 0 ? FORM_GOOD : FORM_BAD;
}

/* Twice the size that a message may have is read for the reply's sake, and no more. */
static bool is_endless(const struct session *session)
{
	return session->chunk.left / 2 > worker_settings(session->worker)->message_size;
}

/* The octets are thrown away as they come, then the reply is given. */
static void throw_away(struct session *session, struct reply reply)
{
	session->chunk.refusal = reply;
	session_begin_octets(session, SESSION_CHUNK);
	if (is_endless(session))
		session_close(session, reply);
}

/* Its size is read, or the session ends: what follows cannot be told from commands. */
static bool take_argument(struct session *session, struct text argument)
{
	switch (parse(argument, &session->chunk)) {
	case FORM_GOOD:
		return true;
	case FORM_BAD:
		throw_away(session, REPLY(501, 5, 5, 4, "Syntax: BDAT octets [LAST]"));
		return false;
	case FORM_NO_SIZE:
		session_close(session, REPLY(501, 5, 5, 4, "BDAT without a number of octets"));
		return false;
	}
	return false;
}

void bdat_refuse(struct session *session, struct text argument, struct reply reply)
{
	if (take_argument(session, argument))
		throw_away(session, reply);
}

/* It brings the message no nearer to its end, and costs its client nothing. */
static bool is_idle(const struct bdat_chunk *chunk)
{
	return chunk->size == 0 && !chunk->last;
}

static bool fits(const struct session *session)
{
	const uint64_t limit = worker_settings(session->worker)->message_size;
	const uint64_t size = session->transaction->data.size;

	return size <= limit && session->chunk.size <= limit - size;
}

static void take_chunk(struct session *session)
{
	struct transaction *transaction = session->transaction;

	if (transaction->verdict.code == 0 && !fits(session))
		message_refuse_size(transaction);
	if (transaction->chunked || transaction->verdict.code)
		session_begin_octets(session, SESSION_CHUNK);
	else
		message_start(transaction, LMTP_BODY_PLAIN);
	if (transaction->verdict.code && is_endless(session))
		message_break_off(transaction);
}

enum commands_result bdat_run(struct session *session, struct text argument)
{
	struct transaction *transaction = session->transaction;
	const enum form form = parse(argument, &session->chunk);

	/* A chunk that will be refused, or may end the session, has its reply behind those to RCPT. */
	if (transaction->awaited &&
		(form != FORM_GOOD || !fits(session) || is_idle(&session->chunk)))
		return COMMANDS_WAIT;
	if (!take_argument(session, argument))
		return COMMANDS_DONE;
	if (is_idle(&session->chunk) && !session_count_junk(session))
		return COMMANDS_DONE;
	if (transaction->recipients == 0) {
		throw_away(session, REPLY(503, 5, 5, 1, "RCPT first"));
	} else if (transaction->failed) {
		transaction->verdict = transaction_unavailable();
		take_chunk(session);
	} else if (transaction->awaited == 0 && transaction->accepted == 0) {
		transaction_free(&session->transaction);
		throw_away(session, REPLY(554, 5, 5, 1, "No valid recipients"));
	} else {
		take_chunk(session);
	}
	return COMMANDS_DONE;
}

/* ---- its octets ---- */

static void answer_chunk(struct session *session)
{
	struct buf text = { 0 };
	struct reply reply = REPLY(250, 2, 0, 0, "");

	session->state = SESSION_COMMANDS;
	buf_format(&text, "%llu octets", (unsigned long long)session->chunk.size);
	reply.text = buf_text(&text);
	session_reply(session, reply);
	buf_release(&text);
}

static void complete(struct session *session)
{
	if (session->chunk.refusal.code) {
		session->state = SESSION_COMMANDS;
		session_reply(session, session->chunk.refusal);
	} else if (session->transaction->verdict.code) {
		message_finish(session->transaction);
	} else if (session->state == SESSION_CHUNK) {
		answer_chunk(session);
	}
	if (session->state == SESSION_COMMANDS && session->worker->stopping)
		session_close(session, REPLY(421, 4, 3, 2, "Shutting down"));
}

/* Octets that are the transaction's; those taken. */
static size_t take_octets(struct session *session, struct text in)
{
	struct transaction *transaction = session->transaction;
	const bool last = session->chunk.last && in.len == session->chunk.left;

	if (transaction->verdict.code || transaction->ended)
		return in.len;
	return message_take_chunk(transaction, in, last);
}

bool bdat_read(struct session *session)
{
	struct bdat_chunk *chunk = &session->chunk;
	const bool taken = chunk->refusal.code == 0;
	struct text in = conn_input(session->conn);
	size_t used;

	if (in.len > chunk->left)
		in = text_head(in, (size_t)chunk->left);
	if ((in.len == 0 && chunk->left) || (taken && session->transaction->judging))
		return false;
	used = taken ? take_octets(session, in) : in.len;
	chunk->left -= used;
	conn_consume(session->conn, used);
	if (taken && session->transaction->judging)
		return false;
	if (chunk->left == 0)
		complete(session);
	else if (taken && session->transaction->verdict.code && is_endless(session))
		message_break_off(session->transaction);
	return true;
}

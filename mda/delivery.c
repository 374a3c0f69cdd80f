#include <time.h>

#include "base/arena.h"
#include "base/log.h"
#include "mail/trace.h"
#include "mda/resolve.h"
#include "mda/session.h"

enum { LOGGED_RECIPIENTS = 16 };

/* ---- the body ---- */

static void on_ready(void *owner)
{
	struct session *session = owner;

	conn_release(session->conn);
	conn_again(session->conn);
}

static void add_received(struct session *session, struct buf *out)
{
	const struct plan *plan = &session->mail->plan;
	const struct trace_received received = {
		.helo = text_of(session->client),
		.peer = text_of(conn_peer(session->conn)),
		.peer_ipv6 = conn_peer_is_ipv6(session->conn),
		.by = text_of(session->worker->options.common->hostname),
		.with = session->mail->utf8 ? TEXT("UTF8LMTP") : TEXT("LMTP"),
		.id = text_of(session->mail->id.string),
		.recipient = plan->recipients == 1 ? &plan->first->address : NULL,
		.when = time(NULL),
	};

	trace_add_received(out, &received, "\n");
}

/*
 * All recipients share one file, so Delivered-To, the mark that stops a loop at its own mailbox, is
 * there only when the message goes to one; with several the count of hops stops it.
 */
void session_begin_body(struct session *session)
{
	struct session_mail *mail = session->mail;
	const struct mda_settings *settings = session->worker->options.settings;
	const struct text only = plan_only_user(&mail->plan);
	const struct body_options options = {
		.link = session->worker->link,
		.limit = settings->message_size,
		.size_hint = mail->size,
		.has_received = session->trusted,
		.delivered_to = only.ptr ? only : TEXT(""),
		.hops = (unsigned)settings->hops,
		.shared = &session->worker->body_octets,
		.ready = on_ready,
		.owner = session,
	};
	struct buf *trace = body_begin(&mail->body, &options);

	trace_add_return_path(trace, &mail->sender, "\n");
	if (only.ptr)
		trace_add_delivered_to(trace, only, "\n");
	if (!session->trusted)
		add_received(session, trace);
	session->phase = SESSION_BODY;
	session_set_timeout(session);
	session_reply(
		session, &(struct reply){ .code = 354, .text = TEXT("end with <CRLF>.<CRLF>") });
}

/* ---- the verdict ---- */

static struct text join_recipients(const struct session_mail *mail)
{
	struct text all = TEXT("");
	size_t named = 0;

	for (const struct plan_recipient *at = mail->plan.first; at; at = at->next) {
		if (named++ == LOGGED_RECIPIENTS)
			return text_format(mail->arena, "%.*s,...", TEXT_ARG(all));
		const struct text address = address_print(mail->arena, &at->address);
		all = text_format(mail->arena, "%.*s%s%.*s", TEXT_ARG(all), all.len ? "," : "",
			TEXT_ARG(address));
	}
	return all;
}

static void log_verdict(const struct session *session, const struct commit_outcome *outcome)
{
	const struct session_mail *mail = session->mail;
	const struct reply *reply = &outcome->reply;
	const int64_t now = session_now();
	const char *event = reply->code < 300   ? "delivered"
			    : reply->code < 500 ? "deferred"
						: "refused";

	LOG_INFO(event, LOG_STRING("id", mail->id.string),
		LOG_TEXT("from", address_print(mail->arena, &mail->sender)),
		LOG_TEXT("to", join_recipients(mail)),
		LOG_NUMBER("recipients", mail->plan.recipients),
		LOG_NUMBER("size", mail->body.data.size), LOG_NUMBER("code", reply->code),
		LOG_TEXT("verdict", reply->text), LOG_TEXT("user", outcome->user),
		LOG_NUMBER("ms", now - mail->begun),
		LOG_NUMBER("store-ms", mail->handed_over ? now - mail->handed_over : 0));
}

static void count_verdict(struct session *session, const struct reply *reply)
{
	struct worker_counters *counters = &session->worker->counters;

	if (reply->code >= 500) {
		counters->messages_refused++;
	} else if (reply->code >= 400) {
		counters->messages_deferred++;
	} else {
		counters->messages++;
		counters->recipients += session->mail->plan.recipients;
		counters->octets += session->mail->body.data.size;
	}
}

/* RFC 2033 section 4.2: one reply for each recipient that was accepted, in their order. */
static void reply_to_all(struct session *session, const struct reply *verdict)
{
	const struct session_mail *mail = session->mail;
	struct reply reply = *verdict;

	if (reply.code < 300)
		reply.text = text_format(mail->arena, "%s stored", mail->id.string);
	for (size_t i = 0; i < mail->plan.recipients; i++)
		session_reply(session, &reply);
}

static void conclude(struct session *session, const struct commit_outcome *outcome)
{
	log_verdict(session, outcome);
	count_verdict(session, &outcome->reply);
	if (outcome->user.len)
		resolve_drop_user(session->worker->resolve, outcome->user);
	session->phase = SESSION_COMMANDS;
	if (!session->conn) {
		session_free(session);
		return;
	}
	reply_to_all(session, &outcome->reply);
	session_drop_mail(session);
	session->errors = session->idle_commands = 0;
	session_set_timeout(session);
	if (session->worker->stopping)
		session_stop(session);
}

static void on_committed(void *owner, const struct commit_outcome *outcome)
{
	struct session *session = owner;

	if (session->conn)
		conn_release(session->conn);
	conclude(session, outcome);
}

static void commit(struct session *session)
{
	struct session_mail *mail = session->mail;
	const struct commit_message message = {
		.id = mail->id,
		.once = TEXT(""),
		.received = time(NULL),
		.body = buf_text(&mail->body.text),
		.spool = mail->body.spool,
		.generation = mail->body.generation,
	};
	struct commit_outcome outcome;

	mail->commit = (struct commit){ .done = on_committed, .owner = session };
	mail->handed_over = session_now();
	bool started =
		commit_start(&mail->commit, session->worker->link, &mail->plan, &message, &outcome);
	body_hand_over(&mail->body);
	if (!started) {
		conclude(session, &outcome);
		return;
	}
	session->phase = SESSION_COMMIT;
	conn_hold(session->conn);
}

static void end_body(struct session *session)
{
	const struct reply *refusal = body_finish(&session->mail->body);

	if (refusal)
		conclude(session,
			&(struct commit_outcome){
				.failure = STORE_REFUSED, .reply = *refusal, .user = TEXT("") });
	else
		commit(session);
}

bool session_take_body(struct session *session)
{
	size_t used;
	enum body_result result = body_feed(&session->mail->body, conn_input(session->conn), &used);

	conn_consume(session->conn, used);
	switch (result) {
	case BODY_MORE:
		return false;
	case BODY_WAIT:
		conn_hold(session->conn);
		return false;
	case BODY_END:
		break;
	}
	end_body(session);
	return true;
}

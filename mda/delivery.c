#include <time.h>

#include "base/arena.h"
#include "base/log.h"
#include "mail/trace.h"
#include "mda/resolve.h"
#include "mda/session.h"

enum { LOGGED_LIMIT = 16 }; /* names in one line */

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
 * It was pulled from a remote account: it begins as it lay there, and that a mailbox of the same name
 * has had it before means nothing. Its once-key keeps it from going round.
 */
static bool is_pulled(const struct plan *plan)
{
	const struct plan_recipient *first = plan->first;
	const struct plan_keep *keep =
		first && first->first ? plan_action_keep(first->first) : NULL;

	return keep && keep->once.len;
}

/*
 * All recipients share one file, so Delivered-To, the mark that stops a loop at its own mailbox, is
 * there only when the message goes to one; with several the count of hops stops it.
 */
void session_prepare_body(struct session *session, bool chunked)
{
	struct session_mail *mail = session->mail;
	const struct mda_settings *settings = session->worker->options.settings;
	const struct text only = plan_only_user(&mail->plan);
	const struct address sender = plan_sender(&mail->plan, &mail->sender);
	const bool pulled = session->trusted && is_pulled(&mail->plan);
	const struct body_options options = {
		.link = session->worker->link,
		.limit = settings->message_size,
		.size_hint = mail->size,
		.chunked = chunked,
		.tell_duplicates = settings->duplicates > 0,
		.pulled = pulled,
		.has_received = session->trusted && !pulled,
		.delivered_to = only.ptr && !pulled ? only : TEXT(""),
		.hops = (unsigned)settings->hops,
		.shared = &session->worker->body_octets,
		.ready = on_ready,
		.owner = session,
	};
	struct buf *trace = body_begin(&mail->body, &options);

	trace_add_return_path(trace, &sender, "\n");
	if (only.ptr)
		trace_add_delivered_to(trace, only, "\n");
	if (!session->trusted)
		add_received(session, trace);
}

void session_begin_body(struct session *session)
{
	session_prepare_body(session, false);
	session->phase = SESSION_BODY;
	session_set_timeout(session);
	session_reply(
		session, &(struct reply){ .code = 354, .text = TEXT("end with <CRLF>.<CRLF>") });
}

/* ---- the verdict ---- */

static bool is_same(const struct reply *a, const struct reply *b)
{
	return a->code == b->code && text_equal(a->text, b->text);
}

/* The recipients with this verdict, as text for the log; the number of them. */
static size_t join_recipients(
	const struct session_mail *mail, const struct reply *verdict, struct buf *out)
{
	size_t named = 0;

	for (const struct plan_recipient *at = mail->plan.first; at; at = at->next) {
		if (!is_same(&at->verdict, verdict))
			continue;
		if (++named > LOGGED_LIMIT)
			continue;
		if (named > 1)
			buf_add_char(out, ',');
		address_add(out, &at->address);
	}
	if (named > LOGGED_LIMIT)
		buf_add_string(out, ",...");
	return named;
}

/* The aliases by which these recipients were found. */
static void join_aliases(
	const struct session_mail *mail, const struct reply *verdict, struct buf *out)
{
	size_t named = 0;

	for (const struct plan_recipient *at = mail->plan.first; at; at = at->next) {
		if (!is_same(&at->verdict, verdict) || at->alias.len == 0 || ++named > LOGGED_LIMIT)
			continue;
		if (named > 1)
			buf_add_char(out, ',');
		buf_add(out, at->alias);
	}
}

/* "user/mailbox:uid", for what was stored, or was there before. */
static void join_targets(const struct commit *commit, enum store_failure fate, struct buf *out)
{
	size_t named = 0;

	for (size_t i = 0; i < commit->count; i++) {
		const struct plan_target *target = &commit->targets[i];
		if (target->failure != fate || ++named > LOGGED_LIMIT)
			continue;
		buf_format(out, "%s%.*s/%.*s", named > 1 ? "," : "", TEXT_ARG(target->keep->user),
			TEXT_ARG(target->keep->mailbox));
		if (target->uid)
			buf_format(out, ":%u", target->uid);
	}
	if (named > LOGGED_LIMIT)
		buf_add_string(out, ",...");
}

/* The address that the only recipient had before others altered it. */
static struct text original(const struct session_mail *mail)
{
	return mail->plan.recipients == 1 ? mail->plan.first->dsn.original : TEXT("");
}

/* One line for the recipients who share a verdict. */
static void log_verdict(
	const struct session *session, const struct reply *verdict, struct text file)
{
	const struct session_mail *mail = session->mail;
	const int64_t now = session_now();
	const bool good = verdict->code < 300;
	const char *event = good ? "delivered" : verdict->code < 500 ? "deferred" : "refused";
	struct buf to = { 0 }, aliases = { 0 }, stored = { 0 }, before = { 0 };
	const size_t recipients = join_recipients(mail, verdict, &to);

	join_aliases(mail, verdict, &aliases);
	if (good) {
		join_targets(&mail->commit, STORE_OK, &stored);
		join_targets(&mail->commit, STORE_ALREADY_EXISTS, &before);
	}
	LOG_INFO(event, LOG_STRING("id", mail->id.string),
		LOG_STRING("peer", session->conn ? conn_peer(session->conn) : "gone"),
		LOG_TEXT("from", address_print(mail->arena, &mail->sender)),
		LOG_TEXT("to", buf_text(&to)), LOG_OPTIONAL("alias", buf_text(&aliases)),
		LOG_OPTIONAL("orcpt", original(mail)), LOG_OPTIONAL("envid", mail->dsn.envelope_id),
		LOG_NUMBER("recipients", recipients), LOG_NUMBER("size", mail->body.data.size),
		LOG_NUMBER("code", verdict->code), LOG_TEXT("verdict", verdict->text),
		LOG_OPTIONAL("stored", buf_text(&stored)),
		LOG_OPTIONAL("before", buf_text(&before)),
		LOG_OPTIONAL("file", good ? file : TEXT("")), LOG_NUMBER("ms", now - mail->begun),
		LOG_NUMBER("store-ms", mail->handed_over ? now - mail->handed_over : 0));
	buf_release(&to);
	buf_release(&aliases);
	buf_release(&stored);
	buf_release(&before);
}

/* One line for each verdict that differs from those before it; they are few. */
static void log_verdicts(const struct session *session, struct text file)
{
	const struct plan *plan = &session->mail->plan;

	for (const struct plan_recipient *at = plan->first; at; at = at->next) {
		const struct plan_recipient *earlier = plan->first;
		while (earlier != at && !is_same(&earlier->verdict, &at->verdict))
			earlier = earlier->next;
		if (earlier == at)
			log_verdict(session, &at->verdict, file);
	}
}

static void count_verdicts(struct session *session)
{
	struct worker_counters *counters = &session->worker->counters;
	const struct session_mail *mail = session->mail;
	size_t good = 0;
	unsigned worst = 0;

	for (const struct plan_recipient *at = mail->plan.first; at; at = at->next) {
		good += at->verdict.code < 300;
		worst = at->verdict.code > worst ? at->verdict.code : worst;
	}
	if (good) {
		counters->messages++;
		counters->recipients += good;
		counters->octets += mail->body.data.size;
	} else if (worst >= 500) {
		counters->messages_refused++;
	} else {
		counters->messages_deferred++;
	}
}

/* RFC 2033 section 4.2: one reply for each recipient that was accepted, in their order. */
static void reply_to_all(struct session *session)
{
	const struct session_mail *mail = session->mail;

	for (const struct plan_recipient *at = mail->plan.first; at; at = at->next) {
		struct reply reply = at->verdict;
		if (reply.code < 300)
			reply.text = text_format(
				mail->arena, "%s %.*s", mail->id.string, TEXT_ARG(reply.text));
		session_reply(session, &reply);
	}
}

/* Whoever was in the way: what is remembered of him no longer holds. */
static void drop_culprits(struct session *session)
{
	const struct commit *commit = &session->mail->commit;

	for (size_t i = 0; i < commit->count; i++) {
		if (commit->targets[i].culprit)
			resolve_drop_user(session->worker->resolve, commit->targets[i].keep->user);
	}
}

static void conclude(struct session *session, struct text file)
{
	log_verdicts(session, file);
	count_verdicts(session);
	drop_culprits(session);
	session->phase = SESSION_COMMANDS;
	if (!session->conn) {
		session_free(session);
		return;
	}
	reply_to_all(session);
	session_drop_mail(session);
	session->errors = session->idle_commands = 0;
	session_set_timeout(session);
	if (session->worker->stopping)
		session_stop(session);
}

static void on_committed(void *owner, struct text file)
{
	struct session *session = owner;

	if (session->conn)
		conn_release(session->conn);
	conclude(session, file);
}

static void commit(struct session *session)
{
	struct session_mail *mail = session->mail;
	const struct commit_message message = {
		.id = mail->id,
		.received = mail->date ? mail->date : time(NULL),
		.body = buf_text(&mail->body.text),
		.spool = mail->body.spool,
		.generation = mail->body.generation,
	};

	mail->commit =
		(struct commit){ .done = on_committed, .owner = session, .each = mail->each };
	if (mail->body.same[0])
		plan_keep_once(&mail->plan, text_of(mail->body.same),
			(uint32_t)session->worker->options.settings->duplicates);
	mail->handed_over = session_now();
	bool started = commit_start(&mail->commit, session->worker->link, &mail->plan, &message);
	body_hand_over(&mail->body);
	if (!started) {
		conclude(session, TEXT(""));
		return;
	}
	session->phase = SESSION_COMMIT;
	conn_hold(session->conn);
}

void session_end_body(struct session *session)
{
	struct session_mail *mail = session->mail;
	const struct reply *refusal = body_finish(&mail->body);

	if (!refusal) {
		commit(session);
		return;
	}
	for (struct plan_recipient *at = mail->plan.first; at; at = at->next)
		at->verdict = *refusal;
	conclude(session, TEXT(""));
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
	session_end_body(session);
	return true;
}

#include "smtp-in/message.h"

#include <time.h>

#include "base/arena.h"
#include "base/conn.h"
#include "base/log.h"
#include "mail/trace.h"
#include "smtp-in/auth.h"
#include "smtp-in/sender.h"
#include "smtp-in/session.h"
#include "smtp-in/submission.h"
#include "smtp-in/transaction.h"

enum {
	HEADER_LIMIT = 256 * 1024
}; /* octets of a submission's header, which is kept until it is over */

/* ---- the verdict ---- */

static void count_verdict(struct transaction *transaction)
{
	struct session *session = transaction->session;
	struct worker *worker = session->worker;

	if (transaction->verdict.code / 100 == 2) {
		worker->total.messages++;
		worker->total.octets += transaction->data.size;
		session->errors = session->junk = 0;
	} else {
		worker->total.refused_messages++;
	}
}

static void tell_each(const struct transaction *transaction)
{
	struct session *session = transaction->session;

	session_reply(session, REPLY(353, 0, 0, 0, "What each recipient has to say, then the end"));
	for (size_t i = 0; i < transaction->verdicts; i++)
		session_reply_part(session, &transaction->each[i]);
}

void message_finish(struct transaction *transaction)
{
	struct session *session = transaction->session;

	transaction_log(transaction, "message", &transaction->verdict);
	count_verdict(transaction);
	if (transaction->each && transaction->verdicts == transaction->accepted)
		tell_each(transaction);
	session_reply(session, transaction->verdict);
	transaction_end(session);
}

static struct reply accepted(struct transaction *transaction)
{
	struct reply reply = REPLY(250, 2, 0, 0, "");

	reply.text = text_format(transaction->arena, "Accepted as %s", transaction->id.string);
	return reply;
}

/*
 * Without PRDR there is one reply for all, and a client cannot be told that some have the message and
 * others have not: it has to try again for all. With it, the last reply is for the message as such.
 */
static struct reply joined(
	struct transaction *transaction, struct reply before, const struct reply *one)
{
	const bool good = one->code / 100 == 2;

	if (before.code == 0 && !good)
		return *one;
	if (before.code == 0 || before.code / 100 == one->code / 100)
		return before.code ? before : accepted(transaction);
	if (transaction->each && (good || before.code / 100 == 2))
		return accepted(transaction);
	return transaction_unavailable();
}

/* Past those that had theirs before the message. */
static void pass_lapsed(struct transaction *transaction)
{
	while (transaction->each && transaction->verdicts < transaction->accepted &&
		transaction->each[transaction->verdicts].code)
		transaction->verdicts++;
}

static void take_verdict(struct transaction *transaction, const struct reply *reply)
{
	struct reply one = transaction_pass_reply(reply);

	one.text = text_copy(transaction->arena, reply->text);
	transaction->verdict = joined(transaction, transaction->verdict, &one);
	if (transaction->each)
		transaction->each[transaction->verdicts] = one;
	transaction->verdicts++;
	transaction->delivered += one.code / 100 == 2;
	pass_lapsed(transaction);
	if (transaction->verdicts < transaction->accepted)
		return;
	if (!transaction->each && transaction->delivered &&
		transaction->delivered < transaction->verdicts)
		LOG_WARNING("mixed-verdicts", LOG_TEXT("id", transaction_id(transaction)),
			LOG_NUMBER("recipients", transaction->verdicts),
			LOG_NUMBER("delivered", transaction->delivered));
	message_finish(transaction);
}

void message_on_delivered(void *owner, const struct reply *reply)
{
	take_verdict(owner, reply);
}

/* ---- what is wrong with it ---- */

/* Nothing more is passed on; the rest is still read, so that the reply meets the right command. */
static void refuse(struct transaction *transaction, struct reply verdict)
{
	const uint64_t limit = worker_settings(transaction->session->worker)->message_size;
	const uint64_t size = transaction->data.size;

	transaction->verdict = verdict;
	transaction->refused_at = size < limit ? size : limit;
	transaction->invited = false;
	lmtp_end(&transaction->lmtp);
}

void message_refuse_size(struct transaction *transaction)
{
	const uint64_t limit = worker_settings(transaction->session->worker)->message_size;
	struct reply reply = REPLY(552, 5, 3, 4, "");

	reply.text = text_format(
		transaction->arena, "Message over %llu octets", (unsigned long long)limit);
	refuse(transaction, reply);
}

static void judge(struct transaction *transaction)
{
	const uint64_t limit = worker_settings(transaction->session->worker)->message_size;
	const struct wire_data *data = &transaction->data;
	struct reply reply;

	if (data->fault != WIRE_OK) {
		reply = REPLY(550, 5, 6, 0, "");
		reply.text = text_format(
			transaction->arena, "Message refused: %s", wire_fault_text(data->fault));
		refuse(transaction, reply);
	} else if (data->size > limit) {
		message_refuse_size(transaction);
	}
}

/* A sender that does not come to an end after it was refused is given up. */
static bool is_endless(const struct transaction *transaction)
{
	const uint64_t limit = worker_settings(transaction->session->worker)->message_size;

	return transaction->verdict.code &&
	       transaction->data.size - transaction->refused_at > limit;
}

void message_break_off(struct transaction *transaction)
{
	struct session *session = transaction->session;
	const struct reply verdict = transaction->verdict;

	transaction_log(transaction, "message", &verdict);
	session->worker->total.refused_messages++;
	session_reply(session, verdict);
	session_close(session, REPLY(421, 4, 7, 0, "The message was refused and goes on"));
}

/* ---- its beginning ---- */

static void take_chunks(struct session *session)
{
	session_begin_octets(session, SESSION_CHUNK);
	session_resume(session);
	/* The chunk may be here already, or have no octets at all. */
	conn_again(session->conn);
}

/* There will be no message. What comes by BDAT all the same is thrown away first. */
static void turn_down(struct transaction *transaction, struct reply reply)
{
	struct session *session = transaction->session;

	if (transaction->chunked) {
		reply.text = text_copy(transaction->arena, reply.text);
		refuse(transaction, reply);
		take_chunks(session);
	} else {
		if (transaction->accepted) {
			session->worker->total.refused_messages++;
			transaction_log(transaction, "message", &reply);
		}
		session_reply(session, reply);
		transaction_end(session);
	}
}

static void begin(struct transaction *transaction)
{
	transaction->begun = true;
	transaction->octets_since = worker_milliseconds();
}

static void invite(struct transaction *transaction)
{
	struct session *session = transaction->session;

	begin(transaction);
	session_begin_octets(session, SESSION_MESSAGE);
	session_reply(session, REPLY(354, 0, 0, 0, "Send the message, end with <CRLF>.<CRLF>"));
	session_resume(session);
}

void message_start(struct transaction *transaction, enum lmtp_body body)
{
	transaction->session->state = SESSION_ASKING;
	transaction->chunked = body == LMTP_BODY_PLAIN;
	transaction->data.plain = transaction->chunked;
	if (!transaction_take_up(transaction)) {
		turn_down(transaction, transaction_unavailable());
		return;
	}
	lmtp_start_message(transaction->lmtp, body);
	transaction->invited =
		!transaction->chunked && transaction->awaited == 0 && transaction->lapsed == 0;
	if (transaction->invited)
		invite(transaction);
}

/* For those that have not lapsed, if they are told apart. */
static bool may_go_on(const struct transaction *transaction)
{
	return transaction->lapsed == 0 ||
	       (transaction->prdr && transaction->lapsed < transaction->accepted);
}

void message_on_data(void *owner, const struct reply *reply)
{
	struct transaction *transaction = owner;
	struct session *session = transaction->session;

	if (transaction->invited) {
		transaction->invited = false;
		if (reply->code == 354)
			session_resume(session);
		else
			message_on_refused(transaction, reply);
	} else if (transaction->accepted == 0) {
		turn_down(transaction, REPLY(554, 5, 5, 1, "No valid recipients"));
	} else if (!may_go_on(transaction)) {
		turn_down(transaction, transaction_lapse(transaction));
	} else if (reply->code != 354) {
		turn_down(transaction, transaction_pass_reply(reply));
	} else if (transaction->chunked) {
		begin(transaction);
		take_chunks(session);
	} else {
		invite(transaction);
	}
}

/* ---- its octets ---- */

/* In the scratch buffer. */
static struct text trace_field(struct transaction *transaction)
{
	const struct session *session = transaction->session;
	struct buf *out = &session->worker->scratch;

	buf_clear(out);
	trace_add_received(out,
		&(struct trace_received){
			.helo = session->helo,
			.peer = text_of(conn_peer(session->conn)),
			.peer_ipv6 = conn_peer_is_ipv6(session->conn),
			.by = worker_hostname(session->worker),
			.with = trace_protocol((struct trace_with){
				.esmtp = session->esmtp,
				.utf8 = transaction->envelope.utf8,
				.tls = conn_is_secure(session->conn),
				.authenticated = auth_user(session).ptr != NULL,
			}),
			.tls_version = conn_tls_version(session->conn),
			.tls_cipher = conn_tls_cipher(session->conn),
			.id = transaction_id(transaction),
			.recipient = transaction->accepted == 1 ? transaction->only : NULL,
			.when = time(NULL),
		},
		"\r\n");
	return buf_text(out);
}

/* BDAT may leave off the last line's; the header of a submission never does. */
static bool lacks_line_end(struct transaction *transaction, struct text last)
{
	return last.len ? last.ptr[last.len - 1] != '\n' : !wire_data_end(&transaction->data);
}

static void pass_on(struct transaction *transaction, struct text octets, bool last)
{
	struct text pieces[3] = { TEXT(""), octets, TEXT("") };

	if (!transaction->lmtp)
		return;
	/* Not before there is something to go with it: the server would wake up for little. */
	if (!transaction->traced)
		pieces[0] = trace_field(transaction);
	transaction->traced = true;
	if (last && transaction->chunked && lacks_line_end(transaction, octets))
		pieces[2] = TEXT("\r\n");
	lmtp_add_message(transaction->lmtp, pieces, 3, last);
}

void message_refuse(struct transaction *transaction, struct reply verdict)
{
	if (transaction->verdict.code == 0)
		refuse(transaction, verdict);
}

/* ---- submissions: the header is filtered, and judged when it is over ---- */

static void begin_submission(struct transaction *transaction)
{
	const struct text sender = transaction->envelope.sender,
			  user = auth_user(transaction->session);

	transaction->submission = submission_new(&(struct submission_options){
		.dot_ends = !transaction->chunked,
		.sender = text_copy(transaction->arena, sender.len ? sender : user),
		.id = transaction_id(transaction),
		/* A reload amid the header would take it away. */
		.host = text_copy(
			transaction->arena, worker_hostname(transaction->session->worker)),
		.when = time(NULL),
	});
}

static bool in_header(const struct transaction *transaction)
{
	return transaction->session->listener->submission && transaction->verdict.code == 0 &&
	       (!transaction->submission || !submission_is_over(transaction->submission));
}

/* The octets of the header, or of its part that has come. */
static struct text filter(struct transaction *transaction, struct text in)
{
	if (!transaction->submission)
		begin_submission(transaction);
	return text_head(in, submission_take(transaction->submission, in, &transaction->header));
}

static void pass_on_header(struct transaction *transaction)
{
	if (buf_length(&transaction->header))
		pass_on(transaction, buf_text(&transaction->header), transaction->ended);
	buf_release(&transaction->header);
}

/* The header stays here until it is over: then its authors are known. */
static void judge_header(struct transaction *transaction)
{
	if (buf_length(&transaction->header) > HEADER_LIMIT)
		message_refuse(transaction,
			REPLY(552, 5, 3, 4, "The header is too long; 256 KiB is the most"));
	if (!submission_is_over(transaction->submission) || transaction->verdict.code)
		return;
	sender_judge_authors(transaction);
	if (!transaction->judging)
		pass_on_header(transaction);
}

/* ---- what comes ---- */

/* PRDR is for several recipients (draft-hall-prdr-00 section 4.4). */
static void await_verdicts(struct transaction *transaction)
{
	transaction->session->state = SESSION_VERDICT;
	if (!transaction->prdr || transaction->accepted < 2)
		return;
	transaction->each =
		arena_take(transaction->arena, transaction->accepted * sizeof(*transaction->each));
	transaction_list_lapses(transaction, transaction->each);
	pass_lapsed(transaction);
}

/* What follows from the octets that were read last. */
static void conclude(struct transaction *transaction)
{
	if (transaction->ended && transaction->lmtp)
		await_verdicts(transaction);
	else if (transaction->chunked)
		return;
	else if (transaction->ended)
		message_finish(transaction);
	else if (is_endless(transaction))
		message_break_off(transaction);
}

void message_go_on(struct transaction *transaction)
{
	struct session *session = transaction->session;
	const bool chunked = transaction->chunked;

	pass_on_header(transaction);
	conclude(transaction);
	session_resume(session);
	/* Nothing need be left of the chunk. */
	if (chunked)
		conn_again(session->conn);
}

bool message_read(struct transaction *transaction)
{
	struct session *session = transaction->session;
	struct text in = conn_input(session->conn);
	const bool header = in_header(transaction);
	size_t used;

	if (in.len == 0 || transaction->judging || transaction->invited)
		return false;
	if (header)
		in = filter(transaction, in);
	transaction->ended = wire_data_scan(&transaction->data, in, &used) == 1;
	if (transaction->verdict.code == 0)
		judge(transaction);
	if (header)
		judge_header(transaction);
	else
		pass_on(transaction, text_head(in, used), transaction->ended);
	conn_consume(session->conn, used);
	if (!transaction->judging)
		conclude(transaction);
	return true;
}

size_t message_take_chunk(struct transaction *transaction, struct text octets, bool last)
{
	const bool header = in_header(transaction);
	const struct text in = header ? filter(transaction, octets) : octets;
	size_t used;

	transaction->ended = last && in.len == octets.len;
	wire_data_scan(&transaction->data, in, &used);
	if (transaction->ended) {
		wire_data_end(&transaction->data);
		if (header)
			submission_finish(transaction->submission, &transaction->header);
	}
	if (transaction->verdict.code == 0)
		judge(transaction);
	if (header)
		judge_header(transaction);
	else
		pass_on(transaction, in, transaction->ended);
	if (!transaction->judging)
		conclude(transaction);
	return in.len;
}

bool message_is_full(const struct transaction *transaction)
{
	return transaction && (transaction->judging || transaction->invited ||
				      (transaction->lmtp && lmtp_is_full(transaction->lmtp)));
}

/* ---- the LMTP server says no, or is away ---- */

void message_on_refused(void *owner, const struct reply *reply)
{
	struct transaction *transaction = owner;
	struct reply passed = transaction_pass_reply(reply);

	passed.text = text_copy(transaction->arena, reply->text);
	refuse(transaction, passed);
	if (transaction->session->state == SESSION_VERDICT)
		message_finish(transaction);
	else
		session_resume(transaction->session);
}

static size_t count_unjudged(const struct transaction *transaction)
{
	size_t count = transaction->accepted - transaction->verdicts;

	for (size_t i = transaction->verdicts; transaction->each && i < transaction->accepted; i++)
		count -= transaction->each[i].code != 0;
	return count;
}

void message_fail(struct transaction *transaction)
{
	struct session *session = transaction->session;
	const struct reply away = transaction_unavailable();

	switch (session->state) {
	case SESSION_ASKING:
		turn_down(transaction, away);
		break;
	case SESSION_MESSAGE:
	case SESSION_CHUNK:
		refuse(transaction, away);
		session_resume(session);
		break;
	case SESSION_VERDICT:
		for (size_t left = count_unjudged(transaction); left; left--)
			take_verdict(transaction, &away);
		break;
	case SESSION_PROXY:
	case SESSION_GREETING:
	case SESSION_COMMANDS:
	case SESSION_AUTHENTICATING:
	case SESSION_ANSWER:
	case SESSION_SENDER:
	case SESSION_SECURING:
	case SESSION_CLOSING:
		session_resume(session);
		break;
	}
}

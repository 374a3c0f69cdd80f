#include "smtp-in/transaction.h"

#include <time.h>

#include "base/arena.h"
#include "base/conn.h"
#include "base/log.h"
#include "base/mem.h"
#include "mail/trace.h"
#include "smtp-in/auth.h"
#include "smtp-in/sender.h"
#include "smtp-in/session.h"
#include "smtp-in/submission.h"

enum {
	ARENA_BLOCK = 2048,
	SPARES_LIMIT = 256, /* transactions kept for the next messages */
	HEADER_LIMIT =
		256 * 1024, /* octets of a submission's header, which is kept until it is over */
};

struct transaction_recipient {
	struct lmtp_recipient base; /* first: the LMTP client's list is ours, too */
	struct address address;
};

static const struct lmtp_handlers lmtp_handlers;

static struct reply unavailable(void)
{
	return REPLY(451, 4, 3, 0, "Mail cannot be taken just now, try again later");
}

static struct text id_text(const struct transaction *transaction)
{
	return (struct text){ .ptr = transaction->id.string, .len = ID_LENGTH };
}

/* ---- making and freeing ---- */

struct transaction *transaction_new(struct session *session)
{
	struct worker *worker = session->worker;
	struct transaction *transaction = worker->spare;
	struct arena *arena;

	if (transaction) {
		worker->spare = transaction->next_spare;
		worker->spares--;
		arena = transaction->arena;
	} else {
		transaction = mem_new(sizeof(*transaction));
		arena = arena_new(ARENA_BLOCK);
	}
	*transaction = (struct transaction){ .session = session,
		.arena = arena,
		.id = id_new(),
		.begun_ms = worker_milliseconds() };
	return transaction;
}

void transaction_free(struct transaction **at)
{
	struct transaction *transaction = *at;

	*at = NULL;
	if (!transaction)
		return;
	struct worker *worker = transaction->session->worker;
	lmtp_end(&transaction->lmtp);
	submission_free(&transaction->submission);
	buf_release(&transaction->header);
	arena_empty(transaction->arena);
	if (worker->spares < SPARES_LIMIT && !worker->stopping) {
		transaction->next_spare = worker->spare;
		worker->spare = transaction;
		worker->spares++;
	} else {
		arena_free(&transaction->arena);
		mem_free(transaction);
	}
}

/* The session is ready for the next message. */
static void end(struct session *session)
{
	if (session->state != SESSION_CLOSING) {
		session->state = SESSION_COMMANDS;
		transaction_free(&session->transaction);
	}
	session_resume(session);
}

/* ---- what is logged ---- */

static struct text or_none(const char *string)
{
	return string ? text_of(string) : TEXT("none");
}

static void log_message(
	const struct transaction *transaction, const char *event, const struct reply *reply)
{
	const struct session *session = transaction->session;

	LOG_INFO(event, LOG_TEXT("id", id_text(transaction)),
		LOG_STRING("listener", session->listener->name),
		LOG_STRING("peer", conn_peer(session->conn)), LOG_TEXT("helo", session->helo),
		LOG_TEXT("tls", or_none(conn_tls_version(session->conn))),
		LOG_TEXT("cipher", or_none(conn_tls_cipher(session->conn))),
		LOG_TEXT("from", transaction->envelope.sender),
		LOG_NUMBER("recipients", transaction->accepted),
		LOG_NUMBER("size", transaction->data.size), LOG_NUMBER("code", reply->code),
		LOG_TEXT("reply", reply->text),
		LOG_NUMBER("ms", worker_milliseconds() - transaction->begun_ms));
}

static void log_refused(const struct transaction *transaction,
	const struct transaction_recipient *recipient, const struct reply *reply)
{
	LOG_INFO("recipient-refused", LOG_TEXT("id", id_text(transaction)),
		LOG_STRING("peer", conn_peer(transaction->session->conn)),
		LOG_TEXT("helo", transaction->session->helo),
		LOG_TEXT("from", transaction->envelope.sender),
		LOG_TEXT("to", recipient->base.address), LOG_NUMBER("code", reply->code),
		LOG_TEXT("reply", reply->text));
}

void transaction_log_lost(struct transaction *transaction, const char *reason)
{
	const struct reply reply = { .text = text_of(reason) };

	transaction->session->worker->total.lost_messages++;
	log_message(transaction, "message-lost", &reply);
}

/* ---- recipients ---- */

bool transaction_is_awaited(const struct transaction *transaction)
{
	return transaction && transaction->awaited;
}

/* The LMTP server's reply as it may be given to a client: every one has an enhanced code. */
static struct reply passed_on(const struct reply *reply)
{
	struct reply passed = *reply;

	if (passed.enhanced[0] == 0)
		passed.enhanced[0] = (unsigned char)(passed.code / 100);
	return passed;
}

/* False: the client has had its share of such replies, and is not told this one. */
static bool fail_recipient(struct session *session)
{
	struct guard *guard = &session->worker->guard;
	const bool told = guard_takes_recipients(guard, &session->guard);

	session_delay(session, guard_recipient_failed(guard, &session->guard));
	return told;
}

static void on_recipient(void *owner, const struct reply *reply)
{
	struct transaction *transaction = owner;
	struct session *session = transaction->session;
	struct transaction_recipient *recipient = transaction->next_verdict;

	const struct reply later =
		REPLY(450, 4, 7, 1, "Too many recipients failed, come again later");

	transaction->next_verdict = (struct transaction_recipient *)recipient->base.next;
	transaction->awaited--;
	if (reply->code / 100 == 5 && !fail_recipient(session))
		reply = &later;
	if (reply->code / 100 == 2) {
		transaction->accepted++;
		transaction->only = &recipient->address;
		session->worker->total.recipients++;
	} else {
		session->worker->total.refused_recipients++;
		log_refused(transaction, recipient, reply);
	}
	const bool last = transaction->awaited == 0;
	session_reply(session, passed_on(reply));
	/* Who waits for bad news does not keep a connection from others. */
	if (last && session->delayed && session->transaction && transaction->accepted == 0)
		lmtp_end(&transaction->lmtp);
	if (last)
		session_resume(session);
}

static bool begin_lmtp(struct transaction *transaction)
{
	const char *reason;

	transaction->lmtp = lmtp_begin(transaction->session->worker->pool, &transaction->envelope,
		&lmtp_handlers, transaction, &reason);
	if (transaction->lmtp)
		return true;
	transaction->failed = true;
	LOG_WARNING("hand-over-failed", LOG_TEXT("id", id_text(transaction)),
		LOG_STRING("reason", reason));
	return false;
}

void transaction_add_recipient(struct transaction *transaction, const struct address *address)
{
	struct arena *arena = transaction->arena;
	struct transaction_recipient *recipient;

	/* Counted in any case: the limit is also one on what a transaction can make us remember. */
	transaction->recipients++;
	if (transaction->failed || (!transaction->lmtp && !begin_lmtp(transaction))) {
		session_reply(transaction->session, unavailable());
		return;
	}
	recipient = arena_take(arena, sizeof(*recipient));
	recipient->address = (struct address){ .local = text_copy(arena, address->local),
		.domain = text_copy(arena, address->domain) };
	recipient->base.address = address_print(arena, address);
	transaction->awaited++;
	if (!transaction->next_verdict)
		transaction->next_verdict = recipient;
	lmtp_add_recipient(transaction->lmtp, &recipient->base);
}

/* ---- the message ---- */

void transaction_start(struct transaction *transaction)
{
	transaction->session->state = SESSION_ASKING;
	lmtp_start_message(transaction->lmtp);
}

static void add_trace(struct transaction *transaction)
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
			.id = id_text(transaction),
			.recipient = transaction->accepted == 1 ? transaction->only : NULL,
			.when = time(NULL),
		},
		"\r\n");
	lmtp_add_message(transaction->lmtp, buf_text(out));
}

static void pass_on(struct transaction *transaction, struct text octets)
{
	if (!transaction->lmtp)
		return;
	/* Not before there is something to go with it: the server would wake up for little. */
	if (!transaction->traced)
		add_trace(transaction);
	transaction->traced = true;
	lmtp_add_message(transaction->lmtp, octets);
}

static void on_data(void *owner, const struct reply *reply)
{
	struct transaction *transaction = owner;
	struct session *session = transaction->session;

	if (transaction->accepted == 0) {
		session_reply(session, REPLY(554, 5, 5, 1, "No valid recipients"));
		end(session);
	} else if (reply->code != 354) {
		const struct reply passed = passed_on(reply);
		session->worker->total.refused_messages++;
		log_message(transaction, "message", &passed);
		session_reply(session, passed);
		end(session);
	} else {
		session_begin_message(session);
		session_reply(
			session, REPLY(354, 0, 0, 0, "Send the message, end with <CRLF>.<CRLF>"));
		session_resume(session);
	}
}

static void finish(struct transaction *transaction)
{
	struct session *session = transaction->session;
	struct worker *worker = session->worker;
	const struct reply verdict = transaction->verdict;

	log_message(transaction, "message", &verdict);
	if (verdict.code / 100 == 2) {
		worker->total.messages++;
		worker->total.octets += transaction->data.size;
		session->errors = session->junk = 0;
	} else {
		worker->total.refused_messages++;
	}
	session_reply(session, verdict);
	if (worker->stopping)
		session_close(session, REPLY(421, 4, 3, 2, "Shutting down"));
	end(session);
}

/* One reply for all: a client cannot be told that some have the message and others have not. */
static void on_delivered(void *owner, const struct reply *reply)
{
	struct transaction *transaction = owner;
	const unsigned before = transaction->verdict.code;
	const bool good = reply->code / 100 == 2;

	if (before == 0 && good) {
		transaction->verdict = REPLY(250, 2, 0, 0, "");
		transaction->verdict.text =
			text_format(transaction->arena, "Accepted as %s", transaction->id.string);
	} else if (before == 0) {
		transaction->verdict = passed_on(reply);
		transaction->verdict.text = text_copy(transaction->arena, reply->text);
	} else if (before / 100 != reply->code / 100) {
		transaction->verdict = unavailable();
	}
	transaction->verdicts++;
	transaction->delivered += good;
	if (transaction->verdicts < transaction->accepted)
		return;
	if (transaction->delivered && transaction->delivered < transaction->verdicts)
		LOG_WARNING("mixed-verdicts", LOG_TEXT("id", id_text(transaction)),
			LOG_NUMBER("recipients", transaction->verdicts),
			LOG_NUMBER("delivered", transaction->delivered));
	finish(transaction);
}

/* Nothing more is passed on; the rest is still read, so that the reply meets the right command. */
static void refuse(struct transaction *transaction, struct reply verdict)
{
	const uint64_t limit = worker_settings(transaction->session->worker)->message_size;
	const uint64_t size = transaction->data.size;

	transaction->verdict = verdict;
	transaction->refused_at = size < limit ? size : limit;
	lmtp_end(&transaction->lmtp);
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
		reply = REPLY(552, 5, 3, 4, "");
		reply.text = text_format(
			transaction->arena, "Message over %llu octets", (unsigned long long)limit);
		refuse(transaction, reply);
	}
}

/* A sender that does not come to an end after it was refused is given up. */
static bool is_endless(const struct transaction *transaction)
{
	const uint64_t limit = worker_settings(transaction->session->worker)->message_size;

	return transaction->verdict.code &&
	       transaction->data.size - transaction->refused_at > limit;
}

void transaction_refuse(struct transaction *transaction, struct reply verdict)
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
		.dot_ends = true,
		.sender = text_copy(transaction->arena, sender.len ? sender : user),
		.id = id_text(transaction),
		.host = worker_hostname(transaction->session->worker),
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
		pass_on(transaction, buf_text(&transaction->header));
	buf_release(&transaction->header);
}

/* The header stays here until it is over: then its authors are known. */
static void judge_header(struct transaction *transaction)
{
	if (buf_length(&transaction->header) > HEADER_LIMIT)
		transaction_refuse(transaction,
			REPLY(552, 5, 3, 4, "The header is too long; 256 KiB is the most"));
	if (!submission_is_over(transaction->submission) || transaction->verdict.code)
		return;
	sender_judge_authors(transaction);
	if (!transaction->judging)
		pass_on_header(transaction);
}

/* What follows from the octets that were read last. */
static void conclude(struct transaction *transaction, bool ended)
{
	struct session *session = transaction->session;

	if (ended && transaction->lmtp) {
		session->state = SESSION_VERDICT;
		lmtp_end_message(transaction->lmtp);
	} else if (ended) {
		finish(transaction);
	} else if (is_endless(transaction)) {
		const struct reply verdict = transaction->verdict;
		log_message(transaction, "message", &verdict);
		session->worker->total.refused_messages++;
		session_reply(session, verdict);
		session_close(session, REPLY(421, 4, 7, 0, "The message was refused and goes on"));
	}
}

void transaction_go_on(struct transaction *transaction)
{
	struct session *session = transaction->session;

	pass_on_header(transaction);
	conclude(transaction, transaction->ended);
	session_resume(session);
}

bool transaction_read(struct transaction *transaction)
{
	struct session *session = transaction->session;
	struct text in = conn_input(session->conn);
	const bool header = in_header(transaction);
	size_t used;

	if (in.len == 0 || transaction->judging)
		return false;
	if (header)
		in = filter(transaction, in);
	const bool ended = wire_data_scan(&transaction->data, in, &used) == 1;
	if (transaction->verdict.code == 0)
		judge(transaction);
	if (header)
		judge_header(transaction);
	else
		pass_on(transaction, text_head(in, used));
	conn_consume(session->conn, used);
	transaction->ended = ended;
	if (!transaction->judging)
		conclude(transaction, ended);
	return true;
}

bool transaction_is_full(const struct transaction *transaction)
{
	return transaction->judging || (transaction->lmtp && lmtp_is_full(transaction->lmtp));
}

static void on_drained(void *owner)
{
	struct transaction *transaction = owner;

	session_resume(transaction->session);
}

/* ---- the LMTP server is away ---- */

static void on_failed(void *owner, const char *reason)
{
	struct transaction *transaction = owner;
	struct session *session = transaction->session;

	LOG_WARNING("hand-over-failed", LOG_TEXT("id", id_text(transaction)),
		LOG_STRING("reason", reason));
	transaction->lmtp = NULL;
	transaction->failed = true;
	transaction->next_verdict = NULL;
	for (; transaction->awaited; transaction->awaited--)
		session_reply(session, unavailable());
	switch (session->state) {
	case SESSION_ASKING:
		session_reply(session, unavailable());
		end(session);
		break;
	case SESSION_MESSAGE:
		refuse(transaction, unavailable());
		session_resume(session);
		break;
	case SESSION_VERDICT:
		transaction->verdict = unavailable();
		finish(transaction);
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

static const struct lmtp_handlers lmtp_handlers = {
	.recipient = on_recipient,
	.data = on_data,
	.delivered = on_delivered,
	.drained = on_drained,
	.failed = on_failed,
};

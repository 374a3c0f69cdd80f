#include "smtp-in/transaction.h"

#include <string.h>

#include "base/arena.h"
#include "base/conn.h"
#include "base/log.h"
#include "base/mem.h"
#include "smtp-in/auth.h"
#include "smtp-in/message.h"
#include "smtp-in/session.h"
#include "smtp-in/submission.h"

enum {
	ARENA_BLOCK = 2048,
	SPARES_LIMIT = 256, /* transactions kept for the next messages */
};

struct transaction_recipient {
	struct lmtp_recipient base; /* first: the LMTP client's list is ours, too */
	struct address address;
	struct transaction_recipient *next_accepted;
	struct reply lapse; /* code 0: none. Its text is in the arena. */
};

static const struct lmtp_handlers lmtp_handlers;

struct reply transaction_unavailable(void)
{
	return REPLY(451, 4, 3, 0, "Mail cannot be taken just now, try again later");
}

struct text transaction_id(const struct transaction *transaction)
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

void transaction_end(struct session *session)
{
	if (session->state != SESSION_CLOSING) {
		session->state = SESSION_COMMANDS;
		transaction_free(&session->transaction);
	}
	if (session->worker->stopping)
		session_close(session, REPLY(421, 4, 3, 2, "Shutting down"));
	session_resume(session);
}

/* ---- what is logged ---- */

static struct text or_none(const char *string)
{
	return string ? text_of(string) : TEXT("none");
}

void transaction_log(
	const struct transaction *transaction, const char *event, const struct reply *reply)
{
	const struct session *session = transaction->session;
	const struct text user = auth_user(session);

	LOG_INFO(event, LOG_TEXT("id", transaction_id(transaction)),
		LOG_STRING("listener", session->listener->name),
		LOG_STRING("peer", conn_peer(session->conn)), LOG_TEXT("helo", session->helo),
		LOG_TEXT("tls", or_none(conn_tls_version(session->conn))),
		LOG_TEXT("cipher", or_none(conn_tls_cipher(session->conn))),
		LOG_TEXT("auth", user.ptr ? user : TEXT("none")),
		LOG_TEXT("from", transaction->envelope.sender),
		LOG_NUMBER("recipients", transaction->accepted),
		LOG_NUMBER("delivered", transaction->delivered),
		LOG_NUMBER("size", transaction->data.size),
		LOG_STRING("by", transaction->chunked ? "BDAT" : "DATA"),
		LOG_NUMBER("code", reply->code), LOG_TEXT("reply", reply->text),
		LOG_NUMBER("ms", worker_milliseconds() - transaction->begun_ms));
}

static void log_refused(const struct transaction *transaction,
	const struct transaction_recipient *recipient, const struct reply *reply)
{
	LOG_INFO("recipient-refused", LOG_TEXT("id", transaction_id(transaction)),
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
	transaction_log(transaction, "message-lost", &reply);
}

bool transaction_is_begun(const struct transaction *transaction)
{
	return transaction && transaction->begun;
}

/* ---- recipients ---- */

bool transaction_is_awaited(const struct transaction *transaction)
{
	return transaction && transaction->awaited;
}

struct reply transaction_pass_reply(const struct reply *reply)
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

static void note_accepted(struct transaction *transaction, struct transaction_recipient *recipient)
{
	transaction->accepted++;
	transaction->only = &recipient->address;
	if (transaction->last_accepted)
		transaction->last_accepted->next_accepted = recipient;
	else
		transaction->first_accepted = recipient;
	transaction->last_accepted = recipient;
	transaction->session->worker->total.recipients++;
}

static void note_refused(const struct transaction *transaction,
	const struct transaction_recipient *recipient, const struct reply *reply)
{
	transaction->session->worker->total.refused_recipients++;
	log_refused(transaction, recipient, reply);
}

/* The client has long been told that this one is accepted. */
static void note_again(struct transaction *transaction, struct transaction_recipient *recipient,
	const struct reply *reply)
{
	const bool before = recipient->lapse.code != 0, now = reply->code / 100 != 2;

	transaction->again--;
	transaction->lapsed += now;
	transaction->lapsed -= before;
	if (!now) {
		recipient->lapse.code = 0;
	} else if (!before) {
		recipient->lapse = transaction_pass_reply(reply);
		recipient->lapse.text = text_copy(transaction->arena, reply->text);
	}
	if (now)
		note_refused(transaction, recipient, reply);
	if (transaction->awaited == 0)
		session_resume(transaction->session);
}

struct reply transaction_lapse(const struct transaction *transaction)
{
	const struct transaction_recipient *first = transaction->first_accepted;

	for (const struct transaction_recipient *at = first; at; at = at->next_accepted) {
		if (at->lapse.code / 100 == 4)
			return at->lapse;
	}
	return transaction->lapsed == transaction->accepted ? first->lapse
							    : transaction_unavailable();
}

void transaction_list_lapses(const struct transaction *transaction, struct reply *each)
{
	for (const struct transaction_recipient *at = transaction->first_accepted; at;
		at = at->next_accepted)
		*each++ = at->lapse;
}

static void on_recipient(void *owner, const struct reply *reply)
{
	struct transaction *transaction = owner;
	struct session *session = transaction->session;
	struct transaction_recipient *recipient = transaction->next_verdict;

	const struct reply later =
		REPLY(450, 4, 7, 1, "Too many recipients failed, come again later");

	/* A user who has logged in would not know what to make of "relaying denied". */
	const struct reply no_way = REPLY(
		550, 5, 7, 1, "That address is on another host, and this one sends no mail out");

	transaction->next_verdict = (struct transaction_recipient *)recipient->base.next;
	transaction->awaited--;
	if (transaction->again) {
		note_again(transaction, recipient, reply);
		return;
	}
	if (session->listener->submission && reply->code == 550 &&
		memcmp(reply->enhanced, no_way.enhanced, sizeof(no_way.enhanced)) == 0)
		reply = &no_way;
	if (reply->code / 100 == 5 && !fail_recipient(session))
		reply = &later;
	if (reply->code / 100 == 2)
		note_accepted(transaction, recipient);
	else
		note_refused(transaction, recipient, reply);
	const bool last = transaction->awaited == 0;
	session_reply(session, transaction_pass_reply(reply));
	/* Who waits for bad news keeps no connection from others, unless it is to answer DATA. */
	if (last && session->delayed && session->state == SESSION_COMMANDS &&
		session->transaction && transaction->accepted == 0)
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
	LOG_WARNING("hand-over-failed", LOG_TEXT("id", transaction_id(transaction)),
		LOG_STRING("reason", reason));
	return false;
}

static void tell(struct transaction *transaction, struct transaction_recipient *recipient)
{
	transaction->awaited++;
	if (!transaction->next_verdict)
		transaction->next_verdict = recipient;
	lmtp_add_recipient(transaction->lmtp, &recipient->base);
}

void transaction_rest(struct transaction *transaction)
{
	if (transaction && transaction->awaited == 0 && !transaction->begun)
		lmtp_end(&transaction->lmtp);
}

bool transaction_take_up(struct transaction *transaction)
{
	if (!transaction->lmtp) {
		if (transaction->failed || !begin_lmtp(transaction))
			return false;
		transaction->untold = transaction->first_accepted;
	}
	for (; transaction->untold; transaction->untold = transaction->untold->next_accepted) {
		transaction->again++;
		tell(transaction, transaction->untold);
	}
	return true;
}

/*
 * It need not be asked about now. Nothing would be gained by that for the first of a message, since DATA
 * would wait instead, nor for one with others behind it, whose verdicts come together as it is.
 */
static bool is_foreseen(
	const struct transaction *transaction, const struct transaction_recipient *recipient)
{
	const struct session *session = transaction->session;

	return transaction->accepted && session->lone && transaction->awaited == 0 &&
	       !transaction->failed && !transaction->lapsed &&
	       lmtp_pool_foresees(session->worker->pool, &transaction->envelope, &recipient->base);
}

/* The server's own word is awaited before the message. */
static void foresee(struct transaction *transaction, struct transaction_recipient *recipient)
{
	note_accepted(transaction, recipient);
	if (!transaction->untold)
		transaction->untold = recipient;
	session_reply(transaction->session, REPLY(250, 2, 1, 5, "recipient ok"));
}

void transaction_add_recipient(struct transaction *transaction, const struct address *address,
	const struct dsn_recipient *dsn)
{
	struct arena *arena = transaction->arena;
	struct transaction_recipient *recipient;

	/* Counted in any case: the limit is also one on what a transaction can make us remember. */
	transaction->recipients++;
	recipient = arena_take(arena, sizeof(*recipient));
	recipient->address = (struct address){ .local = text_copy(arena, address->local),
		.domain = text_copy(arena, address->domain) };
	recipient->base.address = address_print(arena, address);
	recipient->base.dsn = *dsn;
	if (is_foreseen(transaction, recipient))
		foresee(transaction, recipient);
	else if (transaction_take_up(transaction))
		tell(transaction, recipient);
	else
		session_reply(transaction->session, transaction_unavailable());
}

static void on_drained(void *owner)
{
	struct transaction *transaction = owner;

	session_resume(transaction->session);
}

static void on_failed(void *owner, const char *reason)
{
	struct transaction *transaction = owner;

	LOG_WARNING("hand-over-failed", LOG_TEXT("id", transaction_id(transaction)),
		LOG_STRING("reason", reason));
	transaction->lmtp = NULL;
	transaction->failed = true;
	transaction->next_verdict = NULL;
	transaction->awaited -= transaction->again;
	transaction->again = 0;
	for (; transaction->awaited; transaction->awaited--)
		session_reply(transaction->session, transaction_unavailable());
	message_fail(transaction);
}

static const struct lmtp_handlers lmtp_handlers = {
	.recipient = on_recipient,
	.data = message_on_data,
	.delivered = message_on_delivered,
	.refused = message_on_refused,
	.drained = on_drained,
	.failed = on_failed,
};

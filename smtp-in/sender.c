#include "smtp-in/sender.h"

#include "base/arena.h"
#include "base/conn.h"
#include "base/log.h"
#include "smtp-in/auth.h"
#include "smtp-in/message.h"
#include "smtp-in/session.h"
#include "smtp-in/store_link.h"
#include "smtp-in/submission.h"
#include "smtp-in/transaction.h"
#include "store/client.h"

static const struct reply later = {
	.code = 451, .enhanced = { 4, 3, 0 }, .text = { "Try again later", 15 }
};

static void log_refused(const struct session *session, const char *field, struct text address)
{
	LOG_INFO("sender-refused", LOG_STRING("peer", conn_peer(session->conn)),
		LOG_TEXT("user", auth_user(session)), LOG_STRING("in", field),
		LOG_TEXT("address", address));
}

static void ask(struct session *session, struct text address, store_client_done *done)
{
	store_client_owns(store_link(session->worker),
		&(struct store_owns){ .user = auth_user(session), .address = address }, done,
		session);
}

/* ---- the envelope's ---- */

static void on_sender(void *owner, struct store_reply *reply)
{
	struct session *session = owner;

	/* The session was ended meanwhile. */
	if (session->state != SESSION_SENDER)
		return;
	session->state = SESSION_COMMANDS;
	if (reply->failure == STORE_OK) {
		session_reply(session, REPLY(250, 2, 1, 0, "Sender ok"));
	} else if (reply->failure == STORE_REFUSED || reply->failure == STORE_NO_SUCH_USER) {
		log_refused(session, "envelope", session->transaction->envelope.sender);
		transaction_free(&session->transaction);
		session_reply(session,
			REPLY(553, 5, 7, 1, "That sender is not you; use an address of your own"));
	} else {
		transaction_free(&session->transaction);
		session_reply(session, later);
	}
	session_resume(session);
}

void sender_judge(struct session *session)
{
	const struct text sender = session->transaction->envelope.sender;

	if (sender.len == 0) {
		session_reply_mail(session);
		return;
	}
	session->state = SESSION_SENDER;
	ask(session, sender, on_sender);
}

/* ---- the header's ---- */

static void ask_next(struct transaction *transaction);

static void on_author(void *owner, struct store_reply *reply)
{
	struct session *session = owner;
	struct transaction *transaction = session->transaction;
	struct reply verdict;

	/* The session was ended meanwhile. */
	if (!transaction || !transaction->judging)
		return;
	transaction->judging = false;
	if (reply->failure == STORE_OK) {
		ask_next(transaction);
	} else if (reply->failure == STORE_REFUSED || reply->failure == STORE_NO_SUCH_USER) {
		log_refused(session, "from", transaction->author);
		verdict = REPLY(550, 5, 7, 1, "");
		verdict.text = text_format(transaction->arena,
			"From names %.*s, which is not an address of yours",
			TEXT_ARG(transaction->author));
		message_refuse(transaction, verdict);
	} else {
		message_refuse(transaction, later);
	}
	if (!transaction->judging)
		message_go_on(transaction);
}

/* Most often there is one author, and it is the sender, about whom the store was asked already. */
static void ask_next(struct transaction *transaction)
{
	while (transaction->authors_left > 0) {
		const struct address *address = &transaction->authors[--transaction->authors_left];
		transaction->author = address_print(transaction->arena, address);
		if (text_equal(transaction->author, transaction->envelope.sender))
			continue;
		transaction->judging = true;
		ask(transaction->session, transaction->author, on_author);
		return;
	}
}

void sender_judge_authors(struct transaction *transaction)
{
	transaction->authors =
		arena_take(transaction->arena, SUBMISSION_AUTHORS * sizeof(*transaction->authors));
	const int count = submission_authors(
		transaction->submission, transaction->arena, transaction->authors);

	if (count < 0) {
		message_refuse(transaction,
			REPLY(550, 5, 6, 0,
				"From does not tell who wrote this: one field, whole addresses"));
		return;
	}
	transaction->authors_left = (size_t)count;
	ask_next(transaction);
}

/* A session's time: whose turn it is, how long that may take, and how slow is too slow. */
#include "base/conn.h"
#include "smtp-in/message.h"
#include "smtp-in/session.h"
#include "smtp-in/transaction.h"

/* ---- whose turn it is ---- */

static bool must_hold(const struct session *session)
{
	switch (session->state) {
	case SESSION_COMMANDS:
		return session->waiting || session->delayed;
	case SESSION_AUTHENTICATING:
	case SESSION_SENDER:
	case SESSION_ASKING:
	case SESSION_VERDICT:
		return true;
	case SESSION_MESSAGE:
	case SESSION_CHUNK:
		return message_is_full(session->transaction);
	case SESSION_PROXY:
	case SESSION_GREETING:
	case SESSION_SECURING:
	case SESSION_ANSWER:
	case SESSION_CLOSING:
		return false;
	}
	return false;
}

/* Seconds; 0: no limit. */
static uint64_t patience(const struct smtp_in_settings *settings, enum session_state state)
{
	switch (state) {
	case SESSION_PROXY:
		return settings->proxy.seconds;
	case SESSION_SECURING:
		return settings->handshake_seconds;
	case SESSION_COMMANDS:
	case SESSION_ANSWER:
		return settings->command_seconds;
	case SESSION_MESSAGE:
	case SESSION_CHUNK:
		return settings->data_seconds;
	case SESSION_GREETING:
	case SESSION_AUTHENTICATING:
	case SESSION_SENDER:
	case SESSION_ASKING:
	case SESSION_VERDICT:
	case SESSION_CLOSING:
		break;
	}
	return 0;
}

static void set_deadline(struct session *session)
{
	const struct smtp_in_settings *settings = worker_settings(session->worker);

	const uint64_t seconds = session->held ? 0 : patience(settings, session->state);

	session->deadline = seconds ? worker_seconds() + (int64_t)seconds : 0;
}

/* Time in which we do not read is none in which the client is slow. */
static void forgive_hold(struct session *session)
{
	const int64_t held = worker_milliseconds() - session->held_since;

	session->message_since += held;
	if (transaction_is_begun(session->transaction))
		session->transaction->octets_since += held;
}

void session_settle(struct session *session)
{
	const bool hold = must_hold(session);

	if (hold && !session->held) {
		session->held_since = worker_milliseconds();
		conn_hold(session->conn);
	} else if (!hold && session->held) {
		forgive_hold(session);
		conn_release(session->conn);
	}
	session->held = hold;
	set_deadline(session);
}

void session_begin_octets(struct session *session, enum session_state state)
{
	session->state = state;
	session->message_since = session->held_since = worker_milliseconds();
}

void session_resume(struct session *session)
{
	session->waiting = transaction_is_awaited(session->transaction) && session->waiting;
	session_settle(session);
}

/* ---- too late, too slow ---- */

void session_expire(struct session *session)
{
	if (transaction_is_awaited(session->transaction)) {
		set_deadline(session);
		return;
	}
	session->worker->total.timeouts++;
	if (session->state <= SESSION_SECURING)
		session_free(session);
	else
		session_close(session, REPLY(421, 4, 4, 2, "Timeout, closing the connection"));
}

/* A client that stops after RCPT has no right to one of the few connections that go on from here. */
static void rest(const struct session *session)
{
	const struct smtp_in_settings *settings = worker_settings(session->worker);
	const int64_t since = session->deadline - (int64_t)settings->command_seconds;

	if (!session->held && worker_seconds() - since >= (int64_t)settings->hand_over_hold_seconds)
		transaction_rest(session->transaction);
}

static bool is_too_slow(const struct session *session)
{
	const struct guard *guard = &session->worker->guard;
	const struct transaction *transaction = session->transaction;
	const int64_t now = worker_milliseconds();

	if (session->held)
		return false;
	/* Between its chunks, too: their number is the client's choice. */
	if (session->worker->pressed && transaction_is_begun(transaction) && transaction->lmtp &&
		guard_is_in_the_way(guard, transaction->data.size, now - transaction->octets_since))
		return true;
	if (session->state == SESSION_MESSAGE)
		return guard_is_slow(guard, transaction->data.size, now - session->message_since);
	return session->state == SESSION_CHUNK &&
	       guard_is_slow(guard, session->chunk.size - session->chunk.left,
		       now - session->message_since);
}

void session_tick(struct session *session)
{
	if (session->state == SESSION_COMMANDS)
		rest(session);
	if (!is_too_slow(session))
		return;
	session->worker->guard.refused.slow_senders++;
	session_close(session, REPLY(421, 4, 4, 2, "The message comes too slowly"));
}

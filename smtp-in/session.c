#include "smtp-in/session.h"

#include <unistd.h>

#include "base/conn.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/proxy.h"
#include "base/role.h"
#include "mail/command.h"
#include "smtp-in/auth.h"
#include "smtp-in/commands.h"
#include "smtp-in/message.h"
#include "smtp-in/transaction.h"

/* ---- replies ---- */

static void count_reply(struct session *session, unsigned code)
{
	if (code < WORKER_REPLY_CODES)
		session->worker->total.replies[code]++;
}

/* The scratch buffer, with what is owed in it. */
static struct buf *begin_reply(struct session *session)
{
	struct buf *out = &session->worker->scratch;

	buf_clear(out);
	if (session->owes_mail) {
		count_reply(session, 250);
		reply_print(out, &REPLY(250, 2, 1, 0, "Sender ok"));
	}
	session->owes_mail = false;
	return out;
}

static void write_reply(struct session *session, const struct reply *reply)
{
	struct buf *out = begin_reply(session);

	count_reply(session, reply->code);
	reply_print(out, reply);
	conn_write(session->conn, buf_text(out));
}

void session_reply_mail(struct session *session)
{
	session->owes_mail = true;
}

static void pay_mail(struct session *session)
{
	if (session->owes_mail)
		conn_write(session->conn, buf_text(begin_reply(session)));
}

void session_reply(struct session *session, struct reply reply)
{
	if (session->state == SESSION_CLOSING)
		return;
	if (reply.code >= 500 && ++session->errors > worker_settings(session->worker)->errors) {
		session_close(session, REPLY(421, 4, 7, 0, "Too many errors"));
		return;
	}
	write_reply(session, &reply);
}

void session_reply_part(struct session *session, const struct reply *reply)
{
	if (session->state != SESSION_CLOSING)
		write_reply(session, reply);
}

void session_reply_line(struct session *session, unsigned code, bool last, struct text text)
{
	struct buf *out = begin_reply(session);

	if (last)
		count_reply(session, code);
	reply_print_line(out, code, last, text);
	conn_write(session->conn, buf_text(out));
}

void session_close(struct session *session, struct reply reply)
{
	struct buf text = { 0 };

	if (session->state == SESSION_CLOSING)
		return;
	if (reply.code == 421 && transaction_is_begun(session->transaction) &&
		session->transaction->verdict.code == 0)
		transaction_log_lost(session->transaction, "the session was ended");
	session->state = SESSION_CLOSING;
	session->deadline = 0;
	buf_add(&text, worker_hostname(session->worker));
	buf_add_string(&text, ": ");
	buf_add(&text, reply.text);
	reply.text = buf_text(&text);
	write_reply(session, &reply);
	buf_release(&text);
	transaction_free(&session->transaction);
	conn_finish(session->conn);
}

bool session_count_junk(struct session *session)
{
	if (++session->junk <= worker_settings(session->worker)->junk)
		return true;
	session_close(session, REPLY(421, 4, 7, 0, "Too many commands that lead to nothing"));
	return false;
}

static void greet(struct session *session)
{
	struct buf text = { 0 };

	buf_add(&text, worker_hostname(session->worker));
	buf_add_string(&text, " ESMTP restante");
	session_reply_line(session, 220, true, buf_text(&text));
	buf_release(&text);
}

/* ---- input ---- */

/* An initial response of AUTH may be longer than any other command. */
static size_t line_limit(const struct session *session)
{
	if (session->listener->submission &&
		text_begins_nocase(conn_input(session->conn), TEXT("AUTH ")))
		return AUTH_LINE_LIMIT;
	return COMMAND_MAIL_LIMIT;
}

static bool read_command(struct session *session)
{
	const struct wire_lines before = session->lines;
	enum wire_fault fault;
	struct text line;
	size_t used;
	int found = wire_line(&session->lines, conn_input(session->conn), line_limit(session),
		&line, &used, &fault);

	session->lone = used == conn_input(session->conn).len;
	if (found > 0) {
		session->waiting = commands_run(session, line) == COMMANDS_WAIT;
	} else if (found < 0) {
		struct reply reply = REPLY(500, 5, 5, 2, "");
		reply.text = text_of(wire_fault_text(fault));
		session->waiting = transaction_is_awaited(session->transaction);
		if (!session->waiting)
			session_reply(session, reply);
	}
	if (session->waiting) {
		session->lines = before;
		return false;
	}
	conn_consume(session->conn, used);
	return found != 0;
}

static bool read_answer(struct session *session)
{
	enum wire_fault fault;
	struct text line;
	size_t used;
	const int found = wire_line(
		&session->lines, conn_input(session->conn), AUTH_LINE_LIMIT, &line, &used, &fault);

	if (found > 0)
		auth_answer(session, line);
	else if (found < 0)
		auth_answer_fault(session, fault == WIRE_TOO_LONG);
	conn_consume(session->conn, used);
	return found != 0;
}

static void log_no_certificate(const struct session_listener *listener)
{
	LOG_WARNING("no-certificate", LOG_STRING("listener", listener->name));
}

static void begin(struct session *session)
{
	struct tls *tls = session->worker->context->tls;
	const unsigned delay = guard_greeting_delay(&session->worker->guard, session);

	if (session->listener->tls && !tls) {
		/* It was there when the client came, but not behind the header of a load balancer. */
		log_no_certificate(session->listener);
		session->state = SESSION_CLOSING;
		conn_finish(session->conn);
	} else if (session->listener->tls) {
		session->state = SESSION_SECURING;
		conn_start_tls_here(session->conn, tls);
	} else if (delay) {
		session->state = SESSION_GREETING;
		conn_alarm(session->conn, delay);
	} else {
		session->state = SESSION_COMMANDS;
		greet(session);
	}
}

/* What is said to a client that is not admitted before it has a session, is said here behind the header. */
static void take_client(struct session *session, const struct proxy_header *header)
{
	const struct guard_peer peer = { .address = header->client };
	struct guard *guard = &session->worker->guard;
	struct reply refusal;

	guard->refused.proxied++;
	if (!header->has_client) {
		begin(session);
		return;
	}
	conn_set_peer(session->conn, &header->client);
	if (guard_admit(guard, &peer, &session->guard, &refusal)) {
		begin(session);
		return;
	}
	session->worker->total.refused_connections++;
	if (session->listener->tls)
		conn_finish(session->conn);
	else
		session_close(session, refusal);
	session->state = SESSION_CLOSING;
}

static bool read_proxy(struct session *session)
{
	struct proxy_header header;
	size_t used;
	const int found = proxy_parse(conn_input(session->conn), &header, &used);

	if (found == 0)
		return false;
	if (found > 0) {
		conn_consume(session->conn, used);
		take_client(session, &header);
		return true;
	}
	LOG_WARNING("no-proxy-header", LOG_STRING("listener", session->listener->name),
		LOG_STRING("peer", conn_peer(session->conn)));
	session->worker->guard.refused.proxy_headers++;
	session->state = SESSION_CLOSING;
	conn_finish(session->conn);
	return false;
}

/* A program that does not wait for answers, and means whoever happens to listen. */
static void end_talker(struct session *session)
{
	session->worker->guard.refused.talked_first++;
	LOG_INFO("talked-first", LOG_STRING("peer", conn_peer(session->conn)));
	session_close(session, REPLY(554, 5, 5, 1, "You talk before you are greeted"));
}

static bool read_input(struct session *session)
{
	switch (session->state) {
	case SESSION_PROXY:
		return read_proxy(session);
	case SESSION_GREETING:
		if (conn_input(session->conn).len)
			end_talker(session);
		return false;
	case SESSION_COMMANDS:
		return !session->waiting && !session->delayed && read_command(session);
	case SESSION_MESSAGE:
		return message_read(session->transaction);
	case SESSION_CHUNK:
		return bdat_read(session);
	case SESSION_ANSWER:
		return read_answer(session);
	case SESSION_SECURING:
	case SESSION_AUTHENTICATING:
	case SESSION_SENDER:
	case SESSION_ASKING:
	case SESSION_VERDICT:
	case SESSION_CLOSING:
		return false;
	}
	return false;
}

static void on_input(void *owner)
{
	struct session *session = owner;
	bool progress = false;

	while (read_input(session))
		progress = true;
	if (!transaction_is_awaited(session->transaction))
		pay_mail(session);
	/* A command that comes octet by octet has no more time than one that comes at once. */
	if (progress || session->waiting)
		session_settle(session);
	if (session->state == SESSION_SECURING)
		conn_start_tls(session->conn, session->worker->context->tls);
}

static void on_secured(void *owner)
{
	struct session *session = owner;

	session->worker->total.tls_sessions++;
	session->state = SESSION_COMMANDS;
	if (session->listener->tls)
		greet(session);
	session_settle(session);
}

void session_delay(struct session *session, unsigned milliseconds)
{
	if (milliseconds == 0 || session->state == SESSION_CLOSING)
		return;
	session->delayed = true;
	conn_cork(session->conn, true);
	conn_alarm(session->conn, milliseconds);
	session_settle(session);
}

static void end_delay(struct session *session)
{
	session->delayed = false;
	conn_cork(session->conn, false);
}

static void on_alarmed(void *owner)
{
	struct session *session = owner;

	end_delay(session);
	if (session->state == SESSION_GREETING) {
		session->state = SESSION_COMMANDS;
		greet(session);
	}
	session_settle(session);
}

static const char *end_name(enum conn_end end)
{
	switch (end) {
	case CONN_END_PEER:
		return "the client closed the connection";
	case CONN_END_FINISHED:
		return "finished";
	case CONN_END_TIMEOUT:
		return "the client reads nothing";
	case CONN_END_TLS:
		return "TLS failed";
	case CONN_END_ERROR:
		return "the connection broke";
	}
	return "ended";
}

static void on_ended(void *owner, enum conn_end end, const char *detail)
{
	struct session *session = owner;

	LOG_DEBUG("session-ended", LOG_STRING("listener", session->listener->name),
		LOG_STRING("peer", conn_peer(session->conn)), LOG_STRING("reason", end_name(end)),
		LOG_STRING("detail", detail));
	if (transaction_is_begun(session->transaction))
		transaction_log_lost(session->transaction, end_name(end));
	session_free(session);
}

/* Nobody hears what is waited for. But a message that is complete has its verdict, and the log as well. */
static void on_left(void *owner)
{
	const struct session *session = owner;

	if (session->state != SESSION_VERDICT)
		on_ended(owner, CONN_END_PEER, "");
}

static const struct conn_handlers conn_handlers = {
	.input = on_input,
	.secured = on_secured,
	.alarmed = on_alarmed,
	.left = on_left,
	.ended = on_ended,
};

/* ---- begin and end ---- */

void session_new(struct worker *worker, const struct session_listener *listener, int fd,
	const struct guard_client *client, bool proxied)
{
	if (listener->tls && !worker->context->tls) {
		struct guard_client gone = *client;
		log_no_certificate(listener);
		guard_leave(&worker->guard, &gone);
		close(fd);
		return;
	}
	struct session *session = mem_new(sizeof(*session));
	session->worker = worker;
	session->listener = listener;
	session->guard = *client;
	session->conn =
		conn_new(worker->context->loop, fd, &conn_handlers, &worker->limits, session);
	conn_expect_secrets(session->conn, listener->submission);
	LIST_INSERT_HEAD(&worker->sessions, session, link);
	worker->session_count++;
	if (proxied)
		session->state = SESSION_PROXY;
	else
		begin(session);
	session_settle(session);
}

void session_reset(struct session *session)
{
	transaction_free(&session->transaction);
	mem_free((void *)session->helo.ptr);
	session->helo = (struct text){ 0 };
	session->esmtp = false;
}

void session_free(struct session *session)
{
	session_reset(session);
	auth_end(session);
	conn_free(&session->conn);
	guard_leave(&session->worker->guard, &session->guard);
	LIST_REMOVE(session, link);
	session->worker->session_count--;
	mem_free(session);
}

void session_stop(struct session *session)
{
	end_delay(session);
	switch (session->state) {
	case SESSION_PROXY:
	case SESSION_SECURING:
		session_free(session);
		break;
	case SESSION_GREETING:
	case SESSION_COMMANDS:
	case SESSION_AUTHENTICATING:
	case SESSION_ANSWER:
	case SESSION_SENDER:
		session_close(session, REPLY(421, 4, 3, 2, "Shutting down"));
		break;
	case SESSION_ASKING:
	case SESSION_MESSAGE:
	case SESSION_CHUNK:
	case SESSION_VERDICT:
	case SESSION_CLOSING:
		break;
	}
}

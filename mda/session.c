#include "mda/session.h"

#include "base/clock.h"
#include "base/log.h"
#include "base/mem.h"
#include "mda/commands.h"
#include "mda/parameters.h"

enum {
	ERRORS_LIMIT = 20,
	ANSWERS_LIMIT = 256, /* recipients that are looked up at once */
};

static void on_input(void *owner);
static void on_drained(void *owner);
static void on_ended(void *owner, enum conn_end end, const char *detail);

static const struct conn_handlers handlers = {
	.input = on_input,
	.drained = on_drained,
	.ended = on_ended,
};

static const struct conn_limits limits = {
	.input = 64 * 1024,
	.output_high = 16 * 1024,
	.output_low = 4 * 1024,
	.send_seconds = 300,
};

int64_t session_now(void)
{
	return clock_milliseconds();
}

/* ---- life ---- */

struct session *session_new(struct worker *worker, int fd, bool trusted)
{
	struct session *session = mem_new(sizeof(*session));
	const char *host = worker->options.common->hostname;

	session->worker = worker;
	session->trusted = trusted;
	session->next = worker->sessions;
	session->at = &worker->sessions;
	if (session->next)
		session->next->at = &session->next;
	worker->sessions = session;
	session->conn = conn_new(worker->options.loop, fd, &handlers, &limits, session);
	session_set_timeout(session);
	conn_printf(session->conn, "220 %s LMTP restante\r\n", host);
	worker_session_added(worker);
	if (worker->stopping)
		session_stop(session);
	return session;
}

void session_free(struct session *session)
{
	struct worker *worker = session->worker;

	session_drop_mail(session);
	conn_free(&session->conn);
	mem_free(session->client);
	*session->at = session->next;
	if (session->next)
		session->next->at = session->at;
	mem_free(session);
	worker_session_gone(worker);
}

void session_stop(struct session *session)
{
	if (session->phase == SESSION_COMMANDS)
		session_end(session, &REPLY(421, 4, 3, 2, "shutting down, try again later"));
}

/* Our own smtp-in keeps connections for the next message and may do so for as long as it likes. */
void session_set_timeout(struct session *session)
{
	const struct mda_settings *settings = session->worker->options.settings;
	uint64_t seconds = settings->command_timeout;

	if (session->phase == SESSION_BODY || session->phase == SESSION_CHUNK)
		seconds = settings->data_timeout;
	else if (session->trusted && !session->mail)
		seconds = 0;
	conn_idle_limit(session->conn, (unsigned)seconds);
}

/* ---- replies ---- */

static void send_reply(struct session *session)
{
	conn_write(session->conn, buf_text(&session->worker->reply));
	buf_clear(&session->worker->reply);
}

void session_reply(struct session *session, const struct reply *reply)
{
	reply_print(&session->worker->reply, reply);
	send_reply(session);
}

void session_reply_line(struct session *session, unsigned code, bool last, struct text text)
{
	reply_print_line(&session->worker->reply, code, last, text);
	send_reply(session);
}

void session_end(struct session *session, const struct reply *reply)
{
	session_drop_mail(session);
	session->phase = SESSION_ENDING;
	session_reply(session, reply);
	conn_finish(session->conn);
}

void session_fault(struct session *session, const struct reply *reply)
{
	session->worker->counters.protocol_errors++;
	if (++session->errors < ERRORS_LIMIT) {
		session_reply(session, reply);
		return;
	}
	LOG_WARNING("too-many-errors", LOG_STRING("peer", conn_peer(session->conn)));
	session_end(session, &REPLY(421, 4, 7, 0, "too many errors"));
}

/* ---- input ---- */

static bool must_wait(const struct session *session, const struct commands_entry *command)
{
	const struct session_mail *mail = session->mail;

	if (!mail || mail->answers == 0)
		return false;
	return !command || !(command->flags & COMMANDS_ALONGSIDE) || mail->answers >= ANSWERS_LIMIT;
}

static void run_command(
	struct session *session, const struct commands_entry *command, struct text line)
{
	if (command && (command->flags & COMMANDS_IDLE) && !session->trusted &&
		++session->idle_commands > SESSION_IDLE_LIMIT)
		session_end(session, &REPLY(421, 4, 7, 0, "too many commands and no mail"));
	else
		commands_run(session, command, line);
}

static void fault_line(struct session *session, enum wire_fault fault)
{
	struct reply reply = REPLY(500, 5, 5, 2, "");

	reply.text = text_of(wire_fault_text(fault));
	session_fault(session, &reply);
}

/* One command line. False: nothing more can be done now. */
static bool take_command(struct session *session)
{
	struct wire_lines lines = session->lines;
	struct text line = TEXT("");
	enum wire_fault fault;
	size_t used;

	if (conn_output_full(session->conn) || (session->mail && session->mail->have))
		return false;
	int found = wire_line(&lines, conn_input(session->conn),
		session->trusted ? PARAMETERS_LINE_LIMIT : COMMAND_MAIL_LIMIT, &line, &used,
		&fault);
	const struct commands_entry *command = found > 0 ? commands_find(line) : NULL;
	if (found && must_wait(session, command)) {
		session->held = true;
		conn_hold(session->conn);
		return false;
	}
	session->lines = lines;
	if (found > 0)
		run_command(session, command, line);
	else if (found < 0)
		fault_line(session, fault);
	conn_consume(session->conn, used);
	return found != 0;
}

static bool take_input(struct session *session)
{
	switch (session->phase) {
	case SESSION_COMMANDS:
		return take_command(session);
	case SESSION_BODY:
		return session_take_body(session);
	case SESSION_CHUNK:
		return session_take_chunk(session);
	case SESSION_COMMIT:
	case SESSION_ENDING:
		break;
	}
	return false;
}

static void on_input(void *owner)
{
	struct session *session = owner;

	while (take_input(session))
		;
}

static void on_drained(void *owner)
{
	const struct session *session = owner;

	conn_again(session->conn);
}

static const char *end_name(enum conn_end end)
{
	switch (end) {
	case CONN_END_PEER:
		return "closed by the client";
	case CONN_END_FINISHED:
		return "finished";
	case CONN_END_TIMEOUT:
		return "timeout";
	case CONN_END_TLS:
		return "garbled";
	case CONN_END_ERROR:
		return "error";
	}
	return "unknown";
}

static void on_ended(void *owner, enum conn_end end, const char *detail)
{
	struct session *session = owner;

	if (session->mail && (session->phase == SESSION_BODY || session->mail->chunked))
		LOG_INFO("client-lost", LOG_STRING("id", session->mail->id.string),
			LOG_STRING("end", end_name(end)), LOG_STRING("detail", detail));
	else
		LOG_DEBUG("session-ended", LOG_STRING("end", end_name(end)),
			LOG_STRING("detail", detail));
	conn_free(&session->conn);
	/* What the store makes of its message still goes to the log. */
	if (session->phase != SESSION_COMMIT)
		session_free(session);
}

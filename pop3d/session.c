#include "pop3d/session.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/conn.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/net.h"
#include "base/proxy.h"
#include "base/role.h"
#include "pop3d/auth.h"
#include "pop3d/commands.h"
#include "pop3d/settings.h"
#include "store/client.h"

enum {
	LINE_LIMIT =
		255 +
		STORE_PASSWORD_LIMIT, /* RFC 2449 section 4 wants 255; passwords may be longer */
	REPLY_LIMIT = 512,            /* RFC 2449 section 4 */
	LIST_LINES = 512,             /* built in one go */
	COMMANDS_A_ROUND = 128,       /* then other sessions have their turn */
};

static uint64_t now_ms(void)
{
	return (uint64_t)clock_milliseconds();
}

static const struct pop3d_settings *settings_of(const struct session *session)
{
	return session->worker->context->settings;
}

static bool is_local(const struct session *session)
{
	const char *peer = conn_peer(session->conn);

	return strcmp(peer, "local") == 0 || strcmp(peer, "::1") == 0 ||
	       strncmp(peer, "127.", 4) == 0;
}

/* Counts it. False: its address has more sessions than it may. */
static bool enter(struct session *session, const struct net_address *peer)
{
	const struct pop3d_settings *settings = settings_of(session);
	struct limits *limits = session->worker->context->limits;
	struct net_address key = *peer;

	if (settings->clients_per_address == 0 ||
		(net_address_is_loopback(peer) && !settings->limits_loopback))
		return true;
	net_address_mask(&key, 32, 64);
	session->place = limits_enter(limits, &key);
	return limits_connections(limits, &session->place) <= settings->clients_per_address;
}

bool session_takes_passwords(const struct session *session)
{
	const struct pop3d_settings *settings = settings_of(session);

	return conn_is_secure(session->conn) || strcmp(settings->cleartext_login, "always") == 0 ||
	       (strcmp(settings->cleartext_login, "local") == 0 && is_local(session));
}

static void log_end(struct session *session)
{
	const struct text none = TEXT("");
	const bool secure = conn_is_secure(session->conn);

	LOG_INFO("session", LOG_STRING("peer", conn_peer(session->conn)),
		LOG_STRING("user", session->user != NULL ? session->user : "-"),
		LOG_STRING("tls", secure ? conn_tls_version(session->conn) : "-"),
		LOG_STRING("cipher", secure ? conn_tls_cipher(session->conn) : "-"),
		LOG_NUMBER("messages", session->maildrop.messages),
		LOG_NUMBER("retrieved", session->retrieved), LOG_NUMBER("octets", session->octets),
		LOG_NUMBER("deleted", session->deleted),
		LOG_OPTIONAL("pulled", uids_text(&session->pulled)),
		LOG_OPTIONAL("removed", session->deleted ? uids_text(&session->removed) : none),
		LOG_STRING("end", session->ending), LOG_NUMBER("ms", now_ms() - session->begun_ms));
}

static void session_free(struct session *session)
{
	struct worker *worker = session->worker;

	log_end(session);
	LIST_REMOVE(session, link);
	worker->session_count--;
	if (worker->paused && worker->session_count < settings_of(session)->clients) {
		worker->paused = false;
		role_pause(worker->context, false);
	}
	store_client_free(&session->store);
	transfer_end(&session->transfer);
	ahead_free(&session->ahead);
	maildrop_close(&session->maildrop);
	limits_leave(worker->context->limits, &session->place);
	conn_free(&session->conn);
	mem_free(session->user);
	mem_free(session);
}

void session_finish(struct session *session, const char *ending)
{
	session->state = SESSION_UPDATE;
	session->ending = ending;
	/* The lock goes now: who has seen the last reply may log in again at once. */
	store_client_free(&session->store);
	conn_finish(session->conn);
}

__attribute__((format(printf, 3, 0))) static void reply(
	struct session *session, const char *status, const char *format, va_list values)
{
	char text[REPLY_LIMIT - 16];

	vsnprintf(text, sizeof(text), format, values);
	conn_printf(session->conn, "%s %s\r\n", status, text);
}

void session_ok(struct session *session, const char *format, ...)
{
	va_list values;

	va_start(values, format);
	reply(session, "+OK", language_text(session->language, format), values);
	va_end(values);
}

void session_error(struct session *session, const char *format, ...)
{
	va_list values;

	va_start(values, format);
	reply(session, "-ERR", language_text(session->language, format), values);
	va_end(values);
	session->worker->total.errors++;
	if (++session->junk >= settings_of(session)->junk_commands &&
		session->state != SESSION_UPDATE)
		session_finish(session, "too many commands in error");
}

void session_refuse(struct session *session, const char *code, const char *sentence)
{
	conn_printf(session->conn, "-ERR [%s] %s\r\n", code,
		language_text(session->language, sentence));
}

/* Go on with the long list under way. True when it is complete. */
static bool run_list(struct session *session)
{
	const struct maildrop *maildrop = &session->maildrop;

	while (session->list_at <= maildrop->messages) {
		uint32_t lines = maildrop->messages - session->list_at + 1;
		size_t length = 0;

		if (conn_output_full(session->conn))
			return false;
		if (lines > LIST_LINES)
			lines = LIST_LINES;
		char *room = conn_room(session->conn, (size_t)lines * SESSION_LIST_LINE);
		while (lines-- > 0)
			length += session->list_line(maildrop, session->list_at++, room + length);
		conn_commit(session->conn, length);
	}
	conn_write(session->conn, TEXT(".\r\n"));
	session->list_line = NULL;
	return true;
}

/* Go on with the message under way. True when it is complete. */
static bool run_transfer(struct session *session)
{
	const bool whole = session->transfer.lines == TRANSFER_ALL;

	switch (transfer_run(&session->transfer, session->conn)) {
	case 0:
		return false;
	case 1:
		session->retrieved += whole;
		if (whole)
			uids_add(&session->pulled, session->transfer_uid);
		session->octets += session->transfer.octets;
		session->worker->total.retrieved += whole;
		session->worker->total.octets += session->transfer.octets;
		return true;
	}
	session_finish(session, "message could not be read");
	return false;
}

/* One line of input. False when none is complete. */
static bool run_line(struct session *session)
{
	enum wire_fault fault = WIRE_OK;
	struct text line;
	size_t used = 0;
	const size_t limit = session->answering ? AUTH_LINE_LIMIT : LINE_LIMIT;
	const int found =
		wire_line(&session->lines, conn_input(session->conn), limit, &line, &used, &fault);

	/* The line stays where it is until more is read: consuming only moves an offset. */
	conn_consume(session->conn, used);
	if (found == 1 && session->answering) {
		auth_line(session, line);
	} else if (found == -1 && session->answering) {
		session->answering = false;
		session_abandon_login(session, wire_fault_text(fault));
	} else if (found == 1) {
		commands_run(session, line);
	} else if (found == -1) {
		session_error(session, "%s", wire_fault_text(fault));
	}
	return found != 0;
}

/* A client that has sent all it will, and ended, is still owed the replies that the store is asked for. */
static void settle(struct session *session)
{
	if (session->waiting == session->held)
		return;
	session->held = session->waiting;
	if (session->held)
		conn_hold(session->conn);
	else
		conn_release(session->conn);
}

void session_resume(struct session *session)
{
	if (session->running)
		return;
	session->running = true;
	for (unsigned round = 0; !session->waiting; round++) {
		if (session->transfer.fd >= 0) {
			if (!run_transfer(session))
				break;
		} else if (session->list_line != NULL) {
			if (!run_list(session))
				break;
		} else if (session->state == SESSION_UPDATE || conn_output_full(session->conn)) {
			break;
		} else if (session->worker->stopping) {
			session_finish(session, "the host stops");
		} else if (round >= COMMANDS_A_ROUND) {
			conn_again(session->conn);
			break;
		} else if (!run_line(session)) {
			break;
		}
	}
	session->running = false;
	settle(session);
}

static void greet(struct session *session)
{
	session_ok(session, "%s POP3 server ready", session->worker->context->common->hostname);
}

/* peer NULL: it is not counted. */
static void let_in(struct session *session, const struct net_address *peer)
{
	struct worker *worker = session->worker;

	if (peer && !enter(session, peer)) {
		worker->total.refused++;
		if (!session->tls_listener)
			session_refuse(session, "SYS/TEMP", "too many sessions from your address");
		session_finish(session, "too many sessions of one address");
	} else if (session->tls_listener && worker->context->tls == NULL) {
		/* A reload took it away while the header was awaited. */
		session_finish(session, "no certificate");
	} else if (session->tls_listener) {
		conn_start_tls_here(session->conn, worker->context->tls);
	} else {
		greet(session);
	}
}

static void read_header(struct session *session)
{
	struct proxy_header header;
	size_t used;
	const int found = proxy_parse(conn_input(session->conn), &header, &used);

	if (found == 0)
		return;
	session->proxied = false;
	if (found < 0) {
		session->worker->total.refused++;
		session_finish(session, "no PROXY header");
		return;
	}
	conn_consume(session->conn, used);
	conn_idle_limit(session->conn, session->worker->limits.idle_seconds);
	if (header.has_client)
		conn_set_peer(session->conn, &header.client);
	let_in(session, header.has_client ? &header.client : NULL);
}

static void on_input(void *owner)
{
	struct session *session = owner;

	if (session->proxied) {
		read_header(session);
		if (session->proxied || session->state == SESSION_UPDATE)
			return;
	}
	session_resume(session);
}

static void on_ended(void *owner, enum conn_end end, const char *detail)
{
	struct session *session = owner;

	if (end != CONN_END_FINISHED) {
		session->ending = detail;
		if (session->state == SESSION_TRANSACTION && session->maildrop.deleted > 0)
			LOG_INFO("deletions-dropped", LOG_STRING("user", session->user),
				LOG_NUMBER("messages", session->maildrop.deleted));
	}
	session_free(session);
}

/* Nobody hears what is waited for. But the deletions of a QUIT were asked for, and go on. */
static void on_left(void *owner)
{
	struct session *session = owner;

	if (session->state != SESSION_UPDATE)
		on_ended(session, CONN_END_PEER, "the client has left");
}

static const struct conn_handlers conn_handlers = {
	.input = on_input,
	.drained = on_input,
	.left = on_left,
	.ended = on_ended,
};

static void on_secured(void *owner)
{
	struct session *session = owner;

	if (session->tls_listener)
		greet(session);
}

void session_new(struct worker *worker, int fd, bool tls_listener)
{
	static const struct conn_handlers tls_handlers = {
		.input = on_input,
		.drained = on_input,
		.secured = on_secured,
		.left = on_left,
		.ended = on_ended,
	};
	const struct pop3d_settings *settings = worker->context->settings;
	const struct net_address *peer = worker->context->peer;
	struct session *session;

	if (tls_listener && worker->context->tls == NULL) {
		LOG_ERROR("no-certificate", LOG_STRING("listener", "pop3s"));
		close(fd);
		return;
	}
	session = mem_new(sizeof(*session));
	session->worker = worker;
	session->state = SESSION_AUTHORIZATION;
	session->transfer.fd = -1;
	session->tls_listener = tls_listener;
	session->begun_ms = now_ms();
	session->ending = "closed";
	session->conn = conn_new(worker->context->loop, fd,
		tls_listener ? &tls_handlers : &conn_handlers, &worker->limits, session);
	conn_expect_secrets(session->conn, true);
	LIST_INSERT_HEAD(&worker->sessions, session, link);
	worker->session_count++;
	worker->total.sessions++;
	if (worker->session_count >= settings->clients) {
		worker->paused = true;
		role_pause(worker->context, true);
	}
	session->proxied = peer && net_list_holds(&settings->proxy.from, peer);
	if (session->proxied)
		conn_idle_limit(session->conn, (unsigned)settings->proxy.seconds);
	else
		let_in(session, peer);
}

void session_stop(struct session *session)
{
	session_resume(session);
}

#include "pop3d/session.h"

#include <errno.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
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

/* The one place where a failure of the store becomes a reply of POP3 (RFC 2449 section 8, RFC 3206). */
static void refuse_failure(struct session *session, enum store_failure failure)
{
	switch (failure) {
	case STORE_BAD_LOGIN:
	case STORE_NO_SUCH_USER:
		session_refuse(session, "AUTH", "wrong user or password");
		return;
	case STORE_LOCKED:
		session_refuse(session, "IN-USE", "another session has this maildrop open");
		return;
	case STORE_NO_SUCH_MESSAGE:
		session_refuse(
			session, "SYS/PERM", "the message is gone: something else has deleted it");
		return;
	case STORE_NO_SUCH_MAILBOX:
	case STORE_ALREADY_EXISTS:
	case STORE_OVER_QUOTA:
	case STORE_TOO_LARGE:
	case STORE_NO_SPACE:
	case STORE_NOT_DURABLE:
	case STORE_DAMAGED:
	case STORE_REFUSED:
	case STORE_INVALID:
		session_refuse(
			session, "SYS/TEMP", "the store cannot do that now; try again later");
		return;
	case STORE_BUSY:
		session_refuse(session, "SYS/TEMP", "the store is busy; try again in a moment");
		return;
	case STORE_AWAY:
		session_refuse(
			session, "SYS/TEMP", "the store starts again; try again in a moment");
		return;
	case STORE_OK:
	case STORE_FAILURES:
		break;
	}
	LOG_FATAL("not-a-failure", LOG_NUMBER("failure", failure));
}

/*
 * Without the store no further message can be had and no deletion be kept. What is on its way to the client
 * goes on; the next command that needs the store is told (fetch_wanted, session_update).
 */
static void on_store_ended(void *owner)
{
	struct session *session = owner;

	store_client_free(&session->store);
}

static const struct store_client_handlers store_handlers = { .ended = on_store_ended };

uint32_t session_login_spacing(const struct session *session)
{
	return (uint32_t)settings_of(session)->login_delay;
}

void session_connect_store(struct session *session)
{
	store_client_free(&session->store);
	session->store = store_client_new(
		session->worker->context->loop, "store-pop3d", &store_handlers, session);
}

void session_abandon_login(struct session *session, const char *sentence)
{
	store_client_free(&session->store);
	session_error(session, "%s", language_text(session->language, sentence));
}

void session_login_failed(struct session *session, enum store_failure failure)
{
	struct worker *worker = session->worker;

	store_client_free(&session->store);
	mem_free(session->user);
	session->user = NULL;
	if (failure == STORE_REFUSED)
		session_refuse(
			session, "LOGIN-DELAY", "your last login was a moment ago; come later");
	else
		refuse_failure(session, failure);
	if (failure == STORE_BAD_LOGIN || failure == STORE_NO_SUCH_USER) {
		worker->total.login_failures++;
		LOG_WARNING("login-failed", LOG_STRING("peer", conn_peer(session->conn)));
		if (++session->login_failures >= settings_of(session)->login_failures)
			session_finish(session, "too many wrong logins");
	} else if (failure != STORE_LOCKED && failure != STORE_REFUSED) {
		LOG_WARNING("login-put-off", LOG_STRING("peer", conn_peer(session->conn)),
			LOG_STRING("failure", store_failure_name(failure)));
	}
	session_resume(session);
}

static void on_selected(void *owner, struct store_reply *reply)
{
	struct session *session = owner;
	const struct store_listing *listing = NULL;
	size_t mapped = 0;

	session->waiting = false;
	if (reply->failure == STORE_OK && reply->fd >= 0)
		listing = store_listing_map(reply->fd, &mapped);
	if (listing == NULL && reply->failure == STORE_OK)
		LOG_WARNING("listing-not-mapped", LOG_ERRNO(errno));
	if (listing == NULL) {
		session_login_failed(
			session, reply->failure != STORE_OK ? reply->failure : STORE_DAMAGED);
		return;
	}
	maildrop_open(&session->maildrop, listing, mapped, reply->of.select.uidvalidity,
		reply->of.select.octets);
	session->state = SESSION_TRANSACTION;
	session->worker->total.logins++;
	session_ok(session, "%" PRIu32 " messages, %" PRIu64 " octets", session->maildrop.messages,
		session->maildrop.octets);
	session_resume(session);
}

void session_logged_in(struct session *session, struct text user)
{
	mem_free(session->user);
	session->user = mem_copy(user.ptr, user.len);
	session->waiting = true;
	store_client_select(session->store,
		&(struct store_select){ .mailbox = TEXT("INBOX"), .mode = STORE_SELECT_EXCLUSIVE },
		on_selected, session);
}

static void on_login(void *owner, struct store_reply *reply)
{
	struct session *session = owner;

	if (reply->failure != STORE_OK) {
		session->waiting = false;
		session_login_failed(session, reply->failure);
		return;
	}
	session_logged_in(session, reply->of.login.user);
}

/* A name without a domain belongs to the first of ours. */
static void complete_user(struct session *session)
{
	const struct settings_list *domains = &session->worker->context->common->domains;
	struct buf address = { 0 };

	if (domains->count == 0 || text_find(text_of(session->user), '@') >= 0)
		return;
	buf_format(&address, "%s@%s", session->user, domains->item[0]);
	mem_free(session->user);
	session->user = mem_copy(buf_text(&address).ptr, buf_length(&address));
	buf_release(&address);
}

void session_login(struct session *session, struct text password)
{
	complete_user(session);
	if (strlen(session->user) > STORE_ADDRESS_LIMIT) {
		session_login_failed(session, STORE_BAD_LOGIN);
		return;
	}
	session_connect_store(session);
	session->waiting = true;
	store_client_login(session->store,
		&(struct store_login){ .user = text_of(session->user),
			.password = password,
			.peer = text_of(conn_peer(session->conn)),
			.spacing = session_login_spacing(session) },
		on_login, session);
}

static void fetch_wanted(struct session *session);

static void on_fetched(void *owner, struct store_reply *reply)
{
	struct session *session = owner;

	ahead_answer(session->ahead, reply);
	if (session->wanted == 0)
		return;
	/* The client waits for more than this one: let some gather, so that they leave together. */
	if (conn_input(session->conn).len > 0 && ahead_gathers(session->ahead))
		return;
	session->waiting = false;
	fetch_wanted(session);
	if (!session->waiting)
		session_resume(session);
}

/* Nothing is asked when there is nothing to ask. */
static void ask_store(struct session *session, const struct buf *uids)
{
	if (buf_length(uids) > 0)
		store_client_fetch(session->store, &(struct store_fetch){ .uids = buf_text(uids) },
			on_fetched, session);
}

static void wait_for_wanted(struct session *session)
{
	struct buf uids = { 0 };

	if (session->store == NULL) {
		session->wanted = 0;
		refuse_failure(session, STORE_AWAY);
		return;
	}
	session->waiting = true;
	ahead_ask(session->ahead, &session->maildrop, session->wanted, &uids);
	ask_store(session, &uids);
	buf_release(&uids);
}

static void fetch_wanted(struct session *session)
{
	const uint32_t number = session->wanted;
	struct ahead_message message;
	struct buf uids = { 0 };

	switch (ahead_take(session->ahead, number, &message)) {
	case 0:
		wait_for_wanted(session);
		return;
	case -1:
		session->wanted = 0;
		refuse_failure(session, message.failure);
		return;
	}
	session->wanted = 0;
	session_ok(
		session, "%" PRIu64 " octets", session->maildrop.listing->entry[number - 1].wire);
	session->transfer_uid = session->maildrop.listing->entry[number - 1].uid;
	transfer_begin(&session->transfer, message.fd, message.size, session->wanted_lines);
	if (session->store == NULL)
		return;
	ahead_ask_more(session->ahead, &session->maildrop, &uids);
	ask_store(session, &uids);
	buf_release(&uids);
}

void session_fetch(struct session *session, uint32_t number, int64_t lines)
{
	if (session->ahead == NULL)
		session->ahead = ahead_new(&session->worker->ahead);
	session->wanted = number;
	session->wanted_lines = lines;
	fetch_wanted(session);
}

static void update_failed(struct session *session, enum store_failure failure)
{
	session_refuse(session, "SYS/TEMP", "not all was deleted: the store could not do it now");
	LOG_WARNING("update-failed", LOG_STRING("user", session->user),
		LOG_STRING("failure", store_failure_name(failure)));
	session_finish(session, "update failed");
}

static void on_updated(void *owner, struct store_reply *reply)
{
	struct session *session = owner;

	session->waiting = false;
	if (reply->failure == STORE_OK) {
		session->deleted = reply->of.update.changed;
		session->worker->total.deleted += session->deleted;
		session_ok(session, "good-bye; %" PRIu32 " messages deleted", session->deleted);
		session_finish(session, "quit");
	} else {
		update_failed(session, reply->failure);
	}
}

/* For the log, in case they go. */
static void note_deleted(struct session *session, struct text run)
{
	struct message_reader in = { .at = run.ptr, .left = run.len };

	while (in.left)
		uids_add(&session->removed, message_get_u32(&in, 0));
}

void session_update(struct session *session)
{
	const uint64_t days = settings_of(session)->expire_days;
	struct buf uids = { 0 };

	session->state = SESSION_UPDATE;
	if (days > 0)
		maildrop_expire(&session->maildrop, (int64_t)time(NULL) - (int64_t)days * 86400);
	if (session->maildrop.deleted == 0) {
		session_ok(session, "good-bye");
		session_finish(session, "quit");
		return;
	}
	if (session->store == NULL) {
		update_failed(session, STORE_AWAY);
		return;
	}
	session->waiting = true;
	maildrop_deleted_uids(&session->maildrop, &uids);
	note_deleted(session, buf_text(&uids));
	store_client_update(session->store,
		&(struct store_update){ .kind = STORE_UPDATE_EXPUNGE, .uids = buf_text(&uids) },
		on_updated, session);
	buf_release(&uids);
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

static const struct conn_handlers conn_handlers = {
	.input = on_input,
	.drained = on_input,
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

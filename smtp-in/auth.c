#include "smtp-in/auth.h"

#include <string.h>

#include "base/conn.h"
#include "base/log.h"
#include "base/mem.h"
#include "mail/base64.h"
#include "mail/reply.h"
#include "smtp-in/session.h"
#include "smtp-in/store_link.h"
#include "store/client.h"

/* Of a session that has tried; the others pay nothing. */
struct auth {
	const char *mechanism; /* of the exchange at hand, or of the login */
	uint32_t exchange;     /* at the store; 0: none */
	uint64_t link;         /* the connection to it on which that number means something */
	char *user;            /* who has logged in; NULL: nobody */
	unsigned failures;
};

/* The best first: many clients take the first they know. */
static const struct mechanism {
	const char *name;
	bool needs_tls, needs_binding;
} mechanisms[] = {
	{ "SCRAM-SHA-256-PLUS", true, true },
	{ "SCRAM-SHA-256", false, false },
	{ "PLAIN", true, false },
	{ "LOGIN", true, false },
};

static bool has_binding(const struct session *session)
{
	char binding[CONN_BINDING_LIMIT];
	size_t length;

	return conn_tls_channel_binding(session->conn, binding, &length) != NULL;
}

static bool is_possible(const struct session *session, const struct mechanism *mechanism)
{
	if (mechanism->needs_tls && !conn_is_secure(session->conn))
		return false;
	return !mechanism->needs_binding || has_binding(session);
}

void auth_add_mechanisms(const struct session *session, struct buf *out)
{
	for (size_t i = 0; i < sizeof(mechanisms) / sizeof(mechanisms[0]); i++) {
		if (session->listener->submission && is_possible(session, &mechanisms[i]))
			buf_format(out, " %s", mechanisms[i].name);
	}
}

static const struct mechanism *find_mechanism(struct text name)
{
	for (size_t i = 0; i < sizeof(mechanisms) / sizeof(mechanisms[0]); i++) {
		if (text_equal_nocase(name, text_of(mechanisms[i].name)))
			return &mechanisms[i];
	}
	return NULL;
}

struct text auth_user(const struct session *session)
{
	if (!session->auth || !session->auth->user)
		return (struct text){ 0 };
	return text_of(session->auth->user);
}

static struct text octets_of(const struct buf *buf)
{
	return buf_length(buf) ? buf_text(buf) : TEXT("");
}

/* ---- how it ended ---- */

static void log_failure(const struct session *session, const char *reason)
{
	LOG_INFO("login-failed", LOG_STRING("listener", session->listener->name),
		LOG_STRING("peer", conn_peer(session->conn)),
		LOG_STRING("mechanism", session->auth->mechanism), LOG_STRING("reason", reason));
}

static void succeed(struct session *session, struct text user)
{
	const bool secure = conn_is_secure(session->conn);

	session->auth->user = mem_copy(user.ptr, user.len);
	conn_expect_secrets(session->conn, false);
	session->worker->total.logins++;
	LOG_INFO("login", LOG_STRING("listener", session->listener->name),
		LOG_STRING("peer", conn_peer(session->conn)), LOG_TEXT("user", user),
		LOG_STRING("mechanism", session->auth->mechanism),
		LOG_STRING("tls", secure ? conn_tls_version(session->conn) : "none"),
		LOG_STRING("cipher", secure ? conn_tls_cipher(session->conn) : "none"));
	session_reply(session, REPLY(235, 2, 7, 0, "You are logged in"));
}

/* Guessing on costs a new connection, where the greeting and its limits wait. */
static void refuse_login(struct session *session)
{
	struct auth *auth = session->auth;

	session->worker->total.login_failures++;
	guard_login_failed(&session->worker->guard, &session->guard);
	log_failure(session, "wrong user or password");
	session_reply(session, REPLY(535, 5, 7, 8, "Wrong user or password"));
	if (++auth->failures >= worker_settings(session->worker)->login_failures)
		session_close(session, REPLY(421, 4, 7, 0, "Too many failed logins"));
}

/* The one place where a failure of the store becomes a reply to AUTH (RFC 4954 section 6). */
static void fail(struct session *session, enum store_failure failure)
{
	switch (failure) {
	case STORE_BAD_LOGIN:
	case STORE_NO_SUCH_USER:
		refuse_login(session);
		return;
	case STORE_BUSY:
		log_failure(session, "too many logins, or too many that failed");
		session_reply(
			session, REPLY(454, 4, 7, 0, "Not now: too many logins; come again later"));
		if (++session->auth->failures >= worker_settings(session->worker)->login_failures)
			session_close(session, REPLY(421, 4, 7, 0, "Too many failed logins"));
		return;
	case STORE_LOCKED:
	case STORE_NO_SUCH_MESSAGE:
	case STORE_NO_SUCH_MAILBOX:
	case STORE_ALREADY_EXISTS:
	case STORE_OVER_QUOTA:
	case STORE_TOO_LARGE:
	case STORE_NO_SPACE:
	case STORE_NOT_DURABLE:
	case STORE_DAMAGED:
	case STORE_REFUSED:
	case STORE_INVALID:
	case STORE_AWAY:
		log_failure(session, store_failure_name(failure));
		session_reply(session,
			REPLY(454, 4, 7, 0, "Logins are not possible just now, try again later"));
		return;
	case STORE_OK:
	case STORE_FAILURES:
		break;
	}
	LOG_FATAL("not-a-failure", LOG_NUMBER("failure", failure));
}

/* ---- to the store and back ---- */

static void challenge(struct session *session, struct text octets)
{
	struct buf line = { 0 };

	base64_encode(octets, &line);
	session_reply_line(session, 334, true, octets_of(&line));
	buf_release(&line);
}

static void on_stepped(struct session *session, enum store_failure failure,
	const struct store_sasl_step_reply *said)
{
	struct auth *auth = session->auth;

	auth->exchange = 0;
	/* The session was ended meanwhile. */
	if (session->state != SESSION_AUTHENTICATING)
		return;
	session->state = SESSION_COMMANDS;
	if (failure != STORE_OK) {
		fail(session, failure);
	} else if (said->done) {
		succeed(session, said->user);
	} else {
		auth->exchange = said->exchange;
		session->state = SESSION_ANSWER;
		challenge(session, said->challenge);
	}
	session_resume(session);
}

static void on_step(void *owner, struct store_reply *reply)
{
	on_stepped(owner, reply->failure, &reply->of.sasl_step);
}

static void on_start(void *owner, struct store_reply *reply)
{
	const struct store_sasl_start_reply *said = &reply->of.sasl_start;

	on_stepped(owner, reply->failure,
		&(struct store_sasl_step_reply){ .exchange = said->exchange,
			.done = said->done,
			.challenge = said->challenge,
			.user = said->user });
}

static void start(struct session *session, const struct mechanism *mechanism, bool begins,
	struct text initial)
{
	char binding[CONN_BINDING_LIMIT];
	size_t length = 0;
	const char *type = conn_tls_channel_binding(session->conn, binding, &length);

	if (!session->auth)
		session->auth = mem_new(sizeof(*session->auth));
	session->auth->mechanism = mechanism->name;
	session->state = SESSION_AUTHENTICATING;
	struct store_client *store = store_link(session->worker);
	session->auth->link = session->worker->store_links;
	store_client_sasl_start(store,
		&(struct store_sasl_start){ .mechanism = text_of(mechanism->name),
			.binding_type = type ? text_of(type) : TEXT(""),
			.binding = { .ptr = binding, .len = length },
			.peer = text_of(conn_peer(session->conn)),
			.begins = begins,
			.initial = initial },
		on_start, session);
}

/* The number of an exchange is another client's on a connection made since. */
static bool is_alive(const struct session *session)
{
	return session->auth->exchange && session->auth->link == session->worker->store_links;
}

static void cancel(struct session *session)
{
	if (is_alive(session))
		store_client_sasl_step(store_link(session->worker),
			&(struct store_sasl_step){ .exchange = session->auth->exchange,
				.cancel = 1,
				.response = TEXT("") },
			NULL, NULL);
	session->auth->exchange = 0;
}

/* ---- what the client says ---- */

/* Whether the mechanism may be used here; if not, the client has been told. */
static bool may_use(struct session *session, const struct mechanism *mechanism)
{
	if (!mechanism)
		session_reply(session,
			REPLY(504, 5, 5, 4, "No such mechanism; the reply to EHLO lists them"));
	else if (is_possible(session, mechanism))
		return true;
	else if (conn_is_secure(session->conn))
		session_reply(session,
			REPLY(504, 5, 5, 4, "This TLS connection has nothing to bind a login to"));
	else
		session_reply(session, REPLY(538, 5, 7, 11, "Only under TLS; STARTTLS first"));
	return false;
}

static void take_initial(
	struct session *session, const struct mechanism *mechanism, struct text initial)
{
	struct buf octets = { 0 };

	if (!guard_takes_logins(&session->worker->guard, &session->guard))
		session_close(
			session, REPLY(421, 4, 7, 0, "Too many failed logins, come again later"));
	/* "=" is an initial response without octets (RFC 4954 section 4). */
	else if (!text_equal(initial, TEXT("=")) && base64_decode(initial, &octets) != 0)
		session_reply(session, REPLY(501, 5, 5, 2, "The initial response is not base64"));
	else if (buf_length(&octets) > STORE_SASL_LIMIT)
		session_reply(session, REPLY(500, 5, 5, 6, "The initial response is too long"));
	else
		start(session, mechanism, initial.len > 0, octets_of(&octets));
	buf_wipe(&octets);
}

void auth_begin(struct session *session, struct text argument)
{
	const ptrdiff_t blank = text_find(argument, ' ');
	const struct text name = blank < 0 ? argument : text_head(argument, (size_t)blank);
	const struct text initial =
		blank < 0 ? TEXT("") : text_trim(text_from(argument, (size_t)blank));
	const struct mechanism *mechanism = find_mechanism(name);

	if (auth_user(session).ptr)
		session_reply(session, REPLY(503, 5, 5, 1, "You are logged in already"));
	else if (may_use(session, mechanism))
		take_initial(session, mechanism, initial);
	text_wipe(initial);
}

/* The exchange is over, and nobody logged in. */
static void give_up(struct session *session, struct reply reply)
{
	cancel(session);
	session->state = SESSION_COMMANDS;
	session_reply(session, reply);
}

void auth_answer(struct session *session, struct text line)
{
	struct buf octets = { 0 };

	if (text_equal(line, TEXT("*"))) {
		give_up(session, REPLY(501, 5, 7, 0, "As you like; nobody is logged in"));
	} else if (base64_decode(line, &octets) != 0) {
		give_up(session, REPLY(501, 5, 5, 2, "That is not base64; AUTH has ended"));
	} else if (buf_length(&octets) > STORE_SASL_LIMIT) {
		auth_answer_fault(session, true);
	} else if (!is_alive(session)) {
		session->state = SESSION_COMMANDS;
		fail(session, STORE_AWAY);
	} else {
		session->state = SESSION_AUTHENTICATING;
		store_client_sasl_step(store_link(session->worker),
			&(struct store_sasl_step){ .exchange = session->auth->exchange,
				.response = octets_of(&octets) },
			on_step, session);
	}
	text_wipe(line);
	buf_wipe(&octets);
}

void auth_answer_fault(struct session *session, bool is_too_long)
{
	if (is_too_long)
		give_up(session, REPLY(500, 5, 5, 6, "That line is too long; AUTH has ended"));
	else
		give_up(session, REPLY(501, 5, 5, 2, "That is not base64; AUTH has ended"));
}

void auth_end(struct session *session)
{
	struct auth *auth = session->auth;

	if (!auth)
		return;
	store_link_forget(session->worker, session);
	cancel(session);
	session->auth = NULL;
	mem_free(auth->user);
	mem_free(auth);
}

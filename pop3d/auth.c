#include "pop3d/auth.h"

#include <string.h>

#include "base/conn.h"
#include "mail/base64.h"
#include "pop3d/session.h"
#include "store/client.h"

static bool is_possible(const struct session *session, const char *mechanism)
{
	char binding[CONN_BINDING_LIMIT];
	size_t length;

	if (strcmp(mechanism, "SCRAM-SHA-256-PLUS") == 0)
		return conn_tls_channel_binding(session->conn, binding, &length) != NULL;
	return strcmp(mechanism, "SCRAM-SHA-256") == 0 || session_takes_passwords(session);
}

const char *auth_mechanism(const struct session *session, unsigned i)
{
	static const char *const mechanisms[] = { "SCRAM-SHA-256-PLUS", "SCRAM-SHA-256", "PLAIN",
		"LOGIN" };

	for (size_t at = 0; at < sizeof(mechanisms) / sizeof(mechanisms[0]); at++)
		if (is_possible(session, mechanisms[at]) && i-- == 0)
			return mechanisms[at];
	return NULL;
}

static void challenge(struct session *session, uint32_t exchange, struct text octets)
{
	struct buf line = { 0 };

	session->exchange = exchange;
	session->answering = true;
	buf_add_string(&line, "+ ");
	base64_encode(octets, &line);
	buf_add_string(&line, "\r\n");
	conn_write(session->conn, buf_text(&line));
	buf_release(&line);
	session_resume(session);
}

static void on_stepped(struct session *session, const struct store_reply *reply,
	const struct store_sasl_step_reply *said)
{
	session->waiting = false;
	if (reply->failure != STORE_OK)
		session_login_failed(session, reply->failure);
	else if (said->done)
		session_logged_in(session, said->user);
	else
		challenge(session, said->exchange, said->challenge);
}

static void on_step(void *owner, struct store_reply *reply)
{
	on_stepped(owner, reply, &reply->of.sasl_step);
}

static void on_start(void *owner, struct store_reply *reply)
{
	const struct store_sasl_start_reply *said = &reply->of.sasl_start;

	on_stepped(owner, reply,
		&(struct store_sasl_step_reply){ .exchange = said->exchange,
			.done = said->done,
			.challenge = said->challenge,
			.user = said->user });
}

static bool is_offered(const struct session *session, struct text mechanism)
{
	const char *offered;

	for (unsigned i = 0; (offered = auth_mechanism(session, i)) != NULL; i++)
		if (text_equal_nocase(mechanism, text_of(offered)))
			return true;
	return false;
}

void auth_begin(struct session *session, struct text mechanism, struct text initial)
{
	char binding[CONN_BINDING_LIMIT];
	size_t length = 0;
	struct buf octets = { 0 };
	const char *type;

	if (!is_offered(session, mechanism)) {
		session_error(session, "no such mechanism, or not without TLS; CAPA lists them");
		return;
	}
	/* "=" is an initial response without octets (RFC 5034 section 4). */
	if (initial.ptr != NULL && !text_equal(initial, TEXT("=")) &&
		base64_decode(initial, &octets) != 0) {
		session_error(session, "the initial response is not base64");
		buf_wipe(&octets);
		return;
	}
	type = conn_tls_channel_binding(session->conn, binding, &length);
	session_connect_store(session);
	session->waiting = true;
	store_client_sasl_start(session->store,
		&(struct store_sasl_start){ .mechanism = mechanism,
			.binding_type = type != NULL ? text_of(type) : TEXT(""),
			.binding = { .ptr = binding, .len = length },
			.peer = text_of(conn_peer(session->conn)),
			.spacing = session_login_spacing(session),
			.begins = initial.ptr != NULL,
			.initial = buf_length(&octets) > 0 ? buf_text(&octets) : TEXT("") },
		on_start, session);
	buf_wipe(&octets);
}

void auth_line(struct session *session, struct text line)
{
	struct buf octets = { 0 };

	session->answering = false;
	if (text_equal(line, TEXT("*"))) {
		session_abandon_login(session, "as you like; nobody is logged in");
	} else if (base64_decode(line, &octets) != 0 || buf_length(&octets) > STORE_SASL_LIMIT) {
		session_abandon_login(session, "that is not base64, or too long; AUTH has ended");
	} else if (session->store == NULL) {
		session_login_failed(session, STORE_AWAY);
	} else {
		session->waiting = true;
		store_client_sasl_step(session->store,
			&(struct store_sasl_step){ .exchange = session->exchange,
				.response =
					buf_length(&octets) > 0 ? buf_text(&octets) : TEXT("") },
			on_step, session);
	}
	text_wipe(line);
	buf_wipe(&octets);
}

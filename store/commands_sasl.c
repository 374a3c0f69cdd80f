/*
 * SASL_START and SASL_STEP: exchanges with the clients of pop3d, imapd and smtp-in.
 *
 * An exchange lives between two requests of its connection and ends with its last reply, with its
 * connection, or when the connection has begun so many others that this is the oldest.
 */
#include <string.h>

#include "base/mem.h"
#include "store/login.h"
#include "store/sasl.h"
#include "store/server_private.h"

enum { EXCHANGES = 1024 /* of one connection */ };

struct exchange {
	TAILQ_ENTRY(exchange) link;
	uint32_t number;
	struct sasl_exchange *sasl;
	struct text peer; /* on the heap */
	uint32_t spacing;
};

static void end(struct session *session, struct exchange *exchange)
{
	TAILQ_REMOVE(&session->exchanges, exchange, link);
	session->exchange_count--;
	sasl_end(&exchange->sasl);
	mem_free((char *)exchange->peer.ptr);
	mem_free(exchange);
}

void session_end_exchanges(struct session *session)
{
	while (!TAILQ_EMPTY(&session->exchanges))
		end(session, TAILQ_FIRST(&session->exchanges));
}

static struct exchange *find(const struct session *session, uint32_t number)
{
	struct exchange *exchange;

	TAILQ_FOREACH (exchange, &session->exchanges, link)
		if (exchange->number == number)
			return exchange;
	return NULL;
}

/* The replies to both requests are alike. */
static void reply(struct session *session, uint32_t tag, bool is_start,
	const struct store_sasl_start_reply *said)
{
	if (is_start)
		session_reply_sasl_start(session, tag, said, -1);
	else
		session_reply_sasl_step(session, tag,
			&(struct store_sasl_step_reply){
				.failure = said->failure,
				.exchange = said->exchange,
				.done = said->done,
				.challenge = said->challenge,
				.user = said->user,
			},
			-1);
}

static void reply_end(struct session *session, uint32_t tag, bool is_start,
	enum store_failure failure, struct text user)
{
	reply(session, tag, is_start,
		&(struct store_sasl_start_reply){
			.failure = failure, .done = 1, .challenge = TEXT(""), .user = user });
}

static void on_judged(void *owner, enum store_failure failure, const struct engine_user *user)
{
	struct request *request = owner;
	struct session *session = request->session;

	request->login = NULL;
	failure = session_log_in(session, failure, user, request->spacing);
	reply_end(session, request->tag, request->is_sasl_start, failure,
		failure == STORE_OK ? user->address : TEXT(""));
	request_end(request);
}

static void judge(struct session *session, uint32_t tag, bool is_start,
	const struct exchange *exchange, enum sasl_result result)
{
	struct logins *logins = session->server->logins;
	struct request *request = request_begin(session, tag, (session->peer & STORE_BY_USER) != 0);
	const struct store_login login = { .user = sasl_user(exchange->sasl),
		.password = sasl_password(exchange->sasl),
		.peer = exchange->peer };
	struct login *begun;

	request->is_sasl_start = is_start;
	request->spacing = exchange->spacing;
	if (result == SASL_PASSWORD)
		begun = login_begin(logins, &login, on_judged, request);
	else
		begun = login_judge(logins, &login, result == SASL_PROVEN, on_judged, request);
	if (begun)
		request->login = begun;
}

static void step(struct session *session, uint32_t tag, bool is_start, struct exchange *exchange,
	struct text response)
{
	struct buf challenge = { 0 };
	enum sasl_result result = sasl_step(exchange->sasl, response, &challenge);

	if (result == SASL_GOES_ON && buf_length(&challenge) > STORE_SASL_LIMIT)
		result = SASL_FAILED;
	if (result == SASL_GOES_ON) {
		reply(session, tag, is_start,
			&(struct store_sasl_start_reply){
				.exchange = exchange->number,
				.challenge =
					buf_length(&challenge) ? buf_text(&challenge) : TEXT(""),
				.user = TEXT(""),
			});
	} else {
		judge(session, tag, is_start, exchange, result);
		end(session, exchange);
	}
	buf_release(&challenge);
}

static struct exchange *begin(struct session *session, const struct store_sasl_start *request)
{
	struct sasl_exchange *sasl = sasl_begin(
		session->server->sasl, request->mechanism, request->binding_type, request->binding);

	if (!sasl)
		return NULL;
	if (session->exchange_count == EXCHANGES)
		end(session, TAILQ_FIRST(&session->exchanges));
	struct exchange *exchange = mem_new(sizeof(*exchange));
	exchange->sasl = sasl;
	exchange->spacing = request->spacing;
	exchange->number = ++session->last_exchange;
	exchange->peer = (struct text){ .ptr = mem_copy(request->peer.ptr, request->peer.len),
		.len = request->peer.len };
	TAILQ_INSERT_TAIL(&session->exchanges, exchange, link);
	session->exchange_count++;
	return exchange;
}

void command_sasl_start(
	struct session *session, uint32_t tag, const struct store_sasl_start *request)
{
	const bool refused = !session->user &&
			     text_begins_nocase(request->mechanism, TEXT("SCRAM-")) &&
			     login_is_refused(session->server->logins, request->peer);
	struct exchange *exchange = session->user || refused ? NULL : begin(session, request);

	if (refused)
		reply_end(session, tag, true, STORE_BUSY, TEXT(""));
	else if (exchange)
		step(session, tag, true, exchange, request->begins ? request->initial : TEXT(""));
	else
		reply_end(session, tag, true, session->user ? STORE_REFUSED : STORE_INVALID,
			TEXT(""));
	text_wipe(request->initial);
}

void command_sasl_step(struct session *session, uint32_t tag, const struct store_sasl_step *request)
{
	struct exchange *exchange = find(session, request->exchange);

	if (exchange && !request->cancel && !session->user) {
		step(session, tag, false, exchange, request->response);
	} else {
		if (exchange)
			end(session, exchange);
		reply_end(session, tag, false, STORE_REFUSED, TEXT(""));
	}
	text_wipe(request->response);
}

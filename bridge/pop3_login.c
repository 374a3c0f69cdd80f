#include <string.h>

#include "bridge/pop3.h"

enum { CAPABILITY_LINES = 200 };

static void note_word(struct pop3 *pop3, struct text word, bool sasl)
{
	static const struct {
		struct text name;
		bool sasl;
		unsigned bit;
	} known[] = {
		{ TEXT("STLS"), false, POP3_STLS },
		{ TEXT("PIPELINING"), false, POP3_PIPELINING },
		{ TEXT("UIDL"), false, POP3_UIDL },
		{ TEXT("USER"), false, POP3_USER },
		{ TEXT("PLAIN"), true, POP3_SASL_PLAIN },
		{ TEXT("XOAUTH2"), true, POP3_SASL_XOAUTH2 },
		{ TEXT("OAUTHBEARER"), true, POP3_SASL_OAUTHBEARER },
	};

	for (size_t i = 0; i < sizeof(known) / sizeof(known[0]); i++) {
		if (known[i].sasl == sasl && text_equal_nocase(known[i].name, word))
			pop3->capabilities |= known[i].bit;
	}
}

static void note_capability(struct pop3 *pop3, struct text line)
{
	struct text word;

	text_split(&line, ' ', &word);
	note_word(pop3, word, false);
	if (!text_equal_nocase(word, TEXT("SASL")))
		return;
	while (line.len && text_split(&line, ' ', &word))
		note_word(pop3, word, true);
}

/* RFC 2449. A server that knows no CAPA is asked for nothing special. */
static int ask_capabilities(struct pop3 *pop3)
{
	struct text line;

	pop3->capabilities = 0;
	pop3_expect(pop3, POP3_COMMAND_SECONDS, POP3_REPLY_OCTETS);
	if (pop3_send(pop3, "CAPA") != 0 || pop3_flush(pop3) != 0)
		return -1;
	const int status = pop3_reply(pop3);
	if (status != 1)
		return status < 0 ? -1 : 0;
	pop3->capabilities = POP3_CAPA;
	for (int i = 0; i < CAPABILITY_LINES; i++) {
		if (pop3_line(pop3, &line) != 0)
			return -1;
		if (text_equal(line, TEXT(".")))
			return 0;
		note_capability(pop3, line);
	}
	return fault_set(&pop3->session->fault, FAULT_SERVER, "the server's CAPA has no end");
}

static int start_tls(struct pop3 *pop3)
{
	struct session *session = pop3->session;

	if (ask_capabilities(pop3) != 0)
		return -1;
	if ((pop3->capabilities & POP3_CAPA) && !(pop3->capabilities & POP3_STLS))
		return fault_set(&session->fault, FAULT_TLS,
			"the server offers no STLS, or somebody between removes it; nothing was "
			"sent in the clear");
	pop3_expect(pop3, POP3_COMMAND_SECONDS, POP3_REPLY_OCTETS);
	if (pop3_send(pop3, "STLS") != 0 || pop3_flush(pop3) != 0)
		return -1;
	const int status = pop3_reply(pop3);
	if (status < 0)
		return -1;
	if (status != 1)
		return pop3_refused(pop3, FAULT_TLS, "no STLS, and nothing is sent in the clear");
	/* What came behind the answer was said by nobody we know. */
	pop3->start = pop3->end = 0;
	return stream_start_tls(&session->stream) == 0 ? 0 : session_check(session);
}

/*
 * AUTH (RFC 5034): the response at the server's challenge, for it may be longer than a line may; refusal:
 * what a challenge after that is answered with. Takes octets.
 */
static int authenticate(
	struct pop3 *pop3, const char *mechanism, struct buf *octets, const char *refusal)
{
	const struct text coded = secret_code(&pop3->session->secret, octets);
	bool given = false;
	int status;

	pop3_expect(pop3, POP3_COMMAND_SECONDS, POP3_REPLY_OCTETS);
	int result = pop3_send(pop3, "AUTH %s", mechanism);
	for (;;) {
		status = result == 0 && pop3_flush(pop3) == 0 ? pop3_reply_to_auth(pop3) : -1;
		if (status != 2)
			break;
		result = given ? pop3_send(pop3, "%s", refusal)
			       : pop3_send(pop3, "%.*s", TEXT_ARG(coded));
		given = true;
	}
	if (status < 0)
		return -1;
	return status == 1 ? 0 : pop3_refused(pop3, FAULT_LOGIN, "the server refuses the login");
}

static int login_with_token(struct pop3 *pop3)
{
	const struct bridge_account *account = pop3->session->options.account;
	const bool bearer = strcmp(account->token_mechanism, "oauthbearer") == 0;
	struct buf octets = { 0 };

	if (!(pop3->capabilities & (bearer ? POP3_SASL_OAUTHBEARER : POP3_SASL_XOAUTH2)))
		return fault_set(&pop3->session->fault, FAULT_SETTINGS,
			"the server does not take tokens by %s", account->token_mechanism);
	secret_add_token(&pop3->session->secret, account, &octets);
	/* RFC 7628 section 3.2.3: a lone %x01 in base64; XOAUTH2 wants an empty line. */
	return authenticate(
		pop3, bearer ? "OAUTHBEARER" : "XOAUTH2", &octets, bearer ? "AQ==" : "");
}

static int login_with_password(struct pop3 *pop3)
{
	const char *user = pop3->session->options.account->user;
	const char *password = pop3->session->secret.string;
	struct buf octets = { 0 };

	if (!(pop3->capabilities & POP3_SASL_PLAIN)) {
		pop3_expect(pop3, POP3_COMMAND_SECONDS, POP3_REPLY_OCTETS);
		if (pop3_command(pop3, "the server refuses the user", "USER %s", user) != 0 ||
			pop3_send(pop3, "PASS %s", password) != 0 || pop3_flush(pop3) != 0)
			return -1;
		const int status = pop3_reply(pop3);
		if (status < 0)
			return -1;
		return status == 1 ? 0
				   : pop3_refused(pop3, FAULT_LOGIN,
					     "the server refuses user and password");
	}
	buf_add_char(&octets, '\0');
	buf_add_string(&octets, user);
	buf_add_char(&octets, '\0');
	buf_add_string(&octets, password);
	return authenticate(pop3, "PLAIN", &octets, "");
}

int pop3_login(struct pop3 *pop3)
{
	struct session *session = pop3->session;
	const enum bridge_tls tls = bridge_account_tls(session->options.account);

	if (tls == BRIDGE_TLS_IMPLICIT && stream_start_tls(&session->stream) != 0)
		return session_check(session);
	pop3_expect(pop3, POP3_COMMAND_SECONDS, POP3_REPLY_OCTETS);
	const int greeting = pop3_reply(pop3);
	if (greeting < 0)
		return -1;
	if (greeting != 1)
		return pop3_refused(pop3, FAULT_SERVER, "the server takes nobody now");
	if (tls == BRIDGE_TLS_STARTTLS && start_tls(pop3) != 0)
		return -1;
	if (ask_capabilities(pop3) != 0)
		return -1;
	const int result =
		session->secret.is_token ? login_with_token(pop3) : login_with_password(pop3);
	secret_forget(&session->secret);
	/* PIPELINING may be told only now. */
	return result == 0 ? ask_capabilities(pop3) : -1;
}

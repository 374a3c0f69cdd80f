#include "smtp-in/commands.h"

#include "base/arena.h"
#include "base/conn.h"
#include "base/mem.h"
#include "base/role.h"
#include "mail/command.h"
#include "smtp-in/auth.h"
#include "smtp-in/bdat.h"
#include "smtp-in/envelope.h"
#include "smtp-in/lmtp.h"
#include "smtp-in/message.h"
#include "smtp-in/sender.h"
#include "smtp-in/session.h"
#include "smtp-in/transaction.h"

/* RCPTs under way before their verdicts: a stranger may ask about no more of them in one go. */
enum { RECIPIENTS_AT_ONCE = 100 };

enum verb_flag {
	VERB_BEFORE_HELLO = 1,    /* may come before EHLO or HELO */
	VERB_IN_TRANSACTION = 2,  /* MAIL must have come before */
	VERB_NO_TRANSACTION = 4,  /* and this one after which it must not */
	VERB_ARGUMENT = 8,        /* has one, always */
	VERB_NO_ARGUMENT = 16,    /* has none, ever */
	VERB_JUNK = 32,           /* leads to nothing by itself */
	VERB_PIPELINED = 64,      /* need not wait for the verdicts on recipients */
	VERB_AUTHENTICATED = 128, /* on submission listeners: of authenticated users only */
	VERB_UNSEEN = 256,        /* not told by HELP */
	VERB_SUBMISSION = 512,    /* on submission listeners only */
	VERB_NO_CHUNKS = 1024,    /* not once BDAT has begun the message */
	VERB_CHUNK = 2048,        /* octets follow it, whatever becomes of it */
};

struct verb {
	struct text name;
	enum commands_result (*run)(struct session *session, struct text argument);
	unsigned flags;
	struct text usage;
};

static struct reply reply_with(struct reply reply, struct text text)
{
	reply.text = text;
	return reply;
}

/* ---- EHLO, HELO ---- */

/*
 * A domain or an address literal (RFC 5321 section 4.1.3). Underscores are no part of host names, but of
 * what many a host is called.
 */
static bool is_client_name(struct text name)
{
	struct text rest = name, label;

	if (name.len && name.ptr[0] == '[')
		return address_is_literal(name);
	if (name.len == 0 || name.len > ADDRESS_DOMAIN_LIMIT)
		return false;
	while (text_split(&rest, '.', &label)) {
		for (size_t i = 0; i < label.len; i++) {
			const char c = text_lower(label.ptr[i]);
			if (!(c >= 'a' && c <= 'z') && !(c >= '0' && c <= '9') && c != '-' &&
				c != '_')
				return false;
		}
		/* An absolute name ends in a dot. */
		if (label.len == 0 && (rest.ptr || name.len == 1))
			return false;
	}
	return true;
}

static bool offers_tls(const struct session *session)
{
	return session->worker->context->tls && !conn_is_secure(session->conn);
}

/* What senders want to be told is for those who deliver: they have to know about it. */
static bool offers_dsn(const struct session *session)
{
	return lmtp_pool_offers_dsn(session->worker->pool);
}

static bool offers_always(const struct session *session)
{
	(void)session;
	return true;
}

static const struct extension {
	const char *keyword;
	bool (*offered)(const struct session *session);
} extensions[] = {
	{ "PIPELINING", offers_always },
	{ "CHUNKING", offers_always },
	{ "8BITMIME", offers_always },
	{ "SMTPUTF8", offers_always },
	{ "ENHANCEDSTATUSCODES", offers_always },
	{ "DSN", offers_dsn },
	{ "PRDR", offers_always },
	{ "STARTTLS", offers_tls },
	{ "HELP", offers_always },
};

static void tell_extensions(struct session *session)
{
	struct buf line = { 0 };

	session_reply_line(session, 250, false, worker_hostname(session->worker));
	for (size_t i = 0; i < sizeof(extensions) / sizeof(extensions[0]); i++) {
		if (extensions[i].offered(session))
			session_reply_line(session, 250, false, text_of(extensions[i].keyword));
	}
	buf_add_string(&line, "AUTH");
	auth_add_mechanisms(session, &line);
	if (session->listener->submission)
		session_reply_line(session, 250, false, buf_text(&line));
	buf_clear(&line);
	/* RFC 9422. A session may send any number of messages: no MAILMAX. */
	buf_format(&line, "LIMITS RCPTMAX=%llu",
		(unsigned long long)worker_settings(session->worker)->recipients);
	session_reply_line(session, 250, false, buf_text(&line));
	buf_clear(&line);
	buf_format(&line, "SIZE %llu",
		(unsigned long long)worker_settings(session->worker)->message_size);
	session_reply_line(session, 250, true, buf_text(&line));
	buf_release(&line);
}

static enum commands_result hello(struct session *session, struct text name, bool esmtp)
{
	if (!is_client_name(name)) {
		session_reply(session,
			REPLY(501, 5, 5, 4,
				"That is no host name; give yours, or your address in brackets"));
		return COMMANDS_DONE;
	}
	if (esmtp && lmtp_pool_is_asking(session->worker->pool))
		return COMMANDS_WAIT;
	session_reset(session);
	session->helo = (struct text){ .ptr = mem_copy(name.ptr, name.len), .len = name.len };
	session->esmtp = esmtp;
	if (esmtp)
		tell_extensions(session);
	else
		session_reply_line(session, 250, true, worker_hostname(session->worker));
	return COMMANDS_DONE;
}

static enum commands_result run_ehlo(struct session *session, struct text argument)
{
	return hello(session, argument, true);
}

static enum commands_result run_helo(struct session *session, struct text argument)
{
	return hello(session, argument, false);
}

static enum commands_result run_starttls(struct session *session, struct text argument)
{
	(void)argument;
	if (conn_is_secure(session->conn)) {
		session_reply(session, REPLY(503, 5, 5, 1, "TLS is in use already"));
	} else if (!session->worker->context->tls) {
		session_reply(session, REPLY(454, 4, 7, 0, "TLS is not available"));
	} else {
		session_reset(session);
		auth_end(session);
		conn_expect_secrets(session->conn, session->listener->submission);
		session_reply(session, REPLY(220, 2, 0, 0, "Begin TLS"));
		session->state = SESSION_SECURING;
	}
	return COMMANDS_DONE;
}

/* ---- MAIL, RCPT, DATA ---- */

static enum commands_result run_mail(struct session *session, struct text argument)
{
	struct transaction *transaction;
	struct reply fault;

	if (!guard_take_message(&session->worker->guard, &session->guard)) {
		if (session_count_junk(session))
			session_reply(session,
				REPLY(450, 4, 7, 1, "Too many messages, come again later"));
		return COMMANDS_DONE;
	}
	transaction = transaction_new(session);
	if (envelope_take_mail(transaction, argument, &fault)) {
		session->transaction = transaction;
		if (session->listener->submission)
			sender_judge(session);
		else
			session_reply_mail(session);
	} else {
		session_reply(session, fault);
		transaction_free(&transaction);
	}
	return COMMANDS_DONE;
}

/* False: the client has been told why not. A message that has recipients is not lost for the others'. */
static bool may_have_recipients(struct session *session)
{
	if (guard_takes_recipients(&session->worker->guard, &session->guard))
		return true;
	if (session->transaction->accepted)
		session_reply(session,
			REPLY(450, 4, 7, 1, "Too many recipients failed, come again later"));
	else
		session_close(session,
			REPLY(421, 4, 7, 0, "Too many recipients failed, come again later"));
	return false;
}

static enum commands_result run_rcpt(struct session *session, struct text argument)
{
	const struct guard *guard = &session->worker->guard;
	struct envelope_recipient recipient;
	struct reply fault;

	if (transaction_is_awaited(session->transaction) &&
		(guard_is_wary(guard, &session->guard) ||
			session->transaction->awaited >= RECIPIENTS_AT_ONCE))
		return COMMANDS_WAIT;
	if (!may_have_recipients(session))
		return COMMANDS_DONE;
	if (envelope_take_recipient(session->transaction, argument, &recipient, &fault))
		transaction_add_recipient(session->transaction, &recipient.address, &recipient.dsn);
	else if (transaction_is_awaited(session->transaction))
		return COMMANDS_WAIT;
	else
		session_reply(session, fault);
	return COMMANDS_DONE;
}

static enum commands_result run_data(struct session *session, struct text argument)
{
	struct transaction *transaction = session->transaction;

	(void)argument;
	if (transaction->failed) {
		session_reply(session, transaction_unavailable());
		transaction_free(&session->transaction);
	} else if (transaction->recipients == 0) {
		session_reply(session, REPLY(503, 5, 5, 1, "RCPT first"));
	} else if (transaction->awaited == 0 && transaction->accepted == 0) {
		session_reply(session, REPLY(554, 5, 5, 1, "No valid recipients"));
		transaction_free(&session->transaction);
	} else {
		message_start(transaction, LMTP_BODY_STUFFED);
	}
	return COMMANDS_DONE;
}

/* ---- the others ---- */

static enum commands_result run_auth(struct session *session, struct text argument)
{
	auth_begin(session, argument);
	return COMMANDS_DONE;
}

static enum commands_result run_rset(struct session *session, struct text argument)
{
	(void)argument;
	transaction_free(&session->transaction);
	session_reply(session, REPLY(250, 2, 0, 0, "Reset"));
	return COMMANDS_DONE;
}

static enum commands_result run_noop(struct session *session, struct text argument)
{
	(void)argument;
	session_reply(session, REPLY(250, 2, 0, 0, "Ok"));
	return COMMANDS_DONE;
}

static enum commands_result run_vrfy(struct session *session, struct text argument)
{
	(void)argument;
	session_reply(
		session, REPLY(252, 2, 5, 0, "Not told; send a message and its RCPT will tell"));
	return COMMANDS_DONE;
}

static enum commands_result run_expn(struct session *session, struct text argument)
{
	(void)argument;
	session_reply(session, REPLY(502, 5, 5, 1, "EXPN is not offered"));
	return COMMANDS_DONE;
}

static enum commands_result run_quit(struct session *session, struct text argument)
{
	(void)argument;
	session_close(session, REPLY(221, 2, 0, 0, "Goodbye"));
	return COMMANDS_DONE;
}

/* A web browser made to post to us: none of what follows is to be taken for commands. */
static enum commands_result run_foreign(struct session *session, struct text argument)
{
	(void)argument;
	session_close(session, REPLY(421, 4, 7, 0, "This is SMTP"));
	return COMMANDS_DONE;
}

static enum commands_result run_help(struct session *session, struct text argument);

/* ---- the table ---- */

/* clang-format off */
#define VERB(string, function, rules, how) \
	{ .name = { string, sizeof(string) - 1 }, .run = (function), .flags = (rules), \
		.usage = { how, sizeof(how) - 1 } }

static const struct verb verbs[] = {
	VERB("EHLO", run_ehlo, VERB_BEFORE_HELLO | VERB_ARGUMENT | VERB_JUNK, "EHLO your.host.name"),
	VERB("HELO", run_helo, VERB_BEFORE_HELLO | VERB_ARGUMENT | VERB_JUNK, "HELO your.host.name"),
	VERB("STARTTLS", run_starttls, VERB_NO_ARGUMENT, "STARTTLS"),
	VERB("AUTH", run_auth, VERB_NO_TRANSACTION | VERB_ARGUMENT | VERB_SUBMISSION,
		"AUTH mechanism [initial response]"),
	VERB("MAIL", run_mail, VERB_NO_TRANSACTION | VERB_ARGUMENT | VERB_AUTHENTICATED,
		"MAIL FROM:<sender> [SIZE=octets] [BODY=7BIT|8BITMIME] [SMTPUTF8] [PRDR]"),
	VERB("RCPT", run_rcpt, VERB_IN_TRANSACTION | VERB_NO_CHUNKS | VERB_ARGUMENT | VERB_PIPELINED,
		"RCPT TO:<recipient>"),
	VERB("DATA", run_data, VERB_IN_TRANSACTION | VERB_NO_CHUNKS | VERB_NO_ARGUMENT | VERB_PIPELINED,
		"DATA"),
	VERB("BDAT", bdat_run, VERB_IN_TRANSACTION | VERB_PIPELINED | VERB_CHUNK, "BDAT octets [LAST]"),
	VERB("RSET", run_rset, VERB_BEFORE_HELLO | VERB_NO_ARGUMENT | VERB_JUNK, "RSET"),
	VERB("NOOP", run_noop, VERB_BEFORE_HELLO | VERB_JUNK, "NOOP [anything]"),
	VERB("VRFY", run_vrfy, VERB_BEFORE_HELLO | VERB_ARGUMENT | VERB_JUNK, "VRFY name"),
	VERB("HELP", run_help, VERB_BEFORE_HELLO | VERB_JUNK, "HELP [command]"),
	VERB("QUIT", run_quit, VERB_BEFORE_HELLO | VERB_NO_ARGUMENT, "QUIT"),
	VERB("EXPN", run_expn, VERB_BEFORE_HELLO | VERB_UNSEEN, ""),
	VERB("GET", run_foreign, VERB_BEFORE_HELLO | VERB_UNSEEN, ""),
	VERB("POST", run_foreign, VERB_BEFORE_HELLO | VERB_UNSEEN, ""),
	VERB("CONNECT", run_foreign, VERB_BEFORE_HELLO | VERB_UNSEEN, ""),
};
/* clang-format on */

static const struct verb *find_verb(struct text name)
{
	for (size_t i = 0; i < sizeof(verbs) / sizeof(verbs[0]); i++) {
		if (text_equal_nocase(name, verbs[i].name))
			return &verbs[i];
	}
	return NULL;
}

static bool is_told(const struct session *session, const struct verb *verb)
{
	return !(verb->flags & VERB_UNSEEN) &&
	       (!(verb->flags & VERB_SUBMISSION) || session->listener->submission);
}

static void help_line(struct session *session, bool last, struct text text)
{
	struct buf line = { 0 };

	buf_add_string(&line, "2.0.0 ");
	buf_add(&line, text);
	session_reply_line(session, 214, last, buf_text(&line));
	buf_release(&line);
}

static enum commands_result run_help(struct session *session, struct text argument)
{
	const struct verb *verb = find_verb(argument);

	if (verb && is_told(session, verb)) {
		help_line(session, true, verb->usage);
		return COMMANDS_DONE;
	}
	for (size_t i = 0; i < sizeof(verbs) / sizeof(verbs[0]); i++) {
		if (is_told(session, &verbs[i]))
			help_line(session, false, verbs[i].usage);
	}
	help_line(session, true, TEXT("End of HELP"));
	return COMMANDS_DONE;
}

/* Whether the rules of its flags forbid it here. */
static bool is_out_of_place(
	const struct session *session, const struct verb *verb, struct reply *fault)
{
	if ((verb->flags & VERB_SUBMISSION) && !session->listener->submission)
		*fault = REPLY(502, 5, 5, 1, "Not here; logins are for the submission ports");
	else if (!(verb->flags & VERB_BEFORE_HELLO) && !session->helo.ptr)
		*fault = REPLY(503, 5, 5, 1, "EHLO first");
	else if ((verb->flags & VERB_IN_TRANSACTION) && !session->transaction)
		*fault = REPLY(503, 5, 5, 1, "MAIL first");
	else if ((verb->flags & VERB_NO_TRANSACTION) && session->transaction)
		*fault = REPLY(503, 5, 5, 1, "MAIL was given already; RSET forgets it");
	else if ((verb->flags & VERB_NO_CHUNKS) && session->transaction->chunked)
		*fault = REPLY(503, 5, 5, 1, "BDAT has begun the message; RSET forgets it");
	else if ((verb->flags & VERB_AUTHENTICATED) && session->listener->submission &&
		 !auth_user(session).ptr)
		*fault = REPLY(530, 5, 7, 0, "Authentication required");
	else
		return false;
	return true;
}

static bool has_wrong_form(const struct verb *verb, struct text argument)
{
	return ((verb->flags & VERB_ARGUMENT) && argument.len == 0) ||
	       ((verb->flags & VERB_NO_ARGUMENT) && argument.len);
}

static void tell_form(struct session *session, const struct verb *verb)
{
	struct buf text = { 0 };

	buf_add_string(&text, "Syntax: ");
	buf_add(&text, verb->usage);
	session_reply(session, reply_with(REPLY(501, 5, 5, 4, ""), buf_text(&text)));
	buf_release(&text);
}

enum commands_result commands_run(struct session *session, struct text line)
{
	const struct command command = command_split(line);
	const struct verb *verb = find_verb(command.verb);
	struct reply fault = REPLY(500, 5, 5, 2, "Command unknown");
	const bool wrong_place = !verb || is_out_of_place(session, verb, &fault);
	const bool wrong_form = !wrong_place && has_wrong_form(verb, command.argument);

	if (transaction_is_awaited(session->transaction) &&
		(wrong_place || wrong_form || !(verb->flags & VERB_PIPELINED)))
		return COMMANDS_WAIT;
	if (wrong_place && verb && (verb->flags & VERB_CHUNK))
		bdat_refuse(session, command.argument, fault);
	else if (wrong_place)
		session_reply(session, fault);
	else if (wrong_form)
		tell_form(session, verb);
	else if (!(verb->flags & VERB_JUNK) || session_count_junk(session))
		return verb->run(session, command.argument);
	return COMMANDS_DONE;
}

#include "mda/commands.h"

#include <string.h>

#include "base/arena.h"
#include "base/log.h"
#include "base/mem.h"
#include "mda/have.h"
#include "mda/parameters.h"
#include "mda/session.h"
#include "mda/verdict.h"

/* ---- LHLO ---- */

/* Lenient, for local clients call themselves all sorts of things; but nothing that could act as more. */
static bool is_client_name(struct text name)
{
	if (name.len == 0 || name.len > 255)
		return false;
	for (size_t i = 0; i < name.len; i++) {
		const char c = text_lower(name.ptr[i]);
		if (!((c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') ||
			    (c && strchr("-._:[]", c))))
			return false;
	}
	return true;
}

static struct parameters_offer offered(const struct session *session)
{
	const struct mda_settings *settings = session->worker->options.settings;

	return (struct parameters_offer){ .trusted = session->trusted,
		.dsn = settings->dsn,
		.size_limit = settings->message_size };
}

static void announce_all(struct session *session)
{
	const struct worker *worker = session->worker;
	const struct parameters_offer offer = offered(session);
	struct buf line = { 0 }, next = { 0 };
	bool more = true;

	buf_add_string(&line, worker->options.common->hostname);
	for (size_t i = 0; more; i++) {
		buf_clear(&next);
		more = parameters_announcement(i, &offer, &next);
		session_reply_line(session, 250, !more, buf_text(&line));
		buf_clear(&line);
		buf_add(&line, buf_text(&next));
	}
	buf_release(&line);
	buf_release(&next);
}

static void run_lhlo(struct session *session, struct text argument)
{
	if (!is_client_name(argument)) {
		session_fault(session, &REPLY(501, 5, 5, 4, "LHLO needs a host name"));
		return;
	}
	session_drop_mail(session);
	mem_free(session->client);
	session->client = mem_copy(argument.ptr, argument.len);
	session_set_timeout(session);
	announce_all(session);
}

static void run_foreign(struct session *session, struct text argument)
{
	(void)argument;
	session_fault(session, &REPLY(500, 5, 5, 1, "this is LMTP (RFC 2033): say LHLO"));
}

/* ---- MAIL and RCPT ---- */

static struct reply sender_fault(enum address_fault fault)
{
	if (fault == ADDRESS_8BIT)
		return (struct reply){ .code = 553,
			.enhanced = { 5, 6, 7 },
			.text = text_of(address_fault_text(fault)) };
	return (struct reply){
		.code = 501, .enhanced = { 5, 1, 7 }, .text = text_of(address_fault_text(fault))
	};
}

static struct reply recipient_fault(enum address_fault fault)
{
	struct reply reply = sender_fault(fault);

	if (fault != ADDRESS_8BIT)
		reply.enhanced[2] = 3;
	return reply;
}

static struct reply command_reply(enum command_fault fault)
{
	switch (fault) {
	case COMMAND_TOO_MANY_PARAMETERS:
		return REPLY(501, 5, 5, 4, "too many parameters");
	case COMMAND_DUPLICATE_PARAMETER:
		return REPLY(501, 5, 5, 4, "a parameter stands there twice");
	case COMMAND_OK:
	case COMMAND_SYNTAX:
	case COMMAND_ADDRESS:
		break;
	}
	return REPLY(501, 5, 5, 4, "syntax: MAIL FROM:<address> or RCPT TO:<address>");
}

static void refuse_size(struct session *session, uint64_t size)
{
	const struct reply reply = verdict_reply(STORE_TOO_LARGE);

	LOG_INFO("refused", LOG_NUMBER("size", size), LOG_NUMBER("code", reply.code),
		LOG_TEXT("verdict", reply.text));
	session->worker->counters.messages_refused++;
	session_reply(session, &reply);
}

static void begin_mail(
	struct session *session, struct arena *arena, const struct command_path *path)
{
	const struct parameters_offer offer = offered(session);
	struct parameters parameters = { 0 };

	if (!parameters_take(arena, PARAMETERS_MAIL, &offer, path, &parameters)) {
		session_fault(session, &parameters.fault);
		return;
	}
	/* <postmaster> without a domain is a recipient only. */
	if (path->address.local.len && !path->address.domain.len) {
		const struct reply fault = sender_fault(ADDRESS_SYNTAX);
		session_fault(session, &fault);
		return;
	}
	if (parameters.size > session->worker->options.settings->message_size) {
		refuse_size(session, parameters.size);
		return;
	}
	session_begin_mail(session, &(struct session_sender){ .address = path->address,
					    .size = parameters.size,
					    .id = parameters.id,
					    .utf8 = parameters.utf8,
					    .each = parameters.each || !session->trusted,
					    .date = parameters.date,
					    .dsn = parameters.dsn });
	session_reply(session, &REPLY(250, 2, 1, 0, "sender ok"));
}

static void run_mail(struct session *session, struct text argument)
{
	struct arena *arena = arena_new(512);
	struct command_path path;
	enum address_fault address;
	const bool utf8 = command_mentions(argument, TEXT("SMTPUTF8"));
	enum command_fault fault =
		command_parse_path(arena, argument, TEXT("FROM"), utf8, &path, &address);

	if (fault == COMMAND_OK) {
		begin_mail(session, arena, &path);
	} else {
		const struct reply reply =
			fault == COMMAND_ADDRESS ? sender_fault(address) : command_reply(fault);
		session_fault(session, &reply);
	}
	arena_free(&arena);
}

static void run_rcpt(struct session *session, struct text argument)
{
	struct arena *arena = session->mail->arena;
	const struct parameters_offer offer = offered(session);
	struct parameters parameters = { .utf8 = session->mail->utf8 };
	struct command_path path;
	enum address_fault address;
	enum command_fault fault = command_parse_path(
		arena, argument, TEXT("TO"), session->mail->utf8, &path, &address);
	struct reply reply;
	const bool good = fault == COMMAND_OK &&
			  parameters_take(arena, PARAMETERS_RCPT, &offer, &path, &parameters);

	if (good && path.address.local.len) {
		session_add_recipient(session, &path.address, &parameters);
		return;
	}
	if (fault == COMMAND_ADDRESS)
		reply = recipient_fault(address);
	else if (fault != COMMAND_OK)
		reply = command_reply(fault);
	else if (!good)
		reply = parameters.fault;
	else
		reply = recipient_fault(ADDRESS_SYNTAX);
	session_refuse_recipient(session, &reply);
}

/* ---- the rest ---- */

static void run_data(struct session *session, struct text argument)
{
	(void)argument;
	session_begin_body(session);
}

static void run_rset(struct session *session, struct text argument)
{
	(void)argument;
	session_drop_mail(session);
	session_set_timeout(session);
	session_reply(session, &REPLY(250, 2, 0, 0, "forgotten"));
}

static void run_noop(struct session *session, struct text argument)
{
	(void)argument;
	session_reply(session, &REPLY(250, 2, 0, 0, "ok"));
}

static void run_quit(struct session *session, struct text argument)
{
	(void)argument;
	session_end(session, &REPLY(221, 2, 0, 0, "goodbye"));
}

static void run_vrfy(struct session *session, struct text argument)
{
	(void)argument;
	session_reply(session, &REPLY(252, 2, 0, 0, "not told; RCPT says whether mail is taken"));
}

static void run_help(struct session *session, struct text argument)
{
	const struct commands_entry *entry;

	(void)argument;
	for (size_t i = 0; (entry = commands_at(i)); i++) {
		if (!(entry->flags & COMMANDS_FOREIGN) &&
			(session->trusted || !(entry->flags & COMMANDS_TRUSTED)))
			session_reply_line(session, 214, false, entry->usage);
	}
	session_reply_line(session, 214, true, TEXT("see RFC 2033 and restante-mda(8)"));
}

/* ---- the table ---- */

#define LINE(v, r, f, u) \
	{ \
		.verb = TEXT(v), .flags = (f), .run = (r), .usage = TEXT(u) \
	}

static const struct commands_entry table[] = {
	LINE("LHLO", run_lhlo, COMMANDS_ARGUMENT | COMMANDS_IDLE, "LHLO host-name"),
	LINE("MAIL", run_mail, COMMANDS_GREETED | COMMANDS_NOT_IN_MAIL | COMMANDS_ARGUMENT,
		"MAIL FROM:<sender> [SIZE=octets] [BODY=8BITMIME] [SMTPUTF8] [RET=what] "
		"[ENVID=id]"),
	LINE("RCPT", run_rcpt,
		COMMANDS_GREETED | COMMANDS_IN_MAIL | COMMANDS_NOT_CHUNKED | COMMANDS_ARGUMENT |
			COMMANDS_ALONGSIDE,
		"RCPT TO:<recipient> [NOTIFY=when] [ORCPT=type;address]"),
	LINE("DATA", run_data,
		COMMANDS_GREETED | COMMANDS_IN_MAIL | COMMANDS_NOT_CHUNKED | COMMANDS_RECIPIENT |
			COMMANDS_BARE,
		"DATA"),
	LINE("BDAT", NULL,
		COMMANDS_GREETED | COMMANDS_IN_MAIL | COMMANDS_RECIPIENT | COMMANDS_CHUNK,
		"BDAT octets [LAST]"),
	LINE("RSET", run_rset, COMMANDS_BARE | COMMANDS_IDLE, "RSET"),
	LINE("NOOP", run_noop, COMMANDS_IDLE, "NOOP"),
	LINE("XHAVE", have_run,
		COMMANDS_GREETED | COMMANDS_IN_MAIL | COMMANDS_NOT_CHUNKED | COMMANDS_RECIPIENT |
			COMMANDS_ARGUMENT | COMMANDS_TRUSTED,
		"XHAVE once-key..."),
	LINE("QUIT", run_quit, COMMANDS_BARE, "QUIT"),
	LINE("VRFY", run_vrfy, COMMANDS_ARGUMENT | COMMANDS_IDLE, "VRFY string"),
	LINE("HELP", run_help, COMMANDS_IDLE, "HELP"),
	LINE("HELO", run_foreign, COMMANDS_FOREIGN, ""),
	LINE("EHLO", run_foreign, COMMANDS_FOREIGN, ""),
};

const struct commands_entry *commands_at(size_t i)
{
	return i < sizeof(table) / sizeof(table[0]) ? &table[i] : NULL;
}

const struct commands_entry *commands_find(struct text line)
{
	const struct text verb = command_split(line).verb;
	const struct commands_entry *entry;

	for (size_t i = 0; (entry = commands_at(i)); i++) {
		if (text_equal_nocase(entry->verb, verb))
			return entry;
	}
	return NULL;
}

/* What the table has against the command just now, or NULL. */
static const struct reply *objection(
	const struct session *session, const struct commands_entry *command, struct text argument)
{
	static const struct reply unknown = { 500, { 5, 5, 2 },
		TEXT("command not known; HELP lists them") };
	static const struct reply greet = { 503, { 5, 5, 1 }, TEXT("say LHLO first") };
	static const struct reply nested = { 503, { 5, 5, 1 },
		TEXT("a message is under way; RSET forgets it") };
	static const struct reply mail = { 503, { 5, 5, 1 }, TEXT("say MAIL first") };
	static const struct reply recipient = { 503, { 5, 5, 1 },
		TEXT("no recipient was accepted") };
	static const struct reply chunked = { 503, { 5, 5, 1 },
		TEXT("the message has begun with BDAT; RSET forgets it") };
	static const struct reply bare = { 501, { 5, 5, 4 }, TEXT("no argument here") };
	static const struct reply missing = { 501, { 5, 5, 4 }, TEXT("an argument is missing") };
	const unsigned flags = command ? command->flags : 0;

	if (!command || ((flags & COMMANDS_TRUSTED) && !session->trusted))
		return &unknown;
	if ((flags & COMMANDS_GREETED) && !session->client)
		return &greet;
	if ((flags & COMMANDS_NOT_IN_MAIL) && session->mail)
		return &nested;
	if ((flags & COMMANDS_IN_MAIL) && !session->mail)
		return &mail;
	if ((flags & COMMANDS_NOT_CHUNKED) && session->mail->chunked)
		return &chunked;
	if ((flags & COMMANDS_RECIPIENT) && !session->mail->plan.recipients)
		return &recipient;
	if ((flags & COMMANDS_BARE) && argument.len)
		return &bare;
	if ((flags & COMMANDS_ARGUMENT) && !argument.len)
		return &missing;
	return NULL;
}

/* "BDAT 1234" or "BDAT 1234 LAST". */
static void run_chunk(struct session *session, struct text argument, const struct reply *refusal)
{
	struct text rest = argument, number = TEXT("");
	uint64_t octets;

	if (argument.len)
		text_split(&rest, ' ', &number);
	const struct text word = rest.ptr && argument.len > number.len ? text_trim(rest) : TEXT("");
	if (text_to_number(number, UINT64_MAX, &octets) != 0 ||
		(word.len && !text_equal_nocase(word, TEXT("LAST"))))
		session_end(session,
			&REPLY(501, 5, 5, 4, "syntax: BDAT octets [LAST]; what follows is lost"));
	else
		session_begin_chunk(session, octets, word.len > 0, refusal);
}

void commands_run(struct session *session, const struct commands_entry *command, struct text line)
{
	const struct text argument = command_split(line).argument;
	const struct reply *refusal = objection(session, command, argument);

	if (command && (command->flags & COMMANDS_CHUNK))
		run_chunk(session, argument, refusal);
	else if (refusal)
		session_fault(session, refusal);
	else
		command->run(session, argument);
}

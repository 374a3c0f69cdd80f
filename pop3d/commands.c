#include "pop3d/commands.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "base/conn.h"
#include "base/mem.h"
#include "base/role.h"
#include "pop3d/auth.h"
#include "pop3d/session.h"
#include "pop3d/settings.h"

enum {
	ARGUMENTS = 2,
	MESSAGE_NUMBER_LIMIT = UINT32_MAX,
	TOP_LINES_LIMIT = INT32_MAX,
};

struct arguments {
	struct text all; /* everything after the verb and one blank: a password may hold blanks */
	struct text word[ARGUMENTS];
	size_t count; /* of words; ARGUMENTS + 1 when there were more */
};

struct command {
	struct text verb;
	unsigned states;    /* enum session_state, ored */
	size_t least, most; /* arguments; for `whole` ones the text counts as one */
	bool whole;
	void (*run)(struct session *session, const struct arguments *arguments);
	const char *usage;
	const char *capability; /* what CAPA says of it; NULL: RFC 1939 takes it for granted */
	bool (*offered)(const struct session *session); /* NULL: always */
};

static bool offers_stls(const struct session *session)
{
	return session->worker->context->tls != NULL && !conn_is_secure(session->conn);
}

static uint64_t number_of(struct text word)
{
	uint64_t number = 0;

	return text_to_number(word, MESSAGE_NUMBER_LIMIT, &number) == 0 ? number : 0;
}

/* The message that an argument names, or NULL after the client was told why not. */
static const struct store_listing_entry *find(struct session *session, struct text word)
{
	const struct store_listing_entry *entry =
		maildrop_find(&session->maildrop, number_of(word));

	if (entry == NULL && maildrop_is_deleted(&session->maildrop, number_of(word)))
		session_error(session,
			"message %.*s is marked as deleted; RSET would bring it back",
			TEXT_ARG(word));
	else if (entry == NULL)
		session_error(
			session, "no such message; there are %" PRIu32, session->maildrop.messages);
	return entry;
}

static void run_user(struct session *session, const struct arguments *arguments)
{
	if (arguments->all.len > STORE_ADDRESS_LIMIT) {
		session_error(session, "a user name has at most %d octets", STORE_ADDRESS_LIMIT);
		return;
	}
	mem_free(session->user);
	session->user = mem_copy(arguments->all.ptr, arguments->all.len);
	session_ok(session, "now the password, with PASS");
}

static void run_pass(struct session *session, const struct arguments *arguments)
{
	if (session->user == NULL)
		session_error(session, "USER comes first");
	else if (arguments->all.len > STORE_PASSWORD_LIMIT)
		session_error(session, "a password has at most %d octets", STORE_PASSWORD_LIMIT);
	else
		session_login(session, arguments->all);
}

/* Without an argument, as some clients ask: what there is. */
static void list_mechanisms(struct session *session)
{
	const char *mechanism;

	session_ok(session, "mechanisms follow");
	for (unsigned i = 0; (mechanism = auth_mechanism(session, i)) != NULL; i++)
		conn_printf(session->conn, "%s\r\n", mechanism);
	conn_write(session->conn, TEXT(".\r\n"));
}

static void run_auth(struct session *session, const struct arguments *arguments)
{
	if (arguments->count == 0)
		list_mechanisms(session);
	else
		auth_begin(session, arguments->word[0],
			arguments->count > 1 ? arguments->word[1] : (struct text){ 0 });
}

static void run_stls(struct session *session, const struct arguments *arguments)
{
	(void)arguments;
	if (session->worker->context->tls == NULL) {
		session_error(session, "there is no certificate, so no TLS");
		return;
	}
	if (conn_is_secure(session->conn)) {
		session_error(session, "TLS is on already");
		return;
	}
	session_ok(session, "begin TLS");
	mem_free(session->user);
	session->user = NULL;
	session->lines = (struct wire_lines){ 0 };
	conn_start_tls(session->conn, session->worker->context->tls);
}

static void run_stat(struct session *session, const struct arguments *arguments)
{
	const struct maildrop *maildrop = &session->maildrop;

	(void)arguments;
	session_ok(session, "%" PRIu32 " %" PRIu64, maildrop->messages - maildrop->deleted,
		maildrop->octets);
}

/* The lines of long listings are built in place: there may be a hundred thousand of them. */
static size_t end_line(char *line, size_t length)
{
	line[length] = '\r';
	line[length + 1] = '\n';
	return length + 2;
}

static size_t list_line(
	const struct maildrop *maildrop, uint32_t number, char line[SESSION_LIST_LINE])
{
	const struct store_listing_entry *entry = maildrop_find(maildrop, number);
	size_t length;

	if (entry == NULL)
		return 0;
	length = text_number(number, line);
	line[length++] = ' ';
	length += text_number(entry->wire, line + length);
	return end_line(line, length);
}

static void run_list(struct session *session, const struct arguments *arguments)
{
	const struct maildrop *maildrop = &session->maildrop;
	const struct store_listing_entry *entry;

	if (arguments->count == 0) {
		session_ok(session, "%" PRIu32 " messages, %" PRIu64 " octets",
			maildrop->messages - maildrop->deleted, maildrop->octets);
		session->list_line = list_line;
		session->list_at = 1;
	} else if ((entry = find(session, arguments->word[0])) != NULL) {
		session_ok(session, "%" PRIu64 " %" PRIu64, number_of(arguments->word[0]),
			entry->wire);
	}
}

static size_t uidl_line(
	const struct maildrop *maildrop, uint32_t number, char line[SESSION_LIST_LINE])
{
	const struct store_listing_entry *entry = maildrop_find(maildrop, number);
	size_t length;

	if (entry == NULL)
		return 0;
	length = text_number(number, line);
	line[length++] = ' ';
	maildrop_uidl(maildrop, entry->uid, line + length);
	return end_line(line, length + MAILDROP_UIDL);
}

static void run_uidl(struct session *session, const struct arguments *arguments)
{
	const struct store_listing_entry *entry;
	char uidl[MAILDROP_UIDL + 1];

	if (arguments->count == 0) {
		session_ok(session, "unique-ids follow");
		session->list_line = uidl_line;
		session->list_at = 1;
	} else if ((entry = find(session, arguments->word[0])) != NULL) {
		maildrop_uidl(&session->maildrop, entry->uid, uidl);
		session_ok(session, "%" PRIu64 " %s", number_of(arguments->word[0]), uidl);
	}
}

static void run_retr(struct session *session, const struct arguments *arguments)
{
	if (find(session, arguments->word[0]) != NULL)
		session_fetch(session, (uint32_t)number_of(arguments->word[0]), TRANSFER_ALL);
}

static void run_top(struct session *session, const struct arguments *arguments)
{
	uint64_t lines;

	if (text_to_number(arguments->word[1], TOP_LINES_LIMIT, &lines) != 0)
		session_error(session, "TOP takes a message number and a number of lines");
	else if (find(session, arguments->word[0]) != NULL)
		session_fetch(session, (uint32_t)number_of(arguments->word[0]), (int64_t)lines);
}

static void run_dele(struct session *session, const struct arguments *arguments)
{
	if (find(session, arguments->word[0]) == NULL)
		return;
	if (session->maildrop.deleted >= STORE_UIDS_LIMIT / sizeof(uint32_t)) {
		session_refuse(session, "SYS/PERM",
			"that many deletions need more than one session; QUIT first");
		return;
	}
	maildrop_delete(&session->maildrop, number_of(arguments->word[0]));
	session_ok(session, "message %" PRIu64 " goes at QUIT", number_of(arguments->word[0]));
}

static void run_rset(struct session *session, const struct arguments *arguments)
{
	(void)arguments;
	maildrop_reset(&session->maildrop);
	session_ok(session, "%" PRIu32 " messages, %" PRIu64 " octets", session->maildrop.messages,
		session->maildrop.octets);
}

static void run_noop(struct session *session, const struct arguments *arguments)
{
	(void)arguments;
	session_ok(session, "still here");
}

static void run_quit(struct session *session, const struct arguments *arguments)
{
	(void)arguments;
	if (session->state == SESSION_TRANSACTION) {
		session_update(session);
		return;
	}
	session_ok(session, "good-bye");
	session_finish(session, "quit");
}

/* Names and passwords are taken in UTF-8, and messages are sent as they are, in either mode. */
static void run_utf8(struct session *session, const struct arguments *arguments)
{
	(void)arguments;
	session_ok(session, "UTF-8 it is");
}

static void run_lang(struct session *session, const struct arguments *arguments)
{
	if (arguments->count == 0) {
		session_ok(session, "languages follow");
		for (int i = 0; i < LANGUAGES; i++)
			conn_printf(session->conn, "%s %s\r\n", language_tag((enum language)i),
				language_name((enum language)i));
		conn_write(session->conn, TEXT(".\r\n"));
	} else if (language_find(arguments->word[0], &session->language) == 0) {
		session_ok(session, "%s %s", language_tag(session->language),
			language_name(session->language));
	} else {
		session_error(session, "there is no such language; LANG lists them");
	}
}

static void run_capa(struct session *session, const struct arguments *arguments);
static void run_help(struct session *session, const struct arguments *arguments);

enum { ANY = SESSION_AUTHORIZATION | SESSION_TRANSACTION };

static const struct command commands[] = {
	{ TEXT("USER"), SESSION_AUTHORIZATION, 1, 1, true, run_user, "USER name", "USER",
		session_takes_passwords },
	{ TEXT("PASS"), SESSION_AUTHORIZATION, 1, 1, true, run_pass, "PASS password", NULL,
		session_takes_passwords },
	{ TEXT("AUTH"), SESSION_AUTHORIZATION, 0, 2, false, run_auth,
		"AUTH [mechanism [initial-response]]", NULL, NULL },
	{ TEXT("STLS"), SESSION_AUTHORIZATION, 0, 0, false, run_stls, "STLS", "STLS", offers_stls },
	{ TEXT("UTF8"), SESSION_AUTHORIZATION, 0, 0, false, run_utf8, "UTF8", "UTF8 USER", NULL },
	{ TEXT("LANG"), ANY, 0, 1, false, run_lang, "LANG [language]", "LANG", NULL },
	{ TEXT("CAPA"), ANY, 0, 0, false, run_capa, "CAPA", NULL, NULL },
	{ TEXT("STAT"), SESSION_TRANSACTION, 0, 0, false, run_stat, "STAT", NULL, NULL },
	{ TEXT("LIST"), SESSION_TRANSACTION, 0, 1, false, run_list, "LIST [message]", NULL, NULL },
	{ TEXT("UIDL"), SESSION_TRANSACTION, 0, 1, false, run_uidl, "UIDL [message]", "UIDL",
		NULL },
	{ TEXT("RETR"), SESSION_TRANSACTION, 1, 1, false, run_retr, "RETR message", NULL, NULL },
	{ TEXT("TOP"), SESSION_TRANSACTION, 2, 2, false, run_top, "TOP message lines", "TOP",
		NULL },
	{ TEXT("DELE"), SESSION_TRANSACTION, 1, 1, false, run_dele, "DELE message", NULL, NULL },
	{ TEXT("RSET"), SESSION_TRANSACTION, 0, 0, false, run_rset, "RSET", NULL, NULL },
	{ TEXT("NOOP"), SESSION_TRANSACTION, 0, 0, false, run_noop, "NOOP", NULL, NULL },
	{ TEXT("HELP"), ANY, 0, 1, true, run_help, "HELP", NULL, NULL },
	{ TEXT("QUIT"), ANY, 0, 0, false, run_quit, "QUIT", NULL, NULL },
};

enum { COMMANDS = sizeof(commands) / sizeof(commands[0]) };

/* RFC 2449 section 5: what a client may rely on in the state it is in, the table's and the session's own. */
static void run_capa(struct session *session, const struct arguments *arguments)
{
	const struct pop3d_settings *settings = session->worker->context->settings;
	const char *mechanism;

	(void)arguments;
	session_ok(session, "capabilities");
	for (size_t i = 0; i < COMMANDS; i++) {
		const struct command *command = &commands[i];

		if (command->capability != NULL &&
			(command->offered == NULL || command->offered(session)))
			conn_printf(session->conn, "%s\r\n", command->capability);
	}
	conn_write(session->conn, TEXT("SASL"));
	for (unsigned i = 0; (mechanism = auth_mechanism(session, i)) != NULL; i++)
		conn_printf(session->conn, " %s", mechanism);
	conn_write(session->conn, TEXT("\r\nPIPELINING\r\nRESP-CODES\r\nAUTH-RESP-CODE\r\n"));
	if (settings->expire_days > 0)
		conn_printf(session->conn, "EXPIRE %" PRIu64 "\r\n", settings->expire_days);
	else
		conn_write(session->conn, TEXT("EXPIRE NEVER\r\n"));
	if (settings->login_delay > 0)
		conn_printf(session->conn, "LOGIN-DELAY %" PRIu64 "\r\n", settings->login_delay);
	if (session->state == SESSION_TRANSACTION)
		conn_write(session->conn, TEXT("IMPLEMENTATION restante\r\n"));
	conn_write(session->conn, TEXT(".\r\n"));
}

static void run_help(struct session *session, const struct arguments *arguments)
{
	(void)arguments;
	session_ok(session, "what may be said now");
	for (size_t i = 0; i < COMMANDS; i++)
		if ((commands[i].states & session->state) != 0 &&
			(commands[i].offered == NULL || commands[i].offered(session)))
			conn_printf(session->conn, "%s\r\n", commands[i].usage);
	conn_write(session->conn, TEXT(".\r\n"));
}

static void split(struct text line, struct text *verb, struct arguments *arguments)
{
	const ptrdiff_t blank = text_find(line, ' ');
	struct text rest = { .ptr = line.ptr, .len = 0 };
	struct text word;

	*verb = blank < 0 ? line : text_head(line, (size_t)blank);
	*arguments = (struct arguments){ .all = rest };
	if (blank < 0)
		return;
	rest = text_from(line, (size_t)blank + 1);
	arguments->all = rest;
	while (text_split(&rest, ' ', &word)) {
		if (word.len == 0)
			continue;
		if (arguments->count < ARGUMENTS)
			arguments->word[arguments->count] = word;
		if (arguments->count <= ARGUMENTS)
			arguments->count++;
	}
}

/* What keeps this command from being run now: a sentence, or NULL. */
static const char *obstacle(const struct session *session, const struct command *command,
	const struct arguments *arguments)
{
	const size_t count = !command->whole ? arguments->count : arguments->all.len > 0 ? 1 : 0;

	if ((command->states & session->state) == 0)
		return session->state == SESSION_AUTHORIZATION
			       ? "log in first, with AUTH or USER and PASS"
			       : "you are logged in already";
	if (command->offered == session_takes_passwords && !session_takes_passwords(session))
		return "no password in the clear: STLS first, or connect to the TLS port";
	if (count < command->least || count > command->most)
		return "";
	return NULL;
}

static const struct command *find_command(struct text verb)
{
	for (size_t i = 0; i < COMMANDS; i++)
		if (text_equal_nocase(verb, commands[i].verb))
			return &commands[i];
	return NULL;
}

void commands_run(struct session *session, struct text line)
{
	struct arguments arguments;
	struct text verb;
	const char *why;

	split(line, &verb, &arguments);
	const struct command *command = find_command(verb);
	if (command == NULL)
		session_error(session, "unknown command; HELP lists them");
	else if ((why = obstacle(session, command, &arguments)) == NULL)
		command->run(session, &arguments);
	else if (*why != '\0')
		session_error(session, "%s", language_text(session->language, why));
	else
		session_error(session, "it goes: %s", command->usage);
	/* A password, perhaps, wherever it was said. */
	text_wipe(arguments.all);
}

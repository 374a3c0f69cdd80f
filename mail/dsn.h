/*
 * What a sender wants to be told about its message's fate (RFC 3461): RET and ENVID of MAIL, NOTIFY and
 * ORCPT of RCPT. Values are checked here and kept as they were written, so that they can be handed on.
 */
#ifndef MAIL_DSN_H
#define MAIL_DSN_H

#include "mail/command.h"

enum {
	DSN_ENVID_LIMIT = 100, /* octets as sent: section 4.4 */
	DSN_ORCPT_LIMIT = 500, /* section 4.2 */
};

/* How much of the message a report on failure brings back. */
enum dsn_return { DSN_RETURN_UNSAID, DSN_RETURN_FULL, DSN_RETURN_HEADERS };

/* When to report. 0: it was not said, which means failure, and delay if we like. */
enum dsn_notify {
	DSN_NOTIFY_NEVER = 1, /* alone */
	DSN_NOTIFY_SUCCESS = 2,
	DSN_NOTIFY_FAILURE = 4,
	DSN_NOTIFY_DELAY = 8,
};

/* Of a message; {0}: nothing was said. */
struct dsn_message {
	enum dsn_return content;
	struct text envelope_id; /* xtext; ptr NULL: none */
};

/* Of a recipient; {0}: nothing was said. */
struct dsn_recipient {
	unsigned notify;      /* enum dsn_notify, or'ed */
	struct text original; /* ORCPT: "rfc822;" and xtext; ptr NULL: none */
};

enum dsn_result {
	DSN_TAKEN,
	DSN_FOREIGN, /* the parameter is none of DSN's */
	DSN_FAULT,   /* 501 5.5.4, with the sentence */
};

/*
 * One parameter of MAIL or RCPT, which command_parse_path() has found well formed. Texts are copied into
 * the arena. utf8: the message is an SMTPUTF8 one, so that an ORCPT of type utf-8 may hold UTF-8 as it is
 * (RFC 6533 section 3).
 */
enum dsn_result dsn_take_mail(struct arena *arena, const struct command_parameter *given,
	struct dsn_message *dsn, const char **sentence);
enum dsn_result dsn_take_recipient(struct arena *arena, const struct command_parameter *given,
	bool utf8, struct dsn_recipient *dsn, const char **sentence);

bool dsn_is_said_of_message(const struct dsn_message *dsn);
bool dsn_is_said_of_recipient(const struct dsn_recipient *dsn);

/* The parameters as they go behind the path, each with a blank before it; nothing for what was not said. */
void dsn_add_mail(struct buf *out, const struct dsn_message *dsn);
void dsn_add_recipient(struct buf *out, const struct dsn_recipient *dsn);

#endif

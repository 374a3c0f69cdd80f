/*
 * Command lines of SMTP and LMTP, as pure parsers: the line without its CRLF in, parts out.
 */
#ifndef MAIL_COMMAND_H
#define MAIL_COMMAND_H

#include "mail/address.h"

enum {
	COMMAND_LINE_LIMIT = 512, /* RFC 5321 section 4.5.3.1.4, with CRLF */
	/* Of MAIL and RCPT: what the extensions add to it. */
	COMMAND_MAIL_LIMIT = 512 + 26 + 9 + 500 + 10 + 17 + 500 + 80,
	COMMAND_PARAMETERS = 16,
};

/* "VERB argument": the verb as sent, the argument without the blanks between and at its end. */
struct command {
	struct text verb;
	struct text argument;
};

struct command command_split(struct text line);

struct command_parameter {
	struct text keyword;
	struct text value; /* ptr NULL when there was no '=' */
};

/* FROM:<path> [parameters] and TO:<path> [parameters] (section 4.1.2). */
struct command_path {
	struct address address;
	struct command_parameter parameter[COMMAND_PARAMETERS];
	size_t parameters;
};

enum command_fault {
	COMMAND_OK,
	COMMAND_SYNTAX,              /* 501 5.5.4 */
	COMMAND_ADDRESS,             /* see *address */
	COMMAND_TOO_MANY_PARAMETERS, /* 501 5.5.4 */
	COMMAND_DUPLICATE_PARAMETER, /* 501 5.5.4 */
};

/*
 * keyword is "FROM" or "TO". One blank after the colon is tolerated, as clients in use send it.
 * Parameters have the form of section 4.1.2, with UTF-8 in values when utf8 (RFC 6531 section 3.3); what
 * they mean is the caller's to judge. *address is set in every case.
 */
enum command_fault command_parse_path(struct arena *arena, struct text argument,
	struct text keyword, bool utf8, struct command_path *path, enum address_fault *address);

/* Whether SMTPUTF8 stands among the parameters of a MAIL argument, before its path is parsed. */
bool command_mentions(struct text argument, struct text keyword);

#endif

/*
 * The service extensions of LMTP as tables: what LHLO announces, and what may follow the path in MAIL and
 * RCPT. Both are answered from here and from nowhere else.
 *
 * DSN (RFC 3461), where it is offered: what a sender wants to know is checked, kept and logged. Nobody here
 * sends reports yet; a message is in its mailbox or refused within the conversation.
 *
 * On the socket of our own smtp-in there is more, announced as XID, XDELIVER and PRDR:
 *
 *	MAIL  XID=id            the id that the message has already
 *	      XDATE=seconds     its internal date, since 1970
 *	      PRDR              verdicts may differ from recipient to recipient; otherwise all get it or none
 *	RCPT  XONCE=key         a second acceptance under this key changes nothing (xtext)
 *	      XMAILBOX=name     into that mailbox, in UTF-8 with '/' between levels (xtext)
 *	      XFLAGS=letters    of PRSTDF, as in the names of Maildir's files
 *	      XKEYWORDS=words   blanks between (xtext)
 */
#ifndef MDA_PARAMETERS_H
#define MDA_PARAMETERS_H

#include "base/id.h"
#include "mail/dsn.h"
#include "mda/plan.h"

enum {
	/* A RCPT with all that a trusted client may say. */
	PARAMETERS_LINE_LIMIT = 16384,
};

/* What the parameters of one command said. Texts are in the arena. */
struct parameters {
	uint64_t size; /* 0: not announced */
	struct id id;  /* empty: none */
	int64_t date;  /* 0: none */
	bool utf8;
	bool each; /* PRDR */
	struct plan_wish wish;
	struct dsn_message dsn; /* MAIL's */
	struct dsn_recipient dsn_recipient;
	struct reply fault; /* why not */
};

/* What this client is offered, and so may use. */
struct parameters_offer {
	bool trusted; /* it is our own smtp-in or bridge */
	bool dsn;
	uint64_t size_limit; /* octets */
};

enum parameters_command { PARAMETERS_MAIL = 1, PARAMETERS_RCPT = 2 };

/* Into *parameters; utf8 is set before for RCPT. False: see fault, whose text is constant. */
bool parameters_take(struct arena *arena, enum parameters_command command,
	const struct parameters_offer *offer, const struct command_path *path,
	struct parameters *parameters);

/* What LHLO announces: the i-th line, SIZE with the limit behind it, or false behind the last. */
bool parameters_announcement(size_t i, const struct parameters_offer *offer, struct buf *line);

#endif

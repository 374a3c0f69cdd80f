/*
 * The commands of LMTP as one table: what each needs, who runs it. LHLO and HELP are answered from it.
 */
#ifndef MDA_COMMANDS_H
#define MDA_COMMANDS_H

#include "mail/command.h"

struct session;

enum commands_flag {
	COMMANDS_GREETED = 1,       /* after LHLO only */
	COMMANDS_IN_MAIL = 2,       /* after MAIL only */
	COMMANDS_NOT_IN_MAIL = 4,   /* not after MAIL */
	COMMANDS_RECIPIENT = 8,     /* with at least one accepted recipient only */
	COMMANDS_BARE = 16,         /* without an argument */
	COMMANDS_ARGUMENT = 32,     /* with one */
	COMMANDS_ALONGSIDE = 64,    /* may be taken while recipients before it are looked up */
	COMMANDS_IDLE = 128,        /* moves no mail */
	COMMANDS_FOREIGN = 256,     /* of SMTP: known so as to explain, not offered */
	COMMANDS_NOT_CHUNKED = 512, /* not between chunks of a message */
	COMMANDS_CHUNK = 1024,      /* octets follow whether it may come or not */
	COMMANDS_TRUSTED = 2048,    /* for clients of our own; others are told that there is none */
};

struct commands_entry {
	struct text verb;
	unsigned flags;
	void (*run)(struct session *session, struct text argument);
	struct text usage; /* for HELP */
};

/* The entry of a command line's verb, or NULL. */
const struct commands_entry *commands_find(struct text line);

/* Check what the table demands, and run it; command NULL: there is no such command. */
void commands_run(struct session *session, const struct commands_entry *command, struct text line);

/* Entry i of the table, or NULL behind its end. */
const struct commands_entry *commands_at(size_t i);

#endif

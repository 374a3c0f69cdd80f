/*
 * Files of aliases as sendmail and Postfix have them, aliases(5):
 *
 *	# a comment is a line of its own
 *	name: member, member,
 *		member on a continuation line
 *	"a name": "another name"@example.org, :include:/etc/mail/list, \name
 *	owner-name: who gets the errors of the list called name
 *
 * Reading only: what a name stands for, and what is allowed, is for others to say.
 */
#ifndef MAIL_ALIASES_H
#define MAIL_ALIASES_H

#include <stdbool.h>

#include "base/text.h"

struct arena;

enum aliases_kind {
	ALIASES_ADDRESS, /* as address_parse() reads it, perhaps without a domain */
	ALIASES_INCLUDE, /* the path behind ":include:" */
	ALIASES_COMMAND, /* "|command" */
	ALIASES_FILE,    /* "/file" */
};

struct aliases_item {
	struct aliases_item *next;
	unsigned line;
	enum aliases_kind kind;
	struct text value; /* of an address quoted where it was; of the others without quotes */
};

struct aliases_entry {
	unsigned line;
	struct text name; /* as an address of ALIASES_ADDRESS */
	struct aliases_item *items;
};

/* rest: the whole file to begin with, ptr not NULL; line 0. */
struct aliases_reader {
	struct text rest;
	unsigned line;
};

/*
 * The next entry, its texts in the arena or the file. 1; 0: there is none; -1: something is wrong at
 * *line, `*error` says what in a sentence, and reading may go on behind it.
 */
int aliases_next(struct aliases_reader *reader, struct arena *arena, struct aliases_entry *entry,
	unsigned *line, const char **error);

/* The same of an included file, which is only members: on lines, between commas, or both. */
int aliases_next_included(struct aliases_reader *reader, struct arena *arena,
	struct aliases_item **items, unsigned *line, const char **error);

#endif

/*
 * A file of aliases(5) as a request to the store.
 *
 * Names without a domain get the one given here. "owner-x" makes x a list whose errors go to owner-x.
 * :include: reads files in the directory of the aliases file, or below it, and no others, 64 MiB of them;
 * commands and files as members are refused: nothing here runs programs or writes files for mail.
 */
#ifndef RESTANTE_ALIASES_H
#define RESTANTE_ALIASES_H

#include "base/buf.h"
#include "restante/settings.h"

struct aliases_line {
	struct text address; /* canonical */
	unsigned line;
};

/* {0}, then aliases_read(). */
struct aliases_file {
	struct arena *arena;
	const char *name; /* of the file; the caller's */
	struct buf run;   /* of STORE_ALIAS */
	struct aliases_line
		*lines; /* where each is, in the order of the run, which is by address */
	size_t count;
};

/*
 * Read the file. EX_OK; or EX_NOINPUT (it cannot be read) or EX_DATAERR, after having reported every finding
 * as "FILE:LINE: sentence". domain: "" when there is none, which is a finding where one is needed.
 */
int aliases_read(struct aliases_file *file, const char *name, struct text domain,
	host_report *report, void *owner);
void aliases_release(struct aliases_file *file);

/* What the store says of the aliases, a line each, as "FILE:LINE: sentence". The number of lines. */
size_t aliases_report(
	const struct aliases_file *file, struct text sentences, host_report *report, void *owner);

#endif

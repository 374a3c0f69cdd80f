/*
 * restante store import: what another mail server kept, taken over by the store.
 */
#ifndef RESTANTE_IMPORT_H
#define RESTANTE_IMPORT_H

#include "restante/command.h"

struct import_options {
	const char *from; /* "dovecot" */
	const char *user; /* an address; NULL: the last part of the directory's name is one */
};

/* file: the settings'. An exit status of sysexits.h. */
int import_command(const struct command_line *line, const char *file,
	const struct import_options *options, const char *directory);

#endif

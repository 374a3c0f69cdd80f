/*
 * The commands of POP3: one table whose flags carry the rules; CAPA and HELP come from it.
 */
#ifndef POP3D_COMMANDS_H
#define POP3D_COMMANDS_H

#include "base/text.h"

struct session;

/* One command line without its CRLF: checks it against the table and runs it. */
void commands_run(struct session *session, struct text line);

#endif

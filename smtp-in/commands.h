/*
 * The commands of SMTP: one table of verbs, whose flags carry the rules.
 */
#ifndef SMTP_IN_COMMANDS_H
#define SMTP_IN_COMMANDS_H

#include "base/text.h"

struct session;

enum commands_result {
	COMMANDS_DONE,
	COMMANDS_WAIT, /* nothing was done: replies to commands before this one are still awaited */
};

/* Carry out one command line without its CRLF, and reply. */
enum commands_result commands_run(struct session *session, struct text line);

#endif

/*
 * BDAT (RFC 3030): a message in chunks of a length that is told before.
 *
 * Whatever the reply will be, the octets of a chunk are taken off the input first, so that none of them
 * is ever read as a command. Where their number cannot be told, the session ends.
 *
 * A refused chunk is the end of its transaction; further ones that are on their way already find none.
 */
#ifndef SMTP_IN_BDAT_H
#define SMTP_IN_BDAT_H

#include <stdbool.h>
#include <stdint.h>

#include "mail/reply.h"
#include "smtp-in/commands.h"

/* In the session. */
struct bdat_chunk {
	uint64_t size;
	uint64_t left; /* octets still to come */
	bool last;
	/* Given when the octets are thrown away; code 0: they are the transaction's. Text: a constant. */
	struct reply refusal;
};

/* BDAT in its place: octets [LAST]. */
enum commands_result bdat_run(struct session *session, struct text argument);

/* BDAT out of its place; the reply's text is a constant. */
void bdat_refuse(struct session *session, struct text argument, struct reply reply);

/* Take octets of a chunk from the session's input. False: there is nothing to be done for now. */
bool bdat_read(struct session *session);

#endif

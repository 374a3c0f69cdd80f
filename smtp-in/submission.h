/*
 * The header of a submitted message (RFC 6409 section 8) on its way from the wire to the LMTP server:
 * Bcc is left out, missing From, Date and Message-ID are added, and who claims to have written it is
 * remembered. The body is not looked at.
 *
 * It works on the stream, in pieces of any size, and keeps the start of a line and the From field only. What
 * is no header field ends the header, with the blank line that was missing. Line ends are mail/wire.h's
 * business: a message with other ones is refused there.
 */
#ifndef SMTP_IN_SUBMISSION_H
#define SMTP_IN_SUBMISSION_H

#include <stdbool.h>
#include <time.h>

#include "base/buf.h"
#include "mail/address.h"

struct submission;

struct submission_options {
	bool dot_ends;        /* DATA: a line of one dot is the end of the message. BDAT has none */
	struct text sender;   /* for a missing From */
	struct text id, host; /* for a missing Message-ID */
	time_t when;          /* for a missing Date */
};

/* The options' texts have to outlive it. */
struct submission *submission_new(const struct submission_options *options);
void submission_free(struct submission **submission);

/*
 * Take octets of the message, and add to out what goes on. Those taken: all of them, or up to the end of the
 * header. Not to be called after that.
 */
size_t submission_take(struct submission *submission, struct text in, struct buf *out);
bool submission_is_over(const struct submission *submission);

/* The message ends without a body (BDAT): what is still owed goes to out. */
void submission_finish(struct submission *submission, struct buf *out);

/*
 * After its end, who claims to have written it: how many, 0 when the field was missing and was added;
 * -1 when that cannot be told (see mail/mailboxes.h), or there are two such fields.
 */
enum { SUBMISSION_AUTHORS = 16 };
int submission_authors(const struct submission *submission, struct arena *arena,
	struct address list[SUBMISSION_AUTHORS]);

#endif

/*
 * The arguments of MAIL and RCPT: path and parameters, judged by RFC 5321 and its extensions.
 */
#ifndef SMTP_IN_ENVELOPE_H
#define SMTP_IN_ENVELOPE_H

#include "mail/address.h"
#include "mail/reply.h"

struct transaction;

/* MAIL: into the transaction's envelope. False: *fault is the reply, its text in the transaction's arena. */
bool envelope_take_mail(struct transaction *transaction, struct text argument, struct reply *fault);

/* RCPT, likewise; *address is in the arena or in the argument. */
bool envelope_take_recipient(struct transaction *transaction, struct text argument,
	struct address *address, struct reply *fault);

#endif

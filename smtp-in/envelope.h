/*
 * The arguments of MAIL and RCPT: path and parameters, judged by RFC 5321 and its extensions.
 *
 * What was asked for by DSN's parameters can be done by those who deliver only. So they are taken, as EHLO
 * offers them, while the LMTP server says that it knows DSN, and handed on to it. A server that has
 * forgotten it between EHLO and RCPT gets no such message: the client is told to try again.
 */
#ifndef SMTP_IN_ENVELOPE_H
#define SMTP_IN_ENVELOPE_H

#include "mail/address.h"
#include "mail/dsn.h"
#include "mail/reply.h"

struct transaction;

/* MAIL: into the transaction's envelope. False: *fault is the reply, its text in the transaction's arena. */
bool envelope_take_mail(struct transaction *transaction, struct text argument, struct reply *fault);

struct envelope_recipient {
	struct address address; /* in the arena or in the argument */
	struct dsn_recipient dsn;
};

/* RCPT, likewise. */
bool envelope_take_recipient(struct transaction *transaction, struct text argument,
	struct envelope_recipient *recipient, struct reply *fault);

#endif

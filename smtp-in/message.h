/*
 * The message of a transaction: its octets, its end, and the verdict.
 *
 * A message is passed on while it comes in: nothing of it is kept here. Only a good one gets its end
 * passed on; for any other the LMTP server is told to forget it, or the connection is cut before, so it
 * cannot be delivered.
 */
#ifndef SMTP_IN_MESSAGE_H
#define SMTP_IN_MESSAGE_H

#include <stdbool.h>

#include "mail/reply.h"
#include "smtp-in/lmtp.h"

struct transaction;

/*
 * DATA, or the first BDAT. The session is ASKING, until the LMTP server is ready for it or refuses. When
 * all recipients are accepted, DATA does not wait for that: the client is told to go on, and its octets wait
 * for the server. What the server has against the message then is told at its end.
 */
void message_start(struct transaction *transaction, enum lmtp_body body);

/* Take octets of DATA from the session's input. False: there is nothing to be done for now. */
bool message_read(struct transaction *transaction);

/* Octets of BDAT; last: of the whole message. Those taken: all, or for now the header of a submission. */
size_t message_take_chunk(struct transaction *transaction, struct text octets, bool last);

/*
 * The LMTP server is behind or not ready, or the store's answer is awaited: take no more for now.
 * transaction: NULL for octets of nobody's.
 */
bool message_is_full(const struct transaction *transaction);

/* Nothing more is passed on; verdict is the reply at the end, if there is none yet. */
void message_refuse(struct transaction *transaction, struct reply verdict);

/* It was judging, and is no more. */
void message_go_on(struct transaction *transaction);

/* Over the limit, as it says itself: 552 when its octets have gone by. */
void message_refuse_size(struct transaction *transaction);

/* It was refused and has come to its end: the verdict, and the end of the transaction. */
void message_finish(struct transaction *transaction);

/* It was refused and does not come to an end: the verdict, and the end of the session. */
void message_break_off(struct transaction *transaction);

/* ---- what the LMTP client tells: see struct lmtp_handlers ---- */

void message_on_data(void *owner, const struct reply *reply);
void message_on_delivered(void *owner, const struct reply *reply);
void message_on_refused(void *owner, const struct reply *reply);

/* The LMTP server is away; whatever the message has come to. */
void message_fail(struct transaction *transaction);

#endif

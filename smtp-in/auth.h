/*
 * AUTH (RFC 4954), on submission listeners only: the client's lines to the store and its challenges back,
 * in base64. What they mean is the store's business (store/sasl.h).
 *
 * PLAIN and LOGIN show the password to whoever listens: they are taken under TLS only. A login ends with
 * STARTTLS, as everything that was said before it, and with the session.
 */
#ifndef SMTP_IN_AUTH_H
#define SMTP_IN_AUTH_H

#include <stdbool.h>

#include "base/buf.h"
#include "base/text.h"

struct session;

enum { AUTH_LINE_LIMIT = 12288 }; /* RFC 4954 section 4, with CRLF */

/* " SCRAM-SHA-256 …": the mechanisms that are possible now; nothing where AUTH is not offered. */
void auth_add_mechanisms(const struct session *session, struct buf *out);

/* AUTH mechanism [initial]. The session is AUTHENTICATING until the store has answered, or replied to. */
void auth_begin(struct session *session, struct text argument);

/* The client's answer to a challenge, without its CRLF. */
void auth_answer(struct session *session, struct text line);

/* It sent something that cannot be one; tell why. */
void auth_answer_fault(struct session *session, bool is_too_long);

/* Who has logged in, as the store calls them; ptr NULL: nobody. */
struct text auth_user(const struct session *session);

/* Forget login and exchange, and whatever the store was asked for this session. */
void auth_end(struct session *session);

#endif

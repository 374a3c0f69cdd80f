/*
 * AUTH (RFC 5034): the client's lines to the store and its challenges back, in base64. What they mean is the
 * store's business (store/sasl.h).
 */
#ifndef POP3D_AUTH_H
#define POP3D_AUTH_H

#include <stdbool.h>

#include "base/text.h"

struct session;

enum { AUTH_LINE_LIMIT = 5600 }; /* STORE_SASL_LIMIT in base64, and a little */

/* The mechanisms that are possible now: the i-th, NULL behind the last. */
const char *auth_mechanism(const struct session *session, unsigned i);

/* AUTH mechanism [initial]; initial.ptr NULL: there was none. */
void auth_begin(struct session *session, struct text mechanism, struct text initial);

/* The client's answer to a challenge. */
void auth_line(struct session *session, struct text line);

#endif

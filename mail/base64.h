/*
 * Base64 (RFC 4648 section 4) as SASL profiles use it: no line breaks, padding required, nothing else.
 */
#ifndef MAIL_BASE64_H
#define MAIL_BASE64_H

#include "base/buf.h"

void base64_encode(struct text octets, struct buf *out);

/* 0 with the octets added to out, or -1 when it is not exactly that; out may then hold a part. */
int base64_decode(struct text coded, struct buf *out);

#endif

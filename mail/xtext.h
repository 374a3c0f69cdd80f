/*
 * xtext (RFC 3461 section 4): any octets as a parameter's value, "+2B" for a plus sign.
 */
#ifndef MAIL_XTEXT_H
#define MAIL_XTEXT_H

#include <stdbool.h>

#include "base/buf.h"

/*
 * Add what `in` stands for to out; it may hold any octet. False when it is no xtext, and nothing was
 * added. Hexadecimal digits are in upper case, as the grammar has them.
 */
bool xtext_decode(struct text in, struct buf *out);

/* Add `in` as xtext: at most three times as many octets, all of them printable ASCII. */
void xtext_encode(struct buf *out, struct text in);

#endif

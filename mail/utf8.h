/*
 * UTF-8 as it may stand in addresses and parameters (RFC 6531 section 3.3).
 */
#ifndef MAIL_UTF8_H
#define MAIL_UTF8_H

#include "base/text.h"

/*
 * Octets of the one character beyond ASCII at the start of in, which is not empty: 2 to 4. 0 when it is
 * none: cut off, overlong, a surrogate, above U+10FFFF, a control character, or a line separator.
 */
size_t utf8_length(struct text in);

#endif

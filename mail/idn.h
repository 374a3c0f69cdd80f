/*
 * One form for names that may be written in several ways: domains of IDNA2008 (RFC 5891) and local parts
 * beyond ASCII (RFC 6531).
 */
#ifndef MAIL_IDN_H
#define MAIL_IDN_H

#include "base/text.h"

struct arena;

/*
 * A domain as it is compared: A-labels in lower case, whether it came as U-labels or A-labels. In the arena
 * or in `domain`; ptr NULL when it is no valid name (RFC 5891 section 5). What is
 * ASCII without "xn--", address literals included, is only turned to lower case.
 */
struct text idn_domain(struct arena *arena, struct text domain);

/*
 * A local part as it is compared: Unicode's normalisation form C in lower case, so that how a client
 * composes its letters does not matter (RFC 6530 section 10.1). ptr NULL when it is not UTF-8.
 */
struct text idn_local(struct arena *arena, struct text local);

#endif

/*
 * The addresses that a From field names (RFC 5322 section 3.6.2), without names and comments.
 */
#ifndef MAIL_MAILBOXES_H
#define MAIL_MAILBOXES_H

#include <stddef.h>

#include "mail/address.h"

/*
 * value: after the colon, folded as it is. Addresses have the form of the envelope; groups, blanks inside an
 * address and an '@' in an unquoted name are refused, as programs disagree about whom such a field names.
 * Texts are in the arena or in value. How many there are, at least 1; -1: it cannot be read, or they are
 * more than limit.
 */
int mailboxes_parse(struct arena *arena, struct text value, struct address *list, size_t limit);

#endif

/*
 * SHA-256 of a run of octets, piece by piece: a name for what they are that nobody can make twice.
 */
#ifndef BASE_DIGEST_H
#define BASE_DIGEST_H

#include "base/text.h"

enum { DIGEST_HEX = 64 };

struct digest;

/* What the library reads from files at first use, while they can be read: before the sandbox is closed. */
void digest_prepare(void);

struct digest *digest_new(void);
void digest_free(struct digest **digest);

void digest_add(struct digest *digest, struct text octets);

/* The digest of all that was added, in hexadecimal with a NUL behind; the next one begins. */
void digest_end(struct digest *digest, char hex[DIGEST_HEX + 1]);

#endif

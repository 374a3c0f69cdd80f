/*
 * What tells one remote message from all others: the key under which the store accepts it once.
 *
 * It is a digest over the account (its name, server and user), the folder with its UIDVALIDITY, and the
 * message's UID or UIDL; for a POP3 server without UIDL over the message itself. So an account that
 * gets another name, server or user is another account, and a folder that the server made anew, with
 * another UIDVALIDITY (RFC 9051 section 2.3.1.1), is another folder.
 */
#ifndef BRIDGE_ONCE_H
#define BRIDGE_ONCE_H

#include "bridge/settings.h"

enum { ONCE_LENGTH = 7 + 64 }; /* "bridge/" and a digest in hexadecimal */

struct once_key {
	char string[ONCE_LENGTH + 1];
};

struct once_key once_imap(const struct bridge_account *account, const char *folder,
	uint32_t uidvalidity, uint32_t uid);

/* A POP3 server lists all of them before the first is asked for: so long they are kept like this. */
struct once_uidl {
	unsigned char digest[32];
};
struct once_uidl once_pop3(const struct bridge_account *account, struct text uidl);
struct once_key once_of_uidl(const struct once_uidl *uidl);

/* For a message without an identifier of its own: give it piece by piece. */
struct once_digest;
struct once_digest *once_content_new(const struct bridge_account *account);
void once_content_add(struct once_digest *digest, struct text octets);
struct once_key once_content_end(struct once_digest **digest);

#endif

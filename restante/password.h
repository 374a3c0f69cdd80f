/*
 * Passwords from the one who types the command.
 */
#ifndef RESTANTE_PASSWORD_H
#define RESTANTE_PASSWORD_H

#include "store/protocol.h"

struct password {
	size_t length;
	char octets[STORE_PASSWORD_LIMIT + 2]; /* in one place, so that wiping it is enough */
};

/*
 * Asked for on the terminal, twice and unseen, or the first line of standard input when that is not a
 * terminal. 0 with a password that the caller forgets; or an exit status after having said why not.
 */
int password_get(const char *prompt, struct password *password);

/* The same from a descriptor that is not a terminal. */
int password_read(int fd, struct password *password);

void password_forget(struct password *password);

#endif

/*
 * The password or token of an account, from a file or a program, before the process gives its rights up.
 */
#ifndef BRIDGE_SECRET_H
#define BRIDGE_SECRET_H

#include "bridge/fault.h"
#include "bridge/settings.h"

enum { SECRET_LIMIT = 8192, SECRET_SECONDS = 30 };

struct secret {
	bool is_token;
	char string[SECRET_LIMIT + 1]; /* one line, without NUL, CR or LF */
};

/*
 * The first line of the file or of what the program prints; the program has SECRET_SECONDS and no
 * standard input. 0, or -1 with a fault that tells nothing of the secret.
 */
int secret_read(const struct bridge_account *account, struct secret *secret, struct fault *fault);

/* Overwritten. */
void secret_forget(struct secret *secret);

#endif

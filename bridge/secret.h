/*
 * The password or token of an account, from a file or a program, before the process gives its rights up.
 */
#ifndef BRIDGE_SECRET_H
#define BRIDGE_SECRET_H

#include "base/buf.h"
#include "bridge/fault.h"
#include "bridge/settings.h"

enum { SECRET_LIMIT = 8192, SECRET_SECONDS = 30 };

struct secret {
	bool is_token;
	char string[SECRET_LIMIT + 1]; /* one line without NUL, CR or LF; a token: VCHARs alone */
	struct buf coded;              /* the response of a login, which holds it */
};

/*
 * The first line of the file or of what the program prints; the program has SECRET_SECONDS and no
 * standard input. 0, or -1 with a fault that tells nothing of the secret.
 */
int secret_read(const struct bridge_account *account, struct secret *secret, struct fault *fault);

/*
 * What a login by token says: OAUTHBEARER (RFC 7628 section 3.1), in whose first field ',' and '=' of the
 * user are escaped (RFC 5801 section 4), or XOAUTH2.
 */
void secret_add_token(
	const struct secret *secret, const struct bridge_account *account, struct buf *octets);

/* What AUTHENTICATE or AUTH sends for these octets, in secret->coded. Wipes octets, and releases them. */
struct text secret_code(struct secret *secret, struct buf *octets);

/* A server may say again what it was told: in its answer, that becomes '*' before anybody else reads it. */
void secret_hide(const struct secret *secret, char *answer);

/* Overwritten. */
void secret_forget(struct secret *secret);

#endif

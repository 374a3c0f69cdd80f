/*
 * Passwords: hashing and checking with crypt(3), in threads of their own, because one costs tens of
 * milliseconds and the event loop has microseconds.
 *
 * Hashes in use: yescrypt ($y$), bcrypt ($2a$ $2b$ $2y$) and sha512-crypt ($6$), each only up to a cost
 * that cannot hold a thread for long. A check against no hash, or one of another kind, takes as long
 * as a real one and says no, so the time tells nobody which users exist.
 *
 * Copies of a password are wiped as soon as they were used.
 */
#ifndef STORE_PASSWORD_H
#define STORE_PASSWORD_H

#include <stdbool.h>
#include <stddef.h>

#include "base/text.h"

struct event_base;
struct passwords;
struct password_job;

enum {
	PASSWORD_HASH_LIMIT = 255,   /* octets of a hash that is taken */
	PASSWORD_RECORD_LIMIT = 512, /* of a new hash with its SCRAM verifier */
	PASSWORD_OCTETS_LIMIT = 511, /* of a password: what crypt(3) takes */
};

struct password_options {
	unsigned threads;
	size_t waiting;     /* jobs that may wait for a thread */
	const char *method; /* of new hashes: "yescrypt", "bcrypt" or "sha512-crypt" */
	unsigned long cost; /* crypt_gensalt(3)'s count for it; 0: its default */
	bool no_scram;      /* new passwords get no SCRAM verifier */
};

enum password_verdict {
	PASSWORD_WRONG,
	PASSWORD_RIGHT,
	PASSWORD_UNCHECKED, /* crypt(3) failed: there was no memory for it */
};

typedef void password_checked(void *owner, enum password_verdict verdict);
/*
 * hash: crypt(3)'s and, behind a blank, the SCRAM verifier (store/sasl.h) if one is kept; NULL when it could
 * not be made. Valid during the callback only.
 */
typedef void password_hashed(void *owner, const char *hash);

/* NULL after having logged why. */
struct passwords *passwords_new(struct event_base *loop, const struct password_options *options);

/* Callbacks of jobs not yet finished do not run. Waits for a job that is being worked on. */
void passwords_free(struct passwords **passwords);

/* Whether a user may be given this hash as it is. */
bool password_hash_is_usable(struct text hash);

/* Whether a user may be given this password: not empty, no NUL, no longer than the method looks at. */
bool password_is_usable(const struct passwords *passwords, struct text password);

/*
 * Answered once from the event loop, never inside the call. NULL: too many are waiting. The texts are
 * copied. hash may be empty: there is no such user.
 */
struct password_job *password_check(struct passwords *passwords, struct text password,
	struct text hash, password_checked *done, void *owner);
struct password_job *password_hash(
	struct passwords *passwords, struct text password, password_hashed *done, void *owner);

/* Its callback will not run; if no thread has begun it, none will. Not from within its own callback. */
void password_job_forget(struct password_job **job);

#endif

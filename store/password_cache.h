/*
 * Logins that were verified a short time ago, so that a client that polls every minute costs
 * microseconds and not a password hash.
 *
 * What is kept is a proof: HMAC-SHA256 under a random key of this process over user, hash and password. It
 * says nothing to who has no copy of this process's memory; who has one can guess the passwords of those
 * who logged in lately as fast as SHA-256 goes. A changed password or hash has another proof, so there
 * is nothing to throw away then. The cache has a fixed size; what is oldest gives way.
 */
#ifndef STORE_PASSWORD_CACHE_H
#define STORE_PASSWORD_CACHE_H

#include <stdbool.h>
#include <stdint.h>

#include "base/text.h"

struct password_cache;

struct password_proof {
	uint8_t octets[32];
};

struct password_cache *password_cache_new(void);
void password_cache_free(struct password_cache **cache);

/* Of a text over the protocol's limits: false, and there is no proof. */
bool password_cache_prove(const struct password_cache *cache, struct text user, struct text hash,
	struct text password, struct password_proof *proof);

/* now and until: seconds of a clock that is never set back. */
bool password_cache_has(
	const struct password_cache *cache, const struct password_proof *proof, uint64_t now);
void password_cache_add(struct password_cache *cache, const struct password_proof *proof,
	uint64_t now, uint64_t until);

/* Wipe what is over; to be called now and then. The number that is left. */
size_t password_cache_sweep(struct password_cache *cache, uint64_t now);

/* Wipe all. */
void password_cache_clear(struct password_cache *cache);

#endif

#include <errno.h>
#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <string.h>
#include <sys/random.h>

#include "base/log.h"
#include "base/mem.h"
#include "store/password.h"
#include "store/password_cache.h"
#include "store/protocol.h"

enum { SETS = 1024, WAYS = 4, KEY_OCTETS = 32 };

struct entry {
	struct password_proof proof;
	uint64_t until; /* 0: free */
};

struct password_cache {
	uint8_t key[KEY_OCTETS];
	struct entry set[SETS][WAYS];
};

struct password_cache *password_cache_new(void)
{
	struct password_cache *cache = mem_new(sizeof(*cache));

	/* Without its configuration file, which a confined store cannot open. */
	OPENSSL_init_crypto(OPENSSL_INIT_NO_LOAD_CONFIG, NULL);
	if (getrandom(cache->key, sizeof(cache->key), 0) != sizeof(cache->key))
		LOG_FATAL("no-random-octets", LOG_ERRNO(errno));
	return cache;
}

void password_cache_free(struct password_cache **handle)
{
	struct password_cache *cache = *handle;

	*handle = NULL;
	if (!cache)
		return;
	mem_wipe(cache, sizeof(*cache));
	mem_free(cache);
}

/* With its length before it, or "ab" + "c" were "a" + "bc". */
static size_t append(char *to, struct text t)
{
	const uint32_t length = (uint32_t)t.len;

	memcpy(to, &length, sizeof(length));
	if (t.len)
		memcpy(to + sizeof(length), t.ptr, t.len);
	return sizeof(length) + t.len;
}

bool password_cache_prove(const struct password_cache *cache, struct text user, struct text hash,
	struct text password, struct password_proof *proof)
{
	char octets[3 * sizeof(uint32_t) + STORE_ADDRESS_LIMIT + PASSWORD_HASH_LIMIT +
		    STORE_PASSWORD_LIMIT];
	size_t length = 0;

	if (user.len > STORE_ADDRESS_LIMIT || hash.len > PASSWORD_HASH_LIMIT ||
		password.len > STORE_PASSWORD_LIMIT)
		return false;
	length += append(octets + length, user);
	length += append(octets + length, hash);
	length += append(octets + length, password);
	unsigned written = 0;
	const bool made = HMAC(EVP_sha256(), cache->key, sizeof(cache->key),
				  (const unsigned char *)octets, length, proof->octets, &written) &&
			  written == sizeof(proof->octets);
	mem_wipe(octets, length);
	return made;
}

static size_t set_of(const struct password_proof *proof)
{
	return (proof->octets[0] | (size_t)proof->octets[1] << 8) % SETS;
}

bool password_cache_has(
	const struct password_cache *cache, const struct password_proof *proof, uint64_t now)
{
	const struct entry *set = cache->set[set_of(proof)];
	bool found = false;

	for (size_t i = 0; i < WAYS; i++) {
		found |= set[i].until > now &&
			 CRYPTO_memcmp(&set[i].proof, proof, sizeof(*proof)) == 0;
	}
	return found;
}

void password_cache_add(struct password_cache *cache, const struct password_proof *proof,
	uint64_t now, uint64_t until)
{
	struct entry *set = cache->set[set_of(proof)], *oldest = &set[0];

	if (until <= now)
		return;
	for (size_t i = 0; i < WAYS; i++) {
		if (CRYPTO_memcmp(&set[i].proof, proof, sizeof(*proof)) == 0) {
			oldest = &set[i];
			break;
		}
		if (set[i].until < oldest->until)
			oldest = &set[i];
	}
	*oldest = (struct entry){ .proof = *proof, .until = until };
}

size_t password_cache_sweep(struct password_cache *cache, uint64_t now)
{
	size_t left = 0;

	for (size_t i = 0; i < (size_t)SETS * WAYS; i++) {
		struct entry *entry = &cache->set[i / WAYS][i % WAYS];
		if (entry->until > now)
			left++;
		else if (entry->until)
			mem_wipe(entry, sizeof(*entry));
	}
	return left;
}

void password_cache_clear(struct password_cache *cache)
{
	mem_wipe(cache->set, sizeof(cache->set));
}

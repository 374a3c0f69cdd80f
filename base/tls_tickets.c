#include <openssl/core_names.h>
#include <openssl/evp.h>
#include <openssl/rand.h>
#include <string.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/tls_private.h"

static struct tls_tickets shared;

static void make(struct tls_ticket_key *key)
{
	if (RAND_bytes(key->name, sizeof(key->name)) != 1 ||
		RAND_priv_bytes(key->cipher, sizeof(key->cipher)) != 1 ||
		RAND_priv_bytes(key->mac, sizeof(key->mac)) != 1)
		LOG_FATAL("no-random-numbers", LOG_STRING("what", "ticket key"));
}

void tls_ticket_key_make(unsigned char out[TLS_TICKET_KEY])
{
	struct tls_ticket_key key;

	make(&key);
	memcpy(out, key.name, sizeof(key.name));
	memcpy(out + sizeof(key.name), key.cipher, sizeof(key.cipher));
	memcpy(out + sizeof(key.name) + sizeof(key.cipher), key.mac, sizeof(key.mac));
	mem_wipe(&key, sizeof(key));
}

static struct tls_ticket_key given(struct text octets)
{
	struct tls_ticket_key key = { 0 };

	if (octets.len != TLS_TICKET_KEY)
		return key;
	memcpy(key.name, octets.ptr, sizeof(key.name));
	memcpy(key.cipher, octets.ptr + sizeof(key.name), sizeof(key.cipher));
	memcpy(key.mac, octets.ptr + sizeof(key.name) + sizeof(key.cipher), sizeof(key.mac));
	key.made = 1;
	return key;
}

void tls_share_tickets(struct text current, struct text previous)
{
	shared = (struct tls_tickets){
		.current = given(current), .previous = given(previous), .shared = true
	};
}

struct tls_tickets *tls_tickets_in_use(struct tls_tickets *own)
{
	return shared.shared ? &shared : own;
}

const struct tls_ticket_key *tls_tickets_seal(struct tls_tickets *tickets, int64_t now)
{
	struct tls_ticket_key *key = &tickets->current;

	if (tickets->shared || (key->made && now - key->made < TLS_TICKET_PERIOD))
		return key;
	tickets->previous = *key;
	make(key);
	key->made = now;
	return key;
}

static bool opens(const struct tls_tickets *tickets, const struct tls_ticket_key *key,
	const unsigned char *name, int64_t now)
{
	return key->made && (tickets->shared || now - key->made < 2 * TLS_TICKET_PERIOD) &&
	       memcmp(key->name, name, sizeof(key->name)) == 0;
}

const struct tls_ticket_key *tls_tickets_open(
	const struct tls_tickets *tickets, const unsigned char *name, int64_t now)
{
	if (opens(tickets, &tickets->current, name, now))
		return &tickets->current;
	return opens(tickets, &tickets->previous, name, now) ? &tickets->previous : NULL;
}

static int64_t now_seconds(void)
{
	return clock_coarse_milliseconds() / 1000 + 1;
}

/* Fetched once: OpenSSL would look it up at each use. */
static const EVP_CIPHER *ticket_cipher(void)
{
	static EVP_CIPHER *cipher;

	if (!cipher)
		cipher = EVP_CIPHER_fetch(NULL, "AES-256-CBC", NULL);
	return cipher ? cipher : EVP_aes_256_cbc();
}

static int set_up(const struct tls_ticket_key *key, const unsigned char *vector,
	EVP_CIPHER_CTX *cipher, EVP_MAC_CTX *mac, int sealing)
{
	OSSL_PARAM params[] = {
		OSSL_PARAM_construct_octet_string(
			OSSL_MAC_PARAM_KEY, (void *)key->mac, sizeof(key->mac)),
		OSSL_PARAM_construct_utf8_string(OSSL_MAC_PARAM_DIGEST, (char *)"SHA256", 0),
		OSSL_PARAM_construct_end(),
	};

	return EVP_CipherInit_ex(cipher, ticket_cipher(), NULL, key->cipher, vector, sealing) &&
	       EVP_MAC_CTX_set_params(mac, params);
}

/* As SSL_CTX_set_tlsext_ticket_key_evp_cb(3) has it: 1 done, 0 unknown key, 2 renew, -1 failure. */
static int on_ticket(SSL *ssl, unsigned char *name, unsigned char *vector, EVP_CIPHER_CTX *cipher,
	EVP_MAC_CTX *mac, int sealing)
{
	struct tls_tickets *tickets = SSL_get_app_data(ssl);
	int64_t now = now_seconds();
	const struct tls_ticket_key *key;

	if (sealing) {
		key = tls_tickets_seal(tickets, now);
		memcpy(name, key->name, sizeof(key->name));
		if (RAND_bytes(vector, EVP_CIPHER_get_iv_length(ticket_cipher())) != 1)
			return -1;
		return set_up(key, vector, cipher, mac, 1) ? 1 : -1;
	}
	key = tls_tickets_open(tickets, name, now);
	if (!key)
		return 0;
	if (!set_up(key, vector, cipher, mac, 0))
		return -1;
	return key == &tickets->current ? 1 : 2;
}

void tls_tickets_install(SSL_CTX *context)
{
	SSL_CTX_set_tlsext_ticket_key_evp_cb(context, on_ticket);
}

#include "store/sasl.h"

#include <gsasl.h>
#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

#include "base/log.h"
#include "base/mem.h"

enum {
	BINDING_LIMIT = 64,
	KEY = 32, /* octets of StoredKey and ServerKey */
	/* "SCRAM-SHA-256" "$" iterations ":" salt "$" StoredKey ":" ServerKey */
	CODED_SALT = (SASL_SALT_OCTETS + 2) / 3 * 4,
	CODED_KEY = (KEY + 2) / 3 * 4,
	CODED_LIMIT = 1024,
};

#define PREFIX "SCRAM-SHA-256$"

struct sasl {
	Gsasl *gsasl;
	unsigned char key[SASL_KEY_OCTETS];
	sasl_find *find;
	void *owner;
};

struct sasl_exchange {
	struct sasl *sasl;
	Gsasl_session *session;
	const char *binding_type; /* NULL: none */
	char binding[CODED_LIMIT];
	bool is_scram;
	bool is_login; /* at its start: the library's first step asks for the name in any case */
	bool asked;    /* the client was told to go on */
	bool proven;   /* the server's last word is said, and the client's empty answer is due */
	char *user, *password;
	char *verifier; /* the user's; NULL: there is none, or there is no such user */
};

static const char *const mechanisms[] = { "PLAIN", "LOGIN", "SCRAM-SHA-256", "SCRAM-SHA-256-PLUS" };

static void encode(const unsigned char *octets, size_t size, char *to)
{
	EVP_EncodeBlock((unsigned char *)to, octets, (int)size);
}

/* ---- verifiers ---- */

/* digest(key, label): one HMAC, the way RFC 5802 section 3 makes its keys. */
static bool keyed(const void *key, size_t size, struct text label, unsigned char out[KEY])
{
	unsigned length = 0;

	return HMAC(EVP_sha256(), key, (int)size, (const unsigned char *)label.ptr, label.len, out,
		       &length) != NULL &&
	       length == KEY;
}

static bool derive(
	const char *prepared, const unsigned char *salt, char out[SASL_VERIFIER_LIMIT + 1])
{
	unsigned char salted[KEY], client[KEY], stored[KEY], server[KEY];
	char coded_salt[CODED_SALT + 1], coded_stored[CODED_KEY + 1], coded_server[CODED_KEY + 1];
	const bool made = PKCS5_PBKDF2_HMAC(prepared, (int)strlen(prepared), salt, SASL_SALT_OCTETS,
				  SASL_ITERATIONS, EVP_sha256(), KEY, salted) == 1 &&
			  keyed(salted, KEY, TEXT("Client Key"), client) &&
			  EVP_Digest(client, KEY, stored, NULL, EVP_sha256(), NULL) == 1 &&
			  keyed(salted, KEY, TEXT("Server Key"), server);

	if (made) {
		encode(salt, SASL_SALT_OCTETS, coded_salt);
		encode(stored, KEY, coded_stored);
		encode(server, KEY, coded_server);
		snprintf(out, SASL_VERIFIER_LIMIT + 1, PREFIX "%d:%s$%s:%s", SASL_ITERATIONS,
			coded_salt, coded_stored, coded_server);
	}
	mem_wipe(salted, sizeof(salted));
	mem_wipe(client, sizeof(client));
	return made;
}

bool sasl_verifier(const char *password, char out[SASL_VERIFIER_LIMIT + 1])
{
	unsigned char salt[SASL_SALT_OCTETS];
	char *prepared = NULL;
	bool made;

	if (getrandom(salt, sizeof(salt), 0) != sizeof(salt) ||
		gsasl_saslprep(password, 0, &prepared, NULL) != GSASL_OK)
		return false;
	made = *prepared != '\0' && derive(prepared, salt, out);
	mem_wipe(prepared, strlen(prepared));
	free(prepared); /* by libgsasl's own allocator */
	return made;
}

struct verifier {
	struct text iterations, salt, stored, server;
};

static bool is_coded(struct text t, size_t most)
{
	for (size_t i = 0; i < t.len; i++) {
		const char c = t.ptr[i];

		if (!(c >= 'a' && c <= 'z') && !(c >= 'A' && c <= 'Z') && !(c >= '0' && c <= '9') &&
			c != '+' && c != '/' && c != '=')
			return false;
	}
	return t.len > 0 && t.len % 4 == 0 && t.len <= most;
}

static bool parse(struct text verifier, struct verifier *parts)
{
	struct text rest, cost, keys;
	uint64_t iterations;

	if (verifier.len > SASL_VERIFIER_LIMIT || !text_begins(verifier, TEXT(PREFIX)))
		return false;
	rest = text_from(verifier, sizeof(PREFIX) - 1);
	if (!text_split(&rest, '$', &cost) || !text_split(&rest, '$', &keys) || rest.ptr != NULL)
		return false;
	return text_split(&cost, ':', &parts->iterations) && text_split(&cost, ':', &parts->salt) &&
	       cost.ptr == NULL && text_split(&keys, ':', &parts->stored) &&
	       text_split(&keys, ':', &parts->server) && keys.ptr == NULL &&
	       text_to_number(parts->iterations, 1000000, &iterations) == 0 && iterations >= 4096 &&
	       is_coded(parts->salt, 2 * CODED_SALT) && parts->stored.len == CODED_KEY &&
	       is_coded(parts->stored, CODED_KEY) && parts->server.len == CODED_KEY &&
	       is_coded(parts->server, CODED_KEY);
}

bool sasl_verifier_is_usable(struct text verifier)
{
	struct verifier parts;

	return parse(verifier, &parts);
}

/* ---- what libgsasl asks for ---- */

static void set(Gsasl_session *session, Gsasl_property property, struct text value)
{
	gsasl_property_set_raw(session, property, value.ptr, value.len);
}

/* The same for the same name as long as the store has its key; nobody knows a password for it. */
static void pretend(struct sasl_exchange *exchange, struct text name)
{
	unsigned char salt[KEY], keys[KEY];
	char coded[CODED_KEY + 1], iterations[16];

	if (!keyed(exchange->sasl->key, SASL_KEY_OCTETS, name, salt) ||
		getrandom(keys, sizeof(keys), 0) != sizeof(keys))
		return;
	encode(salt, SASL_SALT_OCTETS, coded);
	gsasl_property_set(exchange->session, GSASL_SCRAM_SALT, coded);
	snprintf(iterations, sizeof(iterations), "%d", SASL_ITERATIONS);
	gsasl_property_set(exchange->session, GSASL_SCRAM_ITER, iterations);
	encode(keys, KEY, coded);
	gsasl_property_set(exchange->session, GSASL_SCRAM_STOREDKEY, coded);
	gsasl_property_set(exchange->session, GSASL_SCRAM_SERVERKEY, coded);
}

static void give_verifier(struct sasl_exchange *exchange)
{
	const char *name = gsasl_property_fast(exchange->session, GSASL_AUTHID);
	const char *found;
	struct text canonical;
	struct verifier parts;

	if (exchange->user != NULL || name == NULL)
		return;
	exchange->user = mem_copy(name, strlen(name));
	found = exchange->sasl->find(exchange->sasl->owner, text_of(name), &canonical);
	if (found == NULL || !parse(text_of(found), &parts)) {
		pretend(exchange, canonical);
		return;
	}
	exchange->verifier = mem_copy(found, strlen(found));
	set(exchange->session, GSASL_SCRAM_ITER, parts.iterations);
	set(exchange->session, GSASL_SCRAM_SALT, parts.salt);
	set(exchange->session, GSASL_SCRAM_STOREDKEY, parts.stored);
	set(exchange->session, GSASL_SCRAM_SERVERKEY, parts.server);
}

/* Kept for the check in another thread; here it counts as right. */
static int keep_password(struct sasl_exchange *exchange)
{
	const char *user = gsasl_property_fast(exchange->session, GSASL_AUTHID);
	const char *password = gsasl_property_fast(exchange->session, GSASL_PASSWORD);

	if (user == NULL || password == NULL || exchange->user != NULL)
		return GSASL_AUTHENTICATION_ERROR;
	exchange->user = mem_copy(user, strlen(user));
	exchange->password = mem_copy(password, strlen(password));
	return GSASL_OK;
}

static int give_binding(
	const struct sasl_exchange *exchange, Gsasl_session *session, Gsasl_property property)
{
	const char *type = property == GSASL_CB_TLS_UNIQUE ? "tls-unique" : "tls-exporter";

	if (exchange->binding_type == NULL || strcmp(exchange->binding_type, type) != 0)
		return GSASL_NO_CALLBACK;
	gsasl_property_set(session, property, exchange->binding);
	return GSASL_OK;
}

static int callback(Gsasl *gsasl, Gsasl_session *session, Gsasl_property property)
{
	struct sasl_exchange *exchange = gsasl_session_hook_get(session);

	if (exchange == NULL)
		exchange = gsasl_callback_hook_get(gsasl);
	if (exchange == NULL)
		return GSASL_NO_CALLBACK;
	if (property == GSASL_CB_TLS_UNIQUE || property == GSASL_CB_TLS_EXPORTER)
		return give_binding(exchange, session, property);
	if (property == GSASL_VALIDATE_SIMPLE)
		return keep_password(exchange);
	if (property == GSASL_SCRAM_ITER || property == GSASL_SCRAM_SALT ||
		property == GSASL_SCRAM_STOREDKEY || property == GSASL_SCRAM_SERVERKEY) {
		give_verifier(exchange);
		return GSASL_OK;
	}
	return GSASL_NO_CALLBACK;
}

/* ---- life ---- */

struct sasl *sasl_new(const unsigned char key[SASL_KEY_OCTETS], sasl_find *find, void *owner)
{
	struct sasl *sasl = mem_new(sizeof(*sasl));

	sasl->find = find;
	sasl->owner = owner;
	memcpy(sasl->key, key, SASL_KEY_OCTETS);
	if (gsasl_init(&sasl->gsasl) != GSASL_OK)
		LOG_FATAL("out-of-memory", LOG_STRING("what", "SASL"));
	gsasl_callback_set(sasl->gsasl, callback);
	return sasl;
}

void sasl_free(struct sasl **handle)
{
	struct sasl *sasl = *handle;

	*handle = NULL;
	if (sasl == NULL)
		return;
	gsasl_done(sasl->gsasl);
	mem_wipe(sasl, sizeof(*sasl));
	mem_free(sasl);
}

static const char *find_mechanism(struct text name)
{
	for (size_t i = 0; i < sizeof(mechanisms) / sizeof(mechanisms[0]); i++)
		if (text_equal_nocase(name, text_of(mechanisms[i])))
			return mechanisms[i];
	return NULL;
}

static bool start(struct sasl_exchange *exchange, const char *mechanism)
{
	Gsasl *gsasl = exchange->sasl->gsasl;

	/* It asks already while it makes the session. */
	gsasl_callback_hook_set(gsasl, exchange);
	const int status = gsasl_server_start(gsasl, mechanism, &exchange->session);
	gsasl_callback_hook_set(gsasl, NULL);
	if (status != GSASL_OK)
		return false;
	gsasl_session_hook_set(exchange->session, exchange);
	return true;
}

struct sasl_exchange *sasl_begin(
	struct sasl *sasl, struct text mechanism, struct text binding_type, struct text binding)
{
	const char *name = find_mechanism(mechanism);
	struct sasl_exchange *exchange;

	if (name == NULL || binding.len > BINDING_LIMIT)
		return NULL;
	exchange = mem_new(sizeof(*exchange));
	exchange->sasl = sasl;
	exchange->is_scram = text_begins(text_of(name), TEXT("SCRAM"));
	exchange->is_login = strcmp(name, "LOGIN") == 0;
	if (binding.len > 0 && text_equal(binding_type, TEXT("tls-unique")))
		exchange->binding_type = "tls-unique";
	else if (binding.len > 0 && text_equal(binding_type, TEXT("tls-exporter")))
		exchange->binding_type = "tls-exporter";
	if (exchange->binding_type != NULL)
		encode((const unsigned char *)binding.ptr, binding.len, exchange->binding);
	if ((exchange->binding_type == NULL && strstr(name, "-PLUS") != NULL) ||
		!start(exchange, name))
		sasl_end(&exchange);
	return exchange;
}

static void forget(char *secret)
{
	if (secret != NULL)
		mem_wipe(secret, strlen(secret));
	mem_free(secret);
}

void sasl_end(struct sasl_exchange **handle)
{
	struct sasl_exchange *exchange = *handle;

	*handle = NULL;
	if (exchange == NULL)
		return;
	if (exchange->session != NULL)
		gsasl_finish(exchange->session);
	mem_free(exchange->user);
	forget(exchange->password);
	forget(exchange->verifier);
	mem_free(exchange);
}

/* ---- steps ---- */

/* The authorization identity has to be the user: nobody acts for another. */
static bool is_oneself(const struct sasl_exchange *exchange)
{
	const char *authorization = gsasl_property_fast(exchange->session, GSASL_AUTHZID);

	return exchange->user != NULL &&
	       (authorization == NULL || *authorization == '\0' ||
		       text_equal_nocase(text_of(authorization), text_of(exchange->user)));
}

/* An exchange takes as long as the client likes: the password may be another by now, the user gone. */
static bool still_holds(const struct sasl_exchange *exchange)
{
	const struct sasl *sasl = exchange->sasl;
	struct text canonical;
	const char *now = exchange->verifier == NULL
				  ? NULL
				  : sasl->find(sasl->owner, text_of(exchange->user), &canonical);

	return now != NULL && strcmp(now, exchange->verifier) == 0;
}

static enum sasl_result complete(struct sasl_exchange *exchange)
{
	if (!is_oneself(exchange))
		return SASL_FAILED;
	if (!exchange->is_scram)
		return SASL_PASSWORD;
	return still_holds(exchange) ? SASL_PROVEN : SASL_FAILED;
}

/* LOGIN was never specified: many a client looks for these words, which are not the library's. */
static struct text prompt(struct text challenge)
{
	if (text_equal(challenge, TEXT("User Name")))
		return TEXT("Username:");
	return text_equal(challenge, TEXT("Password")) ? TEXT("Password:") : challenge;
}

enum sasl_result sasl_step(
	struct sasl_exchange *exchange, struct text response, struct buf *challenge)
{
	char *output = NULL;
	size_t length = 0;
	int status;

	if (exchange->proven)
		return response.len == 0 ? complete(exchange) : SASL_FAILED;
	/* No mechanism has such an answer; the library would ask again, as often as it comes. */
	if (exchange->asked && response.len == 0)
		return SASL_FAILED;
	exchange->asked = true;
	/* A name in the initial response answers a question not yet asked. */
	if (exchange->is_login && response.len > 0 &&
		gsasl_step(exchange->session, "", 0, &output, &length) == GSASL_NEEDS_MORE)
		gsasl_free(output);
	exchange->is_login = false;
	status = gsasl_step(exchange->session, response.ptr, response.len, &output, &length);
	if (status == GSASL_OK || status == GSASL_NEEDS_MORE)
		buf_add(challenge, prompt((struct text){ .ptr = output, .len = length }));
	gsasl_free(output);
	if (status == GSASL_NEEDS_MORE)
		return SASL_GOES_ON;
	if (status != GSASL_OK)
		return SASL_FAILED;
	if (length == 0)
		return complete(exchange);
	exchange->proven = true;
	return complete(exchange) == SASL_FAILED ? SASL_FAILED : SASL_GOES_ON;
}

struct text sasl_user(const struct sasl_exchange *exchange)
{
	return exchange->user != NULL ? text_of(exchange->user) : TEXT("");
}

struct text sasl_password(const struct sasl_exchange *exchange)
{
	return exchange->password != NULL ? text_of(exchange->password) : TEXT("");
}

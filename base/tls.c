#include <openssl/bio.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>
#include <stdio.h>
#include <string.h>

#include "base/log.h"
#include "base/mem.h"
#include "base/tls.h"
#include "base/tls_private.h"

enum { LARGEST_PEM = 1 << 20 };

/* One OpenSSL context for each set of names; it may hold certificates of several key types. */
struct context {
	SSL_CTX *ssl;
	X509 *leaf; /* its names are those of the whole context */
};

struct tls {
	unsigned users;
	size_t count;
	struct context *contexts; /* the first serves clients that name no server we know */
	struct tls_tickets tickets;
};

struct identity {
	X509 *leaf;
	STACK_OF(X509) * chain; /* what issued the leaf, without it */
	EVP_PKEY *key;
};

static void say(char *error, size_t error_size, const char *sentence)
{
	unsigned long code = ERR_peek_last_error();
	const char *reason = code ? ERR_reason_error_string(code) : NULL;

	snprintf(error, error_size, "%s%s%s%s", sentence, reason ? " (" : "", reason ? reason : "",
		reason ? ")" : "");
	ERR_clear_error();
}

/* ---- certificates and keys from memory ---- */

/* OpenSSL would ask for a passphrase on the terminal. */
static int no_passphrase(char *to, int size, int writing, void *asked)
{
	(void)to, (void)size, (void)writing;
	*(bool *)asked = true;
	return -1;
}

static BIO *pem_source(struct text pem)
{
	BIO *bio = BIO_new_mem_buf(pem.ptr, (int)pem.len);

	if (!bio)
		LOG_FATAL("out-of-memory", LOG_STRING("what", "BIO"));
	return bio;
}

static bool is_end_of_pem(void)
{
	unsigned long code = ERR_peek_last_error();

	return ERR_GET_LIB(code) == ERR_LIB_PEM && ERR_GET_REASON(code) == PEM_R_NO_START_LINE;
}

static int read_chain(struct text pem, struct identity *identity, char *error, size_t error_size)
{
	BIO *bio = pem_source(pem);
	X509 *certificate;
	bool asked = false;

	identity->chain = sk_X509_new_null();
	while ((certificate = PEM_read_bio_X509(bio, NULL, no_passphrase, &asked))) {
		if (!identity->leaf)
			identity->leaf = certificate;
		else if (!sk_X509_push(identity->chain, certificate))
			LOG_FATAL("out-of-memory", LOG_STRING("what", "certificates"));
	}
	BIO_free(bio);
	if (!is_end_of_pem()) {
		say(error, error_size, "the certificate chain holds a damaged certificate");
		return -1;
	}
	ERR_clear_error();
	if (!identity->leaf) {
		say(error, error_size, "the certificate chain holds no certificate in PEM");
		return -1;
	}
	return 0;
}

static int read_key(struct text pem, struct identity *identity, char *error, size_t error_size)
{
	BIO *bio = pem_source(pem);
	bool asked = false;

	identity->key = PEM_read_bio_PrivateKey(bio, NULL, no_passphrase, &asked);
	BIO_free(bio);
	if (identity->key)
		return 0;
	if (asked) {
		ERR_clear_error();
		say(error, error_size,
			"the private key is encrypted; store it without a passphrase");
	} else if (!memmem(pem.ptr, pem.len, "PRIVATE KEY-----", 16)) {
		ERR_clear_error();
		say(error, error_size, "the private key file holds no private key in PEM");
	} else {
		say(error, error_size, "the private key is damaged");
	}
	return -1;
}

static void identity_free(struct identity *identity)
{
	X509_free(identity->leaf);
	sk_X509_pop_free(identity->chain, X509_free);
	EVP_PKEY_free(identity->key);
}

static int read_identity(struct text chain, struct text key, struct identity *identity, char *error,
	size_t error_size)
{
	ERR_clear_error();
	if (chain.len > LARGEST_PEM || key.len > LARGEST_PEM) {
		say(error, error_size,
			"the certificate chain or the key is larger than a megabyte");
		return -1;
	}
	if (read_chain(chain, identity, error, error_size) != 0 ||
		read_key(key, identity, error, error_size) != 0)
		return -1;
	if (!X509_check_private_key(identity->leaf, identity->key)) {
		ERR_clear_error();
		say(error, error_size,
			"the private key does not belong to the (first) certificate");
		return -1;
	}
	return 0;
}

/* ---- contexts ---- */

/*
 * RFC 9325: forward secrecy and authenticated encryption only. TLS 1.3 has nothing else. Those with SHA-256
 * come first: much of a handshake is hashing, and processors do that one in hardware.
 */
static const char CIPHERS[] = "ECDHE+AESGCM+AES128:ECDHE+AESGCM:ECDHE+CHACHA20";
static const char SUITES[] =
	"TLS_AES_128_GCM_SHA256:TLS_CHACHA20_POLY1305_SHA256:TLS_AES_256_GCM_SHA384";
static const char GROUPS[] = "X25519:P-256:P-384";

static SSL_CTX *context_new(void)
{
	SSL_CTX *ssl = SSL_CTX_new(TLS_server_method());

	if (!ssl || !SSL_CTX_set_min_proto_version(ssl, TLS1_2_VERSION) ||
		!SSL_CTX_set_cipher_list(ssl, CIPHERS) || !SSL_CTX_set_ciphersuites(ssl, SUITES) ||
		!SSL_CTX_set1_groups_list(ssl, GROUPS))
		LOG_FATAL("tls-setup",
			LOG_STRING("error", ERR_reason_error_string(ERR_peek_error())));
	/* An end without close_notify is told by the connection; it must not forbid our last reply. */
	SSL_CTX_set_options(ssl, SSL_OP_NO_RENEGOTIATION | SSL_OP_NO_COMPRESSION |
					 SSL_OP_CIPHER_SERVER_PREFERENCE |
					 SSL_OP_PRIORITIZE_CHACHA | SSL_OP_IGNORE_UNEXPECTED_EOF);
	/* The chain is as the file has it: OpenSSL is not to look for one at each handshake. */
	SSL_CTX_set_mode(ssl, SSL_MODE_ENABLE_PARTIAL_WRITE | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER |
				      SSL_MODE_RELEASE_BUFFERS | SSL_MODE_NO_AUTO_CHAIN);
	/* One system call for a record, not one for its header and one for its body. */
	SSL_CTX_set_read_ahead(ssl, 1);
	/* Sessions live in tickets at the client. */
	SSL_CTX_set_session_cache_mode(ssl, SSL_SESS_CACHE_OFF);
	SSL_CTX_set_session_id_context(ssl, (const unsigned char *)"restante", 8);
	SSL_CTX_set_num_tickets(ssl, 1);
	tls_tickets_install(ssl);
	return ssl;
}

static int context_use(
	SSL_CTX *ssl, const struct identity *identity, char *error, size_t error_size)
{
	ERR_clear_error();
	if (SSL_CTX_use_cert_and_key(ssl, identity->leaf, identity->key, identity->chain, 0) == 1)
		return 0;
	say(error, error_size, "the certificate cannot be used");
	return -1;
}

static bool has_name(const GENERAL_NAMES *names, const GENERAL_NAME *wanted)
{
	for (int i = 0; i < sk_GENERAL_NAME_num(names); i++) {
		if (GENERAL_NAME_cmp(sk_GENERAL_NAME_value(names, i), (GENERAL_NAME *)wanted) == 0)
			return true;
	}
	return false;
}

static bool has_names(const GENERAL_NAMES *names, const GENERAL_NAMES *wanted)
{
	for (int i = 0; i < sk_GENERAL_NAME_num(wanted); i++) {
		if (!has_name(names, sk_GENERAL_NAME_value(wanted, i)))
			return false;
	}
	return true;
}

static bool are_for_the_same_names(const X509 *a, const X509 *b)
{
	GENERAL_NAMES *of_a = X509_get_ext_d2i(a, NID_subject_alt_name, NULL, NULL);
	GENERAL_NAMES *of_b = X509_get_ext_d2i(b, NID_subject_alt_name, NULL, NULL);
	bool same;

	if (of_a && of_b)
		same = has_names(of_a, of_b) && has_names(of_b, of_a);
	else
		same = !of_a && !of_b &&
		       X509_NAME_cmp(X509_get_subject_name(a), X509_get_subject_name(b)) == 0;
	GENERAL_NAMES_free(of_a);
	GENERAL_NAMES_free(of_b);
	return same;
}

static bool has_key_type(SSL_CTX *ssl, const EVP_PKEY *key)
{
	for (long found = SSL_CTX_set_current_cert(ssl, SSL_CERT_SET_FIRST); found == 1;
		found = SSL_CTX_set_current_cert(ssl, SSL_CERT_SET_NEXT)) {
		if (EVP_PKEY_get_base_id(SSL_CTX_get0_privatekey(ssl)) == EVP_PKEY_get_base_id(key))
			return true;
	}
	return false;
}

/* RFC 6066 section 3: choose by the name; an unknown name gets the default, not an alert. */
static int on_server_name(SSL *ssl, int *alert, void *arg)
{
	const struct tls *tls = arg;
	const char *name = SSL_get_servername(ssl, TLSEXT_NAMETYPE_host_name);

	(void)alert;
	for (size_t i = 0; name && i < tls->count; i++) {
		if (X509_check_host(tls->contexts[i].leaf, name, 0,
			    X509_CHECK_FLAG_NO_PARTIAL_WILDCARDS, NULL) == 1) {
			SSL_set_SSL_CTX(ssl, tls->contexts[i].ssl);
			return SSL_TLSEXT_ERR_OK;
		}
	}
	return name ? SSL_TLSEXT_ERR_OK : SSL_TLSEXT_ERR_NOACK;
}

static int add_context(
	struct tls *tls, const struct identity *identity, char *error, size_t error_size)
{
	SSL_CTX *ssl = context_new();

	if (context_use(ssl, identity, error, error_size) != 0) {
		SSL_CTX_free(ssl);
		return -1;
	}
	X509_up_ref(identity->leaf);
	tls->contexts = mem_resize(tls->contexts, (tls->count + 1) * sizeof(*tls->contexts));
	tls->contexts[tls->count++] = (struct context){ .ssl = ssl, .leaf = identity->leaf };
	return 0;
}

static int add_identity(
	struct tls *tls, const struct identity *identity, char *error, size_t error_size)
{
	for (size_t i = 0; i < tls->count; i++) {
		if (!are_for_the_same_names(tls->contexts[i].leaf, identity->leaf))
			continue;
		if (has_key_type(tls->contexts[i].ssl, identity->key)) {
			say(error, error_size,
				"another certificate has the same names and the same type of key");
			return -1;
		}
		return context_use(tls->contexts[i].ssl, identity, error, error_size);
	}
	return add_context(tls, identity, error, error_size);
}

/* ---- the public face ---- */

int tls_add(struct tls *tls, struct text chain, struct text key, char *error, size_t error_size)
{
	struct identity identity = { 0 };
	int result = read_identity(chain, key, &identity, error, error_size);

	if (result == 0)
		result = add_identity(tls, &identity, error, error_size);
	identity_free(&identity);
	return result;
}

struct tls *tls_new(struct text chain, struct text key, char *error, size_t error_size)
{
	struct tls *tls = mem_new(sizeof(*tls));

	tls->users = 1;
	if (tls_add(tls, chain, key, error, error_size) != 0) {
		tls_drop(&tls);
		return NULL;
	}
	SSL_CTX_set_tlsext_servername_callback(tls->contexts[0].ssl, on_server_name);
	SSL_CTX_set_tlsext_servername_arg(tls->contexts[0].ssl, tls);
	return tls;
}

struct tls *tls_keep(struct tls *tls)
{
	tls->users++;
	return tls;
}

void tls_drop(struct tls **tls)
{
	struct tls *gone = *tls;

	*tls = NULL;
	if (!gone || --gone->users > 0)
		return;
	for (size_t i = 0; i < gone->count; i++) {
		SSL_CTX_free(gone->contexts[i].ssl);
		X509_free(gone->contexts[i].leaf);
	}
	mem_wipe(&gone->tickets, sizeof(gone->tickets));
	mem_free(gone->contexts);
	mem_free(gone);
}

struct ssl_st *tls_accept(struct tls *tls)
{
	SSL *ssl = SSL_new(tls->contexts[0].ssl);

	if (!ssl)
		LOG_FATAL("out-of-memory", LOG_STRING("what", "TLS session"));
	SSL_set_app_data(ssl, tls_tickets_in_use(&tls->tickets));
	SSL_set_accept_state(ssl);
	return ssl;
}

/* TLS contexts: what is refused with which words, which certificate a peer gets, what is spoken. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/mem.h"
#include "base/tls.h"
#include "base/tls_private.h"
#include "tests/unit/base/tls_identity.h"

static struct tls_identity ecdsa, rsa, other, wild, nameless;

static int make_identities(void **state)
{
	(void)state;
	ecdsa = tls_identity_make(TLS_IDENTITY_ECDSA, "DNS:mail.test,DNS:mx.mail.test");
	rsa = tls_identity_make(TLS_IDENTITY_RSA, "DNS:mx.mail.test,DNS:mail.test");
	other = tls_identity_make(TLS_IDENTITY_ECDSA, "DNS:other.test");
	wild = tls_identity_make(TLS_IDENTITY_ECDSA, "DNS:*.wild.test");
	nameless = tls_identity_make(TLS_IDENTITY_ECDSA, NULL);
	return 0;
}

static struct tls *tls_of(const struct tls_identity *identity)
{
	char error[200] = "";
	struct tls *tls =
		tls_new(text_of(identity->chain), text_of(identity->key), error, sizeof(error));

	assert_string_equal(error, "");
	assert_non_null(tls);
	return tls;
}

static int add(struct tls *tls, const struct tls_identity *identity, char *error, size_t error_size)
{
	return tls_add(tls, text_of(identity->chain), text_of(identity->key), error, error_size);
}

/* ---- mistakes ---- */

static void assert_refused(const char *chain, const char *key, const char *reason)
{
	char error[200] = "";

	assert_null(tls_new(text_of(chain), text_of(key), error, sizeof(error)));
	if (strncmp(error, reason, strlen(reason)) != 0)
		fail_msg("\"%s\", not \"%s\"", error, reason);
}

static char *encrypted_key(void)
{
	static char pem[4096];
	BIO *bio = BIO_new(BIO_s_mem());
	EVP_PKEY *key = EVP_EC_gen("P-256");

	PEM_write_bio_PrivateKey(
		bio, key, EVP_aes_128_cbc(), (const unsigned char *)"x", 1, NULL, NULL);
	tls_identity_text(bio, pem, sizeof(pem));
	EVP_PKEY_free(key);
	return pem;
}

static void mistakes_are_named(void **state)
{
	char damaged[4096], two[8192];

	(void)state;
	assert_refused("", ecdsa.key, "the certificate chain holds no certificate in PEM");
	assert_refused(ecdsa.key, ecdsa.key, "the certificate chain holds no certificate in PEM");
	assert_refused(ecdsa.chain, "", "the private key file holds no private key in PEM");
	assert_refused(
		ecdsa.chain, ecdsa.chain, "the private key file holds no private key in PEM");
	assert_refused(ecdsa.chain, other.key,
		"the private key does not belong to the (first) certificate");
	assert_refused(
		ecdsa.chain, rsa.key, "the private key does not belong to the (first) certificate");
	assert_refused(ecdsa.chain, encrypted_key(),
		"the private key is encrypted; store it without a passphrase");
	snprintf(damaged, sizeof(damaged), "%s", ecdsa.chain);
	memcpy(damaged + 30, "AAAAAAAA", 8);
	assert_refused(damaged, ecdsa.key, "the certificate chain holds a damaged certificate");
	damaged[200] = 0;
	assert_refused(damaged, ecdsa.key, "the certificate chain holds a damaged certificate");
	snprintf(two, sizeof(two), "%s%.100s", ecdsa.chain, ecdsa.chain);
	assert_refused(two, ecdsa.key, "the certificate chain holds a damaged certificate");
	snprintf(damaged, sizeof(damaged), "%s", ecdsa.key);
	memcpy(damaged + 40, "AAAAAAAA", 8);
	assert_refused(ecdsa.chain, damaged, "the private key is damaged");
}

static void a_key_too_weak_is_refused(void **state)
{
	struct tls_identity weak = rsa;
	EVP_PKEY *key = EVP_RSA_gen(1024);
	X509 *certificate = X509_new();
	BIO *chain_pem = BIO_new(BIO_s_mem()), *key_pem = BIO_new(BIO_s_mem());

	(void)state;
	X509_set_pubkey(certificate, key);
	X509_gmtime_adj(X509_getm_notBefore(certificate), 0);
	X509_gmtime_adj(X509_getm_notAfter(certificate), 3600);
	X509_sign(certificate, key, EVP_sha256());
	PEM_write_bio_X509(chain_pem, certificate);
	PEM_write_bio_PrivateKey(key_pem, key, NULL, NULL, 0, NULL, NULL);
	tls_identity_text(chain_pem, weak.chain, sizeof(weak.chain));
	tls_identity_text(key_pem, weak.key, sizeof(weak.key));
	assert_refused(weak.chain, weak.key, "the certificate cannot be used (ee key too small)");
	X509_free(certificate);
	EVP_PKEY_free(key);
}

static void the_same_certificate_twice_is_refused(void **state)
{
	struct tls *tls = tls_of(&ecdsa);
	char error[200] = "";

	(void)state;
	assert_int_equal(add(tls, &ecdsa, error, sizeof(error)), -1);
	assert_string_equal(
		error, "another certificate has the same names and the same type of key");
	assert_int_equal(add(tls, &rsa, error, sizeof(error)), 0);
	assert_int_equal(add(tls, &rsa, error, sizeof(error)), -1);
	assert_int_equal(add(tls, &nameless, error, sizeof(error)), 0);
	assert_int_equal(add(tls, &nameless, error, sizeof(error)), -1);
	tls_drop(&tls);
	assert_null(tls);
}

/* ---- handshakes, in memory ---- */

static void configure_nothing(SSL_CTX *context)
{
	(void)context;
}

static int try_handshake(struct tls *tls, const char *name, void (*configure)(SSL_CTX *),
	SSL_SESSION *session, SSL **client_out, SSL **server_out)
{
	SSL_CTX *context = SSL_CTX_new(TLS_client_method());
	BIO *ours, *theirs;
	int of_client = 0, of_server = 0;

	SSL_CTX_set_session_cache_mode(context, SSL_SESS_CACHE_OFF);
	configure(context);
	SSL *client = SSL_new(context), *server = tls_accept(tls);
	BIO_new_bio_pair(&ours, 0, &theirs, 0);
	SSL_set_bio(server, ours, ours);
	SSL_set_bio(client, theirs, theirs);
	SSL_set_connect_state(client);
	if (name)
		SSL_set_tlsext_host_name(client, name);
	if (session)
		SSL_set_session(client, session);
	for (int i = 0; i < 10 && (of_client != 1 || of_server != 1); i++) {
		of_client = SSL_do_handshake(client);
		of_server = SSL_do_handshake(server);
	}
	SSL_CTX_free(context);
	*client_out = client;
	*server_out = server;
	return of_client == 1 && of_server == 1 ? 0 : -1;
}

static void drop_both(SSL *client, SSL *server)
{
	SSL_free(client);
	SSL_free(server);
}

static void assert_gets(struct tls *tls, const char *name, void (*configure)(SSL_CTX *),
	const struct tls_identity *wanted)
{
	SSL *client, *server;
	BIO *bio = BIO_new_mem_buf(wanted->chain, -1);
	X509 *certificate = PEM_read_bio_X509(bio, NULL, NULL, NULL);

	assert_int_equal(try_handshake(tls, name, configure, NULL, &client, &server), 0);
	assert_int_equal(X509_cmp(SSL_get0_peer_certificate(client), certificate), 0);
	X509_free(certificate);
	BIO_free(bio);
	drop_both(client, server);
}

static void only_rsa(SSL_CTX *context)
{
	SSL_CTX_set1_sigalgs_list(context, "rsa_pss_rsae_sha256:RSA+SHA256");
}

static void only_rsa_and_tls12(SSL_CTX *context)
{
	only_rsa(context);
	SSL_CTX_set_max_proto_version(context, TLS1_2_VERSION);
}

static void the_certificate_follows_name_and_key_type(void **state)
{
	struct tls *tls = tls_of(&ecdsa);
	char error[200] = "";

	(void)state;
	assert_int_equal(add(tls, &rsa, error, sizeof(error)), 0);
	assert_int_equal(add(tls, &other, error, sizeof(error)), 0);
	assert_int_equal(add(tls, &wild, error, sizeof(error)), 0);
	assert_gets(tls, NULL, configure_nothing, &ecdsa);
	assert_gets(tls, "unknown.test", configure_nothing, &ecdsa);
	assert_gets(tls, "mail.test", configure_nothing, &ecdsa);
	assert_gets(tls, "MX.mail.test", configure_nothing, &ecdsa);
	assert_gets(tls, "mail.test", only_rsa, &rsa);
	assert_gets(tls, "mail.test", only_rsa_and_tls12, &rsa);
	assert_gets(tls, NULL, only_rsa, &rsa);
	assert_gets(tls, "other.test", configure_nothing, &other);
	assert_gets(tls, "a.wild.test", configure_nothing, &wild);
	assert_gets(tls, "a.b.wild.test", configure_nothing, &ecdsa);
	tls_drop(&tls);
}

static void only_tls12(SSL_CTX *context)
{
	SSL_CTX_set_max_proto_version(context, TLS1_2_VERSION);
}

static void only_tls11(SSL_CTX *context)
{
	SSL_CTX_set_security_level(context, 0);
	SSL_CTX_set_min_proto_version(context, TLS1_VERSION);
	SSL_CTX_set_max_proto_version(context, TLS1_1_VERSION);
}

static void only_without_forward_secrecy(SSL_CTX *context)
{
	only_tls12(context);
	SSL_CTX_set_cipher_list(context, "AES128-GCM-SHA256:AES256-GCM-SHA384");
}

static void only_cbc(SSL_CTX *context)
{
	only_tls12(context);
	SSL_CTX_set_cipher_list(context, "ECDHE+AES+SHA256:ECDHE+AES+SHA");
}

static void only_p521(SSL_CTX *context)
{
	SSL_CTX_set1_groups_list(context, "P-521");
}

static void old_and_weak_is_not_spoken(void **state)
{
	static void (*const refused[])(
		SSL_CTX *) = { only_tls11, only_without_forward_secrecy, only_cbc, only_p521 };
	struct tls *tls = tls_of(&rsa);
	SSL *client, *server;

	(void)state;
	for (size_t i = 0; i < sizeof(refused) / sizeof(refused[0]); i++) {
		assert_int_equal(try_handshake(tls, NULL, refused[i], NULL, &client, &server), -1);
		drop_both(client, server);
	}
	assert_int_equal(try_handshake(tls, NULL, only_tls12, NULL, &client, &server), 0);
	assert_string_equal(SSL_get_version(server), "TLSv1.2");
	assert_non_null(strstr(SSL_get_cipher_name(server), "ECDHE-RSA-"));
	/* Renegotiation is refused. */
	char octet;
	SSL_renegotiate(client);
	SSL_do_handshake(client);
	SSL_read(server, &octet, 1);
	assert_int_equal(SSL_read(client, &octet, 1), -1);
	assert_int_not_equal(SSL_do_handshake(client), 1);
	drop_both(client, server);
	assert_int_equal(try_handshake(tls, NULL, configure_nothing, NULL, &client, &server), 0);
	assert_string_equal(SSL_get_version(server), "TLSv1.3");
	drop_both(client, server);
	tls_drop(&tls);
}

static void only_aes256(SSL_CTX *context)
{
	SSL_CTX_set_ciphersuites(context, "TLS_AES_256_GCM_SHA384");
}

static void rather_chacha(SSL_CTX *context)
{
	SSL_CTX_set_ciphersuites(context, "TLS_CHACHA20_POLY1305_SHA256:TLS_AES_256_GCM_SHA384:"
					  "TLS_AES_128_GCM_SHA256");
}

static void rather_chacha_and_tls12(SSL_CTX *context)
{
	only_tls12(context);
	SSL_CTX_set_cipher_list(context, "ECDHE+CHACHA20:ECDHE+AESGCM");
}

static void the_cheapest_cipher_is_taken_but_for_those_without_hardware(void **state)
{
	static const struct {
		void (*configure)(SSL_CTX *);
		const char *wanted;
	} table[] = {
		{ configure_nothing, "TLS_AES_128_GCM_SHA256" },
		{ only_tls12, "ECDHE-ECDSA-AES128-GCM-SHA256" },
		{ only_aes256, "TLS_AES_256_GCM_SHA384" },
		{ rather_chacha, "TLS_CHACHA20_POLY1305_SHA256" },
		{ rather_chacha_and_tls12, "ECDHE-ECDSA-CHACHA20-POLY1305" },
	};
	struct tls *tls = tls_of(&ecdsa);

	(void)state;
	for (size_t i = 0; i < sizeof(table) / sizeof(table[0]); i++) {
		SSL *client, *server;
		assert_int_equal(
			try_handshake(tls, NULL, table[i].configure, NULL, &client, &server), 0);
		assert_string_equal(SSL_get_cipher_name(server), table[i].wanted);
		drop_both(client, server);
	}
	tls_drop(&tls);
}

static void resume(void (*configure)(SSL_CTX *))
{
	struct tls *tls = tls_of(&ecdsa), *replaced = tls_of(&ecdsa);
	SSL *client, *server;
	char octet;

	assert_int_equal(try_handshake(tls, "mail.test", configure, NULL, &client, &server), 0);
	assert_int_equal(SSL_read(client, &octet, 1), -1);
	SSL_SESSION *session = SSL_get1_session(client);
	/* Freed without, OpenSSL declares the session broken. */
	SSL_set_shutdown(client, SSL_SENT_SHUTDOWN | SSL_RECEIVED_SHUTDOWN);
	drop_both(client, server);
	assert_int_equal(try_handshake(tls, "mail.test", configure, session, &client, &server), 0);
	assert_true(SSL_session_reused(server));
	drop_both(client, server);
	/* Another context has other keys: a full handshake, not a failure. */
	assert_int_equal(
		try_handshake(replaced, "mail.test", configure, session, &client, &server), 0);
	assert_false(SSL_session_reused(server));
	drop_both(client, server);
	SSL_SESSION_free(session);
	tls_drop(&tls);
	tls_drop(&replaced);
}

static void sessions_are_resumed_by_ticket(void **state)
{
	(void)state;
	resume(configure_nothing);
	resume(only_tls12);
}

static void ticket_keys_are_replaced(void **state)
{
	enum { START = 1000 };
	struct tls_tickets tickets = { 0 };
	unsigned char first[TLS_TICKET_NAME], second[TLS_TICKET_NAME],
		nothing[TLS_TICKET_NAME] = { 0 };

	(void)state;
	assert_null(tls_tickets_open(&tickets, nothing, START));
	memcpy(first, tls_tickets_seal(&tickets, START)->name, sizeof(first));
	assert_memory_equal(tls_tickets_seal(&tickets, START + TLS_TICKET_PERIOD - 1)->name, first,
		sizeof(first));
	assert_ptr_equal(tls_tickets_open(&tickets, first, START), &tickets.current);
	memcpy(second, tls_tickets_seal(&tickets, START + TLS_TICKET_PERIOD)->name, sizeof(second));
	assert_memory_not_equal(first, second, sizeof(first));
	int64_t now = START + 2 * TLS_TICKET_PERIOD - 1;
	assert_ptr_equal(tls_tickets_open(&tickets, first, now), &tickets.previous);
	assert_ptr_equal(tls_tickets_open(&tickets, second, now), &tickets.current);
	assert_null(tls_tickets_open(&tickets, first, now + 1));
	assert_null(tls_tickets_open(&tickets, nothing, now));
	/* After a long silence neither opens, though nobody has sealed since. */
	assert_null(tls_tickets_open(&tickets, second, START + 3 * TLS_TICKET_PERIOD));
	tls_tickets_seal(&tickets, START + 9 * TLS_TICKET_PERIOD);
	assert_null(tls_tickets_open(&tickets, second, START + 9 * TLS_TICKET_PERIOD));
}

static bool is_resumed(struct tls *tls, SSL_SESSION *session)
{
	SSL *client, *server;

	assert_int_equal(
		try_handshake(tls, "mail.test", configure_nothing, session, &client, &server), 0);
	const bool resumed = SSL_session_reused(server);
	SSL_set_shutdown(client, SSL_SENT_SHUTDOWN | SSL_RECEIVED_SHUTDOWN);
	drop_both(client, server);
	return resumed;
}

static void share(const unsigned char *current, const unsigned char *previous)
{
	tls_share_tickets((struct text){ (const char *)current, TLS_TICKET_KEY },
		(struct text){ (const char *)previous, previous ? TLS_TICKET_KEY : 0 });
}

/* As by two processes of a role, or one before and after its certificate was replaced. Stays in force. */
static void shared_tickets_open_everywhere(void **state)
{
	struct tls *one = tls_of(&ecdsa), *second_tls = tls_of(&rsa);
	unsigned char first[TLS_TICKET_KEY], second[TLS_TICKET_KEY], third[TLS_TICKET_KEY];
	SSL *client, *server;
	char octet;

	(void)state;
	tls_ticket_key_make(first);
	tls_ticket_key_make(second);
	tls_ticket_key_make(third);
	share(first, NULL);
	assert_int_equal(
		try_handshake(one, "mail.test", configure_nothing, NULL, &client, &server), 0);
	assert_int_equal(SSL_read(client, &octet, 1), -1);
	SSL_SESSION *session = SSL_get1_session(client);
	SSL_set_shutdown(client, SSL_SENT_SHUTDOWN | SSL_RECEIVED_SHUTDOWN);
	drop_both(client, server);
	assert_true(is_resumed(one, session));
	assert_true(is_resumed(second_tls, session));
	share(second, first);
	assert_true(is_resumed(second_tls, session));
	share(third, second);
	assert_false(is_resumed(one, session));
	SSL_SESSION_free(session);
	tls_drop(&one);
	tls_drop(&second_tls);
}

static void a_context_lives_as_long_as_its_users(void **state)
{
	struct tls *tls = tls_of(&ecdsa), *kept = tls_keep(tls);

	(void)state;
	assert_ptr_equal(tls, kept);
	tls_drop(&tls);
	assert_null(tls);
	assert_gets(kept, "mail.test", configure_nothing, &ecdsa);
	tls_drop(&kept);
	tls_drop(&kept);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(mistakes_are_named),
		cmocka_unit_test(a_key_too_weak_is_refused),
		cmocka_unit_test(the_same_certificate_twice_is_refused),
		cmocka_unit_test(the_certificate_follows_name_and_key_type),
		cmocka_unit_test(old_and_weak_is_not_spoken),
		cmocka_unit_test(the_cheapest_cipher_is_taken_but_for_those_without_hardware),
		cmocka_unit_test(sessions_are_resumed_by_ticket),
		cmocka_unit_test(ticket_keys_are_replaced),
		cmocka_unit_test(a_context_lives_as_long_as_its_users),
		cmocka_unit_test(shared_tickets_open_everywhere),
	};

	return cmocka_run_group_tests(tests, make_identities, NULL);
}

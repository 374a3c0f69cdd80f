/*
 * Certificates and keys made up for a test, in PEM.
 */
#ifndef TESTS_TLS_IDENTITY_H
#define TESTS_TLS_IDENTITY_H

#include <openssl/bio.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct tls_identity {
	char chain[4096];
	char key[4096];
};

enum tls_identity_kind { TLS_IDENTITY_ECDSA, TLS_IDENTITY_RSA };

static inline void tls_identity_text(BIO *bio, char *to, size_t size)
{
	int length = BIO_read(bio, to, (int)size - 1);

	to[length > 0 ? length : 0] = 0;
	BIO_free(bio);
}

/* names as in "DNS:a.test,DNS:b.test"; NULL: none but the common name "nobody". */
static inline struct tls_identity tls_identity_make(enum tls_identity_kind kind, const char *names)
{
	struct tls_identity identity;
	EVP_PKEY *key = kind == TLS_IDENTITY_RSA ? EVP_RSA_gen(2048) : EVP_EC_gen("P-256");
	X509 *certificate = X509_new();
	X509_NAME *subject = X509_get_subject_name(certificate);
	BIO *chain_pem = BIO_new(BIO_s_mem()), *key_pem = BIO_new(BIO_s_mem());

	X509_set_version(certificate, X509_VERSION_3);
	ASN1_INTEGER_set(X509_get_serialNumber(certificate), 1);
	X509_gmtime_adj(X509_getm_notBefore(certificate), -3600);
	X509_gmtime_adj(X509_getm_notAfter(certificate), 3600);
	X509_NAME_add_entry_by_txt(
		subject, "CN", MBSTRING_ASC, (const unsigned char *)"nobody", -1, -1, 0);
	X509_set_issuer_name(certificate, subject);
	X509_set_pubkey(certificate, key);
	if (names) {
		X509_EXTENSION *extension =
			X509V3_EXT_conf_nid(NULL, NULL, NID_subject_alt_name, names);
		X509_add_ext(certificate, extension, -1);
		X509_EXTENSION_free(extension);
	}
	X509_sign(certificate, key, EVP_sha256());
	PEM_write_bio_X509(chain_pem, certificate);
	PEM_write_bio_PrivateKey(key_pem, key, NULL, NULL, 0, NULL, NULL);
	tls_identity_text(chain_pem, identity.chain, sizeof(identity.chain));
	tls_identity_text(key_pem, identity.key, sizeof(identity.key));
	X509_free(certificate);
	EVP_PKEY_free(key);
	return identity;
}

#endif

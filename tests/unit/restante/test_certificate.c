/* Certificates: made, read back by the TLS layer, and named by file and line when they are wrong. */
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/x509.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/tls.h"
#include "restante/certificate.h"

static const char *const names[] = { "mail.example.test", "localhost", "127.0.0.1", "::1" };
static char directory[64];

static void path_of(const char *name, char *path, size_t size)
{
	snprintf(path, size, "%s/%s", directory, name);
}

static void write_file(const char *name, struct text octets)
{
	char path[100];

	path_of(name, path, sizeof(path));
	FILE *file = fopen(path, "w");
	assert_non_null(file);
	assert_int_equal(fwrite(octets.ptr, 1, octets.len, file), octets.len);
	assert_int_equal(fclose(file), 0);
}

static int make_directory(void **state)
{
	(void)state;
	snprintf(directory, sizeof(directory), "/tmp/restante-test-XXXXXX");
	return mkdtemp(directory) ? 0 : -1;
}

static int remove_directory(void **state)
{
	static const char *const files[] = { "a.pem", "a.key", "b.key", "conf" };
	char path[100];

	(void)state;
	for (size_t i = 0; i < sizeof(files) / sizeof(files[0]); i++) {
		path_of(files[i], path, sizeof(path));
		unlink(path);
	}
	return rmdir(directory);
}

static void make(struct buf *chain, struct buf *key, unsigned days)
{
	char error[200] = "";

	assert_int_equal(certificate_make(names, 4, days, chain, key, error, sizeof(error)), 0);
}

static void test_made_certificate_serves(void **state)
{
	struct buf chain = { 0 }, key = { 0 };
	char error[200] = "";

	(void)state;
	make(&chain, &key, 100);
	struct tls *tls = tls_new(buf_text(&chain), buf_text(&key), error, sizeof(error));
	assert_non_null(tls);
	tls_drop(&tls);
	assert_true(certificate_is_valid(buf_text(&chain), 0));
	assert_true(certificate_is_valid(buf_text(&chain), 99));
	assert_false(certificate_is_valid(buf_text(&chain), 101));
	assert_false(certificate_is_valid(buf_text(&key), 0));
	assert_false(certificate_is_valid(TEXT(""), 0));
	buf_release(&chain);
	buf_release(&key);
}

static char heard[2000];

static void hear(void *owner, const char *sentence)
{
	(void)owner;
	const size_t used = strlen(heard);
	snprintf(heard + used, sizeof(heard) - used, "%s\n", sentence);
}

static int read_certificates(const char *octets, struct certificates *certificates)
{
	char path[100];
	struct host_settings *settings;

	heard[0] = '\0';
	write_file("conf", text_of(octets));
	path_of("conf", path, sizeof(path));
	const struct host_source source = { .file = path };
	assert_int_equal(host_settings_read(&source, &settings, hear, NULL), 0);
	const int result = certificates_read(certificates, settings, path, hear, NULL);
	host_settings_free(&settings);
	return result;
}

static void test_reading(void **state)
{
	struct buf chain = { 0 }, key = { 0 }, other_chain = { 0 }, other_key = { 0 };
	struct certificates certificates;

	(void)state;
	make(&chain, &key, 10);
	make(&other_chain, &other_key, 10);
	write_file("a.pem", buf_text(&chain));
	write_file("a.key", buf_text(&key));
	write_file("b.key", buf_text(&other_key));

	assert_int_equal(read_certificates("", &certificates), 0);
	assert_int_equal(certificates.count, 0);
	certificates_free(&certificates);

	assert_int_equal(read_certificates("certificates = { a.pem:a.key }\n", &certificates), 0);
	assert_int_equal(certificates.count, 1);
	assert_int_equal(certificates.list[0].chain_size, buf_length(&chain));
	assert_memory_equal(certificates.list[0].key, buf_text(&key).ptr, buf_length(&key));
	certificates_free(&certificates);

	/* Somebody else's key, a key for a chain, and files that are not there: all are named. */
	assert_int_equal(read_certificates("certificates = { a.pem:b.key,\n a.key:a.key,\n"
					   " none.pem:none.key }\n",
				 &certificates),
		-1);
	assert_non_null(strstr(heard, "/conf:1: certificates: the private key does not belong"));
	assert_non_null(strstr(heard, "/conf:2: certificates: the certificate chain holds no"));
	assert_non_null(strstr(heard, "/conf:3: certificates: "));
	assert_non_null(strstr(heard, "/none.pem cannot be read: No such file"));
	assert_non_null(strstr(heard, "/none.key cannot be read: No such file"));
	buf_release(&chain);
	buf_release(&key);
	buf_release(&other_chain);
	buf_release(&other_key);
}

/* It is taken, and not in silence. */
static void test_keys_for_everybody(void **state)
{
	static const struct {
		mode_t mode;
		bool doubted;
	} cases[] = { { 0600, false }, { 0640, false }, { 0644, true }, { 0604, true } };
	const struct certificates none = { 0 };
	struct host_settings *settings;
	char conf[100], key[100];

	(void)state;
	write_file("a.key", TEXT("key"));
	write_file(
		"conf", TEXT("hostname = x\ncertificates = { none.pem:none.key, a.pem:a.key }\n"));
	path_of("conf", conf, sizeof(conf));
	path_of("a.key", key, sizeof(key));
	const struct host_source source = { .file = conf };
	assert_int_equal(host_settings_read(&source, &settings, hear, NULL), 0);
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		heard[0] = '\0';
		assert_int_equal(chmod(key, cases[i].mode), 0);
		certificates_doubt(&none, settings, conf, hear, NULL);
		assert_int_equal(strstr(heard, "/conf:2: certificates: the mode of ") != NULL,
			cases[i].doubted);
		assert_int_equal(strstr(heard, key) != NULL, cases[i].doubted);
		assert_null(strstr(heard, "none.key"));
	}
	host_settings_free(&settings);
}

/* One that is valid from so many hours before now to so many after. */
static void make_for(const char *name, int before, int after)
{
	enum { HOUR = 3600 };
	char path[100];
	EVP_PKEY *key = EVP_EC_gen("P-256");
	X509 *made = X509_new();

	assert_true(key && made);
	X509_gmtime_adj(X509_getm_notBefore(made), -(long)before * HOUR);
	X509_gmtime_adj(X509_getm_notAfter(made), (long)after * HOUR);
	assert_int_equal(X509_NAME_add_entry_by_txt(X509_get_subject_name(made), "CN",
				 MBSTRING_UTF8, (const unsigned char *)name, -1, -1, 0),
		1);
	assert_int_equal(X509_set_pubkey(made, key), 1);
	assert_true(X509_sign(made, key, EVP_sha256()) > 0);
	path_of("a.pem", path, sizeof(path));
	FILE *file = fopen(path, "w");
	assert_int_equal(PEM_write_X509(file, made), 1);
	assert_int_equal(fclose(file), 0);
	path_of("a.key", path, sizeof(path));
	file = fopen(path, "w");
	assert_int_equal(PEM_write_PrivateKey(file, key, NULL, NULL, 0, NULL, NULL), 1);
	assert_int_equal(fclose(file), 0);
	assert_int_equal(chmod(path, 0600), 0);
	X509_free(made);
	EVP_PKEY_free(key);
}

/* It is served, and nobody can use it: that is no mistake in the settings, but somebody has to be told. */
static void test_of_no_use(void **state)
{
	enum { DAY = 24 };
	static const struct {
		const char *name;
		int before, after;
		const char *doubt; /* NULL: none */
	} cases[] = {
		{ "x.mail.example", 80 * DAY, 10 * DAY,
			"/conf:2: certificates: the certificate is valid until " },
		{ "x.mail.example", 70 * DAY, 20 * DAY, NULL },
		{ "x.mail.example", 2 * DAY, 4 * DAY, NULL },
		{ "x.mail.example", 6 * DAY - 12, 12,
			"/conf:2: certificates: the certificate is valid until " },
		{ "x.mail.example", 80 * DAY, -1,
			"/conf:2: certificates: the certificate has been invalid since " },
		{ "x.mail.example", -DAY, 80 * DAY,
			"/conf:2: certificates: the certificate is not valid before " },
		{ "y.example", DAY, 80 * DAY,
			"/conf:2: certificates: none bears the name x.mail.example" },
		{ "*.mail.example", DAY, 80 * DAY, NULL },
		{ "X.Mail.EXAMPLE", DAY, 80 * DAY, NULL },
	};
	static const char settings_file[] =
		"hostname = x.mail.example\ncertificates = { a.pem:a.key }\n";
	struct certificates certificates;
	struct host_settings *settings;
	char conf[100];

	(void)state;
	path_of("conf", conf, sizeof(conf));
	const struct host_source source = { .file = conf };
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		make_for(cases[i].name, cases[i].before, cases[i].after);
		assert_int_equal(read_certificates(settings_file, &certificates), 0);
		assert_int_equal(host_settings_read(&source, &settings, hear, NULL), 0);
		certificates_doubt(&certificates, settings, conf, hear, NULL);
		if (!cases[i].doubt)
			assert_string_equal(heard, "");
		else if (!strstr(heard, cases[i].doubt))
			fail_msg("case %zu: \"%s\"", i, heard);
		host_settings_free(&settings);
		certificates_free(&certificates);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_made_certificate_serves),
		cmocka_unit_test(test_reading),
		cmocka_unit_test(test_keys_for_everybody),
		cmocka_unit_test(test_of_no_use),
	};

	return cmocka_run_group_tests(tests, make_directory, remove_directory);
}

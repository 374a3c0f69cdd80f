#include "restante/certificate.h"

#include <errno.h>
#include <fcntl.h>
#include <openssl/bio.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/x509v3.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>

#include "base/arena.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/sys.h"
#include "base/tls.h"
#include "mail/idn.h"
#include "restante/locate.h"

enum {
	CHAIN_LIMIT = 1 << 18,
	KEY_LIMIT = 1 << 16,
	SETTINGS_LIMIT = 4 << 20,
	DAY = 86400,
	SOON_DAYS = 14, /* and less than this part of all its days: some live for six */
	SOON_PART = 4,
};

/* ---- reading ---- */

struct reading {
	const char *settings_file;
	host_report *report;
	void *owner;
	unsigned count;
};

static void report_pair(struct reading *reading, const char *pair, const char *what)
{
	char sentence[1024];
	size_t size = 0;
	char *file = sys_read_file(AT_FDCWD, reading->settings_file, SETTINGS_LIMIT, &size);
	const struct text octets = { .ptr = file ? file : "", .len = file ? size : 0 };
	const unsigned line = locate_item(octets, NULL, "certificates", pair);

	mem_free(file);
	if (line)
		snprintf(sentence, sizeof(sentence), "%s:%u: certificates: %s",
			reading->settings_file, line, what);
	else
		snprintf(sentence, sizeof(sentence), "%s: certificates: %s", reading->settings_file,
			what);
	reading->report(reading->owner, sentence);
	reading->count++;
}

/* One file of a pair, or NULL after having said why not. */
static char *read_part(
	struct reading *reading, const char *pair, struct text name, size_t limit, size_t *size)
{
	char *path = host_settings_path(reading->settings_file, name), what[600];
	char *octets = sys_read_file(AT_FDCWD, path, limit, size);

	if (!octets) {
		snprintf(what, sizeof(what), "%.400s cannot be read: %s", path, log_errno(errno));
		report_pair(reading, pair, what);
	}
	mem_free(path);
	return octets;
}

static struct text chain_of(const struct certificate *certificate)
{
	return (struct text){ .ptr = certificate->chain, .len = certificate->chain_size };
}

static struct text key_of(const struct certificate *certificate)
{
	return (struct text){ .ptr = certificate->key, .len = certificate->key_size };
}

static void certificate_free(struct certificate *certificate)
{
	if (certificate->key)
		mem_wipe(certificate->key, certificate->key_size);
	mem_free(certificate->key);
	mem_free(certificate->chain);
}

/* *tls: what the pairs before gave; this one is added to it. */
static int read_pair(struct reading *reading, const char *pair, struct tls **tls,
	struct certificate *certificate)
{
	const struct text whole = text_of(pair);
	const ptrdiff_t colon = text_find(whole, ':');
	char error[300] = "";
	int result = 0;

	if (colon < 0) {
		report_pair(reading, pair, "write two files as chain.pem:key.pem");
		return -1;
	}
	certificate->chain = read_part(reading, pair, text_head(whole, (size_t)colon), CHAIN_LIMIT,
		&certificate->chain_size);
	certificate->key = read_part(reading, pair, text_from(whole, (size_t)colon + 1), KEY_LIMIT,
		&certificate->key_size);
	if (!certificate->chain || !certificate->key)
		return -1;
	if (*tls)
		result = tls_add(
			*tls, chain_of(certificate), key_of(certificate), error, sizeof(error));
	else
		*tls = tls_new(chain_of(certificate), key_of(certificate), error, sizeof(error));
	if (result == 0 && *tls)
		return 0;
	report_pair(reading, pair, error);
	return -1;
}

int certificates_read(struct certificates *certificates, const struct host_settings *settings,
	const char *settings_file, host_report *report, void *owner)
{
	struct reading reading = {
		.settings_file = settings_file, .report = report, .owner = owner
	};
	const struct settings_list *pairs = &host_settings_common(settings)->certificates;
	struct tls *tls = NULL;

	*certificates = (struct certificates){
		.list = mem_array(pairs->count, sizeof(*certificates->list)),
	};
	for (size_t i = 0; i < pairs->count; i++) {
		struct certificate certificate = { 0 };
		if (read_pair(&reading, pairs->item[i], &tls, &certificate) == 0)
			certificates->list[certificates->count++] = certificate;
		else
			certificate_free(&certificate);
	}
	tls_drop(&tls);
	if (reading.count == 0)
		return 0;
	certificates_free(certificates);
	return -1;
}

static void doubt_key(struct reading *reading, const char *pair)
{
	const struct text whole = text_of(pair);
	char *key = host_settings_path(
		     reading->settings_file, text_from(whole, (size_t)(text_find(whole, ':') + 1))),
	     what[600];
	struct stat st;

	snprintf(what, sizeof(what),
		"the mode of %.400s lets every user of this machine read the key; chmod o= takes "
		"that away",
		key);
	if (stat(key, &st) == 0 && (st.st_mode & S_IROTH))
		report_pair(reading, pair, what);
	mem_free(key);
}

/* "2026-11-22", in UTC; "?" when it is no date. */
static void print_day(const ASN1_TIME *time, char day[16])
{
	struct tm date;

	if (ASN1_TIME_to_tm(time, &date) != 1 || strftime(day, 16, "%Y-%m-%d", &date) == 0)
		snprintf(day, 16, "?");
}

/* Whoever renews certificates does so in good time; when little of it is left, nobody did. */
static void doubt_time(struct reading *reading, const char *pair, const X509 *certificate)
{
	const ASN1_TIME *begin = X509_get0_notBefore(certificate),
			*end = X509_get0_notAfter(certificate);
	int days, seconds, all_days;
	char day[16], what[200];

	if (X509_cmp_current_time(begin) > 0) {
		print_day(begin, day);
		snprintf(what, sizeof(what),
			"the certificate is not valid before %s; is the clock right?", day);
	} else if (X509_cmp_current_time(end) < 0) {
		print_day(end, day);
		snprintf(what, sizeof(what),
			"the certificate has been invalid since %s, and clients refuse it; renew "
			"it and send the host SIGHUP",
			day);
	} else if (ASN1_TIME_diff(&days, &seconds, NULL, end) == 1 &&
		   ASN1_TIME_diff(&all_days, &seconds, begin, end) == 1 && days < SOON_DAYS &&
		   days < all_days / SOON_PART) {
		print_day(end, day);
		snprintf(what, sizeof(what),
			"the certificate is valid until %s only; renew it and send the host SIGHUP",
			day);
	} else {
		return;
	}
	report_pair(reading, pair, what);
}

static X509 *parse_certificate(struct text chain)
{
	BIO *bio = BIO_new_mem_buf(chain.ptr, chain.len > CHAIN_LIMIT ? 0 : (int)chain.len);
	X509 *certificate = bio ? PEM_read_bio_X509(bio, NULL, NULL, NULL) : NULL;

	BIO_free(bio);
	ERR_clear_error();
	return certificate;
}

void certificates_doubt(const struct certificates *certificates,
	const struct host_settings *settings, const char *settings_file, host_report *report,
	void *owner)
{
	struct reading reading = {
		.settings_file = settings_file, .report = report, .owner = owner
	};
	const struct common_settings *common = host_settings_common(settings);
	const struct settings_list *pairs = &common->certificates;
	struct arena *arena = arena_new(512);
	const struct text name = idn_domain(arena, text_of(common->hostname));
	bool named = certificates->count == 0 || !name.ptr;
	char what[400];

	for (size_t i = 0; i < pairs->count; i++)
		doubt_key(&reading, pairs->item[i]);
	for (size_t i = 0; i < certificates->count && i < pairs->count; i++) {
		X509 *certificate = parse_certificate(chain_of(&certificates->list[i]));
		if (!certificate)
			continue;
		doubt_time(&reading, pairs->item[i], certificate);
		named |= name.ptr && X509_check_host(certificate, name.ptr, name.len, 0, NULL) == 1;
		X509_free(certificate);
	}
	arena_free(&arena);
	if (named)
		return;
	snprintf(what, sizeof(what),
		"none bears the name %.260s, which is hostname; clients that are told this name "
		"refuse it",
		common->hostname);
	report_pair(&reading, NULL, what);
}

void certificates_free(struct certificates *certificates)
{
	for (size_t i = 0; i < certificates->count; i++)
		certificate_free(&certificates->list[i]);
	mem_free(certificates->list);
	*certificates = (struct certificates){ 0 };
}

/* ---- making ---- */

static bool is_ip_address(const char *name)
{
	ASN1_OCTET_STRING *address = a2i_IPADDRESS(name);

	ASN1_OCTET_STRING_free(address);
	ERR_clear_error();
	return address != NULL;
}

static int add_extension(X509 *certificate, int nid, const char *value)
{
	X509V3_CTX context;

	X509V3_set_ctx_nodb(&context);
	X509V3_set_ctx(&context, certificate, certificate, NULL, NULL, 0);
	X509_EXTENSION *extension = X509V3_EXT_conf_nid(NULL, &context, nid, value);
	if (!extension)
		return -1;
	const int added = X509_add_ext(certificate, extension, -1);
	X509_EXTENSION_free(extension);
	return added == 1 ? 0 : -1;
}

static int add_names(X509 *certificate, const char *const *names, size_t count)
{
	struct buf list = { 0 };

	for (size_t i = 0; i < count; i++)
		buf_format(&list, "%s%s:%s", i ? "," : "", is_ip_address(names[i]) ? "IP" : "DNS",
			names[i]);
	buf_add_char(&list, '\0');
	const int result = add_extension(certificate, NID_subject_alt_name, buf_text(&list).ptr);
	buf_release(&list);
	return result;
}

static int set_subject(X509 *certificate, const char *name)
{
	X509_NAME *subject = X509_get_subject_name(certificate);

	if (X509_NAME_add_entry_by_txt(
		    subject, "CN", MBSTRING_UTF8, (const unsigned char *)name, -1, -1, 0) != 1 ||
		X509_set_issuer_name(certificate, subject) != 1)
		return -1;
	return 0;
}

/* 127 random bits, so that no two of our certificates share issuer and serial. */
static int set_serial(X509 *certificate)
{
	BIGNUM *number = BN_new();
	int result = -1;

	if (number && BN_rand(number, 127, BN_RAND_TOP_ANY, BN_RAND_BOTTOM_ANY) == 1 &&
		BN_to_ASN1_INTEGER(number, X509_get_serialNumber(certificate)))
		result = 0;
	BN_free(number);
	return result;
}

static int fill_certificate(
	X509 *certificate, EVP_PKEY *key, const char *const *names, size_t count, unsigned days)
{
	if (X509_set_version(certificate, X509_VERSION_3) != 1 || set_serial(certificate) != 0 ||
		!X509_gmtime_adj(X509_getm_notBefore(certificate), -DAY) ||
		!X509_gmtime_adj(X509_getm_notAfter(certificate), (long)days * DAY) ||
		set_subject(certificate, names[0]) != 0 || X509_set_pubkey(certificate, key) != 1)
		return -1;
	/* CA:TRUE lets a client trust this very certificate by naming its file. */
	if (add_extension(certificate, NID_basic_constraints, "critical,CA:TRUE") != 0 ||
		add_extension(certificate, NID_subject_key_identifier, "hash") != 0 ||
		add_extension(certificate, NID_ext_key_usage, "serverAuth") != 0 ||
		add_names(certificate, names, count) != 0)
		return -1;
	return X509_sign(certificate, key, EVP_sha256()) > 0 ? 0 : -1;
}

static void take_pem(BIO *bio, struct buf *out)
{
	char *octets;
	const long size = BIO_get_mem_data(bio, &octets);

	buf_add(out, (struct text){ .ptr = octets, .len = size > 0 ? (size_t)size : 0 });
}

static int print_pem(X509 *certificate, EVP_PKEY *key, struct buf *chain_out, struct buf *key_out)
{
	BIO *chain = BIO_new(BIO_s_mem()), *secret = BIO_new(BIO_s_secmem());
	int result = -1;

	if (chain && secret && PEM_write_bio_X509(chain, certificate) == 1 &&
		PEM_write_bio_PKCS8PrivateKey(secret, key, NULL, NULL, 0, NULL, NULL) == 1) {
		take_pem(chain, chain_out);
		take_pem(secret, key_out);
		result = 0;
	}
	BIO_free(chain);
	BIO_free(secret);
	return result;
}

int certificate_make(const char *const *names, size_t count, unsigned days, struct buf *chain,
	struct buf *key_out, char *error, size_t error_size)
{
	EVP_PKEY *key = EVP_EC_gen("P-256");
	X509 *certificate = X509_new();
	int result = -1;

	if (key && certificate && fill_certificate(certificate, key, names, count, days) == 0)
		result = print_pem(certificate, key, chain, key_out);
	if (result != 0) {
		const char *reason = ERR_reason_error_string(ERR_peek_last_error());
		snprintf(error, error_size, "no certificate could be made: %s",
			reason ? reason : "OpenSSL does not say why");
		ERR_clear_error();
	}
	X509_free(certificate);
	EVP_PKEY_free(key);
	return result;
}

bool certificate_is_valid(struct text chain, unsigned days)
{
	time_t then = time(NULL) + (time_t)days * DAY;
	X509 *certificate = parse_certificate(chain);
	const bool valid = certificate &&
			   X509_cmp_time(X509_get0_notBefore(certificate), &then) < 0 &&
			   X509_cmp_time(X509_get0_notAfter(certificate), &then) > 0;

	X509_free(certificate);
	return valid;
}

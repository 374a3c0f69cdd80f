#include "base/common.h"

#include <stddef.h>
#include <stdio.h>

#include "base/log.h"

#define AT(field) offsetof(struct common_settings, field)

static const struct settings_item items[] = {
	{ .name = "hostname",
		.type = SETTINGS_STRING,
		.preset = "localhost",
		.least = 1,
		.most = 255,
		.offset = AT(hostname),
		.help = "Name of this host in greetings and Received fields; what its MX record "
			"says." },
	{ .name = "domains",
		.type = SETTINGS_LIST,
		.preset = "",
		.offset = AT(domains),
		.help = "Domains whose mail is delivered here, for example { \"example.org\" }." },
	{ .name = "state",
		.type = SETTINGS_STRING,
		.preset = "/var/lib/restante",
		.least = 1,
		.most = 4000,
		.offset = AT(state),
		.help = "Absolute directory of everything kept: mail and index in store, sockets "
			"in run." },
	{ .name = "log-level",
		.type = SETTINGS_STRING,
		.preset = "info",
		.least = 1,
		.most = 16,
		.offset = AT(log_level),
		.help = "Least level that is logged: debug, info, warning or error." },
	{ .name = "syslog",
		.type = SETTINGS_BOOL,
		.preset = "no",
		.offset = AT(syslog),
		.help = "Log to syslog (facility mail) and not to standard error." },
	{ .name = "log-size",
		.type = SETTINGS_OCTETS,
		.preset = "16M",
		.most = (uint64_t)1 << 40,
		.offset = AT(log_size),
		.help = "What is logged is kept in STATE/log as well, for restante trace; at this "
			"size "
			"it becomes STATE/log.1 and begins anew. 0: no such file." },
	{ .name = "uid-base",
		.type = SETTINGS_NUMBER,
		.preset = "200200",
		.least = 1000,
		.most = 2000000000,
		.offset = AT(uid_base),
		.help = "When started as root, each role runs as a user and group id of its own, "
			"from here." },
	{ .name = "stop-seconds",
		.type = SETTINGS_SECONDS,
		.preset = "30",
		.least = 1,
		.most = 3600,
		.offset = AT(stop_seconds),
		.help = "How long transfers in progress may take when the host is stopped." },
	{ .name = "certificates",
		.type = SETTINGS_LIST,
		.preset = "",
		.offset = AT(certificates),
		.help = "Certificate chain and private key files for TLS, each "
			"\"chain.pem:key.pem\"." },
};

/* Letters, digits and hyphens in labels between dots (RFC 1123 section 2.1), or UTF-8 labels. */
static bool is_domain(const char *name)
{
	struct text rest = text_of(name), label;

	if (rest.len == 0 || rest.len > 255)
		return false;
	while (text_split(&rest, '.', &label)) {
		if (label.len == 0 || label.len > 63 || label.ptr[0] == '-' ||
			label.ptr[label.len - 1] == '-')
			return false;
		for (size_t i = 0; i < label.len; i++) {
			char c = text_lower(label.ptr[i]);
			if (!((c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '-' ||
				    (unsigned char)c >= 0x80))
				return false;
		}
	}
	return true;
}

static int verify_names(const struct common_settings *common, char *error, size_t error_size)
{
	if (!is_domain(common->hostname)) {
		snprintf(error, error_size,
			"hostname \"%s\" is not a host name; give letters, digits, hyphens and "
			"dots",
			common->hostname);
		return -1;
	}
	for (size_t i = 0; i < common->domains.count; i++) {
		if (!is_domain(common->domains.item[i])) {
			snprintf(error, error_size,
				"domains has \"%s\", which is not a domain; write it like "
				"example.org",
				common->domains.item[i]);
			return -1;
		}
	}
	return 0;
}

static int verify_certificates(const struct common_settings *common, char *error, size_t error_size)
{
	for (size_t i = 0; i < common->certificates.count; i++) {
		struct text pair = text_of(common->certificates.item[i]);
		ptrdiff_t colon = text_find(pair, ':');
		if (colon <= 0 || (size_t)colon + 1 == pair.len ||
			colon != text_find_last(pair, ':')) {
			snprintf(error, error_size,
				"certificates has \"%s\"; write two files as chain.pem:key.pem",
				common->certificates.item[i]);
			return -1;
		}
	}
	return 0;
}

static int verify(const void *values, char *error, size_t error_size)
{
	const struct common_settings *common = values;
	enum log_level level;

	if (common->state[0] != '/') {
		snprintf(error, error_size,
			"state \"%s\" is not absolute; begin the directory with a slash",
			common->state);
		return -1;
	}
	if (log_level_parse(text_of(common->log_level), &level) != 0) {
		snprintf(error, error_size,
			"log-level \"%s\" is unknown; use debug, info, warning or error",
			common->log_level);
		return -1;
	}
	if (verify_names(common, error, error_size) != 0)
		return -1;
	return verify_certificates(common, error, error_size);
}

const struct settings_section common_section = {
	.items = items,
	.count = sizeof(items) / sizeof(items[0]),
	.size = sizeof(struct common_settings),
	.verify = verify,
};

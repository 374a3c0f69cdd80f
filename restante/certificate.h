/*
 * Certificates and keys: read here and handed to the roles, which never see a key file.
 */
#ifndef RESTANTE_CERTIFICATE_H
#define RESTANTE_CERTIFICATE_H

#include <stdbool.h>

#include "base/buf.h"
#include "base/text.h"
#include "restante/settings.h"

struct certificate {
	char *chain, *key; /* PEM */
	size_t chain_size, key_size;
};

struct certificates {
	size_t count;
	struct certificate *list;
};

/*
 * Every pair that the settings name, read and tried together as a role will use them. 0, or -1 after
 * having reported every finding as "FILE:LINE: sentence".
 */
int certificates_read(struct certificates *certificates, const struct host_settings *settings,
	const char *settings_file, host_report *report, void *owner);

/*
 * What works and should not be, each as "FILE:LINE: sentence": a key that everybody can read, a certificate
 * that is not valid now or will not be soon, and none that bears the host's name. certificates: those that
 * were read for these settings, or empty.
 */
void certificates_doubt(const struct certificates *certificates,
	const struct host_settings *settings, const char *settings_file, host_report *report,
	void *owner);

void certificates_free(struct certificates *certificates);

/*
 * A self-signed ECDSA P-256 certificate for these names (DNS names or IP addresses), the first being
 * its subject; valid from a day ago, for so many days. Both as PEM. 0, or -1 with a sentence.
 */
int certificate_make(const char *const *names, size_t count, unsigned days, struct buf *chain,
	struct buf *key, char *error, size_t error_size);

/* Whether this PEM certificate is whole and still valid in so many days. */
bool certificate_is_valid(struct text chain, unsigned days);

#endif

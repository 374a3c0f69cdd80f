#include "base/digest.h"

#include <openssl/evp.h>
#include <stdio.h>

#include "base/log.h"
#include "base/mem.h"

struct digest {
	EVP_MD_CTX *context;
};

static EVP_MD *method;

void digest_prepare(void)
{
	if (!method)
		method = EVP_MD_fetch(NULL, "SHA256", NULL);
	if (!method)
		LOG_FATAL("no-sha256");
}

static void begin(struct digest *digest)
{
	if (EVP_DigestInit_ex(digest->context, method, NULL) != 1)
		LOG_FATAL("no-sha256");
}

struct digest *digest_new(void)
{
	struct digest *digest = mem_new(sizeof(*digest));

	digest_prepare();
	digest->context = EVP_MD_CTX_new();
	if (!digest->context)
		LOG_FATAL("no-memory");
	begin(digest);
	return digest;
}

void digest_free(struct digest **digest)
{
	if (!*digest)
		return;
	EVP_MD_CTX_free((*digest)->context);
	mem_free(*digest);
	*digest = NULL;
}

void digest_add(struct digest *digest, struct text octets)
{
	if (octets.len && EVP_DigestUpdate(digest->context, octets.ptr, octets.len) != 1)
		LOG_FATAL("no-sha256");
}

void digest_end(struct digest *digest, char hex[DIGEST_HEX + 1])
{
	unsigned char octets[DIGEST_HEX / 2];

	if (EVP_DigestFinal_ex(digest->context, octets, NULL) != 1)
		LOG_FATAL("no-sha256");
	for (size_t i = 0; i < sizeof(octets); i++)
		snprintf(hex + 2 * i, 3, "%02x", octets[i]);
	begin(digest);
}

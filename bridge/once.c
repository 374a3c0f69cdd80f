#include "bridge/once.h"

#include <openssl/evp.h>
#include <stdio.h>
#include <string.h>

#include "base/log.h"

static void add(EVP_MD_CTX *context, const void *octets, size_t size)
{
	if (EVP_DigestUpdate(context, octets, size) != 1)
		LOG_FATAL("digest-failed");
}

/* Parts stand apart by their NUL, which none of them holds. */
static void add_part(EVP_MD_CTX *context, const char *string)
{
	add(context, string, strlen(string) + 1);
}

static void add_lower(EVP_MD_CTX *context, const char *string)
{
	for (; *string; string++) {
		const char c = text_lower(*string);
		add(context, &c, 1);
	}
	add(context, "", 1);
}

static EVP_MD_CTX *begin(const struct bridge_account *account, const char *kind)
{
	EVP_MD_CTX *context = EVP_MD_CTX_new();

	if (!context || EVP_DigestInit_ex(context, EVP_sha256(), NULL) != 1)
		LOG_FATAL("digest-failed");
	add_part(context, kind);
	add_part(context, account->name);
	add_lower(context, account->host);
	add_part(context, account->user);
	return context;
}

static struct once_uidl finish(EVP_MD_CTX *context)
{
	struct once_uidl uidl;

	if (EVP_DigestFinal_ex(context, uidl.digest, NULL) != 1)
		LOG_FATAL("digest-failed");
	EVP_MD_CTX_free(context);
	return uidl;
}

struct once_key once_of_uidl(const struct once_uidl *uidl)
{
	static const char digits[] = "0123456789abcdef";
	struct once_key key = { "bridge/" };

	for (size_t i = 0; i < sizeof(uidl->digest); i++) {
		key.string[7 + 2 * i] = digits[uidl->digest[i] >> 4];
		key.string[8 + 2 * i] = digits[uidl->digest[i] & 15];
	}
	return key;
}

static struct once_key end(EVP_MD_CTX *context)
{
	const struct once_uidl digest = finish(context);

	return once_of_uidl(&digest);
}

struct once_key once_imap(const struct bridge_account *account, const char *folder,
	uint32_t uidvalidity, uint32_t uid)
{
	EVP_MD_CTX *context = begin(account, "imap");
	char numbers[32];

	add_part(context, folder);
	snprintf(numbers, sizeof(numbers), "%u/%u", uidvalidity, uid);
	add_part(context, numbers);
	return end(context);
}

struct once_uidl once_pop3(const struct bridge_account *account, struct text uidl)
{
	EVP_MD_CTX *context = begin(account, "uidl");

	add(context, uidl.ptr, uidl.len);
	return finish(context);
}

struct once_digest *once_content_new(const struct bridge_account *account)
{
	return (struct once_digest *)begin(account, "content");
}

void once_content_add(struct once_digest *digest, struct text octets)
{
	add((EVP_MD_CTX *)digest, octets.ptr, octets.len);
}

struct once_key once_content_end(struct once_digest **digest)
{
	EVP_MD_CTX *context = (EVP_MD_CTX *)*digest;

	*digest = NULL;
	return end(context);
}

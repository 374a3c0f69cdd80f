#include "mail/idn.h"

#include <idn2.h>
#include <stdlib.h>
#include <unicase.h>
#include <uninorm.h>

#include "base/arena.h"
#include "mail/address.h"

/* A label that claims to be an A-label must be one: it may not say what its U-label could not. */
static bool has_a_label(struct text domain)
{
	struct text rest = domain, label;

	while (text_split(&rest, '.', &label)) {
		if (text_begins_nocase(label, TEXT("xn--")))
			return true;
	}
	return false;
}

/*
 * Strictly IDNA2008. The wider mapping of UTS #46 would have "x@y" with an "@" of full width for a domain,
 * and libidn2 drops such letters rather than refuse them.
 */
struct text idn_domain(struct arena *arena, struct text domain)
{
	const struct text invalid = { 0 };
	uint8_t *found = NULL;

	if (domain.len == 0)
		return TEXT("");
	if (text_is_ascii(domain) && !has_a_label(domain))
		return text_lowered(arena, domain);
	const struct text lower = idn_local(arena, domain);
	const char *string = lower.ptr ? text_string(arena, lower) : NULL;
	if (!string || idn2_lookup_u8((const uint8_t *)string, &found,
			       IDN2_NFC_INPUT | IDN2_NO_TR46) != IDN2_OK)
		return invalid;
	const struct text name = text_copy(arena, text_of((const char *)found));
	free(found);
	return address_is_domain(name, false) ? name : invalid;
}

struct text idn_local(struct arena *arena, struct text local)
{
	size_t length = 0;

	if (text_is_ascii(local))
		return text_lowered(arena, local);
	uint8_t *lower =
		u8_tolower((const uint8_t *)local.ptr, local.len, NULL, UNINORM_NFC, NULL, &length);
	if (!lower)
		return (struct text){ 0 };
	const struct text copy =
		text_copy(arena, (struct text){ .ptr = (const char *)lower, .len = length });
	free(lower);
	return copy;
}

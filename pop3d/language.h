/*
 * Reply texts in more than one language (RFC 6856 section 3): the English text is the key.
 */
#ifndef POP3D_LANGUAGE_H
#define POP3D_LANGUAGE_H

#include "base/text.h"

enum language {
	LANGUAGE_DEFAULT, /* i-default: English, until the client asks for another */
	LANGUAGE_ENGLISH,
	LANGUAGE_GERMAN,
	LANGUAGES
};

/* "de" and "Deutsch". */
const char *language_tag(enum language language);
const char *language_name(enum language language);

/*
 * The language that a range means: "*" is the default, "de-AT" is found as "de" (RFC 4647 section 3.4). 0, or
 * -1 when there is none.
 */
int language_find(struct text range, enum language *language);

/* The text in that language, with the same conversions; as it is when nobody has translated it. */
const char *language_text(enum language language, const char *english)
	__attribute__((format_arg(2)));

/* The i-th text that has translations, or NULL: for a test that holds them against each other. */
const char *language_key(size_t i);

#endif

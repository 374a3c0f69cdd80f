/*
 * What the tests of this folder share: texts in tables, and failures that show them.
 */
#ifndef TESTS_UNIT_MAIL_CHECK_H
#define TESTS_UNIT_MAIL_CHECK_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdio.h>
#include <string.h>

#include "base/text.h"

/* A literal, NULs and all, as an initialiser of a struct text. */
#define T(literal) \
	{ \
		.ptr = (literal), .len = sizeof(literal) - 1 \
	}
#define COUNT(array) (sizeof(array) / sizeof((array)[0]))

/* Escaped, cut at the size of `to`. */
static inline const char *shown(struct text t, char *to, size_t size)
{
	size_t n = 0;

	to[0] = '\0';
	for (size_t i = 0; i < t.len && n + 5 < size; i++) {
		const unsigned char c = (unsigned char)t.ptr[i];

		if (c >= ' ' && c <= '~')
			n += (size_t)snprintf(to + n, size - n, "%c", c);
		else
			n += (size_t)snprintf(to + n, size - n, "\\x%02x", c);
	}
	return to;
}

/* `of` is the input that a table's line is about. */
static inline void check_text(struct text got, struct text wanted, struct text of, int line)
{
	char a[400], b[400], c[400];

	if (!text_equal(got, wanted))
		fail_msg("line %d: for \"%s\" got \"%s\", wanted \"%s\"", line,
			shown(of, a, sizeof(a)), shown(got, b, sizeof(b)),
			shown(wanted, c, sizeof(c)));
}

static inline void check_number(
	long long got, long long wanted, const char *what, struct text of, int line)
{
	char a[400];

	if (got != wanted)
		fail_msg("line %d: for \"%s\" %s is %lld, wanted %lld", line,
			shown(of, a, sizeof(a)), what, got, wanted);
}

#define CHECK_TEXT(got, wanted, of) check_text((got), (wanted), (of), __LINE__)
#define CHECK_NUMBER(got, wanted, of) \
	check_number((long long)(got), (long long)(wanted), #got, (of), __LINE__)

#endif

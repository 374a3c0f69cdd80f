/*
 * What the fuzzers of this folder share: a condition that ends the run when it does not hold, and cuts
 * that follow from the input.
 */
#ifndef TESTS_FUZZ_MAIL_REQUIRE_H
#define TESTS_FUZZ_MAIL_REQUIRE_H

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/text.h"

#define REQUIRE(condition) \
	do { \
		if (!(condition)) { \
			fprintf(stderr, "%s:%d: %s\n", __FILE__, __LINE__, #condition); \
			abort(); \
		} \
	} while (0)

static inline struct text fuzz_text(const uint8_t *octets, size_t size)
{
	return (struct text){ .ptr = (const char *)octets, .len = size };
}

/* Take the first octet off, 0 when there is none. */
static inline unsigned fuzz_octet(struct text *in)
{
	const unsigned octet = in->len > 0 ? (unsigned char)in->ptr[0] : 0;

	*in = text_from(*in, 1);
	return octet;
}

/* The length of the next piece: mostly a few octets, now and then many. */
static inline size_t fuzz_piece(uint32_t *seed, size_t left)
{
	size_t n;

	*seed = *seed * 1664525U + 1013904223U;
	n = 1 + ((*seed >> 24) % 4 == 0 ? (*seed >> 8) % 4096 : (*seed >> 16) % 5);
	return n < left ? n : left;
}

#endif

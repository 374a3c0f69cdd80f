/*
 * What all fuzzers share: the calls that libFuzzer makes, a condition that ends the run when it does not
 * hold, and ways to read an input: as a text, octet by octet, in pieces, in steps.
 */
#ifndef TESTS_FUZZ_FUZZ_H
#define TESTS_FUZZ_FUZZ_H

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/text.h"

int LLVMFuzzerInitialize(int *argc, char ***argv);
int LLVMFuzzerTestOneInput(const uint8_t *octets, size_t size);

#define REQUIRE(condition) \
	do { \
		if (!(condition)) { \
			fprintf(stderr, "%s:%d: %s\n", __FILE__, __LINE__, #condition); \
			abort(); \
		} \
	} while (0)

static inline struct text fuzz_text(const uint8_t *octets, size_t size)
{
	return (struct text){ .ptr = size ? (const char *)octets : "", .len = size };
}

/* Take the first octet off, 0 when there is none. */
static inline unsigned fuzz_octet(struct text *in)
{
	const unsigned octet = in->len > 0 ? (unsigned char)in->ptr[0] : 0;

	*in = text_from(*in, 1);
	return octet;
}

/* The length of the next piece, as follows from the seed: mostly a few octets, now and then many. */
static inline size_t fuzz_piece(uint32_t *seed, size_t left)
{
	size_t n;

	*seed = *seed * 1664525U + 1013904223U;
	n = 1 + ((*seed >> 24) % 4 == 0 ? (*seed >> 8) % 4096 : (*seed >> 16) % 5);
	return n < left ? n : left;
}

/*
 * Take the next step off: an octet of kind, an octet of size, and that many octets, or what there is of
 * them. False when there is none any more.
 */
static inline bool fuzz_step(struct text *in, unsigned kinds, unsigned *kind, struct text *octets)
{
	if (in->len < 2)
		return false;
	*kind = fuzz_octet(in) % kinds;
	const unsigned size = fuzz_octet(in);
	*octets = text_head(*in, size);
	*in = text_from(*in, size);
	return true;
}

#endif

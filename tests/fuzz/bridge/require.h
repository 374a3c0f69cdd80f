/* A condition that ends the fuzzer's run when it does not hold. */
#ifndef TESTS_FUZZ_BRIDGE_REQUIRE_H
#define TESTS_FUZZ_BRIDGE_REQUIRE_H

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

#endif

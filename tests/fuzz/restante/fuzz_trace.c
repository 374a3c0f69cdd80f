/*
 * A log of any octets: what is told of it holds nothing that a terminal would act on, and stays in
 * proportion.
 */
#include <string.h>

#include "mail/utf8.h"
#include "restante/trace_tell.h"
#include "tests/fuzz/fuzz.h"

int LLVMFuzzerTestOneInput(const uint8_t *octets, size_t size)
{
	static const char *const wanted[] = { "m1", "a@b" };
	const struct text log = fuzz_text(octets, size);

	for (size_t i = 0; i < 2; i++) {
		struct buf out = { 0 };
		size_t left_out;

		trace_tell(&out, log, text_of(wanted[i]), &left_out);
		for (struct text told = buf_text(&out); told.len;) {
			const unsigned char octet = (unsigned char)told.ptr[0];
			const size_t length =
				octet < 0x80 ? octet == '\n' || (octet >= ' ' && octet != 0x7f)
					     : utf8_length(told);
			REQUIRE(length);
			told = text_from(told, length);
		}
		buf_release(&out);
	}
	return 0;
}

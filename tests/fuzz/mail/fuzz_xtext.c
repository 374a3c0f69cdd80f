/* xtext: what is encoded comes back, and what decodes is no longer than it was. */
#include "mail/xtext.h"
#include "tests/fuzz/fuzz.h"

int LLVMFuzzerTestOneInput(const uint8_t *octets, size_t size)
{
	const struct text in = fuzz_text(octets, size);
	struct buf encoded = { 0 }, decoded = { 0 };

	xtext_encode(&encoded, in);
	REQUIRE(buf_length(&encoded) <= 3 * in.len);
	REQUIRE(xtext_decode(buf_text(&encoded), &decoded));
	REQUIRE(text_equal(buf_text(&decoded), in));
	buf_clear(&decoded);
	if (!xtext_decode(in, &decoded)) {
		REQUIRE(buf_length(&decoded) == 0);
	} else {
		/* Only which octets are written in full is the writer's choice. */
		REQUIRE(buf_length(&decoded) <= in.len);
		buf_clear(&encoded);
		xtext_encode(&encoded, buf_text(&decoded));
		REQUIRE(buf_length(&encoded) <= in.len);
	}
	buf_release(&encoded);
	buf_release(&decoded);
	return 0;
}

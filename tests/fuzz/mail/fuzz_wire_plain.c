/*
 * A body of BDAT, in pieces, is the body that DATA would have brought with its dots stuffed. The first octet
 * chooses the cuts.
 */
#include "mail/wire.h"
#include "tests/fuzz/fuzz.h"
#include "tests/unit/mail/wire_model.h"

static void stuff(struct text in, struct buf *out)
{
	for (size_t i = 0; i < in.len; i++) {
		if (in.ptr[i] == '.' && model_line_starts(in, i))
			buf_add_char(out, '.');
		buf_add_char(out, in.ptr[i]);
	}
}

static void decode(struct wire_data *data, struct text in, uint32_t seed, struct buf *out)
{
	while (in.len > 0) {
		const size_t n = fuzz_piece(&seed, in.len);
		size_t used;

		REQUIRE(wire_data_decode(data, text_head(in, n), &used, out, 0) == 0);
		REQUIRE(used == n);
		in = text_from(in, n);
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *octets, size_t size)
{
	struct text in = fuzz_text(octets, size);
	const uint32_t seed = 1 + fuzz_octet(&in);
	struct wire_data plain = { .plain = true }, stuffed = { 0 };
	struct buf dotted = { 0 }, a = { 0 }, b = { 0 };

	stuff(in, &dotted);
	decode(&plain, in, seed, &a);
	decode(&stuffed, buf_text(&dotted), seed + 1, &b);
	REQUIRE(text_equal(buf_text(&a), buf_text(&b)));
	REQUIRE(plain.fault == stuffed.fault && plain.size == stuffed.size);
	REQUIRE(plain.lines == stuffed.lines && plain.eight_bit == stuffed.eight_bit);

	const bool whole = wire_data_end(&plain);
	REQUIRE(whole == (in.len == 0 || (in.len >= 2 && model_line_starts(in, in.len))));
	REQUIRE(plain.fault != WIRE_OK || in.len == 0 || in.ptr[in.len - 1] != '\r');
	buf_release(&dotted);
	buf_release(&a);
	buf_release(&b);
	return 0;
}

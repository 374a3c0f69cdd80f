/* Whatever a server sends becomes DATA that ends once, at its end, and has no fault but long lines. */
#include "bridge/repair.h"
#include "mail/wire.h"
#include "tests/fuzz/fuzz.h"

int LLVMFuzzerTestOneInput(const uint8_t *octets, size_t size)
{
	const struct text in = fuzz_text(octets, size);
	struct repair whole = { 0 }, pieces = { 0 };
	struct buf out = { 0 }, again = { 0 };
	struct wire_data data = { 0 };
	size_t used;

	repair_add(&whole, in, &out);
	repair_end(&whole, &out);
	const size_t cut = size ? octets[0] % size : 0;
	repair_add(&pieces, text_head(in, cut), &again);
	repair_add(&pieces, text_from(in, cut), &again);
	repair_end(&pieces, &again);
	REQUIRE(text_equal(buf_text(&out), buf_text(&again)));
	REQUIRE(wire_data_scan(&data, buf_text(&out), &used) == 1);
	REQUIRE(used == buf_length(&out));
	REQUIRE(data.fault == WIRE_OK || data.fault == WIRE_TOO_LONG);
	REQUIRE(buf_length(&out) <= 3 * size + 5);
	buf_release(&out);
	buf_release(&again);
	return 0;
}

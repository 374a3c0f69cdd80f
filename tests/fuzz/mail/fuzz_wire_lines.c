/*
 * Command lines are the same however they are cut, and each stands in the input between two CRLFs (or
 * the start and one): nothing after a bare CR or LF can pass for a line.
 */
#include <string.h>

#include "base/buf.h"
#include "mail/wire.h"
#include "tests/fuzz/fuzz.h"

static void check_line(struct text in, size_t at, struct text line, size_t limit)
{
	REQUIRE(line.ptr == in.ptr + at);
	REQUIRE(line.len + 2 <= limit);
	REQUIRE(at == 0 || (at >= 2 && memcmp(line.ptr - 2, "\r\n", 2) == 0));
	REQUIRE(memcmp(line.ptr + line.len, "\r\n", 2) == 0);
	REQUIRE(text_find(line, '\r') < 0 && text_find(line, '\n') < 0 &&
		text_find(line, '\0') < 0);
}

static void read_all(struct text in, uint32_t seed, size_t limit, struct buf *said)
{
	struct wire_lines lines = { 0 };
	size_t at = 0;
	size_t arrived = 0;

	while (arrived < in.len) {
		int result;

		arrived += seed == 0 ? in.len : fuzz_piece(&seed, in.len - arrived);
		do {
			const struct text waiting = text_from(text_head(in, arrived), at);
			enum wire_fault fault;
			struct text line;
			size_t used;

			result = wire_line(&lines, waiting, limit, &line, &used, &fault);
			REQUIRE(used <= waiting.len);
			if (result == 1) {
				REQUIRE(fault == WIRE_OK && used == line.len + 2);
				check_line(in, at, line, limit);
			} else if (result == -1) {
				REQUIRE(fault != WIRE_OK && in.ptr[at + used - 1] == '\n');
			}
			at += used;
			if (result != 0)
				buf_format(said, "%zu %d %d\n", at, result, (int)fault);
		} while (result != 0);
		/* What is left waiting is bounded. */
		REQUIRE(arrived - at < limit);
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *octets, size_t size)
{
	struct text in = fuzz_text(octets, size);
	const uint32_t seed = 1 + fuzz_octet(&in);
	const size_t limit = 2 + fuzz_octet(&in) % 32;
	struct buf whole = { 0 }, pieces = { 0 };

	read_all(in, 0, limit, &whole);
	read_all(in, seed, limit, &pieces);
	REQUIRE(text_equal(buf_text(&whole), buf_text(&pieces)));
	buf_release(&whole);
	buf_release(&pieces);
	return 0;
}

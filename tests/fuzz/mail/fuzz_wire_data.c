/*
 * A body in one piece, in many, and as the model has it, must be the same message. The first octets
 * choose the cuts and the limit; \x02 stands for a long run, so that long lines are met.
 */
#include <string.h>

#include "mail/wire.h"
#include "tests/fuzz/fuzz.h"
#include "tests/unit/mail/wire_model.h"

enum { RUN = 16384, RUNS = 5 };

static void expand(struct text in, struct buf *out)
{
	unsigned runs = 0;

	for (size_t i = 0; i < in.len; i++) {
		if (in.ptr[i] != 2 || runs++ >= RUNS) {
			buf_add_char(out, in.ptr[i]);
			continue;
		}
		memset(buf_room(out, RUN), 'x', RUN);
		buf_commit(out, RUN);
	}
}

static int decode(struct wire_data *data, struct text in, uint32_t seed, uint64_t limit,
	size_t *used, struct buf *out)
{
	struct wire_data scanned = *data;
	int result = 0;

	*used = 0;
	while (result == 0 && *used < in.len) {
		const size_t left = in.len - *used;
		const size_t n = seed == 0 ? left : fuzz_piece(&seed, left);
		const struct text piece = text_head(text_from(in, *used), n);
		size_t piece_used, scan_used;

		result = wire_data_decode(data, piece, &piece_used, out, limit);
		REQUIRE(wire_data_scan(&scanned, piece, &scan_used) == result);
		REQUIRE(scan_used == piece_used);
		REQUIRE(result == 1 || piece_used == n);
		REQUIRE(piece_used <= n);
		REQUIRE(scanned.fault == data->fault && scanned.size == data->size);
		*used += piece_used;
	}
	return result;
}

/* Unstuffed, a message without fault is the same message for who takes chunks. */
static void unstuff(struct text in, uint32_t seed, struct text wanted, uint64_t size)
{
	struct wire_unstuff state = { 0 };
	struct wire_data plain = { .plain = true };
	struct buf chunk = { 0 }, out = { 0 };
	size_t used;

	for (size_t at = 0, n; at < in.len; at += n) {
		n = fuzz_piece(&seed, in.len - at);
		char *to = buf_room(&chunk, n);
		const size_t written = wire_unstuff(&state, text_head(text_from(in, at), n), to);
		REQUIRE(written <= n);
		buf_commit(&chunk, written);
	}
	REQUIRE(wire_data_decode(&plain, buf_text(&chunk), &used, &out, 0) == 0);
	REQUIRE(wire_data_end(&plain) && plain.fault == WIRE_OK);
	REQUIRE(buf_length(&chunk) == size && plain.size == size);
	REQUIRE(text_equal(buf_text(&out), wanted));
	buf_release(&chunk);
	buf_release(&out);
}

int LLVMFuzzerTestOneInput(const uint8_t *octets, size_t size)
{
	struct text rest = fuzz_text(octets, size);
	const uint32_t seed = 1 + fuzz_octet(&rest);
	const uint64_t limit = 1 + fuzz_octet(&rest);
	struct buf in = { 0 }, whole = { 0 }, pieces = { 0 }, limited = { 0 }, modelled = { 0 };
	struct wire_data a = { 0 }, b = { 0 }, c = { 0 };
	struct wire_model model;
	size_t used_a, used_b, used_c;

	expand(rest, &in);
	model = wire_model(buf_text(&in), &modelled);
	REQUIRE(decode(&a, buf_text(&in), 0, 0, &used_a, &whole) == model.ended);
	REQUIRE(decode(&b, buf_text(&in), seed, 0, &used_b, &pieces) == model.ended);
	REQUIRE(decode(&c, buf_text(&in), seed, limit, &used_c, &limited) == model.ended);

	REQUIRE(used_a == model.used && used_b == model.used && used_c == model.used);
	REQUIRE(a.fault == model.fault && b.fault == model.fault && c.fault == model.fault);
	REQUIRE(a.size == model.size && b.size == model.size && c.size == model.size);
	REQUIRE(a.lines == model.lines && b.lines == model.lines);
	REQUIRE(a.eight_bit == model.eight_bit && b.eight_bit == model.eight_bit);
	REQUIRE(text_equal(buf_text(&whole), buf_text(&modelled)));
	REQUIRE(text_equal(buf_text(&pieces), buf_text(&modelled)));
	REQUIRE(buf_length(&limited) <= limit);
	REQUIRE(text_begins(buf_text(&whole), buf_text(&limited)));
	REQUIRE(a.size > limit || buf_length(&limited) == buf_length(&whole));
	if (model.ended && model.fault == WIRE_OK)
		unstuff(text_head(buf_text(&in), used_a), seed, buf_text(&whole), a.size);

	buf_release(&in);
	buf_release(&whole);
	buf_release(&pieces);
	buf_release(&limited);
	buf_release(&modelled);
	return 0;
}

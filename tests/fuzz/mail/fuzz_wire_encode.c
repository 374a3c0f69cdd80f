/*
 * A stored message goes out the same however it is cut, is as long as POP3 says, and comes back in as
 * it was but for its line ends.
 */
#include <string.h>

#include "mail/wire.h"
#include "tests/fuzz/fuzz.h"

static uint64_t encode(struct text in, uint32_t seed, struct buf *out)
{
	struct wire_encode state = { 0 }, counter = { 0 };
	uint64_t size = 0;
	size_t at = 0;

	while (at < in.len) {
		const size_t n = seed == 0 ? in.len : fuzz_piece(&seed, in.len - at);
		const struct text piece = text_head(text_from(in, at), n);
		const size_t bound = wire_encode_bound(n);
		char *room = malloc(bound);
		size_t written;

		REQUIRE(room != NULL);
		written = wire_encode(&state, piece, room);
		REQUIRE(written <= bound);
		buf_add(out, (struct text){ .ptr = room, .len = written });
		free(room);
		size += wire_size_piece(&counter, piece);
		at += n;
	}
	buf_commit(out, wire_encode_end(&state, buf_room(out, 5)));
	return size + wire_size_end(&counter);
}

/* LF for CRLF, one at the end; *lone: a CR stands elsewhere. */
static void normalise(struct text in, struct buf *out, bool *lone)
{
	*lone = false;
	for (size_t i = 0; i < in.len; i++) {
		const bool crlf = in.ptr[i] == '\r' && i + 1 < in.len && in.ptr[i + 1] == '\n';

		*lone = *lone || (in.ptr[i] == '\r' && !crlf);
		if (!crlf)
			buf_add_char(out, in.ptr[i]);
	}
	if (in.len > 0 && in.ptr[in.len - 1] != '\n')
		buf_add_char(out, '\n');
}

int LLVMFuzzerTestOneInput(const uint8_t *octets, size_t size)
{
	struct text in = fuzz_text(octets, size);
	const uint32_t seed = 1 + fuzz_octet(&in);
	struct buf whole = { 0 }, pieces = { 0 }, decoded = { 0 }, normal = { 0 };
	struct wire_data data = { 0 };
	const uint64_t wire_octets = encode(in, 0, &whole);
	size_t used;
	bool lone;

	REQUIRE(encode(in, seed, &pieces) == wire_octets);
	REQUIRE(wire_size(in) == wire_octets);
	REQUIRE(text_equal(buf_text(&whole), buf_text(&pieces)));

	normalise(in, &normal, &lone);
	REQUIRE(wire_data_decode(&data, buf_text(&whole), &used, &decoded, 0) == 1);
	REQUIRE(used == buf_length(&whole));
	REQUIRE(data.size == wire_octets);
	if (!lone && text_find(in, '\0') < 0 && data.fault != WIRE_TOO_LONG) {
		REQUIRE(data.fault == WIRE_OK);
		REQUIRE(text_equal(buf_text(&decoded), buf_text(&normal)));
	} else {
		REQUIRE(data.fault != WIRE_OK && data.fault != WIRE_BARE_LF);
	}
	buf_release(&whole);
	buf_release(&pieces);
	buf_release(&decoded);
	buf_release(&normal);
	return 0;
}

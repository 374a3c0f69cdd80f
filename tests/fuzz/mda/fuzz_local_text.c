/*
 * What mda -d reads: however it is cut into pieces it comes out the same, within the promised room, and
 * fit for our own server; and what was clean before stays as it was.
 */
#include <string.h>

#include "base/mem.h"
#include "mail/wire.h"
#include "mda/local_text.h"
#include "tests/fuzz/fuzz.h"

static void clean(struct text in, size_t piece, struct buf *out)
{
	struct local_text state = { 0 };

	while (in.len) {
		const struct text part = text_head(in, in.len < piece ? in.len : piece);
		const size_t written =
			local_text_clean(&state, part, buf_room(out, local_text_bound(part.len)));
		REQUIRE(written <= local_text_bound(part.len));
		buf_commit(out, written);
		in = text_from(in, part.len);
	}
}

static void check_wire(struct text text)
{
	struct wire_encode encode = { 0 };
	struct wire_data data = { 0 };
	char *wire = mem_new(wire_encode_bound(text.len) + 5);
	size_t octets = wire_encode(&encode, text, wire), used;

	octets += wire_encode_end(&encode, wire + octets);
	REQUIRE(wire_data_scan(&data, (struct text){ .ptr = wire, .len = octets }, &used) == 1);
	REQUIRE(used == octets && data.fault == WIRE_OK);
	mem_free(wire);
}

static void check_separator(struct text in)
{
	struct text sender = TEXT("");
	size_t used = 0;

	for (int more = 0; more < 2; more++) {
		int found = local_text_separator(in, more, &sender, &used);
		REQUIRE(found >= -1 && found <= 1 && (found >= 0 || more));
		if (found != 1)
			continue;
		REQUIRE(used > 5 && used <= in.len && in.ptr[used - 1] == '\n');
		REQUIRE(sender.ptr >= in.ptr && sender.ptr + sender.len < in.ptr + used);
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct buf whole = { 0 }, cut = { 0 }, again = { 0 };

	if (size < 2)
		return 0;
	/* The first octet makes the input long enough for lines to be broken. */
	const size_t times = data[0] == 255 ? 70000 / size : 1;
	const size_t length = times * (size - 2);
	char *octets = mem_new(length + 1);
	for (size_t i = 0; i < length; i++)
		octets[i] = (char)data[2 + i % (size - 2)];
	const struct text in = { .ptr = octets, .len = length };
	clean(in, length + 1, &whole);
	clean(in, 1 + 16 * (size_t)data[1], &cut);
	REQUIRE(text_equal(buf_text(&whole), buf_text(&cut)));
	clean(buf_text(&whole), length + 1, &again);
	REQUIRE(text_equal(buf_text(&whole), buf_text(&again)));
	check_wire(buf_text(&whole));
	check_separator(in);
	mem_free(octets);
	buf_release(&whole);
	buf_release(&cut);
	buf_release(&again);
	return 0;
}

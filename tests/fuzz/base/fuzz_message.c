/*
 * Messages of the supervisor and of every kind of field: what unpacks must pack to the same octets.
 */
#include <stdlib.h>
#include <string.h>

#include "base/control.h"
#include "tests/fuzz/fuzz.h"

#define ALL_FIELDS(F) \
	F(u8, a, 0) F(text, b, 100) F(u32, c, 70000) F(i64, d, 0) F(u64, e, 0) F(text, f, 1 << 20)
MESSAGE_DECLARE(all_kinds, ALL_FIELDS)
MESSAGE_DEFINE(all_kinds, ALL_FIELDS)
MESSAGE_DECLARE_SHORT(all_kinds)
MESSAGE_DEFINE_SHORT(all_kinds, ALL_FIELDS)

static void expect_same(struct buf *packed, struct text payload)
{
	if (!text_equal(buf_text(packed), payload))
		abort();
	buf_release(packed);
}

#define TRY(tag) \
	do { \
		struct tag message; \
		struct buf packed = { 0 }; \
		if (tag##_unpack(payload, &message) == 0) { \
			tag##_pack(&packed, &message); \
			expect_same(&packed, payload); \
		} \
	} while (0)

/* Records one behind the other, as far as they are whole. */
static void try_records(struct text payload)
{
	struct message_reader in = { .at = payload.ptr, .left = payload.len };
	struct all_kinds record;
	struct buf packed = { 0 };
	size_t whole = 0;

	while (in.left && all_kinds_unpack_from(&in, &record) == 0) {
		all_kinds_pack(&packed, &record);
		whole = payload.len - in.left;
	}
	expect_same(&packed, text_head(payload, whole));
}

static void try_short(struct text payload)
{
	struct all_kinds message;
	struct buf packed = { 0 };

	if (all_kinds_unpack_short(payload, &message) == 0) {
		all_kinds_pack_short(&packed, &message);
		expect_same(&packed, payload);
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *octets, size_t size)
{
	const struct text payload = fuzz_text(octets, size);

	TRY(control_configure);
	TRY(control_listener);
	TRY(control_certificate);
	TRY(control_go);
	TRY(control_counters);
	TRY(all_kinds);
	try_records(payload);
	try_short(payload);
	return 0;
}

/*
 * Values from an index that may be damaged: what decodes is packed into the same octets again.
 */
#include <stdlib.h>

#include "store/index_codec.h"
#include "tests/fuzz/fuzz.h"

#define CHECK(tag) \
	do { \
		struct tag row; \
		struct buf out = { 0 }; \
		if (tag##_decode(value, &row) == 0) { \
			tag##_pack(&out, &row); \
			if (!text_equal(buf_text(&out), value)) \
				abort(); \
		} \
		buf_release(&out); \
	} while (0)

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	const struct text value = fuzz_text(data, size);
	struct index_mailbox_id id;
	uint64_t modseq;
	uint32_t uid;

	CHECK(index_counters);
	CHECK(index_user);
	CHECK(index_mailbox);
	CHECK(index_message);
	CHECK(index_once);
	CHECK(index_expunging);
	CHECK(index_copying);
	index_mailbox_key_decode(value, &id);
	index_message_key_decode(value, &id, &uid);
	index_expunged_key_decode(value, &id, &modseq, &uid);
	return 0;
}

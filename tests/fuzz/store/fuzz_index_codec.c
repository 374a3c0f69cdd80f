/*
 * Values from an index that may be damaged: what decodes is packed into the same octets again.
 */
#include <stdlib.h>

#include "store/index_codec.h"
#include "tests/fuzz/fuzz.h"

#define CHECK_AS(tag, write) \
	do { \
		struct tag row; \
		struct buf out = { 0 }; \
		if (tag##_decode(value, &row) == 0) { \
			write(&out, &row); \
			if (!text_equal(buf_text(&out), value)) \
				abort(); \
		} \
		buf_release(&out); \
	} while (0)

#define CHECK(tag) CHECK_AS(tag, tag##_pack)

/* Of two forms. */
#define CHECK_SHORT(tag) \
	do { \
		if (value.len && value.ptr[0] == INDEX_VERSION) \
			CHECK_AS(tag, tag##_pack); \
		else \
			CHECK_AS(tag, tag##_encode); \
	} while (0)

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	const struct text value = fuzz_text(data, size);
	struct index_mailbox_id id;
	uint64_t modseq;
	uint32_t uid;

	CHECK(index_counters);
	CHECK(index_user);
	CHECK_SHORT(index_mailbox);
	CHECK_SHORT(index_message);
	CHECK_AS(index_once, index_once_encode);
	CHECK(index_expunging);
	CHECK(index_copying);
	index_mailbox_key_decode(value, &id);
	index_message_key_decode(value, &id, &uid);
	index_expunged_key_decode(value, &id, &modseq, &uid);
	return 0;
}

/* The same verdict however the octets are cut, and never too many lists in what has passed. */
#include "bridge/imap_guard.h"
#include "tests/fuzz/fuzz.h"

int LLVMFuzzerTestOneInput(const uint8_t *octets, size_t size)
{
	struct imap_guard whole = { 0 }, pieces = { 0 };
	const struct text in = fuzz_text(octets, size);
	const bool fine = imap_guard_take(&whole, in);
	bool again = true;
	size_t opened = 0;

	for (struct text rest = in; rest.len; rest = text_from(rest, 1)) {
		again = imap_guard_take(&pieces, text_head(rest, 1));
		opened += rest.ptr[0] == '(';
	}
	REQUIRE(again == fine);
	REQUIRE(whole.literal <= (uint64_t)UINT32_MAX * 10 + 9);
	/* Without enough of them there is nothing to refuse. */
	REQUIRE(fine || opened > IMAP_GUARD_LISTS);
	REQUIRE(!fine || whole.lists <= IMAP_GUARD_LISTS);
	return 0;
}

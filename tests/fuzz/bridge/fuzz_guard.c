/* The same verdict however the octets are cut, and never too much in what has passed. */
#include "bridge/imap_guard.h"
#include "tests/fuzz/fuzz.h"

enum { MOST = 5000 };

int LLVMFuzzerTestOneInput(const uint8_t *octets, size_t size)
{
	struct imap_guard whole = { 0 }, pieces = { 0 };
	const struct text in = fuzz_text(octets, size);
	const enum imap_guard_verdict verdict = imap_guard_take(&whole, in, MOST);
	enum imap_guard_verdict again = IMAP_GUARD_FINE;
	size_t opened = 0;

	for (struct text rest = in; rest.len; rest = text_from(rest, 1)) {
		again = imap_guard_take(&pieces, text_head(rest, 1), MOST);
		opened += rest.ptr[0] == '(';
	}
	REQUIRE(again == verdict);
	REQUIRE(whole.literal <= MOST);
	/* Without enough of them there is nothing to refuse. */
	REQUIRE(verdict != IMAP_GUARD_TOO_DEEP || opened > IMAP_GUARD_LISTS);
	REQUIRE(verdict != IMAP_GUARD_FINE || whole.lists <= IMAP_GUARD_LISTS);
	return 0;
}

/* POP3's answers: lines, and a body that ends at the same place however it is cut. */
#include "bridge/pop3_wire.h"
#include "bridge/session.h"
#include "tests/fuzz/fuzz.h"

static void try_body(struct text in)
{
	struct pop3_body whole = { 0 }, pieces = { 0 };
	struct buf out = { 0 }, again = { 0 };
	size_t used, first, total = 0;
	bool ended = false;

	const bool end = pop3_body_take(&whole, in, &used, &out);
	REQUIRE(used <= in.len && (end || used == in.len));
	REQUIRE(buf_length(&out) <= used);
	for (struct text rest = in; rest.len && !ended; rest = text_from(rest, first)) {
		ended = pop3_body_take(&pieces, text_head(rest, 1), &first, &again);
		REQUIRE(first == 1);
		total += first;
	}
	REQUIRE(ended == end && (!end || total == used));
	REQUIRE(text_equal(buf_text(&out), buf_text(&again)));
	buf_release(&out);
	buf_release(&again);
}

int LLVMFuzzerTestOneInput(const uint8_t *octets, size_t size)
{
	const struct text in = fuzz_text(octets, size);
	struct text rest = TEXT("");
	uint32_t number = 0;

	try_body(in);
	if (pop3_status(in, &rest) >= 0)
		REQUIRE(rest.len < in.len);
	if (pop3_numbered(in, &number, &rest) == 0)
		REQUIRE(number > 0 && rest.len < in.len);
	if (pop3_is_uidl(in))
		REQUIRE(in.len > 0 && in.len <= POP3_UIDL_LIMIT);
	const struct text sender = session_sender(in);
	REQUIRE(text_find(sender, '\r') < 0 && text_find(sender, '\n') < 0 &&
		text_find(sender, '\0') < 0 && text_find(sender, '>') < 0);
	return 0;
}

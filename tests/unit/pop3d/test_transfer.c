#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

#include "pop3d/transfer.h"

/* What TOP with that many body lines leaves of the message, fed in pieces of `piece` octets. */
static size_t top(struct text message, int64_t lines, size_t piece)
{
	struct transfer transfer;
	size_t total = 0;

	transfer_begin(&transfer, -1, 0, lines);
	for (size_t at = 0; at < message.len; at += piece) {
		const struct text part = text_head(text_from(message, at), piece);
		const size_t kept = transfer_top(&transfer, part);

		total += kept;
		if (kept < part.len)
			break;
	}
	return total;
}

static void header_blank_line_and_so_many(void **state)
{
	static const struct {
		const char *message;
		int64_t lines;
		size_t kept;
	} cases[] = {
		{ "A: b\n\none\ntwo\n", 0, 6 },
		{ "A: b\n\none\ntwo\n", 1, 10 },
		{ "A: b\n\none\ntwo\n", 2, 14 },
		{ "A: b\n\none\ntwo\n", 99, 14 },
		{ "A: b\r\n\r\none\r\n", 0, 8 },
		{ "A: b\n\n\n\n\n", 1, 7 },
		{ "A: b\n", 0, 5 },
		{ "A: b", 0, 4 },
		{ "\nbody\n", 0, 1 },
		{ "\n\n", 1, 2 },
		{ "A: b\n\nno end", 1, 12 },
		{ "A: b\n\nno end", 0, 6 },
		{ "A: b\n\r\nx", 0, 7 },
		{ "A:\n \n\nx\n", 0, 6 },
		{ "", 5, 0 },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++)
		for (size_t piece = 1; piece < 20; piece++) {
			const size_t kept = top(text_of(cases[i].message), cases[i].lines, piece);

			if (kept != cases[i].kept)
				fail_msg("case %zu in pieces of %zu: kept %zu, not %zu", i, piece,
					kept, cases[i].kept);
		}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(header_blank_line_and_so_many),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

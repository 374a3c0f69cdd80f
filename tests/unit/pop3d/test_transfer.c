#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>
#include <event2/event.h>

#include "base/conn.h"
#include "base/log.h"
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

/* Somebody has cut it short meanwhile: what is left of it is not to look like all of it. */
static void a_file_that_ends_too_early(void **state)
{
	static const struct conn_handlers handlers = { .ended = NULL };
	static const struct conn_limits limits = { .input = 1, .output_high = 1 << 20 };
	static const struct {
		uint64_t told;
		int64_t lines;
		int result;
	} cases[] = {
		{ 14, TRANSFER_ALL, 1 },
		{ 15, TRANSFER_ALL, -1 },
		{ 15, 2, -1 },
		{ 15, 1, 1 }, /* what was asked for is there */
		{ 14, 9, 1 },
	};

	(void)state;
	log_open("test", LOG_LEVEL_ERROR);
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct event_base *loop = event_base_new();
		struct transfer transfer;
		int pair[2];
		const int fd = memfd_create("message", MFD_CLOEXEC);

		assert_int_equal(write(fd, "A: b\n\none\ntwo\n", 14), 14);
		lseek(fd, 0, SEEK_SET);
		assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, pair), 0);
		struct conn *conn = conn_new(loop, pair[0], &handlers, &limits, NULL);
		transfer_begin(&transfer, fd, cases[i].told, cases[i].lines);
		assert_int_equal(transfer_run(&transfer, conn), cases[i].result);
		assert_int_equal(transfer.fd, -1);
		/* With CRLF; and the final dot when it is whole. */
		const size_t whole = cases[i].lines == 1 ? 13 : 18;
		assert_int_equal(conn_output_length(conn), whole + (cases[i].result == 1 ? 3 : 0));
		conn_free(&conn);
		event_base_free(loop);
		close(pair[1]);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(header_blank_line_and_so_many),
		cmocka_unit_test(a_file_that_ends_too_early),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

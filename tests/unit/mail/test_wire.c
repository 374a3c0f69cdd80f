/* Message data as it comes in, and stored messages as they go out. */
#include "base/buf.h"
#include "base/mem.h"
#include "mail/wire.h"
#include "tests/unit/mail/check.h"
#include "tests/unit/mail/wire_model.h"

/* ---- message data ---- */

/* in: as it stands after the 354. end: octets up to and with the terminator; 0: not there yet. */
struct data_case {
	struct text in;
	size_t end;
	enum wire_fault fault;
	struct text out;
};

#define CASE(text, at, what, decoded) \
	{ \
		.in = T(text), .end = (at), .fault = (what), .out = T(decoded) \
	}
/* A text that must be read to its very end: whatever stands in it, it is one message. */
#define WHOLE(text, what, decoded) CASE(text, sizeof(text) - 1, what, decoded)

static const struct data_case data_cases[] = {
	WHOLE(".\r\n", WIRE_OK, ""),
	WHOLE("\r\n.\r\n", WIRE_OK, "\n"),
	WHOLE("a\r\n.\r\n", WIRE_OK, "a\n"),
	WHOLE("a\r\nb\r\n\r\nc\r\n.\r\n", WIRE_OK, "a\nb\n\nc\n"),
	CASE("a\r\n.\r\nQUIT\r\n", 6, WIRE_OK, "a\n"),
	CASE("a\r\n.\r\n.\r\n", 6, WIRE_OK, "a\n"),
	CASE(".\r\nMAIL FROM:<a@b>\r\n.\r\n", 3, WIRE_OK, ""),
	CASE("a\r\n.\r\n\nb", 6, WIRE_OK, "a\n"),
	/* stuffed dots */
	WHOLE("..\r\n.\r\n", WIRE_OK, ".\n"),
	WHOLE("...\r\n.\r\n", WIRE_OK, "..\n"),
	WHOLE(".a\r\n.\r\n", WIRE_OK, "a\n"),
	WHOLE("a.\r\n.\r\n", WIRE_OK, "a.\n"),
	WHOLE("a\r\n..\r\n..b\r\n.\r\n", WIRE_OK, "a\n.\n.b\n"),
	WHOLE("a\r\n. \r\n.\r\n", WIRE_OK, "a\n \n"),
	WHOLE("a\r\n.\t.\r\n.\r\n", WIRE_OK, "a\n\t.\n"),
	WHOLE("a\r\n.b.\r\n.\r\n", WIRE_OK, "a\nb.\n"),
	/* octets that end no line here */
	WHOLE("a\x0b.\x0c.\x85.\r\n.\r\n", WIRE_OK, "a\x0b.\x0c.\x85.\n"),
	WHOLE("\xe2\x80\xa8.\xe2\x80\xa8\r\n.\r\n", WIRE_OK, "\xe2\x80\xa8.\xe2\x80\xa8\n"),
	WHOLE("\xff\xfe\r\n.\r\n", WIRE_OK, "\xff\xfe\n"),
	WHOLE("\x1b[2J\x7f\t\r\n.\r\n", WIRE_OK, "\x1b[2J\x7f\t\n"),
	/* not ended */
	CASE("", 0, WIRE_OK, ""),
	CASE(".", 0, WIRE_OK, ""),
	CASE(".\r", 0, WIRE_OK, ""),
	CASE("a", 0, WIRE_OK, "a"),
	CASE("a\r", 0, WIRE_OK, "a"),
	CASE("a\r\n", 0, WIRE_OK, "a\n"),
	CASE("a\r\n.", 0, WIRE_OK, "a\n"),
	CASE("a\r\n.\r", 0, WIRE_OK, "a\n"),
	CASE("a\r\n..\r\n", 0, WIRE_OK, "a\n.\n"),
	/* LF.LF and its family: each must be refused, and none may end the message */
	WHOLE("a\n.\nMAIL FROM:<x@y>\r\n.\r\n", WIRE_BARE_LF, "a"),
	WHOLE("a\n.\r\nMAIL FROM:<x@y>\r\n.\r\n", WIRE_BARE_LF, "a"),
	WHOLE("a\r\n.\nMAIL FROM:<x@y>\r\n.\r\n", WIRE_BARE_LF, "a\n"),
	WHOLE("a\n\n.\n\nb\r\n.\r\n", WIRE_BARE_LF, "a"),
	WHOLE("a\n\r\n.\nb\r\n.\r\n", WIRE_BARE_LF, "a"),
	WHOLE("a\r\n\n.\r\nb\r\n.\r\n", WIRE_BARE_LF, "a\n"),
	WHOLE("a\r\n\n.\nb\r\n.\r\n", WIRE_BARE_LF, "a\n"),
	WHOLE("\n.\r\nb\r\n.\r\n", WIRE_BARE_LF, ""),
	WHOLE("\n.\nb\r\n.\r\n", WIRE_BARE_LF, ""),
	WHOLE(".\nb\r\n.\r\n", WIRE_BARE_LF, ""),
	WHOLE("..\nb\r\n.\r\n", WIRE_BARE_LF, "."),
	WHOLE("a\n..\nb\r\n.\r\n", WIRE_BARE_LF, "a"),
	WHOLE("a\r\n.\n.\r\nb\r\n.\r\n", WIRE_BARE_LF, "a\n"),
	CASE("a\n.\r\n", 0, WIRE_BARE_LF, "a"),
	CASE("a\n.\n", 0, WIRE_BARE_LF, "a"),
	CASE("a\r\n.\n", 0, WIRE_BARE_LF, "a\n"),
	/* CR.CR, CR.LF, CR.CRLF … */
	WHOLE("a\r.\rMAIL FROM:<x@y>\r\n.\r\n", WIRE_BARE_CR, "a"),
	WHOLE("a\r.\nMAIL FROM:<x@y>\r\n.\r\n", WIRE_BARE_CR, "a"),
	WHOLE("a\r.\r\nMAIL FROM:<x@y>\r\n.\r\n", WIRE_BARE_CR, "a"),
	WHOLE("a\r\n.\rMAIL FROM:<x@y>\r\n.\r\n", WIRE_BARE_CR, "a\n"),
	WHOLE("a\r\n\r.\r\nb\r\n.\r\n", WIRE_BARE_CR, "a\n"),
	WHOLE("a\n.\rb\r\n.\r\n", WIRE_BARE_LF, "a"),
	WHOLE(".\rb\r\n.\r\n", WIRE_BARE_CR, ""),
	WHOLE(".\r.\r\nb\r\n.\r\n", WIRE_BARE_CR, ""),
	WHOLE("\r.\r\nb\r\n.\r\n", WIRE_BARE_CR, ""),
	WHOLE("a\rb\r\n.\r\n", WIRE_BARE_CR, "a"),
	CASE("a\r.\r\n", 0, WIRE_BARE_CR, "a"),
	/* CRCRLF: the CRLF in it counts, so what follows is a line, and the message is refused */
	CASE("a\r\r\n.\r\nb\r\n.\r\n", 7, WIRE_BARE_CR, "a"),
	WHOLE("a\r\n.\r\r\nb\r\n.\r\n", WIRE_BARE_CR, "a\n"),
	WHOLE("a\r\r.\r\nb\r\n.\r\n", WIRE_BARE_CR, "a"),
	CASE("a\r\r\r\n.\r\n", 8, WIRE_BARE_CR, "a"),
	/* LFCR */
	WHOLE("a\n\r.\n\rb\r\n.\r\n", WIRE_BARE_LF, "a"),
	WHOLE("a\n\r\n\r.\r\nb\r\n.\r\n", WIRE_BARE_LF, "a"),
	/* NUL, alone and between the octets of a terminator */
	WHOLE("a\0b\r\n.\r\n", WIRE_NUL, "a"),
	WHOLE("\0\r\n.\r\n", WIRE_NUL, ""),
	WHOLE("a\r\n\0.\r\nb\r\n.\r\n", WIRE_NUL, "a\n"),
	WHOLE("a\r\n.\0\r\nb\r\n.\r\n", WIRE_NUL, "a\n"),
	WHOLE("a\r\n.\r\0\nb\r\n.\r\n", WIRE_BARE_CR, "a\n"),
	WHOLE("a\r\0\n.\r\nb\r\n.\r\n", WIRE_BARE_CR, "a"),
	WHOLE("a\0\n.\r\nb\r\n.\r\n", WIRE_NUL, "a"),
	WHOLE("\0\0\0\0\0\0\0\0\0\r\n.\r\n", WIRE_NUL, ""),
	CASE("a\r\n.\r\n\0\r\n", 6, WIRE_OK, "a\n"),
	/* the first fault is the one that is told */
	WHOLE("a\nb\rc\0d\r\n.\r\n", WIRE_BARE_LF, "a"),
	WHOLE("a\rb\nc\0d\r\n.\r\n", WIRE_BARE_CR, "a"),
	WHOLE("a\0b\nc\rd\r\n.\r\n", WIRE_NUL, "a"),
};

/* Feed `in` in pieces that end at cut and at `in`'s end, or octet by octet (cut SIZE_MAX). */
static int decode_pieces(struct wire_data *data, struct text in, size_t cut, size_t *used,
	struct buf *out, uint64_t limit)
{
	int result = 0;

	*used = 0;
	while (*used < in.len && result == 0) {
		const size_t end = cut == SIZE_MAX ? *used + 1 : *used < cut ? cut : in.len;
		const struct text piece = text_from(text_head(in, end), *used);
		struct wire_data scanned = *data;
		size_t n, scanned_n;

		result = wire_data_decode(data, piece, &n, out, limit);
		assert_int_equal(wire_data_scan(&scanned, piece, &scanned_n), result);
		assert_int_equal(scanned_n, n);
		assert_memory_equal(&scanned, data, sizeof(scanned));
		*used += n;
	}
	return result;
}

static void check_data(const struct data_case *c, size_t cut)
{
	struct wire_data data = { 0 };
	struct buf out = { 0 };
	size_t used;
	const int result = decode_pieces(&data, c->in, cut, &used, &out, 0);

	CHECK_NUMBER(result, c->end > 0, c->in);
	CHECK_NUMBER(used, c->end > 0 ? c->end : c->in.len, c->in);
	CHECK_NUMBER(data.fault, c->fault, c->in);
	CHECK_TEXT(buf_text(&out), c->out, c->in);
	buf_release(&out);
}

static void data_ends_at_crlf_dot_crlf_only(void **state)
{
	(void)state;
	for (size_t i = 0; i < COUNT(data_cases); i++) {
		check_data(&data_cases[i], SIZE_MAX);
		for (size_t cut = 0; cut <= data_cases[i].in.len; cut++)
			check_data(&data_cases[i], cut);
	}
}

static void check_against_model(struct text in, size_t cut)
{
	struct wire_data data = { 0 };
	struct buf out = { 0 };
	struct buf wanted = { 0 };
	const struct wire_model model = wire_model(in, &wanted);
	size_t used;
	const int result = decode_pieces(&data, in, cut, &used, &out, 0);

	CHECK_NUMBER(result, model.ended, in);
	CHECK_NUMBER(used, model.used, in);
	CHECK_NUMBER(data.fault, model.fault, in);
	CHECK_NUMBER(data.eight_bit, model.eight_bit, in);
	CHECK_NUMBER(data.lines, model.lines, in);
	CHECK_NUMBER(data.size, model.size, in);
	CHECK_TEXT(buf_text(&out), buf_text(&wanted), in);
	buf_release(&out);
	buf_release(&wanted);
}

/* Every text of up to seven of the octets that matter. */
static void data_agrees_with_the_model(void **state)
{
	static const char alphabet[] = { '\r', '\n', '.', 'a', '\0' };
	enum { LONGEST = 7 };
	size_t digits[LONGEST] = { 0 };

	(void)state;
	for (size_t length = 1; length <= LONGEST; length++) {
		size_t at;

		memset(digits, 0, sizeof(digits));
		do {
			char octets[LONGEST];
			struct text in = { .ptr = octets, .len = length };

			for (size_t i = 0; i < length; i++)
				octets[i] = alphabet[digits[i]];
			check_against_model(in, length);
			check_against_model(in, SIZE_MAX);
			for (at = 0; at < length && ++digits[at] == sizeof(alphabet); at++)
				digits[at] = 0;
		} while (at < length);
	}
}

static void data_counts(void **state)
{
	const struct text in = TEXT("..a\r\n\r\nb\xe9\r\n.\r\n");
	struct wire_data data = { 0 };
	size_t used;

	(void)state;
	assert_int_equal(wire_data_scan(&data, text_head(in, 7), &used), 0);
	assert_false(data.eight_bit);
	assert_int_equal(wire_data_scan(&data, text_from(in, 7), &used), 1);
	assert_true(data.eight_bit);
	assert_int_equal(data.lines, 3);
	assert_int_equal(data.size, 2 + 2 + 2 + 2 + 2); /* ".a" CRLF, CRLF, "b\xe9" CRLF */
}

static void data_line_length_is_bounded(void **state)
{
	for (size_t over = 0; over < 3; over++) {
		const size_t length = WIRE_TEXT_LINE_LIMIT + over;
		char *line = mem_new(length + 6);
		struct text in = { .ptr = line, .len = length + 6 };

		(void)state;
		memset(line, 'x', length);
		line[0] = '.'; /* stuffed: not counted */
		memcpy(line + length, "\r\n.\r\n", 5);
		in.len = length + 5;
		for (size_t cut = length - 4; cut <= in.len; cut++) {
			struct wire_data data = { 0 };
			struct buf out = { 0 };
			size_t used;

			assert_int_equal(decode_pieces(&data, in, cut, &used, &out, 0), 1);
			assert_int_equal(used, in.len);
			assert_int_equal(data.fault, over < 2 ? WIRE_OK : WIRE_TOO_LONG);
			assert_int_equal(data.size, length - 1 + 2);
			assert_int_equal(
				buf_length(&out), over < 2 ? length : (size_t)WIRE_TEXT_LINE_LIMIT);
			buf_release(&out);
		}
		check_against_model(in, in.len);
		mem_free(line);
	}
}

static void data_length_starts_anew_with_each_line(void **state)
{
	struct wire_data data = { 0 };
	char line[1000];
	size_t used;

	(void)state;
	memset(line, 'x', sizeof(line));
	memcpy(line + 998, "\r\n", 2);
	for (int i = 0; i < 200; i++)
		assert_int_equal(
			wire_data_scan(&data, (struct text){ line, sizeof(line) }, &used), 0);
	assert_int_equal(wire_data_scan(&data, TEXT(".\r\n"), &used), 1);
	assert_int_equal(data.fault, WIRE_OK);
	assert_int_equal(data.size, 200 * 1000);
	assert_int_equal(data.lines, 200);
}

/* What comes out under a limit is a beginning of the whole, the same for every cut, and never more. */
static void decode_stops_at_the_limit(void **state)
{
	const struct text in = TEXT("..abc\r\ndef\r\n\r\nghi\r\n.\r\n");
	const struct text decoded = TEXT(".abc\ndef\n\nghi\n");

	(void)state;
	for (uint64_t limit = 1; limit < 25; limit++) {
		size_t kept = SIZE_MAX;

		for (size_t cut = 0; cut <= in.len; cut++) {
			struct wire_data data = { 0 };
			struct buf out = { 0 };
			size_t used;

			assert_int_equal(decode_pieces(&data, in, cut, &used, &out, limit), 1);
			assert_int_equal(used, in.len);
			assert_int_equal(data.size, 18);
			if (kept == SIZE_MAX)
				kept = buf_length(&out);
			CHECK_TEXT(buf_text(&out), text_head(decoded, kept), in);
			assert_true(kept <= limit);
			buf_release(&out);
		}
		assert_int_equal(kept == decoded.len, limit >= 18);
	}
}

/* ---- stored messages ---- */

static const struct {
	struct text stored;
	struct text wire;
	uint64_t size;
} stored_cases[] = {
	{ T(""), T(".\r\n"), 0 },
	{ T("\n"), T("\r\n.\r\n"), 2 },
	{ T("\r\n"), T("\r\n.\r\n"), 2 },
	{ T("a"), T("a\r\n.\r\n"), 3 },
	{ T("a\n"), T("a\r\n.\r\n"), 3 },
	{ T("a\r\n"), T("a\r\n.\r\n"), 3 },
	{ T("a\nb"), T("a\r\nb\r\n.\r\n"), 6 },
	{ T("a\r\nb\nc\r\n"), T("a\r\nb\r\nc\r\n.\r\n"), 9 },
	{ T("\n\n\n"), T("\r\n\r\n\r\n.\r\n"), 6 },
	{ T("."), T("..\r\n.\r\n"), 3 },
	{ T(".\n"), T("..\r\n.\r\n"), 3 },
	{ T("..\n"), T("...\r\n.\r\n"), 4 },
	{ T("a.\n.b\n.\n"), T("a.\r\n..b\r\n..\r\n.\r\n"), 11 },
	{ T("a\r\n.\r\n"), T("a\r\n..\r\n.\r\n"), 6 },
	{ T("\n.\n"), T("\r\n..\r\n.\r\n"), 5 },
	{ T("a\rb\n"), T("a\rb\r\n.\r\n"), 5 },
	{ T("a\r\r\n"), T("a\r\r\n.\r\n"), 4 },
	{ T("a\r.\n"), T("a\r.\r\n.\r\n"), 5 },
	{ T("a\r"), T("a\r\r\n.\r\n"), 4 },
	{ T("\xc3\xa9\0\n"), T("\xc3\xa9\0\r\n.\r\n"), 5 },
};

static void encode_pieces(struct text stored, size_t cut, struct buf *out, uint64_t *size)
{
	struct wire_encode encode = { 0 };
	struct wire_encode counter = { 0 };
	size_t at = 0;

	*size = 0;
	while (at < stored.len) {
		const size_t end = cut == SIZE_MAX ? at + 1 : at < cut ? cut : stored.len;
		const struct text piece = text_from(text_head(stored, end), at);
		/* A block of just the bound, so that the sanitizer sees the octet beyond it. */
		char *room = mem_new(wire_encode_bound(piece.len));
		const size_t n = wire_encode(&encode, piece, room);

		assert_true(n <= wire_encode_bound(piece.len));
		buf_add(out, (struct text){ .ptr = room, .len = n });
		mem_free(room);
		*size += wire_size_piece(&counter, piece);
		at += piece.len;
	}
	*size += wire_size_end(&counter);
	char *room = mem_new(5);
	buf_add(out, (struct text){ .ptr = room, .len = wire_encode_end(&encode, room) });
	mem_free(room);
}

static void stored_messages_go_out(void **state)
{
	(void)state;
	for (size_t i = 0; i < COUNT(stored_cases); i++) {
		const struct text stored = stored_cases[i].stored;

		assert_int_equal(wire_size(stored), stored_cases[i].size);
		for (size_t cut = 0; cut <= stored.len + 1; cut++) {
			struct buf out = { 0 };
			uint64_t size;

			encode_pieces(stored, cut <= stored.len ? cut : SIZE_MAX, &out, &size);
			CHECK_TEXT(buf_text(&out), stored_cases[i].wire, stored);
			CHECK_NUMBER(size, stored_cases[i].size, stored);
			buf_release(&out);
		}
	}
}

static void nothing_is_encoded_from_nothing(void **state)
{
	struct wire_encode encode = { 0 };

	(void)state;
	assert_int_equal(wire_encode(&encode, (struct text){ 0 }, NULL), 0);
	assert_int_equal(wire_size_piece(&encode, (struct text){ 0 }), 0);
	assert_false(encode.not_start);
	assert_int_equal(wire_size((struct text){ 0 }), 0);
}

/* Every text of up to six octets that matter comes back as it was, with LF line ends. */
static void what_is_encoded_decodes(void **state)
{
	static const char alphabet[] = { '\r', '\n', '.', 'a' };
	enum { LONGEST = 6 };

	(void)state;
	for (unsigned number = 0; number < 1U << 2 * LONGEST; number++) {
		char octets[LONGEST];
		struct text in = { .ptr = octets, .len = LONGEST };
		struct buf wire = { 0 }, out = { 0 }, wanted = { 0 };
		struct wire_data data = { 0 };
		bool lone = false;
		uint64_t size;
		size_t used;

		for (size_t i = 0; i < LONGEST; i++)
			octets[i] = alphabet[number >> 2 * i & 3];
		for (size_t i = 0; i < LONGEST; i++) {
			const bool crlf =
				octets[i] == '\r' && i + 1 < LONGEST && octets[i + 1] == '\n';

			lone = lone || (octets[i] == '\r' && !crlf);
			if (!crlf)
				buf_add_char(&wanted, octets[i]);
		}
		if (octets[LONGEST - 1] != '\n')
			buf_add_char(&wanted, '\n');
		encode_pieces(in, LONGEST, &wire, &size);
		assert_int_equal(wire_data_decode(&data, buf_text(&wire), &used, &out, 0), 1);
		CHECK_NUMBER(used, buf_length(&wire), in);
		CHECK_NUMBER(data.fault, lone ? WIRE_BARE_CR : WIRE_OK, in);
		CHECK_NUMBER(data.size, size, in);
		if (!lone)
			CHECK_TEXT(buf_text(&out), buf_text(&wanted), in);
		buf_release(&wire);
		buf_release(&out);
		buf_release(&wanted);
	}
}

/* ---- bodies without dots ---- */

/* Of BDAT: no dots, no end but the last octet. */
static const struct {
	struct text in;
	struct text stored;
	enum wire_fault fault;
	uint64_t size;
	bool whole_lines;
} plain_cases[] = {
	{ T(""), T(""), WIRE_OK, 0, true },
	{ T("a\r\n"), T("a\n"), WIRE_OK, 3, true },
	{ T("a"), T("a"), WIRE_OK, 1, false },
	{ T(".\r\n"), T(".\n"), WIRE_OK, 3, true },
	{ T("..\r\n.a\r\n"), T("..\n.a\n"), WIRE_OK, 8, true },
	{ T("a\r\n.\r\nb\r\n"), T("a\n.\nb\n"), WIRE_OK, 9, true },
	{ T("a\r\n."), T("a\n."), WIRE_OK, 4, false },
	{ T("a\nb\r\n"), T("a"), WIRE_BARE_LF, 5, true },
	{ T("a\rb\r\n"), T("a"), WIRE_BARE_CR, 5, true },
	{ T("a\r\n.\n"), T("a\n."), WIRE_BARE_LF, 5, false },
	{ T("a\n.\r\n"), T("a"), WIRE_BARE_LF, 5, true },
	{ T("a\r"), T("a"), WIRE_BARE_CR, 2, false },
	{ T("a\r\n\r"), T("a\n"), WIRE_BARE_CR, 4, false },
	{ T("a\0b\r\n"), T("a"), WIRE_NUL, 5, true },
};

static void bodies_without_dots(void **state)
{
	(void)state;
	for (size_t i = 0; i < COUNT(plain_cases); i++) {
		const struct text in = plain_cases[i].in;

		for (size_t cut = 0; cut <= in.len; cut++) {
			struct wire_data data = { .plain = true };
			struct buf out = { 0 };
			size_t used;

			assert_int_equal(
				wire_data_decode(&data, text_head(in, cut), &used, &out, 0), 0);
			assert_int_equal(used, cut);
			assert_int_equal(
				wire_data_decode(&data, text_from(in, cut), &used, &out, 0), 0);
			assert_int_equal(used, in.len - cut);
			CHECK_NUMBER(wire_data_end(&data), plain_cases[i].whole_lines, in);
			CHECK_NUMBER(data.fault, plain_cases[i].fault, in);
			CHECK_NUMBER(data.size, plain_cases[i].size, in);
			CHECK_TEXT(buf_text(&out), plain_cases[i].stored, in);
			buf_release(&out);
		}
	}
}

/* ---- from DATA to BDAT ---- */

static void check_unstuffed(const struct data_case *c, size_t cut)
{
	const struct text in = text_head(c->in, c->end);
	struct wire_unstuff unstuff = { 0 };
	struct wire_data plain = { .plain = true };
	struct buf chunk = { 0 }, out = { 0 };
	size_t used;

	for (size_t at = 0, end; at < in.len; at = end) {
		end = cut == SIZE_MAX ? at + 1 : at < cut && cut < in.len ? cut : in.len;
		const struct text piece = text_from(text_head(in, end), at);
		char *to = buf_room(&chunk, piece.len);
		const size_t n = wire_unstuff(&unstuff, piece, to);
		assert_true(n <= piece.len);
		buf_commit(&chunk, n);
	}
	CHECK_NUMBER(wire_data_decode(&plain, buf_text(&chunk), &used, &out, 0), 0, c->in);
	CHECK_NUMBER(wire_data_end(&plain), true, c->in);
	CHECK_NUMBER(plain.fault, WIRE_OK, c->in);
	CHECK_TEXT(buf_text(&out), c->out, c->in);
	buf_release(&chunk);
	buf_release(&out);
}

static void unstuffed_it_is_the_same_message(void **state)
{
	(void)state;
	for (size_t i = 0; i < COUNT(data_cases); i++) {
		if (data_cases[i].end == 0 || data_cases[i].fault != WIRE_OK)
			continue;
		check_unstuffed(&data_cases[i], SIZE_MAX);
		for (size_t cut = 0; cut <= data_cases[i].end; cut++)
			check_unstuffed(&data_cases[i], cut);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(data_ends_at_crlf_dot_crlf_only),
		cmocka_unit_test(data_agrees_with_the_model),
		cmocka_unit_test(data_counts),
		cmocka_unit_test(data_line_length_is_bounded),
		cmocka_unit_test(data_length_starts_anew_with_each_line),
		cmocka_unit_test(decode_stops_at_the_limit),
		cmocka_unit_test(stored_messages_go_out),
		cmocka_unit_test(nothing_is_encoded_from_nothing),
		cmocka_unit_test(what_is_encoded_decodes),
		cmocka_unit_test(bodies_without_dots),
		cmocka_unit_test(unstuffed_it_is_the_same_message),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <string.h>

#include "base/mem.h"
#include "mail/wire.h"
#include "mda/local_text.h"

/* Clean `in` in pieces of at most that size. */
static struct text clean(struct text in, size_t piece, struct buf *out)
{
	struct local_text state = { 0 };

	buf_clear(out);
	while (in.len) {
		const struct text part = text_head(in, in.len < piece ? in.len : piece);
		char *to = buf_room(out, local_text_bound(part.len));
		const size_t written = local_text_clean(&state, part, to);
		assert_true(written <= local_text_bound(part.len));
		buf_commit(out, written);
		in = text_from(in, part.len);
	}
	return buf_text(out);
}

static void odd_octets_become_blanks(void **state)
{
	static const struct {
		struct text in, out;
	} table[] = {
		{ TEXT(""), TEXT("") },
		{ TEXT("a\nb"), TEXT("a\nb") },
		{ TEXT("a\r\nb\r\n"), TEXT("a\nb\n") },
		{ TEXT("10%\r20%\r\n"), TEXT("10% 20%\n") },
		{ TEXT("a\r\r\nb\n"), TEXT("a \nb\n") },
		{ TEXT("\r\ra"), TEXT("  a") },
		{ TEXT("end\r"), TEXT("end") },
		{ TEXT("a\0b\n"), TEXT("a b\n") },
		{ TEXT("\r\0\n"), TEXT("  \n") },
		{ TEXT("8-bit \xc3\xa4\xff\n"), TEXT("8-bit \xc3\xa4\xff\n") },
		{ TEXT("\n\n\n"), TEXT("\n\n\n") },
		{ TEXT(".\n"), TEXT(".\n") },
	};
	struct buf out = { 0 };

	(void)state;
	for (size_t i = 0; i < sizeof(table) / sizeof(table[0]); i++) {
		for (size_t piece = 1; piece < 8; piece++) {
			const struct text got = clean(table[i].in, piece, &out);
			assert_int_equal(got.len, table[i].out.len);
			assert_memory_equal(got.ptr, table[i].out.ptr, got.len);
		}
	}
	buf_release(&out);
}

static void long_lines_are_broken(void **state)
{
	enum { LIMIT = WIRE_TEXT_LINE_LIMIT, LENGTH = 10 * LIMIT + 1 };
	static const size_t pieces[] = { 7, LIMIT - 1, LIMIT, LIMIT + 1, LENGTH };
	struct buf out = { 0 };
	char *line = mem_new(LENGTH);

	(void)state;
	memset(line, 'x', LENGTH);
	for (size_t i = 0; i < sizeof(pieces) / sizeof(pieces[0]); i++) {
		struct text whole = { .ptr = line, .len = LIMIT };
		assert_int_equal(clean(whole, pieces[i], &out).len, LIMIT);
		whole.len = LIMIT + 1;
		assert_int_equal(clean(whole, pieces[i], &out).len, LIMIT + 3);
		whole.len = LENGTH;
		struct text rest = clean(whole, pieces[i], &out), part;
		size_t octets = 0, lines = 0;
		while (text_split(&rest, '\n', &part)) {
			assert_true(part.len > 0 && part.len <= LIMIT);
			assert_int_equal(part.ptr[0], lines ? ' ' : 'x');
			octets += part.len - (lines++ ? 1 : 0);
		}
		assert_int_equal(octets, LENGTH);
	}
	mem_free(line);
	buf_release(&out);
}

/* Whatever comes out is something that our own server takes. */
static void what_is_clean_passes_the_wire(void **state)
{
	struct buf out = { 0 };
	uint32_t seed = 12345;

	(void)state;
	for (int round = 0; round < 300; round++) {
		static const char letters[] = "ab\r\n\0. \r\n\n\r";
		char in[5000], wire[20100];
		struct wire_encode encode = { 0 };
		struct wire_data data = { 0 };
		size_t length = (size_t)round * 16, used;
		for (size_t i = 0; i < length; i++) {
			seed = seed * 1664525 + 1013904223;
			in[i] = round % 3 ? letters[seed >> 16 & 7]
					  : letters[(seed >> 16) % 200 / 150];
		}
		const struct text text =
			clean((struct text){ .ptr = in, .len = length }, 1 + seed % 99, &out);
		size_t octets = wire_encode(&encode, text, wire);
		octets += wire_encode_end(&encode, wire + octets);
		assert_int_equal(
			wire_data_scan(&data, (struct text){ .ptr = wire, .len = octets }, &used),
			1);
		assert_int_equal(used, octets);
		assert_int_equal(data.fault, WIRE_OK);
	}
	buf_release(&out);
}

static void long_lines_pass_the_wire(void **state)
{
	enum { LENGTH = 3 * WIRE_TEXT_LINE_LIMIT };
	struct buf out = { 0 };
	struct wire_encode encode = { 0 };
	struct wire_data data = { 0 };
	char *line = mem_new(LENGTH), *wire = mem_new(2 * LENGTH + 100);
	size_t used;

	(void)state;
	memset(line, '.', LENGTH);
	const struct text text = clean((struct text){ .ptr = line, .len = LENGTH }, 1000, &out);
	size_t octets = wire_encode(&encode, text, wire);
	octets += wire_encode_end(&encode, wire + octets);
	assert_int_equal(
		wire_data_scan(&data, (struct text){ .ptr = wire, .len = octets }, &used), 1);
	assert_int_equal(data.fault, WIRE_OK);
	mem_free(line);
	mem_free(wire);
	buf_release(&out);
}

static void separators_are_found(void **state)
{
	static const struct {
		const char *in;
		bool more;
		int found;
		const char *sender;
		size_t used;
	} table[] = {
		{ "From a@b.test Sun Nov 22 01:02:03 2026\nSubject: x\n", false, 1, "a@b.test",
			39 },
		{ "From a@b.test Sun Nov 22\r\nx", true, 1, "a@b.test", 26 },
		{ "From MAILER-DAEMON\n", false, 1, "MAILER-DAEMON", 19 },
		{ "From   a  b\n", false, 1, "a", 12 },
		{ "From \n", false, 1, "", 6 },
		{ "From: a@b.test\n", false, 0, NULL, 0 },
		{ "from a@b.test x\n", false, 0, NULL, 0 },
		{ ">From a@b.test x\n", false, 0, NULL, 0 },
		{ "Subject: x\n", true, 0, NULL, 0 },
		{ "\n", true, 0, NULL, 0 },
		{ "", true, -1, NULL, 0 },
		{ "", false, 0, NULL, 0 },
		{ "Fro", true, -1, NULL, 0 },
		{ "Fro", false, 0, NULL, 0 },
		{ "From a@b.test", true, -1, NULL, 0 },
		{ "From a@b.test", false, 0, NULL, 0 },
	};
	char endless[2000];
	struct text sender;
	size_t used;

	(void)state;
	for (size_t i = 0; i < sizeof(table) / sizeof(table[0]); i++) {
		assert_int_equal(
			local_text_separator(text_of(table[i].in), table[i].more, &sender, &used),
			table[i].found);
		if (table[i].found != 1)
			continue;
		assert_int_equal(used, table[i].used);
		assert_true(text_equal(sender, text_of(table[i].sender)));
	}
	memset(endless, 'x', sizeof(endless));
	memcpy(endless, "From ", 5);
	assert_int_equal(
		local_text_separator((struct text){ .ptr = endless, .len = sizeof(endless) }, true,
			&sender, &used),
		0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(odd_octets_become_blanks),
		cmocka_unit_test(long_lines_are_broken),
		cmocka_unit_test(what_is_clean_passes_the_wire),
		cmocka_unit_test(long_lines_pass_the_wire),
		cmocka_unit_test(separators_are_found),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

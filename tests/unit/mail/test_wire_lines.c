/* Command lines as they come in. */
#include "base/buf.h"
#include "mail/wire.h"
#include "tests/unit/mail/check.h"

enum { LINE_LIMIT = 16 };

/* said: each line in brackets, each fault as its letter, in order. */
static const struct {
	struct text in;
	const char *said;
} line_cases[] = {
	{ T("QUIT\r\n"), "[QUIT]" },
	{ T("\r\n"), "[]" },
	{ T("a\r\nb\r\n\r\nc\r\n"), "[a][b][][c]" },
	{ T("a\r\nb"), "[a]" },
	{ T("a\r"), "" },
	{ T("a.\r\n.\r\n"), "[a.][.]" },
	{ T("\xff\t\x7f\r\n"), "[\xff\t\x7f]" },
	/* the limit is with CRLF */
	{ T("12345678901234\r\n"), "[12345678901234]" },
	{ T("123456789012345\r\nb\r\n"), "L[b]" },
	{ T("1234567890123456\r\nb\r\n"), "L[b]" },
	{ T("12345678901234567\r\nb\r\n"), "L[b]" },
	{ T("1234567890123456789012345678901234567890\r\nb\r\n"), "L[b]" },
	{ T("1234567890123456789012345678901234567890"), "" },
	{ T("1234567890123456789012345678\r901234567890\r\nb\r\n"), "L[b]" },
	{ T("12345678901234567890\0\r\nb\r\n"), "L[b]" },
	/* after a bare LF nothing is a command before the next CRLF has gone by */
	{ T("a\nb\r\nc\r\n"), "FF[c]" },
	{ T("a\n"), "F" },
	{ T("a\nb\nc\nd\r\ne\r\n"), "FFFF[e]" },
	{ T("\n\r\nc\r\n"), "FF[c]" },
	{ T("\nc\r\nd\r\n"), "FF[d]" },
	{ T("RSET\nRCPT\r\nQUIT\r\n"), "FF[QUIT]" },
	{ T("12345678901234567890\nb\r\nc\r\n"), "LL[c]" },
	{ T("a\n12345678901234567890\r\nb\r\n"), "FF[b]" },
	/* CR alone ends nothing */
	{ T("a\rb\r\nc\r\n"), "R[c]" },
	{ T("a\r\r\nc\r\n"), "R[c]" },
	{ T("\r\r\nc\r\n"), "R[c]" },
	{ T("a\rb\nc\r\nd\r\n"), "RR[d]" },
	{ T("\n\rc\r\nd\r\n"), "FF[d]" },
	{ T("a\rb\rc\rd\re\rf\rg\rh\ri\r\nj\r\n"), "L[j]" },
	/* NUL */
	{ T("a\0b\r\nc\r\n"), "N[c]" },
	{ T("\0\r\nc\r\n"), "N[c]" },
	{ T("a\0\nb\r\nc\r\n"), "NN[c]" },
	{ T("a\0\r\r\nc\r\n"), "N[c]" },
	{ T("a\r\0\r\nc\r\n"), "R[c]" },
};

static const char fault_letters[] = {
	[WIRE_TOO_LONG] = 'L',
	[WIRE_BARE_LF] = 'F',
	[WIRE_BARE_CR] = 'R',
	[WIRE_NUL] = 'N',
};

/* in[0..*end) has arrived; read all lines of it from *at on. */
static void read_lines(
	struct wire_lines *lines, struct text in, size_t end, size_t *at, struct buf *said)
{
	for (;;) {
		const struct text waiting = text_from(text_head(in, end), *at);
		enum wire_fault fault;
		struct text line;
		size_t used;
		const int result = wire_line(lines, waiting, LINE_LIMIT, &line, &used, &fault);

		assert_true(used <= waiting.len);
		*at += used;
		if (result == 0)
			break;
		if (result < 0) {
			buf_add_char(said, fault_letters[fault]);
			continue;
		}
		assert_int_equal(used, line.len + 2);
		buf_add_char(said, '[');
		buf_add(said, line);
		buf_add_char(said, ']');
	}
	assert_true(end - *at < LINE_LIMIT);
}

static void lines_end_in_crlf_only(void **state)
{
	(void)state;
	for (size_t i = 0; i < COUNT(line_cases); i++) {
		const struct text in = line_cases[i].in;

		for (size_t cut = 0; cut <= in.len + 1; cut++) {
			struct wire_lines lines = { 0 };
			struct buf said = { 0 };
			size_t at = 0;

			if (cut > in.len) {
				for (size_t end = 1; end <= in.len; end++)
					read_lines(&lines, in, end, &at, &said);
			} else {
				read_lines(&lines, in, cut, &at, &said);
				read_lines(&lines, in, in.len, &at, &said);
			}
			CHECK_TEXT(buf_text(&said), text_of(line_cases[i].said), in);
			buf_release(&said);
		}
	}
}

static void faults_have_sentences(void **state)
{
	(void)state;
	assert_string_equal(wire_fault_text(WIRE_BARE_LF), "bare LF; lines end in CRLF");
	assert_string_equal(wire_fault_text(WIRE_BARE_CR), "bare CR; lines end in CRLF");
	assert_string_equal(wire_fault_text(WIRE_NUL), "NUL octet");
	assert_string_equal(wire_fault_text(WIRE_TOO_LONG), "line too long");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(lines_end_in_crlf_only),
		cmocka_unit_test(faults_have_sentences),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

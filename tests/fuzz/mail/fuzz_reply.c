/*
 * A peer's reply lines; what was understood is printed and read again.
 */
#include <string.h>

#include "mail/reply.h"
#include "tests/fuzz/fuzz.h"

static void check_printed(const struct reply *reply)
{
	struct buf out = { 0 };
	struct reply_reader reader = { 0 };
	struct reply again;
	struct text line;

	reply_print(&out, reply);
	line = buf_text(&out);
	REQUIRE(line.len >= 6 && line.len <= REPLY_LINE_LIMIT);
	REQUIRE(memcmp(line.ptr + line.len - 2, "\r\n", 2) == 0);
	line.len -= 2;
	for (size_t i = 0; i < line.len; i++)
		REQUIRE((unsigned char)line.ptr[i] >= ' ' || line.ptr[i] == '\t');
	REQUIRE(reply_read_line(&reader, line, &again) == 1);
	REQUIRE(again.code == reply->code);
	REQUIRE(memcmp(again.enhanced, reply->enhanced, 3) == 0);
	REQUIRE(again.text.len <= reply->text.len);
	REQUIRE(again.text.len == reply->text.len || reply->text.len > REPLY_LINE_LIMIT - 20);
	buf_release(&out);
}

static void check_printed_line(const struct reply *reply, bool last)
{
	struct buf out = { 0 };
	struct reply_reader reader = { 0 };
	struct reply again;
	struct text line;

	reply_print_line(&out, reply->code, last, reply->text);
	line = buf_text(&out);
	REQUIRE(line.len >= 6 && line.len <= REPLY_LINE_LIMIT);
	REQUIRE(memcmp(line.ptr + line.len - 2, "\r\n", 2) == 0);
	line.len -= 2;
	REQUIRE(text_find(line, '\r') < 0 && text_find(line, '\n') < 0);
	REQUIRE(reply_read_line(&reader, line, &again) == last && again.code == reply->code);
	buf_release(&out);
}

int LLVMFuzzerTestOneInput(const uint8_t *octets, size_t size)
{
	struct text rest = fuzz_text(octets, size);
	struct reply_reader reader = { 0 };
	unsigned lines = 0;
	unsigned code = 0;
	struct text line;

	while (text_split(&rest, '\n', &line)) {
		struct reply reply;
		const int result = reply_read_line(&reader, line, &reply);

		if (result < 0)
			break;
		REQUIRE(reply.code >= 200 && reply.code <= 599);
		REQUIRE(reply.text.len <= line.len);
		REQUIRE(lines == 0 || reply.code == code);
		REQUIRE(reply.enhanced[0] == 0 || reply.enhanced[0] == reply.code / 100);
		code = reply.code;
		lines = result == 1 ? 0 : lines + 1;
		REQUIRE(lines <= REPLY_LINES_LIMIT && reader.lines == lines);
		check_printed(&reply);
		check_printed_line(&reply, result == 1);
	}
	return 0;
}

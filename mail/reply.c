#include "mail/reply.h"

#include <string.h>

/* In place: what could end a line or drive a terminal. */
static void make_printable(char *at, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		if (((unsigned char)at[i] < ' ' && at[i] != '\t') || at[i] == 0x7f)
			at[i] = '?';
	}
}

/* At most limit octets, not cut inside a UTF-8 character. */
static struct text text_fitting(struct text text, size_t limit)
{
	if (text.len <= limit)
		return text;
	while (limit > 0 && ((unsigned char)text.ptr[limit] & 0xc0U) == 0x80)
		limit--;
	return text_head(text, limit);
}

static size_t add_number(char *to, unsigned number)
{
	size_t n = 0;

	if (number >= 100)
		to[n++] = (char)('0' + number / 100 % 10);
	if (number >= 10)
		to[n++] = (char)('0' + number / 10 % 10);
	to[n++] = (char)('0' + number % 10);
	return n;
}

static void print_line(struct buf *out, const char *start, size_t n, struct text text)
{
	char *to = buf_room(out, REPLY_LINE_LIMIT);

	memcpy(to, start, n);
	text = text_fitting(text, REPLY_LINE_LIMIT - 2 - n);
	if (text.len > 0) {
		memcpy(to + n, text.ptr, text.len);
		make_printable(to + n, text.len);
	}
	n += text.len;
	memcpy(to + n, "\r\n", 2);
	buf_commit(out, n + 2);
}

void reply_print(struct buf *out, const struct reply *reply)
{
	char start[32];
	size_t n = add_number(start, reply->code);

	start[n++] = ' ';
	if (reply->enhanced[0] != 0) {
		for (size_t i = 0; i < 3; i++) {
			n += add_number(start + n, reply->enhanced[i]);
			start[n++] = i < 2 ? '.' : ' ';
		}
	}
	print_line(out, start, n, reply->text);
}

void reply_print_line(struct buf *out, unsigned code, bool last, struct text text)
{
	char start[8];
	size_t n = add_number(start, code);

	start[n++] = last ? ' ' : '-';
	print_line(out, start, n, text);
}

static bool is_digit(char c)
{
	return c >= '0' && c <= '9';
}

/* A number of an enhanced code: no leading zeros, up to 255. */
static bool take_number(struct text *rest, unsigned char *number)
{
	size_t n = 0;
	uint64_t value;

	while (n < rest->len && is_digit(rest->ptr[n]))
		n++;
	if ((n > 1 && rest->ptr[0] == '0') || text_to_number(text_head(*rest, n), 255, &value) != 0)
		return false;
	*number = (unsigned char)value;
	*rest = text_from(*rest, n);
	return true;
}

/*
 * "2.1.5 " off the start of *text. A class that is not the code's own (RFC 2034 section 4), as the
 * class of any 354 would be, makes it plain text.
 */
static void take_enhanced(struct text *text, unsigned class, unsigned char enhanced[3])
{
	struct text rest = *text;
	unsigned char found[3] = { 0 };

	for (size_t i = 0; i < 3; i++) {
		if (i > 0) {
			if (!text_begins(rest, TEXT(".")))
				return;
			rest = text_from(rest, 1);
		}
		if (!take_number(&rest, &found[i]))
			return;
	}
	if (found[0] != class || class == 3 || (rest.len > 0 && rest.ptr[0] != ' '))
		return;
	memcpy(enhanced, found, 3);
	*text = text_from(rest, 1);
}

int reply_read_line(struct reply_reader *reader, struct text line, struct reply *reply)
{
	unsigned code;
	bool more;

	if (line.len < 3 || line.ptr[0] < '2' || line.ptr[0] > '5' || !is_digit(line.ptr[1]) ||
		!is_digit(line.ptr[2]))
		return -1;
	if (line.len > 3 && line.ptr[3] != ' ' && line.ptr[3] != '-')
		return -1;
	code = (unsigned)(line.ptr[0] - '0') * 100 + (unsigned)(line.ptr[1] - '0') * 10 +
	       (unsigned)(line.ptr[2] - '0');
	if (reader->lines > 0 && reader->code != code)
		return -1;
	if (reader->lines == REPLY_LINES_LIMIT)
		return -1;
	more = line.len > 3 && line.ptr[3] == '-';
	reader->code = more ? code : 0;
	reader->lines = more ? reader->lines + 1 : 0;
	*reply = (struct reply){ .code = code, .text = text_from(line, 4) };
	take_enhanced(&reply->text, code / 100, reply->enhanced);
	return more ? 0 : 1;
}

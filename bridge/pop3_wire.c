#include "bridge/pop3_wire.h"

#include <string.h>

int pop3_status(struct text line, struct text *text)
{
	static const struct {
		struct text word;
		int status;
	} known[] = { { TEXT("+OK"), 1 }, { TEXT("-ERR"), 0 }, { TEXT("+"), 2 } };

	for (size_t i = 0; i < sizeof(known) / sizeof(known[0]); i++) {
		const struct text word = known[i].word;
		if (!text_begins_nocase(line, word) ||
			(line.len > word.len && line.ptr[word.len] != ' '))
			continue;
		*text = text_trim(text_from(line, word.len));
		return known[i].status;
	}
	return -1;
}

int pop3_numbered(struct text line, uint32_t *number, struct text *rest)
{
	const ptrdiff_t blank = text_find(line, ' ');
	uint64_t value;

	if (blank <= 0 || text_to_number(text_head(line, (size_t)blank), UINT32_MAX, &value) != 0 ||
		value == 0)
		return -1;
	*number = (uint32_t)value;
	*rest = text_trim(text_from(line, (size_t)blank));
	return 0;
}

bool pop3_is_uidl(struct text uidl)
{
	if (uidl.len == 0 || uidl.len > POP3_UIDL_LIMIT)
		return false;
	for (size_t i = 0; i < uidl.len; i++) {
		if (uidl.ptr[i] < 0x21 || uidl.ptr[i] > 0x7e)
			return false;
	}
	return true;
}

enum { LINE_START, INSIDE, AFTER_CR, AFTER_DOT, AFTER_DOT_CR };

/* Octets up to and with the next CR. */
static size_t up_to_cr(struct text in)
{
	const ptrdiff_t cr = text_find(in, '\r');

	return cr < 0 ? in.len : (size_t)cr + 1;
}

bool pop3_body_take(struct pop3_body *body, struct text in, size_t *used, struct buf *out)
{
	size_t at = 0;

	while (at < in.len) {
		const char c = in.ptr[at];
		switch (body->state) {
		case LINE_START:
			if (c == '.') {
				body->state = AFTER_DOT;
				at++;
				continue;
			}
			break;
		case AFTER_CR:
			if (c == '\n') {
				body->state = LINE_START;
				buf_add_char(out, c);
				at++;
				continue;
			}
			break;
		case AFTER_DOT:
			if (c == '\r') {
				body->state = AFTER_DOT_CR;
				at++;
				continue;
			}
			break;
		case AFTER_DOT_CR:
			if (c == '\n') {
				body->state = LINE_START;
				*used = at + 1;
				return true;
			}
			/* The dot was one put before the line, and the CR stands there alone. */
			buf_add_char(out, '\r');
			body->state = AFTER_CR;
			continue;
		}
		const struct text rest = text_from(in, at);
		const size_t length = up_to_cr(rest);
		buf_add(out, text_head(rest, length));
		body->state = rest.ptr[length - 1] == '\r' ? AFTER_CR : INSIDE;
		at += length;
	}
	*used = at;
	return false;
}

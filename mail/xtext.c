#include "mail/xtext.h"

/* Upper case only, as the grammar has it. */
static int hex_digit(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	return c >= 'A' && c <= 'F' ? c - 'A' + 10 : -1;
}

static bool is_xchar(char c)
{
	return c >= '!' && c <= '~' && c != '+' && c != '=';
}

bool xtext_decode(struct text in, struct buf *out)
{
	char *to = buf_room(out, in.len);
	size_t n = 0;

	for (size_t i = 0; i < in.len; i++) {
		if (is_xchar(in.ptr[i])) {
			to[n++] = in.ptr[i];
			continue;
		}
		if (in.ptr[i] != '+' || in.len - i < 3)
			return false;
		const int high = hex_digit(in.ptr[i + 1]);
		const int low = hex_digit(in.ptr[i + 2]);
		if (high < 0 || low < 0)
			return false;
		to[n++] = (char)(high << 4 | low);
		i += 2;
	}
	buf_commit(out, n);
	return true;
}

void xtext_encode(struct buf *out, struct text in)
{
	static const char digits[] = "0123456789ABCDEF";
	char *to = buf_room(out, 3 * in.len);
	size_t n = 0;

	for (size_t i = 0; i < in.len; i++) {
		const unsigned char c = (unsigned char)in.ptr[i];

		if (is_xchar(in.ptr[i])) {
			to[n++] = in.ptr[i];
			continue;
		}
		to[n++] = '+';
		to[n++] = digits[c >> 4];
		to[n++] = digits[c & 15U];
	}
	buf_commit(out, n);
}

#include "mail/base64.h"

#include <string.h>

static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

void base64_encode(struct text octets, struct buf *out)
{
	const unsigned char *at = (const unsigned char *)octets.ptr;

	for (size_t left = octets.len; left > 0;) {
		const size_t take = left < 3 ? left : 3;
		const uint32_t group = (uint32_t)at[0] << 16 |
				       (take > 1 ? (uint32_t)at[1] << 8 : 0) |
				       (take > 2 ? (uint32_t)at[2] : 0);

		buf_add_char(out, digits[group >> 18 & 63]);
		buf_add_char(out, digits[group >> 12 & 63]);
		buf_add_char(out, take > 1 ? digits[group >> 6 & 63] : '=');
		buf_add_char(out, take > 2 ? digits[group & 63] : '=');
		at += take;
		left -= take;
	}
}

static int value_of(char c)
{
	const char *found = c != '\0' ? strchr(digits, c) : NULL;

	return found ? (int)(found - digits) : -1;
}

/* One group of four; its octets, or -1. Bits that padding leaves over have to be zero. */
static int decode_group(const char *group, bool is_last, char octets[3])
{
	const int padding = is_last ? (group[3] == '=') + (group[3] == '=' && group[2] == '=') : 0;
	uint32_t bits = 0;

	for (int i = 0; i < 4; i++) {
		const int value = i < 4 - padding ? value_of(group[i]) : 0;
		if (value < 0)
			return -1;
		bits = bits << 6 | (uint32_t)value;
	}
	if (padding > 0 && (bits & ((1U << 8 * padding) - 1)) != 0)
		return -1;
	octets[0] = (char)(bits >> 16);
	octets[1] = (char)(bits >> 8);
	octets[2] = (char)bits;
	return 3 - padding;
}

int base64_decode(struct text coded, struct buf *out)
{
	char octets[3];

	if (coded.len % 4 != 0)
		return -1;
	for (size_t at = 0; at < coded.len; at += 4) {
		const int count = decode_group(coded.ptr + at, at + 4 == coded.len, octets);
		if (count < 0)
			return -1;
		buf_add(out, (struct text){ .ptr = octets, .len = (size_t)count });
	}
	return 0;
}

#include "mail/utf8.h"

/* Smallest code point that needs so many octets; less is overlong. */
static const uint32_t smallest[] = { [2] = 0x80, [3] = 0x800, [4] = 0x10000 };

size_t utf8_length(struct text in)
{
	const unsigned char first = (unsigned char)in.ptr[0];
	const size_t n = first >= 0xf0 ? 4 : first >= 0xe0 ? 3 : 2;
	uint32_t point = first & (0x7fU >> n);

	if (first < 0xc0 || first >= 0xf8 || in.len < n)
		return 0;
	for (size_t i = 1; i < n; i++) {
		const unsigned char next = (unsigned char)in.ptr[i];

		if ((next & 0xc0U) != 0x80)
			return 0;
		point = point << 6 | (next & 0x3fU);
	}
	if (point < smallest[n] || point > 0x10ffff || (point >= 0xd800 && point <= 0xdfff))
		return 0;
	/* C1 controls, U+2028 and U+2029 end lines for some readers. */
	return point < 0xa0 || point == 0x2028 || point == 0x2029 ? 0 : n;
}

#include "base/message.h"

#include <endian.h>
#include <string.h>

#include "base/log.h"

static void add(struct buf *out, const void *octets, size_t size)
{
	buf_add(out, (struct text){ .ptr = octets, .len = size });
}

void message_add_u8(struct buf *out, uint8_t value)
{
	add(out, &value, sizeof(value));
}

void message_add_u32(struct buf *out, uint32_t value)
{
	value = htole32(value);
	add(out, &value, sizeof(value));
}

void message_add_u64(struct buf *out, uint64_t value)
{
	value = htole64(value);
	add(out, &value, sizeof(value));
}

void message_add_i64(struct buf *out, int64_t value)
{
	message_add_u64(out, (uint64_t)value);
}

void message_add_text(struct buf *out, struct text value)
{
	if (value.len > UINT32_MAX)
		LOG_FATAL("message-too-long", LOG_NUMBER("octets", value.len));
	message_add_u32(out, (uint32_t)value.len);
	buf_add(out, value);
}

/* The next size octets into value; what is missing is zero. */
static void get(struct message_reader *in, void *value, size_t size)
{
	if (in->bad || in->left < size) {
		in->bad = 1;
		memset(value, 0, size);
		return;
	}
	memcpy(value, in->at, size);
	in->at += size;
	in->left -= size;
}

static uint64_t within(struct message_reader *in, uint64_t value, size_t limit)
{
	if (limit == 0 || value <= limit)
		return value;
	in->bad = 1;
	return 0;
}

uint8_t message_get_u8(struct message_reader *in, size_t limit)
{
	uint8_t value;

	get(in, &value, sizeof(value));
	return (uint8_t)within(in, value, limit);
}

uint32_t message_get_u32(struct message_reader *in, size_t limit)
{
	uint32_t value;

	get(in, &value, sizeof(value));
	return (uint32_t)within(in, le32toh(value), limit);
}

uint64_t message_get_u64(struct message_reader *in, size_t limit)
{
	uint64_t value;

	get(in, &value, sizeof(value));
	return within(in, le64toh(value), limit);
}

int64_t message_get_i64(struct message_reader *in, size_t limit)
{
	(void)limit; /* a signed number has none */
	return (int64_t)message_get_u64(in, 0);
}

static struct text get_octets(struct message_reader *in, uint32_t length, size_t limit)
{
	if (in->bad || length > limit || length > in->left) {
		in->bad = 1;
		return TEXT("");
	}
	struct text value = { .ptr = length ? in->at : "", .len = length };
	in->left -= length;
	if (length)
		in->at += length;
	return value;
}

struct text message_get_text(struct message_reader *in, size_t limit)
{
	return get_octets(in, message_get_u32(in, 0), limit);
}

/* ---- the short form ---- */

enum { LONGEST_SHORT = 10, MORE = 0x80 };

void message_add_short_u8(struct buf *out, uint8_t value)
{
	message_add_u8(out, value);
}

void message_add_short_u32(struct buf *out, uint32_t value)
{
	message_add_short_u64(out, value);
}

void message_add_short_u64(struct buf *out, uint64_t value)
{
	unsigned char octets[LONGEST_SHORT];
	size_t size = 0;

	for (; value >= MORE; value >>= 7)
		octets[size++] = (unsigned char)(value | MORE);
	octets[size++] = (unsigned char)value;
	add(out, octets, size);
}

void message_add_short_i64(struct buf *out, int64_t value)
{
	const uint64_t octets = (uint64_t)value << 1;

	message_add_short_u64(out, value < 0 ? ~octets : octets);
}

void message_add_short_text(struct buf *out, struct text value)
{
	if (value.len > UINT32_MAX)
		LOG_FATAL("message-too-long", LOG_NUMBER("octets", value.len));
	message_add_short_u32(out, (uint32_t)value.len);
	buf_add(out, value);
}

/* 0 when there is none, one that could be shorter, or more than max. */
static uint64_t get_short(struct message_reader *in, uint64_t max)
{
	const size_t most = in->left < LONGEST_SHORT ? in->left : LONGEST_SHORT;
	uint64_t value = 0;

	for (size_t i = 0; i < most && !in->bad; i++) {
		const unsigned char octet = (unsigned char)in->at[i];
		const unsigned shift = 7 * (unsigned)i;
		if ((uint64_t)(octet & ~MORE) > max >> shift)
			break;
		value |= (uint64_t)(octet & ~MORE) << shift;
		if (octet & MORE)
			continue;
		if ((octet == 0 && i > 0) || value > max)
			break;
		in->at += i + 1;
		in->left -= i + 1;
		return value;
	}
	in->bad = 1;
	return 0;
}

uint8_t message_get_short_u8(struct message_reader *in, size_t limit)
{
	return message_get_u8(in, limit);
}

uint32_t message_get_short_u32(struct message_reader *in, size_t limit)
{
	return (uint32_t)get_short(in, limit ? limit : UINT32_MAX);
}

uint64_t message_get_short_u64(struct message_reader *in, size_t limit)
{
	return get_short(in, limit ? limit : UINT64_MAX);
}

int64_t message_get_short_i64(struct message_reader *in, size_t limit)
{
	(void)limit; /* a signed number has none */
	const uint64_t octets = get_short(in, UINT64_MAX);
	const int64_t half = (int64_t)(octets >> 1);

	return octets & 1 ? ~half : half;
}

struct text message_get_short_text(struct message_reader *in, size_t limit)
{
	return get_octets(in, message_get_short_u32(in, 0), limit);
}

#include "store/checksum.h"

#include <string.h>

/* One row of Castagnoli's polynomial, reflected: what four bits at the end turn into. */
static const uint32_t nibbles[16] = {
	0x00000000,
	0x105ec76f,
	0x20bd8ede,
	0x30e349b1,
	0x417b1dbc,
	0x5125dad3,
	0x61c69362,
	0x7198540d,
	0x82f63b78,
	0x92a8fc17,
	0xa24bb5a6,
	0xb21572c9,
	0xc38d26c4,
	0xd3d3e1ab,
	0xe330a81a,
	0xf36e6f75,
};

uint32_t checksum_by_table(uint32_t before, const void *octets, size_t size)
{
	const unsigned char *at = octets;
	uint32_t crc = ~before;

	for (size_t i = 0; i < size; i++) {
		crc ^= at[i];
		crc = (crc >> 4) ^ nibbles[crc & 15];
		crc = (crc >> 4) ^ nibbles[crc & 15];
	}
	return ~crc;
}

#ifdef __x86_64__
__attribute__((target("sse4.2"))) static uint32_t by_instruction(
	uint32_t before, const void *octets, size_t size)
{
	const unsigned char *at = octets;
	uint64_t crc = (uint32_t)~before;

	for (; size >= sizeof(uint64_t); size -= sizeof(uint64_t), at += sizeof(uint64_t)) {
		uint64_t eight;
		memcpy(&eight, at, sizeof(eight));
		crc = __builtin_ia32_crc32di(crc, eight);
	}
	for (; size; size--)
		crc = __builtin_ia32_crc32qi((uint32_t)crc, *at++);
	return ~(uint32_t)crc;
}
#endif

uint32_t checksum(uint32_t before, const void *octets, size_t size)
{
#ifdef __x86_64__
	if (__builtin_cpu_supports("sse4.2"))
		return by_instruction(before, octets, size);
#endif
	return checksum_by_table(before, octets, size);
}

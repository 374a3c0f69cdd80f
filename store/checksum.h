/*
 * CRC-32C (Castagnoli), as the journal's records carry it.
 */
#ifndef STORE_CHECKSUM_H
#define STORE_CHECKSUM_H

#include <stddef.h>
#include <stdint.h>

/* Of these octets; `before` is the checksum of what stands in front of them, 0 for nothing. */
uint32_t checksum(uint32_t before, const void *octets, size_t size);

/* The same without the processor's instruction for it: what other machines use. */
uint32_t checksum_by_table(uint32_t before, const void *octets, size_t size);

#endif

/* CRC-32C (RFC 3720 §12.1) by ISA-L: SSE4.2, PCLMULQDQ or AVX-512, whatever the CPU has. */
#include "frame.h"

#ifdef NX_WITH_ISAL
#include <isa-l/crc.h>

uint32_t nx_crc_add(const uint8_t *bytes, uint32_t length, uint32_t seed)
{
	/* ISA-L takes the bare register and a pointer that it only reads through. */
	return ~crc32_iscsi((unsigned char *)(uintptr_t)bytes, (int)length, ~seed);
}

#else

/* Right but slow: nx_features says so, and callers prefer the portable tables. */
uint32_t nx_crc_add(const uint8_t *bytes, uint32_t length, uint32_t seed)
{
	uint32_t crc = ~seed;
	for (uint32_t i = 0; i < length; i++) {
		crc ^= bytes[i];
		for (int bit = 0; bit < 8; bit++) crc = crc >> 1 ^ (crc & 1 ? 0x82f63b78u : 0);
	}
	return ~crc;
}

#endif

uint32_t nx_crc32c(const uint8_t *bytes, uint32_t from, uint32_t length, uint32_t seed)
{
	return nx_crc_add(bytes + from, length, seed);
}

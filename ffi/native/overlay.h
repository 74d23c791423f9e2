/* The overlay header in front of a frame in a datagram (docs/protocol.md §1). */
#ifndef NX_OVERLAY_H
#define NX_OVERLAY_H

#include <stdbool.h>
#include <stdint.h>
#include <string.h>

#include "gen/nx_link.h"

/* Why a datagram was refused: lib/l1_link/overlay.ts OverlayError. */
enum nx_overlay_error {
	NX_OVERLAY_OK,
	NX_OVERLAY_TOO_SHORT,
	NX_OVERLAY_BAD_VERSION,
	NX_OVERLAY_OTHER_VNI,
};

/* All of an overlay of ours as one word in memory order: what is written, and what is compared. */
static inline uint64_t nx_overlay_word(uint32_t vni)
{
	uint8_t bytes[NX_OVERLAY_BYTES] = {0};
	uint64_t word;
	bytes[NX_OVERLAY_VERSION_FLAGS_AT] = NX_OVERLAY_VERSION << 4;
	bytes[NX_OVERLAY_VNI_AT] = (uint8_t)(vni >> 16);
	bytes[NX_OVERLAY_VNI_AT + 1] = (uint8_t)(vni >> 8);
	bytes[NX_OVERLAY_VNI_AT + 2] = (uint8_t)vni;
	memcpy(&word, bytes, sizeof word);
	return word;
}

/* Writes the eight bytes at `into`. */
static inline void nx_overlay_write(uint8_t *into, uint64_t word)
{
	memcpy(into, &word, sizeof word);
}

/* Whether the overlay at `datagram` is the very one that we would write. */
static inline bool nx_overlay_is(const uint8_t *datagram, uint64_t word)
{
	return memcmp(datagram, &word, sizeof word) == 0;
}

/* Checks the overlay of a datagram of `length` bytes against the socket's VNI. */
static inline enum nx_overlay_error nx_overlay_check(const uint8_t *datagram, uint32_t length,
						     uint32_t vni)
{
	if (length < NX_OVERLAY_BYTES + NX_FRAME_BYTES_MIN) return NX_OVERLAY_TOO_SHORT;
	if (datagram[NX_OVERLAY_VERSION_FLAGS_AT] >> 4 != NX_OVERLAY_VERSION)
		return NX_OVERLAY_BAD_VERSION;
	const uint8_t *at = datagram + NX_OVERLAY_VNI_AT;
	uint32_t named = (uint32_t)at[0] << 16 | (uint32_t)at[1] << 8 | at[2];
	return named == vni ? NX_OVERLAY_OK : NX_OVERLAY_OTHER_VNI;
}

#endif

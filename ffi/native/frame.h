/* A frame as the byte helpers see it: its canonical view and where payload and tag lie. */
#ifndef NX_FRAME_H
#define NX_FRAME_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "gen/nx_link.h"
#include "nx_io.h"

#define NX_TAG_BYTES 16u
#define NX_NONCE_BYTES 12u

struct nx_frame {
	/* VNI (for AEAD only), then header and options as the canonical view reads them. */
	uint8_t associated[4 + NX_HEADER_BYTES + NX_OPTIONS_BYTES_MAX];
	uint32_t payload_at; /* = length of header and options */
	uint32_t payload_length;
	uint32_t tag_option_at; /* 0: none; else where the ENCRYPTION_TAG option begins */
};

/*
 * Reads the frame of `length` bytes. False when length, frame_length or options_length do not fit
 * each other; the options themselves are the decoder's business (lib/l1_link/decode.ts).
 */
bool nx_frame_read(const uint8_t *bytes, uint32_t length, struct nx_frame *frame);

/* CRC-32C over the canonical view of a frame that was read from `bytes`. */
uint32_t nx_frame_crc(const struct nx_frame *frame, const uint8_t *bytes);

/* CRC-32C of bytes after those whose CRC is `seed`. */
uint32_t nx_crc_add(const uint8_t *bytes, uint32_t length, uint32_t seed);

/* Big-endian numbers. */
void nx_put_u32(uint8_t *at, uint32_t value);
uint32_t nx_get_u32(const uint8_t *at);

/* Frame i of the burst, or NULL when its descriptor leaves the memory. */
static inline uint8_t *nx_burst_frame(uint8_t *bytes, uint32_t bytes_length,
				      const struct nx_burst *burst, uint32_t i)
{
	if (burst->offset[i] > bytes_length || burst->length[i] > bytes_length - burst->offset[i])
		return NULL;
	return bytes + burst->offset[i];
}

static inline bool nx_range_valid(uint32_t first, uint32_t count)
{
	return first <= NX_BURST_FRAMES_MAX && count <= NX_BURST_FRAMES_MAX - first;
}

#endif

/*
 * Fuzz target: the burst helpers on frames of any content and descriptors of any value. The memory
 * is as long as the input. Checked: no access outside it, a written CRC checks, sealing and opening
 * give the frame back.
 */
#include <string.h>

#include "../aead.h"
#include "check.h"

static int32_t key = -1;

static void check_frame(uint8_t *bytes, uint32_t length)
{
	struct nx_burst burst = {.length = {length}};
	uint32_t number[2] = {1, 2};
	if (nx_frames_crc(bytes, length, &burst, 0, 1, NX_CRC_WRITE) == 1)
		CHECK(nx_frames_crc(bytes, length, &burst, 0, 1, NX_CRC_CHECK) == 1);
	if (key < 0) return;
	uint8_t *clear = malloc(length + 1);
	memcpy(clear, bytes, length);
	if (nx_seal(key, bytes, length, &burst, 0, 1, number) == 1) {
		CHECK(nx_frames_crc(bytes, length, &burst, 0, 1, NX_CRC_CHECK) == 1);
		CHECK(nx_open_sealed(key, bytes, length, &burst, 0, 1, number) == 1);
		struct nx_frame frame;
		CHECK(nx_frame_read(bytes, length, &frame));
		CHECK(memcmp(bytes + frame.payload_at, clear + frame.payload_at,
			     frame.payload_length) == 0);
	} else CHECK(memcmp(bytes, clear, length) == 0);
	memcpy(clear, bytes, length);
	if (nx_open_sealed(key, bytes, length, &burst, 0, 1, number) == 0)
		CHECK(memcmp(bytes, clear, length) == 0);
	free(clear);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t length);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t length)
{
	static const uint8_t secret[44] = {1};
	if (key < 0) key = nx_key_open(NX_SUITE_AES_256_GCM, NX_BACKEND_BEST, secret, secret, 3);
	if (length < 1 || length > NX_FRAME_BYTES_MAX) return 0;
	uint8_t fix = data[0];
	uint8_t *bytes = malloc(length);
	memcpy(bytes, data, length);
	/* Mostly with the right frame_length, or nothing gets past the first check. */
	if ((fix & 7) != 0 && length >= NX_FRAME_BYTES_MIN) {
		nx_put_u32(bytes + NX_FRAME_LENGTH_AT, (uint32_t)length);
		bytes[NX_OPTIONS_LENGTH_AT] = 0;
	}
	check_frame(bytes, (uint32_t)length);
	struct nx_burst burst;
	memset(&burst, fix, sizeof burst);
	for (size_t i = 0; i < NX_BURST_FRAMES_MAX; i++) {
		burst.offset[i] = data[i % length] * (data[(i + 1) % length] + 1u);
		burst.length[i] = data[(i + 2) % length] * 3u;
	}
	nx_frames_crc(bytes, (uint32_t)length, &burst, fix, data[length - 1], fix & 1);
	free(bytes);
	return 0;
}

/* Sealing and opening bursts of data frames (docs/protocol.md §5) in one pass each. */
#include <errno.h>
#include <string.h>

#include "aead.h"

/* A frame whose last option is ENCRYPTION_TAG, as the AEAD sees it; false when it is none. */
static bool read_sealed(const struct nx_key *key, uint8_t *at, uint32_t length,
			struct nx_frame *frame, struct nx_aead_message *message)
{
	if (at == NULL || !nx_frame_read(at, length, frame)) return false;
	uint32_t tag_at = frame->tag_option_at + NX_OPTION_HEADER_BYTES;
	if (frame->tag_option_at == 0 || tag_at + NX_TAG_BYTES != frame->payload_at ||
	    at[tag_at - 1] != NX_TAG_BYTES)
		return false;
	nx_put_u32(frame->associated, key->vni);
	message->aad = frame->associated;
	message->aad_length = 4 + frame->tag_option_at;
	message->from = message->text = at + frame->payload_at;
	message->length = frame->payload_length;
	message->tag = at + tag_at;
	return true;
}

/* Seals one frame and writes its CRC; false when it is none that can be sealed. */
static bool seal_frame(struct nx_key *key, uint8_t *at, uint32_t length, uint32_t number_high,
		       uint32_t number_low)
{
	struct nx_frame frame;
	uint8_t nonce[NX_NONCE_BYTES];
	struct nx_aead_message message = {.nonce = nonce};
	nx_key_nonce(key, number_high, number_low, nonce);
	if (!read_sealed(key, at, length, &frame, &message) || !nx_key_seal(key, &message))
		return false;
	/* The CRC covers the tag, which the view was copied without. */
	memcpy(frame.associated + 4 + frame.payload_at - NX_TAG_BYTES, message.tag, NX_TAG_BYTES);
	nx_put_u32(at + length - NX_CRC_BYTES, nx_frame_crc(&frame, at));
	return true;
}

int32_t nx_seal_frame(int32_t handle, uint8_t *bytes, uint32_t bytes_length, uint32_t at,
		      uint32_t length, uint32_t number_high, uint32_t number_low)
{
	struct nx_key *key = nx_key_find(handle);
	if (key == NULL) return -EBADF;
	if (at > bytes_length || length > bytes_length - at) return -EINVAL;
	return seal_frame(key, bytes + at, length, number_high, number_low) ? 1 : -EINVAL;
}

int32_t nx_seal(int32_t handle, uint8_t *bytes, uint32_t bytes_length, struct nx_burst *burst,
		uint32_t first, uint32_t count, const uint32_t *packet_numbers)
{
	struct nx_key *key = nx_key_find(handle);
	if (key == NULL || !nx_range_valid(first, count)) return -1;
	int32_t sealed = 0;
	for (uint32_t i = first; i < first + count; i++, packet_numbers += 2) {
		uint8_t *at = nx_burst_frame(bytes, bytes_length, burst, i);
		burst->flags[i] &= ~NX_DESC_MALFORMED;
		if (seal_frame(key, at, burst->length[i], packet_numbers[0], packet_numbers[1]))
			sealed++;
		else burst->flags[i] |= NX_DESC_MALFORMED;
	}
	return sealed;
}

int32_t nx_open_sealed(int32_t handle, uint8_t *bytes, uint32_t bytes_length,
		       struct nx_burst *burst, uint32_t first, uint32_t count,
		       const uint32_t *packet_numbers)
{
	struct nx_key *key = nx_key_find(handle);
	if (key == NULL || !nx_range_valid(first, count)) return -1;
	int32_t opened = 0;
	struct nx_frame frame;
	uint8_t nonce[NX_NONCE_BYTES];
	struct nx_aead_message message = {.nonce = nonce};
	for (uint32_t i = first; i < first + count; i++, packet_numbers += 2) {
		uint8_t *at = nx_burst_frame(bytes, bytes_length, burst, i);
		burst->flags[i] &= ~(NX_DESC_OPEN_BAD | NX_DESC_MALFORMED);
		nx_key_nonce(key, packet_numbers[0], packet_numbers[1], nonce);
		if (!read_sealed(key, at, burst->length[i], &frame, &message))
			burst->flags[i] |= NX_DESC_MALFORMED | NX_DESC_OPEN_BAD;
		else if (!nx_key_open_text(key, &message)) burst->flags[i] |= NX_DESC_OPEN_BAD;
		else opened++;
	}
	return opened;
}

/* The canonical view (docs/protocol.md §2): lib/l1_link/canonical.ts in C. */
#include "frame.h"

#include <string.h>

void nx_put_u32(uint8_t *at, uint32_t value)
{
	value = __builtin_bswap32(value);
	memcpy(at, &value, sizeof value);
}

uint32_t nx_get_u32(const uint8_t *at)
{
	uint32_t value;
	memcpy(&value, at, sizeof value);
	return __builtin_bswap32(value);
}

/*
 * Masks what forwarders may change. Tolerant, because a receiver takes the CRC before it trusts
 * the options: the walk ends at the first option that overruns them.
 */
static void mask_options(uint8_t *view, uint32_t end, struct nx_frame *frame)
{
	bool hop_count_seen = false;
	uint32_t at = NX_HEADER_BYTES;
	while (at + NX_OPTION_HEADER_BYTES <= end) {
		uint32_t type = view[at] & NX_OPTION_TYPE_MASK, value_length = view[at + 1];
		uint32_t next = at + NX_OPTION_HEADER_BYTES + value_length;
		if (next > end) return;
		if (type == NX_OPTION_TYPE_HOP_COUNT) {
			if (!hop_count_seen && value_length == 1) {
				hop_count_seen = true;
				view[next - 1] = 0;
			}
		} else if (type == NX_OPTION_TYPE_SEMANTIC_ADDR) {
			memset(view + NX_DEST_NODE_ID_AT, 0,
			       NX_PRIORITY_QOS_AT - NX_DEST_NODE_ID_AT);
		} else if (type == NX_OPTION_TYPE_ENCRYPTION_TAG && frame->tag_option_at == 0) {
			frame->tag_option_at = at;
		}
		at = next;
	}
}

bool nx_frame_read(const uint8_t *bytes, uint32_t length, struct nx_frame *frame)
{
	if (length < NX_FRAME_BYTES_MIN || length > NX_FRAME_BYTES_MAX ||
	    nx_get_u32(bytes + NX_FRAME_LENGTH_AT) != length)
		return false;
	uint32_t options = (uint32_t)bytes[NX_OPTIONS_LENGTH_AT] << 8 |
			   bytes[NX_OPTIONS_LENGTH_AT + 1];
	if (options > NX_OPTIONS_BYTES_MAX || options > length - NX_FRAME_BYTES_MIN) return false;
	frame->payload_at = NX_HEADER_BYTES + options;
	frame->payload_length = length - frame->payload_at - NX_CRC_BYTES;
	frame->tag_option_at = 0;
	uint8_t *view = frame->associated + 4;
	memcpy(view, bytes, frame->payload_at);
	view[NX_HOP_LIMIT_AT] = 0;
	if (options > 0) mask_options(view, frame->payload_at, frame);
	return true;
}

uint32_t nx_frame_crc(const struct nx_frame *frame, const uint8_t *bytes)
{
	uint32_t crc = nx_crc_add(frame->associated + 4, frame->payload_at, 0);
	return nx_crc_add(bytes + frame->payload_at, frame->payload_length, crc);
}

int32_t nx_frames_crc(uint8_t *bytes, uint32_t bytes_length, struct nx_burst *burst,
		      uint32_t first, uint32_t count, uint32_t mode)
{
	if (!nx_range_valid(first, count)) return -1;
	int32_t right = 0;
	struct nx_frame frame;
	for (uint32_t i = first; i < first + count; i++) {
		uint8_t *at = nx_burst_frame(bytes, bytes_length, burst, i);
		burst->flags[i] &= ~(NX_DESC_CRC_BAD | NX_DESC_MALFORMED);
		if (at == NULL || !nx_frame_read(at, burst->length[i], &frame)) {
			burst->flags[i] |= NX_DESC_MALFORMED;
			continue;
		}
		uint8_t *crc_at = at + burst->length[i] - NX_CRC_BYTES;
		uint32_t crc = nx_frame_crc(&frame, at);
		if (mode == NX_CRC_WRITE) nx_put_u32(crc_at, crc);
		else if (nx_get_u32(crc_at) != crc) {
			burst->flags[i] |= NX_DESC_CRC_BAD;
			continue;
		}
		right++;
	}
	return right;
}

/*
 * Runs of packets (docs/protocol.md §5) in one pass each: header from a template, AEAD and CRC while
 * the bytes are in the cache. lib/l4_trust/records has the same, frame by frame.
 */
#include <errno.h>
#include <string.h>

#include "aead.h"
#include "overlay.h"

/* A run's frames have one option, the tag, then the payload. */
#define OPTIONS_BYTES (NX_OPTION_HEADER_BYTES + NX_TAG_BYTES)
#define PAYLOAD_AT (NX_HEADER_BYTES + OPTIONS_BYTES)
#define OVERHEAD_BYTES (PAYLOAD_AT + NX_CRC_BYTES)
#define TAG_AT (NX_HEADER_BYTES + NX_OPTION_HEADER_BYTES)

/* DATA: type u8, stream u32, offset u64, length u16, bytes (§5.1). */
#define DATA_TYPE 0x50u
#define DATA_STREAM_AT 1u
#define DATA_OFFSET_AT 5u
#define DATA_LENGTH_AT 13u
#define DATA_HEAD_BYTES 15u
_Static_assert(DATA_HEAD_BYTES < NX_LANDING_HEADROOM, "the head is opened in front of the landing");

/* VNI and canonical header: the associated data. */
struct associated {
	uint8_t vni[4];
	uint8_t header[NX_HEADER_BYTES];
};

static void associate(const struct nx_key *key, const uint8_t *header, struct associated *into)
{
	nx_put_u32(into->vni, key->vni);
	memcpy(into->header, header, NX_HEADER_BYTES);
	into->header[NX_HOP_LIMIT_AT] = 0;
}

/* CRC of a frame: canonical header, then the rest as it is. */
static uint32_t frame_crc(const struct associated *associated, const uint8_t *frame,
			  uint32_t length)
{
	uint32_t crc = nx_crc_add(associated->header, NX_HEADER_BYTES, 0);
	return nx_crc_add(frame + NX_HEADER_BYTES, length - NX_HEADER_BYTES - NX_CRC_BYTES, crc);
}

/* ---- sealing ------------------------------------------------------------------------------ */

/* Data of a frame from which on it is sealed from where it lies. */
#define GATHERED_BYTES_MIN 8192u
#define GATHERED_MAX 16u

/* Source memory in pieces, read from front to back. */
struct source {
	const double *addresses;
	const uint32_t *lengths;
	uint32_t pieces, at; /* at: bytes of the first piece that are read */
};

/* The next piece of the source, at most `most` bytes of it. */
static struct nx_piece next_piece(struct source *source, uint32_t most)
{
	while (source->at == *source->lengths) { /* an empty piece may lie nowhere (NULL) */
		source->addresses++;
		source->lengths++;
		source->at = 0;
	}
	uint32_t left = *source->lengths - source->at;
	struct nx_piece piece = {
		.from = (const uint8_t *)(uintptr_t)*source->addresses + source->at,
		.length = left < most ? left : most,
	};
	source->at += piece.length;
	return piece;
}

static void copy_from(struct source *source, uint8_t *to, uint32_t bytes)
{
	while (bytes > 0) {
		struct nx_piece piece = next_piece(source, bytes);
		memcpy(to, piece.from, piece.length);
		to += piece.length;
		bytes -= piece.length;
	}
}

/*
 * What a message is sealed from: frame heads of `head_bytes` at its text, then `bytes` of the source.
 * Long data is read where it lies; beginning anew with each piece costs more than to copy a little.
 * As soon as there are too many pieces the rest is copied.
 */
static void gather(struct source *source, struct nx_aead_message *message, uint32_t head_bytes,
		   uint32_t bytes, struct nx_piece pieces[GATHERED_MAX])
{
	uint8_t *text = message->text + head_bytes;
	if (bytes >= GATHERED_BYTES_MIN) {
		uint32_t count = 0;
		pieces[count++] = (struct nx_piece){message->text, head_bytes};
		for (; bytes > 0 && count + 1 < GATHERED_MAX; count++) {
			pieces[count] = next_piece(source, bytes);
			text += pieces[count].length;
			bytes -= pieces[count].length;
		}
		if (bytes > 0) pieces[count++] = (struct nx_piece){text, bytes};
		message->pieces = pieces;
		message->piece_count = count;
	}
	copy_from(source, text, bytes);
}

static bool seal_run_valid(const struct nx_key *key, uint32_t bytes_length,
			   const struct nx_seal_run *run, const uint32_t *lengths)
{
	uint64_t overhead = OVERHEAD_BYTES + DATA_HEAD_BYTES + NX_OVERLAY_BYTES;
	uint64_t end = run->at + run->count * overhead + run->data_total - NX_OVERLAY_BYTES;
	uint64_t from_pieces = 0;
	for (uint32_t i = 0; i < run->pieces; i++) from_pieces += lengths[i];
	return key->bound && run->count > 0 && run->data_each > 0 && end <= bytes_length &&
	       run->data_each <= NX_FRAME_BYTES_MAX - OVERHEAD_BYTES - DATA_HEAD_BYTES &&
	       from_pieces == run->data_total &&
	       run->data_total > (uint64_t)(run->count - 1) * run->data_each &&
	       run->data_total <= (uint64_t)run->count * run->data_each;
}

static uint64_t join(uint32_t high, uint32_t low)
{
	return (uint64_t)high << 32 | low;
}

static void put_u64(uint8_t *at, uint64_t value)
{
	nx_put_u32(at, (uint32_t)(value >> 32));
	nx_put_u32(at + 4, (uint32_t)value);
}

int32_t nx_seal_run(int32_t handle, uint8_t *bytes, uint32_t bytes_length,
		    const struct nx_seal_run *run, const double *addresses, const uint32_t *lengths)
{
	struct nx_key *key = nx_key_find(handle);
	if (key == NULL) return -EBADF;
	if (!seal_run_valid(key, bytes_length, run, lengths)) return -EINVAL;
	uint8_t header[NX_HEADER_BYTES];
	memcpy(header, key->header, NX_HEADER_BYTES);
	nx_put_u32(header + NX_TIMESTAMP_AT, run->time_high);
	nx_put_u32(header + NX_TIMESTAMP_AT + 4, run->time_low);
	struct source source = {addresses, lengths, run->pieces, 0};
	uint64_t number = join(run->number_high, run->number_low);
	uint64_t offset = join(run->offset_high, run->offset_low);
	uint32_t at = run->at, left = run->data_total;
	for (uint32_t i = 0; i < run->count; i++, number++) {
		uint32_t data = left < run->data_each ? left : run->data_each;
		uint32_t length = OVERHEAD_BYTES + DATA_HEAD_BYTES + data;
		uint8_t *frame = bytes + at, *payload = frame + PAYLOAD_AT;
		nx_put_u32(header + NX_FRAME_LENGTH_AT, length);
		nx_put_u32(header + NX_SEQUENCE_NUMBER_AT, (uint32_t)number);
		memcpy(frame, header, NX_HEADER_BYTES);
		frame[NX_HEADER_BYTES] = NX_OPTION_TYPE_ENCRYPTION_TAG;
		frame[NX_HEADER_BYTES + 1] = NX_TAG_BYTES;
		payload[0] = DATA_TYPE;
		nx_put_u32(payload + DATA_STREAM_AT, run->stream);
		put_u64(payload + DATA_OFFSET_AT, offset);
		payload[DATA_LENGTH_AT] = (uint8_t)(data >> 8);
		payload[DATA_LENGTH_AT + 1] = (uint8_t)data;
		struct associated associated;
		uint8_t nonce[NX_NONCE_BYTES];
		associate(key, header, &associated);
		nx_key_nonce(key, (uint32_t)(number >> 32), (uint32_t)number, nonce);
		struct nx_aead_message message = {
			.nonce = nonce,
			.aad = associated.vni,
			.aad_length = sizeof associated,
			.from = payload,
			.text = payload,
			.length = DATA_HEAD_BYTES + data,
			.tag = frame + TAG_AT,
		};
		struct nx_piece pieces[GATHERED_MAX];
		gather(&source, &message, DATA_HEAD_BYTES, data, pieces);
		if (!nx_key_seal(key, &message)) return -EIO;
		nx_put_u32(frame + length - NX_CRC_BYTES, frame_crc(&associated, frame, length));
		offset += data;
		left -= data;
		at += length + NX_OVERLAY_BYTES;
	}
	return (int32_t)(at - NX_OVERLAY_BYTES - run->at);
}

/* ---- opening ------------------------------------------------------------------------------ */

/* recoverPacketNumber: the number nearest to `expected` with these low 32 bits (RFC 9000 §A.3). */
static uint64_t recover_number(uint64_t expected, uint32_t low)
{
	const uint64_t window = 1ull << 32, half = window / 2;
	uint64_t candidate = (expected & ~(window - 1)) | low;
	if (candidate + half <= expected) return candidate + window;
	if (candidate > expected + half && candidate >= window) return candidate - window;
	return candidate;
}

static bool replay_is_new(const struct nx_replay *window, uint64_t number)
{
	uint64_t next = join(window->next_high, window->next_low);
	if (number >= next) return true;
	if (number + NX_REPLAY_WINDOW < next) return false;
	return (window->ring[number / 32 % NX_REPLAY_WORDS] & 1u << number % 32) == 0;
}

static void replay_mark(struct nx_replay *window, uint64_t number)
{
	uint64_t next = join(window->next_high, window->next_low), word = number / 32;
	if (number >= next) {
		/* Words after that of the largest number so far are stale. */
		uint64_t first = next == 0 ? 0 : (next - 1) / 32 + 1;
		if (word >= first + NX_REPLAY_WORDS) memset(window->ring, 0, sizeof window->ring);
		else for (; first <= word; first++) window->ring[first % NX_REPLAY_WORDS] = 0;
		window->next_high = (uint32_t)((number + 1) >> 32);
		window->next_low = (uint32_t)(number + 1);
	}
	window->ring[word % NX_REPLAY_WORDS] |= 1u << number % 32;
}

/* Whether the frame is one of this key's and of the only shape that is handled here. */
static bool has_shape(const struct nx_key *key, const uint8_t *frame, uint32_t length,
		      struct associated *associated)
{
	if (length <= OVERHEAD_BYTES || length > NX_FRAME_BYTES_MAX ||
	    nx_get_u32(frame + NX_FRAME_LENGTH_AT) != length)
		return false;
	uint8_t expected[NX_HEADER_BYTES];
	memcpy(expected, key->header, NX_HEADER_BYTES);
	memcpy(expected + NX_FRAME_LENGTH_AT, frame + NX_FRAME_LENGTH_AT, 4);
	memcpy(expected + NX_SEQUENCE_NUMBER_AT, frame + NX_SEQUENCE_NUMBER_AT, 4);
	memcpy(expected + NX_TIMESTAMP_AT, frame + NX_TIMESTAMP_AT, 8);
	expected[NX_HOP_LIMIT_AT] = frame[NX_HOP_LIMIT_AT]; /* forwarders count it down */
	if (memcmp(expected, frame, NX_HEADER_BYTES) != 0 ||
	    frame[NX_HEADER_BYTES] != NX_OPTION_TYPE_ENCRYPTION_TAG ||
	    frame[NX_HEADER_BYTES + 1] != NX_TAG_BYTES)
		return false;
	associate(key, frame, associated);
	return frame_crc(associated, frame, length) == nx_get_u32(frame + length - NX_CRC_BYTES);
}

/* The call in progress. */
struct opening {
	struct nx_key *key;
	const uint8_t *bytes;
	struct nx_open_run *run;
	uint8_t *landing;
	struct nx_result *results;
	struct nx_replay *window;
};

static struct nx_result *add_result(struct opening *o, uint32_t kind, uint32_t at, uint32_t length,
				    uint64_t number, uint32_t frame_bytes)
{
	struct nx_result *result = &o->results[o->run->results++];
	*result = (struct nx_result){
		.kind = kind,
		.number_high = (uint32_t)(number >> 32),
		.number_low = (uint32_t)number,
		.at = at,
		.length = length,
		.frame_bytes = frame_bytes,
	};
	return result;
}

/* A DATA frame that fills its packet: as a run of its own, or behind the one before. */
static void land_data(struct opening *o, const uint8_t *head, uint32_t data, uint64_t number,
		      uint32_t frame_bytes)
{
	struct nx_open_run *run = o->run;
	uint32_t stream = nx_get_u32(head + DATA_STREAM_AT);
	uint32_t high = nx_get_u32(head + DATA_OFFSET_AT), low = nx_get_u32(head + DATA_OFFSET_AT + 4);
	struct nx_result *last = run->results > 0 ? &o->results[run->results - 1] : NULL;
	bool joins = last != NULL && last->kind == NX_RESULT_DATA && last->stream == stream &&
		     join(last->number_high, last->number_low) + last->packets == number &&
		     join(last->offset_high, last->offset_low) + last->length == join(high, low);
	if (joins) {
		last->packets++;
		last->length += data;
		last->frame_bytes += frame_bytes;
	} else {
		struct nx_result *result = add_result(o, NX_RESULT_DATA, run->landed, data, number,
						      frame_bytes);
		result->packets = 1;
		result->stream = stream;
		result->offset_high = high;
		result->offset_low = low;
	}
	run->landed += data;
}

/*
 * Opens a frame into the landing. Its first bytes are opened in front of the landing place, so that
 * the data of successive DATA frames packs; what was there is put back.
 */
static void open_frame(struct opening *o, uint32_t at, uint32_t length,
		       const struct associated *associated)
{
	struct nx_open_run *run = o->run;
	const uint8_t *frame = o->bytes + at;
	uint32_t payload = length - OVERHEAD_BYTES;
	uint64_t expected = join(o->window->next_high, o->window->next_low);
	uint64_t number = recover_number(expected, nx_get_u32(frame + NX_SEQUENCE_NUMBER_AT));
	if (!replay_is_new(o->window, number)) {
		add_result(o, NX_RESULT_REPLAYED, at, length, number, length);
		return;
	}
	uint8_t nonce[NX_NONCE_BYTES], before[DATA_HEAD_BYTES], tag[NX_TAG_BYTES];
	uint8_t *to = o->landing + run->landed, *opened = to - DATA_HEAD_BYTES;
	memcpy(before, opened, sizeof before);
	memcpy(tag, frame + TAG_AT, sizeof tag);
	nx_key_nonce(o->key, (uint32_t)(number >> 32), (uint32_t)number, nonce);
	struct nx_aead_message message = {
		.nonce = nonce,
		.aad = associated->vni,
		.aad_length = sizeof *associated,
		.from = frame + PAYLOAD_AT,
		.text = opened,
		.length = payload,
		.tag = tag,
	};
	bool good = nx_key_open_text(o->key, &message);
	uint32_t data = payload > DATA_HEAD_BYTES ? payload - DATA_HEAD_BYTES : 0;
	uint8_t head[DATA_HEAD_BYTES];
	memcpy(head, opened, sizeof head);
	if (!good) {
		add_result(o, NX_RESULT_FORGED, at, length, number, length);
	} else if (data > 0 && head[0] == DATA_TYPE &&
		   ((uint32_t)head[DATA_LENGTH_AT] << 8 | head[DATA_LENGTH_AT + 1]) == data) {
		replay_mark(o->window, number);
		land_data(o, head, data, number, length);
	} else {
		replay_mark(o->window, number);
		memmove(to, opened, payload);
		add_result(o, NX_RESULT_PACKET, run->landed, payload, number, length);
		run->landed += payload;
	}
	memcpy(opened, before, sizeof before);
}

int32_t nx_open_run(int32_t handle, const uint8_t *bytes, uint32_t bytes_length,
		    struct nx_open_run *run, uint8_t *landing, uint32_t landing_length,
		    struct nx_result *results, struct nx_replay *window)
{
	struct nx_key *key = nx_key_find(handle);
	if (key == NULL) return -EBADF;
	if (!key->bound || run->at > bytes_length || run->length > bytes_length - run->at ||
	    run->landed < NX_LANDING_HEADROOM || run->landing_end > landing_length)
		return -EINVAL;
	struct opening o = {key, bytes, run, landing, results, window};
	uint64_t segment = run->segment != 0 ? run->segment : (uint64_t)run->length + NX_OVERLAY_BYTES;
	if (segment < NX_OVERLAY_BYTES + NX_FRAME_BYTES_MIN) return -EINVAL;
	run->results = 0;
	for (; run->results < NX_RESULTS_MAX; run->next++) {
		uint64_t at = run->next * segment;
		if (at >= run->length) break;
		uint64_t length = run->length - at;
		if (length > segment - NX_OVERLAY_BYTES) length = segment - NX_OVERLAY_BYTES;
		if (run->landed > run->landing_end || length > run->landing_end - run->landed) break;
		uint32_t place = run->at + (uint32_t)at;
		struct associated associated;
		if (has_shape(key, bytes + place, (uint32_t)length, &associated))
			open_frame(&o, place, (uint32_t)length, &associated);
		else add_result(&o, NX_RESULT_FRAME, place, (uint32_t)length, 0, (uint32_t)length);
	}
	return (int32_t)run->results;
}

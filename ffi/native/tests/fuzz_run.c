/*
 * Fuzz target: runs. Any arguments to nx_seal_run and nx_open_run, and trains of frames of any kind
 * to open: sealed well, mangled, repeated, out of order, junk. Checked against plain models: which
 * arguments are refused, that open(seal(x)) = x, what each frame becomes, and that nothing is written
 * outside the run, the landing and, when refused, at all.
 */
#include <errno.h>
#include <string.h>

#include "../aead.h"
#include "check.h"
#include "input.h"

#define TAG_AT (NX_HEADER_BYTES + NX_OPTION_HEADER_BYTES)
#define PAYLOAD_AT (TAG_AT + NX_TAG_BYTES)
#define OVERHEAD_BYTES (PAYLOAD_AT + NX_CRC_BYTES)
#define DATA_TYPE 0x50u
#define DATA_HEAD_BYTES 15u
#define PIECES_MAX 24 /* more than are gathered */
#define TRAIN_FRAMES_MAX 80u
#define PAYLOAD_BYTES_MAX 1500u
#define VNI 7u
/* The assembly of the AEAD libraries is not instrumented: this shows what it writes past the end. */
#define GUARD_BYTES 4096u
#define CANARY 0xa5
/* Longest memory that a piece of any length is given; nobody may read more. */
#define PIECE_BYTES_MAX (1u << 18)

/* ---- keys ---------------------------------------------------------------------------------- */

/* Both suites by both libraries, one secret. */
#define KEYS 4u
static int32_t keys[KEYS], unbound, closed;
static uint8_t header[NX_HEADER_BYTES];
static uint32_t suite; /* of this input: keys 2 * suite and the next are its own */

static int32_t open_key(uint32_t key_suite, uint32_t backend)
{
	static const uint8_t secret[NX_KEY_BYTES + NX_NONCE_BYTES] = {1, 2, 3};
	int32_t key = nx_key_open(key_suite, backend, secret, secret + NX_KEY_BYTES, VNI);
	if (key < 0) key = nx_key_open(key_suite, NX_BACKEND_BEST, secret, secret + NX_KEY_BYTES, VNI);
	return key;
}

/* False: no library was built in. */
static bool open_keys(void)
{
	static bool opened;
	if (!opened) {
		for (uint32_t i = 0; i < KEYS; i++)
			keys[i] = open_key(i / 2 == 0 ? NX_SUITE_AES_256_GCM
						      : NX_SUITE_CHACHA20_POLY1305,
					   i % 2 == 0 ? NX_BACKEND_IMB : NX_BACKEND_EVP);
		closed = open_key(NX_SUITE_AES_256_GCM, NX_BACKEND_BEST);
		unbound = open_key(NX_SUITE_AES_256_GCM, NX_BACKEND_BEST);
		opened = true;
		if (closed >= 0) CHECK(nx_key_close(closed) == 0);
	}
	return unbound >= 0;
}

static void bind_keys(void)
{
	memset(header, 0x5a, sizeof header);
	nx_put_u32(header, 0x10400010);
	header[NX_OPTIONS_LENGTH_AT] = 0;
	header[NX_OPTIONS_LENGTH_AT + 1] = PAYLOAD_AT - NX_HEADER_BYTES;
	for (uint32_t changes = take(1) % 4; changes > 0; changes--)
		header[take(1) % NX_HEADER_BYTES] = (uint8_t)take(1);
	uint32_t path = take(1);
	for (uint32_t i = 0; i < KEYS; i++) CHECK(nx_key_bind(keys[i], header, path) == 0);
}

/* A key of the input's suite, of either library. */
static int32_t good_key(void)
{
	return keys[2 * suite + take(1) % 2];
}

/* Mostly a good one. */
static int32_t any_key(void)
{
	switch (take(1) % 64) {
	case 0: return unbound;
	case 1: return closed;
	case 2: return (int32_t)take(4);
	case 3: return (int32_t)take_hostile((uint32_t)keys[KEYS - 1]);
	case 4: return keys[2 - 2 * suite];
	default: return good_key();
	}
}

static bool is_bound(int32_t key)
{
	for (uint32_t i = 0; i < KEYS; i++)
		if (keys[i] == key) return true;
	return false;
}

static int32_t refusal(int32_t key)
{
	return is_bound(key) || key == unbound ? -EINVAL : -EBADF;
}

static bool is_filled(const uint8_t *bytes, size_t length)
{
	for (size_t i = 0; i < length; i++)
		if (bytes[i] != CANARY) return false;
	return true;
}

static uint64_t join(uint32_t high, uint32_t low)
{
	return (uint64_t)high << 32 | low;
}

/* ---- opening, checked against a model ------------------------------------------------------- */

/* A frame as it was composed. */
struct made {
	uint32_t at, length;
	bool intact; /* else it must not open */
	uint64_t number;
	uint32_t payload_length;
	uint8_t payload[PAYLOAD_BYTES_MAX];
};

static struct made made[TRAIN_FRAMES_MAX];
static uint32_t made_count;

/* The packet numbers that were opened, as a list. */
static struct {
	uint64_t next;
	uint32_t count;
	uint64_t numbers[TRAIN_FRAMES_MAX];
} seen;

static bool is_new(uint64_t number)
{
	for (uint32_t i = 0; i < seen.count; i++)
		if (seen.numbers[i] == number) return false;
	return number + NX_REPLAY_WINDOW >= seen.next;
}

static void see(uint64_t number)
{
	CHECK(seen.count < TRAIN_FRAMES_MAX);
	seen.numbers[seen.count++] = number;
	if (number >= seen.next) seen.next = number + 1;
}

static const struct made *find_made(uint32_t at, uint32_t length)
{
	for (uint32_t i = 0; i < made_count; i++)
		if (made[i].at == at && made[i].length == length && made[i].intact) return &made[i];
	return NULL;
}

static bool is_data(const struct made *frame)
{
	uint32_t length = frame->payload_length;
	return length > DATA_HEAD_BYTES && frame->payload[0] == DATA_TYPE &&
	       ((uint32_t)frame->payload[13] << 8 | frame->payload[14]) == length - DATA_HEAD_BYTES;
}

/* Everything that a call of nx_open_run works on, in memory without a byte to spare. */
struct opening {
	int32_t key;
	bool is_key_good;
	bool is_window_sane; /* else it says what it wants about what was seen */
	uint8_t *bytes;
	uint32_t bytes_length;
	uint8_t *landing; /* GUARD_BYTES longer than it says */
	uint32_t landing_length;
	struct nx_result *results;
	struct nx_replay *window;
};

static uint64_t segment_of(const struct nx_open_run *run)
{
	return run->segment != 0 ? run->segment : (uint64_t)run->length + NX_OVERLAY_BYTES;
}

static bool open_is_valid(const struct opening *o, const struct nx_open_run *run)
{
	return is_bound(o->key) && (uint64_t)run->at + run->length <= o->bytes_length &&
	       run->landed >= NX_LANDING_HEADROOM && run->landing_end <= o->landing_length &&
	       segment_of(run) >= NX_OVERLAY_BYTES + NX_FRAME_BYTES_MIN;
}

/* Frame `index` of the train: false when it has none such. */
static bool place_of(const struct nx_open_run *run, uint64_t index, uint32_t *at, uint32_t *length)
{
	uint64_t segment = segment_of(run), from = index * segment;
	if (from >= run->length) return false;
	uint64_t left = run->length - from, most = segment - NX_OVERLAY_BYTES;
	*at = run->at + (uint32_t)from;
	*length = (uint32_t)(left < most ? left : most);
	return true;
}

/* Kind that a frame must be given; 0: FRAME or FORGED, or REPLAYED as well. */
static uint32_t kind_of(const struct opening *o, const struct made *frame)
{
	if (frame == NULL || !o->is_key_good) return 0;
	if (o->is_window_sane && !is_new(frame->number)) return NX_RESULT_REPLAYED;
	return is_data(frame) ? NX_RESULT_DATA : NX_RESULT_PACKET;
}

static void check_kind(const struct opening *o, const struct made *frame, uint32_t kind)
{
	uint32_t expected = kind_of(o, frame);
	bool is_closed = kind == NX_RESULT_FRAME || kind == NX_RESULT_FORGED ||
			 kind == NX_RESULT_REPLAYED;
	if (expected == 0 || !o->is_window_sane) CHECK(is_closed || kind == expected);
	else CHECK(kind == expected);
	if (!is_closed && o->is_window_sane) see(frame->number);
}

/* The packets of a DATA result; returns the bytes of their frames. */
static uint32_t check_data(const struct opening *o, const struct nx_open_run *run, uint32_t first,
			   const struct nx_result *result)
{
	uint32_t frames = 0, data = 0;
	for (uint32_t i = 0; i < result->packets; i++) {
		uint32_t at, length;
		CHECK(place_of(run, (uint64_t)first + i, &at, &length));
		const struct made *frame = find_made(at, length);
		check_kind(o, frame, NX_RESULT_DATA);
		const uint8_t *payload = frame->payload;
		uint64_t offset = join(nx_get_u32(payload + 5), nx_get_u32(payload + 9));
		uint32_t part = frame->payload_length - DATA_HEAD_BYTES;
		CHECK(frame->number == join(result->number_high, result->number_low) + i);
		CHECK(offset == join(result->offset_high, result->offset_low) + data);
		CHECK(nx_get_u32(payload + 1) == result->stream);
		CHECK(data + part <= result->length);
		CHECK(memcmp(o->landing + result->at + data, payload + DATA_HEAD_BYTES, part) == 0);
		frames += length;
		data += part;
	}
	CHECK(result->packets > 0 && data == result->length);
	return frames;
}

static void check_result(const struct opening *o, const struct nx_open_run *run, uint32_t *next,
			 uint32_t *landed, const struct nx_result *result)
{
	uint32_t at, length;
	CHECK(place_of(run, *next, &at, &length));
	const struct made *frame = find_made(at, length);
	if (result->kind == NX_RESULT_DATA || result->kind == NX_RESULT_PACKET) {
		CHECK(result->at == *landed && result->length <= run->landing_end - *landed);
		*landed += result->length;
	} else CHECK(result->at == at && result->length == length);
	if (result->kind == NX_RESULT_DATA) {
		CHECK(check_data(o, run, *next, result) == result->frame_bytes);
		*next += result->packets;
		return;
	}
	check_kind(o, frame, result->kind);
	CHECK(result->frame_bytes == length);
	if (result->kind == NX_RESULT_PACKET) {
		CHECK(frame->number == join(result->number_high, result->number_low));
		CHECK(frame->payload_length == result->length);
		CHECK(memcmp(o->landing + result->at, frame->payload, result->length) == 0);
	}
	*next += 1;
}

/* One call; what it did to its memory and what it says of it. */
static int32_t open_checked(const struct opening *o, struct nx_open_run *run)
{
	struct nx_open_run before = *run;
	struct nx_replay window = *o->window;
	size_t landing_bytes = o->landing_length + GUARD_BYTES;
	uint8_t *bytes = malloc(o->bytes_length), *landing = malloc(landing_bytes);
	memcpy(bytes, o->bytes, o->bytes_length);
	memcpy(landing, o->landing, landing_bytes);
	bool is_valid = open_is_valid(o, run);
	int32_t count = nx_open_run(o->key, o->bytes, o->bytes_length, run, o->landing,
				    o->landing_length, o->results, o->window);
	CHECK(memcmp(bytes, o->bytes, o->bytes_length) == 0);
	size_t from = landing_bytes, end = landing_bytes; /* what may change */
	if (is_valid && before.landed <= before.landing_end)
		from = before.landed, end = before.landing_end;
	CHECK(memcmp(landing, o->landing, from) == 0);
	CHECK(memcmp(landing + end, o->landing + end, landing_bytes - end) == 0);
	free(bytes);
	free(landing);
	if (!is_valid) {
		CHECK(count == refusal(o->key));
		CHECK(memcmp(run, &before, sizeof before) == 0);
		CHECK(memcmp(o->window, &window, sizeof window) == 0);
		return count;
	}
	CHECK(count >= 0 && count <= (int32_t)NX_RESULTS_MAX && run->results == (uint32_t)count);
	uint32_t next = before.next, landed = before.landed, at, length;
	for (int32_t i = 0; i < count; i++)
		check_result(o, &before, &next, &landed, &o->results[i]);
	CHECK(run->next == next && run->landed == landed);
	if (o->is_window_sane)
		CHECK(join(o->window->next_high, o->window->next_low) == seen.next);
	/* It stops only where it must. */
	if (count < (int32_t)NX_RESULTS_MAX && place_of(run, next, &at, &length))
		CHECK(landed > run->landing_end || length > run->landing_end - landed);
	return count;
}

static void free_opening(struct opening *o)
{
	free(o->bytes);
	free(o->landing);
	free(o->results);
	free(o->window);
}

static void make_landing(struct opening *o, uint32_t length)
{
	o->landing_length = length;
	o->landing = malloc(length + GUARD_BYTES);
	memset(o->landing, CANARY, length + GUARD_BYTES);
	o->results = malloc(NX_RESULTS_MAX * sizeof *o->results);
	o->window = calloc(1, sizeof *o->window);
}

static void set_window(struct nx_replay *window, uint64_t next)
{
	window->next_high = (uint32_t)(next >> 32);
	window->next_low = (uint32_t)next;
}

/* ---- sealing, and back ---------------------------------------------------------------------- */

struct sealing {
	int32_t key;
	uint8_t *bytes;
	uint32_t bytes_length;
	struct nx_seal_run run;
	uint32_t lengths[PIECES_MAX];
	double addresses[PIECES_MAX];
	uint8_t *pieces[PIECES_MAX];
};

static bool seal_is_valid(const struct sealing *s)
{
	const struct nx_seal_run *run = &s->run;
	uint64_t sum = 0, total = run->data_total, each = run->data_each;
	for (uint32_t i = 0; i < run->pieces; i++) sum += s->lengths[i];
	if (!is_bound(s->key) || sum != total || total == 0 || each == 0) return false;
	if ((total + each - 1) / each != run->count) return false;
	if (OVERHEAD_BYTES + DATA_HEAD_BYTES + each > NX_FRAME_BYTES_MAX) return false;
	uint64_t frames = run->count * (uint64_t)(OVERHEAD_BYTES + DATA_HEAD_BYTES) + total;
	return run->at + frames + (run->count - 1) * (uint64_t)NX_OVERLAY_BYTES <= s->bytes_length;
}

static void make_sealing(struct sealing *s)
{
	uint32_t kind = take(1), each = 1 + take(kind & 1 ? 2 : 1);
	if (each > 65400 && !(kind & 8)) each = NX_FRAME_BYTES_MAX - OVERHEAD_BYTES - DATA_HEAD_BYTES;
	uint32_t count = 1 + take(1) % (each > 1500 ? 2 : TRAIN_FRAMES_MAX);
	uint32_t total = (count - 1) * each + 1 + take(2) % each;
	uint32_t left = total;
	s->run = (struct nx_seal_run){
		.at = take(1),
		.count = count,
		/* Below 2^62, as RFC 9000 has them. */
		.number_high = kind & 2 ? take(4) >> 2 : 0,
		.number_low = take(4),
		.stream = take(4),
		.offset_high = take(1),
		.offset_low = take(4),
		.data_each = each,
		.data_total = total,
		.time_high = take(1),
		.time_low = take(1),
		.pieces = 1 + take(1) % PIECES_MAX,
	};
	for (uint32_t i = 0; i < PIECES_MAX; i++) {
		s->lengths[i] = i + 1 == s->run.pieces ? left : take(2) % (left + 1);
		left -= s->lengths[i];
	}
	s->bytes_length = s->run.at + count * (OVERHEAD_BYTES + DATA_HEAD_BYTES + NX_OVERLAY_BYTES) +
			  total - NX_OVERLAY_BYTES + take(1) % 4;
}

static void spoil_sealing(struct sealing *s)
{
	struct nx_seal_run *run = &s->run;
	switch (take(1) % 32) {
	case 0: run->at = take_hostile(run->at); break;
	case 1: run->count = take_hostile(run->count); break;
	case 2: run->data_each = take_hostile(run->data_each); break;
	case 3: run->data_total = take_hostile(run->data_total); break;
	case 4: run->pieces = take(1) % (PIECES_MAX + 1); break;
	case 5: s->lengths[take(1) % PIECES_MAX] = take_hostile(0); break;
	case 6: s->bytes_length -= take(1) % s->bytes_length; break;
	case 7: /* together, or the sum gives it away */
		run->data_total = s->lengths[0] = take_hostile(run->data_total);
		run->pieces = 1;
	}
}

/* The run opened again: what went in. */
static void check_back(const struct sealing *s, uint32_t length)
{
	const struct nx_seal_run *run = &s->run;
	struct opening o = {.key = good_key(), .bytes = s->bytes, .bytes_length = s->bytes_length};
	make_landing(&o, NX_LANDING_HEADROOM + run->data_total + OVERHEAD_BYTES + DATA_HEAD_BYTES);
	uint64_t number = join(run->number_high, run->number_low);
	set_window(o.window, number);
	struct nx_open_run open = {
		.at = run->at,
		.length = length,
		.segment = OVERHEAD_BYTES + DATA_HEAD_BYTES + run->data_each + NX_OVERLAY_BYTES,
		.landed = NX_LANDING_HEADROOM,
		.landing_end = o.landing_length,
	};
	CHECK(nx_open_run(o.key, o.bytes, o.bytes_length, &open, o.landing, o.landing_length,
			  o.results, o.window) == 1);
	CHECK(open.next == run->count && open.landed == NX_LANDING_HEADROOM + run->data_total);
	const struct nx_result *result = o.results;
	CHECK(result->kind == NX_RESULT_DATA && result->packets == run->count);
	CHECK(join(result->number_high, result->number_low) == number);
	CHECK(join(o.window->next_high, o.window->next_low) == number + run->count);
	CHECK(result->stream == run->stream && result->length == run->data_total);
	CHECK(result->offset_high == run->offset_high && result->offset_low == run->offset_low);
	const uint8_t *landed = o.landing + result->at;
	for (uint32_t i = 0; i < run->pieces; landed += s->lengths[i++])
		for (uint32_t at = 0; at < s->lengths[i]; at++) CHECK(landed[at] == s->pieces[i][at]);
	CHECK(is_filled(o.landing, NX_LANDING_HEADROOM));
	CHECK(is_filled(o.landing + o.landing_length, GUARD_BYTES));
	/* A second time it opens no packet. */
	open.next = 0;
	while (open.next < run->count) {
		int32_t count = nx_open_run(o.key, o.bytes, o.bytes_length, &open, o.landing,
					    o.landing_length, o.results, o.window);
		if (count == 0) open.landed = NX_LANDING_HEADROOM;
		for (int32_t i = 0; i < count; i++) CHECK(o.results[i].kind == NX_RESULT_REPLAYED);
	}
	o.bytes = NULL;
	free_opening(&o);
}

static void seal_once(void)
{
	static struct sealing s;
	make_sealing(&s);
	spoil_sealing(&s);
	s.key = any_key();
	s.bytes = malloc(s.bytes_length);
	memset(s.bytes, CANARY, s.bytes_length);
	uint32_t *lengths = malloc(s.run.pieces * sizeof *lengths);
	double *addresses = malloc(s.run.pieces * sizeof *addresses);
	for (uint32_t i = 0; i < PIECES_MAX; i++) {
		bool is_there = s.lengths[i] > 0 && s.lengths[i] <= PIECE_BYTES_MAX;
		s.pieces[i] = is_there ? malloc(s.lengths[i]) : NULL;
		for (uint32_t at = 0; is_there && at < s.lengths[i]; at++)
			s.pieces[i][at] = (uint8_t)(at * 7 + i);
	}
	for (uint32_t i = 0; i < s.run.pieces; i++) {
		lengths[i] = s.lengths[i];
		addresses[i] = (double)(uintptr_t)s.pieces[i];
	}
	int32_t sealed = nx_seal_run(s.key, s.bytes, s.bytes_length, &s.run, addresses, lengths);
	if (seal_is_valid(&s)) {
		uint32_t step = OVERHEAD_BYTES + DATA_HEAD_BYTES + s.run.data_each, i, at;
		CHECK((uint64_t)sealed ==
		      s.run.count * (uint64_t)(OVERHEAD_BYTES + DATA_HEAD_BYTES + NX_OVERLAY_BYTES) +
			      s.run.data_total - NX_OVERLAY_BYTES);
		CHECK(is_filled(s.bytes, s.run.at));
		for (i = 1, at = s.run.at + step; i < s.run.count; i++, at += step + NX_OVERLAY_BYTES)
			CHECK(is_filled(s.bytes + at, NX_OVERLAY_BYTES));
		at = s.run.at + (uint32_t)sealed;
		CHECK(is_filled(s.bytes + at, s.bytes_length - at));
		if (s.key == keys[2 * suite] || s.key == keys[2 * suite + 1])
			check_back(&s, (uint32_t)sealed);
	} else {
		CHECK(sealed == refusal(s.key));
		CHECK(is_filled(s.bytes, s.bytes_length));
	}
	for (uint32_t i = 0; i < PIECES_MAX; i++) free(s.pieces[i]);
	free(lengths);
	free(addresses);
	free(s.bytes);
}

/* ---- trains of frames of any kind ----------------------------------------------------------- */

/* The payload and, by nx_seal_run or nx_seal_frame, its frame. */
static void seal_made(struct made *frame, uint8_t *bytes, uint32_t bytes_length, bool is_run,
		      uint32_t stream, uint64_t offset)
{
	uint8_t *payload = frame->payload;
	uint32_t length = frame->payload_length;
	uint32_t high = (uint32_t)(frame->number >> 32), low = (uint32_t)frame->number;
	if (is_run) {
		payload[0] = DATA_TYPE;
		nx_put_u32(payload + 1, stream);
		nx_put_u32(payload + 5, (uint32_t)(offset >> 32));
		nx_put_u32(payload + 9, (uint32_t)offset);
		payload[13] = (uint8_t)((length - DATA_HEAD_BYTES) >> 8);
		payload[14] = (uint8_t)(length - DATA_HEAD_BYTES);
		uint32_t data = length - DATA_HEAD_BYTES;
		double address = (double)(uintptr_t)(payload + DATA_HEAD_BYTES);
		struct nx_seal_run run = {frame->at, 1,	   high, low, stream, (uint32_t)(offset >> 32),
					  (uint32_t)offset, data, data, 0, 0, 1};
		CHECK(nx_seal_run(good_key(), bytes, bytes_length, &run, &address, &data) ==
		      (int32_t)frame->length);
		frame->intact = true;
		return;
	}
	uint8_t *to = bytes + frame->at;
	memcpy(to, header, NX_HEADER_BYTES);
	nx_put_u32(to + NX_FRAME_LENGTH_AT, frame->length);
	nx_put_u32(to + NX_SEQUENCE_NUMBER_AT, low);
	to[NX_HEADER_BYTES] = NX_OPTION_TYPE_ENCRYPTION_TAG;
	to[NX_HEADER_BYTES + 1] = NX_TAG_BYTES;
	memcpy(to + PAYLOAD_AT, payload, length);
	frame->intact = nx_seal_frame(good_key(), bytes, bytes_length, frame->at, frame->length, high,
				      low) == 1;
}

/* Changes a byte; mostly such that the CRC fits again. */
static void mangle(struct made *frame, uint8_t *bytes, uint32_t bytes_length)
{
	uint8_t *at = bytes + frame->at, *kept = malloc(frame->length);
	memcpy(kept, at, frame->length);
	at[take(2) % frame->length] ^= (uint8_t)(1 + take(1) % 255);
	struct nx_burst burst = {.offset = {frame->at}, .length = {frame->length}};
	if (take(1) % 4 != 0) nx_frames_crc(bytes, bytes_length, &burst, 0, 1, NX_CRC_WRITE);
	kept[NX_HOP_LIMIT_AT] = at[NX_HOP_LIMIT_AT]; /* forwarders may change it */
	frame->intact = frame->intact && memcmp(kept, at, frame->length) == 0;
	free(kept);
}

/* Frames of one length but for the last. */
static void make_train(struct opening *o, struct nx_open_run *run, uint64_t number)
{
	uint32_t most = 1 + take(2) % (take(1) % 4 == 0 ? PAYLOAD_BYTES_MAX : 64);
	uint32_t stream = take(1), step = OVERHEAD_BYTES + most + NX_OVERLAY_BYTES;
	uint64_t offset = take(1) * 0x20000001ull;
	made_count = 1 + take(1) % TRAIN_FRAMES_MAX;
	uint32_t last = 1 + take(2) % most, at = take(1);
	run->at = at;
	run->length = (made_count - 1) * step + OVERHEAD_BYTES + last;
	run->segment = made_count == 1 && take(1) % 2 ? 0 : step;
	o->bytes_length = at + run->length + take(1) % 4;
	o->bytes = malloc(o->bytes_length);
	memset(o->bytes, CANARY, o->bytes_length);
	for (uint32_t i = 0; i < made_count; i++, at += step) {
		struct made *frame = &made[i];
		uint32_t kind = take(1) % 16, length = i + 1 < made_count ? most : last;
		if (kind == 8) number += take(3);
		if (kind == 9 && number > 5000) number -= take(2) % 5000;
		if (kind == 10 && i > 0) number = frame[-1].number;
		if (kind == 11) offset += take(1);
		if (kind == 12) stream = take(1);
		frame->at = at;
		frame->length = OVERHEAD_BYTES + length;
		frame->number = number++;
		frame->payload_length = length;
		for (uint32_t b = 0; b < length; b++) frame->payload[b] = (uint8_t)(b * 5 + i);
		if (kind == 13) frame->payload[0] = DATA_TYPE, frame->payload[14 % length] = take(1);
		if (kind == 14) frame->payload[0] = take(1);
		bool is_run = kind < 13 && length > DATA_HEAD_BYTES;
		seal_made(frame, o->bytes, o->bytes_length, is_run, stream, offset);
		if (is_run) offset += length - DATA_HEAD_BYTES;
		if (kind == 7 || kind == 15) mangle(frame, o->bytes, o->bytes_length);
	}
}

static void spoil_open(struct opening *o, struct nx_open_run *run)
{
	switch (take(1) % 24) {
	case 0: run->at = take_hostile(run->at); break;
	case 1: run->length = take_hostile(run->length); break;
	case 2: run->segment = take_hostile(run->segment); break;
	case 3: /* the last one is where the product wraps */
		run->next = take_hostile(take(1) % 2 ? take(1) : UINT32_MAX / segment_of(run));
		break;
	case 4: run->landed = take_hostile(run->landed); break;
	case 5: run->landing_end = take_hostile(run->landing_end); break;
	case 6:
		run->at = take_hostile(run->at);
		run->length = o->bytes_length - run->at;
		break;
	case 7: run->results = take(4); break;
	case 8:
		o->is_window_sane = false;
		for (uint32_t i = 0; i < 64; i++) ((uint8_t *)o->window)[i] = (uint8_t)take(1);
	}
}

static void open_once(void)
{
	struct opening o = {.key = any_key(), .is_window_sane = true};
	struct nx_open_run run = {0};
	uint64_t number = join(take(1) % 4 == 0 ? take(3) : 0, take(4));
	o.is_key_good = o.key == keys[2 * suite] || o.key == keys[2 * suite + 1];
	make_train(&o, &run, number);
	/* Room for all, or for a part at a time. */
	uint32_t room = take(1) % 4 == 0 ? take(2) % 4096 : run.length;
	make_landing(&o, NX_LANDING_HEADROOM + room);
	run.landed = NX_LANDING_HEADROOM;
	run.landing_end = o.landing_length;
	seen.next = number;
	seen.count = 0;
	set_window(o.window, number);
	spoil_open(&o, &run);
	uint32_t landed = run.landed;
	for (uint32_t calls = 0; calls < 2 * TRAIN_FRAMES_MAX; calls++) {
		uint32_t next = run.next;
		if (open_checked(&o, &run) < 0 || (run.next == next && run.landed == landed)) break;
		if (run.next == next) run.landed = landed;
	}
	free_opening(&o);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t length);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t length)
{
	input = data;
	input_length = length;
	if (!open_keys()) return 0;
	while (input_length > 0) {
		suite = take(1) % 2;
		bind_keys();
		if (take(1) % 2 == 0) seal_once();
		else open_once();
	}
	return 0;
}

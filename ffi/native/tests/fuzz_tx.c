/*
 * Fuzz target: sending, with system calls of our own that take, refuse or put off messages
 * as the input says. Any descriptors: slot, offset, length, segment, flags and peer. Checked against
 * a plain model: which datagrams leave and in which order, that each frame of a descriptor that was
 * taken is counted once, and that nothing but the overlays of sendable frames is written.
 */
#include <errno.h>
#include <netinet/udp.h>
#include <stdarg.h>
#include <string.h>

#include "../frame.h"
#include "../port.h"
#include "check.h"
#include "input.h"

#define VNI 0x010203u
/* The pool does not begin or end with the memory. */
#define POOL_BASE 192u
#define POOL_TAIL 40u
#define SLOTS 3u
#define PEERS 3
/* What the kernel cuts a message into at most, and the longest it takes (IPv6). */
#define KERNEL_SEGMENTS_MAX 64u
#define KERNEL_TRAIN_BYTES_MAX 65487u

/* A datagram that should leave or has left. */
struct datagram {
	uint64_t at; /* of its overlay in the memory */
	uint32_t length;
	uint32_t ecn;
	struct nx_address to;
	uint32_t owner; /* the descriptor of one that should, the message of one that has */
};

struct datagrams {
	uint32_t count;
	struct datagram of[NX_BURST_FRAMES_MAX * KERNEL_SEGMENTS_MAX];
};

static struct nx_port port;
static struct datagrams expected, sent;
static uint32_t message_count;
static bool lossless; /* the kernel takes everything */

/* ---- the kernel ---------------------------------------------------------------------------- */

static void read_controls(const struct msghdr *header, uint32_t *segment, uint32_t *ecn)
{
	struct msghdr copy = *header;
	for (struct cmsghdr *c = CMSG_FIRSTHDR(&copy); c != NULL; c = CMSG_NXTHDR(&copy, c)) {
		if (c->cmsg_level == IPPROTO_UDP && c->cmsg_type == UDP_SEGMENT) {
			uint16_t value;
			CHECK(c->cmsg_len == CMSG_LEN(sizeof value));
			memcpy(&value, CMSG_DATA(c), sizeof value);
			*segment = value;
		} else {
			int value;
			bool ipv4 = c->cmsg_level == IPPROTO_IP && c->cmsg_type == IP_TOS;
			CHECK(ipv4 || (c->cmsg_level == IPPROTO_IPV6 && c->cmsg_type == IPV6_TCLASS));
			CHECK(c->cmsg_len == CMSG_LEN(sizeof value));
			memcpy(&value, CMSG_DATA(c), sizeof value);
			*ecn = (uint32_t)value;
		}
	}
}

/* Cuts a message up as UDP_SEGMENT does. Here every datagram is one piece of memory. */
static void put_on_wire(const struct msghdr *header)
{
	struct datagram datagram = {.owner = message_count++};
	uint32_t segment = 0, pieces = 0;
	size_t bytes = 0;
	nx_address_from(header->msg_name, &datagram.to);
	read_controls(header, &segment, &datagram.ecn);
	for (size_t i = 0; i < header->msg_iovlen; i++) {
		const struct iovec *iov = &header->msg_iov[i];
		uint32_t step = segment == 0 ? (uint32_t)iov->iov_len : segment;
		bytes += iov->iov_len;
		CHECK(iov->iov_len > 0 && (i == 0 || segment != 0));
		CHECK(i + 1 == header->msg_iovlen || iov->iov_len % step == 0);
		for (uint32_t at = 0; at < iov->iov_len; at += step, pieces++) {
			uint32_t left = (uint32_t)iov->iov_len - at;
			datagram.at = (uint64_t)((uint8_t *)iov->iov_base + at - port.pool.bytes);
			datagram.length = left < step ? left : step;
			CHECK(sent.count < sizeof sent.of / sizeof *sent.of);
			sent.of[sent.count++] = datagram;
		}
	}
	CHECK(bytes <= NX_DATAGRAM_BYTES_MAX);
	CHECK(segment == 0 || (pieces <= KERNEL_SEGMENTS_MAX && bytes <= KERNEL_TRAIN_BYTES_MAX));
}

static long take_message(const struct msghdr *header, int flags)
{
	static const int errors[] = {EAGAIN, ECONNREFUSED, EINTR,	EIO,
				     EINVAL, EMSGSIZE,	   EOPNOTSUPP, ENOBUFS};
	CHECK(flags & MSG_DONTWAIT);
	uint32_t fate = lossless ? 0 : take(1) % 24;
	if (fate >= 16) {
		errno = errors[fate - 16];
		return -1;
	}
	put_on_wire(header);
	return 1;
}

static long take_messages(const struct mmsghdr *messages, unsigned count, int flags)
{
	CHECK(count > 0 && count <= NX_BURST_FRAMES_MAX);
	for (unsigned i = 0; i < count; i++)
		if (take_message(&messages[i].msg_hdr, flags) < 0) return i > 0 ? (long)i : -1;
	return (long)count;
}

/* Stands in for libc's: port.h makes its system calls through it. */
long syscall(long number, ...)
{
	va_list arguments;
	va_start(arguments, number);
	long result = -1;
	errno = ENOSYS;
	va_arg(arguments, int); /* the socket */
	const void *messages = va_arg(arguments, const void *);
	if (number == SYS_sendmsg) result = take_message(messages, va_arg(arguments, int));
	else if (number == SYS_sendmmsg) {
		unsigned count = va_arg(arguments, unsigned);
		result = take_messages(messages, count, va_arg(arguments, int));
	}
	va_end(arguments);
	return result;
}

/* ---- the model ----------------------------------------------------------------------------- */

static bool model_sendable(const struct nx_burst *burst, uint32_t i)
{
	const struct nx_pool *pool = &port.pool;
	if (burst->slot[i] < 0 || (uint32_t)burst->slot[i] >= pool->slots) return false;
	int64_t begin = (int64_t)pool->base + (int64_t)burst->slot[i] * pool->slot_bytes;
	int64_t from = (int64_t)burst->offset[i] - NX_OVERLAY_BYTES;
	int64_t bytes = (int64_t)burst->length[i] + NX_OVERLAY_BYTES;
	int64_t each = burst->segment[i] == 0 ? bytes : burst->segment[i];
	int64_t last = bytes % each == 0 ? each : bytes % each;
	if (from < begin || from + bytes > begin + pool->slot_bytes) return false;
	if (each > bytes) last = bytes;
	if (last < NX_OVERLAY_BYTES + NX_FRAME_BYTES_MIN ||
	    each < NX_OVERLAY_BYTES + NX_FRAME_BYTES_MIN ||
	    each > NX_OVERLAY_BYTES + port.frame_bytes_max)
		return false;
	return each >= bytes || (bytes <= KERNEL_TRAIN_BYTES_MAX &&
				 (bytes + each - 1) / each <= KERNEL_SEGMENTS_MAX);
}

static uint32_t model_frames(const struct nx_burst *burst, uint32_t i)
{
	uint64_t bytes = (uint64_t)burst->length[i] + NX_OVERLAY_BYTES, each = burst->segment[i];
	uint64_t frames = each == 0 ? 1 : (bytes + each - 1) / each;
	return frames < KERNEL_SEGMENTS_MAX ? (uint32_t)frames : KERNEL_SEGMENTS_MAX;
}

/* Frames that are counted for descriptors before `end`, by what should become of them. */
struct totals {
	uint64_t unknown, refused, good;
};

/* Writes the overlays into `memory` and lists the datagrams. */
static void model_burst(const struct nx_burst *burst, uint32_t count, uint8_t *memory)
{
	expected.count = 0;
	for (uint32_t i = 0; i < count; i++) {
		const struct nx_address *to = nx_peers_address(&port.peers, burst->peer[i]);
		struct sockaddr_storage name;
		if (to == NULL || !model_sendable(burst, i) ||
		    nx_address_to(to, port.family, &name) == 0)
			continue;
		uint32_t bytes = burst->length[i] + NX_OVERLAY_BYTES;
		uint32_t each = burst->segment[i] == 0 ? bytes : burst->segment[i];
		for (uint32_t at = 0; at < bytes; at += each) {
			struct datagram *datagram = &expected.of[expected.count++];
			datagram->at = burst->offset[i] - NX_OVERLAY_BYTES + at;
			datagram->length = bytes - at < each ? bytes - at : each;
			datagram->ecn = burst->flags[i] & NX_DESC_ECN_MASK;
			datagram->to = *to;
			datagram->owner = i;
			nx_overlay_write(memory + datagram->at, nx_overlay_word(VNI));
		}
	}
}

static struct totals model_totals(const struct nx_burst *burst, uint32_t end)
{
	struct totals totals = {0};
	for (uint32_t i = 0, next = 0; i < end; i++) {
		uint32_t first = next;
		while (next < expected.count && expected.of[next].owner == i) next++;
		if (next > first) totals.good += next - first;
		else if (nx_peers_address(&port.peers, burst->peer[i]) == NULL)
			totals.unknown += model_frames(burst, i);
		else totals.refused += model_frames(burst, i);
	}
	return totals;
}

static bool is_same(const struct datagram *a, const struct datagram *b)
{
	return a->at == b->at && a->length == b->length && a->ecn == b->ecn &&
	       memcmp(&a->to, &b->to, sizeof a->to) == 0;
}

/* What was sent is what should be, in its order, with gaps only for what got lost. */
static void check_sent(uint32_t taken)
{
	uint32_t next = 0;
	for (uint32_t i = 0; i < sent.count; i++, next++) {
		while (next < expected.count && !is_same(&sent.of[i], &expected.of[next])) next++;
		CHECK(next < expected.count && expected.of[next].owner < taken);
	}
}

/*
 * Frames of several descriptors in one message are of one connection, which handshakes do not name.
 * Not of those that an overlay was written over: they overlap with others.
 */
static void check_connections(const uint8_t *memory, const uint8_t *before)
{
	for (uint32_t i = 1; i < sent.count; i++) {
		const struct datagram *last = &sent.of[i - 1], *next = &sent.of[i];
		uint64_t last_at = last->at + NX_OVERLAY_BYTES, at = next->at + NX_OVERLAY_BYTES;
		if (last->owner != next->owner || expected.of[i].owner == expected.of[i - 1].owner ||
		    memcmp(memory + last_at, before + last_at, NX_SEQUENCE_NUMBER_AT) != 0 ||
		    memcmp(memory + at, before + at, NX_SEQUENCE_NUMBER_AT) != 0)
			continue;
		CHECK(memcmp(memory + last_at + NX_STREAM_ID_AT, memory + at + NX_STREAM_ID_AT,
			     sizeof(nx_be32)) == 0);
		if (i > 1 && sent.of[i - 2].owner == next->owner) continue; /* not the first two */
		uint32_t word = nx_get_u32(memory + last_at + NX_WORD0_AT);
		CHECK((word >> NX_WORD0_TYPE_SHIFT & NX_WORD0_TYPE_MASK) !=
		      NX_FRAME_TYPE_TRUST_HANDSHAKE);
	}
}

/* ---- the input ----------------------------------------------------------------------------- */

static void make_descriptor(struct nx_burst *burst, uint32_t i, const int32_t *peers)
{
	uint32_t kind = take(1), slot_bytes = port.pool.slot_bytes;
	uint32_t slot = kind % SLOTS, begin = POOL_BASE + slot * slot_bytes;
	uint32_t offset = begin + NX_HEADROOM_BYTES, length, segment = 0;
	int32_t peer = peers[kind / 64 % PEERS];
	uint32_t room = slot_bytes - NX_HEADROOM_BYTES;
	if (kind & 4) { /* a train */
		segment = NX_OVERLAY_BYTES + NX_FRAME_BYTES_MIN + take(2) % 1500;
		length = segment * (1 + take(1) % 66) - NX_OVERLAY_BYTES;
		if (kind & 8) length -= take(2) % segment;
	} else length = NX_FRAME_BYTES_MIN + take(kind & 8 ? 1 : 2);
	if (length > room) length = room;
	if ((kind & 16) && i > 0) { /* behind the one before */
		slot = (uint32_t)burst->slot[i - 1];
		offset = burst->offset[i - 1] + burst->length[i - 1] + NX_OVERLAY_BYTES;
		length = burst->length[i - 1] - (kind & 32 ? 1 : 0);
		segment = 0;
		peer = burst->peer[i - 1];
	} else if (kind & 32) { /* at the beginning or the end of its slot */
		offset = kind & 128 ? begin + NX_OVERLAY_BYTES : begin + slot_bytes - length;
	}
	burst->slot[i] = (int32_t)slot;
	burst->offset[i] = offset;
	burst->length[i] = length;
	burst->segment[i] = segment;
	burst->peer[i] = peer;
	burst->flags[i] = take(1) % 16 == 0 ? take(4) : kind >> 7;
	switch (take(1) % 16) {
	case 0: burst->slot[i] = (int32_t)take_hostile(slot); break;
	case 1: burst->offset[i] = take_hostile(offset); break;
	case 2: burst->length[i] = take_hostile(length); break;
	case 3: burst->segment[i] = take_hostile(segment); break;
	case 4: burst->peer[i] = (int32_t)take_hostile((uint32_t)peer); break;
	case 5:
		burst->length[i] = take_hostile(length);
		burst->segment[i] = take_hostile(segment);
	}
}

static uint64_t counted(const uint64_t *before, enum nx_stat which)
{
	return port.stats[which] - before[which];
}

static void send_once(uint8_t *memory, size_t bytes, const int32_t *peers)
{
	static struct nx_burst burst, kept;
	uint64_t before[NX_STATS], sent_bytes = 0;
	uint32_t count = 1 + take(1) % 80;
	uint32_t made = count < NX_BURST_FRAMES_MAX ? count : NX_BURST_FRAMES_MAX;
	uint8_t *model = malloc(bytes), *untouched = malloc(bytes);
	lossless = take(1) & 1;
	port.gso = take(1) & 1;
	for (uint32_t i = 0; i < made; i++) make_descriptor(&burst, i, peers);
	memcpy(&kept, &burst, sizeof burst);
	memcpy(before, port.stats, sizeof before);
	memcpy(model, memory, bytes);
	memcpy(untouched, memory, bytes);
	model_burst(&burst, made, model);
	sent.count = message_count = 0;
	uint32_t taken = nx_udp_tx(&port, &burst, count);
	CHECK(taken <= count);
	CHECK(memcmp(memory, model, bytes) == 0 && memcmp(&burst, &kept, sizeof burst) == 0);
	uint32_t whole = taken < made ? taken : made;
	struct totals totals = model_totals(&burst, whole);
	check_sent(whole);
	for (uint32_t i = 0; i < sent.count; i++) sent_bytes += sent.of[i].length - NX_OVERLAY_BYTES;
	CHECK(counted(before, NX_TX_FRAMES) == sent.count);
	CHECK(counted(before, NX_TX_BYTES) == sent_bytes);
	CHECK(counted(before, NX_TX_UNKNOWN_PEER) == totals.unknown);
	CHECK(counted(before, NX_TX_ERRORS) == totals.refused + totals.good - sent.count);
	if (lossless) {
		CHECK(whole == made && sent.count == expected.count);
		check_connections(memory, untouched);
	}
	free(model);
	free(untouched);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t length);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t length)
{
	/* Slots of a few frames, and slots of the longest train. */
	static const uint32_t slot_sizes[] = {2048, 66048};
	static const char *const hosts[PEERS] = {"127.0.0.1", "192.0.2.7", "2001:db8::7"};
	int32_t peers[PEERS];
	input = data;
	input_length = length;
	uint32_t kind = take(1), slot_bytes = slot_sizes[kind & 1];
	size_t bytes = POOL_BASE + SLOTS * slot_bytes + POOL_TAIL;
	uint8_t *memory = malloc(bytes);
	memset(memory, 0xa5, bytes);
	port = (struct nx_port){
		.fd = -1,
		.family = kind & 2 ? AF_INET : AF_INET6,
		.vni = VNI,
		.frame_bytes_max = slot_bytes - NX_HEADROOM_BYTES,
		.bytes_length = (uint32_t)bytes,
		.pool = {memory, POOL_BASE, slot_bytes, SLOTS},
	};
	if (port.frame_bytes_max > NX_DATAGRAM_BYTES_MAX - NX_OVERLAY_BYTES)
		port.frame_bytes_max = NX_DATAGRAM_BYTES_MAX - NX_OVERLAY_BYTES;
	CHECK(nx_peers_open(&port.peers, 4, 4) == 0);
	for (uint32_t i = 0; i < PEERS; i++) {
		struct nx_address address;
		CHECK(nx_address_parse(hosts[i], 6477 + i, &address));
		peers[i] = nx_peers_know(&port.peers, &address);
	}
	if (kind & 4) /* all frames are handshakes */
		for (size_t at = 0; at < bytes; at += 4)
			nx_put_u32(memory + at, NX_FRAME_TYPE_TRUST_HANDSHAKE << NX_WORD0_TYPE_SHIFT);
	for (uint32_t changes = kind & 8 ? take(1) : 0; changes > 0; changes--)
		memory[(take(2) * 4 + take(1)) % bytes] = (uint8_t)take(1);
	for (uint32_t burst = 0; burst < 4 && input_length > 0; burst++)
		send_once(memory, bytes, peers);
	nx_peers_close(&port.peers);
	free(memory);
	return 0;
}

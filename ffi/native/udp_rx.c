/*
 * Receiving. The kernel hands over single datagrams, or trains of equal ones in one buffer
 * (UDP_GRO). Frames should land in their slots without a copy, but how long the datagrams of the
 * next train are is known only afterwards. So the last train is taken as the guess:
 *
 *   no train lately   up to 16 messages at once, each into one slot
 *   train of g bytes  one message, g bytes into each of up to 64 slots
 *
 * What a wrong guess scattered is copied together in the message's staging memory (unscatter)
 * and cut up from there.
 */
#include <errno.h>
#include <netinet/udp.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "frame.h"
#include "port.h"

/* Receive calls of one burst: bounds the work while frames are dropped for want of slots. */
#define RECEIVES_MAX 8

/* ECN, receive time, drops, segment length: room for all control messages of a datagram. */
union control {
	struct cmsghdr align;
	char bytes[CMSG_SPACE(sizeof(int)) * 3 + CMSG_SPACE(sizeof(struct timespec)) +
		   CMSG_SPACE(sizeof(uint32_t)) + 64];
};

int nx_udp_rx_open(struct nx_port *port)
{
	struct nx_rx *rx = &port->rx;
	rx->wanted = NX_RX_MESSAGES_FEW;
	rx->stages = malloc((size_t)NX_RX_MESSAGES * NX_STAGE_BYTES);
	if (rx->stages == NULL) return -ENOMEM;
	for (uint32_t i = 0; i < NX_RX_MESSAGES; i++)
		rx->messages[i].stage = rx->stages + (size_t)i * NX_STAGE_BYTES;
	return 0;
}

static void free_slots(struct nx_port *port, struct nx_rx_message *message, uint32_t from)
{
	for (uint32_t i = from; i < message->slot_count; i++)
		nx_pool_free(&port->pool, message->slots[i]);
	if (message->slot_count > from) message->slot_count = from;
}

void nx_udp_rx_close(struct nx_port *port)
{
	free(port->rx.stages);
	port->rx.stages = NULL;
}

/* Where a segment that arrived in a slot begins. */
static uint8_t *slot_datagram(const struct nx_port *port, int32_t slot)
{
	return port->pool.bytes + nx_frame_offset(&port->pool, slot) - NX_OVERLAY_BYTES;
}

/* Gives a message slots for `pieces` pieces and lays out its buffers; returns their number. */
static size_t lay_out(struct nx_port *port, struct nx_rx_message *message, uint32_t pieces,
		      uint32_t piece, struct iovec *iov)
{
	size_t vectors = 0;
	message->piece = piece;
	message->slot_count = 0;
	while (message->slot_count < pieces) {
		int32_t slot = nx_pool_alloc(&port->pool);
		if (slot < 0) break;
		message->slots[message->slot_count++] = slot;
		iov[vectors++] = (struct iovec){slot_datagram(port, slot), piece};
	}
	uint32_t in_slots = message->slot_count * piece;
	if (in_slots < NX_STAGE_BYTES)
		iov[vectors++] =
			(struct iovec){message->stage + in_slots, NX_STAGE_BYTES - in_slots};
	return vectors;
}

static void read_control(struct nx_port *port, struct msghdr *header,
			 struct nx_rx_message *message)
{
	for (struct cmsghdr *c = CMSG_FIRSTHDR(header); c != NULL; c = CMSG_NXTHDR(header, c)) {
		const void *data = CMSG_DATA(c);
		int number = 0;
		if (c->cmsg_len >= CMSG_LEN(sizeof number)) memcpy(&number, data, sizeof number);
		if (c->cmsg_level == IPPROTO_UDP && c->cmsg_type == UDP_GRO) {
			if (number > 0) message->segment = (uint32_t)number;
		} else if (c->cmsg_level == IPPROTO_IP && c->cmsg_type == IP_TOS) {
			message->ecn = *(const uint8_t *)data & NX_DESC_ECN_MASK;
		} else if (c->cmsg_level == IPPROTO_IPV6 && c->cmsg_type == IPV6_TCLASS) {
			message->ecn = (uint32_t)number & NX_DESC_ECN_MASK;
		} else if (c->cmsg_level == SOL_SOCKET && c->cmsg_type == SO_TIMESTAMPNS &&
			   c->cmsg_len >= CMSG_LEN(sizeof(struct timespec))) {
			struct timespec time;
			memcpy(&time, data, sizeof time);
			uint64_t ns = (uint64_t)time.tv_sec * 1000000000u + (uint64_t)time.tv_nsec;
			message->time_high = (uint32_t)(ns >> 32);
			message->time_low = (uint32_t)ns;
		} else if (c->cmsg_level == SOL_SOCKET && c->cmsg_type == SO_RXQ_OVFL) {
			/* The kernel's count since the socket was made, 32 bits of it. */
			uint64_t seen = port->stats[NX_RX_QUEUE_FULL];
			port->stats[NX_RX_QUEUE_FULL] += (uint32_t)number - (uint32_t)seen;
		}
	}
}

/* Whether each datagram of a message begins at the begin of a slot, as guessed. */
static bool guessed(const struct nx_rx_message *message)
{
	bool single = message->segment >= message->length;
	return single ? message->length <= message->piece : message->segment == message->piece;
}

/* Moves what a message has in slots from piece `from` on to its staging memory. */
static void unscatter(struct nx_port *port, struct nx_rx_message *message, uint32_t from)
{
	for (uint32_t i = from; i < message->slot_count; i++) {
		uint32_t at = i * message->piece;
		if (at >= message->length) break;
		uint32_t rest = message->length - at;
		memcpy(message->stage + at, slot_datagram(port, message->slots[i]),
		       rest < message->piece ? rest : message->piece);
	}
	free_slots(port, message, from);
	message->slot_count = 0;
}

static void accept_message(struct nx_port *port, struct mmsghdr *received,
			   const struct sockaddr_storage *source, struct nx_rx_message *message)
{
	message->length = received->msg_len;
	message->segment = received->msg_len;
	message->next = 0;
	message->ecn = message->time_high = message->time_low = 0;
	message->peer = -1;
	read_control(port, &received->msg_hdr, message);
	nx_address_from(source, &message->source);
	if (received->msg_hdr.msg_flags & MSG_TRUNC) {
		port->stats[NX_RX_TOO_LONG]++; /* cannot be: staging holds the largest datagram */
		message->length = 0;
		message->next = 1;
		free_slots(port, message, 0);
		return;
	}
	if (!guessed(message)) unscatter(port, message, 0);
	uint32_t segments = message->segment == 0 ? 1
			    : (message->length + message->segment - 1) / message->segment;
	free_slots(port, message, segments);
	if (segments > 1) port->stats[NX_RX_TRAINS]++;
	port->rx.train_segment = segments > 1 ? message->segment : 0;
	port->rx.train_segments = segments;
}

/* One receive call; messages received or a negative errno. */
static int receive(struct nx_port *port)
{
	struct nx_rx *rx = &port->rx;
	struct mmsghdr headers[NX_RX_MESSAGES];
	struct iovec iov[NX_BURST_FRAMES_MAX + 2 * NX_RX_MESSAGES];
	struct sockaddr_storage sources[NX_RX_MESSAGES];
	union control controls[NX_RX_MESSAGES];
	uint32_t slot_datagram_max = NX_OVERLAY_BYTES + port->frame_bytes_max;

	uint32_t train = rx->train_segment <= slot_datagram_max ? rx->train_segment : 0;
	unsigned wanted = train != 0 ? 1 : rx->wanted;
	uint32_t pieces = 1, piece = slot_datagram_max;
	if (train != 0) {
		piece = train;
		pieces = NX_STAGE_BYTES / train;
		if (pieces > NX_BURST_FRAMES_MAX) pieces = NX_BURST_FRAMES_MAX;
	}
	size_t vector = 0;
	for (unsigned i = 0; i < wanted; i++) {
		size_t vectors = lay_out(port, &rx->messages[i], pieces, piece, &iov[vector]);
		headers[i].msg_hdr = (struct msghdr){
			.msg_name = &sources[i],
			.msg_namelen = sizeof sources[i],
			.msg_iov = &iov[vector],
			.msg_iovlen = vectors,
			.msg_control = &controls[i],
			.msg_controllen = sizeof controls[i],
		};
		vector += vectors;
	}
	int got;
	do got = recvmmsg(port->fd, headers, wanted, MSG_DONTWAIT, NULL);
	while (got < 0 && errno == EINTR);
	int error = got < 0 ? -errno : 0;
	for (unsigned i = got > 0 ? (unsigned)got : 0; i < wanted; i++)
		free_slots(port, &rx->messages[i], 0);
	if (got == 0 || error == -EAGAIN || error == -EWOULDBLOCK) rx->wanted = NX_RX_MESSAGES_FEW;
	if (got <= 0) return error;
	/* As many again next time when all came, else fewer: laying out for none costs time. */
	if (train == 0) rx->wanted = (unsigned)got == wanted ? NX_RX_MESSAGES : NX_RX_MESSAGES_FEW;
	for (int i = 0; i < got; i++)
		accept_message(port, &headers[i], &sources[i], &rx->messages[i]);
	rx->next = 0;
	rx->count = (uint32_t)got;
	return got;
}

static int32_t peer_of(struct nx_port *port, struct nx_rx_message *message)
{
	if (message->peer >= 0) return message->peer;
	/* The table is asked again for each message, so that a busy peer stays young. */
	message->peer = nx_peers_learn(&port->peers, &message->source);
	return message->peer;
}

/* What take_segment says instead of a slot: dropped and counted, or no slot in this burst. */
enum { DROPPED = -1, WAITS = -2 };

/* The frame of one segment, checked and in a slot. */
static int32_t take_segment(struct nx_port *port, struct nx_rx_message *message, uint32_t index,
			    uint32_t length)
{
	bool in_slot = index < message->slot_count;
	int32_t slot = in_slot ? message->slots[index] : -1;
	uint8_t *datagram = in_slot ? slot_datagram(port, slot)
				    : message->stage + (size_t)index * message->segment;
	enum nx_overlay_error error = nx_overlay_check(datagram, length, port->vni);
	enum nx_stat dropped;
	if (error == NX_OVERLAY_OTHER_VNI) dropped = NX_RX_WRONG_VNI;
	else if (error != NX_OVERLAY_OK) dropped = NX_RX_MALFORMED;
	else if (length - NX_OVERLAY_BYTES > port->frame_bytes_max) dropped = NX_RX_TOO_LONG;
	else if (in_slot) return slot;
	else {
		slot = nx_pool_alloc(&port->pool);
		if (slot >= 0) {
			memcpy(slot_datagram(port, slot), datagram, length);
			return slot;
		}
		if (port->pool.offered == NX_BURST_FRAMES_MAX) return WAITS;
		dropped = NX_RX_NO_SLOT;
	}
	port->stats[dropped]++;
	if (in_slot) nx_pool_free(&port->pool, slot);
	return DROPPED;
}

uint32_t nx_rx_deliver(struct nx_port *port, struct nx_rx_message *message, struct nx_burst *burst,
		       uint32_t out)
{
	uint64_t bytes = 0;
	uint32_t first = out;
	for (; out < NX_BURST_FRAMES_MAX; message->next++) {
		uint32_t at = message->next * message->segment;
		/* An empty datagram has one segment of no bytes. */
		if (message->length == 0 ? message->next > 0 : at >= message->length) break;
		uint32_t length = message->length - at;
		if (length > message->segment) length = message->segment;
		int32_t slot = take_segment(port, message, message->next, length);
		if (slot == WAITS) break;
		if (slot == DROPPED) continue;
		burst->slot[out] = slot;
		burst->offset[out] = nx_frame_offset(&port->pool, slot);
		burst->length[out] = length - NX_OVERLAY_BYTES;
		burst->flags[out] = message->ecn;
		burst->peer[out] = peer_of(port, message);
		burst->time_high[out] = message->time_high;
		burst->time_low[out] = message->time_low;
		bytes += length - NX_OVERLAY_BYTES;
		out++;
	}
	port->stats[NX_RX_FRAMES] += out - first;
	port->stats[NX_RX_BYTES] += bytes;
	return out;
}

/* Whether a message is delivered to its end. */
static bool finished(const struct nx_rx_message *message)
{
	return message->length == 0 ? message->next > 0
				    : message->next * message->segment >= message->length;
}

/* What does not fit this burst waits for the next one, without holding slots. */
static void put_off_rest(struct nx_port *port)
{
	for (uint32_t i = port->rx.next; i < port->rx.count; i++) {
		struct nx_rx_message *message = &port->rx.messages[i];
		unscatter(port, message, message->next);
	}
}

uint32_t nx_udp_rx(struct nx_port *port, struct nx_burst *burst, uint32_t offered)
{
	struct nx_rx *rx = &port->rx;
	uint32_t out = 0, receives = 0;
	bool drained = false;
	nx_pool_offer(&port->pool, burst, offered);
	for (;;) {
		while (rx->next < rx->count) {
			struct nx_rx_message *message = &rx->messages[rx->next];
			out = nx_rx_deliver(port, message, burst, out);
			if (!finished(message)) break;
			rx->next++;
		}
		uint32_t room = NX_BURST_FRAMES_MAX - out;
		if (rx->next < rx->count || drained || receives == RECEIVES_MAX) break;
		/* A train that would not fit stays in the kernel for the next burst. */
		if (out > 0 && room < (rx->train_segment ? rx->train_segments : NX_RX_MESSAGES))
			break;
		bool one_by_one = rx->train_segment != 0;
		uint32_t wanted = rx->wanted;
		int got = receive(port);
		receives++;
		if (got == -EAGAIN || got == -EWOULDBLOCK) break;
		if (got < 0) port->stats[NX_RX_ERRORS]++; /* says what an earlier send met */
		else drained = !one_by_one && (uint32_t)got < wanted;
	}
	put_off_rest(port);
	nx_pool_return(&port->pool, burst, out);
	if (port->check_crc && out > 0)
		nx_frames_crc(port->pool.bytes, port->bytes_length, burst, 0, out, NX_CRC_CHECK);
	return out;
}

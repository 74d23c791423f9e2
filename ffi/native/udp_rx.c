/*
 * Receiving. The kernel hands over single datagrams, or trains of equal ones in one buffer
 * (UDP_GRO). Each message lands whole in one slot, without a copy; the frames of a train stay where
 * they are and share the slot, with one descriptor each or, on a port of trains, one for all. What does not fit the burst waits in staging
 * memory for the next one, so that no slot is held between calls.
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
/* Past this a few messages are a burst: they are to be read while they are in the caches. */
#define LONG_BYTES 16384u

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
	/* Untouched, and so no memory, until frames have to wait. */
	rx->stages = malloc((size_t)NX_RX_MESSAGES * NX_STAGE_BYTES);
	if (rx->stages == NULL) return -ENOMEM;
	for (uint32_t i = 0; i < NX_RX_MESSAGES; i++)
		rx->messages[i].stage = rx->stages + (size_t)i * NX_STAGE_BYTES;
	return 0;
}

void nx_udp_rx_close(struct nx_port *port)
{
	free(port->rx.stages);
	port->rx.stages = NULL;
}

/* Where the first datagram of a slot begins. */
static uint8_t *slot_datagram(const struct nx_port *port, int32_t slot)
{
	return port->pool.bytes + nx_frame_offset(&port->pool, slot) - NX_OVERLAY_BYTES;
}

/* Bytes of the longest message that a slot takes. */
static uint32_t slot_room(const struct nx_port *port)
{
	return port->pool.slot_bytes - NX_HEADROOM_BYTES + NX_OVERLAY_BYTES;
}

/* The next slot that was offered, or -1. */
static int32_t take_slot(struct nx_rx *rx)
{
	return rx->offered == rx->used ? -1 : rx->slots[rx->used++];
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
		port->stats[NX_RX_TOO_LONG]++;
		message->length = 0;
		message->next = 1;
	}
	uint32_t segments = message->segment == 0 ? 1
			    : (message->length + message->segment - 1) / message->segment;
	if (segments > 1) port->stats[NX_RX_TRAINS]++;
	port->rx.train_segments = segments;
	port->rx.last_bytes = message->length;
}

/* recvmmsg, which for one message costs more than recvmsg. */
static int receive_messages(int fd, struct mmsghdr *headers, unsigned wanted)
{
	if (wanted > 1) return (int)nx_recvmmsg(fd, headers, wanted);
	long got = nx_recvmsg(fd, &headers->msg_hdr);
	if (got < 0) return -1;
	headers->msg_len = (unsigned)got;
	return 1;
}

/* One receive call for up to `wanted` messages; messages received or a negative errno. */
static int receive(struct nx_port *port, unsigned wanted)
{
	struct nx_rx *rx = &port->rx;
	struct mmsghdr headers[NX_RX_MESSAGES];
	struct iovec iov[NX_RX_MESSAGES];
	struct sockaddr_storage sources[NX_RX_MESSAGES];
	union control controls[NX_RX_MESSAGES];

	for (unsigned i = 0; i < wanted; i++) {
		struct nx_rx_message *message = &rx->messages[i];
		message->slot = take_slot(rx);
		/* Without a slot it is read to be counted and dropped. */
		iov[i] = message->slot < 0
				 ? (struct iovec){message->stage, NX_STAGE_BYTES}
				 : (struct iovec){slot_datagram(port, message->slot), slot_room(port)};
		headers[i].msg_hdr = (struct msghdr){
			.msg_name = &sources[i],
			.msg_namelen = sizeof sources[i],
			.msg_iov = &iov[i],
			.msg_iovlen = 1,
			.msg_control = &controls[i],
			.msg_controllen = sizeof controls[i],
		};
	}
	int got;
	do got = receive_messages(port->fd, headers, wanted);
	while (got < 0 && errno == EINTR);
	int error = got < 0 ? -errno : 0;
	/* Slots are given out in order, so those of the messages that did not come are the last. */
	for (unsigned i = got > 0 ? (unsigned)got : 0; i < wanted; i++)
		if (rx->messages[i].slot >= 0) rx->used--;
	if (got <= 0) return error;
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

/* Whether the frame of one segment is good; what is not is counted. */
static bool check_segment(struct nx_port *port, const uint8_t *datagram, uint32_t length,
			  bool has_slot)
{
	enum nx_overlay_error error = nx_overlay_check(datagram, length, port->vni);
	enum nx_stat dropped;
	if (error == NX_OVERLAY_OTHER_VNI) dropped = NX_RX_WRONG_VNI;
	else if (error != NX_OVERLAY_OK) dropped = NX_RX_MALFORMED;
	else if (length - NX_OVERLAY_BYTES > port->frame_bytes_max) dropped = NX_RX_TOO_LONG;
	else if (!has_slot) dropped = NX_RX_NO_SLOT;
	else return true;
	port->stats[dropped]++;
	return false;
}

/*
 * Whether all frames of a message are good, so that they can be told of as one train. One with
 * reserved bits set in an overlay is looked at frame by frame.
 */
static bool is_good_train(const struct nx_port *port, const struct nx_rx_message *message,
			  const uint8_t *begin)
{
	const uint32_t least = NX_OVERLAY_BYTES + NX_FRAME_BYTES_MIN;
	uint32_t segment = message->segment;
	uint64_t overlay = nx_overlay_word(port->vni);
	if (segment < least || segment >= message->length ||
	    segment - NX_OVERLAY_BYTES > port->frame_bytes_max)
		return false;
	uint32_t rest = message->length % segment;
	if (rest != 0 && rest < least) return false;
	for (uint32_t at = 0; at < message->length; at += segment)
		if (!nx_overlay_is(begin + at, overlay)) return false;
	return true;
}

/* One descriptor for the whole message. */
static void deliver_train(struct nx_port *port, struct nx_rx_message *message,
			  struct nx_burst *burst, uint32_t out)
{
	uint32_t frames = (message->length + message->segment - 1) / message->segment;
	burst->slot[out] = message->slot;
	burst->offset[out] = nx_frame_offset(&port->pool, message->slot);
	burst->length[out] = message->length - NX_OVERLAY_BYTES;
	burst->flags[out] = message->ecn;
	burst->peer[out] = peer_of(port, message);
	burst->time_high[out] = message->time_high;
	burst->time_low[out] = message->time_low;
	burst->segment[out] = message->segment;
	message->next = frames;
	port->stats[NX_RX_FRAMES] += frames;
	port->stats[NX_RX_BYTES] += message->length - frames * NX_OVERLAY_BYTES;
}

uint32_t nx_rx_deliver(struct nx_port *port, struct nx_rx_message *message, struct nx_burst *burst,
		       uint32_t out)
{
	bool has_slot = message->slot >= 0;
	uint8_t *begin = has_slot ? slot_datagram(port, message->slot) : message->stage;
	uint32_t frame_at = has_slot ? nx_frame_offset(&port->pool, message->slot) : 0;
	uint64_t bytes = 0;
	uint32_t first = out;
	if (port->trains && has_slot && message->next == 0 && out < NX_BURST_FRAMES_MAX &&
	    is_good_train(port, message, begin)) {
		deliver_train(port, message, burst, out);
		return out + 1;
	}
	for (; out < NX_BURST_FRAMES_MAX; message->next++) {
		uint32_t at = message->next * message->segment;
		/* An empty datagram has one segment of no bytes. */
		if (message->length == 0 ? message->next > 0 : at >= message->length) break;
		uint32_t length = message->length - at;
		if (length > message->segment) length = message->segment;
		if (!check_segment(port, begin + at, length, has_slot)) continue;
		burst->slot[out] = message->slot;
		burst->offset[out] = frame_at + at;
		burst->length[out] = length - NX_OVERLAY_BYTES;
		burst->flags[out] = message->ecn;
		burst->peer[out] = peer_of(port, message);
		burst->time_high[out] = message->time_high;
		burst->time_low[out] = message->time_low;
		burst->segment[out] = 0;
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

/* What does not fit this burst waits for the next one, in staging memory. */
static void put_off_rest(struct nx_port *port)
{
	for (uint32_t i = port->rx.next; i < port->rx.count; i++) {
		struct nx_rx_message *message = &port->rx.messages[i];
		uint32_t at = message->next * message->segment;
		if (message->slot < 0) continue;
		if (at < message->length)
			memcpy(message->stage, slot_datagram(port, message->slot) + at,
			       message->length - at);
		message->slot = -1;
		message->length -= at < message->length ? at : message->length;
		message->next = message->length == 0 ? 1 : 0;
	}
}

/*
 * Brings a message that was put off into a slot of this receive. False: it has to wait for the next
 * one; without any slots at all, or longer than one because it was read when there were none, it is
 * delivered as it is, which drops it.
 */
static bool take_up(struct nx_port *port, struct nx_rx_message *message)
{
	struct nx_rx *rx = &port->rx;
	if (message->slot >= 0 || rx->offered == 0 || message->length > slot_room(port)) return true;
	message->slot = take_slot(rx);
	if (message->slot < 0) return false;
	memcpy(slot_datagram(port, message->slot), message->stage, message->length);
	return true;
}

/* Delivers what was received; false when the rest has to wait. */
static bool deliver_all(struct nx_port *port, struct nx_burst *burst, uint32_t *out)
{
	struct nx_rx *rx = &port->rx;
	for (; rx->next < rx->count; rx->next++) {
		struct nx_rx_message *message = &rx->messages[rx->next];
		if (!take_up(port, message)) return false;
		*out = nx_rx_deliver(port, message, burst, *out);
		if (!finished(message)) return false;
	}
	return true;
}

uint32_t nx_udp_rx(struct nx_port *port, struct nx_burst *burst, const int32_t *slots,
		   uint32_t offered, bool only_one)
{
	struct nx_rx *rx = &port->rx;
	uint32_t out = 0;
	rx->slots = slots;
	rx->offered = offered < NX_RX_MESSAGES ? offered : NX_RX_MESSAGES;
	rx->used = 0;
	for (uint32_t receives = 0; receives < RECEIVES_MAX; receives++) {
		if (!deliver_all(port, burst, &out)) break;
		uint32_t room = NX_BURST_FRAMES_MAX - out, left = rx->offered - rx->used;
		if (left == 0 && rx->offered > 0) break;
		/* A train is worth a call of its own; one that would not fit stays in the kernel. */
		if (out > 0 && rx->train_segments > (port->trains ? 1 : room)) break;
		unsigned wanted = rx->train_segments > 1  ? 1
				  : rx->last_bytes > LONG_BYTES ? NX_RX_MESSAGES_FEW
								: rx->wanted;
		if (out > 0 && rx->last_bytes > LONG_BYTES) break;
		if (wanted > room) wanted = room;
		if (wanted > left && left > 0) wanted = left;
		if (only_one) wanted = 1;
		int got = receive(port, wanted);
		if (got == -EAGAIN || got == -EWOULDBLOCK) {
			rx->wanted = NX_RX_MESSAGES_FEW;
			break;
		}
		if (got < 0) {
			port->stats[NX_RX_ERRORS]++; /* says what an earlier send met */
			continue;
		}
		/* As many again next time when all came, else fewer: laying out for none costs time. */
		bool all = (unsigned)got == wanted && !only_one;
		rx->wanted = all ? NX_RX_MESSAGES : NX_RX_MESSAGES_FEW;
		if (!all) {
			deliver_all(port, burst, &out);
			break;
		}
	}
	put_off_rest(port);
	if (port->check_crc && out > 0)
		nx_frames_crc(port->pool.bytes, port->bytes_length, burst, 0, out, NX_CRC_CHECK);
	return out;
}

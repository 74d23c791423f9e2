/*
 * Fuzz target: the receive path as it is, with a recvmmsg of our own that makes up messages from
 * the input: any bytes, any segment length, any control messages, while slots run short. Checked:
 * memory (sanitizers), that each frame lies in a slot that was offered, and that it has a good
 * overlay and the length it claims.
 */
#include <errno.h>
#include <netinet/udp.h>
#include <string.h>

#include "../port.h"
#include "check.h"
#include "input.h"

#define SLOTS 16u
#define SLOT_BYTES 4096u
#define VNI 0x010203u

static void add_control(struct msghdr *header, int level, int type, const void *data, size_t bytes)
{
	struct cmsghdr *c = (struct cmsghdr *)((char *)header->msg_control + header->msg_controllen);
	header->msg_controllen += CMSG_SPACE(bytes);
	c->cmsg_level = level;
	c->cmsg_type = type;
	c->cmsg_len = CMSG_LEN(bytes);
	memcpy(CMSG_DATA(c), data, bytes);
}

/* One message: kind, segment, length, then its first bytes; the rest repeats them. */
static void make_message(struct mmsghdr *message)
{
	static uint8_t bytes[65507];
	uint32_t kind = take(1), segment = take(2), length = take(2), head = take(1);
	if (kind & 1) segment = 76 + segment % 500;
	if (segment == 0) segment = 1;
	length %= kind & 128 ? (uint32_t)sizeof bytes : 4096; /* long ones are slow to make */
	memset(bytes, 0, length);
	for (uint32_t at = 0; at < length; at += segment) {
		uint8_t overlay[NX_OVERLAY_BYTES];
		uint32_t rest = length - at < sizeof overlay ? length - at : sizeof overlay;
		nx_overlay_write(overlay, nx_overlay_word(kind & 2 ? VNI : VNI + at % 2));
		memcpy(bytes + at, overlay, rest);
	}
	for (uint32_t at = 0; at < head && input_length > 0; at++) {
		uint32_t place = take(2);
		if (place < length) bytes[place] = (uint8_t)take(1);
	}
	struct msghdr *header = &message->msg_hdr;
	uint32_t copied = 0;
	for (size_t i = 0; i < header->msg_iovlen && copied < length; i++) {
		size_t part = header->msg_iov[i].iov_len;
		if (part > length - copied) part = length - copied;
		memcpy(header->msg_iov[i].iov_base, bytes + copied, part);
		copied += (uint32_t)part;
	}
	message->msg_len = copied;
	header->msg_flags = copied < length ? MSG_TRUNC : 0;
	struct sockaddr_in *source = header->msg_name;
	*source = (struct sockaddr_in){.sin_family = AF_INET, .sin_port = (uint16_t)take(1)};
	header->msg_controllen = 0;
	int number = (int)segment;
	uint8_t tos = (uint8_t)kind;
	if (kind & 4) add_control(header, IPPROTO_UDP, UDP_GRO, &number, sizeof number);
	if (kind & 8) add_control(header, IPPROTO_IP, IP_TOS, &tos, sizeof tos);
	if (kind & 16) add_control(header, SOL_SOCKET, SO_RXQ_OVFL, &number, sizeof number);
	if (kind & 32) add_control(header, SOL_SOCKET, SO_TIMESTAMPNS, &number, 1);
	if (kind & 64) add_control(header, IPPROTO_UDP, UDP_GRO, &tos, sizeof tos);
}

int recvmmsg(int fd, struct mmsghdr *messages, unsigned count, int flags, struct timespec *timeout)
{
	(void)fd, (void)flags, (void)timeout;
	uint32_t wanted = take(1) % 20;
	if (input_length == 0) {
		errno = EAGAIN;
		return -1;
	}
	if (wanted == 19) {
		errno = ECONNREFUSED;
		return -1;
	}
	if (wanted > count) wanted = count;
	if (wanted == 0) wanted = 1;
	for (uint32_t i = 0; i < wanted; i++) make_message(&messages[i]);
	return (int)wanted;
}

ssize_t recvmsg(int fd, struct msghdr *header, int flags)
{
	struct mmsghdr message = {.msg_hdr = *header};
	if (recvmmsg(fd, &message, 1, flags, NULL) < 0) return -1;
	*header = message.msg_hdr;
	return (ssize_t)message.msg_len;
}

static struct nx_port port;
static uint8_t *memory;

static void open_once(void)
{
	if (memory != NULL) return;
	memory = malloc((size_t)SLOTS * SLOT_BYTES);
	port.family = AF_INET;
	port.vni = VNI;
	port.check_crc = true;
	port.frame_bytes_max = SLOT_BYTES - NX_HEADROOM_BYTES;
	port.bytes_length = SLOTS * SLOT_BYTES;
	port.pool.bytes = memory;
	port.pool.slot_bytes = SLOT_BYTES;
	port.pool.slots = SLOTS;
	CHECK(nx_peers_open(&port.peers, 8, 8) == 0);
	CHECK(nx_udp_rx_open(&port) == 0);
}

static void receive_once(uint32_t offered)
{
	struct nx_burst burst;
	int32_t slots[NX_RX_SLOTS_MAX];
	for (uint32_t i = 0; i < offered; i++) slots[i] = (int32_t)(SLOTS - 1 - i);
	port.trains = take(1) & 1;
	uint32_t count = nx_udp_rx(&port, &burst, slots, offered, take(1) % 4 == 0);
	CHECK(count <= NX_BURST_FRAMES_MAX);
	for (uint32_t i = 0; i < count; i++) {
		uint32_t slot = (uint32_t)burst.slot[i], begin = slot * SLOT_BYTES;
		CHECK(slot < SLOTS && slot + offered >= SLOTS);
		CHECK(burst.offset[i] >= begin + NX_HEADROOM_BYTES);
		CHECK(burst.offset[i] + burst.length[i] <= begin + SLOT_BYTES);
		uint32_t bytes = burst.length[i] + NX_OVERLAY_BYTES, step = burst.segment[i];
		CHECK(port.trains || step == 0);
		if (step == 0) step = bytes;
		CHECK(step <= port.frame_bytes_max + NX_OVERLAY_BYTES);
		for (uint32_t at = 0; at < bytes; at += step)
			CHECK(nx_overlay_check(memory + burst.offset[i] - NX_OVERLAY_BYTES + at,
					       bytes - at < step ? bytes - at : step, VNI) ==
			      NX_OVERLAY_OK);
		CHECK(nx_peers_address(&port.peers, burst.peer[i]) != NULL);
		/* No two frames overlap. */
		if (i > 0 && burst.slot[i] == burst.slot[i - 1])
			CHECK(burst.offset[i] >= burst.offset[i - 1] + burst.length[i - 1]);
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t length);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t length)
{
	open_once();
	input = data;
	input_length = length;
	while (input_length > 0) receive_once(take(1) % (NX_RX_SLOTS_MAX + 1));
	/* What was put off does not leak into the next input. */
	while (port.rx.next < port.rx.count) receive_once(NX_RX_SLOTS_MAX);
	port.rx.train_segments = 1;
	port.rx.wanted = NX_RX_MESSAGES;
	return 0;
}

/*
 * Sending. Neighbours in the burst with one connection, one length and one ECN mark leave as a train:
 * one message that the kernel or the card cuts up (UDP_SEGMENT). All messages of a burst go in one
 * call. What the system refuses is a lost frame to the layers above: counted, never an error.
 */
#include <errno.h>
#include <netinet/udp.h>
#include <string.h>

#include "frame.h"
#include "port.h"

/* Bytes of a train: the largest IP packet less IPv6 and UDP headers. */
#define TRAIN_BYTES_MAX 65487u
/* Datagrams of a train: UDP_MAX_SEGMENTS of the kernels before 6.9. */
#define TRAIN_SEGMENTS_MAX 64u

/* Frames first … first+count-1 of the burst and what becomes of them. */
struct run {
	uint32_t first, count;
	enum { SEND, UNKNOWN_PEER, REFUSED } fate;
};

union control {
	struct cmsghdr align;
	char bytes[CMSG_SPACE(sizeof(uint16_t)) + CMSG_SPACE(sizeof(int))];
};

struct plan {
	uint32_t run_count, message_count;
	struct run runs[NX_BURST_FRAMES_MAX];
	struct mmsghdr messages[NX_BURST_FRAMES_MAX];
	struct iovec iov[NX_BURST_FRAMES_MAX];
	struct sockaddr_storage names[NX_BURST_FRAMES_MAX];
	union control controls[NX_BURST_FRAMES_MAX];
};

/* A descriptor must lie in its slot with room for the overlay, or C would write elsewhere. */
static bool in_slot(const struct nx_port *port, const struct nx_burst *burst, uint32_t i)
{
	const struct nx_pool *pool = &port->pool;
	uint32_t slot = (uint32_t)burst->slot[i];
	if (slot >= pool->slots) return false;
	uint64_t start = pool->base + (uint64_t)slot * pool->slot_bytes, offset = burst->offset[i];
	return offset >= start + NX_OVERLAY_BYTES &&
	       offset + burst->length[i] <= start + pool->slot_bytes;
}

/* Bytes from the first overlay of a descriptor to the end of its last frame. */
static uint32_t datagram_bytes(const struct nx_burst *burst, uint32_t i)
{
	return burst->length[i] + NX_OVERLAY_BYTES;
}

/* Bytes of each datagram of a descriptor; the last one may be shorter. */
static uint32_t segment_bytes(const struct nx_burst *burst, uint32_t i)
{
	return burst->segment[i] != 0 ? burst->segment[i] : datagram_bytes(burst, i);
}

static uint32_t segments(const struct nx_burst *burst, uint32_t i)
{
	uint32_t segment = segment_bytes(burst, i);
	return (datagram_bytes(burst, i) + segment - 1) / segment;
}

static bool sendable(const struct nx_port *port, const struct nx_burst *burst, uint32_t i)
{
	if (burst->length[i] < NX_FRAME_BYTES_MIN || !in_slot(port, burst, i)) return false;
	uint32_t segment = segment_bytes(burst, i), bytes = datagram_bytes(burst, i);
	if (segment < NX_OVERLAY_BYTES + NX_FRAME_BYTES_MIN ||
	    segment > NX_OVERLAY_BYTES + port->frame_bytes_max)
		return false;
	if (segment >= bytes) return true;
	uint32_t last = bytes % segment;
	return bytes <= TRAIN_BYTES_MAX && (bytes - 1) / segment < TRAIN_SEGMENTS_MAX &&
	       (last == 0 || last >= NX_OVERLAY_BYTES + NX_FRAME_BYTES_MIN);
}

static void add_control(struct msghdr *header, union control *control, int level, int type,
			const void *value, size_t bytes)
{
	struct cmsghdr *c = (struct cmsghdr *)(control->bytes + header->msg_controllen);
	header->msg_control = control->bytes;
	header->msg_controllen += CMSG_SPACE(bytes);
	c->cmsg_level = level;
	c->cmsg_type = type;
	c->cmsg_len = CMSG_LEN(bytes);
	memcpy(CMSG_DATA(c), value, bytes);
}

static void add_ecn(struct nx_port *port, const struct nx_address *to, struct msghdr *header,
		    union control *control, uint32_t ecn)
{
	int value = (int)ecn;
	if (ecn == 0) return;
	if (port->family == AF_INET || nx_address_is_ipv4(to))
		add_control(header, control, IPPROTO_IP, IP_TOS, &value, sizeof value);
	else add_control(header, control, IPPROTO_IPV6, IPV6_TCLASS, &value, sizeof value);
}

/*
 * Whether two frames may share a train. One that is not cut up on its way (loopback, virtual
 * networks) is steered as a whole (steer.c), so it carries frames of one connection only. Handshake
 * frames do not name theirs.
 */
static bool one_connection(const struct nx_port *port, const struct nx_burst *burst, uint32_t a,
			   uint32_t b)
{
	const uint8_t *first = port->pool.bytes + burst->offset[a];
	const uint8_t *next = port->pool.bytes + burst->offset[b];
	uint32_t type = nx_get_u32(first + NX_WORD0_AT) >> NX_WORD0_TYPE_SHIFT & NX_WORD0_TYPE_MASK;
	return burst->peer[a] == burst->peer[b] && type != NX_FRAME_TYPE_TRUST_HANDSHAKE &&
	       memcmp(first + NX_STREAM_ID_AT, next + NX_STREAM_ID_AT, sizeof(nx_be32)) == 0;
}

/* How many frames from `first` on can leave as one message. */
static uint32_t train_frames(const struct nx_port *port, const struct nx_burst *burst,
			     uint32_t first, uint32_t count)
{
	uint32_t datagram = datagram_bytes(burst, first), bytes = datagram, i = first + 1;
	if (!port->gso || burst->segment[first] != 0) return 1;
	for (; i < count; i++) {
		uint32_t next = datagram_bytes(burst, i);
		if (burst->segment[i] != 0 || next > datagram || bytes + next > TRAIN_BYTES_MAX ||
		    (burst->flags[i] ^ burst->flags[first]) & NX_DESC_ECN_MASK ||
		    !sendable(port, burst, i) || !one_connection(port, burst, first, i))
			break;
		bytes += next;
		if (next < datagram) { /* only the last one may be shorter */
			i++;
			break;
		}
	}
	return i - first;
}

/* Frames that lie back to back in a slot are one piece for the kernel. */
static bool contiguous(const struct plan *plan, const struct run *run)
{
	for (uint32_t i = run->first; i + 1 < run->first + run->count; i++) {
		const struct iovec *iov = &plan->iov[i];
		if ((uint8_t *)iov->iov_base + iov->iov_len != iov[1].iov_base) return false;
	}
	return true;
}

static size_t run_bytes(const struct plan *plan, const struct run *run)
{
	size_t bytes = 0;
	for (uint32_t i = run->first; i < run->first + run->count; i++)
		bytes += plan->iov[i].iov_len;
	return bytes;
}

static bool is_train(const struct nx_burst *burst, const struct run *run)
{
	return run->count > 1 || segments(burst, run->first) > 1;
}

static void add_message(struct nx_port *port, struct nx_burst *burst, struct plan *plan,
			const struct run *run, const struct nx_address *to, socklen_t name_length)
{
	uint32_t m = plan->message_count++;
	uint64_t overlay = nx_overlay_word(port->vni);
	struct msghdr *header = &plan->messages[m].msg_hdr;
	*header = (struct msghdr){
		.msg_name = &plan->names[m],
		.msg_namelen = name_length,
		.msg_iov = &plan->iov[run->first],
		.msg_iovlen = run->count,
	};
	for (uint32_t i = run->first; i < run->first + run->count; i++) {
		uint8_t *datagram = port->pool.bytes + burst->offset[i] - NX_OVERLAY_BYTES;
		uint32_t bytes = datagram_bytes(burst, i), segment = segment_bytes(burst, i);
		for (uint32_t at = 0; at < bytes; at += segment)
			nx_overlay_write(datagram + at, overlay);
		plan->iov[i] = (struct iovec){datagram, bytes};
	}
	if (contiguous(plan, run)) {
		plan->iov[run->first].iov_len = run_bytes(plan, run);
		header->msg_iovlen = 1;
	}
	add_ecn(port, to, header, &plan->controls[m], burst->flags[run->first] & NX_DESC_ECN_MASK);
	if (is_train(burst, run)) {
		uint16_t segment = (uint16_t)segment_bytes(burst, run->first);
		add_control(header, &plan->controls[m], IPPROTO_UDP, UDP_SEGMENT, &segment,
			    sizeof segment);
	}
}

static void make_plan(struct nx_port *port, struct nx_burst *burst, uint32_t count,
		      struct plan *plan)
{
	plan->run_count = plan->message_count = 0;
	for (uint32_t i = 0; i < count;) {
		struct run *run = &plan->runs[plan->run_count++];
		*run = (struct run){i, 1, SEND};
		const struct nx_address *to = nx_peers_use(&port->peers, burst->peer[i]);
		if (to == NULL) run->fate = UNKNOWN_PEER;
		else if (!sendable(port, burst, i)) run->fate = REFUSED;
		else {
			struct sockaddr_storage *name = &plan->names[plan->message_count];
			socklen_t length = nx_address_to(to, port->family, name);
			if (length == 0) run->fate = REFUSED;
			else {
				run->count = train_frames(port, burst, i, count);
				add_message(port, burst, plan, run, to, length);
			}
		}
		i += run->count;
	}
}

static void count_sent(struct nx_port *port, const struct nx_burst *burst, uint32_t i)
{
	uint32_t frames = segments(burst, i);
	port->stats[NX_TX_FRAMES] += frames;
	port->stats[NX_TX_BYTES] += datagram_bytes(burst, i) - frames * NX_OVERLAY_BYTES;
}

/* Frames of a descriptor that is refused: it may say anything. */
static uint32_t frames_refused(const struct nx_burst *burst, uint32_t i)
{
	uint64_t bytes = (uint64_t)burst->length[i] + NX_OVERLAY_BYTES, segment = burst->segment[i];
	uint64_t frames = segment == 0 ? 1 : (bytes + segment - 1) / segment;
	return frames < TRAIN_SEGMENTS_MAX ? (uint32_t)frames : TRAIN_SEGMENTS_MAX;
}

static bool would_block(int error)
{
	return error == EAGAIN || error == EWOULDBLOCK;
}

/* ENOBUFS and the like are lost frames; these say something about an earlier frame: try again. */
static bool about_earlier_frame(int error)
{
	return error == ECONNREFUSED || error == EINTR;
}

/* Sends one datagram of a refused train. */
static void send_one(struct nx_port *port, const struct msghdr *train, uint32_t ecn,
		     uint8_t *datagram, uint32_t bytes)
{
	struct iovec iov = {datagram, bytes};
	struct msghdr header = *train;
	union control control;
	header.msg_iov = &iov;
	header.msg_iovlen = 1;
	header.msg_control = NULL;
	header.msg_controllen = 0;
	struct nx_address to;
	nx_address_from(train->msg_name, &to);
	add_ecn(port, &to, &header, &control, ecn);
	long sent = nx_sendmsg(port->fd, &header);
	if (sent < 0 && about_earlier_frame(errno)) sent = nx_sendmsg(port->fd, &header);
	if (sent < 0) {
		port->stats[NX_TX_ERRORS]++;
		return;
	}
	port->stats[NX_TX_FRAMES]++;
	port->stats[NX_TX_BYTES] += bytes - NX_OVERLAY_BYTES;
}

/* Sends the frames of a refused train one by one. Lost ones are counted. */
static void send_singly(struct nx_port *port, struct nx_burst *burst, const struct run *run,
			const struct msghdr *train)
{
	for (uint32_t i = run->first; i < run->first + run->count; i++) {
		uint8_t *datagram = port->pool.bytes + burst->offset[i] - NX_OVERLAY_BYTES;
		uint32_t bytes = datagram_bytes(burst, i), segment = segment_bytes(burst, i);
		for (uint32_t at = 0; at < bytes; at += segment)
			send_one(port, train, burst->flags[i] & NX_DESC_ECN_MASK, datagram + at,
				 bytes - at < segment ? bytes - at : segment);
	}
}

/* The system refused a message: without segmentation it may pass; else it is lost. */
static void send_refused(struct nx_port *port, struct nx_burst *burst, const struct run *run,
			 const struct msghdr *header, int error)
{
	bool no_segmentation = error == EIO || error == EINVAL || error == EMSGSIZE ||
			       error == EOPNOTSUPP;
	if (is_train(burst, run) && no_segmentation) {
		if (error == EIO) port->gso = false; /* this device has no checksum offload */
		send_singly(port, burst, run, header);
	} else for (uint32_t i = run->first; i < run->first + run->count; i++)
		port->stats[NX_TX_ERRORS] += segments(burst, i);
}

/* sendmmsg, which for one message costs more than sendmsg. */
static int send_messages(int fd, struct mmsghdr *messages, unsigned count)
{
	if (count > 1) return (int)nx_sendmmsg(fd, messages, count);
	return nx_sendmsg(fd, &messages->msg_hdr) < 0 ? -1 : 1;
}

/* Sends the messages of the plan; runs gone through. Fewer than all: the socket is full. */
static uint32_t carry_out(struct nx_port *port, struct nx_burst *burst, struct plan *plan)
{
	uint32_t message = 0, accepted = 0; /* messages before `accepted` are with the kernel */
	bool retried = false;
	for (uint32_t r = 0; r < plan->run_count; r++) {
		struct run *run = &plan->runs[r];
		if (run->fate != SEND) {
			port->stats[run->fate == REFUSED ? NX_TX_ERRORS : NX_TX_UNKNOWN_PEER] +=
				frames_refused(burst, run->first);
			continue;
		}
		while (message == accepted) {
			int sent = send_messages(port->fd, plan->messages + message,
						 plan->message_count - message);
			if (sent > 0) {
				accepted += (uint32_t)sent;
				retried = false;
				break;
			}
			int error = sent < 0 ? errno : EAGAIN;
			if (would_block(error)) return r;
			if (about_earlier_frame(error) && !retried) {
				retried = true;
				continue;
			}
			retried = false;
			send_refused(port, burst, run, &plan->messages[message].msg_hdr, error);
			break;
		}
		if (message < accepted) {
			for (uint32_t i = run->first; i < run->first + run->count; i++)
				count_sent(port, burst, i);
			if (is_train(burst, run)) port->stats[NX_TX_TRAINS]++;
		} else accepted++; /* refused: dealt with above */
		message++;
	}
	return plan->run_count;
}

uint32_t nx_udp_tx(struct nx_port *port, struct nx_burst *burst, uint32_t count)
{
	struct plan plan;
	if (count > NX_BURST_FRAMES_MAX) count = NX_BURST_FRAMES_MAX;
	make_plan(port, burst, count, &plan);
	uint32_t runs = carry_out(port, burst, &plan);
	return runs == plan.run_count ? count : plan.runs[runs].first;
}

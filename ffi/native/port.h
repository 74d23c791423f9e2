/* A UDP port: one socket, the pool it works on, its peers and counters. */
#ifndef NX_PORT_H
#define NX_PORT_H

#include <netinet/in.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "nx_io.h"
#include "overlay.h"
#include "peers.h"
#include "pool.h"

/* Largest UDP payload over IPv4: 65,535 less both headers. */
#define NX_DATAGRAM_BYTES_MAX 65507u

/* Messages of one receive call: enough to hide the call, few enough for their staging memory. */
#define NX_RX_MESSAGES NX_RX_SLOTS_MAX
/* The same while few come. */
#define NX_RX_MESSAGES_FEW 4
/* Staging of one message: more than any datagram or coalesced train. */
#define NX_STAGE_BYTES 65536u

/* One message as received: a datagram, or a train of `segment` bytes each (the last may be shorter). */
struct nx_rx_message {
	int32_t slot; /* where it lies; -1: in `stage` */
	uint8_t *stage;
	uint32_t length;
	uint32_t segment; /* = length for a single one */
	uint32_t next;    /* first segment that is not delivered yet */
	uint32_t ecn;
	uint32_t time_high, time_low;
	int32_t peer; /* -1 until the first good frame */
	struct nx_address source;
};

struct nx_rx {
	struct nx_rx_message messages[NX_RX_MESSAGES];
	uint8_t *stages;
	uint32_t count; /* messages received, of which those from `next` on are not delivered */
	uint32_t next;
	uint32_t train_segments; /* of the last message */
	uint32_t last_bytes;     /* its length */
	uint32_t wanted;         /* messages that the next call asks for */
	/* Slots that this call was offered and how many of them hold a message. */
	const int32_t *slots;
	uint32_t offered, used;
};

struct nx_port {
	int fd;
	int family; /* AF_INET or AF_INET6 */
	uint32_t vni;
	uint32_t frame_bytes_max;
	bool gso;
	bool check_crc;
	bool trains; /* received as one descriptor each */
	int waker_fd; /* epoll of the waker, -1 none */
	bool in_waker; /* registered there: costs each send and receive the waking of nobody */
	uint32_t tag;
	uint32_t bytes_length; /* of pool.bytes */
	struct nx_pool pool;
	struct nx_peers peers;
	uint64_t stats[NX_STATS];
	struct nx_rx rx;
};

/*
 * The system calls as they are: those of libc are points of cancellation, which costs two locked
 * operations each where a process has threads.
 */
static inline long nx_sendmsg(int fd, const struct msghdr *header)
{
	return syscall(SYS_sendmsg, fd, header, MSG_DONTWAIT);
}

static inline long nx_sendmmsg(int fd, struct mmsghdr *headers, unsigned count)
{
	return syscall(SYS_sendmmsg, fd, headers, count, MSG_DONTWAIT);
}

static inline long nx_recvmsg(int fd, struct msghdr *header)
{
	return syscall(SYS_recvmsg, fd, header, MSG_DONTWAIT);
}

static inline long nx_recvmmsg(int fd, struct mmsghdr *headers, unsigned count)
{
	return syscall(SYS_recvmmsg, fd, headers, count, MSG_DONTWAIT, NULL);
}

/* udp_open.c: opens and binds; 0 or a negative errno. */
int nx_udp_open(struct nx_port *port, const struct nx_open_options *options);

/* steer.c: has the kernel steer datagrams within a group of `ports` sockets; 0 or -errno. */
int nx_steer(int fd, uint32_t ports);
/* Most ports of a group. The kernel takes more, but no machine of ours has the cores. */
#define NX_GROUP_SIZE_MAX 256u

/* udp_rx.c */
int nx_udp_rx_open(struct nx_port *port);
void nx_udp_rx_close(struct nx_port *port);
/* `only_one`: no more than a message, for the shortest look. */
uint32_t nx_udp_rx(struct nx_port *port, struct nx_burst *burst, const int32_t *slots,
		   uint32_t offered, bool only_one);
/* The cursor over received messages, without the socket: what fuzzing drives. */
uint32_t nx_rx_deliver(struct nx_port *port, struct nx_rx_message *message, struct nx_burst *burst,
		       uint32_t out);

/* udp_tx.c */
uint32_t nx_udp_tx(struct nx_port *port, struct nx_burst *burst, uint32_t count);

/* address.c */
bool nx_address_parse(const char *host, uint32_t udp_port, struct nx_address *into);
void nx_address_text(const struct nx_address *address, char host[NX_HOST_BYTES]);
void nx_address_from(const struct sockaddr_storage *from, struct nx_address *into);
/* Length of the socket address; 0 when a socket of this family cannot reach it. */
socklen_t nx_address_to(const struct nx_address *address, int family, struct sockaddr_storage *to);

/* waker.c: epoll descriptor of a waker or -EBADF. */
int nx_waker_fd(int32_t waker);

#endif

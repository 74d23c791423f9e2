/* The port functions of nx_io.h: handles in front of open, receive, send and wait. */
#include <errno.h>
#include <poll.h>
#include <sched.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <time.h>
#include <unistd.h>

#include "handles.h"
#include "port.h"

/* Longest spin of one call: it holds the event loop. */
#define SPIN_US_MAX 1000u

/* A yield costs as much as a look, and what comes meanwhile waits. */
#define LOOKS_BEFORE_YIELD 4u

static struct nx_handles ports = NX_HANDLES_INITIALIZER;

static bool pool_valid(const struct nx_open_options *options, uint32_t bytes_length)
{
	uint64_t bytes = options->pool_base + (uint64_t)options->slots * options->slot_bytes;
	return options->slots > 0 && bytes <= bytes_length &&
	       options->slot_bytes >= NX_HEADROOM_BYTES + NX_FRAME_BYTES_MIN &&
	       options->slot_bytes % NX_HEADROOM_BYTES == 0;
}

static uint32_t smaller(uint32_t a, uint32_t b)
{
	return a < b ? a : b;
}

static void free_port(struct nx_port *port)
{
	nx_udp_rx_close(port);
	nx_peers_close(&port->peers);
	/* A child process that was just forked may share the socket: closing alone would leave it armed. */
	if (port->in_waker) epoll_ctl(port->waker_fd, EPOLL_CTL_DEL, port->fd, NULL);
	if (port->fd >= 0) close(port->fd);
	free(port);
}

int32_t nx_open(const struct nx_open_options *options, uint8_t *bytes, uint32_t bytes_length)
{
	if (options->abi != NX_ABI_VERSION) return -EPROTO;
	if (!pool_valid(options, bytes_length) || options->vni > NX_VNI_MAX || options->peers_known_max == 0 ||
	    options->peers_learned_max == 0 || options->peers_known_max > 1u << 20 ||
	    options->peers_learned_max > 1u << 20 || options->group_size > NX_GROUP_SIZE_MAX ||
	    (options->group_size > 1 && options->group_index >= options->group_size))
		return -EINVAL;
	struct nx_port *port = calloc(1, sizeof *port);
	if (port == NULL) return -ENOMEM;
	port->fd = port->waker_fd = -1;
	port->vni = options->vni;
	port->tag = options->tag;
	port->check_crc = options->flags & NX_OPEN_CHECK_CRC;
	port->trains = options->flags & NX_OPEN_TRAINS;
	port->bytes_length = bytes_length;
	port->pool = (struct nx_pool){
		.bytes = bytes,
		.base = options->pool_base,
		.slot_bytes = options->slot_bytes,
		.slots = options->slots,
	};
	port->frame_bytes_max = smaller(options->slot_bytes - NX_HEADROOM_BYTES,
					NX_DATAGRAM_BYTES_MAX - NX_OVERLAY_BYTES);
	int error = nx_peers_open(&port->peers, options->peers_learned_max,
				  options->peers_known_max);
	if (error == 0) error = nx_udp_rx_open(port);
	if (error == 0) error = nx_udp_open(port, options);
	if (options->waker >= 0) port->waker_fd = nx_waker_fd(options->waker);
	if (error == 0 && options->waker >= 0 && port->waker_fd < 0) error = -EBADF;
	int32_t handle = error < 0 ? error : nx_handle_add(&ports, port);
	if (handle < 0) free_port(port);
	return handle;
}

int32_t nx_close(int32_t handle)
{
	struct nx_port *port = nx_handle_remove(&ports, handle);
	if (port == NULL) return -EBADF;
	free_port(port);
	return 0;
}

int32_t nx_local_address(int32_t handle, char *host)
{
	struct nx_port *port = nx_handle_get(&ports, handle);
	if (port == NULL) return -EBADF;
	struct sockaddr_storage name = {0};
	socklen_t length = sizeof name;
	if (getsockname(port->fd, (struct sockaddr *)&name, &length) < 0) return -errno;
	struct nx_address address;
	nx_address_from(&name, &address);
	nx_address_text(&address, host);
	return (int32_t)address.port;
}

int32_t nx_peer(int32_t handle, const char *host, uint32_t udp_port)
{
	struct nx_port *port = nx_handle_get(&ports, handle);
	if (port == NULL) return -EBADF;
	struct nx_address address;
	if (!nx_address_parse(host, udp_port, &address)) return -EINVAL;
	return nx_peers_know(&port->peers, &address);
}

int32_t nx_peer_address(int32_t handle, int32_t peer, char *host)
{
	struct nx_port *port = nx_handle_get(&ports, handle);
	if (port == NULL) return -EBADF;
	const struct nx_address *address = nx_peers_address(&port->peers, peer);
	if (address == NULL) return -ENOENT;
	nx_address_text(address, host);
	return (int32_t)address->port;
}

static uint64_t now_ns(void)
{
	struct timespec time;
	clock_gettime(CLOCK_MONOTONIC, &time);
	return (uint64_t)time.tv_sec * 1000000000u + (uint64_t)time.tv_nsec;
}

int32_t nx_rx_burst(int32_t handle, struct nx_burst *burst, const int32_t *slots, uint32_t offered,
		    uint32_t spin_us)
{
	struct nx_port *port = nx_handle_get(&ports, handle);
	if (port == NULL) return -EBADF;
	for (uint32_t i = 0; i < offered && i < NX_RX_SLOTS_MAX; i++)
		if ((uint32_t)slots[i] >= port->pool.slots) return -EINVAL;
	uint32_t count = nx_udp_rx(port, burst, slots, offered, false);
	if (count > 0 || spin_us == 0) return (int32_t)count;
	uint64_t until = now_ns() + smaller(spin_us, SPIN_US_MAX) * 1000ull;
	for (uint32_t looks = 1; count == 0; looks++) {
		/* The sender may be waiting for this very core: without yielding it never sends. */
		if (looks % LOOKS_BEFORE_YIELD == 0) {
			sched_yield();
			if (now_ns() >= until) break;
		}
		count = nx_udp_rx(port, burst, slots, offered, true);
	}
	return (int32_t)count;
}

int32_t nx_tx_burst(int32_t handle, struct nx_burst *burst, uint32_t count)
{
	struct nx_port *port = nx_handle_get(&ports, handle);
	return port == NULL ? -EBADF : (int32_t)nx_udp_tx(port, burst, count);
}

int32_t nx_wait(int32_t handle, uint32_t events, uint32_t timeout_ms)
{
	struct nx_port *port = nx_handle_get(&ports, handle);
	if (port == NULL) return -EBADF;
	if ((events & NX_WAIT_READ) && port->rx.next < port->rx.count) return NX_WAIT_READ;
	struct pollfd poller = {.fd = port->fd};
	if (events & NX_WAIT_READ) poller.events |= POLLIN;
	if (events & NX_WAIT_WRITE) poller.events |= POLLOUT;
	int ready = poll(&poller, 1, timeout_ms > INT32_MAX ? -1 : (int)timeout_ms);
	if (ready < 0) return errno == EINTR ? 0 : -errno;
	int32_t result = 0;
	if (poller.revents & (POLLIN | POLLERR)) result |= NX_WAIT_READ;
	if (poller.revents & POLLOUT) result |= NX_WAIT_WRITE;
	return result;
}

int32_t nx_arm(int32_t handle, uint32_t events)
{
	struct nx_port *port = nx_handle_get(&ports, handle);
	if (port == NULL || port->waker_fd < 0) return -EBADF;
	int operation = events == 0 ? EPOLL_CTL_DEL : port->in_waker ? EPOLL_CTL_MOD : EPOLL_CTL_ADD;
	if (events == 0 && !port->in_waker) return 0;
	struct epoll_event event = {.events = EPOLLONESHOT, .data.u32 = port->tag};
	if (events & NX_WAIT_READ) event.events |= EPOLLIN;
	if (events & NX_WAIT_WRITE) event.events |= EPOLLOUT;
	if (epoll_ctl(port->waker_fd, operation, port->fd, &event) < 0) return -errno;
	port->in_waker = events != 0;
	return 0;
}

int32_t nx_stats(int32_t handle, double *into, uint32_t count)
{
	struct nx_port *port = nx_handle_get(&ports, handle);
	if (port == NULL) return -EBADF;
	for (uint32_t i = 0; i < count && i < NX_STATS; i++) into[i] = (double)port->stats[i];
	return NX_STATS;
}

uint32_t nx_abi(void)
{
	return NX_ABI_VERSION;
}

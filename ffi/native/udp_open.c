/* Opening the socket: every option the port relies on, set once. */
#include <errno.h>
#include <netinet/udp.h>
#include <string.h>
#include <unistd.h>

#include "port.h"

static int set(int fd, int level, int name, int value)
{
	return setsockopt(fd, level, name, &value, sizeof value);
}

/* Options whose lack costs speed or knowledge, not function: an old kernel may refuse them. */
static void set_optional(struct nx_port *port, const struct nx_open_options *options)
{
	int fd = port->fd;
	if (options->socket_buffer_bytes != 0) {
		int bytes = (int)options->socket_buffer_bytes;
		/* FORCE passes net.core.rmem_max, but asks for CAP_NET_ADMIN. */
		if (set(fd, SOL_SOCKET, SO_RCVBUFFORCE, bytes) < 0)
			set(fd, SOL_SOCKET, SO_RCVBUF, bytes);
		if (set(fd, SOL_SOCKET, SO_SNDBUFFORCE, bytes) < 0)
			set(fd, SOL_SOCKET, SO_SNDBUF, bytes);
	}
	set(fd, SOL_SOCKET, SO_RXQ_OVFL, 1);
	if (options->flags & NX_OPEN_TIMESTAMPS) set(fd, SOL_SOCKET, SO_TIMESTAMPNS, 1);
	/*
	 * A train must fit a slot. The kernel joins datagrams of one source and length without a look
	 * inside and steers what came of it by its first one; in a group that would bring frames to
	 * the wrong port.
	 */
	bool trains = port->frame_bytes_max + NX_OVERLAY_BYTES >= NX_DATAGRAM_BYTES_MAX &&
		      options->group_size <= 1;
	if (trains && !(options->flags & NX_OPEN_NO_GRO)) set(fd, IPPROTO_UDP, UDP_GRO, 1);

	/*
	 * Frames are never fragmented by IP: L3 finds the path MTU (RFC 8899). PROBE also ignores
	 * what ICMP claims, which anybody can forge; DO obeys it.
	 */
	bool obey = options->flags & NX_OPEN_PMTU_DO;
	/* On a dual-stack socket the IPv4 options hold for mapped addresses. */
	set(fd, IPPROTO_IP, IP_MTU_DISCOVER, obey ? IP_PMTUDISC_DO : IP_PMTUDISC_PROBE);
	set(fd, IPPROTO_IP, IP_RECVTOS, 1);
	if (port->family == AF_INET6) {
		set(fd, IPPROTO_IPV6, IPV6_MTU_DISCOVER,
		    obey ? IPV6_PMTUDISC_DO : IPV6_PMTUDISC_PROBE);
		set(fd, IPPROTO_IPV6, IPV6_RECVTCLASS, 1);
	}
	port->gso = !(options->flags & NX_OPEN_NO_GSO);
}

static int open_and_bind(struct nx_port *port, const struct nx_open_options *options,
			 const struct nx_address *listen)
{
	port->fd = socket(port->family, SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	if (port->fd < 0) return -errno;
	bool in_group = options->group_size > 1;
	if ((in_group || options->flags & NX_OPEN_REUSE_PORT) &&
	    set(port->fd, SOL_SOCKET, SO_REUSEPORT, 1) < 0)
		return -errno;
	/* The first one brings the program, before it is bound: see steer.c. */
	if (in_group && options->group_index == 0) {
		int error = nx_steer(port->fd, options->group_size);
		if (error < 0) return error;
	}
	if (port->family == AF_INET6) set(port->fd, IPPROTO_IPV6, IPV6_V6ONLY, 0);
	set_optional(port, options);
	struct sockaddr_storage to;
	socklen_t length = nx_address_to(listen, port->family, &to);
	return bind(port->fd, (struct sockaddr *)&to, length) < 0 ? -errno : 0;
}

int nx_udp_open(struct nx_port *port, const struct nx_open_options *options)
{
	struct nx_address listen;
	if (!nx_address_parse(options->host, options->port, &listen)) return -EINVAL;
	port->family = nx_address_is_ipv4(&listen) ? AF_INET : AF_INET6;
	int error = open_and_bind(port, options, &listen);
	if (error < 0 && port->fd >= 0) {
		close(port->fd);
		port->fd = -1;
	}
	return error;
}

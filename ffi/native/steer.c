/*
 * Several sockets on one address, one for each worker, and the kernel told which of them gets a
 * datagram. A worker takes only connection ids that leave its index when divided by the number of
 * workers, so the frame itself says where it belongs:
 *
 *   sealed                        stream_id mod n
 *   handshake: HELLO              its ephemeral key mod n: any worker will do, and this spreads the
 *                                 attempts of one client; a repetition comes to the same one
 *              ACCEPT             client_connection_id mod n (a worker that dials)
 *              FINISH, ALERT      the receiver's connection id mod n
 *              with options       by the hash of both addresses
 *
 * The source address has no part in it where an id is there. So a client whose address changes
 * (another network, a NAT that forgot it) still reaches the worker that holds its connection and
 * its keys.
 *
 * Fragments of a handshake carry FRAGMENT_INFO, thus options. They meet at one worker, which puts
 * the message together and hands it to its owner (lib/endpoint: Stray).
 *
 * The kernel numbers the sockets of a group in the order in which they were bound; one that closes
 * gives its number to the last. A number that nobody has yet selects by the hash, as before there
 * were programs. Classic BPF does all this without privileges; the packet starts at the UDP payload
 * (net/core/sock_reuseport.c, run_bpf_filter). A load past its end returns 0, the first socket, which
 * drops and counts what is too short.
 */
#include <errno.h>
#include <linux/filter.h>
#include <sys/socket.h>

#include "port.h"

#define FRAME_AT NX_OVERLAY_BYTES
/* A frame without options. */
#define MESSAGE_AT (FRAME_AT + NX_HEADER_BYTES)

/* Handshake messages (docs/protocol.md §4.1 … §4.4); tests/sdk/worker_group_test.ts compares. */
#define MESSAGE_HELLO 1u
#define MESSAGE_ACCEPT 3u
#define MESSAGE_BODY_AT (MESSAGE_AT + 4u)
#define NODE_ID_BYTES 16u
/* client_id, dest_id, vni, connection_id, then the key. */
#define HELLO_EPHEMERAL_AT (MESSAGE_BODY_AT + 2 * NODE_ID_BYTES + 4u + 4u)
/* server_id, then the id. */
#define ACCEPT_CONNECTION_ID_AT (MESSAGE_BODY_AT + NODE_ID_BYTES)

/* No socket has this number: the kernel selects by its hash of the addresses. */
#define BY_ADDRESSES 0xffffffffu

int nx_steer(int fd, uint32_t ports)
{
	struct sock_filter program[] = {
		/*  0 */ BPF_STMT(BPF_LD | BPF_W | BPF_ABS, FRAME_AT + NX_STREAM_ID_AT),
		/*  1 */ BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, 0, 0, 10), /* sealed: to 12 */
		/*  2 */ BPF_STMT(BPF_LD | BPF_H | BPF_ABS, FRAME_AT + NX_OPTIONS_LENGTH_AT),
		/*  3 */ BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, 0, 0, 10), /* options: to 14 */
		/*  4 */ BPF_STMT(BPF_LD | BPF_B | BPF_ABS, MESSAGE_AT),
		/*  5 */ BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, MESSAGE_HELLO, 3, 0), /* to 9 */
		/*  6 */ BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, MESSAGE_ACCEPT, 4, 0), /* to 11 */
		/*  7 */ BPF_STMT(BPF_LD | BPF_W | BPF_ABS, MESSAGE_BODY_AT),
		/*  8 */ BPF_JUMP(BPF_JMP | BPF_JA, 3, 0, 0), /* to 12 */
		/*  9 */ BPF_STMT(BPF_LD | BPF_W | BPF_ABS, HELLO_EPHEMERAL_AT),
		/* 10 */ BPF_JUMP(BPF_JMP | BPF_JA, 1, 0, 0), /* to 12 */
		/* 11 */ BPF_STMT(BPF_LD | BPF_W | BPF_ABS, ACCEPT_CONNECTION_ID_AT),
		/* 12 */ BPF_STMT(BPF_ALU | BPF_MOD | BPF_K, ports),
		/* 13 */ BPF_STMT(BPF_RET | BPF_A, 0),
		/* 14 */ BPF_STMT(BPF_RET | BPF_K, BY_ADDRESSES),
	};
	struct sock_fprog attached = {
		.len = sizeof program / sizeof *program,
		.filter = program,
	};
	/*
	 * On a socket that is not bound yet this makes the group, and so claims the address: binding
	 * then fails where another group has it, which SO_REUSEPORT alone would join.
	 */
	return setsockopt(fd, SOL_SOCKET, SO_ATTACH_REUSEPORT_CBPF, &attached, sizeof attached) < 0
		       ? -errno
		       : 0;
}

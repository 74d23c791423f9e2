/*
 * The peer table of a port, lib/l1_link/peers.ts in C: addresses as numbers, two bounded LRU
 * lists (learned: heard from; known: named or sent to), numbers that count up and are not reused.
 */
#ifndef NX_PEERS_H
#define NX_PEERS_H

#include <stdbool.h>
#include <stdint.h>

/* An IP socket address; IPv4 as an IPv4-mapped IPv6 address (RFC 4291 §2.5.5.2). */
struct nx_address {
	uint8_t ip[16];
	uint32_t scope; /* interface of a link-local address, else 0 */
	uint32_t port;
};

struct nx_peer_entry {
	struct nx_address address;
	int32_t number;
	uint32_t known;              /* which list: 1 known, 0 learned */
	int32_t newer, older;        /* neighbours in the list */
	int32_t next_same_address;   /* chain of the address hash; free list when unused */
	int32_t next_same_number;
};

struct nx_peer_list {
	int32_t newest, oldest;
	uint32_t count, max;
};

struct nx_peers {
	struct nx_peer_entry *entries;
	int32_t *by_address; /* heads of the hash chains, -1 empty */
	int32_t *by_number;
	uint32_t mask;
	int32_t unused;
	int32_t next_number;
	uint64_t secret[2]; /* of the address hash: sources choose their addresses */
	struct nx_peer_list lists[2];
};

/* 0 or a negative errno. */
int nx_peers_open(struct nx_peers *peers, uint32_t learned_max, uint32_t known_max);
void nx_peers_close(struct nx_peers *peers);
/* Number of an address that a datagram came from. */
int32_t nx_peers_learn(struct nx_peers *peers, const struct nx_address *address);
/* Number of an address that we name ourselves. */
int32_t nx_peers_know(struct nx_peers *peers, const struct nx_address *address);
/* Address to send to, which makes the peer a known one; NULL when it was forgotten. */
const struct nx_address *nx_peers_use(struct nx_peers *peers, int32_t number);
/* Address of a number without touching it. */
const struct nx_address *nx_peers_address(const struct nx_peers *peers, int32_t number);

static inline bool nx_address_is_ipv4(const struct nx_address *address)
{
	static const uint8_t mapped[12] = {0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff};
	return __builtin_memcmp(address->ip, mapped, sizeof mapped) == 0;
}

#endif

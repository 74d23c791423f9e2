#include "peers.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

enum { LEARNED = 0, KNOWN = 1 };

static uint64_t mix(uint64_t a, uint64_t b)
{
	__extension__ unsigned __int128 product = (unsigned __int128)a * b;
	return (uint64_t)product ^ (uint64_t)(product >> 64);
}

static uint32_t address_bucket(const struct nx_peers *peers, const struct nx_address *address)
{
	uint64_t words[3];
	memcpy(words, address->ip, 16);
	words[2] = (uint64_t)address->scope << 32 | address->port;
	uint64_t hash = mix(words[0] ^ peers->secret[0], words[1] ^ peers->secret[1]);
	hash = mix(hash ^ words[2] ^ peers->secret[1], peers->secret[0] | 1);
	return (uint32_t)hash & peers->mask;
}

static uint32_t number_bucket(const struct nx_peers *peers, int32_t number)
{
	return (uint32_t)number & peers->mask; /* numbers count up: already even */
}

static bool same(const struct nx_address *a, const struct nx_address *b)
{
	return memcmp(a->ip, b->ip, 16) == 0 && a->port == b->port && a->scope == b->scope;
}

int nx_peers_open(struct nx_peers *peers, uint32_t learned_max, uint32_t known_max)
{
	uint32_t total = learned_max + known_max, buckets = 16;
	while (buckets < 2 * total) buckets *= 2;
	*peers = (struct nx_peers){.mask = buckets - 1, .unused = -1};
	peers->entries = calloc(total, sizeof *peers->entries);
	peers->by_address = malloc(buckets * sizeof(int32_t));
	peers->by_number = malloc(buckets * sizeof(int32_t));
	if (!peers->entries || !peers->by_address || !peers->by_number) {
		nx_peers_close(peers);
		return -ENOMEM;
	}
	if (getrandom(peers->secret, sizeof peers->secret, 0) != sizeof peers->secret) {
		nx_peers_close(peers);
		return -EIO;
	}
	memset(peers->by_address, 0xff, buckets * sizeof(int32_t));
	memset(peers->by_number, 0xff, buckets * sizeof(int32_t));
	for (uint32_t i = total; i-- > 0;) {
		peers->entries[i].next_same_address = peers->unused;
		peers->unused = (int32_t)i;
	}
	peers->lists[LEARNED] = (struct nx_peer_list){-1, -1, 0, learned_max};
	peers->lists[KNOWN] = (struct nx_peer_list){-1, -1, 0, known_max};
	return 0;
}

void nx_peers_close(struct nx_peers *peers)
{
	free(peers->entries);
	free(peers->by_address);
	free(peers->by_number);
	*peers = (struct nx_peers){0};
}

static int32_t find_address(const struct nx_peers *peers, const struct nx_address *address)
{
	int32_t at = peers->by_address[address_bucket(peers, address)];
	while (at >= 0 && !same(&peers->entries[at].address, address))
		at = peers->entries[at].next_same_address;
	return at;
}

static int32_t find_number(const struct nx_peers *peers, int32_t number)
{
	if (number < 0) return -1;
	int32_t at = peers->by_number[number_bucket(peers, number)];
	while (at >= 0 && peers->entries[at].number != number)
		at = peers->entries[at].next_same_number;
	return at;
}

static void list_append(struct nx_peers *peers, uint32_t which, int32_t at)
{
	struct nx_peer_list *list = &peers->lists[which];
	struct nx_peer_entry *entry = &peers->entries[at];
	entry->known = which;
	entry->newer = -1;
	entry->older = list->newest;
	if (list->newest >= 0) peers->entries[list->newest].newer = at;
	else list->oldest = at;
	list->newest = at;
	list->count++;
}

static void list_remove(struct nx_peers *peers, int32_t at)
{
	struct nx_peer_entry *entry = &peers->entries[at];
	struct nx_peer_list *list = &peers->lists[entry->known];
	if (entry->newer >= 0) peers->entries[entry->newer].older = entry->older;
	else list->newest = entry->older;
	if (entry->older >= 0) peers->entries[entry->older].newer = entry->newer;
	else list->oldest = entry->newer;
	list->count--;
}

static void forget(struct nx_peers *peers, int32_t at)
{
	struct nx_peer_entry *entry = &peers->entries[at];
	list_remove(peers, at);
	int32_t *link = &peers->by_address[address_bucket(peers, &entry->address)];
	while (*link != at) link = &peers->entries[*link].next_same_address;
	*link = entry->next_same_address;
	link = &peers->by_number[number_bucket(peers, entry->number)];
	while (*link != at) link = &peers->entries[*link].next_same_number;
	*link = entry->next_same_number;
	entry->next_same_address = peers->unused;
	peers->unused = at;
}

static void make_room(struct nx_peers *peers, uint32_t which)
{
	if (peers->lists[which].count >= peers->lists[which].max)
		forget(peers, peers->lists[which].oldest);
}

static int32_t insert(struct nx_peers *peers, uint32_t which, const struct nx_address *address)
{
	make_room(peers, which);
	int32_t at = peers->unused;
	struct nx_peer_entry *entry = &peers->entries[at];
	peers->unused = entry->next_same_address;
	entry->address = *address;
	/* After 2^31 peers the numbers start again and step over those in use. */
	while (find_number(peers, peers->next_number) >= 0)
		peers->next_number = (peers->next_number + 1) & 0x7fffffff;
	entry->number = peers->next_number;
	peers->next_number = (peers->next_number + 1) & 0x7fffffff;
	int32_t *head = &peers->by_address[address_bucket(peers, address)];
	entry->next_same_address = *head;
	*head = at;
	head = &peers->by_number[number_bucket(peers, entry->number)];
	entry->next_same_number = *head;
	*head = at;
	list_append(peers, which, at);
	return entry->number;
}

/* Makes an entry the newest of its list. */
static void touch(struct nx_peers *peers, int32_t at)
{
	uint32_t which = peers->entries[at].known;
	if (peers->lists[which].newest == at) return;
	list_remove(peers, at);
	list_append(peers, which, at);
}

int32_t nx_peers_learn(struct nx_peers *peers, const struct nx_address *address)
{
	int32_t at = find_address(peers, address);
	if (at < 0) return insert(peers, LEARNED, address);
	touch(peers, at);
	return peers->entries[at].number;
}

static void promote(struct nx_peers *peers, int32_t at)
{
	if (peers->entries[at].known) {
		touch(peers, at);
		return;
	}
	list_remove(peers, at);
	make_room(peers, KNOWN);
	list_append(peers, KNOWN, at);
}

int32_t nx_peers_know(struct nx_peers *peers, const struct nx_address *address)
{
	int32_t at = find_address(peers, address);
	if (at < 0) return insert(peers, KNOWN, address);
	promote(peers, at);
	return peers->entries[at].number;
}

const struct nx_address *nx_peers_use(struct nx_peers *peers, int32_t number)
{
	int32_t at = find_number(peers, number);
	if (at < 0) return NULL;
	promote(peers, at);
	return &peers->entries[at].address;
}

const struct nx_address *nx_peers_address(const struct nx_peers *peers, int32_t number)
{
	int32_t at = find_number(peers, number);
	return at < 0 ? NULL : &peers->entries[at].address;
}

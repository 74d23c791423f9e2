/*
 * The native library under AddressSanitizer and UndefinedBehaviorSanitizer: peer table against a
 * plain model, two ports on loopback, waker, handles, and burst helpers on memory without a byte to
 * spare. tests/io/native_sanitizer_test.ts builds and runs it.
 */
#include <errno.h>
#include <semaphore.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "../aead.h"
#include "../port.h"
#include "check.h"

/* The peer table as a list: entry 0 is the one unused for longest. */
struct model {
	struct {
		uint32_t port;
		int32_t number;
		int known;
	} entries[64];
	int count;
	int32_t next;
};

static int model_find(struct model *m, uint32_t port, int32_t number)
{
	for (int i = 0; i < m->count; i++)
		if (port ? m->entries[i].port == port : m->entries[i].number == number) return i;
	return -1;
}

static void model_drop(struct model *m, int at)
{
	memmove(&m->entries[at], &m->entries[at + 1],
		(size_t)(m->count - at - 1) * sizeof m->entries[0]);
	m->count--;
}

static void model_room(struct model *m, int known, int max)
{
	int count = 0, oldest = -1;
	for (int i = m->count; i-- > 0;)
		if (m->entries[i].known == known) count++, oldest = i;
	if (count >= max) model_drop(m, oldest);
}

static int32_t model_touch(struct model *m, uint32_t port, int32_t number, int know, int max[2])
{
	int at = model_find(m, port, number);
	if (at < 0 && port == 0) return -1;
	int known = at < 0 ? know : m->entries[at].known | know;
	int32_t kept = at < 0 ? -1 : m->entries[at].number;
	uint32_t kept_port = at < 0 ? port : m->entries[at].port;
	int moved = at < 0 || m->entries[at].known != known;
	if (at >= 0) model_drop(m, at);
	if (moved) model_room(m, known, max[known]);
	if (kept < 0) kept = m->next++;
	m->entries[m->count].port = kept_port;
	m->entries[m->count].number = kept;
	m->entries[m->count++].known = known;
	return kept;
}

static void test_peers(void)
{
	struct nx_peers peers;
	struct model model = {0};
	int max[2] = {8, 12};
	unsigned long long random = 42;
	CHECK(nx_peers_open(&peers, 8, 12) == 0);
	for (int step = 0; step < 200000; step++) {
		struct nx_address address = {.port = 1 + nx_random(&random) % 60};
		address.ip[15] = 1;
		int32_t number = model.next - (int32_t)(nx_random(&random) % 40);
		switch (nx_random(&random) % 3) {
		case 0:
			CHECK(nx_peers_learn(&peers, &address) ==
			      model_touch(&model, address.port, 0, 0, max));
			break;
		case 1:
			CHECK(nx_peers_know(&peers, &address) ==
			      model_touch(&model, address.port, 0, 1, max));
			break;
		default: {
			int32_t found = model_touch(&model, 0, number, 1, max);
			const struct nx_address *used = nx_peers_use(&peers, number);
			CHECK((found >= 0) == (used != NULL));
			if (used != NULL)
				CHECK(used->port == model.entries[model.count - 1].port);
		}
		}
		CHECK(peers.lists[0].count <= 8 && peers.lists[1].count <= 12);
	}
	nx_peers_close(&peers);
}

static void test_addresses(void)
{
	const char *texts[] = {"127.0.0.1", "::1", "2001:db8::7", "fe80::1%lo"};
	for (size_t i = 0; i < sizeof texts / sizeof *texts; i++) {
		struct nx_address address, again;
		struct sockaddr_storage storage;
		char host[NX_HOST_BYTES];
		CHECK(nx_address_parse(texts[i], 6477, &address));
		nx_address_text(&address, host);
		CHECK(strcmp(host, texts[i]) == 0);
		CHECK(nx_address_to(&address, AF_INET6, &storage) > 0);
		nx_address_from(&storage, &again);
		CHECK(memcmp(&address, &again, sizeof address) == 0);
	}
	const char *wrong[] = {"", "localhost", "1.2.3", "::1%nowhere", ":::", "1.2.3.4%lo"};
	struct nx_address address;
	for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++)
		CHECK(!nx_address_parse(wrong[i], 1, &address));
	CHECK(!nx_address_parse("::1", 65536, &address));
}

/* A pool of its own, in exactly as much memory as it needs. */
struct end {
	int32_t port;
	uint8_t *memory;
	uint32_t slot_bytes, slots;
	char host[NX_HOST_BYTES];
	int32_t udp_port;
};

static struct nx_open_options open_options(uint32_t slot_bytes, uint32_t slots)
{
	return (struct nx_open_options){
		.abi = NX_ABI_VERSION,
		.vni = 7,
		.slot_bytes = slot_bytes,
		.slots = slots,
		.socket_buffer_bytes = 4u << 20,
		.peers_learned_max = 16,
		.peers_known_max = 16,
		.waker = -1,
		.tag = 99,
		.host = "127.0.0.1",
	};
}

static void open_with(struct end *end, const struct nx_open_options *options)
{
	end->slot_bytes = options->slot_bytes;
	end->slots = options->slots;
	end->memory = malloc((size_t)end->slot_bytes * end->slots);
	end->port = nx_open(options, end->memory, end->slot_bytes * end->slots);
	CHECK(end->port >= 0);
	end->udp_port = nx_local_address(end->port, end->host);
	CHECK(end->udp_port > 0);
}

static void open_end(struct end *end, uint32_t slot_bytes, uint32_t slots, int32_t waker)
{
	struct nx_open_options options = open_options(slot_bytes, slots);
	options.waker = waker;
	open_with(end, &options);
}

static void close_end(struct end *end)
{
	CHECK(nx_close(end->port) == 0);
	CHECK(nx_close(end->port) == -EBADF);
	free(end->memory);
}

/* Content of frame `number`, so that a mix-up shows; frames of one length go to one connection. */
static uint8_t content(uint32_t number, uint32_t at)
{
	if (at < NX_SEQUENCE_NUMBER_AT) return (uint8_t)(number / 23);
	return (uint8_t)(number * 7 + at * 13 + (at >> 8));
}

static uint32_t frame_length(uint32_t number)
{
	unsigned long long random = 1 + number / 23; /* 23 frames have one length: trains */
	return 68 + nx_random(&random) % (number / 23 % 3 == 0 ? 100 : 1800);
}

static void send_frames(struct end *from, int32_t peer, uint32_t *number, uint32_t count)
{
	struct nx_burst burst;
	for (uint32_t i = 0; i < count; i++) {
		burst.slot[i] = (int32_t)i;
		burst.offset[i] = i * from->slot_bytes + NX_HEADROOM_BYTES;
		burst.length[i] = frame_length(*number + i);
		burst.segment[i] = 0;
		burst.flags[i] = 0;
		burst.peer[i] = peer;
		for (uint32_t at = 0; at < burst.length[i]; at++)
			from->memory[burst.offset[i] + at] = content(*number + i, at);
	}
	CHECK(nx_tx_burst(from->port, &burst, count) == (int32_t)count);
	*number += count;
}

static uint32_t receive_frames(struct end *to, uint32_t *number, uint32_t offered)
{
	struct nx_burst burst;
	int32_t slots[NX_RX_SLOTS_MAX];
	for (uint32_t i = 0; i < offered; i++) slots[i] = (int32_t)((*number + i) % to->slots);
	int32_t count = nx_rx_burst(to->port, &burst, slots, offered, 0);
	CHECK(count >= 0 && (uint32_t)count <= NX_BURST_FRAMES_MAX);
	for (int32_t i = 0; i < count; i++, (*number)++) {
		uint32_t begin = (uint32_t)burst.slot[i] * to->slot_bytes + NX_HEADROOM_BYTES;
		CHECK(burst.length[i] == frame_length(*number));
		CHECK((uint32_t)burst.slot[i] < to->slots && burst.offset[i] >= begin);
		/* The first frame of a slot, or right behind the one before. */
		if (i == 0 || burst.slot[i] != burst.slot[i - 1]) CHECK(burst.offset[i] == begin);
		else CHECK(burst.offset[i] ==
			   burst.offset[i - 1] + burst.length[i - 1] + NX_OVERLAY_BYTES);
		for (uint32_t at = 0; at < burst.length[i]; at++)
			CHECK(to->memory[burst.offset[i] + at] == content(*number, at));
	}
	return (uint32_t)count;
}

static void test_loopback(void)
{
	struct end a, b;
	open_end(&a, 2048, 64, -1);
	open_end(&b, NX_STAGE_BYTES + NX_HEADROOM_BYTES, 20, -1);
	int32_t peer = nx_peer(a.port, b.host, (uint32_t)b.udp_port);
	uint32_t sent = 0, received = 0;
	unsigned long long random = 7;
	for (int round = 0; round < 2000; round++) {
		send_frames(&a, peer, &sent, 1 + nx_random(&random) % 64);
		if (nx_random(&random) % 2) send_frames(&a, peer, &sent, 1 + nx_random(&random) % 64);
		while (received < sent) CHECK(receive_frames(&b, &received, 1 + nx_random(&random) % NX_RX_SLOTS_MAX) > 0);
	}
	double stats[NX_STATS];
	CHECK(nx_stats(b.port, stats, NX_STATS) == NX_STATS);
	CHECK(stats[NX_RX_FRAMES] == sent && stats[NX_RX_TRAINS] > 0);
	CHECK(receive_frames(&b, &received, 0) == 0);
	CHECK(nx_wait(b.port, NX_WAIT_READ, 0) == 0);
	CHECK(nx_wait(a.port, NX_WAIT_WRITE, 100) == NX_WAIT_WRITE);
	close_end(&a);
	close_end(&b);
}

/*
 * A long datagram read while there was no slot: the last one of a burst that reads all it may, 4
 * datagrams and 7 times 16, waits for the next burst and is longer than the slot it is offered.
 */
static void test_long_without_slot(void)
{
	static const uint8_t datagram[40000];
	const double count = 4 + 7 * 16;
	struct end end;
	open_end(&end, 2048, NX_RX_SLOTS_MAX, -1);
	struct sockaddr_in to = {.sin_family = AF_INET, .sin_port = htons((uint16_t)end.udp_port)};
	to.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	int fd = socket(AF_INET, SOCK_DGRAM, 0);
	CHECK(fd >= 0);
	for (double i = 1; i <= count; i++) {
		size_t length = i < count ? 1 : sizeof datagram;
		CHECK(sendto(fd, datagram, length, 0, (struct sockaddr *)&to, sizeof to) ==
		      (ssize_t)length);
	}
	close(fd);
	struct nx_burst burst;
	int32_t slots[NX_RX_SLOTS_MAX];
	double stats[NX_STATS];
	for (int32_t i = 0; i < NX_RX_SLOTS_MAX; i++) slots[i] = i;
	CHECK(nx_rx_burst(end.port, &burst, slots, 0, 0) == 0);
	CHECK(nx_rx_burst(end.port, &burst, slots, NX_RX_SLOTS_MAX, 0) == 0);
	CHECK(nx_stats(end.port, stats, NX_STATS) == NX_STATS && stats[NX_RX_MALFORMED] == count);
	close_end(&end);
}

/* Ports of one address, steered. */
#define GROUP 3

static void open_member(struct end *group, uint32_t index, uint32_t udp_port)
{
	struct nx_open_options options = open_options(2048, 64);
	options.port = udp_port;
	options.group_size = GROUP;
	options.group_index = index;
	open_with(&group[index], &options);
}

/* Frame i of the burst: zeroes but for its type and a word at `at`. */
static void put_steered(struct end *from, struct nx_burst *burst, uint32_t i, int32_t peer,
			uint32_t type, uint32_t at, uint32_t word)
{
	burst->slot[i] = (int32_t)i;
	burst->offset[i] = i * from->slot_bytes + NX_HEADROOM_BYTES;
	burst->length[i] = 300;
	burst->segment[i] = 0;
	burst->flags[i] = 0;
	burst->peer[i] = peer;
	uint8_t *frame = from->memory + burst->offset[i];
	memset(frame, 0, burst->length[i]);
	nx_put_u32(frame + NX_WORD0_AT, type << NX_WORD0_TYPE_SHIFT);
	nx_put_u32(frame + at, word);
}

/* Receives `count` frames and tells of each which of the first `open` ports got it, by its word. */
static void receive_steered(struct end *group, uint32_t open, uint32_t count, uint32_t at,
			    uint32_t *words, uint32_t *indexes)
{
	for (uint32_t got = 0, tries = 0; got < count; tries++) {
		CHECK(tries < 100000);
		for (uint32_t index = 0; index < open; index++) {
			struct nx_burst burst;
			int32_t slots[NX_RX_SLOTS_MAX];
			for (int32_t i = 0; i < NX_RX_SLOTS_MAX; i++) slots[i] = i;
			int32_t came = nx_rx_burst(group[index].port, &burst, slots,
						   NX_RX_SLOTS_MAX, 10);
			CHECK(came >= 0);
			for (int32_t i = 0; i < came; i++, got++) {
				CHECK(got < count);
				words[got] =
					nx_get_u32(group[index].memory + burst.offset[i] + at);
				indexes[got] = index;
			}
		}
	}
}

static uint32_t steered(struct end *from, struct end *group, uint32_t open, uint32_t type,
			uint32_t message, uint32_t options_length, uint32_t at, uint32_t word)
{
	struct nx_burst burst;
	int32_t peer = nx_peer(from->port, group[0].host, (uint32_t)group[0].udp_port);
	put_steered(from, &burst, 0, peer, type, at, word);
	uint8_t *frame = from->memory + burst.offset[0];
	frame[NX_OPTIONS_LENGTH_AT + 1] = (uint8_t)options_length;
	if (message != 0) frame[NX_HEADER_BYTES + options_length] = (uint8_t)message;
	CHECK(nx_tx_burst(from->port, &burst, 1) == 1);
	uint32_t got, index;
	receive_steered(group, open, 1, at, &got, &index);
	CHECK(got == word);
	return index;
}

static void test_steering(void)
{
	struct end sender, other, group[GROUP];
	const uint32_t id_at = NX_STREAM_ID_AT, data = NX_FRAME_TYPE_DATA;
	const uint32_t handshake = NX_FRAME_TYPE_TRUST_HANDSHAKE, body = NX_HEADER_BYTES + 4;
	open_end(&sender, 2048, 64, -1);
	open_end(&other, 2048, 64, -1);
	open_member(group, 0, 0);
	/* The others are not there yet: the first one stands in for them. */
	CHECK(steered(&sender, group, 1, data, 0, 0, id_at, 5) == 0);
	open_member(group, 1, (uint32_t)group[0].udp_port);
	CHECK(steered(&sender, group, 2, data, 0, 0, id_at, 4) == 1);
	open_member(group, 2, (uint32_t)group[0].udp_port);
	for (uint32_t id = 0xfffffff0u; id != 40; id++) {
		if (id == 0) continue;
		CHECK(steered(&sender, group, GROUP, data, 0, 0, id_at, id) == id % GROUP);
		/* From another address the same. */
		CHECK(steered(&other, group, GROUP, data, 0, 0, id_at, id) == id % GROUP);
		CHECK(steered(&sender, group, GROUP, handshake, 1, 0, body + 40, id) == id % GROUP);
		CHECK(steered(&sender, group, GROUP, handshake, 3, 0, body + 16, id) == id % GROUP);
		CHECK(steered(&sender, group, GROUP, handshake, 4, 0, body, id) == id % GROUP);
		CHECK(steered(&sender, group, GROUP, handshake, 5, 0, body, id) == id % GROUP);
	}
	/* Fragments meet, whatever stands in them. */
	uint32_t meeting = steered(&sender, group, GROUP, handshake, 4, 8, body + 8, 1);
	for (uint32_t id = 2; id < 20; id++)
		CHECK(steered(&sender, group, GROUP, handshake, id, 8, body + 8, id) == meeting);

	/* One train for each connection, although lengths and addresses are the same. */
	struct nx_burst burst;
	int32_t peer = nx_peer(sender.port, group[0].host, (uint32_t)group[0].udp_port);
	for (uint32_t i = 0; i < 64; i++)
		put_steered(&sender, &burst, i, peer, data, id_at, 1 + i / 5);
	CHECK(nx_tx_burst(sender.port, &burst, 64) == 64);
	uint32_t ids[64], indexes[64];
	receive_steered(group, GROUP, 64, id_at, ids, indexes);
	for (uint32_t i = 0; i < 64; i++) CHECK(indexes[i] == ids[i] % GROUP);

	/* An address that a group has is not free for another one. */
	struct nx_open_options options = open_options(2048, 64);
	options.port = (uint32_t)group[0].udp_port;
	options.group_size = GROUP;
	CHECK(nx_open(&options, sender.memory, 2048 * 64) == -EADDRINUSE);
	options.group_index = GROUP;
	CHECK(nx_open(&options, sender.memory, 2048 * 64) == -EINVAL);
	for (uint32_t i = GROUP; i-- > 0;) close_end(&group[i]);
	close_end(&other);
	close_end(&sender);
}

static sem_t called;
static uint32_t called_tag;

static void on_ready(uint32_t tag)
{
	called_tag = tag;
	sem_post(&called);
}

static int waited(int seconds)
{
	struct timespec until;
	clock_gettime(CLOCK_REALTIME, &until);
	until.tv_sec += seconds;
	return sem_timedwait(&called, &until) == 0;
}

static void test_waker(void)
{
	struct end a, b;
	sem_init(&called, 0, 0);
	int32_t waker = nx_waker_open(on_ready);
	CHECK(waker >= 0);
	open_end(&a, 2048, 64, -1);
	open_end(&b, 2048, 64, waker);
	int32_t peer = nx_peer(a.port, b.host, (uint32_t)b.udp_port);
	uint32_t sent = 0, received = 0;
	send_frames(&a, peer, &sent, 1);
	CHECK(nx_arm(b.port, NX_WAIT_READ) == 0);
	CHECK(waited(10));
	CHECK(called_tag == 99);
	/* One call for each arm, though the frame still waits. */
	CHECK(sem_trywait(&called) < 0);
	while (received < sent) receive_frames(&b, &received, NX_RX_SLOTS_MAX);
	CHECK(nx_arm(b.port, NX_WAIT_READ) == 0);
	send_frames(&a, peer, &sent, 3);
	CHECK(waited(10));
	CHECK(nx_arm(b.port, NX_WAIT_READ | NX_WAIT_WRITE) == 0);
	CHECK(waited(10));
	/* Out, still out, and in again. */
	CHECK(nx_arm(b.port, NX_WAIT_READ) == 0);
	CHECK(waited(10));
	CHECK(nx_arm(b.port, 0) == 0);
	CHECK(nx_arm(b.port, 0) == 0);
	CHECK(nx_arm(b.port, NX_WAIT_READ) == 0);
	CHECK(waited(10));
	CHECK(nx_arm(a.port, NX_WAIT_READ) == -EBADF);
	close_end(&a);
	close_end(&b);
	for (int i = 0; i < 2; i++) {
		CHECK(nx_waker_last(waker) == 0);
		CHECK(waited(10));
		CHECK(called_tag == NX_WAKER_LAST);
	}
	CHECK(nx_waker_last(waker + 1) == -EBADF);
}

static void test_refusals(void)
{
	struct nx_burst burst = {0};
	const int32_t slot = 4;
	char host[NX_HOST_BYTES];
	for (int32_t bad = -2; bad < 70000; bad += 30001) {
		CHECK(nx_rx_burst(bad, &burst, &slot, 0, 0) == -EBADF);
		CHECK(nx_tx_burst(bad, &burst, 1) == -EBADF);
		CHECK(nx_local_address(bad, host) == -EBADF);
		CHECK(nx_key_close(bad) == -EBADF);
	}
	struct nx_open_options options = {.abi = NX_ABI_VERSION + 1};
	CHECK(nx_open(&options, NULL, 0) == -EPROTO);
	options = (struct nx_open_options){.abi = NX_ABI_VERSION, .slots = 2, .slot_bytes = 2048,
					   .peers_known_max = 1, .peers_learned_max = 1};
	CHECK(nx_open(&options, NULL, 4095) == -EINVAL);
	struct end end;
	open_end(&end, 2048, 4, -1);
	CHECK(nx_rx_burst(end.port, &burst, &slot, 1, 0) == -EINVAL);
	close_end(&end);
}

static void put_frame(uint8_t *frame, uint32_t length)
{
	memset(frame, 0x5a, length);
	nx_put_u32(frame, 0x10400010);
	nx_put_u32(frame + NX_FRAME_LENGTH_AT, length);
	frame[NX_OPTIONS_LENGTH_AT] = 0;
	frame[NX_OPTIONS_LENGTH_AT + 1] = 18;
	frame[64] = NX_OPTION_TYPE_ENCRYPTION_TAG;
	frame[65] = 16;
}

static void test_seal(void)
{
	const uint32_t suites[] = {NX_SUITE_AES_256_GCM, NX_SUITE_CHACHA20_POLY1305};
	uint8_t secret[44] = {1, 2, 3};
	for (int s = 0; s < 2; s++) {
		int32_t key = nx_key_open(suites[s], NX_BACKEND_BEST, secret, secret + 32, 5);
		if (key == -ENOTSUP) return;
		CHECK(key >= 0);
		for (uint32_t length = 86; length < 1500; length += 31) {
			uint8_t *frame = malloc(length);
			uint8_t *clear = malloc(length);
			put_frame(frame, length);
			memcpy(clear, frame, length);
			struct nx_burst burst = {.length = {length}};
			uint32_t number[2] = {0, length};
			CHECK(nx_seal(key, frame, length, &burst, 0, 1, number) == 1);
			CHECK(nx_frames_crc(frame, length, &burst, 0, 1, NX_CRC_CHECK) == 1);
			frame[66] ^= 1;
			CHECK(nx_open_sealed(key, frame, length, &burst, 0, 1, number) == 0);
			frame[66] ^= 1;
			CHECK(nx_open_sealed(key, frame, length, &burst, 0, 1, number) == 1);
			CHECK(memcmp(frame + 82, clear + 82, length - 86) == 0);
			free(frame);
			free(clear);
		}
		CHECK(nx_key_close(key) == 0);
	}
}

static void test_reed_solomon(void)
{
	uint8_t published[20] = {0, 1, 4, 5, 2, 3, 6, 7, 8, 9};
	const uint8_t repairs[10] = {12, 13, 10, 11, 14, 15, 90, 91, 94, 95};
	const uint32_t places[10] = {0, 2, 4, 6, 8, 10, 12, 14, 16, 18};
	int32_t made = nx_rs_encode(5, 5, published, sizeof published, places, 2);
	if (made == -ENOTSUP) return;
	CHECK(made == 5 && memcmp(published + 10, repairs, 10) == 0);
	for (uint32_t length = 1; length < 300; length += 7) {
		uint8_t *bytes = malloc(13 * length), *whole = malloc(13 * length);
		uint32_t offsets[13];
		uint8_t present[13];
		for (uint32_t i = 0; i < 13; i++) offsets[i] = i * length, present[i] = i % 5 != 1;
		for (uint32_t i = 0; i < 13 * length; i++) bytes[i] = content(length, i);
		CHECK(nx_rs_encode(10, 3, bytes, 13 * length, offsets, length) == 3);
		memcpy(whole, bytes, 13 * length);
		memset(bytes + length, 0, length);
		memset(bytes + 6 * length, 0, length);
		CHECK(nx_rs_decode(10, 3, bytes, 13 * length, offsets, present, length) == 2);
		CHECK(memcmp(bytes, whole, 10 * length) == 0);
		free(bytes);
		free(whole);
	}
}

int main(void)
{
	test_peers();
	test_addresses();
	test_loopback();
	test_long_without_slot();
	test_steering();
	test_waker();
	test_refusals();
	test_seal();
	test_reed_solomon();
	puts("native tests passed");
	return 0;
}

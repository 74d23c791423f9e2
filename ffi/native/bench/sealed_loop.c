/*
 * The peer raw_c_sealed of bench/stream.ts: the shortest C program that does to every byte what a
 * stream does, without a transport. The sender copies from the application's buffer into a ring, where
 * data would be kept until it is acknowledged, seals each piece from there as one frame (AES-256-GCM
 * by intel-ipsec-mb, CRC-32C) and sends it; the receiver takes it out of the kernel, checks and opens
 * it. Links the library's objects.
 *
 *     sealed_loop rx WARM_UP_S SECONDS  prints its port, then "BYTES SECONDS" of what it opened
 *     sealed_loop tx PORT               sends until the receiver is gone
 *     sealed_loop alone SECONDS         all but the kernel's part, in one thread: copy, seal, open
 *
 * Each ends with a line that says where its time went, in µs for one frame.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>

#include "../aead.h"
#include "../overlay.h"

/* The largest UDP payload over IPv4, which is what path MTU discovery finds on loopback. */
#define DATAGRAM_BYTES 65507u
#define OPTIONS_BYTES (NX_OPTION_HEADER_BYTES + NX_TAG_BYTES)
/* Header of a DATA frame (docs/protocol.md §5.1). */
#define DATA_HEAD_BYTES 15u
#define DATA_BYTES \
	(DATAGRAM_BYTES - NX_OVERLAY_BYTES - NX_HEADER_BYTES - OPTIONS_BYTES - DATA_HEAD_BYTES - \
	 NX_CRC_BYTES)
/* Frames of a write of 256 KiB, of the send buffer (2.5 MiB), and between two credits. */
#define WRITE_FRAMES 4u
#define RING_FRAMES 40u
#define CREDIT_FRAMES 4u
#define SOCKET_BYTES (4 << 20)
#define VNI 7u
/* After such a silence frames or credits must have been lost. */
#define STALL_S 0.05

static uint8_t application[WRITE_FRAMES][DATA_BYTES];
static uint8_t ring[RING_FRAMES][DATA_BYTES];
static _Alignas(64) uint8_t packet[DATAGRAM_BYTES];
static _Alignas(64) uint8_t landing[64 + DATAGRAM_BYTES];
static int32_t key;
static struct nx_replay window;

static _Noreturn void fail(const char *what)
{
	fprintf(stderr, "sealed_loop: %s\n", what);
	exit(1);
}

/* ---- where the time goes ------------------------------------------------------------------ */

enum part { COPY, SEAL, SEND, RECEIVE, OPEN, REST, PARTS };
static double spent[PARTS];

static double now(void)
{
	struct timespec time;
	clock_gettime(CLOCK_MONOTONIC, &time);
	return (double)time.tv_sec + 1e-9 * (double)time.tv_nsec;
}

/* Books the time since `from`, and returns the time. */
static double lap(enum part part, double from)
{
	double time = now();
	spent[part] += time - from;
	return time;
}

static void print_parts(uint64_t frames)
{
	static const char *const names[PARTS] = {"copy", "seal", "send", "receive", "open", "rest"};
	for (int i = 0; i < PARTS; i++)
		if (spent[i] > 0) printf("%s %.2f ", names[i], 1e6 * spent[i] / (double)frames);
	printf("of %llu frames\n", (unsigned long long)frames);
}

/* ---- what is done to a frame -------------------------------------------------------------- */

static void open_key(void)
{
	static const uint8_t secret[NX_KEY_BYTES + NX_NONCE_BYTES] = {1, 2, 3};
	uint8_t header[NX_HEADER_BYTES] = {0};
	nx_put_u32(header + NX_WORD0_AT, NX_FRAME_VERSION << NX_WORD0_VERSION_SHIFT |
						 NX_FLAG_ENCRYPTED << NX_WORD0_FLAGS_SHIFT |
						 NX_FRAME_TYPE_DATA << NX_WORD0_TYPE_SHIFT);
	header[NX_OPTIONS_LENGTH_AT + 1] = OPTIONS_BYTES;
	key = nx_key_open(NX_SUITE_AES_256_GCM, NX_BACKEND_IMB, secret, secret + NX_KEY_BYTES, VNI);
	if (key < 0) fail("no intel-ipsec-mb, or not for this CPU");
	nx_key_bind(key, header, 0);
}

/* The application writes (its place in the stream into both ends, so that it can be checked). */
static void copy(uint64_t number)
{
	uint8_t *from = application[number % WRITE_FRAMES];
	uint64_t offset = number * DATA_BYTES;
	memcpy(from, &offset, sizeof offset);
	memcpy(from + DATA_BYTES - sizeof offset, &offset, sizeof offset);
	memcpy(ring[number % RING_FRAMES], from, DATA_BYTES);
}

static void seal(uint64_t number)
{
	uint64_t offset = number * DATA_BYTES, overlay = nx_overlay_word(VNI);
	const struct nx_seal_run run = {
		.at = NX_OVERLAY_BYTES,
		.count = 1,
		.number_high = (uint32_t)(number >> 32),
		.number_low = (uint32_t)number,
		.offset_high = (uint32_t)(offset >> 32),
		.offset_low = (uint32_t)offset,
		.data_each = DATA_BYTES,
		.data_total = DATA_BYTES,
		.pieces = 1,
	};
	const double address = (double)(uintptr_t)ring[number % RING_FRAMES];
	const uint32_t length = DATA_BYTES;
	memcpy(packet, &overlay, sizeof overlay);
	if (nx_seal_run(key, packet, sizeof packet, &run, &address, &length) < 0) fail("cannot seal");
}

/* Opens what lies in `packet` and returns its number. Ends the program when it is not what was sent. */
static uint64_t open_packet(uint32_t bytes)
{
	struct nx_open_run run = {
		.at = NX_OVERLAY_BYTES,
		.length = bytes - NX_OVERLAY_BYTES,
		.landed = 64,
		.landing_end = sizeof landing,
	};
	struct nx_result results[NX_RESULTS_MAX], *result = results;
	if (nx_open_run(key, packet, bytes, &run, landing, sizeof landing, results, &window) != 1 ||
	    result->kind != NX_RESULT_DATA || result->length != DATA_BYTES)
		fail("a frame does not open");
	uint64_t number = (uint64_t)result->number_high << 32 | result->number_low;
	uint64_t offset = number * DATA_BYTES;
	const uint8_t *data = landing + result->at;
	if (memcmp(data, &offset, sizeof offset) != 0 ||
	    memcmp(data + DATA_BYTES - sizeof offset, &offset, sizeof offset) != 0)
		fail("what was opened is not what was sent");
	return number;
}

/* ---- roles -------------------------------------------------------------------------------- */

static void set_buffer(int fd, int force, int option)
{
	int bytes = SOCKET_BYTES;
	if (setsockopt(fd, SOL_SOCKET, force, &bytes, sizeof bytes) < 0)
		setsockopt(fd, SOL_SOCKET, option, &bytes, sizeof bytes);
}

static int open_socket(void)
{
	int fd = socket(AF_INET, SOCK_DGRAM, 0);
	set_buffer(fd, SO_RCVBUFFORCE, SO_RCVBUF);
	set_buffer(fd, SO_SNDBUFFORCE, SO_SNDBUF);
	return fd;
}

static struct sockaddr_in loopback(int port)
{
	return (struct sockaddr_in){.sin_family = AF_INET,
				    .sin_addr.s_addr = htonl(INADDR_LOOPBACK),
				    .sin_port = htons((uint16_t)port)};
}

static void receive(double warm_up, double seconds)
{
	struct sockaddr_in address = loopback(0);
	socklen_t length = sizeof address;
	int fd = open_socket();
	if (bind(fd, (struct sockaddr *)&address, length) < 0) fail(strerror(errno));
	getsockname(fd, (struct sockaddr *)&address, &length);
	printf("%d\n", ntohs(address.sin_port));
	fflush(stdout);
	if (recvfrom(fd, packet, 1, MSG_PEEK, (struct sockaddr *)&address, &length) < 0 ||
	    connect(fd, (struct sockaddr *)&address, length) < 0)
		fail(strerror(errno));
	uint64_t frames = 0, credited = 0;
	double time = now(), begun = time + warm_up;
	bool warm = false;
	while (time < begun + seconds) {
		if (!warm && time >= begun) {
			warm = true;
			frames = 0;
			memset(spent, 0, sizeof spent);
			begun = time;
		}
		ssize_t got = recv(fd, packet, sizeof packet, MSG_DONTWAIT);
		if (got < 0) {
			time = lap(REST, time);
			continue;
		}
		time = lap(RECEIVE, time);
		uint64_t next = open_packet((uint32_t)got) + 1;
		frames++;
		time = lap(OPEN, time);
		if (next < credited + CREDIT_FRAMES) continue;
		credited = next;
		send(fd, &next, sizeof next, MSG_DONTWAIT);
		time = lap(REST, time);
	}
	printf("%llu %f\n", (unsigned long long)frames * DATA_BYTES, time - begun);
	print_parts(frames);
}

static void transmit(int port)
{
	struct sockaddr_in to = loopback(port);
	int fd = open_socket();
	if (connect(fd, (struct sockaddr *)&to, sizeof to) < 0) fail(strerror(errno));
	uint64_t sent = 0, acknowledged = 0;
	errno = 0;
	for (double time = now(), moved = time; errno != ECONNREFUSED;) {
		/* Looking costs a system call: only with little room left. */
		while (sent - acknowledged >= RING_FRAMES / 2 &&
		       recv(fd, &acknowledged, sizeof acknowledged, MSG_DONTWAIT) > 0);
		time = lap(REST, time);
		if (sent - acknowledged < RING_FRAMES) {
			copy(sent);
			time = lap(COPY, time);
			seal(sent++);
			time = lap(SEAL, time);
			send(fd, packet, sizeof packet, 0);
			time = moved = lap(SEND, time);
		} else if (time > moved + STALL_S) acknowledged = sent;
	}
	print_parts(sent);
}

static void alone(double seconds)
{
	uint64_t number = 0;
	for (double time = now(), end = time + seconds; time < end; number++) {
		copy(number);
		time = lap(COPY, time);
		seal(number);
		time = lap(SEAL, time);
		open_packet(sizeof packet);
		time = lap(OPEN, time);
	}
	print_parts(number);
}

int main(int argc, char **argv)
{
	open_key();
	if (argc == 4 && !strcmp(argv[1], "rx")) receive(atof(argv[2]), atof(argv[3]));
	else if (argc == 3 && !strcmp(argv[1], "tx")) transmit(atoi(argv[2]));
	else if (argc == 3 && !strcmp(argv[1], "alone")) alone(atof(argv[2]));
	else return 2;
	return 0;
}

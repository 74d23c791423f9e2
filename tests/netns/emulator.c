/*
 * A slow, long, lossy path between two network namespaces, for kernels without tc netem. It reads IP
 * packets from a TUN device in one namespace and writes them to one in the other, both ways alike:
 *
 *   packet ─ full queue: dropped ─ waits its turn at the rate ─ lost by chance ─ travels the delay
 *
 *     emulator NAMESPACE_A NAMESPACE_B MBIT_PER_S DELAY_US LOSS_PPM QUEUE_BYTES SEED
 *
 * Makes the device "path" in each namespace, prints a line and relays until it is killed. The queue
 * is arithmetic: when the line will be free says how much waits for it.
 */
#include <fcntl.h>
#include <linux/if_tun.h>
#include <net/if.h>
#include <poll.h>
#include <sched.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <time.h>
#include <unistd.h>

/* Longest packet: more than any MTU used here. */
#define PACKET_BYTES_MAX 2048
/* Packets under way in one direction; a power of two. */
#define PACKETS_MAX 16384
#define PPM 1000000u

struct packet {
	uint64_t arrives_ns;
	uint32_t length;
	uint8_t bytes[PACKET_BYTES_MAX];
};

struct direction {
	int from, to;
	uint64_t free_ns; /* when the line has sent all that waits */
	uint64_t random;
	uint32_t head, tail; /* packets[tail … head-1] travel, in order of arrival */
	struct packet *packets;
};

static uint64_t mbit_per_s, delay_ns, loss_ppm, queue_bytes;

static void fail(const char *what)
{
	perror(what);
	exit(1);
}

static uint64_t now_ns(void)
{
	struct timespec time;
	clock_gettime(CLOCK_MONOTONIC, &time);
	return (uint64_t)time.tv_sec * 1000000000u + (uint64_t)time.tv_nsec;
}

/* xorshift64* */
static uint32_t next_random(uint64_t *state)
{
	*state ^= *state >> 12;
	*state ^= *state << 25;
	*state ^= *state >> 27;
	return (uint32_t)(*state * 0x2545f4914f6cdd1du >> 32);
}

static int open_tun(const char *network_namespace)
{
	char path[128];
	snprintf(path, sizeof path, "/var/run/netns/%s", network_namespace);
	int space = open(path, O_RDONLY | O_CLOEXEC);
	if (space < 0 || setns(space, CLONE_NEWNET) < 0) fail(path);
	close(space);
	int tun = open("/dev/net/tun", O_RDWR | O_NONBLOCK | O_CLOEXEC);
	/* Without offloads the kernel cuts trains up and fills in checksums itself. */
	struct ifreq request = {.ifr_flags = IFF_TUN | IFF_NO_PI};
	strcpy(request.ifr_name, "path");
	if (tun < 0 || ioctl(tun, TUNSETIFF, &request) < 0) fail("/dev/net/tun");
	return tun;
}

static void take_in(struct direction *d)
{
	for (;;) {
		struct packet *packet = &d->packets[d->head % PACKETS_MAX];
		ssize_t length = read(d->from, packet->bytes, PACKET_BYTES_MAX);
		if (length <= 0) return;
		uint64_t now = now_ns();
		uint64_t start = d->free_ns > now ? d->free_ns : now;
		/* ns × Mbit/s is bits × 1000. */
		uint64_t waiting_bytes = (start - now) * mbit_per_s / 8000;
		if (waiting_bytes + (uint64_t)length > queue_bytes) continue;
		if (d->head - d->tail == PACKETS_MAX) continue;
		d->free_ns = start + (uint64_t)length * 8000 / mbit_per_s;
		if (next_random(&d->random) % PPM < loss_ppm) continue;
		packet->length = (uint32_t)length;
		packet->arrives_ns = d->free_ns + delay_ns;
		d->head++;
	}
}

/* Delivers what has arrived; returns when the next one does, or the farthest time. */
static uint64_t hand_out(struct direction *d)
{
	while (d->tail != d->head) {
		struct packet *packet = &d->packets[d->tail % PACKETS_MAX];
		if (packet->arrives_ns > now_ns()) return packet->arrives_ns;
		/* A device that does not take it loses it, as a real one does. */
		if (write(d->to, packet->bytes, packet->length) < 0) {}
		d->tail++;
	}
	return UINT64_MAX;
}

int main(int argc, char **argv)
{
	if (argc != 8) {
		fprintf(stderr, "emulator: 7 arguments expected, see the head of emulator.c\n");
		return 2;
	}
	mbit_per_s = strtoull(argv[3], NULL, 10);
	delay_ns = strtoull(argv[4], NULL, 10) * 1000;
	loss_ppm = strtoull(argv[5], NULL, 10);
	queue_bytes = strtoull(argv[6], NULL, 10);
	uint64_t seed = strtoull(argv[7], NULL, 10);
	prctl(PR_SET_TIMERSLACK, 1); /* sleeps end when they should, not 50 µs later */
	int a = open_tun(argv[1]), b = open_tun(argv[2]);
	struct direction ways[2] = {
		{.from = a, .to = b, .random = seed * 2 + 1},
		{.from = b, .to = a, .random = seed * 2 + 3},
	};
	for (int i = 0; i < 2; i++) {
		ways[i].packets = calloc(PACKETS_MAX, sizeof *ways[i].packets);
		if (ways[i].packets == NULL) fail("memory");
	}
	puts("ready");
	fflush(stdout);
	for (;;) {
		uint64_t next = UINT64_MAX;
		for (int i = 0; i < 2; i++) {
			take_in(&ways[i]);
			uint64_t then = hand_out(&ways[i]);
			if (then < next) next = then;
		}
		uint64_t now = now_ns(), wait = next > now ? next - now : 0;
		struct timespec timeout = {(time_t)(wait / 1000000000u), (long)(wait % 1000000000u)};
		struct pollfd fds[2] = {{.fd = a, .events = POLLIN}, {.fd = b, .events = POLLIN}};
		ppoll(fds, 2, next == UINT64_MAX ? NULL : &timeout, NULL);
	}
}

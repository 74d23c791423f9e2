/*
 * The peer of the native port in bench/native_udp.ts: the shortest C loop that moves the same
 * datagrams with UDP_SEGMENT and UDP_GRO, without frames, pool or peers.
 *
 *     raw_loop rx SECONDS            prints its port, then "BYTES SECONDS" received
 *     raw_loop tx PORT BYTES SECONDS sends trains of datagrams of BYTES
 *     raw_loop both BYTES SECONDS    one thread sends a train and receives it, in turn: prints the same
 *     raw_loop echo                  prints its port, then answers until it is ended
 *     raw_loop ping PORT BYTES COUNT prints the median round trip in ns, spinning
 */
#include <arpa/inet.h>
#include <netinet/in.h>
#include <netinet/udp.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#define BUFFER_BYTES 65536
#define TRAIN_BYTES_MAX 65487
#define TRAIN_DATAGRAMS_MAX 64
#define SOCKET_BYTES (4 << 20)
/*
 * The receiver answers each so many bytes with a datagram, and the sender stays less than a window
 * ahead: a sender without bound only measures how fast the kernel drops.
 */
#define CREDIT_BYTES (256 << 10)
#define WINDOW_BYTES (2 << 20)
/* After such a silence credits must have been lost. */
#define STALL_S 0.05
/* How long a receiver waits for the first datagram. */
#define START_S 10.0

static char buffer[BUFFER_BYTES];

static double now(void)
{
	struct timespec time;
	clock_gettime(CLOCK_MONOTONIC, &time);
	return (double)time.tv_sec + 1e-9 * (double)time.tv_nsec;
}

static int open_socket(int print)
{
	struct sockaddr_in address = {.sin_family = AF_INET,
				      .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	socklen_t length = sizeof address;
	int fd = socket(AF_INET, SOCK_DGRAM, 0), bytes = SOCKET_BYTES;
	setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &bytes, sizeof bytes);
	setsockopt(fd, SOL_SOCKET, SO_SNDBUF, &bytes, sizeof bytes);
	if (fd < 0 || bind(fd, (struct sockaddr *)&address, length) < 0) {
		perror("raw_loop");
		exit(1);
	}
	getsockname(fd, (struct sockaddr *)&address, &length);
	if (print) printf("%d\n", ntohs(address.sin_port));
	fflush(stdout);
	return fd;
}

static void connect_to(int fd, const char *port)
{
	struct sockaddr_in to = {.sin_family = AF_INET,
				 .sin_addr.s_addr = htonl(INADDR_LOOPBACK),
				 .sin_port = htons((uint16_t)atoi(port))};
	connect(fd, (struct sockaddr *)&to, sizeof to);
}

static void receive(double seconds)
{
	int fd = open_socket(1), on = 1;
	setsockopt(fd, IPPROTO_UDP, UDP_GRO, &on, sizeof on);
	double first = 0, last = 0, begin = now();
	uint64_t bytes = 0, credited = 0;
	struct sockaddr_in from;
	for (;;) {
		char control[64];
		struct iovec iov = {buffer, sizeof buffer};
		struct msghdr header = {.msg_name = &from, .msg_namelen = sizeof from,
					.msg_iov = &iov, .msg_iovlen = 1, .msg_control = control,
					.msg_controllen = sizeof control};
		ssize_t got = recvmsg(fd, &header, MSG_DONTWAIT);
		double time = now();
		if (got > 0) {
			if (first == 0) first = time;
			bytes += (uint64_t)got;
			last = time;
			for (; bytes - credited >= CREDIT_BYTES; credited += CREDIT_BYTES)
				sendto(fd, buffer, 1, 0, (struct sockaddr *)&from, sizeof from);
		}
		if (first != 0 ? time > first + seconds : time > begin + START_S) break;
	}
	printf("%llu %f\n", (unsigned long long)bytes, last - first);
}

union segment_control {
	struct cmsghdr header;
	char bytes[CMSG_SPACE(sizeof(uint16_t))];
};

/* A message of as many datagrams as fit. */
static struct msghdr make_train(size_t datagram, struct iovec *iov, union segment_control *control)
{
	size_t count = TRAIN_BYTES_MAX / datagram;
	if (count > TRAIN_DATAGRAMS_MAX) count = TRAIN_DATAGRAMS_MAX;
	uint16_t segment = (uint16_t)datagram;
	*control = (union segment_control){.header = {.cmsg_level = IPPROTO_UDP,
						      .cmsg_type = UDP_SEGMENT,
						      .cmsg_len = CMSG_LEN(sizeof segment)}};
	memcpy(CMSG_DATA(&control->header), &segment, sizeof segment);
	*iov = (struct iovec){buffer, count * datagram};
	return (struct msghdr){.msg_iov = iov, .msg_iovlen = 1, .msg_control = control,
			       .msg_controllen = sizeof *control};
}

static void both(size_t datagram, double seconds)
{
	int from = open_socket(0), to = open_socket(0), on = 1;
	struct sockaddr_in address;
	socklen_t length = sizeof address;
	getsockname(to, (struct sockaddr *)&address, &length);
	connect(from, (struct sockaddr *)&address, length);
	setsockopt(to, IPPROTO_UDP, UDP_GRO, &on, sizeof on);
	struct iovec iov;
	union segment_control control;
	struct msghdr train = make_train(datagram, &iov, &control);
	uint64_t bytes = 0;
	double begin = now();
	while (now() < begin + seconds) {
		sendmsg(from, &train, 0);
		char received_control[64];
		struct iovec into = {buffer, sizeof buffer};
		struct msghdr header = {.msg_iov = &into, .msg_iovlen = 1,
					.msg_control = received_control,
					.msg_controllen = sizeof received_control};
		for (ssize_t got; (got = recvmsg(to, &header, MSG_DONTWAIT)) > 0;)
			bytes += (uint64_t)got;
	}
	printf("%llu %f\n", (unsigned long long)bytes, now() - begin);
}

static void transmit(const char *port, size_t datagram, double seconds)
{
	int fd = open_socket(0);
	connect_to(fd, port);
	struct iovec iov;
	union segment_control control;
	struct msghdr header = make_train(datagram, &iov, &control);
	ssize_t ahead = 0;
	for (double end = now() + seconds, stalled = end; now() < end;) {
		/* Looking costs a system call: only with little room left. */
		while (ahead >= WINDOW_BYTES / 2 && recv(fd, NULL, 0, MSG_DONTWAIT) >= 0)
			ahead -= CREDIT_BYTES;
		if (ahead < WINDOW_BYTES) {
			ahead += sendmsg(fd, &header, 0);
			stalled = now() + STALL_S;
		} else if (now() > stalled) ahead = 0;
	}
}

static void echo(void)
{
	int fd = open_socket(1);
	for (;;) {
		struct sockaddr_in from;
		socklen_t length = sizeof from;
		ssize_t got = recvfrom(fd, buffer, sizeof buffer, MSG_DONTWAIT,
				       (struct sockaddr *)&from, &length);
		if (got >= 0) sendto(fd, buffer, (size_t)got, 0, (struct sockaddr *)&from, length);
	}
}

static int by_size(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;
	return (x > y) - (x < y);
}

static void ping(const char *port, size_t bytes, int count)
{
	int fd = open_socket(0);
	connect_to(fd, port);
	double *times = calloc((size_t)count, sizeof *times);
	for (int i = 0; i < count; i++) {
		double begin = now();
		send(fd, buffer, bytes, 0);
		while (recv(fd, buffer, sizeof buffer, MSG_DONTWAIT) < 0 && now() < begin + 1);
		times[i] = now() - begin;
	}
	qsort(times, (size_t)count, sizeof *times, by_size);
	printf("%.0f\n", 1e9 * times[count / 2]);
}

int main(int argc, char **argv)
{
	if (argc == 3 && !strcmp(argv[1], "rx")) receive(atof(argv[2]));
	else if (argc == 5 && !strcmp(argv[1], "tx"))
		transmit(argv[2], (size_t)atoi(argv[3]), atof(argv[4]));
	else if (argc == 4 && !strcmp(argv[1], "both")) both((size_t)atoi(argv[2]), atof(argv[3]));
	else if (argc == 2 && !strcmp(argv[1], "echo")) echo();
	else if (argc == 5 && !strcmp(argv[1], "ping"))
		ping(argv[2], (size_t)atoi(argv[3]), atoi(argv[4]));
	else return 2;
	return 0;
}

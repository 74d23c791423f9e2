/*
 * A native thread at one side of a ring (ring_native_test.ts): the same stream of items as
 * ring_stream.ts.
 */
#include "nx_ring.h"

#include <pthread.h>
#include <sched.h>
#include <stddef.h>
#include <stdlib.h>

#define BURST_MAX 48u
#define SPINS_MAX 2000u

struct job {
	pthread_t thread;
	struct nx_ring_end end;
	uint32_t count;
	uint32_t random;
	int64_t wrong; /* first bad item, -1: none */
};

static uint32_t mark(uint32_t n)
{
	return (n ^ 0x5bd1e995u) * 0x9e3779b1u;
}

static uint32_t next_random(struct job *job)
{
	/* xorshift32 (Marsaglia 2003). */
	uint32_t x = job->random;
	x ^= x << 13;
	x ^= x >> 17;
	x ^= x << 5;
	return job->random = x;
}

static void *produce(void *argument)
{
	struct job *job = argument;
	for (uint32_t next = 0, spins = 0; next < job->count;) {
		uint32_t wanted = 1 + next_random(job) % BURST_MAX;
		if (wanted > job->count - next) wanted = job->count - next;
		uint32_t granted = nx_ring_reserve_free(&job->end, wanted);
		if (granted == 0) {
			if (++spins % SPINS_MAX == 0) sched_yield();
			continue;
		}
		for (uint32_t i = 0; i < granted; i++, next++) {
			uint32_t *entry = nx_ring_entry(&job->end, i);
			entry[0] = next;
			entry[1] = ~next;
			entry[3] = mark(next);
		}
		nx_ring_publish(&job->end, granted);
	}
	return NULL;
}

static void *consume(void *argument)
{
	struct job *job = argument;
	for (uint32_t next = 0, spins = 0; next < job->count;) {
		uint32_t granted =
			nx_ring_reserve_filled(&job->end, 1 + next_random(job) % BURST_MAX);
		if (granted == 0) {
			if (++spins % SPINS_MAX == 0) sched_yield();
			continue;
		}
		for (uint32_t i = 0; i < granted; i++, next++) {
			const uint32_t *entry = nx_ring_entry(&job->end, i);
			if (entry[0] == next && entry[1] == ~next && entry[3] == mark(next)) continue;
			job->wrong = next;
			return NULL;
		}
		nx_ring_release(&job->end, granted);
	}
	return NULL;
}

/* Starts a thread at one side; NULL when the memory holds no ring. */
void *peer_start(uint8_t *memory, uint64_t bytes, uint32_t consumer, uint32_t count)
{
	struct job *job = calloc(1, sizeof(*job));
	if (job == NULL) return NULL;
	job->count = count;
	job->random = 2463534242u;
	job->wrong = -1;
	int refused = consumer ? nx_ring_consumer(&job->end, memory, bytes)
			       : nx_ring_producer(&job->end, memory, bytes);
	if (refused || pthread_create(&job->thread, NULL, consumer ? consume : produce, job) != 0) {
		free(job);
		return NULL;
	}
	return job;
}

/* Waits for the thread; returns its first bad item, -1: none. */
int64_t peer_join(void *handle)
{
	struct job *job = handle;
	pthread_join(job->thread, NULL);
	int64_t wrong = job->wrong;
	free(job);
	return wrong;
}

/* Where C has the fields, in words: the test compares with ring.ts. */
uint32_t peer_layout(uint32_t field)
{
	const size_t at[] = {
		offsetof(struct nx_ring, magic),    offsetof(struct nx_ring, version),
		offsetof(struct nx_ring, capacity), offsetof(struct nx_ring, entry_words),
		offsetof(struct nx_ring, tail),     offsetof(struct nx_ring, head),
		offsetof(struct nx_ring, entries),
	};
	const uint32_t values[] = {NX_RING_MAGIC, NX_RING_VERSION, NX_RING_CAPACITY_MAX,
				   NX_RING_ENTRY_WORDS_MAX};
	const uint32_t fields = sizeof(at) / sizeof(at[0]);
	return field < fields ? (uint32_t)(at[field] / 4) : values[field - fields];
}

#ifdef RING_MAIN
#include <stdio.h>

/* Both sides native, for a run under ThreadSanitizer. */
int main(void)
{
	enum { CAPACITY = 64, WORDS = 4, COUNT = 200000 };
	uint32_t bytes = sizeof(struct nx_ring) + 4 * CAPACITY * WORDS;
	struct nx_ring *ring = calloc(1, bytes);
	if (ring == NULL) return 1;
	ring->version = NX_RING_VERSION;
	ring->capacity = CAPACITY;
	ring->entry_words = WORDS;
	atomic_store(&ring->magic, NX_RING_MAGIC);
	void *consumer = peer_start((uint8_t *)ring, bytes, 1, COUNT);
	void *producer = peer_start((uint8_t *)ring, bytes, 0, COUNT);
	if (consumer == NULL || producer == NULL) return 1;
	peer_join(producer);
	long long wrong = peer_join(consumer);
	free(ring);
	printf("%lld\n", wrong);
	return wrong == -1 ? 0 : 1;
}
#endif

/*
 * The ring of lib/l1_link/ring.ts in C: one thread writes, one reads, no locks. The layout and the
 * order of steps are the same, so that a native thread and TypeScript share one ring; ring.ts says
 * why it is safe. Header only.
 *
 *	struct nx_ring_end out;
 *	if (nx_ring_producer(&out, memory, bytes)) return;
 *	uint32_t n = nx_ring_reserve_free(&out, wanted);
 *	for (uint32_t i = 0; i < n; i++) fill(nx_ring_entry(&out, i));
 *	nx_ring_publish(&out, n);
 */
#ifndef NX_RING_H
#define NX_RING_H

#include <stdatomic.h>
#include <stdint.h>

#define NX_RING_MAGIC 0x4e585247u /* "NXRG" */
#define NX_RING_VERSION 1u
#define NX_RING_CAPACITY_MAX (1u << 20)
#define NX_RING_ENTRY_WORDS_MAX 16u

/*
 * Padded rather than aligned: JavaScript's memory starts on 16 bytes only. Words that lie 64 bytes
 * apart never share a line, wherever the ring starts.
 */
struct nx_ring {
	/* Line 0: never changes. */
	_Atomic uint32_t magic;
	uint32_t version;
	uint32_t capacity;    /* entries, a power of two */
	uint32_t entry_words; /* 32-bit words of an entry, a power of two */
	uint32_t pad0[12];
	/* Line 1: entries ever published; written by the producer only. */
	_Atomic uint32_t tail;
	uint32_t pad1[15];
	/* Line 2: entries ever taken; written by the consumer only. */
	_Atomic uint32_t head;
	uint32_t pad2[15];
	/* Line 3…: the entries. */
	uint32_t entries[];
};
_Static_assert(sizeof(struct nx_ring) == 192, "the entries start on line 3");
_Static_assert(sizeof(_Atomic uint32_t) == 4, "an atomic word is a word, as in TypeScript");
_Static_assert(ATOMIC_INT_LOCK_FREE == 2, "no locks");

/* One side of a ring; belongs to one thread. */
struct nx_ring_end {
	struct nx_ring *ring;
	uint32_t mask;
	uint32_t entry_words;
	uint32_t own;  /* the index that this side writes */
	uint32_t seen; /* the other's index as last read: it can only have moved on since */
};

static inline int nx_ring_power_of_two(uint32_t value)
{
	return value != 0 && (value & (value - 1)) == 0;
}

/* Binds an end to a ring that exists in `bytes` of memory; 0, or -1 when there is none. */
static inline int nx_ring_attach(struct nx_ring_end *end, void *memory, uint64_t bytes)
{
	struct nx_ring *ring = memory;
	if (((uintptr_t)memory & 3) != 0 || bytes < sizeof(*ring)) return -1;
	if (atomic_load_explicit(&ring->magic, memory_order_acquire) != NX_RING_MAGIC) return -1;
	if (ring->version != NX_RING_VERSION) return -1;
	if (!nx_ring_power_of_two(ring->capacity) || ring->capacity > NX_RING_CAPACITY_MAX) return -1;
	if (!nx_ring_power_of_two(ring->entry_words) ||
	    ring->entry_words > NX_RING_ENTRY_WORDS_MAX)
		return -1;
	if (bytes - sizeof(*ring) < 4ull * ring->capacity * ring->entry_words) return -1;
	end->ring = ring;
	end->mask = ring->capacity - 1;
	end->entry_words = ring->entry_words;
	return 0;
}

/* The writing end. */
static inline int nx_ring_producer(struct nx_ring_end *end, void *memory, uint64_t bytes)
{
	if (nx_ring_attach(end, memory, bytes)) return -1;
	end->own = atomic_load_explicit(&end->ring->tail, memory_order_relaxed);
	end->seen = atomic_load_explicit(&end->ring->head, memory_order_acquire);
	return 0;
}

/* The reading end. */
static inline int nx_ring_consumer(struct nx_ring_end *end, void *memory, uint64_t bytes)
{
	if (nx_ring_attach(end, memory, bytes)) return -1;
	end->own = atomic_load_explicit(&end->ring->head, memory_order_relaxed);
	end->seen = atomic_load_explicit(&end->ring->tail, memory_order_acquire);
	return 0;
}

/* Words of the i-th entry that this end reserved. */
static inline uint32_t *nx_ring_entry(const struct nx_ring_end *end, uint32_t i)
{
	return &end->ring->entries[((end->own + i) & end->mask) * end->entry_words];
}

/* Producer: how many of `count` entries may be written now. */
static inline uint32_t nx_ring_reserve_free(struct nx_ring_end *end, uint32_t count)
{
	uint32_t room = end->mask + 1 - (end->own - end->seen);
	if (room < count) {
		end->seen = atomic_load_explicit(&end->ring->head, memory_order_acquire);
		room = end->mask + 1 - (end->own - end->seen);
	}
	return room < count ? room : count;
}

/* Producer: makes the first `count` reserved entries visible. */
static inline void nx_ring_publish(struct nx_ring_end *end, uint32_t count)
{
	end->own += count;
	atomic_store_explicit(&end->ring->tail, end->own, memory_order_release);
}

/* Consumer: how many of `count` entries are there. */
static inline uint32_t nx_ring_reserve_filled(struct nx_ring_end *end, uint32_t count)
{
	uint32_t filled = end->seen - end->own;
	if (filled < count) {
		end->seen = atomic_load_explicit(&end->ring->tail, memory_order_acquire);
		filled = end->seen - end->own;
	}
	return filled < count ? filled : count;
}

/* Consumer: gives the first `count` reserved entries back. */
static inline void nx_ring_release(struct nx_ring_end *end, uint32_t count)
{
	end->own += count;
	atomic_store_explicit(&end->ring->head, end->own, memory_order_release);
}

#endif

/*
 * The pool of lib/l1_link/pool.ts seen from C. JavaScript owns the slots: a receive is offered free
 * ones (Pool.reserve), uses some and hands the others back (Pool.commit).
 */
#ifndef NX_POOL_H
#define NX_POOL_H

#include <stdbool.h>
#include <stdint.h>

#include "nx_io.h"

/* Room before each frame (HEADROOM_BYTES). */
#define NX_HEADROOM_BYTES 64u

struct nx_pool {
	uint8_t *bytes; /* the block that offsets count from */
	uint32_t base;  /* where slot 0 starts in it */
	uint32_t slot_bytes;
	uint32_t slots;
	uint32_t offered;   /* slots of this receive, of which free[0 … free_count-1] are unused */
	uint32_t free_count;
	int32_t free[NX_BURST_FRAMES_MAX];
};

/* Takes the slots of a receive from the front of the burst. */
static inline void nx_pool_offer(struct nx_pool *pool, const struct nx_burst *burst,
				 uint32_t count)
{
	pool->offered = count < NX_BURST_FRAMES_MAX ? count : NX_BURST_FRAMES_MAX;
	pool->free_count = pool->offered;
	/* As a stack whose top is the first one, which left the pool last and is warmest. */
	for (uint32_t i = 0; i < pool->offered; i++)
		pool->free[pool->offered - 1 - i] = burst->slot[i];
}

/* A slot, or -1 when none is left. */
static inline int32_t nx_pool_alloc(struct nx_pool *pool)
{
	return pool->free_count == 0 ? -1 : pool->free[--pool->free_count];
}

/* Puts an unused slot back. */
static inline void nx_pool_free(struct nx_pool *pool, int32_t slot)
{
	pool->free[pool->free_count++] = slot;
}

/* Writes the unused slots behind the `used` ones of the burst. */
static inline void nx_pool_return(struct nx_pool *pool, struct nx_burst *burst, uint32_t used)
{
	while (pool->free_count > 0) burst->slot[used++] = nx_pool_alloc(pool);
}

/* Where the frame of a slot starts: 64-byte aligned. */
static inline uint32_t nx_frame_offset(const struct nx_pool *pool, int32_t slot)
{
	return pool->base + (uint32_t)slot * pool->slot_bytes + NX_HEADROOM_BYTES;
}

#endif

/*
 * The pool of lib/l1_link/pool.ts seen from C. JavaScript owns the slots: a receive is offered free
 * ones (Pool.reserve), fills some and says in the burst which (Pool.settle).
 */
#ifndef NX_POOL_H
#define NX_POOL_H

#include <stdint.h>

/* Room before the first frame of a slot (HEADROOM_BYTES). */
#define NX_HEADROOM_BYTES 64u

struct nx_pool {
	uint8_t *bytes; /* the block that offsets count from */
	uint32_t base;  /* where slot 0 starts in it */
	uint32_t slot_bytes;
	uint32_t slots;
};

/* Where the first frame of a slot starts: 64-byte aligned. */
static inline uint32_t nx_frame_offset(const struct nx_pool *pool, int32_t slot)
{
	return pool->base + (uint32_t)slot * pool->slot_bytes + NX_HEADROOM_BYTES;
}

#endif

/*
 * Objects as small integers: a table in chunks that grows and never moves, so that a look-up
 * takes no lock. A number that is closed or was never given finds NULL.
 */
#ifndef NX_HANDLES_H
#define NX_HANDLES_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdint.h>

#define NX_HANDLE_CHUNK 256
#define NX_HANDLE_CHUNKS_MAX 256 /* 65,536 objects of a kind */

typedef _Atomic(void *) nx_handle_slot;

struct nx_handles {
	pthread_mutex_t lock;
	_Atomic(nx_handle_slot *) chunks[NX_HANDLE_CHUNKS_MAX];
	int32_t lowest_free; /* none below is free */
};

#define NX_HANDLES_INITIALIZER {.lock = PTHREAD_MUTEX_INITIALIZER}

/* Number of the object from now on; -ENFILE or -ENOMEM. */
int32_t nx_handle_add(struct nx_handles *handles, void *object);
/* Takes the object out of the table; NULL when there is none. */
void *nx_handle_remove(struct nx_handles *handles, int32_t handle);

static inline void *nx_handle_get(struct nx_handles *handles, int32_t handle)
{
	if ((uint32_t)handle >= NX_HANDLE_CHUNK * NX_HANDLE_CHUNKS_MAX) return NULL;
	nx_handle_slot *chunk = atomic_load_explicit(&handles->chunks[handle / NX_HANDLE_CHUNK],
						     memory_order_acquire);
	if (chunk == NULL) return NULL;
	return atomic_load_explicit(&chunk[handle % NX_HANDLE_CHUNK], memory_order_acquire);
}

#endif

#include "handles.h"

#include <errno.h>
#include <stdlib.h>

static nx_handle_slot *chunk_at(struct nx_handles *handles, int32_t index)
{
	nx_handle_slot *chunk = atomic_load(&handles->chunks[index]);
	if (chunk != NULL) return chunk;
	chunk = calloc(NX_HANDLE_CHUNK, sizeof *chunk);
	atomic_store_explicit(&handles->chunks[index], chunk, memory_order_release);
	return chunk;
}

int32_t nx_handle_add(struct nx_handles *handles, void *object)
{
	int32_t result = -ENFILE;
	pthread_mutex_lock(&handles->lock);
	for (int32_t at = handles->lowest_free; at < NX_HANDLE_CHUNK * NX_HANDLE_CHUNKS_MAX; at++) {
		nx_handle_slot *chunk = chunk_at(handles, at / NX_HANDLE_CHUNK);
		if (chunk == NULL) {
			result = -ENOMEM;
			break;
		}
		if (atomic_load(&chunk[at % NX_HANDLE_CHUNK]) != NULL) continue;
		atomic_store_explicit(&chunk[at % NX_HANDLE_CHUNK], object, memory_order_release);
		handles->lowest_free = at + 1;
		result = at;
		break;
	}
	pthread_mutex_unlock(&handles->lock);
	return result;
}

void *nx_handle_remove(struct nx_handles *handles, int32_t handle)
{
	if (nx_handle_get(handles, handle) == NULL) return NULL;
	pthread_mutex_lock(&handles->lock);
	nx_handle_slot *chunk = atomic_load(&handles->chunks[handle / NX_HANDLE_CHUNK]);
	void *object = atomic_exchange(&chunk[handle % NX_HANDLE_CHUNK], NULL);
	if (handle < handles->lowest_free) handles->lowest_free = handle;
	pthread_mutex_unlock(&handles->lock);
	return object;
}

/* Keys by handle, and the two operations on one message. */
#include "aead.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "handles.h"

static struct nx_handles keys = NX_HANDLES_INITIALIZER;

void nx_wipe(void *bytes, uint32_t length)
{
	explicit_bzero(bytes, length);
}

static const struct nx_aead_backend *choose(uint32_t backend)
{
	const struct nx_aead_backend *imb = nx_aead_imb();
	if (backend == NX_BACKEND_IMB || (backend == NX_BACKEND_BEST && imb != NULL)) return imb;
	return nx_aead_evp();
}

int32_t nx_key_open(uint32_t suite, uint32_t backend, const uint8_t *key, const uint8_t *iv,
		    uint32_t vni)
{
	if (suite != NX_SUITE_AES_256_GCM && suite != NX_SUITE_CHACHA20_POLY1305) return -EINVAL;
	const struct nx_aead_backend *library = choose(backend);
	if (library == NULL) return -ENOTSUP;
	struct nx_key *made = calloc(1, sizeof *made);
	if (made == NULL) return -ENOMEM;
	made->suite = suite;
	made->vni = vni;
	memcpy(made->iv, iv, NX_NONCE_BYTES);
	made->backend = library;
	made->schedule = library->schedule(suite, key);
	int32_t handle = made->schedule == NULL ? -ENOMEM : nx_handle_add(&keys, made);
	if (handle < 0) {
		if (made->schedule != NULL) library->wipe(made->schedule);
		free(made);
	}
	return handle;
}

int32_t nx_key_close(int32_t handle)
{
	struct nx_key *key = nx_handle_remove(&keys, handle);
	if (key == NULL) return -EBADF;
	key->backend->wipe(key->schedule);
	nx_wipe(key, sizeof *key);
	free(key);
	return 0;
}

int32_t nx_key_bind(int32_t handle, const uint8_t *header, uint32_t path_id)
{
	struct nx_key *key = nx_key_find(handle);
	if (key == NULL) return -EBADF;
	memcpy(key->header, header, NX_HEADER_BYTES);
	key->path_id = path_id;
	key->bound = true;
	return 0;
}

struct nx_key *nx_key_find(int32_t handle)
{
	return nx_handle_get(&keys, handle);
}

void nx_key_nonce(const struct nx_key *key, uint32_t number_high, uint32_t number_low,
		  uint8_t nonce[NX_NONCE_BYTES])
{
	nx_put_u32(nonce, nx_get_u32(key->iv) ^ key->path_id);
	nx_put_u32(nonce + 4, nx_get_u32(key->iv + 4) ^ number_high);
	nx_put_u32(nonce + 8, nx_get_u32(key->iv + 8) ^ number_low);
}

bool nx_key_seal(struct nx_key *key, const struct nx_aead_message *message)
{
	return key->backend->seal(key->schedule, key->suite, message);
}

bool nx_tags_equal(const uint8_t *a, const uint8_t *b)
{
	uint32_t difference = 0;
	for (uint32_t i = 0; i < NX_TAG_BYTES; i++) difference |= a[i] ^ b[i];
	return difference == 0;
}

bool nx_key_open_text(struct nx_key *key, const struct nx_aead_message *message)
{
	int opened = key->backend->open(key->schedule, key->suite, message);
	if (opened != 0) return opened == 1;
	if (message->from != message->text) return false;
	/* Both suites XOR a key stream: sealing what was opened gives the received bytes back. */
	uint8_t unused[NX_TAG_BYTES];
	struct nx_aead_message back = *message;
	back.tag = unused;
	key->backend->seal(key->schedule, key->suite, &back);
	return false;
}

/* The message of the two functions below: its text lies in `bytes`, and so does its tag. */
static struct nx_aead_message in_place(const uint8_t *nonce, const uint8_t *aad, uint32_t aad_length,
				       uint8_t *bytes, uint32_t from, uint32_t length,
				       uint32_t tag_at)
{
	return (struct nx_aead_message){
		.nonce = nonce,
		.aad = aad,
		.aad_length = aad_length,
		.from = bytes + from,
		.text = bytes + from,
		.length = length,
		.tag = bytes + tag_at,
	};
}

int32_t nx_aead_seal(int32_t handle, const uint8_t *nonce, const uint8_t *aad, uint32_t aad_length,
		     uint8_t *bytes, uint32_t from, uint32_t length, uint32_t tag_at)
{
	struct nx_key *key = nx_key_find(handle);
	if (key == NULL) return -EBADF;
	struct nx_aead_message message =
		in_place(nonce, aad, aad_length, bytes, from, length, tag_at);
	return nx_key_seal(key, &message) ? 1 : -EIO;
}

int32_t nx_aead_open(int32_t handle, const uint8_t *nonce, const uint8_t *aad, uint32_t aad_length,
		     uint8_t *bytes, uint32_t from, uint32_t length, uint32_t tag_at)
{
	struct nx_key *key = nx_key_find(handle);
	if (key == NULL) return -EBADF;
	struct nx_aead_message message =
		in_place(nonce, aad, aad_length, bytes, from, length, tag_at);
	return nx_key_open_text(key, &message) ? 1 : 0;
}

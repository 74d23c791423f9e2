/* AEAD keys: suite, key schedule and the library that runs it. */
#ifndef NX_AEAD_H
#define NX_AEAD_H

#include <stdbool.h>
#include <stdint.h>

#include "frame.h"

#define NX_KEY_BYTES 32u

/* Bytes to seal, wherever they are. */
struct nx_piece {
	const uint8_t *from;
	uint32_t length;
};

/* One message: everything a backend needs besides the key. */
struct nx_aead_message {
	const uint8_t *nonce; /* 12 bytes */
	const uint8_t *aad;
	uint32_t aad_length;
	const uint8_t *from; /* what is sealed or opened; = text, or apart from it */
	uint8_t *text;       /* where the result goes */
	uint32_t length;
	uint8_t *tag; /* 16 bytes: written when sealing, read when opening */
	/* Sealing: what is sealed, one behind the other, `length` bytes in all. None: `from`. */
	const struct nx_piece *pieces;
	uint32_t piece_count;
};

/* A library that has both suites. */
struct nx_aead_backend {
	/* Room for a key schedule, or NULL. */
	void *(*schedule)(uint32_t suite, const uint8_t *key);
	void (*wipe)(void *schedule);
	bool (*seal)(void *schedule, uint32_t suite, const struct nx_aead_message *message);
	/* 1: opened; 0: the tag does not fit, the text was opened all the same; -1: failed. */
	int (*open)(void *schedule, uint32_t suite, const struct nx_aead_message *message);
};

/* NULL when it was not built in or the CPU does not suit it. */
const struct nx_aead_backend *nx_aead_imb(void);
const struct nx_aead_backend *nx_aead_evp(void);

struct nx_key {
	uint32_t suite;
	uint32_t vni;
	uint32_t path_id; /* part of the nonce */
	/* nx_key_bind: the header of every frame under this key, but for what differs between them. */
	bool bound;
	uint8_t header[NX_HEADER_BYTES];
	uint8_t iv[NX_NONCE_BYTES];
	const struct nx_aead_backend *backend;
	void *schedule;
};

struct nx_key *nx_key_find(int32_t handle);
bool nx_key_seal(struct nx_key *key, const struct nx_aead_message *message);
/* False: forged, and the text is as it was. */
bool nx_key_open_text(struct nx_key *key, const struct nx_aead_message *message);

/* nonce = iv XOR (path_id u32 ‖ packet number u64). */
void nx_key_nonce(const struct nx_key *key, uint32_t number_high, uint32_t number_low,
		  uint8_t nonce[NX_NONCE_BYTES]);

/* Takes the same time wherever the tags differ. */
bool nx_tags_equal(const uint8_t *a, const uint8_t *b);

/* Zeroes that the compiler may not leave out. */
void nx_wipe(void *bytes, uint32_t length);

#endif

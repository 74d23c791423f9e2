/* AEAD by libcrypto (EVP): every CPU. */
#include "aead.h"

#ifdef NX_WITH_EVP

#include <openssl/evp.h>
#include <stdlib.h>
#include <string.h>

struct schedule {
	EVP_CIPHER_CTX *sealing;
	EVP_CIPHER_CTX *opening;
};

static void wipe(void *key)
{
	struct schedule *schedule = key;
	EVP_CIPHER_CTX_free(schedule->sealing); /* wipes its key */
	EVP_CIPHER_CTX_free(schedule->opening);
	free(schedule);
}

static void *schedule(uint32_t suite, const uint8_t *key)
{
	const EVP_CIPHER *cipher = suite == NX_SUITE_AES_256_GCM ? EVP_aes_256_gcm()
								 : EVP_chacha20_poly1305();
	struct schedule *made = calloc(1, sizeof *made);
	if (made == NULL) return NULL;
	made->sealing = EVP_CIPHER_CTX_new();
	made->opening = EVP_CIPHER_CTX_new();
	if (made->sealing != NULL && made->opening != NULL &&
	    EVP_EncryptInit_ex(made->sealing, cipher, NULL, key, NULL) == 1 &&
	    EVP_DecryptInit_ex(made->opening, cipher, NULL, key, NULL) == 1)
		return made;
	wipe(made);
	return NULL;
}

/* Text in either direction. Both suites give as many bytes at once as they are given. */
static bool add(EVP_CIPHER_CTX *context, uint8_t *text, const uint8_t *from, uint32_t length)
{
	int done;
	return length == 0 || EVP_CipherUpdate(context, text, &done, from, (int)length) == 1;
}

/* The nonce, the associated data and the text. */
static bool run(EVP_CIPHER_CTX *context, const struct nx_aead_message *m)
{
	uint8_t *text = m->text;
	if (EVP_CipherInit_ex(context, NULL, NULL, NULL, m->nonce, -1) != 1 ||
	    !add(context, NULL, m->aad, m->aad_length))
		return false;
	if (m->piece_count == 0) return add(context, text, m->from, m->length);
	for (uint32_t i = 0; i < m->piece_count; i++) {
		if (!add(context, text, m->pieces[i].from, m->pieces[i].length)) return false;
		text += m->pieces[i].length;
	}
	return true;
}

static bool seal(void *key, uint32_t suite, const struct nx_aead_message *m)
{
	EVP_CIPHER_CTX *context = ((struct schedule *)key)->sealing;
	uint8_t rest[16];
	int done;
	(void)suite;
	return run(context, m) && EVP_EncryptFinal_ex(context, rest, &done) == 1 &&
	       EVP_CIPHER_CTX_ctrl(context, EVP_CTRL_AEAD_GET_TAG, NX_TAG_BYTES, m->tag) == 1;
}

static int open(void *key, uint32_t suite, const struct nx_aead_message *m)
{
	EVP_CIPHER_CTX *context = ((struct schedule *)key)->opening;
	uint8_t rest[16];
	int done;
	(void)suite;
	if (!run(context, m) ||
	    EVP_CIPHER_CTX_ctrl(context, EVP_CTRL_AEAD_SET_TAG, NX_TAG_BYTES, m->tag) != 1)
		return -1;
	return EVP_DecryptFinal_ex(context, rest, &done) == 1;
}

const struct nx_aead_backend *nx_aead_evp(void)
{
	static const struct nx_aead_backend backend = {schedule, wipe, seal, open};
	return &backend;
}

#else

const struct nx_aead_backend *nx_aead_evp(void)
{
	return 0;
}

#endif

/* AEAD by intel-ipsec-mb: AES-NI and wider, ChaCha20 by AVX2 and AVX-512. */
#include "aead.h"

#ifdef NX_WITH_IMB

#include <intel-ipsec-mb.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

static IMB_MGR *manager;
static pthread_once_t once = PTHREAD_ONCE_INIT;

/* The direct functions used here read the manager only, so all threads share it. */
static void make_manager(void)
{
	IMB_ARCH arch = IMB_ARCH_NONE;
	IMB_MGR *made = alloc_mb_mgr(0);
	if (made == NULL) return;
	init_mb_mgr_auto(made, &arch);
	/* Without AES instructions it emulates them: slow, and not in constant time. */
	if (arch == IMB_ARCH_NONE || arch == IMB_ARCH_NOAESNI) free_mb_mgr(made);
	else manager = made;
}

union schedule {
	struct gcm_key_data gcm;
	uint8_t chacha[NX_KEY_BYTES];
};

static void *schedule(uint32_t suite, const uint8_t *key)
{
	union schedule *made = aligned_alloc(64, (sizeof *made + 63) & ~63ul);
	if (made == NULL) return NULL;
	if (suite == NX_SUITE_AES_256_GCM) IMB_AES256_GCM_PRE(manager, key, &made->gcm);
	else memcpy(made->chacha, key, NX_KEY_BYTES);
	return made;
}

static void wipe(void *schedule)
{
	nx_wipe(schedule, sizeof(union schedule));
	free(schedule);
}

static void seal_gcm(const struct gcm_key_data *key, const struct nx_aead_message *m)
{
	struct gcm_context_data context;
	if (m->piece_count == 0) {
		IMB_AES256_GCM_ENC(manager, key, &context, m->text, m->from, m->length, m->nonce, m->aad,
				   m->aad_length, m->tag, NX_TAG_BYTES);
		return;
	}
	uint8_t *text = m->text;
	IMB_AES256_GCM_INIT(manager, key, &context, m->nonce, m->aad, m->aad_length);
	for (uint32_t i = 0; i < m->piece_count; text += m->pieces[i++].length)
		IMB_AES256_GCM_ENC_UPDATE(manager, key, &context, text, m->pieces[i].from,
					  m->pieces[i].length);
	IMB_AES256_GCM_ENC_FINALIZE(manager, key, &context, m->tag, NX_TAG_BYTES);
}

static void seal_chacha(const uint8_t *key, const struct nx_aead_message *m)
{
	struct chacha20_poly1305_context_data context;
	const struct nx_piece whole = {m->from, m->length};
	const struct nx_piece *pieces = m->piece_count == 0 ? &whole : m->pieces;
	uint32_t count = m->piece_count == 0 ? 1 : m->piece_count;
	uint8_t *text = m->text;
	IMB_CHACHA20_POLY1305_INIT(manager, key, &context, m->nonce, m->aad, m->aad_length);
	for (uint32_t i = 0; i < count; text += pieces[i++].length)
		IMB_CHACHA20_POLY1305_ENC_UPDATE(manager, key, &context, text, pieces[i].from,
						 pieces[i].length);
	IMB_CHACHA20_POLY1305_ENC_FINALIZE(manager, &context, m->tag, NX_TAG_BYTES);
}

static bool seal(void *key, uint32_t suite, const struct nx_aead_message *m)
{
	const union schedule *schedule = key;
	if (suite == NX_SUITE_AES_256_GCM) seal_gcm(&schedule->gcm, m);
	else seal_chacha(schedule->chacha, m);
	return true;
}

static int open(void *key, uint32_t suite, const struct nx_aead_message *m)
{
	union schedule *schedule = key;
	uint8_t tag[NX_TAG_BYTES];
	if (suite == NX_SUITE_AES_256_GCM) {
		struct gcm_context_data context;
		IMB_AES256_GCM_DEC(manager, &schedule->gcm, &context, m->text, m->from, m->length,
				   m->nonce, m->aad, m->aad_length, tag, NX_TAG_BYTES);
		return nx_tags_equal(tag, m->tag);
	}
	struct chacha20_poly1305_context_data context;
	IMB_CHACHA20_POLY1305_INIT(manager, schedule->chacha, &context, m->nonce, m->aad,
				   m->aad_length);
	IMB_CHACHA20_POLY1305_DEC_UPDATE(manager, schedule->chacha, &context, m->text, m->from,
					 m->length);
	IMB_CHACHA20_POLY1305_DEC_FINALIZE(manager, &context, tag, NX_TAG_BYTES);
	return nx_tags_equal(tag, m->tag);
}

const struct nx_aead_backend *nx_aead_imb(void)
{
	static const struct nx_aead_backend backend = {schedule, wipe, seal, open};
	pthread_once(&once, make_manager);
	return manager == NULL ? NULL : &backend;
}

#else

const struct nx_aead_backend *nx_aead_imb(void)
{
	return 0;
}

#endif

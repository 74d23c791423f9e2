/* What this build can do on this CPU. */
#include "aead.h"

uint32_t nx_features(void)
{
	uint32_t features = NX_FEATURE_UDP;
#ifdef NX_WITH_ISAL
	features |= NX_FEATURE_CRC32C | NX_FEATURE_RS;
#endif
	if (nx_aead_imb() != NULL) features |= NX_FEATURE_AEAD_IMB;
	if (nx_aead_evp() != NULL) features |= NX_FEATURE_AEAD_EVP;
	return features;
}

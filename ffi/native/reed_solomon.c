/*
 * Reed-Solomon over symbols in the pool, by ISA-L's erasure code. Symbol i is the value at point i
 * of the polynomial through the source symbols, so every symbol is a weighted sum of any k others
 * (Lagrange); lib/l3_stream/fec/erasure_codec.ts is the portable twin.
 */
#include "nx_io.h"

#include <errno.h>

#ifdef NX_WITH_ISAL

#include <isa-l/erasure_code.h>
#include <stdbool.h>
#include <stdlib.h>

/* ISA-L expands each coefficient to 32 bytes of tables. */
#define TABLE_BYTES 32u

/*
 * Logarithms of the field. Not ISA-L's gf_mul: the static libIPSec_MB has one of another kind, and
 * the linker prefers it.
 */
#define ORDER 255u
static uint8_t exponential[2 * ORDER], logarithm[ORDER + 1];

__attribute__((constructor)) static void make_tables(void)
{
	unsigned value = 1;
	for (unsigned i = 0; i < ORDER; i++) {
		exponential[i] = exponential[i + ORDER] = (uint8_t)value;
		logarithm[value] = (uint8_t)i;
		value <<= 1;
		if (value > 0xff) value ^= 0x11d;
	}
}

/* A block: its symbols by place, and which of them the sums start from and go to. */
struct block {
	uint32_t sources;
	uint8_t points[NX_RS_SYMBOLS_MAX], targets[NX_RS_SYMBOLS_MAX];
	uint32_t target_count;
	uint8_t *from[NX_RS_SYMBOLS_MAX], *to[NX_RS_SYMBOLS_MAX];
};

static bool fits(uint32_t sources, uint32_t repairs, uint32_t bytes_length,
		 const uint32_t *offsets, uint32_t length)
{
	if (sources == 0 || sources > NX_RS_SYMBOLS_MAX || repairs > NX_RS_SYMBOLS_MAX - sources)
		return false;
	if (length == 0 || length > bytes_length || length > INT32_MAX) return false;
	for (uint32_t i = 0; i < sources + repairs; i++)
		if (offsets[i] > bytes_length - length) return false;
	return true;
}

static void add_target(struct block *block, uint32_t point, uint8_t *to)
{
	block->targets[block->target_count] = (uint8_t)point;
	block->to[block->target_count++] = to;
}

/* One row of weights for each target: Π (target - x') / (x - x') over the other points x'. */
static void weigh(const struct block *block, uint8_t *weights)
{
	const uint32_t k = block->sources;
	const uint8_t *points = block->points;
	uint32_t denominators[NX_RS_SYMBOLS_MAX];
	for (uint32_t i = 0; i < k; i++) {
		uint32_t sum = 0;
		for (uint32_t j = 0; j < k; j++)
			if (j != i) sum += logarithm[points[i] ^ points[j]];
		denominators[i] = sum % ORDER;
	}
	for (uint32_t row = 0; row < block->target_count; row++) {
		const uint8_t target = block->targets[row];
		uint32_t numerator = 0;
		for (uint32_t i = 0; i < k; i++) numerator += logarithm[target ^ points[i]];
		for (uint32_t i = 0; i < k; i++) {
			uint32_t over = numerator - logarithm[target ^ points[i]];
			weights[row * k + i] = exponential[(over + ORDER - denominators[i]) % ORDER];
		}
	}
}

static int32_t compute(struct block *block, uint32_t length)
{
	const size_t weight_bytes = (size_t)block->sources * block->target_count;
	if (weight_bytes == 0) return 0;
	uint8_t *weights = malloc(weight_bytes * (1 + TABLE_BYTES));
	if (weights == NULL) return -ENOMEM;
	uint8_t *tables = weights + weight_bytes;
	weigh(block, weights);
	ec_init_tables((int)block->sources, (int)block->target_count, weights, tables);
	ec_encode_data((int)length, (int)block->sources, (int)block->target_count, tables,
		       block->from, block->to);
	free(weights);
	return (int32_t)block->target_count;
}

int32_t nx_rs_encode(uint32_t sources, uint32_t repairs, uint8_t *bytes, uint32_t bytes_length,
		     const uint32_t *offsets, uint32_t length)
{
	if (!fits(sources, repairs, bytes_length, offsets, length)) return -EINVAL;
	struct block block = {.sources = sources};
	for (uint32_t i = 0; i < sources; i++) {
		block.points[i] = (uint8_t)i;
		block.from[i] = bytes + offsets[i];
	}
	for (uint32_t i = sources; i < sources + repairs; i++)
		add_target(&block, i, bytes + offsets[i]);
	return compute(&block, length);
}

int32_t nx_rs_decode(uint32_t sources, uint32_t repairs, uint8_t *bytes, uint32_t bytes_length,
		     const uint32_t *offsets, const uint8_t *present, uint32_t length)
{
	if (!fits(sources, repairs, bytes_length, offsets, length)) return -EINVAL;
	struct block block = {.sources = sources};
	uint32_t found = 0;
	for (uint32_t i = 0; i < sources + repairs && found < sources; i++) {
		if (present[i]) {
			block.points[found] = (uint8_t)i;
			block.from[found++] = bytes + offsets[i];
		} else if (i < sources) {
			add_target(&block, i, bytes + offsets[i]);
		}
	}
	return found == sources ? compute(&block, length) : -ENODATA;
}

#else

int32_t nx_rs_encode(uint32_t sources, uint32_t repairs, uint8_t *bytes, uint32_t bytes_length,
		     const uint32_t *offsets, uint32_t length)
{
	(void)sources, (void)repairs, (void)bytes, (void)bytes_length, (void)offsets, (void)length;
	return -ENOTSUP;
}

int32_t nx_rs_decode(uint32_t sources, uint32_t repairs, uint8_t *bytes, uint32_t bytes_length,
		     const uint32_t *offsets, const uint8_t *present, uint32_t length)
{
	(void)sources, (void)repairs, (void)bytes, (void)bytes_length, (void)offsets;
	(void)present, (void)length;
	return -ENOTSUP;
}

#endif

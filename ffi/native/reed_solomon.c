/* Reed-Solomon over symbols in the pool, by ISA-L's erasure code. */
#include "nx_io.h"

#include <errno.h>

#ifdef NX_WITH_ISAL

#include <isa-l/erasure_code.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "handles.h"

/* Symbols of a code: the field has 256 elements, and a row and a column may not be equal. */
#define SYMBOLS_MAX 255u
/* ISA-L expands each coefficient to 32 bytes of tables. */
#define TABLE_BYTES 32u

struct rs {
	uint32_t data, parity;
	uint8_t *matrix; /* (data+parity) × data, identity on top */
	uint8_t *encode_tables;
	uint8_t *decode_tables;
	uint8_t *square, *inverse, *rows; /* data × data, scratch of decoding */
};

static struct nx_handles codes = NX_HANDLES_INITIALIZER;

static void free_rs(struct rs *rs)
{
	free(rs->matrix);
	free(rs->encode_tables);
	free(rs->decode_tables);
	free(rs->square);
	free(rs->inverse);
	free(rs->rows);
	free(rs);
}

int32_t nx_rs_open(uint32_t data, uint32_t parity)
{
	if (data == 0 || parity == 0 || data > SYMBOLS_MAX || parity > SYMBOLS_MAX - data)
		return -EINVAL;
	struct rs *rs = calloc(1, sizeof *rs);
	if (rs == NULL) return -ENOMEM;
	rs->data = data;
	rs->parity = parity;
	rs->matrix = malloc((size_t)(data + parity) * data);
	rs->encode_tables = malloc((size_t)TABLE_BYTES * data * parity);
	rs->decode_tables = malloc((size_t)TABLE_BYTES * data * data);
	rs->square = malloc((size_t)data * data);
	rs->inverse = malloc((size_t)data * data);
	rs->rows = malloc((size_t)data * data);
	int32_t handle = -ENOMEM;
	if (rs->matrix && rs->encode_tables && rs->decode_tables && rs->square && rs->inverse &&
	    rs->rows) {
		gf_gen_cauchy1_matrix(rs->matrix, (int)(data + parity), (int)data);
		ec_init_tables((int)data, (int)parity, rs->matrix + data * data,
			       rs->encode_tables);
		handle = nx_handle_add(&codes, rs);
	}
	if (handle < 0) free_rs(rs);
	return handle;
}

int32_t nx_rs_close(int32_t handle)
{
	struct rs *rs = nx_handle_remove(&codes, handle);
	if (rs == NULL) return -EBADF;
	free_rs(rs);
	return 0;
}

/* The code of a handle when all its symbols lie in the memory. */
static struct rs *find(int32_t handle, uint32_t bytes_length, const uint32_t *offsets,
		       uint32_t length)
{
	struct rs *rs = nx_handle_get(&codes, handle);
	if (rs == NULL || length == 0 || length > bytes_length || length > INT32_MAX) return NULL;
	for (uint32_t i = 0; i < rs->data + rs->parity; i++)
		if (offsets[i] > bytes_length - length) return NULL;
	return rs;
}

int32_t nx_rs_encode(int32_t handle, uint8_t *bytes, uint32_t bytes_length,
		     const uint32_t *offsets, uint32_t length)
{
	struct rs *rs = find(handle, bytes_length, offsets, length);
	if (rs == NULL) return -EINVAL;
	uint8_t *symbols[SYMBOLS_MAX];
	for (uint32_t i = 0; i < rs->data + rs->parity; i++) symbols[i] = bytes + offsets[i];
	ec_encode_data((int)length, (int)rs->data, (int)rs->parity, rs->encode_tables, symbols,
		       symbols + rs->data);
	return (int32_t)rs->parity;
}

/* Inverts the rows of the symbols that are there: how they give back the data. */
static bool invert_present(struct rs *rs, const uint8_t *present, uint8_t *bytes,
			   const uint32_t *offsets, uint8_t **sources)
{
	uint32_t found = 0;
	for (uint32_t i = 0; i < rs->data + rs->parity && found < rs->data; i++) {
		if (!present[i]) continue;
		memcpy(rs->square + found * rs->data, rs->matrix + i * rs->data, rs->data);
		sources[found++] = bytes + offsets[i];
	}
	return found == rs->data && gf_invert_matrix(rs->square, rs->inverse, (int)rs->data) == 0;
}

int32_t nx_rs_decode(int32_t handle, uint8_t *bytes, uint32_t bytes_length,
		     const uint32_t *offsets, const uint8_t *present, uint32_t length)
{
	struct rs *rs = find(handle, bytes_length, offsets, length);
	if (rs == NULL) return -EINVAL;
	uint8_t *sources[SYMBOLS_MAX], *missing[SYMBOLS_MAX];
	uint32_t missing_count = 0;
	for (uint32_t i = 0; i < rs->data; i++)
		if (!present[i]) missing[missing_count++] = bytes + offsets[i];
	if (missing_count == 0) return 0;
	if (!invert_present(rs, present, bytes, offsets, sources)) return -ENODATA;
	for (uint32_t i = 0, row = 0; i < rs->data; i++)
		if (!present[i])
			memcpy(rs->rows + row++ * rs->data, rs->inverse + i * rs->data, rs->data);
	ec_init_tables((int)rs->data, (int)missing_count, rs->rows, rs->decode_tables);
	ec_encode_data((int)length, (int)rs->data, (int)missing_count, rs->decode_tables, sources,
		       missing);
	return (int32_t)missing_count;
}

#else

int32_t nx_rs_open(uint32_t data, uint32_t parity)
{
	(void)data;
	(void)parity;
	return -ENOTSUP;
}

int32_t nx_rs_close(int32_t rs)
{
	(void)rs;
	return -EBADF;
}

int32_t nx_rs_encode(int32_t rs, uint8_t *bytes, uint32_t bytes_length, const uint32_t *offsets,
		     uint32_t length)
{
	(void)rs, (void)bytes, (void)bytes_length, (void)offsets, (void)length;
	return -ENOTSUP;
}

int32_t nx_rs_decode(int32_t rs, uint8_t *bytes, uint32_t bytes_length, const uint32_t *offsets,
		     const uint8_t *present, uint32_t length)
{
	(void)rs, (void)bytes, (void)bytes_length, (void)offsets, (void)present, (void)length;
	return -ENOTSUP;
}

#endif

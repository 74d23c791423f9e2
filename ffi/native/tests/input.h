/* The input of a fuzz target, taken from front to back. What is missing at its end reads as zeroes. */
#ifndef NX_INPUT_H
#define NX_INPUT_H

#include <stddef.h>
#include <stdint.h>

static const uint8_t *input;
static size_t input_length;

/* A number of so many bytes, big-endian. */
static uint32_t take(uint32_t bytes)
{
	uint32_t value = 0;
	for (; bytes > 0 && input_length > 0; bytes--, input_length--)
		value = value << 8 | *input++;
	return value;
}

/* What a caller may pass for a field where `sane` is right: close to it, at an end, or anything. */
static inline uint32_t take_hostile(uint32_t sane)
{
	switch (take(1) % 6) {
	case 0: return take(4);
	case 1: return 0u - take(1);
	case 2: return take(1);
	case 3: return sane ^ 1u << take(1) % 32;
	default: return sane + take(1) % 33 - 16;
	}
}

#endif

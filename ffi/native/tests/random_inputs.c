/* Runs a fuzz target on made-up inputs where libFuzzer is not at hand: random_inputs COUNT. */
#include <stdint.h>

#include "check.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t length);

int main(int argc, char **argv)
{
	unsigned long long random = 0x9e3779b97f4a7c15;
	long count = argc > 1 ? atol(argv[1]) : 1000;
	for (long n = 0; n < count; n++) {
		size_t length = nx_random(&random) % 600;
		uint8_t *data = malloc(length);
		for (size_t i = 0; i < length; i++) data[i] = (uint8_t)nx_random(&random);
		LLVMFuzzerTestOneInput(data, length);
		free(data);
	}
	printf("%ld inputs\n", count);
	return 0;
}

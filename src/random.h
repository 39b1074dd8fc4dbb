/* random.h - counter-based random numbers on the host: the same (seed, name, index) gives the same number everywhere.
 * */
#ifndef CLP_RANDOM_H
#define CLP_RANDOM_H

#include <stddef.h>
#include <stdint.h>

/* Philox4x32-10 (Salmon et al., "Parallel random numbers: as easy as 1, 2, 3", 2011): four random words of a counter
 * under a key. */
void clp_philox(uint64_t key, const uint32_t counter[4], uint32_t words[4]);

/* n draws of N(0, scale^2), and of U(-bound, bound), of the stream `name` under seed. */
void clp_draw_normal(uint64_t seed, const char *name, double scale, size_t n, float *out);
void clp_draw_uniform(uint64_t seed, const char *name, double bound, size_t n, float *out);

/* A key for another use of the same seed: well mixed (the finalizer of splitmix64). */
uint64_t clp_mix(uint64_t seed, uint64_t use);

#endif

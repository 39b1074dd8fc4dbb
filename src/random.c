/* random.c - Philox4x32-10 and draws of it. */
#include "random.h"

#include <math.h>

void clp_philox(uint64_t key, const uint32_t counter[4], uint32_t words[4])
{
    uint32_t k0 = (uint32_t)key, k1 = (uint32_t)(key >> 32);
    uint32_t c0 = counter[0], c1 = counter[1], c2 = counter[2], c3 = counter[3];

    for (int round = 0; round < 10; round++, k0 += 0x9E3779B9u, k1 += 0xBB67AE85u) {
        const uint64_t p0 = (uint64_t)0xD2511F53u * c0, p1 = (uint64_t)0xCD9E8D57u * c2;
        c0 = (uint32_t)(p1 >> 32) ^ c1 ^ k0;
        c1 = (uint32_t)p1;
        c2 = (uint32_t)(p0 >> 32) ^ c3 ^ k1;
        c3 = (uint32_t)p0;
    }
    words[0] = c0, words[1] = c1, words[2] = c2, words[3] = c3;
}

uint64_t clp_mix(uint64_t seed, uint64_t use)
{
    uint64_t z = seed + (use + 1) * 0x9E3779B97F4A7C15u;
    z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9u;
    z = (z ^ (z >> 27)) * 0x94D049BB133111EBu;
    return z ^ (z >> 31);
}

/* Four uniforms in (0, 1): draws 4 index .. 4 index + 3 of a stream. */
static void four(uint64_t seed, uint64_t stream, uint64_t index, double u[4])
{
    const uint32_t counter[4] = { (uint32_t)index, (uint32_t)(index >> 32), (uint32_t)stream,
                                  (uint32_t)(stream >> 32) };
    uint32_t words[4];

    clp_philox(seed, counter, words);
    for (int i = 0; i < 4; i++) u[i] = ((double)words[i] + 0.5) / 4294967296.0;
}

/* The stream of a name: its FNV-1a hash. */
static uint64_t stream_of(const char *name)
{
    uint64_t hash = 14695981039346656037u;
    for (; *name; name++) hash = (hash ^ (unsigned char)*name) * 1099511628211u;
    return hash;
}

void clp_draw_uniform(uint64_t seed, const char *name, double bound, size_t n, float *out)
{
    const uint64_t stream = stream_of(name);
    double u[4];

    for (size_t i = 0; i < n; i++) {
        if (i % 4 == 0) four(seed, stream, i / 4, u);
        out[i] = (float)(bound * (2 * u[i % 4] - 1));
    }
}

/* Box-Muller: two uniforms make two normals. */
void clp_draw_normal(uint64_t seed, const char *name, double scale, size_t n, float *out)
{
    const double pi = 3.14159265358979323846;
    const uint64_t stream = stream_of(name);
    double u[4];

    for (size_t i = 0; i < n; i++) {
        if (i % 4 == 0) four(seed, stream, i / 4, u);
        const double radius = sqrt(-2 * log(u[i % 4 & 2])), angle = 2 * pi * u[(i % 4 & 2) + 1];
        out[i] = (float)(scale * radius * (i % 2 == 0 ? cos(angle) : sin(angle)));
    }
}

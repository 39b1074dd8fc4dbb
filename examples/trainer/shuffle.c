#include "shuffle.h"

#include <stdlib.h>

#include "program.h"

/* SplitMix64 (Steele, Lea, Flood 2014) as a function of a counter: value i of the stream that starts at key. */
static uint64_t random_at(uint64_t key, uint64_t i)
{
    uint64_t z = key + (i + 1) * 0x9e3779b97f4a7c15u;

    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
    return z ^ (z >> 31);
}

/* Fisher and Yates. The remainder prefers small numbers by less than n / 2^64. */
static void permute(shuffle *s, uint64_t epoch)
{
    const uint64_t key = random_at(random_at(0, s->seed), epoch);

    for (size_t i = 0; i < s->n; i++) s->row[i] = i;
    for (size_t i = s->n; i > 1; i--) {
        const size_t j = (size_t)(random_at(key, i) % i), row = s->row[j];
        s->row[j] = s->row[i - 1];
        s->row[i - 1] = row;
    }
    s->epoch = epoch;
}

void shuffle_init(shuffle *s, size_t n, uint64_t seed)
{
    *s = (shuffle){ .n = n, .seed = seed, .row = allocate(n, sizeof *s->row) };
    permute(s, 0);
}

void shuffle_free(shuffle *s)
{
    free(s->row);
    *s = (shuffle){ 0 };
}

size_t shuffle_row(shuffle *s, uint64_t position)
{
    if (position / s->n != s->epoch) permute(s, position / s->n);
    return s->row[position % s->n];
}

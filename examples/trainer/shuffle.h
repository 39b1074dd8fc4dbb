/* shuffle.h - the order of the training rows: an endless sequence of epochs, each a random permutation of all rows.
 *
 * Which row stands at a position depends on seed and position alone, so a resumed run goes on where it stopped. */
#ifndef SHUFFLE_H
#define SHUFFLE_H

#include <stddef.h>
#include <stdint.h>

typedef struct {
    size_t n;
    uint64_t seed, epoch;
    size_t *row; /* [n], the permutation of epoch */
} shuffle;

void shuffle_init(shuffle *s, size_t n, uint64_t seed); /* n >= 1 */
void shuffle_free(shuffle *s);

/* The row at a position: 0 .. n-1 is the first epoch, n .. 2n-1 the second, ... */
size_t shuffle_row(shuffle *s, uint64_t position);

#endif

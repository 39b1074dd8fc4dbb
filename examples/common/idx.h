/* idx.h - the IDX files of MNIST and its kin, gzipped or not: arrays of bytes behind a header of their sizes. */
#ifndef IDX_H
#define IDX_H

#include <stdbool.h>
#include <stddef.h>

typedef struct {
    size_t n, height, width; /* height and width 1 for labels */
    unsigned char *bytes;    /* [n,height,width] */
} idx;

/* Whether a file begins as an IDX file of bytes. */
bool idx_is(const char *path);

/* Read one of `dims` dimensions, 1 (labels) or 3 (images), the first `most` of its rows (0: all). False with a sentence, the path
 * before it: no such file, another type, shorter than its header says. */
bool idx_read(idx *d, const char *path, int dims, size_t most, char *error, size_t error_size);
void idx_free(idx *d);

#endif

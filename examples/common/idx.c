#include "idx.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <zlib.h>

#include "fail.h"

enum { BYTES = 8, MAX_BYTES = 1 << 30 }; /* the type of bytes; the largest array that is read */

/* The header: 0, 0, type, number of dimensions. zlib reads plain files as they are. */
static gzFile open_idx(const char *path, unsigned char header[4])
{
    gzFile file = gzopen(path, "rb");

    if (file && gzread(file, header, 4) == 4 && header[0] == 0 && header[1] == 0 && header[2] == BYTES) return file;
    if (file) gzclose(file);
    return NULL;
}

bool idx_is(const char *path)
{
    unsigned char header[4];
    gzFile file = open_idx(path, header);

    if (file) gzclose(file);
    return file != NULL;
}

static bool read_sizes(gzFile file, int dims, size_t size[3])
{
    unsigned char bytes[4];

    for (int i = 0; i < dims; i++) {
        if (gzread(file, bytes, 4) != 4) return false;
        size[i] = (size_t)bytes[0] << 24 | (size_t)bytes[1] << 16 | (size_t)bytes[2] << 8 | bytes[3];
    }
    return true;
}

bool idx_read(idx *d, const char *path, int dims, size_t most, char *error, size_t error_size)
{
    unsigned char header[4];
    size_t size[3] = { 0, 1, 1 };

    *d = (idx){ 0 };
    errno = 0;
    gzFile file = open_idx(path, header);
    if (!file) return fail(error, error_size, "%s: %s", path, errno ? strerror(errno) : "not an IDX file of bytes");
    bool done = false;
    if (header[3] != dims || !read_sizes(file, dims, size))
        fail(error, error_size, "%s: %d dimensions, not %d", path, header[3], dims);
    else if (size[0] == 0 || size[1] == 0 || size[2] == 0 || size[1] > 1 << 14 || size[2] > 1 << 14 ||
             size[1] * size[2] > MAX_BYTES / size[0])
        fail(error, error_size, "%s: %zu x %zu x %zu bytes: none, or more than %d", path, size[0], size[1], size[2],
             MAX_BYTES);
    else {
        if (most > 0 && most < size[0]) size[0] = most;
        *d = (idx){ .n = size[0], .height = size[1], .width = size[2] };
        const size_t bytes = d->n * d->height * d->width;
        d->bytes = malloc(bytes);
        done = d->bytes && gzread(file, d->bytes, (unsigned)bytes) == (int)bytes;
        if (!done) fail(error, error_size, "%s: ends before its %zu bytes, or there is no memory", path, bytes);
    }
    gzclose(file);
    if (!done) idx_free(d);
    return done;
}

void idx_free(idx *d)
{
    free(d->bytes);
    *d = (idx){ 0 };
}

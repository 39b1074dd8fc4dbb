/* loader.h - batches of images, decoded by threads ahead of the step that needs them. */
#ifndef LOADER_H
#define LOADER_H

#include "clpeft.h"
#include "pictures.h"
#include "shuffle.h"

typedef struct loader loader;

/* Batches of `size` images from number `first` on up to image `end`: positions of the shuffled order, or with order NULL the rows
 * of d in turn, as evaluation. d, order and options are borrowed; only the loader uses order until it is closed. */
loader *loader_open(const pictures *d, shuffle *order, const picture_options *options, size_t size, uint64_t first,
                    uint64_t end, size_t threads);
void loader_close(loader *l); /* NULL does nothing */

/* The next batch, valid until the next call; the last one may be smaller, after it S is 0. Dies at an image that cannot be
 * decoded, with its name. */
clpeft_batch loader_next(loader *l);

#endif

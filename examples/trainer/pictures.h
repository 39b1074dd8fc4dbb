/* pictures.h - images with labels: a folder with one sub-folder per class, a list file, or IDX files.
 *
 *   folder  DIR/CLASS/FILE.png, .jpg or .jpeg, in the order of their names
 *   list    lines of class<TAB>file; files are relative to the list's folder
 *   IDX     ...images-idx3-ubyte[.gz]; the labels are in ...labels-idx1-ubyte[.gz] beside it */
#ifndef PICTURES_H
#define PICTURES_H

#include "common/idx.h"
#include "common/image.h"
#include "dataset.h"

#include <stdbool.h>
#include <stdint.h>

typedef struct {
    const char *path;
    size_t n;
    int32_t *label; /* [n] class; NULL: no labels */
    char **file;    /* [n]; NULL with IDX */
    idx images;     /* IDX */
} pictures;

/* What is made of an image: [3,size,size], (value / 255 - mean) / deviation per channel. */
typedef struct {
    size_t size;
    image_filter filter;
    float mean[3], deviation[3];
    float least_area; /* of a random crop, as a part of the image; 1: none. Not in evaluation */
    int flip;         /* mirror half of the images. Not in evaluation */
    uint64_t seed;
} picture_options;

/* Set mean and deviation to image_mean and image_std of preprocessor_config.json in a model's folder; without the file to those of
 * ImageNet, on which the usual models were pretrained. */
void pictures_normalisation(picture_options *options, const char *model);

/* Read a data set, the first `most` of its images (0: all). labels as in dataset_read. skip_bad: images that cannot be decoded are
 * named and left out, which decodes all of them once; else the training ends at the first one that it meets. */
void pictures_read(pictures *d, const char *path, size_t most, label_list *labels, bool skip_bad);
/* The n files named on a command line, without labels. */
void pictures_name(pictures *d, size_t n, char **files, bool skip_bad);
void pictures_free(pictures *d);
uint64_t pictures_hash(const pictures *d); /* as dataset_hash: of names or bytes, and labels */

/* Decode image `row`. False with a sentence. */
bool pictures_decode(const pictures *d, size_t row, image *im, char *error, size_t error_size);
/* Decode and make pixels. position: of the image in the training, which with the seed decides crop and flip; negative:
 * evaluation, the square in the middle. Needs no lock. */
bool pictures_pixels(const pictures *d, size_t row, const picture_options *options, int64_t position, float *pixels,
                     char *error, size_t error_size);

#endif

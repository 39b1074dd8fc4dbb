/* image.h - PNG and JPEG images: decode, write, resize. Pixels are RGB, 8 bits each. */
#ifndef IMAGE_H
#define IMAGE_H

#include <stdbool.h>
#include <stddef.h>

/* What is refused before anything is allocated for its pixels: a file of a few kB may claim gigabytes. */
enum { IMAGE_MAX_SIDE = 1 << 15, IMAGE_MAX_PIXELS = 1 << 26, IMAGE_MAX_BYTES = 1 << 28 };

typedef struct {
    size_t width, height;
    unsigned char *rgb; /* [height,width,3] */
} image;

/* Decode PNG or JPEG, told apart by their first bytes. Gray becomes RGB; transparency is dropped. False with a sentence in
 * error: not an image, damaged (also where a decoder would only warn), above the limits. */
bool image_decode(image *im, const void *bytes, size_t size, char *error, size_t error_size);
/* The same from a file; its path stands before the sentence. */
bool image_read(image *im, const char *path, char *error, size_t error_size);
bool image_write_png(const image *im, const char *path, char *error, size_t error_size);
void image_free(image *im);

/* A part of an image: pixels [left, left + width) x [top, top + height). */
typedef struct {
    size_t left, top, width, height;
} image_box;

typedef enum { IMAGE_BILINEAR, IMAGE_BICUBIC } image_filter;

/* Resize a box to [3,size,size], values 0 to 255, with antialiasing: where the box is larger than the result the filter
 * is as much wider. As torchvision's resize of the cut-out box: a triangle, or a cubic with a = -0.5. False: no memory. */
bool image_resize(const image *im, image_box box, size_t size, image_filter filter, float *out);

#endif

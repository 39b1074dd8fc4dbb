#include "pictures.h"

#include <jansson.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "common/fail.h"
#include "program.h"

/* Number `count` of a sequence under a key: splitmix64 (Steele et al. 2014), as a real number from 0 to below 1. */
static double random_real(uint64_t key, uint64_t count)
{
    uint64_t z = key * 0x9E3779B97F4A7C15u + (count + 1) * 0xD1342543DE82EF95u;
    z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9u;
    z = (z ^ (z >> 27)) * 0x94D049BB133111EBu;
    z = (z ^ (z >> 31)) * 0x9E3779B97F4A7C15u;
    return (double)((z ^ (z >> 29)) >> 11) / 9007199254740992.0;
}

/* The largest square in the middle. */
static image_box middle(const image *im)
{
    const size_t side = im->width < im->height ? im->width : im->height;
    return (image_box){ (im->width - side) / 2, (im->height - side) / 2, side, side };
}

/* Area uniform in [least_area, 1] of the image, ratio of the edges log-uniform in [3/4, 4/3], as torchvision's
 * RandomResizedCrop; after ten that do not fit, the middle. */
static image_box crop(const image *im, float least_area, uint64_t key)
{
    const double area = (double)im->width * (double)im->height;

    for (uint64_t i = 0; i < 10; i++) {
        const double part = (double)least_area + (1 - (double)least_area) * random_real(key, 4 * i),
                     ratio = exp(log(4.0 / 3) * (2 * random_real(key, 4 * i + 1) - 1));
        const size_t width = (size_t)(sqrt(part * area * ratio) + 0.5),
                     height = (size_t)(sqrt(part * area / ratio) + 0.5);
        if (width == 0 || height == 0 || width > im->width || height > im->height) continue;
        const size_t left = (size_t)(random_real(key, 4 * i + 2) * (double)(im->width - width + 1)),
                     top = (size_t)(random_real(key, 4 * i + 3) * (double)(im->height - height + 1));
        return (image_box){ left, top, width, height };
    }
    return middle(im);
}

static void mirror(size_t rows, size_t size, float *pixels)
{
    for (float *row = pixels; row < pixels + rows * size; row += size)
        for (size_t i = 0; i < size / 2; i++) {
            const float left = row[i];
            row[i] = row[size - 1 - i], row[size - 1 - i] = left;
        }
}

/* A number per channel of 3. */
static void read_channels(const char *path, const json_t *config, const char *key, double low, float *values)
{
    const json_t *list = json_object_get(config, key);

    if (!list) return;
    if (json_array_size(list) != 3) die("%s: %s is not a list of three numbers", path, key);
    for (size_t c = 0; c < 3; c++) {
        const double value = json_number_value(json_array_get(list, c));
        if (!json_is_number(json_array_get(list, c)) || value < low || value > 1e3)
            die("%s: %s is not three numbers from %g to 1000", path, key, low);
        values[c] = (float)value;
    }
}

void pictures_normalisation(picture_options *o, const char *model)
{
    static const float mean[] = { 0.485f, 0.456f, 0.406f }, deviation[] = { 0.229f, 0.224f, 0.225f };
    char path[PATH_SIZE];
    json_error_t error;

    memcpy(o->mean, mean, sizeof mean);
    memcpy(o->deviation, deviation, sizeof deviation);
    path_join(path, model, "preprocessor_config.json");
    if (access(path, F_OK) != 0) return;
    json_t *config = json_load_file(path, 0, &error);
    if (!config) die("%s line %d: %s", path, error.line, error.text);
    read_channels(path, config, "image_mean", -1e3, o->mean);
    read_channels(path, config, "image_std", 1e-6, o->deviation);
    json_decref(config);
}

static void normalise(const picture_options *o, float *pixels)
{
    for (size_t c = 0; c < 3; c++)
        for (size_t i = 0; i < o->size * o->size; i++, pixels++)
            *pixels = (*pixels / 255 - o->mean[c]) / o->deviation[c];
}

bool pictures_pixels(const pictures *d, size_t row, const picture_options *o, int64_t position, float *pixels,
                     char *error, size_t error_size)
{
    const uint64_t key = o->seed * 0xD6E8FEB86659FD93u + (uint64_t)position;
    const bool training = position >= 0;
    image im;

    if (!pictures_decode(d, row, &im, error, error_size)) return false;
    const image_box box = training && o->least_area < 1 ? crop(&im, o->least_area, key) : middle(&im);
    const bool done = image_resize(&im, box, o->size, o->filter, pixels);
    image_free(&im);
    if (!done) return fail(error, error_size, "no memory for an image");
    if (training && o->flip && random_real(key, 40) < 0.5) mirror(3 * o->size, o->size, pixels);
    normalise(o, pixels);
    return true;
}

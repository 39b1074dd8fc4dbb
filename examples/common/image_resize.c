#include "image.h"

#include <math.h>
#include <stdlib.h>

/* Which points of an axis make a point of the result, and their weights: weight[i * most + k] of point first[i] + k. */
typedef struct {
    size_t most, *first, *count;
    float *weight;
} taps;

static double triangle(double x)
{
    x = fabs(x);
    return x < 1 ? 1 - x : 0;
}

/* Keys (1981), a = -0.5. */
static double cubic(double x)
{
    x = fabs(x);
    if (x < 1) return (1.5 * x - 2.5) * x * x + 1;
    return x < 2 ? ((-0.5 * x + 2.5) * x - 4) * x + 2 : 0;
}

static void free_taps(taps *t)
{
    free(t->first);
    free(t->count);
    free(t->weight);
}

/* From n points to size. The filter is as wide as a point of the result, and as one of the image at least. */
static bool make_taps(taps *t, size_t n, size_t size, image_filter filter)
{
    const double step = (double)n / (double)size, wide = step > 1 ? step : 1,
                 support = wide * (filter == IMAGE_BICUBIC ? 2 : 1);

    *t = (taps){ .most = 2 * (size_t)ceil(support) + 2 };
    t->first = malloc(size * sizeof *t->first);
    t->count = malloc(size * sizeof *t->count);
    t->weight = malloc(size * t->most * sizeof *t->weight);
    if (!t->first || !t->count || !t->weight) return false;
    for (size_t i = 0; i < size; i++) {
        const double center = ((double)i + 0.5) * step, low = center - support + 0.5, high = center + support + 0.5;
        const size_t first = low > 0 ? (size_t)low : 0, end = high < (double)n ? (size_t)high : n;
        float *weight = t->weight + i * t->most;
        double sum = 0;
        for (size_t k = first; k < end; k++) {
            const double x = ((double)k + 0.5 - center) / wide, w = filter == IMAGE_BICUBIC ? cubic(x) : triangle(x);
            weight[k - first] = (float)w, sum += w;
        }
        for (size_t k = first; k < end; k++) weight[k - first] /= (float)sum;
        t->first[i] = first, t->count[i] = end - first;
    }
    return true;
}

/* Columns first: [height,size,3]; then rows, clamped to what a pixel can be. */
static void apply(const image *im, image_box box, size_t size, const taps *x, const taps *y, float *narrow, float *out)
{
    for (size_t r = 0; r < box.height; r++)
        for (size_t i = 0; i < size; i++)
            for (size_t c = 0; c < 3; c++) {
                const unsigned char *from = im->rgb + 3 * ((box.top + r) * im->width + box.left + x->first[i]) + c;
                float sum = 0;
                for (size_t k = 0; k < x->count[i]; k++) sum += x->weight[i * x->most + k] * from[3 * k];
                narrow[(r * size + i) * 3 + c] = sum;
            }
    for (size_t c = 0; c < 3; c++)
        for (size_t j = 0; j < size; j++)
            for (size_t i = 0; i < size; i++) {
                const float *from = narrow + (y->first[j] * size + i) * 3 + c;
                float sum = 0;
                for (size_t k = 0; k < y->count[j]; k++) sum += y->weight[j * y->most + k] * from[3 * size * k];
                out[(c * size + j) * size + i] = sum < 0 ? 0 : sum > 255 ? 255 : sum;
            }
}

bool image_resize(const image *im, image_box box, size_t size, image_filter filter, float *out)
{
    taps x = { 0 }, y = { 0 };
    float *narrow = malloc(box.height * size * 3 * sizeof *narrow);
    const bool done = narrow && make_taps(&x, box.width, size, filter) && make_taps(&y, box.height, size, filter);

    if (done) apply(im, box, size, &x, &y, narrow, out);
    free_taps(&x);
    free_taps(&y);
    free(narrow);
    return done;
}

/* vit_resize.c - position embeddings for images of another size than those of the pretraining. */
#include "vit.h"

#include <math.h>

/* Weights of the points -1, 0, 1, 2 at t in [0,1): the cubic convolution of Keys (1981) with a = -0.75. */
static void cubic(float t, float weight[4])
{
    const float a = -0.75f, x[] = { 1 + t, t, 1 - t, 2 - t };
    for (int i = 0; i < 4; i++)
        weight[i] = i == 1 || i == 2 ? ((a + 2) * x[i] - (a + 3)) * x[i] * x[i] + 1
                                     : ((a * x[i] - 5 * a) * x[i] + 8 * a) * x[i] - 4 * a;
}

/* The four points around point i of `to` on an axis of `from`, and their weights. */
static void around(size_t i, size_t from, size_t to, size_t point[4], float weight[4])
{
    const float at = ((float)i + 0.5f) * (float)from / (float)to - 0.5f, low = floorf(at);

    cubic(at - low, weight);
    for (int j = 0; j < 4; j++) {
        const float p = low + (float)(j - 1);
        point[j] = p < 0 ? 0 : p > (float)(from - 1) ? from - 1 : (size_t)p;
    }
}

void clp_vit_resize(size_t D, size_t from, const float *x, size_t to, float *y)
{
    size_t row[4], col[4];
    float u[4], v[4];

    for (size_t i = 0; i < to; i++) {
        around(i, from, to, row, u);
        for (size_t j = 0; j < to; j++, y += D) {
            around(j, from, to, col, v);
            for (size_t d = 0; d < D; d++) {
                float sum = 0;
                for (int r = 0; r < 4; r++)
                    for (int c = 0; c < 4; c++) sum += u[r] * v[c] * x[(row[r] * from + col[c]) * D + d];
                y[d] = sum;
            }
        }
    }
}

/* layers.h - random layers and parameters for the tests of adapters. */
#ifndef TEST_LAYERS_H
#define TEST_LAYERS_H

#include "device.h"

/* A layer of random weights with bias; zero_row >= 0: that row of W0 is 0. */
static inline clpeft_linear *make_linear(size_t N, size_t K, int zero_row, float **w0)
{
    clpeft_linear *linear = NULL;
    float *w = malloc(4 * N * K), *bias = malloc(4 * N);

    for (size_t i = 0; i < N * K; i++) w[i] = (int)(i / K) == zero_row ? 0 : random_float();
    for (size_t i = 0; i < N; i++) bias[i] = random_float();
    ck_ok(clpeft_linear_create(&linear, dev.ctx,
                               &(clpeft_linear_options){ .N = N, .K = K, .dtype = CLPEFT_F32, .has_bias = 1 }));
    ck_ok(clpeft_linear_load(linear, 0, N, w, CLPEFT_F32, bias, dev.queue));
    free(bias);
    if (w0)
        *w0 = w;
    else
        free(w);
    return linear;
}

/* Random values in every tensor but rho. */
static inline void randomize(clpeft_params *params)
{
    for (size_t i = 0; i < clpeft_params_count(params); i++) {
        const clpeft_tensor *t = clpeft_params_tensor(params, i);
        if (strstr(t->name, ".rho")) continue;
        float *values = malloc(4 * t->size);
        for (size_t k = 0; k < t->size; k++)
            values[k] = random_float() + (t->kind == CLPEFT_KIND_MAGNITUDE ? 2.0f : 0.0f);
        ck_ok(clpeft_params_write(params, CLPEFT_THETA, t, values, dev.queue));
        free(values);
    }
}

#endif

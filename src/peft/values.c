/* values.c - what leaves an adapter: A, B and m of its sites, in the type of a file. */
#include "peft/values.h"

#include "clpeft/file.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static clpeft_status read_parameter(const clpeft_adapter *x, const clpeft_site *site, const char *part, float *out,
                                    cl_command_queue queue)
{
    char name[CLP_KEY_SIZE];

    snprintf(name, sizeof name, "blocks.%zu.%.96s.%s", site->block, site->name, part);
    return clpeft_params_read(x->params, CLPEFT_THETA, clpeft_params_find(x->params, name), out, queue);
}

/* m' = m c / (c + tau). Where tau is 0 that is m. */
static clpeft_status read_magnitude(const clpeft_adapter *x, size_t site, size_t N, float *m, cl_command_queue queue)
{
    const clpeft_site *s = &x->sites[site];
    clpeft_status status = CLPEFT_OK;
    float *c = malloc(N * sizeof *c), tau;

    REQUIRE(c, CLPEFT_OUT_OF_HOST_MEMORY, "out of memory");
    TRY(read_parameter(x, s, "m", m, queue));
    TRY(clpeft_adapter_read_site(x, site, NULL, NULL, c, NULL, &tau, queue));
    for (size_t i = 0; i < N; i++) {
        REQUIRE(c[i] != 0, CLPEFT_UNSUPPORTED,
                "block %zu %s: row %zu is zero, and DoRA divides by its norm; merge instead", s->block, s->name, i);
        if (tau != 0) m[i] = (float)((double)m[i] * (double)c[i] / ((double)c[i] + (double)tau));
    }
out:
    free(c);
    return status;
}

clpeft_status clp_values_read(clp_values *values, const clpeft_adapter *x, size_t site, cl_command_queue queue)
{
    const clpeft_site *s = &x->sites[site];
    clpeft_status status = CLPEFT_OK;
    clp_values v = { .r = s->rank ? s->rank : x->config.rank,
                     .N = s->heads * s->head_size,
                     .K = clpeft_linear_columns(s->linear) };

    v.a = malloc(v.r * v.K * sizeof *v.a);
    v.b = malloc(v.N * v.r * sizeof *v.b);
    if (x->config.magnitude) v.m = malloc(v.N * sizeof *v.m);
    REQUIRE(v.a && v.b && (v.m || !x->config.magnitude), CLPEFT_OUT_OF_HOST_MEMORY, "out of memory");
    if (x->config.generator) {
        TRY(clpeft_adapter_read_site(x, site, v.a, v.b, NULL, NULL, NULL, queue));
    } else {
        TRY(read_parameter(x, s, "A", v.a, queue));
        TRY(read_parameter(x, s, "B", v.b, queue));
    }
    if (v.m) TRY(read_magnitude(x, site, v.N, v.m, queue));
    *values = v;
    v = (clp_values){ 0 };
out:
    clp_values_free(&v);
    return status;
}

void clp_values_free(clp_values *values)
{
    free(values->a);
    free(values->b);
    free(values->m);
    *values = (clp_values){ 0 };
}

clpeft_status clp_values_path(const clp_paths *paths, const clpeft_site *site, size_t *index)
{
    for (size_t i = 0; i < paths->n; i++) {
        const clpeft_site *s = &paths->sites[i];
        if (s->linear == site->linear && s->row == site->row &&
            s->heads * s->head_size == site->heads * site->head_size) {
            *index = i;
            return CLPEFT_OK;
        }
    }
    return clp_fail(CLPEFT_INVALID_ARGUMENT, "block %zu %s is not a linear layer of this model", site->block,
                    site->name);
}

/* Whether all n values are still finite in the narrow type, which has no blocks. */
static clpeft_status check_narrow(clpeft_dtype dtype, const float *values, const char *narrow, size_t n,
                                  const char *name)
{
    enum { SLICE = 1024 };
    clpeft_status status = CLPEFT_OK;
    float back[SLICE];

    for (size_t at = 0; at < n; at += SLICE) {
        const size_t count = n - at < SLICE ? n - at : SLICE;
        TRY(clpeft_dtype_to_f32(dtype, narrow + at * clpeft_dtype_bytes(dtype), count, back));
        for (size_t i = 0; i < count; i++)
            REQUIRE(isfinite(back[i]), CLPEFT_NOT_FINITE, "%s: value %zu is %g, which %s cannot hold", name, at + i,
                    (double)values[at + i], clpeft_dtype_name(dtype));
    }
out:
    return status;
}

clpeft_status clp_narrow(clpeft_dtype dtype, const float *values, size_t n, const char *name, void **out)
{
    const size_t block = clpeft_dtype_block(dtype);
    clpeft_status status = CLPEFT_OK;
    void *narrow = NULL;

    REQUIRE(block > 0 && n % block == 0, CLPEFT_INVALID_SIZE, "%s: %zu values are no whole blocks of %s", name, n,
            clpeft_dtype_name(dtype));
    narrow = malloc(n / block * clpeft_dtype_bytes(dtype));
    REQUIRE(narrow, CLPEFT_OUT_OF_HOST_MEMORY, "out of memory for %s", name);
    status = clpeft_dtype_from_f32(dtype, values, n, narrow);
    if (status != CLPEFT_OK) clp_fail_in("%s", name);
    TRY(status);
    if (block == 1) TRY(check_narrow(dtype, values, narrow, n, name));
    *out = narrow;
    narrow = NULL;
out:
    free(narrow);
    return status;
}

/* adapter_init.c - the parameters of an adapter and their first values (clpeft/adapter.h names them).
 *
 *     A0, B0 ~ N(0,1)    W1A, W1B ~ N(0, 1/e)    W2B, B = 0    m = ||W0_i|| + tau    rho = log tau
 *     A ~ U(-1/sqrt K, 1/sqrt K);  W2A ~ N(0, v) with v such that A = Ha W2A has the same variance: Za is nearly
 * N(0,1), so
 *     var A = h v E[act(z)^2] = 1 / (3 K). */
#include "adapter.h"
#include "random.h"

#include <float.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

typedef enum { ZEROS, NORMAL, UNIFORM } draw;

/* Add a tensor drawn under the adapter's seed and its own name; scale is the deviation or the bound. */
static clpeft_status add_drawn(clpeft_adapter *adapter, const char *name, clpeft_kind kind, size_t n_dims,
                               const size_t *dims, draw how, double scale, cl_ulong *off)
{
    clpeft_status status = CLPEFT_OK;
    float *values = NULL;
    size_t n = 1, at = 0;

    for (size_t d = 0; d < n_dims; d++) n *= dims[d];
    if (how != ZEROS) {
        values = malloc(n * sizeof *values);
        REQUIRE(values, CLPEFT_OUT_OF_HOST_MEMORY, "clpeft_adapter_create: out of memory for %s", name);
        if (how == NORMAL)
            clp_draw_normal(adapter->config.seed, name, scale, n, values);
        else
            clp_draw_uniform(adapter->config.seed, name, scale, n, values);
    }
    TRY(clpeft_params_add(adapter->params, name, kind, n_dims, dims, values, &at));
    *off = at;
out:
    free(values);
    return status;
}

/* A name too long for the buffer is refused by clpeft_params_add. */
#define NAME_SIZE 200

/* W1A [e,h] and W1B [h,e], owned by a block or by the model. */
static clpeft_status add_w1(clpeft_adapter *adapter, const char *prefix, clp_block *block)
{
    const size_t e = adapter->config.seed_width, h = adapter->config.hidden_width;
    const double deviation = 1 / sqrt((double)e);
    clpeft_status status = CLPEFT_OK;
    char name[NAME_SIZE];

    snprintf(name, sizeof name, "%sgenerator.W1A", prefix);
    TRY(add_drawn(adapter, name, CLPEFT_KIND_A, 2, (size_t[]){ e, h }, NORMAL, deviation, &block->w1a));
    snprintf(name, sizeof name, "%sgenerator.W1B", prefix);
    TRY(add_drawn(adapter, name, CLPEFT_KIND_B, 2, (size_t[]){ h, e }, NORMAL, deviation, &block->w1b));
out:
    return status;
}

static clpeft_status add_block(clpeft_adapter *adapter, size_t index)
{
    const clpeft_adapter_config *o = &adapter->config;
    clp_block *block = &adapter->blocks[index];
    clpeft_status status = CLPEFT_OK;
    char prefix[40], name[NAME_SIZE];

    snprintf(prefix, sizeof prefix, "blocks.%zu.", index);
    snprintf(name, sizeof name, "%sgenerator.A0", prefix);
    TRY(add_drawn(adapter, name, CLPEFT_KIND_SEED, 2, (size_t[]){ o->rank, o->seed_width }, NORMAL, 1, &block->a0));
    snprintf(name, sizeof name, "%sgenerator.B0", prefix);
    TRY(add_drawn(adapter, name, CLPEFT_KIND_SEED, 3, (size_t[]){ block->H, o->seed_width, o->rank }, NORMAL, 1,
                  &block->b0));
    if (o->share == CLPEFT_SHARE_MODEL) {
        block->w1a = adapter->blocks[0].w1a, block->w1b = adapter->blocks[0].w1b;
    } else {
        TRY(add_w1(adapter, prefix, block));
    }
out:
    return status;
}

static double activate(clpeft_activation act, double z)
{
    if (act == CLPEFT_GELU) return 0.5 * z * (1 + erf(z / sqrt(2)));
    if (act == CLPEFT_SILU) return z / (1 + exp(-z));
    if (act == CLPEFT_RELU) return z > 0 ? z : 0;
    return act == CLPEFT_TANH ? tanh(z) : z;
}

/* E[act(z)^2] for z ~ N(0,1), by the rectangle rule on [-4, 4]. */
static double activation_power(clpeft_activation act)
{
    double sum = 0, weight = 0;
    for (int i = 0; i <= 8000; i++) {
        const double z = -4 + i / 1000.0, w = exp(-0.5 * z * z), y = activate(act, z);
        sum += w * y * y, weight += w;
    }
    return sum / weight;
}

/* m and rho. Gaussian tau is 0 at evaluation: there m = ||W0_i|| alone starts at the pretrained layer. */
static clpeft_status add_magnitude(clpeft_adapter *adapter, clp_site *t, const char *prefix, const float *norms)
{
    const clpeft_adapter_config *o = &adapter->config;
    const size_t N = t->N;
    clpeft_status status = CLPEFT_OK;
    char name[NAME_SIZE];
    double mean = 0, tau = 0;
    float rho = 0, *m = malloc(N * sizeof *m);
    size_t at = 0;

    REQUIRE(m, CLPEFT_OUT_OF_HOST_MEMORY, "clpeft_adapter_create: out of memory");
    for (size_t i = 0; i < N; i++) mean += norms[i] / (double)N;
    if (o->tau != CLPEFT_TAU_NONE) {
        /* Above 0 also for a layer of zeros: rho must be finite. */
        rho = (float)log(fmax((double)o->tau0 * mean, (double)FLT_MIN));
        if (o->tau != CLPEFT_TAU_GAUSSIAN) tau = exp((double)rho);
    }
    snprintf(name, sizeof name, "%sm", prefix);
    for (size_t i = 0; i < N; i++) {
        m[i] = norms[i] + (float)tau;
        REQUIRE(isfinite(m[i]), CLPEFT_NOT_FINITE,
                "clpeft_adapter_create: %s[%zu] is %g: its row of W0 has norm %g, tau is %g", name, i, (double)m[i],
                (double)norms[i], tau);
    }
    TRY(clpeft_params_add(adapter->params, name, CLPEFT_KIND_MAGNITUDE, 1, &N, m, &at));
    t->m = at;
    if (o->tau == CLPEFT_TAU_NONE) goto out;
    snprintf(name, sizeof name, "%srho", prefix);
    TRY(clpeft_params_add(adapter->params, name, o->tau == CLPEFT_TAU_LEARNED ? CLPEFT_KIND_RHO : CLPEFT_KIND_FIXED, 1,
                          (size_t[]){ 1 }, &rho, &at));
    t->rho = at;
out:
    free(m);
    return status;
}

static clpeft_status add_site(clpeft_adapter *adapter, size_t place, const float *norms)
{
    const clpeft_adapter_config *o = &adapter->config;
    const size_t h = o->hidden_width;
    clp_site *t = &adapter->table[place];
    const double bound = 1 / sqrt((double)t->K), deviation = bound / sqrt(3.0 * (double)h * activation_power(o->act));
    const int per_head = o->w2b == CLPEFT_W2B_PER_HEAD;
    clpeft_status status = CLPEFT_OK;
    char prefix[160], name[NAME_SIZE];

    snprintf(prefix, sizeof prefix, "blocks.%zu.%s.", (size_t)t->block, adapter->sites[adapter->order[place]].name);
    snprintf(name, sizeof name, "%s%s", prefix, o->generator ? "W2A" : "A");
    if (o->generator)
        TRY(add_drawn(adapter, name, CLPEFT_KIND_A, 2, (size_t[]){ h, t->K }, NORMAL, deviation, &t->w_a));
    else
        TRY(add_drawn(adapter, name, CLPEFT_KIND_A, 2, (size_t[]){ t->r, t->K }, UNIFORM, bound, &t->w_a));
    snprintf(name, sizeof name, "%s%s", prefix, o->generator ? "W2B" : "B");
    if (!o->generator)
        TRY(add_drawn(adapter, name, CLPEFT_KIND_B, 2, (size_t[]){ t->N, t->r }, ZEROS, 0, &t->w_b));
    else if (per_head)
        TRY(add_drawn(adapter, name, CLPEFT_KIND_B, 3, (size_t[]){ t->H, t->d, h }, ZEROS, 0, &t->w_b));
    else
        TRY(add_drawn(adapter, name, CLPEFT_KIND_B, 2, (size_t[]){ t->d, h }, ZEROS, 0, &t->w_b));
    if (o->magnitude) TRY(add_magnitude(adapter, t, prefix, norms + t->c));
out:
    return status;
}

clpeft_status clp_adapter_add_params(clpeft_adapter *adapter, const float *norms)
{
    const clpeft_adapter_config *o = &adapter->config;
    clpeft_status status = CLPEFT_OK;

    if (o->generator && o->share == CLPEFT_SHARE_MODEL) TRY(add_w1(adapter, "", &adapter->blocks[0]));
    for (size_t b = 0; b < adapter->n_blocks; b++) {
        if (o->generator) TRY(add_block(adapter, b));
        for (size_t i = 0; i < adapter->blocks[b].count; i++)
            TRY(add_site(adapter, adapter->blocks[b].first + i, norms));
    }
out:
    return status;
}

/* optimizer.c - clipping and AdamW in three launches over the arena, and the learning-rate schedule. */
#include "params.h"

#include <float.h>
#include <math.h>
#include <stdio.h>

clpeft_adamw clpeft_adamw_defaults(void)
{
    clpeft_adamw adamw = { .lr = 1e-3f, .beta1 = 0.9f, .beta2 = 0.999f, .eps = 1e-8f, .max_norm = 1.0f };
    for (int k = 0; k < CLPEFT_KINDS; k++) adamw.multiplier[k] = 1;
    return adamw;
}

static clpeft_status check_options(const clpeft_adamw *o)
{
    const char *what = "clpeft_adamw_step";
    clpeft_status status = CLPEFT_OK;

    REQUIRE(o, CLPEFT_INVALID_ARGUMENT, "%s: adamw is NULL", what);
    REQUIRE(isfinite(o->lr) && o->lr >= 0, CLPEFT_INVALID_ARGUMENT, "%s: lr is %g", what, (double)o->lr);
    REQUIRE(o->beta1 >= 0 && o->beta1 < 1, CLPEFT_INVALID_ARGUMENT, "%s: beta1 is %g, not in [0, 1)", what,
            (double)o->beta1);
    REQUIRE(o->beta2 >= 0 && o->beta2 < 1, CLPEFT_INVALID_ARGUMENT, "%s: beta2 is %g, not in [0, 1)", what,
            (double)o->beta2);
    REQUIRE(isfinite(o->eps) && o->eps >= FLT_MIN, CLPEFT_INVALID_ARGUMENT,
            "%s: eps is %g: at least the smallest normal number", what, (double)o->eps);
    REQUIRE(isfinite(o->weight_decay) && o->weight_decay >= 0, CLPEFT_INVALID_ARGUMENT, "%s: weight_decay is %g", what,
            (double)o->weight_decay);
    REQUIRE(isfinite(o->max_norm) && o->max_norm >= 0, CLPEFT_INVALID_ARGUMENT, "%s: max_norm is %g", what,
            (double)o->max_norm);
    for (int k = 0; k < CLPEFT_KINDS; k++)
        REQUIRE(isfinite(o->multiplier[k]) && o->multiplier[k] >= 0, CLPEFT_INVALID_ARGUMENT, "%s: multiplier %d is %g",
                what, k, (double)o->multiplier[k]);
out:
    return status;
}

_Static_assert(CLPEFT_KINDS == 8, "cl/optimizer.cl takes a float8 of rates");

/* Per kind: the learning rate, and its product with the weight decay where that applies; finite, for 0 times them is to be 0. */
static void make_rates(const clpeft_adamw *o, cl_float8 *rate, cl_float8 *decay)
{
    for (int k = 0; k < CLPEFT_KINDS; k++) {
        const int decays = k != CLPEFT_KIND_MAGNITUDE && k != CLPEFT_KIND_RHO && k != CLPEFT_KIND_HEAD_BIAS;
        rate->s[k] = k == CLPEFT_KIND_FIXED ? 0 : fminf(o->lr * o->multiplier[k], FLT_MAX);
        decay->s[k] = decays ? fminf(rate->s[k] * o->weight_decay, FLT_MAX) : 0;
    }
}

clpeft_status clpeft_adamw_step(clpeft_params *params, const clpeft_adamw *o, CLPEFT_QUEUE)
{
    clpeft_status status = CLPEFT_OK;
    cl_float8 rate, decay;
    char options[32];
    clp_stream s;

    TRY(clp_params_ready(params, "clpeft_adamw_step"));
    TRY(check_options(o));
    TRY(clp_begin(&s, "clpeft_adamw_step", params->ctx, queue, n_wait, wait));
    make_rates(o, &rate, &decay);
    snprintf(options, sizeof options, "-D SPAN=%d", CLP_ADAMW_SPAN);
    const size_t local = params->ctx->tuning.group, spans = clp_round_up(params->size, CLP_ADAMW_SPAN) / CLP_ADAMW_SPAN;
    const size_t global = spans * local;
    cl_mem theta = params->buffer[CLPEFT_THETA], grad = params->buffer[CLPEFT_GRAD];
    cl_mem moment1 = params->buffer[CLPEFT_MOMENT1], moment2 = params->buffer[CLPEFT_MOMENT2];
    /* 1 - beta and log beta lose their digits in f32. */
    const cl_float rest1 = (cl_float)(1 - (double)o->beta1), rest2 = (cl_float)(1 - (double)o->beta2);
    const cl_float log1 = (cl_float)log((double)o->beta1), log2 = (cl_float)log((double)o->beta2);
    const cl_uint at = 1 - params->at;
    const clp_arg square[] = { SIZE(params->size), BUFFER(grad), BUFFER(params->partial) };
    const clp_arg begin[] = { SIZE(spans), BUFFER(params->partial), VALUE(o->max_norm), VALUE(log1),
                              VALUE(log2), BUFFER(params->state),   VALUE(at) };
    const clp_arg update[] = {
        SIZE(params->size),   VALUE(rate),  VALUE(decay),  VALUE(o->beta1),       VALUE(rest1),
        VALUE(o->beta2),      VALUE(rest2), VALUE(o->eps), BUFFER(params->state), VALUE(at),
        BUFFER(params->kind), BUFFER(grad), BUFFER(theta), BUFFER(moment1),       BUFFER(moment2)
    };
    s.bytes = 4.0 * (double)params->size;
    TRY(clp_run(&s, "optimizer", "gradient_square", options, ARGS(square), 1, &global, &local));
    TRY(clp_run(&s, "optimizer", "adamw_begin", options, ARGS(begin), 1, &local, &local));
    s.bytes = 28.0 * (double)params->size;
    TRY(clp_run(&s, "optimizer", "adamw_update", options, ARGS(update), 1, &global, &local));
    params->at = at;
    status = clp_end(&s, event);
out:
    return status;
}

clpeft_status clpeft_adamw_read_state(const clpeft_params *params, clpeft_adamw_state *state, cl_command_queue queue)
{
    clpeft_status status = CLPEFT_OK;
    clp_adamw_state have;

    TRY(clp_params_ready(params, "clpeft_adamw_read_state"));
    REQUIRE(state, CLPEFT_INVALID_ARGUMENT, "clpeft_adamw_read_state: state is NULL");
    TRY(clp_read(params->ctx, queue, params->state, params->at * sizeof have, sizeof have, &have));
    *state = (clpeft_adamw_state){ have.applied, have.skipped, have.norm, have.finite };
out:
    return status;
}

clpeft_status clpeft_adamw_write_state(clpeft_params *params, const clpeft_adamw_state *state, cl_command_queue queue)
{
    clpeft_status status = CLPEFT_OK;

    TRY(clp_params_ready(params, "clpeft_adamw_write_state"));
    REQUIRE(state, CLPEFT_INVALID_ARGUMENT, "clpeft_adamw_write_state: state is NULL");
    const clp_adamw_state set = {
        .applied = state->applied, .skipped = state->skipped, .norm = state->grad_norm, .finite = state->finite
    };
    status = clp_write(params->ctx, queue, params->state, params->at * sizeof set, sizeof set, &set);
out:
    return status;
}

double clpeft_schedule(uint64_t step, uint64_t warmup, uint64_t total, clpeft_decay decay)
{
    const double pi = 3.14159265358979323846;

    if (step < warmup) return ((double)step + 1) / (double)warmup;
    if (decay == CLPEFT_DECAY_NONE) return 1;
    if (step >= total) return 0;
    const double done = (double)(step - warmup) / (double)(total - warmup);
    return decay == CLPEFT_DECAY_COSINE ? 0.5 * (1 + cos(pi * done)) : 1 - done;
}

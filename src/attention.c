/* attention.c - softmax(scale Q K^T) V over a ragged batch, its gradients, and against a cache. */
#include "clpeft/op.h"
#include "launch.h"

#include <math.h>
#include <stdio.h>

/* What the three operations share: the shape, and what the kernels are told of it. */
typedef struct {
    size_t T, H, queries, keys; /* columns of q, of k */
    size_t by_query[3], by_key[3], all[3],
        local[3];  /* work items: rows of queries or keys each, or a sequence; of a group */
    cl_uint group; /* query heads of a key head */
    cl_float scale;
    int fused; /* enough work for all[] */
    char options[48];
} attention;

static clpeft_status check_shape(const char *what, const clpeft_attention_shape *p)
{
    clpeft_status status = CLPEFT_OK;

    REQUIRE(p->S > 0 && p->S <= INT32_MAX, CLPEFT_INVALID_SIZE, "%s: S is %zu", what, p->S);
    REQUIRE(p->H > 0 && p->Hk > 0, CLPEFT_INVALID_SIZE, "%s: H is %zu, Hk is %zu", what, p->H, p->Hk);
    REQUIRE(p->H % p->Hk == 0, CLPEFT_INVALID_SIZE, "%s: Hk is %zu, which does not divide H, %zu", what, p->Hk, p->H);
    REQUIRE(p->d > 0 && p->d <= 256, CLPEFT_INVALID_SIZE, "%s: d is %zu, not 1 to 256", what, p->d);
    REQUIRE(p->H <= INT32_MAX / p->d, CLPEFT_INVALID_SIZE, "%s: H is %zu, too large", what, p->H);
    REQUIRE(p->T <= INT32_MAX, CLPEFT_INVALID_SIZE, "%s: T is %zu, more than row_start can hold", what, p->T);
    REQUIRE(p->T == 0 || p->max_length > 0, CLPEFT_INVALID_SIZE, "%s: max_length is 0", what);
    REQUIRE(isfinite(p->scale), CLPEFT_INVALID_ARGUMENT, "%s: scale is %g", what, (double)p->scale);
out:
    return status;
}

/* A sequence a work item saves the second pass over the scores and reads K, V, Q and dO less often: 1.4 times as fast on a
 * CPU, when the items can be spread evenly. Mesa's llvmpipe, with 4 lanes, ends all loops of a work item after 65535 steps. */
static int can_fuse(const clpeft_context *ctx, const clpeft_attention_shape *p)
{
    const size_t VW = ctx->tuning.vector;
    return VW >= 8 && p->d % VW == 0 && p->S * p->Hk >= 2 * (size_t)ctx->info.compute_units;
}

static void prepare(const clp_stream *s, const clpeft_attention_shape *p, attention *a)
{
    const size_t VW = s->ctx->tuning.vector, WG = s->ctx->tuning.group;
    const size_t longest = p->max_length < p->T ? p->max_length : p->T;
    const size_t rows = VW >= 8 ? 2 * VW : VW; /* VECTORS of cl/lanes.cl */
    const size_t blocks = clp_round_up((longest + rows - 1) / rows, WG);

    *a = (attention){ .T = p->T,
                      .H = p->H,
                      .queries = p->H * p->d,
                      .keys = p->Hk * p->d,
                      .by_query = { blocks, p->H, p->S },
                      .by_key = { blocks, p->Hk, p->S },
                      .all = { blocks > 0, p->Hk, p->S },
                      .local = { WG, 1, 1 },
                      .group = (cl_uint)(p->H / p->Hk),
                      .scale = p->scale,
                      .fused = can_fuse(s->ctx, p) };
    snprintf(a->options, sizeof a->options, "-D D=%zu -D CAUSAL=%d", p->d, p->causal != 0);
}

/* For the profile: multiplications and additions of n products of the scores' size, at most. */
static double cost(const clpeft_attention_shape *p, double n)
{
    return n * 2 * (double)p->T * (double)p->max_length * (double)(p->H * p->d) * (p->causal ? 0.5 : 1);
}

clpeft_status clpeft_attention(clpeft_context *ctx, const clpeft_attention_shape *shape, clpeft_view row_start,
                               clpeft_view q, clpeft_view k, clpeft_view v, clpeft_view o, clpeft_view lse,
                               CLPEFT_QUEUE)
{
    clpeft_status status = CLPEFT_OK;
    const size_t first = 0;
    char options[96];
    clp_stream s;
    attention a;

    TRY(clp_begin(&s, "clpeft_attention", ctx, queue, n_wait, wait));
    REQUIRE(shape, CLPEFT_INVALID_ARGUMENT, "clpeft_attention: shape is NULL");
    TRY(check_shape(s.what, shape));
    prepare(&s, shape, &a);
    TRY(clp_check_vector(&s, "row_start", row_start, shape->S + 1));
    TRY(clp_check(&s, "q", q, a.T, a.queries));
    TRY(clp_check(&s, "k", k, a.T, a.keys));
    TRY(clp_check(&s, "v", v, a.T, a.keys));
    TRY(clp_check(&s, "o", o, a.T, a.queries));
    TRY(clp_check(&s, "lse", lse, a.T, a.H));
    const clp_arg args[] = { SIZE(a.T), VIEW(row_start), SIZE(first), VALUE(a.group), VALUE(a.scale),
                             VIEW(q),   VIEW(k),         VIEW(v),     VIEW(o),        VIEW(lse) };
    snprintf(options, sizeof options, "%s -D CACHED=0", a.options);
    s.flops = cost(shape, 2);
    TRY(clp_run(&s, "attention", "attention", options, ARGS(args), 3, a.by_query, a.local));
    status = clp_end(&s, event);
out:
    return status;
}

clpeft_status clpeft_attention_backward(clpeft_context *ctx, const clpeft_attention_shape *shape, clpeft_view row_start,
                                        clpeft_view q, clpeft_view k, clpeft_view v, clpeft_view o, clpeft_view lse,
                                        clpeft_view d_o, clpeft_view dsum, clpeft_view dq, clpeft_view dk,
                                        clpeft_view dv, CLPEFT_QUEUE)
{
    clpeft_status status = CLPEFT_OK;
    char options[96];
    clp_stream s;
    attention a;

    TRY(clp_begin(&s, "clpeft_attention_backward", ctx, queue, n_wait, wait));
    REQUIRE(shape, CLPEFT_INVALID_ARGUMENT, "clpeft_attention_backward: shape is NULL");
    TRY(check_shape(s.what, shape));
    prepare(&s, shape, &a);
    TRY(clp_check_vector(&s, "row_start", row_start, shape->S + 1));
    TRY(clp_check(&s, "q", q, a.T, a.queries));
    TRY(clp_check(&s, "k", k, a.T, a.keys));
    TRY(clp_check(&s, "v", v, a.T, a.keys));
    TRY(clp_check(&s, "o", o, a.T, a.queries));
    TRY(clp_check(&s, "lse", lse, a.T, a.H));
    TRY(clp_check(&s, "d_o", d_o, a.T, a.queries));
    TRY(clp_check(&s, "dsum", dsum, a.T, a.H));
    TRY(clp_check(&s, "dq", dq, a.T, a.queries));
    if (dk.buf) TRY(clp_check(&s, "dk", dk, a.T, a.keys));
    if (dv.buf) TRY(clp_check(&s, "dv", dv, a.T, a.keys));
    const int keys = dk.buf || dv.buf, fused = a.fused && keys;
    const clp_arg args[] = { SIZE(a.T), VIEW(row_start), VALUE(a.group), VALUE(a.scale), VIEW(q),  VIEW(k),  VIEW(v),
                             VIEW(o),   VIEW(lse),       VIEW(d_o),      VIEW(dsum),     VIEW(dq), VIEW(dk), VIEW(dv) };
    const clp_arg args_kv[] = { SIZE(a.T), VIEW(row_start), VALUE(a.group), VALUE(a.scale), VIEW(q),  VIEW(k),
                                VIEW(v),   VIEW(lse),       VIEW(d_o),      VIEW(dsum),     VIEW(dk), VIEW(dv) };
    snprintf(options, sizeof options, "%s -D FUSED=%d -D DK=%d -D DV=%d", a.options, fused, dk.buf != NULL,
             dv.buf != NULL);
    s.flops = cost(shape, fused ? 5 : 3);
    TRY(clp_run(&s, "attention_backward", "attention_dq", options, ARGS(args), 3, fused ? a.all : a.by_query, a.local));
    s.flops = cost(shape, 4);
    if (keys && !fused)
        TRY(clp_run(&s, "attention_backward", "attention_dkv", options, ARGS(args_kv), 3, a.by_key, a.local));
    status = clp_end(&s, event);
out:
    return status;
}

clpeft_status clpeft_attention_cached(clpeft_context *ctx, const clpeft_attention_shape *shape, size_t first,
                                      clpeft_view q, clpeft_view k, clpeft_view v, clpeft_view o, CLPEFT_QUEUE)
{
    clpeft_status status = CLPEFT_OK;
    const clpeft_view none = { NULL, 0, 0 };
    char options[96];
    clp_stream s;
    attention a;

    TRY(clp_begin(&s, "clpeft_attention_cached", ctx, queue, n_wait, wait));
    REQUIRE(shape, CLPEFT_INVALID_ARGUMENT, "clpeft_attention_cached: shape is NULL");
    clpeft_attention_shape one = *shape;
    one.S = 1, one.max_length = one.T, one.causal = 1;
    TRY(check_shape(s.what, &one));
    REQUIRE(first <= INT32_MAX - one.T, CLPEFT_INVALID_SIZE, "clpeft_attention_cached: first is %zu, too large", first);
    prepare(&s, &one, &a);
    TRY(clp_check(&s, "q", q, a.T, a.queries));
    TRY(clp_check(&s, "k", k, first + a.T, a.keys));
    TRY(clp_check(&s, "v", v, first + a.T, a.keys));
    TRY(clp_check(&s, "o", o, a.T, a.queries));
    const clp_arg args[] = { SIZE(a.T), VIEW(none), SIZE(first), VALUE(a.group), VALUE(a.scale),
                             VIEW(q),   VIEW(k),    VIEW(v),     VIEW(o),        VIEW(none) };
    snprintf(options, sizeof options, "%s -D CACHED=1", a.options);
    s.flops = 4 * (double)a.T * (double)(first + a.T) * (double)a.queries;
    TRY(clp_run(&s, "attention", "attention", options, ARGS(args), 3, a.by_query, a.local));
    status = clp_end(&s, event);
out:
    return status;
}

/* token.c - packed tokens: embedding, pooling, rotary positions. */
#include "clpeft/op.h"
#include "launch.h"

#include <math.h>
#include <stdint.h>

static clpeft_status run_groups(clp_stream *s, const char *kernel, const char *options, size_t n_args,
                                const clp_arg *args, size_t groups)
{
    const size_t local = s->ctx->tuning.group, global = groups * local;
    return clp_run(s, "token", kernel, options, n_args, args, 1, &global, &local);
}

/* row_start holds S + 1 values. */
static clpeft_status check_row_start(clp_stream *s, clpeft_view row_start, size_t S)
{
    clpeft_status status = CLPEFT_OK;

    REQUIRE(S > 0 && S < INT32_MAX, CLPEFT_INVALID_SIZE, "%s: S is %zu", s->what, S);
    TRY(clp_check_vector(s, "row_start", row_start, S + 1));
out:
    return status;
}

/* ---- embedding --------------------------------------------------------------------------------------------------- */

clpeft_status clpeft_embedding(clpeft_context *ctx, size_t T, size_t D, size_t V, size_t P, size_t S, clpeft_view ids,
                               clpeft_view row_start, clpeft_view word, clpeft_view position, size_t first,
                               clpeft_view type, clpeft_view y, CLPEFT_QUEUE)
{
    static const char *const options[] = { "", "-D POSITION", "-D TYPE", "-D POSITION -D TYPE" };
    clpeft_status status = CLPEFT_OK;
    clp_stream s;

    TRY(clp_begin(&s, "clpeft_embedding", ctx, queue, n_wait, wait));
    REQUIRE(T > 0 && D > 0 && V > 0, CLPEFT_INVALID_SIZE, "clpeft_embedding: T is %zu, D is %zu, V is %zu", T, D, V);
    TRY(clp_check_vector(&s, "ids", ids, T));
    TRY(clp_check(&s, "word", word, V, D));
    if (position.buf) {
        REQUIRE(P > 0, CLPEFT_INVALID_SIZE, "clpeft_embedding: P is 0");
        TRY(clp_check(&s, "position", position, P, D));
        TRY(check_row_start(&s, row_start, S));
    }
    if (type.buf) TRY(clp_check(&s, "type", type, 1, D));
    TRY(clp_check(&s, "y", y, T, D));
    const clp_arg args[] = { SIZE(D),    SIZE(V),        SIZE(P),     SIZE(S),    VIEW(ids), VIEW(row_start),
                             VIEW(word), VIEW(position), SIZE(first), VIEW(type), VIEW(y) };
    s.flops = 2.0 * (double)T * (double)D, s.bytes = 16.0 * (double)T * (double)D;
    TRY(run_groups(&s, "embedding", options[!!position.buf + 2 * !!type.buf], ARGS(args), T));
    status = clp_end(&s, event);
out:
    return status;
}

clpeft_status clpeft_embedding_backward(clpeft_context *ctx, size_t T, size_t D, size_t V, clpeft_view ids,
                                        clpeft_view dy, clpeft_view dtable, CLPEFT_QUEUE)
{
    clpeft_status status = CLPEFT_OK;
    clp_stream s;

    TRY(clp_begin(&s, "clpeft_embedding_backward", ctx, queue, n_wait, wait));
    REQUIRE(T > 0 && D > 0 && V > 0, CLPEFT_INVALID_SIZE, "clpeft_embedding_backward: T is %zu, D is %zu, V is %zu", T,
            D, V);
    TRY(clp_check_vector(&s, "ids", ids, T));
    TRY(clp_check(&s, "dy", dy, T, D));
    TRY(clp_check(&s, "dtable", dtable, V, D));
    const size_t columns = (size_t)ctx->tuning.vector * ctx->tuning.group;
    const clp_arg args[] = { SIZE(T), SIZE(D), SIZE(V), VIEW(ids), VIEW(dy), VIEW(dtable) };
    s.flops = (double)T * (double)D, s.bytes = 12.0 * (double)T * (double)D;
    TRY(run_groups(&s, "embedding_backward", "", ARGS(args), clp_round_up(D, columns) / columns));
    status = clp_end(&s, event);
out:
    return status;
}

/* ---- pooling ----------------------------------------------------------------------------------------------------- */

/* What of every sequence is pooled: as in cl/token.cl. BOTH: its first row, then the mean of the rest behind it. */
enum { ALL, FIRST, REST, BOTH };

static clpeft_status pool(const char *what, cl_int part, clpeft_context *ctx, size_t T, size_t D, size_t S,
                          clpeft_view row_start, clpeft_view x, clpeft_view y, CLPEFT_QUEUE)
{
    clpeft_status status = CLPEFT_OK;
    clp_stream s;

    TRY(clp_begin(&s, what, ctx, queue, n_wait, wait));
    REQUIRE(T > 0 && D > 0, CLPEFT_INVALID_SIZE, "%s: T is %zu, D is %zu", what, T, D);
    TRY(check_row_start(&s, row_start, S));
    TRY(clp_check(&s, "x", x, T, D));
    TRY(clp_check(&s, "y", y, S, part == BOTH ? 2 * D : D));
    const size_t columns = (size_t)ctx->tuning.vector * ctx->tuning.group, pieces = clp_round_up(D, columns) / columns;
    const clp_arg args[] = { SIZE(T), SIZE(D), VALUE(part), VIEW(row_start), VIEW(x), VIEW(y) };
    const size_t halves = part == BOTH ? 2 : 1;
    s.flops = (double)(part == FIRST ? 0 : T) * (double)D,
    s.bytes = 4.0 * (double)(part == FIRST ? 2 * S : T + S) * (double)D;
    TRY(run_groups(&s, "pool", "", ARGS(args), S * halves * pieces));
    status = clp_end(&s, event);
out:
    return status;
}

static clpeft_status pool_backward(const char *what, cl_int part, clpeft_context *ctx, size_t T, size_t D, size_t S,
                                   clpeft_view row_start, clpeft_view dy, clpeft_view dx, CLPEFT_QUEUE)
{
    clpeft_status status = CLPEFT_OK;
    clp_stream s;

    TRY(clp_begin(&s, what, ctx, queue, n_wait, wait));
    REQUIRE(T > 0 && D > 0, CLPEFT_INVALID_SIZE, "%s: T is %zu, D is %zu", what, T, D);
    TRY(check_row_start(&s, row_start, S));
    TRY(clp_check(&s, "dy", dy, S, part == BOTH ? 2 * D : D));
    TRY(clp_check(&s, "dx", dx, T, D));
    const clp_arg args[] = { SIZE(T), SIZE(D), SIZE(S), VALUE(part), VIEW(row_start), VIEW(dy), VIEW(dx) };
    s.flops = (double)T * (double)D, s.bytes = 4.0 * (double)(T + S) * (double)D;
    TRY(run_groups(&s, "pool_backward", "", ARGS(args), T));
    status = clp_end(&s, event);
out:
    return status;
}

clpeft_status clpeft_pool_mean(clpeft_context *ctx, size_t T, size_t D, size_t S, clpeft_view row_start, clpeft_view x,
                               clpeft_view y, CLPEFT_QUEUE)
{
    return pool("clpeft_pool_mean", ALL, ctx, T, D, S, row_start, x, y, queue, n_wait, wait, event);
}

clpeft_status clpeft_pool_mean_backward(clpeft_context *ctx, size_t T, size_t D, size_t S, clpeft_view row_start,
                                        clpeft_view dy, clpeft_view dx, CLPEFT_QUEUE)
{
    return pool_backward("clpeft_pool_mean_backward", ALL, ctx, T, D, S, row_start, dy, dx, queue, n_wait, wait, event);
}

clpeft_status clpeft_pool_first(clpeft_context *ctx, size_t T, size_t D, size_t S, clpeft_view row_start, clpeft_view x,
                                clpeft_view y, CLPEFT_QUEUE)
{
    return pool("clpeft_pool_first", FIRST, ctx, T, D, S, row_start, x, y, queue, n_wait, wait, event);
}

clpeft_status clpeft_pool_first_backward(clpeft_context *ctx, size_t T, size_t D, size_t S, clpeft_view row_start,
                                         clpeft_view dy, clpeft_view dx, CLPEFT_QUEUE)
{
    return pool_backward("clpeft_pool_first_backward", FIRST, ctx, T, D, S, row_start, dy, dx, queue, n_wait, wait,
                         event);
}

clpeft_status clpeft_pool_rest(clpeft_context *ctx, size_t T, size_t D, size_t S, clpeft_view row_start, clpeft_view x,
                               clpeft_view y, CLPEFT_QUEUE)
{
    return pool("clpeft_pool_rest", REST, ctx, T, D, S, row_start, x, y, queue, n_wait, wait, event);
}

clpeft_status clpeft_pool_rest_backward(clpeft_context *ctx, size_t T, size_t D, size_t S, clpeft_view row_start,
                                        clpeft_view dy, clpeft_view dx, CLPEFT_QUEUE)
{
    return pool_backward("clpeft_pool_rest_backward", REST, ctx, T, D, S, row_start, dy, dx, queue, n_wait, wait,
                         event);
}

clpeft_status clpeft_pool_both(clpeft_context *ctx, size_t T, size_t D, size_t S, clpeft_view row_start, clpeft_view x,
                               clpeft_view y, CLPEFT_QUEUE)
{
    return pool("clpeft_pool_both", BOTH, ctx, T, D, S, row_start, x, y, queue, n_wait, wait, event);
}

clpeft_status clpeft_pool_both_backward(clpeft_context *ctx, size_t T, size_t D, size_t S, clpeft_view row_start,
                                        clpeft_view dy, clpeft_view dx, CLPEFT_QUEUE)
{
    return pool_backward("clpeft_pool_both_backward", BOTH, ctx, T, D, S, row_start, dy, dx, queue, n_wait, wait,
                         event);
}

/* ---- rotary positions -------------------------------------------------------------------------------------------- */

clpeft_status clpeft_rope(clpeft_context *ctx, size_t T, size_t H, size_t d, float base, int inverse, size_t S,
                          clpeft_view row_start, size_t first, clpeft_view x, CLPEFT_QUEUE)
{
    clpeft_status status = CLPEFT_OK;
    clp_stream s;
    size_t columns = 0;

    TRY(clp_begin(&s, "clpeft_rope", ctx, queue, n_wait, wait));
    REQUIRE(T > 0 && H > 0 && d > 0 && !clp_mul(H, d, &columns), CLPEFT_INVALID_SIZE,
            "clpeft_rope: T is %zu, H is %zu, d is %zu", T, H, d);
    REQUIRE(d % 2 == 0, CLPEFT_INVALID_SIZE, "clpeft_rope: d is %zu, not even", d);
    REQUIRE(base > 0 && isfinite(base), CLPEFT_INVALID_ARGUMENT, "clpeft_rope: base is %g", (double)base);
    TRY(check_row_start(&s, row_start, S));
    TRY(clp_check(&s, "x", x, T, columns));
    const size_t pairs = d / 2;
    const cl_float step = (float)(log2(base) / (double)pairs), sign = inverse ? -1 : 1;
    const clp_arg args[] = { SIZE(H), SIZE(pairs),     VALUE(step), VALUE(sign),
                             SIZE(S), VIEW(row_start), SIZE(first), VIEW(x) };
    s.flops = 3.0 * (double)T * (double)columns, s.bytes = 8.0 * (double)T * (double)columns;
    TRY(run_groups(&s, "rope", "", ARGS(args), T));
    status = clp_end(&s, event);
out:
    return status;
}

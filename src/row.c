/* row.c - reductions of matrices: row norms, column sums, layer norm, RMS norm. */
#include "clpeft/op.h"
#include "launch.h"

#include <math.h>

/* A group per item. */
static clpeft_status run_groups(clp_stream *s, const char *file, const char *kernel, size_t n_args, const clp_arg *args,
                                size_t groups)
{
    const size_t local = s->ctx->tuning.group, global = groups * local;
    return clp_run(s, file, kernel, "", n_args, args, 1, &global, &local);
}

/* A group per COLS * VW columns, see cl/group.cl. */
static clpeft_status run_columns(clp_stream *s, const char *file, const char *kernel, size_t n_args,
                                 const clp_arg *args, size_t N)
{
    const clp_tuning *t = &s->ctx->tuning;
    const size_t columns = (t->group < 16 ? t->group : 16) * (size_t)t->vector;
    return run_groups(s, file, kernel, n_args, args, clp_round_up(N, columns) / columns);
}

clpeft_status clpeft_row_norm(clpeft_context *ctx, size_t N, size_t K, clpeft_view w, clpeft_view c, CLPEFT_QUEUE)
{
    clpeft_status status = CLPEFT_OK;
    clp_stream s;

    TRY(clp_begin(&s, "clpeft_row_norm", ctx, queue, n_wait, wait));
    REQUIRE(N > 0 && K > 0, CLPEFT_INVALID_SIZE, "clpeft_row_norm: N is %zu, K is %zu", N, K);
    TRY(clp_check(&s, "w", w, N, K));
    TRY(clp_check_vector(&s, "c", c, N));
    const clp_arg args[] = { SIZE(K), VIEW(w), VIEW(c) };
    s.flops = 2.0 * (double)N * (double)K, s.bytes = 4.0 * (double)N * (double)K;
    TRY(run_groups(&s, "row", "row_norm", ARGS(args), N));
    status = clp_end(&s, event);
out:
    return status;
}

/* s = beta s + column sums of x; a part of several operations. */
static clpeft_status sum_columns(clp_stream *s, size_t T, size_t N, clpeft_view x, float beta, clpeft_view sum)
{
    const clp_arg args[] = { SIZE(T), SIZE(N), VIEW(x), VALUE(beta), VIEW(sum) };
    s->flops = (double)T * (double)N, s->bytes = 4.0 * (double)T * (double)N;
    return run_columns(s, "row", "column_sum", ARGS(args), N);
}

clpeft_status clpeft_column_sum(clpeft_context *ctx, size_t T, size_t N, clpeft_view x, float beta, clpeft_view sum,
                                CLPEFT_QUEUE)
{
    clpeft_status status = CLPEFT_OK;
    clp_stream s;

    TRY(clp_begin(&s, "clpeft_column_sum", ctx, queue, n_wait, wait));
    REQUIRE(T > 0 && N > 0, CLPEFT_INVALID_SIZE, "clpeft_column_sum: T is %zu, N is %zu", T, N);
    REQUIRE(!isnan(beta), CLPEFT_INVALID_ARGUMENT, "clpeft_column_sum: beta is NaN");
    TRY(clp_check(&s, "x", x, T, N));
    TRY(clp_check_vector(&s, "s", sum, N));
    TRY(sum_columns(&s, T, N, x, beta, sum));
    status = clp_end(&s, event);
out:
    return status;
}

/* Rows of a group of the norms, ROWS of cl/layer_norm.cl. */
static size_t norm_groups(const clp_stream *s, size_t T)
{
    const size_t rows = s->ctx->tuning.group == 1 ? 4 : 1;
    return (T + rows - 1) / rows;
}

/* ---- layer norm -------------------------------------------------------------------------------------------------- */

clpeft_status clpeft_layer_norm(clpeft_context *ctx, size_t T, size_t D, float eps, clpeft_view x, clpeft_view gamma,
                                clpeft_view beta, clpeft_view y, clpeft_view stat, CLPEFT_QUEUE)
{
    clpeft_status status = CLPEFT_OK;
    clp_stream s;

    TRY(clp_begin(&s, "clpeft_layer_norm", ctx, queue, n_wait, wait));
    REQUIRE(D > 0, CLPEFT_INVALID_SIZE, "clpeft_layer_norm: D is 0");
    REQUIRE(eps >= 0 && isfinite(eps), CLPEFT_INVALID_ARGUMENT, "clpeft_layer_norm: eps is %g", (double)eps);
    TRY(clp_check(&s, "x", x, T, D));
    TRY(clp_check_vector(&s, "gamma", gamma, D));
    TRY(clp_check_vector(&s, "beta", beta, D));
    TRY(clp_check(&s, "y", y, T, D));
    TRY(clp_check(&s, "stat", stat, T, 2));
    const clp_arg args[] = { SIZE(T), SIZE(D), VALUE(eps), VIEW(x), VIEW(gamma), VIEW(beta), VIEW(y), VIEW(stat) };
    s.flops = 8.0 * (double)T * (double)D, s.bytes = 8.0 * (double)T * (double)D;
    TRY(run_groups(&s, "layer_norm", "layer_norm", ARGS(args), norm_groups(&s, T)));
    status = clp_end(&s, event);
out:
    return status;
}

clpeft_status clpeft_layer_norm_backward(clpeft_context *ctx, size_t T, size_t D, clpeft_view x, clpeft_view gamma,
                                         clpeft_view stat, clpeft_view dy, float accumulate, clpeft_view dx,
                                         clpeft_view dgamma, clpeft_view dbeta, CLPEFT_QUEUE)
{
    clpeft_status status = CLPEFT_OK;
    clp_stream s;

    TRY(clp_begin(&s, "clpeft_layer_norm_backward", ctx, queue, n_wait, wait));
    REQUIRE(D > 0, CLPEFT_INVALID_SIZE, "clpeft_layer_norm_backward: D is 0");
    REQUIRE(!isnan(accumulate), CLPEFT_INVALID_ARGUMENT, "clpeft_layer_norm_backward: accumulate is NaN");
    TRY(clp_check(&s, "x", x, T, D));
    TRY(clp_check_vector(&s, "gamma", gamma, D));
    TRY(clp_check(&s, "stat", stat, T, 2));
    TRY(clp_check(&s, "dy", dy, T, D));
    TRY(clp_check(&s, "dx", dx, T, D));
    if (dgamma.buf) TRY(clp_check_vector(&s, "dgamma", dgamma, D));
    if (dbeta.buf) TRY(clp_check_vector(&s, "dbeta", dbeta, D));
    if (dgamma.buf) { /* before dx, which may be dy */
        const clp_arg args[] = { SIZE(T), SIZE(D), VIEW(x), VIEW(stat), VIEW(dy), VIEW(dgamma) };
        s.flops = 4.0 * (double)T * (double)D, s.bytes = 8.0 * (double)T * (double)D;
        TRY(run_columns(&s, "layer_norm", "layer_norm_dgamma", ARGS(args), D));
    }
    if (dbeta.buf) TRY(sum_columns(&s, T, D, dy, 1.0f, dbeta));
    const clp_arg args[] = {
        SIZE(T), SIZE(D), VIEW(x), VIEW(gamma), VIEW(stat), VIEW(dy), VALUE(accumulate), VIEW(dx)
    };
    s.flops = 12.0 * (double)T * (double)D, s.bytes = (accumulate != 0 ? 16.0 : 12.0) * (double)T * (double)D;
    TRY(run_groups(&s, "layer_norm", "layer_norm_backward", ARGS(args), norm_groups(&s, T)));
    status = clp_end(&s, event);
out:
    return status;
}

/* ---- RMS norm ---------------------------------------------------------------------------------------------------- */

clpeft_status clpeft_rms_norm(clpeft_context *ctx, size_t T, size_t D, float eps, clpeft_view x, clpeft_view gamma,
                              clpeft_view y, clpeft_view stat, CLPEFT_QUEUE)
{
    clpeft_status status = CLPEFT_OK;
    clp_stream s;

    TRY(clp_begin(&s, "clpeft_rms_norm", ctx, queue, n_wait, wait));
    REQUIRE(T > 0 && D > 0, CLPEFT_INVALID_SIZE, "clpeft_rms_norm: T is %zu, D is %zu", T, D);
    REQUIRE(eps >= 0 && isfinite(eps), CLPEFT_INVALID_ARGUMENT, "clpeft_rms_norm: eps is %g", (double)eps);
    TRY(clp_check(&s, "x", x, T, D));
    TRY(clp_check_vector(&s, "gamma", gamma, D));
    TRY(clp_check(&s, "y", y, T, D));
    TRY(clp_check(&s, "stat", stat, T, 1));
    const clp_arg args[] = { SIZE(T), SIZE(D), VALUE(eps), VIEW(x), VIEW(gamma), VIEW(y), VIEW(stat) };
    s.flops = 4.0 * (double)T * (double)D, s.bytes = 8.0 * (double)T * (double)D;
    TRY(run_groups(&s, "layer_norm", "rms_norm", ARGS(args), norm_groups(&s, T)));
    status = clp_end(&s, event);
out:
    return status;
}

clpeft_status clpeft_rms_norm_backward(clpeft_context *ctx, size_t T, size_t D, clpeft_view x, clpeft_view gamma,
                                       clpeft_view stat, clpeft_view dy, float accumulate, clpeft_view dx, CLPEFT_QUEUE)
{
    clpeft_status status = CLPEFT_OK;
    clp_stream s;

    TRY(clp_begin(&s, "clpeft_rms_norm_backward", ctx, queue, n_wait, wait));
    REQUIRE(T > 0 && D > 0, CLPEFT_INVALID_SIZE, "clpeft_rms_norm_backward: T is %zu, D is %zu", T, D);
    REQUIRE(!isnan(accumulate), CLPEFT_INVALID_ARGUMENT, "clpeft_rms_norm_backward: accumulate is NaN");
    TRY(clp_check(&s, "x", x, T, D));
    TRY(clp_check_vector(&s, "gamma", gamma, D));
    TRY(clp_check(&s, "stat", stat, T, 1));
    TRY(clp_check(&s, "dy", dy, T, D));
    TRY(clp_check(&s, "dx", dx, T, D));
    const clp_arg args[] = {
        SIZE(T), SIZE(D), VIEW(x), VIEW(gamma), VIEW(stat), VIEW(dy), VALUE(accumulate), VIEW(dx)
    };
    s.flops = 8.0 * (double)T * (double)D, s.bytes = (accumulate != 0 ? 16.0 : 12.0) * (double)T * (double)D;
    TRY(run_groups(&s, "layer_norm", "rms_norm_backward", ARGS(args), norm_groups(&s, T)));
    status = clp_end(&s, event);
out:
    return status;
}

/* element.c - operations on each element of a matrix. */
#include "clpeft/op.h"
#include "launch.h"

#include <math.h>
#include <stdio.h>

/* How much of [T,D] a group takes: `rows` rows of `span` columns, so that it has enough to do; see FOR_ELEMENTS in cl/group.cl. */
typedef struct {
    size_t T, D, rows, span;
} element_grid;
#define GRID(g) SIZE((g).T), SIZE((g).D), SIZE((g).rows), SIZE((g).span)

static element_grid make_grid(const clpeft_context *ctx, size_t T, size_t D)
{
    const clp_tuning *t = &ctx->tuning;
    const size_t span = t->group == 1 ? 4096 : 4 * (size_t)t->group * t->vector;
    return (element_grid){ T, D, D < span ? span / D : 1, span };
}

static clpeft_status run_elements(clp_stream *s, const element_grid *g, const char *file, const char *kernel,
                                  const char *options, size_t n_args, const clp_arg *args)
{
    const size_t local = s->ctx->tuning.group;
    const size_t global = clp_round_up(g->T, g->rows) / g->rows * (clp_round_up(g->D, g->span) / g->span) * local;
    return clp_run(s, file, kernel, options, n_args, args, 1, &global, &local);
}

/* For the profile: flops and transferred floats per element. */
static void set_cost(clp_stream *s, const element_grid *g, double flops, double floats)
{
    s->flops = flops * (double)g->T * (double)g->D;
    s->bytes = 4 * floats * (double)g->T * (double)g->D;
}

/* ---- activations ------------------------------------------------------------------------------------------------- */

clpeft_status clpeft_activate(clpeft_context *ctx, clpeft_activation f, size_t T, size_t D, clpeft_view x,
                              clpeft_view y, CLPEFT_QUEUE)
{
    clpeft_status status = CLPEFT_OK;
    clp_stream s;
    char options[32];

    TRY(clp_begin(&s, "clpeft_activate", ctx, queue, n_wait, wait));
    REQUIRE((unsigned)f <= CLPEFT_TANH, CLPEFT_INVALID_ARGUMENT, "clpeft_activate: no activation %d", (int)f);
    REQUIRE(T > 0 && D > 0, CLPEFT_INVALID_SIZE, "clpeft_activate: T is %zu, D is %zu", T, D);
    TRY(clp_check(&s, "x", x, T, D));
    TRY(clp_check(&s, "y", y, T, D));
    const element_grid grid = make_grid(ctx, T, D);
    const clp_arg args[] = { GRID(grid), VIEW(x), VIEW(y) };
    snprintf(options, sizeof options, "-D F=%d", (int)f);
    set_cost(&s, &grid, 20, 2);
    TRY(run_elements(&s, &grid, "activate", "activation", options, ARGS(args)));
    status = clp_end(&s, event);
out:
    return status;
}

clpeft_status clpeft_activate_backward(clpeft_context *ctx, clpeft_activation f, size_t T, size_t D, clpeft_view x,
                                       clpeft_view dy, clpeft_view dx, CLPEFT_QUEUE)
{
    clpeft_status status = CLPEFT_OK;
    clp_stream s;
    char options[32];

    TRY(clp_begin(&s, "clpeft_activate_backward", ctx, queue, n_wait, wait));
    REQUIRE((unsigned)f <= CLPEFT_TANH, CLPEFT_INVALID_ARGUMENT, "clpeft_activate_backward: no activation %d", (int)f);
    REQUIRE(T > 0 && D > 0, CLPEFT_INVALID_SIZE, "clpeft_activate_backward: T is %zu, D is %zu", T, D);
    TRY(clp_check(&s, "x", x, T, D));
    TRY(clp_check(&s, "dy", dy, T, D));
    TRY(clp_check(&s, "dx", dx, T, D));
    const element_grid grid = make_grid(ctx, T, D);
    const clp_arg args[] = { GRID(grid), VIEW(x), VIEW(dy), VIEW(dx) };
    snprintf(options, sizeof options, "-D F=%d", (int)f);
    set_cost(&s, &grid, 25, 3);
    TRY(run_elements(&s, &grid, "activate", "activation_backward", options, ARGS(args)));
    status = clp_end(&s, event);
out:
    return status;
}

clpeft_status clpeft_swiglu(clpeft_context *ctx, size_t T, size_t F, clpeft_view gate, clpeft_view up, clpeft_view y,
                            CLPEFT_QUEUE)
{
    clpeft_status status = CLPEFT_OK;
    clp_stream s;

    TRY(clp_begin(&s, "clpeft_swiglu", ctx, queue, n_wait, wait));
    REQUIRE(T > 0 && F > 0, CLPEFT_INVALID_SIZE, "clpeft_swiglu: T is %zu, F is %zu", T, F);
    TRY(clp_check(&s, "gate", gate, T, F));
    TRY(clp_check(&s, "up", up, T, F));
    TRY(clp_check(&s, "y", y, T, F));
    const element_grid grid = make_grid(ctx, T, F);
    const clp_arg args[] = { GRID(grid), VIEW(gate), VIEW(up), VIEW(y) };
    set_cost(&s, &grid, 15, 3);
    TRY(run_elements(&s, &grid, "element", "swiglu", "", ARGS(args)));
    status = clp_end(&s, event);
out:
    return status;
}

clpeft_status clpeft_swiglu_backward(clpeft_context *ctx, size_t T, size_t F, clpeft_view gate, clpeft_view up,
                                     clpeft_view dy, clpeft_view dgate, clpeft_view dup, CLPEFT_QUEUE)
{
    clpeft_status status = CLPEFT_OK;
    clp_stream s;

    TRY(clp_begin(&s, "clpeft_swiglu_backward", ctx, queue, n_wait, wait));
    REQUIRE(T > 0 && F > 0, CLPEFT_INVALID_SIZE, "clpeft_swiglu_backward: T is %zu, F is %zu", T, F);
    TRY(clp_check(&s, "gate", gate, T, F));
    TRY(clp_check(&s, "up", up, T, F));
    TRY(clp_check(&s, "dy", dy, T, F));
    TRY(clp_check(&s, "dgate", dgate, T, F));
    TRY(clp_check(&s, "dup", dup, T, F));
    const element_grid grid = make_grid(ctx, T, F);
    const clp_arg args[] = { GRID(grid), VIEW(gate), VIEW(up), VIEW(dy), VIEW(dgate), VIEW(dup) };
    set_cost(&s, &grid, 20, 5);
    TRY(run_elements(&s, &grid, "element", "swiglu_backward", "", ARGS(args)));
    status = clp_end(&s, event);
out:
    return status;
}

/* ---- sums, products, dropout --------------------------------------------------------------------------------------- */

clpeft_status clpeft_add(clpeft_context *ctx, size_t T, size_t D, float alpha, clpeft_view a, float beta, clpeft_view b,
                         clpeft_view y, CLPEFT_QUEUE)
{
    clpeft_status status = CLPEFT_OK;
    clp_stream s;

    TRY(clp_begin(&s, "clpeft_add", ctx, queue, n_wait, wait));
    REQUIRE(T > 0 && D > 0, CLPEFT_INVALID_SIZE, "clpeft_add: T is %zu, D is %zu", T, D);
    REQUIRE(!isnan(alpha) && !isnan(beta), CLPEFT_INVALID_ARGUMENT, "clpeft_add: %s is NaN",
            isnan(alpha) ? "alpha" : "beta");
    TRY(clp_check(&s, "a", a, T, D));
    TRY(clp_check(&s, "b", b, T, D));
    TRY(clp_check(&s, "y", y, T, D));
    const element_grid grid = make_grid(ctx, T, D);
    const clp_arg args[] = { GRID(grid), VALUE(alpha), VIEW(a), VALUE(beta), VIEW(b), VIEW(y) };
    set_cost(&s, &grid, 3, 3);
    TRY(run_elements(&s, &grid, "element", "add", "", ARGS(args)));
    status = clp_end(&s, event);
out:
    return status;
}

clpeft_status clpeft_scale_columns(clpeft_context *ctx, size_t T, size_t D, clpeft_view x, clpeft_view g, clpeft_view y,
                                   CLPEFT_QUEUE)
{
    clpeft_status status = CLPEFT_OK;
    clp_stream s;

    TRY(clp_begin(&s, "clpeft_scale_columns", ctx, queue, n_wait, wait));
    REQUIRE(T > 0 && D > 0, CLPEFT_INVALID_SIZE, "clpeft_scale_columns: T is %zu, D is %zu", T, D);
    TRY(clp_check(&s, "x", x, T, D));
    TRY(clp_check_vector(&s, "g", g, D));
    TRY(clp_check(&s, "y", y, T, D));
    const element_grid grid = make_grid(ctx, T, D);
    const clp_arg args[] = { GRID(grid), VIEW(x), VIEW(g), VIEW(y) };
    set_cost(&s, &grid, 1, 2);
    TRY(run_elements(&s, &grid, "element", "scale_columns", "", ARGS(args)));
    status = clp_end(&s, event);
out:
    return status;
}

clpeft_status clpeft_dropout(clpeft_context *ctx, size_t T, size_t D, float p, uint64_t seed, size_t t0, clpeft_view x,
                             clpeft_view y, CLPEFT_QUEUE)
{
    clpeft_status status = CLPEFT_OK;
    clp_stream s;

    TRY(clp_begin(&s, "clpeft_dropout", ctx, queue, n_wait, wait));
    REQUIRE(T > 0 && D > 0, CLPEFT_INVALID_SIZE, "clpeft_dropout: T is %zu, D is %zu", T, D);
    REQUIRE(p >= 0 && p < 1, CLPEFT_INVALID_ARGUMENT, "clpeft_dropout: p is %g, not in [0, 1)", (double)p);
    TRY(clp_check(&s, "x", x, T, D));
    TRY(clp_check(&s, "y", y, T, D));
    const element_grid grid = make_grid(ctx, T, D);
    const cl_uint limit = (cl_uint)ceil((double)p * 4294967296.0); /* word / 2^32 >= p */
    const cl_float scale = 1 / (1 - p);
    const clp_arg args[] = { GRID(grid), VALUE(limit), VALUE(scale), VALUE(seed), SIZE(t0), VIEW(x), VIEW(y) };
    set_cost(&s, &grid, 1, 2);
    TRY(run_elements(&s, &grid, "dropout", "dropout", "", ARGS(args)));
    status = clp_end(&s, event);
out:
    return status;
}

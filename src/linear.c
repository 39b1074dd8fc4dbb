/* linear.c - a frozen linear layer with its sites: checks, and which way serves the device. */
#include "linear.h"
#include "gemm.h"
#include "product.h"

size_t clp_linear_workspace(const clpeft_linear *l, const clpeft_adapter *adapter, size_t T)
{
    const clp_lowrank *low = clp_lowrank_find(adapter, l);
    const float dropout = adapter ? ((const clp_lowrank_set *)(const void *)adapter)->dropout_rate : 0;
    return 4 * (l->ctx->tuning.panel ? clp_panel_scratch(l, low, dropout, T) : clp_blas_scratch(l, low, dropout, T));
}

/* A live layer, and an adapter that is NULL or alive. */
static int are_live(const clpeft_linear *l, const clpeft_adapter *adapter)
{
    return clp_is_live(l, CLP_HANDLE_LINEAR) && (!adapter || clp_is_live(adapter, CLP_HANDLE_ADAPTER));
}

static clpeft_status check_handles(const clpeft_linear *l, const clpeft_adapter *adapter, const char *what)
{
    const clpeft_status status = clp_live(l, CLP_HANDLE_LINEAR, what);
    return status != CLPEFT_OK || !adapter ? status : clp_live(adapter, CLP_HANDLE_ADAPTER, what);
}

size_t clpeft_linear_workspace(const clpeft_linear *l, const clpeft_adapter *adapter, size_t T)
{
    return are_live(l, adapter) ? clp_linear_workspace(l, adapter, T) : 0;
}

size_t clpeft_linear_tape(const clpeft_linear *l, const clpeft_adapter *adapter, size_t T)
{
    const clp_lowrank *low = are_live(l, adapter) ? clp_lowrank_find(adapter, l) : NULL;
    if (!low) return 0;
    const size_t z = !low->gain ? 0 : l->ctx->tuning.panel ? low->z_columns : l->N;
    return clp_u_size(l, low, T) + T * z;
}

/* What forward and backward check and prepare alike. */
static clpeft_status prepare(clp_stream *s, const clpeft_adapter *adapter, clpeft_view tape, clpeft_workspace *ws,
                             clp_layer_call *c)
{
    const clp_lowrank_set *set = (const void *)adapter;
    const clpeft_linear *l = c->linear;
    clpeft_status status = CLPEFT_OK;

    c->low = clp_lowrank_find(adapter, l);
    REQUIRE(c->f >= CLPEFT_IDENTITY && c->f <= CLPEFT_TANH, CLPEFT_INVALID_ARGUMENT, "%s: f is %d", s->what, (int)c->f);
    TRY(clp_check(s, "x", c->x, c->T, l->K));
    TRY(clp_workspace_check(ws, clp_linear_workspace(l, adapter, c->T), s->what));
    c->scratch = ws->buf, c->scratch_off = ws->off / 4, c->scratch_size = ws->bytes / 4;
    if (c->low && tape.buf) {
        TRY(clp_check(s, "tape", (clpeft_view){ tape.buf, tape.off, 1 }, clpeft_linear_tape(l, adapter, c->T), 1));
        c->tape = tape.buf, c->tape_off = tape.off;
    }
    if (c->low) {
        c->dropout = set->dropout, c->first_token = set->first_token;
        c->dropout_seed = set->dropout_seed + 0x9e3779b97f4a7c15u * (uint64_t)(c->low - set->layers + 1);
    }
out:
    return status;
}

clpeft_status clp_linear_forward(clp_layer_call *c, const clpeft_adapter *adapter, clpeft_view tape,
                                 clpeft_workspace *ws, CLPEFT_QUEUE)
{
    const clpeft_linear *l = c->linear;
    clpeft_status status = CLPEFT_OK;
    clp_stream s;

    TRY(clp_begin(&s, "clpeft_linear_forward", l->ctx, queue, n_wait, wait));
    if (c->T > 0) {
        TRY(prepare(&s, adapter, tape, ws, c));
        TRY(clp_check(&s, "y", c->y, c->T, l->N));
        if (c->before.buf) TRY(clp_check(&s, "before", c->before, c->T, l->N));
        if (c->residual.buf) TRY(clp_check(&s, "residual", c->residual, c->T, l->N));
        TRY(l->ctx->tuning.panel ? clp_panel_forward(&s, c) : clp_blas_forward(&s, c));
    }
    status = clp_end(&s, event);
out:
    return status;
}

clpeft_status clpeft_linear_forward(const clpeft_linear *l, const clpeft_adapter *adapter, size_t T,
                                    clpeft_activation f, clpeft_view x, clpeft_view residual, clpeft_view y,
                                    clpeft_view tape, clpeft_workspace *ws, CLPEFT_QUEUE)
{
    clp_layer_call c = { .linear = l, .T = T, .f = f, .x = x, .y = y, .residual = residual };
    const clpeft_status status = check_handles(l, adapter, "clpeft_linear_forward");
    return status != CLPEFT_OK ? status : clp_linear_forward(&c, adapter, tape, ws, queue, n_wait, wait, event);
}

clpeft_status clp_linear_backward(clp_layer_call *c, const clpeft_adapter *adapter, clpeft_view tape,
                                  clpeft_workspace *ws, CLPEFT_QUEUE)
{
    const clpeft_linear *l = c->linear;
    clpeft_status status = CLPEFT_OK;
    clp_stream s;

    REQUIRE(!l->forward_only, CLPEFT_INVALID_ARGUMENT, "clpeft_linear_backward: the layer was made forward_only");
    TRY(clp_begin(&s, "clpeft_linear_backward", l->ctx, queue, n_wait, wait));
    if (c->T > 0) {
        TRY(prepare(&s, adapter, tape, ws, c));
        REQUIRE(!c->low || c->tape, CLPEFT_INVALID_ARGUMENT, "clpeft_linear_backward: tape has no buffer");
        TRY(clp_check(&s, "dy", c->y, c->T, l->N));
        if (c->dx.buf) TRY(clp_check(&s, "dx", c->dx, c->T, l->K));
        TRY(l->ctx->tuning.panel ? clp_panel_backward(&s, c) : clp_blas_backward(&s, c));
    }
    status = clp_end(&s, event);
out:
    return status;
}

clpeft_status clpeft_linear_backward(const clpeft_linear *l, clpeft_adapter *adapter, size_t T, clpeft_activation f,
                                     clpeft_view x, clpeft_view tape, clpeft_view dy, float accumulate, clpeft_view dx,
                                     clpeft_workspace *ws, CLPEFT_QUEUE)
{
    clp_layer_call c = { .linear = l, .T = T, .f = f, .x = x, .y = dy, .dx = dx, .accumulate = accumulate };
    const clpeft_status status = check_handles(l, adapter, "clpeft_linear_backward");
    return status != CLPEFT_OK ? status : clp_linear_backward(&c, adapter, tape, ws, queue, n_wait, wait, event);
}

/* ---- dropout on the low-rank path ----------------------------------------------------------------------------------- */

clpeft_status clp_dropped_input(clp_stream *s, const clp_layer_call *c, clpeft_view out)
{
    const size_t K = c->linear->K;
    clpeft_view in = c->x;
    clpeft_status status = CLPEFT_OK;

    TRY(clp_order(s));
    if (c->f != CLPEFT_IDENTITY) {
        TRY(clpeft_activate(s->ctx, c->f, c->T, K, c->x, out, s->queue, 0, NULL, NULL));
        in = out;
    }
    TRY(clpeft_dropout(s->ctx, c->T, K, c->dropout, c->dropout_seed, c->first_token, in, out, s->queue, 0, NULL, NULL));
out:
    return status;
}

clpeft_status clp_dropped_gradient(clp_stream *s, const clp_layer_call *c, clpeft_view t)
{
    const size_t K = c->linear->K;
    clpeft_status status = CLPEFT_OK;

    TRY(clp_order(s));
    TRY(clpeft_dropout(s->ctx, c->T, K, c->dropout, c->dropout_seed, c->first_token, t, t, s->queue, 0, NULL, NULL));
    if (c->f != CLPEFT_IDENTITY)
        TRY(clpeft_activate_backward(s->ctx, c->f, c->T, K, c->x, t, t, s->queue, 0, NULL, NULL));
out:
    return status;
}

/* ---- the bare weight ------------------------------------------------------------------------------------------------ */

clpeft_status clp_linear_product(clp_stream *s, const clpeft_linear *l, int transposed, size_t M, clpeft_view x,
                                 clpeft_view out, clpeft_workspace *ws)
{
    const size_t K = transposed ? l->N : l->K, N = transposed ? l->K : l->N, NR = clp_panel_columns(l->ctx);
    clpeft_status status = CLPEFT_OK;
    clp_operand w;

    TRY(clp_workspace_check(ws, clp_linear_workspace(l, NULL, M), s->what));
    size_t at = ws->off / 4;
    const size_t prepared = clp_take(&at, l->ctx->tuning.panel ? clp_prepare_size(M, K) : 0);
    TRY(clp_weight_operand(s, l, transposed, ws->buf, at, &w));
    if (!l->ctx->tuning.panel) {
        const clp_gemm_call call = { 0, !transposed, M, N, K, 1, 0, x, { w.buf, w.off, l->K }, out };
        TRY(clp_gemm_run(s, &call, NULL, 0));
    } else {
        clp_product p = { .M = M,
                          .N = N,
                          .K = K,
                          .w = w.buf,
                          .w_off = w.off,
                          .w_panel = K * NR,
                          .w_row = NR,
                          .w_type = w.type,
                          .alpha = 1,
                          .c = out };
        TRY(clp_prepare(s, M, K, x, CLPEFT_IDENTITY, ws->buf, prepared, &p.a));
        TRY(clp_product_run(s, &p));
    }
out:
    return status;
}

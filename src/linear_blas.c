/* linear_blas.c - a frozen layer with its sites through CLBlast, for devices that it suits: products of their own for the low-rank
 * term, and one pass for gain, bias and residual. */
#include "gemm.h"
#include "product.h"

static clpeft_view view(cl_mem buf, size_t off, size_t ld)
{
    return (clpeft_view){ buf, off, ld };
}

size_t clp_blas_scratch(const clpeft_linear *l, const clp_lowrank *low, float dropout, size_t T)
{
    size_t n = 0;

    clp_take(&n, clp_weight_scratch(l, 0));
    clp_take(&n, T * l->K); /* f(x), then dropped */
    clp_take(&n, T * l->N); /* g dy */
    clp_take(&n, T * l->K); /* dx before f' */
    if (low) clp_take(&n, clp_u_size(l, low, T)), clp_take(&n, T * l->N);
    if (low && dropout > 0) clp_take(&n, T * l->K);
    return n;
}

/* c = a op(b) + beta c; nothing packed, so no scratch. */
static clpeft_status multiply(clp_stream *s, int transpose_a, int transpose_b, size_t M, size_t N, size_t K,
                              clpeft_view a, clpeft_view b, float beta, clpeft_view c)
{
    const clp_gemm_call call = { transpose_a, transpose_b, M, N, K, 1, beta, a, b, c };
    return clp_gemm_run(s, &call, NULL, 0);
}

/* f(x) as it is, or in scratch at off. */
static clpeft_status activated(clp_stream *s, const clp_layer_call *c, size_t off, clpeft_view *out)
{
    *out = c->x;
    if (c->f == CLPEFT_IDENTITY) return CLPEFT_OK;
    *out = view(c->scratch, off, c->linear->K);
    const clpeft_status status = clp_order(s);
    return status ? status : clpeft_activate(s->ctx, c->f, c->T, c->linear->K, c->x, *out, s->queue, 0, NULL, NULL);
}

clpeft_status clp_blas_forward(clp_stream *s, const clp_layer_call *c)
{
    const clpeft_linear *l = c->linear;
    const clp_lowrank *low = c->low;
    const int gain = low && low->gain;
    clpeft_status status = CLPEFT_OK;
    clp_operand w;
    clpeft_view x, y = c->before.buf ? c->before : c->y, z, g = gain ? low->g : y,
                   bias = l->bias ? view(l->bias, 0, 1) : y, residual = c->residual.buf ? c->residual : y;
    size_t at = c->scratch_off;
    const size_t wide = clp_take(&at, clp_weight_scratch(l, 0)), fx = clp_take(&at, c->T * l->K),
                 zz = clp_take(&at, c->T * l->N);

    TRY(activated(s, c, fx, &x));
    TRY(clp_weight_operand(s, l, 0, c->scratch, wide, &w));
    /* The residual may be y itself: then Z is made beside it. */
    z = gain && c->tape ? view(c->tape, c->tape_off + clp_u_size(l, low, c->T), l->N) : view(c->scratch, zz, l->N);
    TRY(multiply(s, 0, 1, c->T, l->N, l->K, x, view(w.buf, w.off, l->K), 0, z));
    if (low) {
        clpeft_view in = x, u = view(c->tape, c->tape_off, clp_u_ld(low));
        clp_take(&at, c->T * l->K);
        if (!c->tape) u = view(c->scratch, clp_take(&at, clp_u_size(l, low, c->T)), u.ld);
        if (c->dropout > 0) {
            in = view(c->scratch, fx, l->K);
            TRY(clp_dropped_input(s, c, in));
        }
        TRY(multiply(s, 0, 1, c->T, low->R, l->K, in, low->a, 0, u));
        TRY(multiply(s, 0, 0, c->T, l->N, low->R, u, low->bt, 1, z));
    }
    const cl_int flags = (gain ? 1 : 0) | (l->bias ? 2 : 0) | (c->residual.buf ? 4 : 0);
    const size_t global[2] = { (l->N + s->ctx->tuning.vector - 1) / s->ctx->tuning.vector, c->T };
    const clp_arg args[] = { SIZE(l->N), VALUE(flags), VIEW(z), VIEW(g), VIEW(bias), VIEW(residual), VIEW(y) };
    TRY(clp_run(s, "linear", "finish", "", ARGS(args), 2, global, NULL));
    if (c->activation != CLPEFT_IDENTITY) {
        TRY(clp_order(s));
        TRY(clpeft_activate(s->ctx, c->activation, c->T, l->N, y, c->y, s->queue, 0, NULL, NULL));
    }
out:
    return status;
}

/* dA and dB of all sites, and dg: D [T,R] is (g dy) sB, dz is g dy. fx: room for f(x). */
static clpeft_status site_gradients(clp_stream *s, const clp_layer_call *c, clpeft_view d, clpeft_view dz, size_t fx)
{
    const clpeft_linear *l = c->linear;
    const clp_lowrank *low = c->low;
    const clpeft_view u = view(c->tape, c->tape_off, clp_u_ld(low));
    clpeft_status status = CLPEFT_OK;
    clpeft_view x;

    TRY(activated(s, c, fx, &x));
    if (c->dropout > 0) {
        x = view(c->scratch, fx, l->K);
        TRY(clp_dropped_input(s, c, x));
    }
    TRY(multiply(s, 1, 0, low->R, l->K, c->T, d, x, 1, low->da));
    TRY(multiply(s, 1, 0, low->R, l->N, c->T, u, dz, 1, low->dbt));
    if (low->gain) {
        const clpeft_view z = view(c->tape, c->tape_off + clp_u_size(l, low, c->T), l->N);
        const clp_arg args[] = { SIZE(c->T), SIZE(l->N), VIEW(c->y), VIEW(z), VIEW(low->dg) };
        TRY(clp_run(s, "linear", "column_dot", "", ARGS(args), 1, &l->N, NULL));
    }
out:
    return status;
}

/* dx = accumulate dx + f'(x) (dz W0 + D A); with dropout the last term is dropped already, in fx. dx may lie on x. */
static clpeft_status input_gradient(clp_stream *s, const clp_layer_call *c, clpeft_view d, clpeft_view dz,
                                    clp_operand w, size_t fx, size_t sum)
{
    const clpeft_linear *l = c->linear;
    const clp_lowrank *low = c->low;
    const int direct = c->f == CLPEFT_IDENTITY;
    const clpeft_view t = view(c->scratch, sum, l->K), dropped = view(c->scratch, fx, l->K),
                      target = direct ? c->dx : t;
    clpeft_status status = CLPEFT_OK;

    if (low && c->dropout > 0) {
        TRY(multiply(s, 0, 0, c->T, l->K, low->R, d, low->a, 0, dropped));
        TRY(clp_dropped_gradient(s, c, dropped));
    }
    TRY(multiply(s, 0, 0, c->T, l->K, l->N, dz, view(w.buf, w.off, l->K), direct ? c->accumulate : 0, target));
    if (low && c->dropout == 0) TRY(multiply(s, 0, 0, c->T, l->K, low->R, d, low->a, 1, target));
    if (!direct) {
        TRY(clpeft_activate_backward(s->ctx, c->f, c->T, l->K, c->x, t, t, s->queue, 0, NULL, NULL));
        TRY(clpeft_add(s->ctx, c->T, l->K, c->accumulate, c->accumulate == 0 ? t : c->dx, 1, t, c->dx, s->queue, 0,
                       NULL, NULL));
    }
    if (low && c->dropout > 0)
        TRY(clpeft_add(s->ctx, c->T, l->K, 1, c->dx, 1, dropped, c->dx, s->queue, 0, NULL, NULL));
out:
    return status;
}

clpeft_status clp_blas_backward(clp_stream *s, const clp_layer_call *c)
{
    const clpeft_linear *l = c->linear;
    const clp_lowrank *low = c->low;
    clpeft_status status = CLPEFT_OK;
    clp_operand w;
    clpeft_view dz = c->y, d = { 0 };
    size_t at = c->scratch_off;
    const size_t wide = clp_take(&at, clp_weight_scratch(l, 0)), fx = clp_take(&at, c->T * l->K),
                 gdy = clp_take(&at, c->T * l->N), sum = clp_take(&at, c->T * l->K);

    TRY(clp_order(s));
    if (low && low->gain) {
        dz = view(c->scratch, gdy, l->N);
        TRY(clpeft_scale_columns(s->ctx, c->T, l->N, c->y, low->g, dz, s->queue, 0, NULL, NULL));
    }
    if (low) {
        d = view(c->scratch, clp_take(&at, clp_u_size(l, low, c->T)), clp_u_ld(low));
        TRY(multiply(s, 0, 1, c->T, low->R, l->N, dz, low->bt, 0, d));
        TRY(site_gradients(s, c, d, dz, fx));
    }
    if (!c->dx.buf) goto out;
    TRY(clp_weight_operand(s, l, 1, c->scratch, wide, &w));
    TRY(input_gradient(s, c, d, dz, w, fx, sum));
out:
    return status;
}

/* linear_panel.c - a frozen layer with its sites on packed weights: the low-rank term rides along as further steps of the
 * product, gain, bias, activation and residual are applied where a tile is stored.
 *
 *     forward    U = f(x) A^T;  y = activation(g * ([f(x) | U] [W0 | sB]^T) + bias + residual)
 *     backward   dB^T += (U^T dy) g, dg, D = dy (g sB);  dA += D^T f(x);  dx = [g dy | D] [W0 ; A] */
#include "product.h"

static clpeft_view view(cl_mem buf, size_t off, size_t ld)
{
    return (clpeft_view){ buf, off, ld };
}

static size_t parts_size(const clpeft_linear *l, const clp_lowrank *low, size_t T)
{
    return clp_site_gradients_scratch(l->ctx, T, l->N, l->K, low->R);
}

size_t clp_panel_scratch(const clpeft_linear *l, const clp_lowrank *low, float dropout, size_t T)
{
    const size_t weight = clp_weight_scratch(l, 0), back = clp_weight_scratch(l, 1), width = l->N > l->K ? l->N : l->K;
    size_t n = 0;

    clp_take(&n, clp_prepare_size(T, width));
    clp_take(&n, weight > back ? weight : back);
    if (low) clp_take(&n, clp_u_size(l, low, T)), clp_take(&n, parts_size(l, low, T));
    if (low && dropout > 0) clp_take(&n, clp_prepare_size(T, l->K));
    return n;
}

clpeft_status clp_panel_forward(clp_stream *s, const clp_layer_call *c)
{
    const clpeft_linear *l = c->linear;
    const size_t NR = clp_panel_columns(l->ctx);
    clpeft_status status = CLPEFT_OK;
    clp_operand w;
    clpeft_view x;
    size_t at = c->scratch_off;
    const size_t prepared = clp_take(&at, clp_prepare_size(c->T, l->K)), wide = clp_take(&at, clp_weight_scratch(l, 0));

    TRY(clp_prepare(s, c->T, l->K, c->x, c->f, c->scratch, prepared, &x));
    TRY(clp_weight_operand(s, l, 0, c->scratch, wide, &w));
    clp_product p = { .M = c->T,
                      .N = l->N,
                      .K = l->K,
                      .a = x,
                      .w = w.buf,
                      .w_off = w.off,
                      .w_panel = l->K * NR,
                      .w_row = NR,
                      .w_type = w.type,
                      .alpha = 1,
                      .residual = c->residual,
                      .before = c->before,
                      .f = c->activation,
                      .slopes = c->slopes,
                      .c = c->y };
    if (l->bias) p.bias = view(l->bias, 0, 1);
    if (c->low) {
        const size_t ld = clp_u_ld(c->low), size = clp_u_size(l, c->low, c->T);
        const clpeft_view u = c->tape ? view(c->tape, c->tape_off, ld) : view(c->scratch, clp_take(&at, size), ld);
        clpeft_view low_x = x;
        if (c->dropout > 0) {
            low_x = view(c->scratch, clp_take(&at, clp_prepare_size(c->T, l->K)), l->K);
            TRY(clp_dropped_input(s, c, low_x));
        }
        TRY(clp_narrow_run(s, c->T, c->low->R, l->K, low_x, c->low->a, u));
        p.R = c->low->R, p.area = c->low->area, p.u = u, p.e = c->low->bt, p.sites = c->low->table;
        if (c->low->gain) p.g = c->low->g;
        if (c->low->gain && c->tape && c->low->z_columns > 0)
            p.z = view(c->tape, c->tape_off + size, c->low->z_columns);
    }
    TRY(clp_product_run(s, &p));
out:
    return status;
}

/* D [T,R] = dy (g sB), and dA, dB and dg of all sites; g dy where scaled has a buffer. */
static clpeft_status site_gradients(clp_stream *s, const clp_layer_call *c, clpeft_view dy, clpeft_view d,
                                    clpeft_view x, clpeft_activation f, clpeft_view scaled, size_t parts)
{
    const clp_lowrank *low = c->low;
    clp_site_gradients p = { .T = c->T,
                             .N = c->linear->N,
                             .K = c->linear->K,
                             .R = low->R,
                             .area = low->area,
                             .spans = low->spans,
                             .u = view(c->tape, c->tape_off, clp_u_ld(low)),
                             .y = dy,
                             .bt = low->gbt,
                             .x = x,
                             .d = d,
                             .db = low->dbt,
                             .da = low->da,
                             .scaled = scaled,
                             .f = f,
                             .sites = low->table,
                             .scratch = c->scratch,
                             .scratch_off = parts };

    if (low->gain) p.g = low->g;
    if (low->gain && low->z_columns > 0) {
        p.kept = view(c->tape, c->tape_off + clp_u_size(c->linear, low, c->T), low->z_columns);
        p.dg = low->dg;
    }
    return clp_site_gradients_run(s, &p);
}

/* t = f'(x) mask (D A) / (1 - p): what dx is to gain. */
static clpeft_status dropped_gradient(clp_stream *s, const clp_layer_call *c, clpeft_view d, clpeft_view t)
{
    const clp_product p = { .M = c->T,
                            .N = c->linear->K,
                            .K = c->low->R,
                            .a = d,
                            .w = c->low->a.buf,
                            .w_off = c->low->a.off,
                            .w_panel = clp_panel_columns(s->ctx),
                            .w_row = c->low->a.ld,
                            .alpha = 1,
                            .c = t };
    clpeft_status status = CLPEFT_OK;

    TRY(clp_product_run(s, &p));
    TRY(clp_dropped_gradient(s, c, t));
out:
    return status;
}

/* dx comes last: it may lie on x. */
clpeft_status clp_panel_backward(clp_stream *s, const clp_layer_call *c)
{
    const clpeft_linear *l = c->linear;
    const clp_lowrank *low = c->low;
    const size_t NR = clp_panel_columns(l->ctx);
    const int gain = low && low->gain;
    const clpeft_view none = { 0 };
    clpeft_view dz = c->y, d = none, t = none;
    clpeft_status status = CLPEFT_OK;
    clp_operand w;
    size_t at = c->scratch_off;
    const size_t prepared = clp_take(&at, clp_prepare_size(c->T, l->N)), wide = clp_take(&at, clp_weight_scratch(l, 1));

    if (!gain) TRY(clp_prepare(s, c->T, l->N, c->y, CLPEFT_IDENTITY, c->scratch, prepared, &dz));
    if (low) {
        clpeft_view x = c->x, scaled = none;
        clpeft_activation f = c->f;
        d = view(c->scratch, clp_take(&at, clp_u_size(l, low, c->T)), clp_u_ld(low));
        const size_t parts = clp_take(&at, parts_size(l, low, c->T));
        if (c->dropout > 0) {
            x = t = view(c->scratch, clp_take(&at, clp_prepare_size(c->T, l->K)), l->K);
            f = CLPEFT_IDENTITY;
            TRY(clp_dropped_input(s, c, t));
        }
        if (gain && c->dx.buf)
            scaled = c->spent && !clp_crowded(s->ctx, c->T, dz) ? dz : clp_prepared(c->scratch, prepared, l->N);
        TRY(site_gradients(s, c, dz, d, x, f, scaled, parts));
        if (gain) dz = scaled;
        if (c->dropout > 0 && c->dx.buf) TRY(dropped_gradient(s, c, d, t));
    }
    if (!c->dx.buf) goto out;
    TRY(clp_weight_operand(s, l, 1, c->scratch, wide, &w));
    clp_product p = { .M = c->T,
                      .N = l->K,
                      .K = l->N,
                      .a = dz,
                      .w = w.buf,
                      .w_off = w.off,
                      .w_panel = l->N * NR,
                      .w_row = NR,
                      .w_type = w.type,
                      .alpha = 1,
                      .beta = c->accumulate,
                      .residual = t,
                      .c = c->dx,
                      .f = c->f,
                      .slopes = c->slopes };
    if (c->f != CLPEFT_IDENTITY) p.slope = c->x;
    if (low && c->dropout == 0) p.R = low->R, p.area = low->R * l->K, p.u = d, p.e = low->a;
    TRY(clp_product_run(s, &p));
out:
    return status;
}

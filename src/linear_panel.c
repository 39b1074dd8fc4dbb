/* linear_panel.c - a frozen layer with its sites on packed panels: the low-rank term rides along as further steps of the
 * product, gain, bias, activation and residual are applied where a tile is stored.
 *
 *     forward    pack f(x);  U = f(x) A^T;  y = g * ([f(x) | U] [W0 | sB]^T) + bias + residual
 *     backward   pack g * dy;  D = (g dy) sB;  dx = [g dy | D] [W0 ; A];  dA += D^T f(x);  dB^T += U^T (g dy), dg */
#include "product.h"

static clpeft_view view(cl_mem buf, size_t off, size_t ld)
{
    return (clpeft_view){ buf, off, ld };
}

size_t clp_panel_scratch(const clpeft_linear *l, const clp_lowrank *low, float dropout, size_t T)
{
    const size_t weight = clp_weight_scratch(l, 0), back = clp_weight_scratch(l, 1), width = l->N > l->K ? l->N : l->K;
    size_t n = 0;

    clp_take(&n, clp_panel_rows_size(l->ctx, T, width));
    clp_take(&n, weight > back ? weight : back);
    if (low) clp_take(&n, clp_u_size(l, low, T)), clp_take(&n, T * low->z_columns);
    if (low && dropout > 0) {
        clp_take(&n, T * l->K);
        clp_take(&n, clp_panel_rows_size(l->ctx, T, low->R > l->K ? low->R : l->K));
    }
    return n;
}

/* u [T,R] = X A^T or dZ (sB), X and dZ packed; columns up to the leading dimension are 0 as those of `right` are. */
static clpeft_status narrow_product(clp_stream *s, size_t T, size_t K, cl_mem panel, size_t panel_off, clpeft_view right, clpeft_view u)
{
    const clp_product p = { .M = T, .N = u.ld, .K = K, .x_panel = panel, .x_panel_off = panel_off, .w = right.buf, .w_off = right.off,
                            .w_panel = s->ctx->tuning.vector, .w_row = right.ld, .narrow = 1, .alpha = 1, .c = u };
    return clp_product_run(s, &p);
}

clpeft_status clp_panel_forward(clp_stream *s, const clp_layer_call *c)
{
    const clpeft_linear *l = c->linear;
    const size_t NR = clp_panel_columns(l->ctx);
    const clpeft_view none = { 0 };
    clpeft_status status = CLPEFT_OK;
    clp_operand w;
    size_t at = c->scratch_off;
    const size_t panel = clp_take(&at, clp_panel_rows_size(l->ctx, c->T, l->K)), wide = clp_take(&at, clp_weight_scratch(l, 0));

    TRY(clp_pack_rows(s, c->T, l->K, c->x, c->f, none, c->scratch, panel));
    TRY(clp_weight_operand(s, l, 0, c->scratch, wide, &w));
    clp_product p = { .M = c->T, .N = l->N, .K = l->K, .x_panel = c->scratch, .x_panel_off = panel, .w = w.buf, .w_off = w.off,
                      .w_panel = l->K * NR, .w_row = NR, .w_type = w.type, .alpha = 1, .residual = c->residual, .c = c->y };
    if (l->bias) p.bias = view(l->bias, 0, 1);
    if (c->low) {
        const size_t ld = clp_u_ld(c->low), size = clp_u_size(l, c->low, c->T);
        const clpeft_view u = c->tape ? view(c->tape, c->tape_off, ld) : view(c->scratch, clp_take(&at, size), ld);
        size_t low_panel = panel;
        if (c->dropout > 0) {
            const clpeft_view dropped = view(c->scratch, clp_take(&at, c->T * l->K), l->K);
            low_panel = clp_take(&at, clp_panel_rows_size(l->ctx, c->T, l->K));
            TRY(clp_dropped_input(s, c, dropped));
            TRY(clp_pack_rows(s, c->T, l->K, dropped, CLPEFT_IDENTITY, none, c->scratch, low_panel));
        }
        TRY(narrow_product(s, c->T, l->K, c->scratch, low_panel, c->low->at, u));
        p.R = c->low->R, p.u = u, p.e = c->low->bt, p.sites = c->low->table;
        if (c->low->gain) p.g = c->low->g;
        if (c->low->gain && c->tape && c->low->z_columns > 0) p.z = view(c->tape, c->tape_off + size, c->low->z_columns);
    }
    TRY(clp_product_run(s, &p));
out:
    return status;
}

/* dA and dB of all sites, and dg: D [T,R] is (g dy) sB, dy as it came. */
static clpeft_status site_gradients(clp_stream *s, const clp_layer_call *c, clpeft_view d, clpeft_view x, clpeft_activation f)
{
    const clpeft_linear *l = c->linear;
    const clp_lowrank *low = c->low;
    const clpeft_view u = view(c->tape, c->tape_off, clp_u_ld(low)), none = { 0 };
    const int kept = low->gain && low->z_columns > 0;
    const clp_gram da = { .T = c->T, .N = l->K, .R = low->R, .p = d, .q = x, .c = low->da, .f = f };
    const clp_gram db = { .T = c->T, .N = l->N, .R = low->R, .p = u, .q = c->y, .g = low->gain ? low->g : none, .c = low->dbt,
                          .z = kept ? view(c->tape, c->tape_off + clp_u_size(l, low, c->T), low->z_columns) : none,
                          .dg = kept ? low->dg : none, .sites = low->table };
    clpeft_status status = CLPEFT_OK;

    TRY(clp_gram_run(s, &da));
    TRY(clp_gram_run(s, &db));
out:
    return status;
}

clpeft_status clp_panel_backward(clp_stream *s, const clp_layer_call *c)
{
    const clpeft_linear *l = c->linear;
    const clp_lowrank *low = c->low;
    const size_t NR = clp_panel_columns(l->ctx);
    const clpeft_view none = { 0 };
    clpeft_view d = none, x = c->x;
    clpeft_activation f = c->f;
    clpeft_status status = CLPEFT_OK;
    clp_operand w;
    size_t at = c->scratch_off;
    const size_t panel = clp_take(&at, clp_panel_rows_size(l->ctx, c->T, l->N)), wide = clp_take(&at, clp_weight_scratch(l, 1));

    TRY(clp_pack_rows(s, c->T, l->N, c->y, CLPEFT_IDENTITY, low && low->gain ? low->g : none, c->scratch, panel));
    if (low) {
        d = view(c->scratch, clp_take(&at, clp_u_size(l, low, c->T)), clp_u_ld(low));
        TRY(narrow_product(s, c->T, l->N, c->scratch, panel, low->b, d));
    }
    if (c->dx.buf) {
        TRY(clp_weight_operand(s, l, 1, c->scratch, wide, &w));
        clp_product p = { .M = c->T, .N = l->K, .K = l->N, .x_panel = c->scratch, .x_panel_off = panel, .w = w.buf, .w_off = w.off,
                          .w_panel = l->N * NR, .w_row = NR, .w_type = w.type, .alpha = 1, .beta = c->accumulate, .c = c->dx, .f = f };
        if (f != CLPEFT_IDENTITY) p.slope = c->x;
        if (low && c->dropout == 0) p.R = low->R, p.u = d, p.e = low->a;
        TRY(clp_product_run(s, &p));
    }
    if (low && c->dropout > 0) {
        const clpeft_view t = view(c->scratch, clp_take(&at, c->T * l->K), l->K);
        const size_t d_panel = clp_take(&at, clp_panel_rows_size(l->ctx, c->T, low->R));
        if (c->dx.buf) {
            const clp_product p = { .M = c->T, .N = l->K, .K = low->R, .x_panel = c->scratch, .x_panel_off = d_panel, .w = low->a.buf,
                                    .w_off = low->a.off, .w_panel = NR, .w_row = low->a.ld, .alpha = 1, .c = t };
            TRY(clp_pack_rows(s, c->T, low->R, d, CLPEFT_IDENTITY, none, c->scratch, d_panel));
            TRY(clp_product_run(s, &p));
            TRY(clp_dropped_gradient(s, c, t));
        }
        TRY(clp_dropped_input(s, c, t));
        x = t, f = CLPEFT_IDENTITY;
    }
    if (low) TRY(site_gradients(s, c, d, x, f));
out:
    return status;
}

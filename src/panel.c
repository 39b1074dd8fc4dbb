/* panel.c - arguments and launches of the panel kernels. */
#include "panel.h"

#include <stdio.h>

/* Bits of `flags` in product.cl and gram.cl. */
enum { KEEP = 1, GAIN = 2, BIAS = 4, SLOPE = 8, RESIDUAL = 16, BETA = 32, SITES = 64 };
enum { NARROW_ROWS = 12 };      /* ROWS of narrow.cl */
enum { GRAM_TILES = 12 };       /* TILES of gram.cl */
enum { MOST_STEPS = 48 << 10 }; /* of a work item's loops: strip.cl says why */
enum { GRAM_GAIN = 1, GRAM_SITES = 2, GRAM_DG = 4 };

/* A view for a kernel that is told by its flags not to read it: some buffer must stand there. */
static clpeft_view or_dummy(clpeft_view view, cl_mem dummy)
{
    return view.buf ? view : (clpeft_view){ dummy, 0, 0 };
}

clpeft_status clp_prepare(clp_stream *s, size_t M, size_t K, clpeft_view x, clpeft_activation f, clpeft_view g,
                          cl_mem scratch, size_t off, clpeft_view *out)
{
    const size_t one = 1;
    const cl_int function = (cl_int)f, with_g = g.buf != NULL;
    const clpeft_view gain = or_dummy(g, x.buf), y = { scratch, off, K % 1024 == 0 ? K + 16 : K };
    const clp_arg args[] = { SIZE(K), VIEW(x), VALUE(function), VALUE(with_g), VIEW(gain), VIEW(y) };

    *out = x;
    if (f == CLPEFT_IDENTITY && !with_g && (x.ld % 1024 != 0 || M == 1)) return CLPEFT_OK;
    *out = y;
    s->bytes = 8.0 * (double)M * (double)K;
    return clp_run(s, "pack", "prepare", "", ARGS(args), 1, &M, &one);
}

static const char *element(size_t bytes)
{
    return bytes == 4 ? "-D E=uint" : "-D E=ushort";
}

clpeft_status clp_pack_columns(clp_stream *s, size_t N, size_t K, size_t bytes, clpeft_view w, cl_mem panel, size_t off)
{
    const size_t NR = clp_panel_columns(s->ctx), global[2] = { (N + NR - 1) / NR, clp_strips(K) }, one[2] = { 1, 1 };
    const clp_arg args[] = { SIZE(N), SIZE(K), VIEW(w), BUFFER(panel), SIZE(off) };
    s->bytes = 2.0 * (double)bytes * (double)N * (double)K;
    return clp_run(s, "pack", "pack_columns", element(bytes), ARGS(args), 2, global, one);
}

clpeft_status clp_pack_columns_transposed(clp_stream *s, size_t first, size_t rows, size_t K, size_t bytes,
                                          clpeft_view w, cl_mem panel, size_t off)
{
    const size_t NR = clp_panel_columns(s->ctx),
                 global[2] = { (first + rows + NR - 1) / NR - first / NR, clp_strips(K) }, one[2] = { 1, 1 };
    const clp_arg args[] = { SIZE(first), SIZE(rows), SIZE(K), VIEW(w), BUFFER(panel), SIZE(off) };
    s->bytes = 2.0 * (double)bytes * (double)rows * (double)K;
    return clp_run(s, "pack", "pack_columns_transposed", element(bytes), ARGS(args), 2, global, one);
}

clpeft_status clp_pack_steps(clp_stream *s, size_t first, size_t rows, size_t N, size_t K, size_t bytes, clpeft_view w,
                             cl_mem panel, size_t off)
{
    const size_t NR = clp_panel_columns(s->ctx), global[2] = { (K + NR - 1) / NR, clp_strips(rows) }, one[2] = { 1, 1 };
    const clp_arg args[] = { SIZE(first), SIZE(rows), SIZE(N), SIZE(K), VIEW(w), BUFFER(panel), SIZE(off) };
    s->bytes = 2.0 * (double)bytes * (double)rows * (double)K;
    return clp_run(s, "pack", "pack_steps", element(bytes), ARGS(args), 2, global, one);
}

/* Groups of rows of a work item: the tuned number, or fewer when there would not be enough work items for all compute units,
 * or its loops would be too long (strip.cl). */
static size_t block_rows(const clpeft_context *ctx, size_t row_groups, size_t column_panels, size_t K)
{
    const size_t wanted = 4 * (size_t)ctx->info.compute_units;
    size_t block = ctx->tuning.block;
    while (block > 1 && (column_panels * ((row_groups + block - 1) / block) < wanted || block * K > 16384)) block--;
    return block;
}

clpeft_status clp_product_run(clp_stream *s, const clp_product *p)
{
    const clp_tuning *t = &s->ctx->tuning;
    const size_t columns = clp_panel_columns(s->ctx), row_groups = (p->M + t->tile_rows - 1) / t->tile_rows;
    const size_t column_panels = (p->N + columns - 1) / columns,
                 block = block_rows(s->ctx, row_groups, column_panels, p->K);
    const size_t global[2] = { column_panels, (row_groups + block - 1) / block }, one[2] = { 1, 1 };
    const size_t a_row = p->transposed ? 1 : p->a.ld, a_step = p->transposed ? p->a.ld : 1;
    const cl_mem some = p->c.buf;
    const cl_mem sites = p->sites ? p->sites : some;
    const clpeft_view u = or_dummy(p->u, some), e = or_dummy(p->e, some), z = or_dummy(p->z, some),
                      g = or_dummy(p->g, some), bias = or_dummy(p->bias, some), slope = or_dummy(p->slope, some),
                      residual = or_dummy(p->residual, some);
    const cl_float alpha = p->alpha, beta = p->beta;
    const cl_int f = (cl_int)p->f;
    const cl_int flags = (p->z.buf ? KEEP : 0) | (p->g.buf ? GAIN : 0) | (p->bias.buf ? BIAS : 0) |
                         (p->slope.buf ? SLOPE : 0) | (p->residual.buf ? RESIDUAL : 0) | (p->beta != 0 ? BETA : 0) |
                         (p->sites ? SITES : 0);
    const clp_arg args[] = {
        SIZE(p->M),     SIZE(p->N),     SIZE(p->K),   SIZE(p->R),    SIZE(block),      BUFFER(p->a.buf),
        SIZE(p->a.off), SIZE(a_row),    SIZE(a_step), BUFFER(p->w),  SIZE(p->w_off),   SIZE(p->w_panel),
        SIZE(p->w_row), VIEW(u),        VIEW(e),      BUFFER(sites), VALUE(alpha),     VALUE(beta),
        VALUE(flags),   VALUE(f),       VIEW(z),      VIEW(g),       BUFFER(bias.buf), SIZE(bias.off),
        VIEW(slope),    VIEW(residual), VIEW(p->c),
    };
    char options[96];

    snprintf(options, sizeof options, "-D WT=%d -D DEPTH=%u -D BLOCK=%u",
             p->w_type == CLPEFT_F16    ? 1
             : p->w_type == CLPEFT_BF16 ? 2
                                        : 0,
             t->depth, t->block);
    s->flops = 2.0 * (double)p->M * (double)p->N * (double)(p->K + p->R);
    s->bytes = 4.0 * ((double)p->M * (double)p->K + (double)p->K * (double)p->N + (double)p->M * (double)p->N);
    return clp_run(s, "product", "product", options, ARGS(args), 2, global, one);
}

clpeft_status clp_narrow_run(clp_stream *s, size_t M, size_t R, size_t K, clpeft_view x, clpeft_view w, clpeft_view u)
{
    const size_t vector = s->ctx->tuning.vector, N = clp_round_up(R, vector > 8 ? vector : 8);
    const size_t groups = M < NARROW_ROWS ? M : (M + NARROW_ROWS - 1) / NARROW_ROWS, one = 1;
    const size_t block = block_rows(s->ctx, groups, 1, K * (N / vector));
    const size_t global = (groups + block - 1) / block;
    const clp_arg args[] = { SIZE(M), SIZE(N), SIZE(K), SIZE(block), VIEW(x), VIEW(w), VIEW(u) };

    s->flops = 2.0 * (double)M * (double)R * (double)K;
    s->bytes = 4.0 * ((double)M * (double)K + (double)(M + K) * (double)N);
    return clp_run(s, "narrow", "narrow", 2 * R <= vector ? "-D PAIRS=1" : "-D PAIRS=0", ARGS(args), 1, &global, &one);
}

clpeft_status clp_gram_run(clp_stream *s, const clp_gram *p)
{
    const size_t NR = clp_panel_columns(s->ctx), panels = (p->N + NR - 1) / NR, all = (p->R + 7) / 8, one[2] = { 1, 1 },
                 units = s->ctx->info.compute_units;
    size_t groups = all < GRAM_TILES ? all : GRAM_TILES, block = GRAM_TILES / groups;
    while (block > 1 && ((panels + block - 1) / block < 2 * units || block * groups * p->T > MOST_STEPS)) block--;
    while (groups > 1 && (panels * ((all + groups - 1) / groups) < 2 * units || groups * p->T > MOST_STEPS)) groups--;
    const size_t global[2] = { (panels + block - 1) / block, (all + groups - 1) / groups };
    const cl_mem some = p->c.buf;
    const cl_mem sites = p->sites ? p->sites : some;
    const clpeft_view g = or_dummy(p->g, some), z = or_dummy(p->z, some), dg = or_dummy(p->dg, some);
    const cl_int f = (cl_int)p->f;
    const cl_int flags =
        (p->g.buf ? GRAM_GAIN : 0) | (p->sites ? GRAM_SITES : 0) | (p->z.buf && p->dg.buf ? GRAM_DG : 0);
    const clp_arg args[] = {
        SIZE(p->T),   SIZE(p->N), SIZE(p->R),    SIZE(block), SIZE(groups), VIEW(p->p), VIEW(p->q),
        VALUE(flags), VALUE(f),   BUFFER(sites), VIEW(g),     VIEW(z),      VIEW(dg),   VIEW(p->c)
    };
    s->flops = 2.0 * (double)p->T * (double)p->N * (double)p->R;
    s->bytes = 4.0 * (double)p->T * (double)(p->N + p->R);
    return clp_run(s, "gram", "gram", "", ARGS(args), 2, global, one);
}

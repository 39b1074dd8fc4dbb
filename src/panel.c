/* panel.c - arguments and launches of the panel kernels. */
#include "panel.h"

#include <stdio.h>

/* Bits of `flags` in product.cl and site_gradients.cl. */
enum { KEEP = 1, GAIN = 2, BIAS = 4, SLOPE = 8, RESIDUAL = 16, BETA = 32, SITES = 64, BEFORE = 128 };
enum { ACTIVATE = 256, SLOPES = 512 };
enum { NARROW_ROWS = 3 };      /* ROWS of dot_rows.cl */
enum { GRADIENT_TOKENS = 24 }; /* TOKENS of site_gradients.cl */
enum {
    GRADIENT_GAIN = 1,
    GRADIENT_DG = 2,
    GRADIENT_FIRST = 4,
    GRADIENT_SCALE = 8,
    GRADIENT_MADE = 16,
    GRADIENT_HERE = 32
};

/* A view for a kernel that is told by its flags not to read it: some buffer must stand there. */
static clpeft_view or_dummy(clpeft_view view, cl_mem dummy)
{
    return view.buf ? view : (clpeft_view){ dummy, 0, 0 };
}

int clp_crowded(const clpeft_context *ctx, size_t M, clpeft_view x)
{
    return M > 1 && x.ld % 1024 == 0 && ctx->tuning.tile_rows > ctx->tuning.l1_ways;
}

clpeft_status clp_prepare(clp_stream *s, size_t M, size_t K, clpeft_view x, clpeft_activation f, cl_mem scratch,
                          size_t off, clpeft_view *out)
{
    const size_t one = 1;
    const cl_int function = (cl_int)f;
    const clpeft_view y = clp_prepared(scratch, off, K);
    const clp_arg args[] = { SIZE(K), VIEW(x), VALUE(function), VIEW(y) };

    *out = x;
    if (f == CLPEFT_IDENTITY && !clp_crowded(s->ctx, M, x)) return CLPEFT_OK;
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

/* Column panels that are multiplied with all rows before the next ones are. Either A is read once and W for each block of rows, or, in
 * groups that stay in a second-level cache, W once and A for each group. */
static size_t panel_group(const clp_product *p, size_t cached, size_t columns, size_t column_panels, size_t row_blocks)
{
    const size_t panel = (p->w_type == CLPEFT_F32 ? 4 : 2) * p->K * columns, w = column_panels * panel;
    const size_t a = 4 * p->M * p->K;
    if (panel > cached || w <= cached) return column_panels;
    const size_t fit = cached / panel, groups = (column_panels + fit - 1) / fit;
    return groups * a + w < row_blocks * w + a ? (column_panels + groups - 1) / groups : column_panels;
}

clpeft_status clp_product_run(clp_stream *s, const clp_product *p)
{
    const clp_tuning *t = &s->ctx->tuning;
    const size_t columns = clp_panel_columns(s->ctx), row_groups = (p->M + t->tile_rows - 1) / t->tile_rows;
    const size_t column_panels = (p->N + columns - 1) / columns,
                 block = block_rows(s->ctx, row_groups, column_panels, p->K);
    const size_t row_blocks = (row_groups + block - 1) / block,
                 group = panel_group(p, (size_t)t->panels_kb << 10, columns, column_panels, row_blocks);
    const size_t global[3] = { group, row_blocks, (column_panels + group - 1) / group }, one[3] = { 1, 1, 1 };
    const size_t a_row = p->transposed ? 1 : p->a.ld, a_step = p->transposed ? p->a.ld : 1;
    const cl_mem some = p->c.buf;
    const cl_mem sites = p->sites ? p->sites : some;
    const clpeft_view u = or_dummy(p->u, some), e = or_dummy(p->e, some), z = or_dummy(p->z, some),
                      g = or_dummy(p->g, some), bias = or_dummy(p->bias, some), slope = or_dummy(p->slope, some),
                      residual = or_dummy(p->residual, some), before = or_dummy(p->before, some);
    const cl_float alpha = p->alpha, beta = p->beta;
    const cl_int f = (cl_int)p->f;
    const cl_int flags = (p->z.buf ? KEEP : 0) | (p->g.buf ? GAIN : 0) | (p->bias.buf ? BIAS : 0) |
                         (p->slope.buf ? SLOPE : 0) | (p->residual.buf ? RESIDUAL : 0) | (p->beta != 0 ? BETA : 0) |
                         (p->sites ? SITES : 0) | (p->before.buf ? BEFORE : 0) |
                         (!p->slope.buf && p->f != CLPEFT_IDENTITY ? ACTIVATE : 0) | (p->slopes ? SLOPES : 0);
    const clp_arg args[] = {
        SIZE(p->M),     SIZE(p->N),     SIZE(p->K),   SIZE(p->R),    SIZE(block),      BUFFER(p->a.buf),
        SIZE(p->a.off), SIZE(a_row),    SIZE(a_step), BUFFER(p->w),  SIZE(p->w_off),   SIZE(p->w_panel),
        SIZE(p->w_row), VIEW(u),        VIEW(e),      BUFFER(sites), VALUE(alpha),     VALUE(beta),
        VALUE(flags),   VALUE(f),       VIEW(z),      VIEW(g),       BUFFER(bias.buf), SIZE(bias.off),
        VIEW(slope),    VIEW(residual), VIEW(before), VIEW(p->c),
    };
    char options[96];

    snprintf(options, sizeof options, "-D WT=%d -D DEPTH=%u -D BLOCK=%u",
             p->w_type == CLPEFT_F16    ? 1
             : p->w_type == CLPEFT_BF16 ? 2
                                        : 0,
             t->depth, t->block);
    s->flops = 2.0 * (double)p->M * (double)(p->N * p->K + p->area);
    s->bytes = 4.0 * ((double)p->M * (double)p->K + (double)p->K * (double)p->N + (double)p->M * (double)p->N);
    return clp_run(s, "product", "product", options, ARGS(args), 3, global, one);
}

/* Tiles of a work item, each of so many steps. */
static size_t narrow_block(const clpeft_context *ctx, size_t tiles, size_t steps)
{
    const size_t wanted = 8 * (size_t)ctx->info.compute_units;
    size_t block = (tiles + wanted - 1) / wanted;
    while (block > 1 && block * steps > CLP_MOST_STEPS) block--;
    return block;
}

/* Columns of X at a time: as many as keep those of W in the first-level cache. */
static size_t narrow_depth(size_t R)
{
    const size_t depth = 6144 / R / 16 * 16;
    return depth < 128 ? 128 : depth > 512 ? 512 : depth;
}

clpeft_status clp_narrow_run(clp_stream *s, size_t M, size_t R, size_t K, clpeft_view x, clpeft_view w, clpeft_view u)
{
    const size_t tiles = (M + NARROW_ROWS - 1) / NARROW_ROWS, vector = s->ctx->tuning.vector, depth = narrow_depth(R);
    const size_t steps = (K / vector + 8 * (K / depth + 1)) * 16 / vector,
                 most = steps < CLP_MOST_STEPS ? CLP_MOST_STEPS / steps : 1;
    const size_t groups = (R + 7) / 8 < most ? (R + 7) / 8 : most,
                 columns = 8 * groups; /* of 8 columns, in so many steps each */
    const size_t block = narrow_block(s->ctx, tiles, groups * steps);
    const size_t global[2] = { (tiles + block - 1) / block, (R + columns - 1) / columns }, one[2] = { 1, 1 };
    const clp_arg args[] = { SIZE(M),     SIZE(R), SIZE(K), SIZE(block), SIZE(columns),
                             SIZE(depth), VIEW(x), VIEW(w), VIEW(u) };

    s->flops = 2.0 * (double)M * (double)R * (double)K;
    s->bytes = 4.0 * ((double)M * (double)K + (double)(M + K) * (double)R);
    return clp_run(s, "narrow", "narrow", "", ARGS(args), 2, global, one);
}

/* Slices of T tokens: work items that each leave a part of the gradients. */
static size_t slices(const clpeft_context *ctx, size_t T)
{
    const size_t most = 2 * (size_t)ctx->info.compute_units, n = T / (2 * GRADIENT_TOKENS);
    return n < 1 ? 1 : n > most ? most : n;
}

/* Steps of a work item's loops for D, of three tokens. */
static size_t steps_of_d(const clp_site_gradients *p, size_t vector, size_t depth)
{
    return (p->spans / vector + 8 * (p->spans / depth + (p->R + 7) / 8)) * 16 / vector;
}

/* Tokens that fit into its loops: steps of D, and of the other passes for a block of tokens and for each. */
static size_t most_tokens(const clp_site_gradients *p, size_t vector, size_t of_d)
{
    const size_t tile = 2 * vector, groups = (p->R + 7) / 8, passes = (p->kept.buf ? 1 : 0) + (p->scaled.buf ? 1 : 0);
    const size_t tiles = p->spans / tile + groups * (p->K / tile + 1), panels = p->N / tile + 1;
    const size_t of_block = 4 * tiles + (4 * passes + 2) * panels, of_token = tiles + passes * panels;
    const size_t each = of_d / NARROW_ROWS + of_block / GRADIENT_TOKENS + of_token, once = of_d + of_block;
    return once + each < CLP_MOST_STEPS ? (CLP_MOST_STEPS - once) / each : 1;
}

size_t clp_site_gradients_scratch(const clpeft_context *ctx, size_t T, size_t N, size_t K, size_t R)
{
    const size_t NR = clp_panel_columns(ctx);
    return slices(ctx, T) * (clp_round_up(R, 8) + 1) * (clp_round_up(N, NR) + clp_round_up(K, NR));
}

static clpeft_status add_parts(clp_stream *s, const clp_site_gradients *p, cl_int flags, size_t parts)
{
    const size_t NR = clp_panel_columns(s->ctx), global = (p->N + NR - 1) / NR + (p->K + NR - 1) / NR, one = 1;
    const clpeft_view part = { p->scratch, p->scratch_off, 0 }, g = or_dummy(p->g, p->da.buf),
                      dg = or_dummy(p->dg, p->da.buf);
    const clp_arg args[] = { SIZE(parts),    SIZE(p->N),       SIZE(p->K), SIZE(p->R),  VALUE(flags), BUFFER(part.buf),
                             SIZE(part.off), BUFFER(p->sites), VIEW(g),    VIEW(p->db), VIEW(dg),     VIEW(p->da) };

    s->bytes = 4.0 * (double)(parts + 2) * (double)((p->R + 1) * (p->N + p->K));
    return clp_run(s, "site_gradients", "add_parts", "", ARGS(args), 1, &global, &one);
}

clpeft_status clp_site_gradients_run(clp_stream *s, const clp_site_gradients *p)
{
    const size_t depth = narrow_depth(8), one = 1;
    const clpeft_view kept = or_dummy(p->kept, p->da.buf), g = or_dummy(p->g, p->da.buf),
                      scaled = or_dummy(p->scaled, p->da.buf);
    const size_t vector = s->ctx->tuning.vector, of_d = steps_of_d(p, vector, depth);
    const int made = of_d > CLP_MOST_STEPS / 4; /* D by a launch of its own, which can share out its columns too */
    const size_t wanted = slices(s->ctx, p->T), each = wanted * most_tokens(p, vector, made ? 0 : of_d);
    const size_t launches = (p->T + each - 1) / each, pieces = launches * wanted;
    const size_t rows = (p->T + pieces - 1) / pieces, all = (p->T + rows - 1) / rows,
                 parts = all < wanted ? all : wanted;
    const int here = p->scaled.buf == p->y.buf && p->scaled.off == p->y.off;
    const cl_int f = (cl_int)p->f;
    cl_int flags = (p->g.buf ? GRADIENT_GAIN : 0) | (p->kept.buf ? GRADIENT_DG : 0) | GRADIENT_FIRST |
                   (p->scaled.buf ? GRADIENT_SCALE : 0) | (here ? GRADIENT_HERE : 0) | (made ? GRADIENT_MADE : 0);
    clpeft_status status = CLPEFT_OK;

    if (made) TRY(clp_narrow_run(s, p->T, p->R, p->N, p->y, p->bt, p->d));
    for (size_t first = 0; first < p->T; first += parts * rows, flags &= ~GRADIENT_FIRST) {
        const size_t last = p->T - first > parts * rows ? first + parts * rows : p->T;
        const clp_arg args[] = {
            SIZE(first), SIZE(last),   SIZE(rows),       SIZE(p->N),         SIZE(p->K),
            SIZE(p->R),  SIZE(depth),  VALUE(flags),     VALUE(f),           VIEW(p->u),
            VIEW(p->y),  VIEW(p->bt),  VIEW(p->d),       VIEW(p->x),         VIEW(kept),
            VIEW(g),     VIEW(scaled), BUFFER(p->sites), BUFFER(p->scratch), SIZE(p->scratch_off)
        };
        s->flops = (double)(last - first) * ((made ? 2.0 : 4.0) * (double)p->area + 2.0 * (double)p->R * (double)p->K);
        s->bytes = 4.0 * (double)(last - first) * (double)((p->scaled.buf ? 2 : 1) * p->N + p->K);
        TRY(clp_run(s, "site_gradients", "site_gradients", "", ARGS(args), 1, &parts, &one));
    }
    TRY(add_parts(s, p, flags, parts));
out:
    return status;
}

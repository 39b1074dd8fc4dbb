/* norm.c - row norms of all sites: tables on the device, one launch per group of layers that share storage and type. */
#include "norm.h"
#include "weight.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* The fields of a job in cl/norm.cl. */
enum { W_OFF, COLUMNS, ROW, ROWS, RANK, AT_OFF, AT_LD, BT_OFF, BT_LD, C_OFF, NORM_FIELDS };

/* Jobs [first, first + n) of the sorted list: one launch. */
typedef struct {
    const clpeft_linear *linear; /* any of the group: storage and type */
    int widened;                 /* the weight goes through scratch: then one job */
    size_t first, n, rows;       /* rows of the largest site, counted from the start of its first panel */
    size_t columns, rank;        /* the largest */
} group;

struct clp_norm_plan {
    clpeft_context *ctx;
    cl_mem table, scratch;
    cl_mem factors; /* the buffer of at and bt; NULL when all ranks are 0 */
    group *groups;
    size_t n_groups;
};

static int widened(const clpeft_linear *l)
{
    return clp_weight_scratch(l, 0) > 0;
}

static int by_storage(const void *a, const void *b)
{
    const clpeft_linear *x = ((const clp_norm_job *)a)->linear, *y = ((const clp_norm_job *)b)->linear;
    if (x->dtype != y->dtype) return x->dtype < y->dtype ? -1 : 1;
    if (x->storage != y->storage) return (uintptr_t)x->storage < (uintptr_t)y->storage ? -1 : 1;
    return (x->forward_off > y->forward_off) - (x->forward_off < y->forward_off);
}

static void fill(const clp_norm_job *j, cl_ulong *field)
{
    const clpeft_linear *l = j->linear;
    field[W_OFF] = widened(l) ? 0 : l->forward_off / clpeft_dtype_bytes(l->dtype);
    field[COLUMNS] = l->K, field[ROW] = j->row, field[ROWS] = j->rows, field[RANK] = j->rank;
    field[AT_OFF] = j->at.off, field[AT_LD] = j->at.ld, field[BT_OFF] = j->bt.off, field[BT_LD] = j->bt.ld;
    field[C_OFF] = j->c_off;
}

static void add_to_groups(clp_norm_plan *plan, const clp_norm_job *j, size_t index, size_t *scratch)
{
    group *last = plan->n_groups ? &plan->groups[plan->n_groups - 1] : NULL;
    const size_t rows = j->rows + (plan->ctx->tuning.panel ? j->row % clp_panel_columns(plan->ctx) : 0),
                 need = clp_weight_scratch(j->linear, 0);

    if (need > *scratch) *scratch = need;
    if (!last || last->widened || widened(j->linear) || last->linear->storage != j->linear->storage ||
        last->linear->dtype != j->linear->dtype) {
        plan->groups[plan->n_groups++] =
            (group){ j->linear, widened(j->linear), index, 1, rows, j->linear->K, j->rank };
        return;
    }
    last->n++;
    if (rows > last->rows) last->rows = rows;
    if (j->linear->K > last->columns) last->columns = j->linear->K;
    if (j->rank > last->rank) last->rank = j->rank;
}

clpeft_status clp_norm_plan_create(clp_norm_plan **result, clpeft_context *ctx, const clp_norm_job *jobs, size_t n)
{
    clpeft_status status = CLPEFT_OK;
    clp_norm_plan *plan = calloc(1, sizeof *plan);
    clp_norm_job *sorted = malloc(n * sizeof *sorted);
    cl_ulong *table = malloc(n * NORM_FIELDS * sizeof *table);
    size_t scratch = 0;

    REQUIRE(plan && sorted && table && n > 0, CLPEFT_OUT_OF_HOST_MEMORY, "row norms: out of memory");
    plan->ctx = ctx;
    plan->groups = calloc(n, sizeof *plan->groups);
    REQUIRE(plan->groups, CLPEFT_OUT_OF_HOST_MEMORY, "row norms: out of memory");
    memcpy(sorted, jobs, n * sizeof *sorted);
    qsort(sorted, n, sizeof *sorted, by_storage);
    for (size_t i = 0; i < n; i++) {
        fill(&sorted[i], table + i * NORM_FIELDS);
        add_to_groups(plan, &sorted[i], i, &scratch);
        if (sorted[i].rank > 0) plan->factors = sorted[i].at.buf;
    }
    TRY(clp_buffer(ctx, n * NORM_FIELDS * sizeof *table, table, &plan->table));
    if (scratch > 0) TRY(clp_buffer(ctx, 4 * scratch, NULL, &plan->scratch));
    *result = plan;
    plan = NULL;
out:
    clp_norm_plan_destroy(plan);
    free(sorted);
    free(table);
    return status;
}

void clp_norm_plan_destroy(clp_norm_plan *plan)
{
    if (!plan) return;
    if (plan->table) clReleaseMemObject(plan->table);
    if (plan->scratch) clReleaseMemObject(plan->scratch);
    free(plan->groups);
    free(plan);
}

/* As many as keep the loops of a work item, of four columns at a time or more, shorter than strip.cl says; widening may be a loop too. */
static size_t columns_at_once(size_t rank, clpeft_dtype type)
{
    const size_t n = CLP_MOST_STEPS / (rank + (type == CLPEFT_F32 ? 8 : 48)) * 4 / 32 * 32;
    return n > 32 ? n : 32;
}

static clpeft_status run_group(clp_norm_plan *plan, clp_stream *s, const group *g, cl_mem c)
{
    const size_t columns = clp_panel_columns(plan->ctx), WG = plan->ctx->tuning.group;
    const int panels = (int)plan->ctx->tuning.panel;
    const size_t global[2] = { panels ? (g->rows + columns - 1) / columns : g->rows * WG, g->n },
                 local[2] = { panels ? 1 : WG, 1 };
    const cl_mem factors = plan->factors ? plan->factors : c;
    clpeft_status status = CLPEFT_OK;
    const size_t first = g->first * NORM_FIELDS;
    clp_operand w = { g->linear->storage, 0, g->linear->dtype };
    char options[64];

    if (g->widened) TRY(clp_weight_operand(s, g->linear, 0, plan->scratch, 0, &w));
    snprintf(options, sizeof options, "-D PANELS=%d -D WT=%d", panels,
             w.type == CLPEFT_F16    ? 1
             : w.type == CLPEFT_BF16 ? 2
                                     : 0);
    for (size_t from = 0, to; from < g->columns; from = to) {
        to = panels ? from + columns_at_once(g->rank, w.type) : g->columns;
        const clp_arg args[] = { BUFFER(plan->table), SIZE(first),     SIZE(from),      SIZE(to),
                                 BUFFER(w.buf),       BUFFER(factors), BUFFER(factors), BUFFER(c) };
        s->bytes = (double)g->rows * (double)g->n * (double)clp_weight_row_bytes(g->linear) *
                   (double)((to < g->columns ? to : g->columns) - from) / (double)g->columns;
        TRY(clp_run(s, "norm", "row_norms", options, ARGS(args), 2, global, local));
    }
out:
    return status;
}

clpeft_status clp_norm_plan_run(clp_norm_plan *plan, clp_stream *s, cl_mem c)
{
    clpeft_status status = CLPEFT_OK;

    for (size_t i = 0; i < plan->n_groups; i++) TRY(run_group(plan, s, &plan->groups[i], c));
out:
    return status;
}

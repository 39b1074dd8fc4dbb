/* lowrank.c - which of the R columns each column panel of a layer needs, and the other way round. */
#include "lowrank.h"
#include "panel.h"

#include <stdlib.h>

static int panel_entry(const clp_lowrank *l, size_t n0, size_t n1, cl_int entry[4])
{
    int magnitude = 0;
    size_t first = l->R, last = 0;

    for (const clp_lowrank_site *p = l->sites; p < l->sites + l->n_sites; p++) {
        if (p->row >= n1 || p->row + p->rows <= n0) continue;
        if (p->column < first) first = p->column;
        if (p->column + p->rank > last) last = p->column + p->rank;
        magnitude |= p->magnitude;
    }
    entry[0] = first < last ? (cl_int)first : 0;
    entry[1] = (cl_int)last;
    entry[2] = -1;
    entry[3] = 0;
    return magnitude;
}

/* First and last + 1 of the layer's rows, in whole column panels, that the sites at columns r0 to r1 - 1 of R have. */
static void group_entry(const clp_lowrank *l, size_t r0, size_t r1, size_t panel, cl_int entry[4])
{
    const size_t N = clpeft_linear_rows(l->linear);
    size_t first = N, last = 0;

    for (const clp_lowrank_site *p = l->sites; p < l->sites + l->n_sites; p++) {
        if (p->column >= r1 || p->column + p->rank <= r0) continue;
        if (p->row < first) first = p->row;
        if (p->row + p->rows > last) last = p->row + p->rows;
    }
    last = (last + panel - 1) / panel * panel;
    entry[0] = (cl_int)(first / panel * panel);
    entry[1] = (cl_int)(last < N ? last : N);
    entry[2] = entry[3] = 0;
}

clpeft_status clp_lowrank_table(clpeft_context *ctx, clp_lowrank *l)
{
    const size_t columns = clp_panel_columns(ctx), N = clpeft_linear_rows(l->linear), n = (N + columns - 1) / columns,
                 groups = (l->R + 7) / 8;
    clpeft_status status = CLPEFT_OK;
    cl_int(*entries)[4] = malloc((n + groups) * sizeof *entries);

    REQUIRE(entries, CLPEFT_OUT_OF_HOST_MEMORY, "clpeft_adapter_create: out of memory");
    l->z_columns = l->area = l->spans = 0;
    for (size_t j = 0; j < n; j++)
        if (panel_entry(l, j * columns, (j + 1) * columns, entries[j])) {
            entries[j][2] = (cl_int)l->z_columns;
            l->z_columns += columns;
        }
    for (size_t i = 0; i < groups; i++) {
        group_entry(l, 8 * i, 8 * i + 8, columns, entries[n + i]);
        l->spans += (size_t)(entries[n + i][1] - entries[n + i][0]);
    }
    for (const clp_lowrank_site *p = l->sites; p < l->sites + l->n_sites; p++) l->area += p->rows * p->rank;
    TRY(clp_buffer(ctx, (n + groups) * sizeof *entries, entries, &l->table));
out:
    free(entries);
    return status;
}

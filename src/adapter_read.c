/* adapter_read.c - what an adapter made, in host memory: A, B, c, g of a site, and merged weights. */
#include "adapter.h"

#include <stdlib.h>

/* n values from element off of a buffer. */
static clpeft_status read_values(const clpeft_adapter *x, cl_command_queue queue, cl_mem buf, size_t off, size_t n,
                                 float *out)
{
    return clp_read(x->ctx, queue, buf, off * sizeof *out, n * sizeof *out, out);
}

/* [rows,cols] with rows ld apart, tightly into out. */
static clpeft_status read_matrix(const clpeft_adapter *x, cl_command_queue queue, size_t off, size_t ld, size_t rows,
                                 size_t cols, float *out)
{
    clpeft_status status = CLPEFT_OK;
    for (size_t i = 0; i < rows; i++) TRY(read_values(x, queue, x->forms, off + i * ld, cols, out + i * cols));
out:
    return status;
}

/* B [N,r] from s B^T [r,N]. */
static clpeft_status read_b(const clpeft_adapter *x, cl_command_queue queue, const clp_site *t, float *b)
{
    const size_t N = t->N, r = t->r;
    clpeft_status status = CLPEFT_OK;
    float *bt = malloc(r * N * sizeof *bt);

    REQUIRE(bt, CLPEFT_OUT_OF_HOST_MEMORY, "clpeft_adapter_read_site: out of memory");
    TRY(read_matrix(x, queue, t->bt, t->bt_ld, r, N, bt));
    for (size_t n = 0; n < N; n++)
        for (size_t p = 0; p < r; p++) b[n * r + p] = bt[p * N + n] / t->s;
out:
    free(bt);
    return status;
}

clpeft_status clpeft_adapter_read_site(const clpeft_adapter *x, size_t site, float *a, float *b, float *c, float *g,
                                       float *tau, cl_command_queue queue)
{
    clpeft_status status = CLPEFT_OK;
    cl_command_queue own = NULL;
    size_t place = 0;

    TRY(clp_live(x, CLP_HANDLE_ADAPTER, "clpeft_adapter_read_site"));
    REQUIRE(site < x->n_sites, CLPEFT_INVALID_ARGUMENT, "clpeft_adapter_read_site: site %zu of %zu", site, x->n_sites);
    if (!queue) {
        TRY(clpeft_queue_create(&own, x->ctx));
        queue = own;
    }
    while (x->order[place] != site) place++;
    const clp_site *t = &x->table[place];
    if (a) TRY(read_matrix(x, queue, t->a, t->a_ld, t->r, t->K, a));
    if (b) TRY(read_b(x, queue, t, b));
    if (g) TRY(read_values(x, queue, x->forms, t->g, t->N, g));
    if (c && x->config.magnitude) TRY(read_values(x, queue, x->c, t->c, t->N, c));
    if (tau) *tau = 0;
    if (tau && x->config.magnitude) TRY(read_values(x, queue, x->tau, place, 1, tau));
out:
    clp_queue_end(own);
    return status;
}

/* Rows [first, end) of a layer, which lie in weight from row `row` on: g_i (W0_i + sum_p (s B)_ip A_p). */
static clpeft_status merge_site(const clpeft_adapter *x, cl_command_queue queue, const clp_site *t, size_t site_row,
                                size_t first, size_t end, size_t row, float *weight)
{
    const size_t K = t->K, r = t->r, rows = end - first, skip = first - site_row;
    clpeft_status status = CLPEFT_OK;
    float *a = malloc(r * K * sizeof *a), *bt = malloc(r * rows * sizeof *bt), *g = malloc(rows * sizeof *g);
    double *sum = malloc(K * sizeof *sum);

    REQUIRE(a && bt && g && sum, CLPEFT_OUT_OF_HOST_MEMORY, "clpeft_adapter_merge: out of memory");
    TRY(read_matrix(x, queue, t->a, t->a_ld, r, K, a));
    TRY(read_matrix(x, queue, t->bt + skip, t->bt_ld, r, rows, bt));
    TRY(read_values(x, queue, x->forms, t->g + skip, rows, g));
    for (size_t i = 0; i < rows; i++) {
        float *out = weight + (first + i - row) * K;
        for (size_t k = 0; k < K; k++) sum[k] = out[k];
        for (size_t p = 0; p < r; p++)
            for (size_t k = 0; k < K; k++) sum[k] += (double)bt[p * rows + i] * (double)a[p * K + k];
        for (size_t k = 0; k < K; k++) out[k] = (float)((double)g[i] * sum[k]);
    }
out:
    free(a);
    free(bt);
    free(g);
    free(sum);
    return status;
}

clpeft_status clpeft_adapter_merge(const clpeft_adapter *x, const clpeft_linear *linear, size_t row, size_t rows,
                                   float *weight, cl_command_queue queue)
{
    clpeft_status status = CLPEFT_OK;
    cl_command_queue own = NULL;
    size_t end;

    if (x) TRY(clp_live(x, CLP_HANDLE_ADAPTER, "clpeft_adapter_merge"));
    TRY(clp_live(linear, CLP_HANDLE_LINEAR, "clpeft_adapter_merge"));
    REQUIRE(weight, CLPEFT_INVALID_ARGUMENT, "clpeft_adapter_merge: weight is NULL");
    REQUIRE(rows > 0 && !clp_sum(row, rows, &end) && end <= clpeft_linear_rows(linear), CLPEFT_INVALID_SIZE,
            "clpeft_adapter_merge: %zu rows from row %zu; the layer has %zu", rows, row, clpeft_linear_rows(linear));
    if (!queue) {
        TRY(clpeft_queue_create(&own, clp_linear_context(linear)));
        queue = own;
    }
    TRY(clp_linear_read(linear, row, rows, weight, queue));
    for (size_t p = 0; x && p < x->n_sites; p++) {
        const clpeft_site *site = &x->sites[x->order[p]];
        const size_t site_end = site->row + x->table[p].N;
        const size_t from = site->row > row ? site->row : row, to = site_end < end ? site_end : end;
        if (site->linear == linear && from < to)
            TRY(merge_site(x, queue, &x->table[p], site->row, from, to, row, weight));
    }
out:
    clp_queue_end(own);
    return status;
}

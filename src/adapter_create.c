/* adapter_create.c - make an adapter: its layout, buffers and first values; and free it. */
#include "adapter.h"

#include <stdlib.h>

/* A buffer of n zeros. */
static clpeft_status make_zeros(const clpeft_adapter *adapter, cl_command_queue queue, size_t n, cl_mem *buf)
{
    const cl_float zero = 0;
    clpeft_status status = CLPEFT_OK;

    TRY(clp_buffer(adapter->ctx, n * sizeof(float), NULL, buf));
    TRY_CL(clEnqueueFillBuffer(queue, *buf, &zero, sizeof zero, 0, n * sizeof(float), 0, NULL, NULL),
           "clEnqueueFillBuffer");
out:
    return status;
}

/* All buffers, 0 but for the gains, 1; and the layers' views of them. */
static clpeft_status make_buffers(clpeft_adapter *x, cl_command_queue queue)
{
    const clpeft_adapter_config *o = &x->config;
    const cl_float one = 1;
    clpeft_status status = CLPEFT_OK;

    TRY(make_zeros(x, queue, x->size.forms, &x->forms));
    TRY(make_zeros(x, queue, x->size.back, &x->back));
    if (o->generator) TRY(make_zeros(x, queue, 3 * x->size.plane + 64, &x->hidden)); /* whole vectors are loaded */
    if (o->magnitude) {
        TRY(make_zeros(x, queue, x->size.c, &x->c));
        TRY(make_zeros(x, queue, x->n_sites, &x->tau));
    }
    if (o->magnitude && o->norm_gradient) {
        TRY(make_zeros(x, queue, x->size.c, &x->q));
        TRY(make_zeros(x, queue, x->size.back, &x->d));
        TRY(make_zeros(x, queue, x->size.back, &x->rest));
        TRY(make_zeros(x, queue, x->size.gram, &x->gram));
    }
    for (size_t i = 0; i < x->set.n; i++) {
        clp_lowrank *l = &x->set.layers[i];
        l->a.buf = l->at.buf = l->bt.buf = l->gbt.buf = l->g.buf = x->forms;
        l->da.buf = l->dbt.buf = l->dg.buf = x->back;
        TRY(clp_lowrank_table(x->ctx, l));
        TRY_CL(clEnqueueFillBuffer(queue, x->forms, &one, sizeof one, 4 * l->g.off, 4 * clpeft_linear_rows(l->linear),
                                   0, NULL, NULL),
               "clEnqueueFillBuffer");
    }
out:
    return status;
}

static clpeft_status make_norm_plan(clpeft_adapter *x)
{
    clpeft_status status = CLPEFT_OK;
    clp_norm_job *jobs = calloc(x->n_sites, sizeof *jobs);

    REQUIRE(jobs, CLPEFT_OUT_OF_HOST_MEMORY, "clpeft_adapter_create: out of memory");
    for (size_t p = 0; p < x->n_sites; p++) {
        const clp_site *t = &x->table[p];
        const clpeft_site *site = &x->sites[x->order[p]];
        jobs[p] = (clp_norm_job){
            site->linear, site->row, t->N, t->r, { x->forms, t->at, t->at_ld }, { x->forms, t->bt, t->bt_ld }, t->c
        };
    }
    status = clp_norm_plan_create(&x->norm, x->ctx, jobs, x->n_sites);
out:
    free(jobs);
    return status;
}

/* Norms of W0: what the plan gives while A and B are 0. */
static clpeft_status read_norms(clpeft_adapter *x, cl_command_queue queue, float **norms)
{
    clpeft_status status = CLPEFT_OK;
    clp_stream s;

    *norms = malloc(x->size.c * sizeof **norms);
    REQUIRE(*norms, CLPEFT_OUT_OF_HOST_MEMORY, "clpeft_adapter_create: out of memory");
    TRY(clp_begin(&s, "clpeft_adapter_create", x->ctx, queue, 0, NULL));
    TRY(clp_norm_plan_run(x->norm, &s, x->c));
    status = clp_read(x->ctx, queue, x->c, 0, x->size.c * sizeof **norms, *norms);
out:
    return status;
}

clpeft_status clpeft_adapter_create(clpeft_adapter **result, clpeft_params *params, const clpeft_site *sites, size_t n,
                                    const clpeft_adapter_config *config)
{
    const size_t before = clpeft_params_count(params);
    clpeft_status status = CLPEFT_OK;
    clpeft_adapter *x = NULL;
    cl_command_queue queue = NULL;
    float *norms = NULL;

    REQUIRE(result && sites && config, CLPEFT_INVALID_ARGUMENT,
            "clpeft_adapter_create: adapter, sites or config is NULL");
    TRY(clp_live(params, CLP_HANDLE_PARAMS, "clpeft_adapter_create"));
    TRY(clp_adapter_check_config(config));
    x = clp_handle_create(sizeof *x, CLP_HANDLE_ADAPTER);
    REQUIRE(x, CLPEFT_OUT_OF_HOST_MEMORY, "clpeft_adapter_create: out of memory");
    x->ctx = params->ctx, x->params = params, x->config = *config, x->set.dropout_rate = config->dropout;
    TRY(clp_adapter_lay_out(x, sites, n));
    TRY(clpeft_queue_create(&queue, x->ctx));
    TRY(make_buffers(x, queue));
    if (config->magnitude) {
        TRY(make_norm_plan(x));
        TRY(read_norms(x, queue, &norms));
    }
    TRY(clp_adapter_add_params(x, norms));
    TRY(clp_buffer(x->ctx, x->n_sites * sizeof *x->table, x->table, &x->site_table));
    TRY(clp_buffer(x->ctx, x->n_blocks * sizeof *x->blocks, x->blocks, &x->block_table));
    TRY_CL(clFinish(queue), "clFinish");
    *result = x;
    x = NULL;
out:
    if (x) clp_params_truncate(params, before);
    clp_queue_end(queue);
    free(norms);
    clpeft_adapter_destroy(x);
    return status;
}

void clpeft_adapter_destroy(clpeft_adapter *x)
{
    if (!clp_handle_end(x, CLP_HANDLE_ADAPTER)) return;
    const cl_mem all[] = { x->site_table, x->block_table, x->forms, x->back, x->hidden, x->c,
                           x->tau,        x->q,           x->d,     x->rest, x->gram };
    for (size_t i = 0; i < LENGTH(all); i++)
        if (all[i]) clReleaseMemObject(all[i]);
    clp_norm_plan_destroy(x->norm);
    for (size_t i = 0; i < x->set.n; i++)
        if (x->set.layers[i].table) clReleaseMemObject(x->set.layers[i].table);
    for (size_t i = 0; i < x->n_sites; i++) free((char *)(uintptr_t)x->sites[i].name);
    free(x->sites);
    free(x->order);
    free(x->table);
    free(x->blocks);
    free(x->layer_of);
    free(x->layer_sites);
    free(x->set.layers);
    free(x);
}

const clpeft_adapter_config *clpeft_adapter_get_config(const clpeft_adapter *adapter)
{
    return clp_is_live(adapter, CLP_HANDLE_ADAPTER) ? &adapter->config : NULL;
}

size_t clpeft_adapter_sites(const clpeft_adapter *adapter, const clpeft_site **sites)
{
    const int live = clp_is_live(adapter, CLP_HANDLE_ADAPTER);
    if (sites) *sites = live ? adapter->sites : NULL;
    return live ? adapter->n_sites : 0;
}

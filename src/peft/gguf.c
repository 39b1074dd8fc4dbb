/* gguf.c - an adapter as a GGUF file for llama.cpp, which adds alpha / r B (A x), r the rows of A.
 *
 * The file's one alpha is the config's, times sqrt(r) with rsLoRA. B of a site with its own rank or alpha is multiplied by
 * what alpha / r lacks of its s. */
#include "peft/layout.h"
#include "peft/values.h"

#include "clpeft/export.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

typedef struct {
    clpeft_adapter *adapter;
    const clpeft_model *model;
    clpeft_dtype dtype;
    cl_command_queue queue;
    clp_paths paths;
    size_t n; /* tensors so far */
    char (*names)[CLP_GGUF_NAME_SIZE + 8];
    clpeft_write_tensor *tensors;
} export;

/* alpha, or alpha sqrt(r) */
static double file_alpha(const clpeft_adapter_config *config, double alpha, size_t rank)
{
    return config->rslora ? alpha * sqrt((double)rank) : alpha;
}

static clpeft_status add_tensor(export *x, const char *base, const char *suffix, const float *values, size_t rows,
                                size_t cols)
{
    clpeft_status status = CLPEFT_OK;
    char *name = x->names[x->n];
    void *data;

    snprintf(name, sizeof *x->names, "%s.%s", base, suffix);
    TRY(clp_narrow(x->dtype, values, rows * cols, name, &data));
    x->tensors[x->n++] =
        (clpeft_write_tensor){ .name = name, .dtype = x->dtype, .n_dims = 2, .dims = { rows, cols }, .data = data };
out:
    return status;
}

static clpeft_status add_site(export *x, size_t site)
{
    const clpeft_adapter_config *config = &x->adapter->config;
    const clpeft_site *s = &x->adapter->sites[site];
    clpeft_status status = CLPEFT_OK;
    char name[CLP_GGUF_NAME_SIZE];
    clp_values v = { 0 };
    size_t i;

    TRY(clp_values_path(&x->paths, s, &i));
    TRY(clp_layout_name(x->model, i, name));
    TRY(clp_values_read(&v, x->adapter, site, x->queue));
    const double common = file_alpha(config, (double)config->alpha, config->rank);
    const double own = file_alpha(config, (double)(s->alpha > 0 ? s->alpha : config->alpha), v.r);
    for (size_t k = 0; own != common && k < v.N * v.r; k++) v.b[k] = (float)((double)v.b[k] * (own / common));
    TRY(clp_layout_rows(x->model, i, v.N, v.r, v.b));
    TRY(add_tensor(x, name, "lora_a", v.a, v.r, v.K));
    TRY(add_tensor(x, name, "lora_b", v.b, v.N, v.r));
out:
    clp_values_free(&v);
    return status;
}

static clpeft_status write_file(export *x, const char *path)
{
    const clpeft_adapter_config *config = &x->adapter->config;
    const size_t most = 2 * x->adapter->n_sites;
    clpeft_status status = CLPEFT_OK;
    const clpeft_gguf_meta metas[] = {
        { .key = "general.type", .type = CLPEFT_GGUF_STRING, .string = "adapter" },
        { .key = "general.architecture", .type = CLPEFT_GGUF_STRING, .string = clp_layout_architecture(x->model) },
        { .key = "adapter.type", .type = CLPEFT_GGUF_STRING, .string = "lora" },
        { .key = "adapter.lora.alpha",
          .type = CLPEFT_GGUF_F32,
          .f32 = (float)file_alpha(config, (double)config->alpha, config->rank) },
    };

    TRY(clp_paths_create(&x->paths, x->model, CLP_FILE, ""));
    x->names = calloc(most, sizeof *x->names);
    x->tensors = calloc(most, sizeof *x->tensors);
    REQUIRE(x->names && x->tensors, CLPEFT_OUT_OF_HOST_MEMORY, "out of memory");
    TRY(clpeft_adapter_materialize(x->adapter, 0, 0, x->queue, 0, NULL, NULL));
    for (size_t i = 0; i < x->adapter->n_sites; i++) TRY(add_site(x, i));
    status = clpeft_gguf_write(path, metas, LENGTH(metas), x->tensors, x->n);
out:
    return status;
}

clpeft_status clpeft_gguf_export(clpeft_adapter *adapter, const clpeft_model *model, const char *path,
                                 clpeft_dtype dtype, cl_command_queue queue)
{
    clpeft_status status = CLPEFT_OK;
    cl_command_queue own = NULL;
    export x = { .adapter = adapter, .model = model, .dtype = dtype };

    TRY(clp_live(adapter, CLP_HANDLE_ADAPTER, "clpeft_gguf_export"));
    TRY(clp_live(model, CLP_HANDLE_MODEL, "clpeft_gguf_export"));
    REQUIRE(path, CLPEFT_INVALID_ARGUMENT, "clpeft_gguf_export: path is NULL");
    REQUIRE(dtype == CLPEFT_F32 || dtype == CLPEFT_F16, CLPEFT_INVALID_ARGUMENT,
            "clpeft_gguf_export: dtype %s is neither F32 nor F16", clpeft_dtype_name(dtype));
    REQUIRE(!adapter->config.magnitude, CLPEFT_UNSUPPORTED,
            "llama.cpp has no adapters with a magnitude (DoRA, DoRAN); merge this one into the model instead");
    if (!queue) TRY(clpeft_queue_create(&own, adapter->ctx));
    x.queue = queue ? queue : own;
    status = write_file(&x, path);
    if (status != CLPEFT_OK) clp_fail_in("%s", path);
out:
    for (size_t i = 0; i < x.n; i++) free((void *)(uintptr_t)x.tensors[i].data);
    free(x.tensors);
    free(x.names);
    clp_paths_free(&x.paths);
    clp_queue_end(own);
    return status;
}

/* merge.c - a model's file again, with the adapted layers' weights replaced by g (W0 + s B A). */
#include "peft/layout.h"
#include "peft/values.h"

#include "clpeft/export.h"

#include "file/names.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

typedef struct {
    clpeft_adapter *adapter;
    const clpeft_model *model;
    clpeft_dtype dtype;
    cl_command_queue queue;
    clpeft_file *file;
    const char *prefix; /* of the names in a safetensors file */
    clp_paths paths;    /* without it */
    size_t n;
    clpeft_write_tensor *tensors; /* all of the file */
    void **merged;                /* data of those that were replaced */
} merge;

/* Whether site i of paths is in one tensor with all others of its linear layer. */
static int is_fused(const clpeft_model *model, size_t i)
{
    return model->fused_path && model->modules[i % model->n_modules].layer == 0;
}

/* Name in the file of the tensor with site i of paths. */
static clpeft_status tensor_name(const merge *x, size_t i, const char *prefix, char name[CLP_KEY_SIZE])
{
    if (clpeft_file_format(x->file) == CLPEFT_GGUF) return clp_layout_name(x->model, i, name);
    if (is_fused(x->model, i))
        snprintf(name, CLP_KEY_SIZE, "%s%s%zu.%s.weight", prefix, x->model->family->block_path, i / x->model->n_modules,
                 x->model->fused_path);
    else
        snprintf(name, CLP_KEY_SIZE, "%s%.*s.weight", prefix, CLP_PATH_SIZE, x->paths.paths[i]);
    return CLPEFT_OK;
}

static clpeft_status find_prefix(merge *x)
{
    clpeft_status status = CLPEFT_OK;
    char name[CLP_KEY_SIZE];

    for (size_t p = 0; p < CLP_PREFIXES; p++) {
        x->prefix = clp_prefixes[p];
        TRY(tensor_name(x, 0, x->prefix, name));
        if (clpeft_file_find(x->file, name)) return CLPEFT_OK;
    }
    TRY(tensor_name(x, 0, "", name));
    status = clp_fail(CLPEFT_INVALID_FILE, "tensor %s is missing", name);
out:
    return status;
}

/* The type of a merged tensor. */
static clpeft_dtype target_dtype(const merge *x, const clpeft_file_tensor *t)
{
    if (x->dtype != CLPEFT_OTHER) return x->dtype;
    if (t->dtype == CLPEFT_F32 || t->dtype == CLPEFT_F16 || t->dtype == CLPEFT_BF16) return t->dtype;
    return t->dtype == CLPEFT_F64 ? CLPEFT_F32 : CLPEFT_Q8_0;
}

static clpeft_status merge_site(merge *x, size_t site)
{
    const clpeft_site *s = &x->adapter->sites[site];
    const size_t K = clpeft_linear_columns(s->linear);
    clpeft_status status = CLPEFT_OK;
    char name[CLP_KEY_SIZE];
    float *values = NULL;
    size_t i;

    TRY(clp_values_path(&x->paths, s, &i));
    const size_t row = is_fused(x->model, i) ? 0 : s->row;
    const size_t N = is_fused(x->model, i) ? clpeft_linear_rows(s->linear) : s->heads * s->head_size;
    TRY(tensor_name(x, i, x->prefix, name));
    const clpeft_file_tensor *t = clpeft_file_find(x->file, name);
    REQUIRE(t && t->n_dims == 2 && t->dims[0] == N && t->dims[1] == K, CLPEFT_INVALID_FILE,
            "tensor %s is %s: this is not the model's file", name, t ? "of another shape" : "missing");
    const size_t at = (size_t)(t - clpeft_file_tensor_at(x->file, 0));
    if (x->merged[at]) goto out; /* with another site of a fused layer */
    values = malloc(N * K * sizeof *values);
    REQUIRE(values, CLPEFT_OUT_OF_HOST_MEMORY, "out of memory");
    TRY(clpeft_adapter_merge(x->adapter, s->linear, row, N, values, x->queue));
    if (clpeft_file_format(x->file) == CLPEFT_GGUF) TRY(clp_layout_rows(x->model, i, N, K, values));
    x->tensors[at].dtype = target_dtype(x, t);
    TRY(clp_narrow(x->tensors[at].dtype, values, N * K, name, &x->merged[at]));
    x->tensors[at].data = x->merged[at];
out:
    free(values);
    return status;
}

/* All tensors of the file as they are. */
static clpeft_status list_tensors(merge *x)
{
    clpeft_status status = CLPEFT_OK;

    x->n = clpeft_file_tensors(x->file);
    x->tensors = calloc(x->n + 1, sizeof *x->tensors);
    x->merged = calloc(x->n + 1, sizeof *x->merged);
    REQUIRE(x->tensors && x->merged, CLPEFT_OUT_OF_HOST_MEMORY, "out of memory");
    for (size_t i = 0; i < x->n; i++) {
        const clpeft_file_tensor *t = clpeft_file_tensor_at(x->file, i);
        x->tensors[i] = (clpeft_write_tensor){
            .name = t->name, .dtype = t->dtype, .dtype_name = t->dtype_name, .n_dims = t->n_dims, .data = t->data
        };
        REQUIRE(t->n_dims <= LENGTH(x->tensors[i].dims), CLPEFT_UNSUPPORTED, "tensor %s has %zu dimensions",
                clp_quote(t->name, strlen(t->name)).text, t->n_dims);
        for (size_t d = 0; d < t->n_dims; d++) x->tensors[i].dims[d] = t->dims[d];
    }
out:
    return status;
}

static clpeft_status write_gguf(const merge *x, const char *path)
{
    const size_t n = clpeft_file_metas(x->file);
    clpeft_status status = CLPEFT_OK;
    clpeft_gguf_meta *metas = calloc(n + 1, sizeof *metas);

    REQUIRE(metas, CLPEFT_OUT_OF_HOST_MEMORY, "out of memory");
    for (size_t i = 0; i < n; i++)
        metas[i] = (clpeft_gguf_meta){ .key = clpeft_file_meta_at(x->file, i)->key,
                                       .type = CLPEFT_GGUF_COPY,
                                       .copy = x->file };
    status = clpeft_gguf_write(path, metas, n, x->tensors, x->n);
out:
    free(metas);
    return status;
}

/* The writer itself adds the pair "format". */
static clpeft_status write_safetensors(const merge *x, const char *path)
{
    clpeft_status status = CLPEFT_OK;
    clpeft_write_meta *metas = calloc(clpeft_file_metas(x->file) + 1, sizeof *metas);
    size_t n = 0;

    REQUIRE(metas, CLPEFT_OUT_OF_HOST_MEMORY, "out of memory");
    for (size_t i = 0; i < clpeft_file_metas(x->file); i++) {
        const clpeft_meta *m = clpeft_file_meta_at(x->file, i);
        if (strcmp(m->key, "format") != 0) metas[n++] = (clpeft_write_meta){ m->key, m->string };
    }
    status = clpeft_safetensors_write(path, metas, n, x->tensors, x->n);
out:
    free(metas);
    return status;
}

/* Open the file of a model: base itself, or model.safetensors in it. */
static clpeft_status open_base(merge *x, const char *base)
{
    const size_t size = strlen(base) + sizeof "/model.safetensors";
    clpeft_status status = CLPEFT_OK;
    char *path = malloc(size);
    struct stat info;

    REQUIRE(path, CLPEFT_OUT_OF_HOST_MEMORY, "out of memory");
    snprintf(path, size, stat(base, &info) == 0 && S_ISDIR(info.st_mode) ? "%s/model.safetensors" : "%s", base);
    status = clpeft_file_open(&x->file, path);
out:
    free(path);
    return status;
}

static clpeft_status merge_file(merge *x, const char *path)
{
    const int gguf = clpeft_file_format(x->file) == CLPEFT_GGUF;
    clpeft_status status = CLPEFT_OK;

    REQUIRE(x->dtype <= CLPEFT_BF16 || x->dtype == CLPEFT_OTHER || (gguf && x->dtype == CLPEFT_Q8_0),
            CLPEFT_UNSUPPORTED, "merged layers are not written as %s here", clpeft_dtype_name(x->dtype));
    TRY(clp_paths_create(&x->paths, x->model, CLP_FILE, ""));
    TRY(find_prefix(x));
    TRY(list_tensors(x));
    TRY(clpeft_adapter_materialize(x->adapter, 0, 0, x->queue, 0, NULL, NULL));
    for (size_t i = 0; i < x->adapter->n_sites; i++) TRY(merge_site(x, i));
    status = gguf ? write_gguf(x, path) : write_safetensors(x, path);
out:
    return status;
}

clpeft_status clpeft_merge_write(clpeft_adapter *adapter, const clpeft_model *model, const char *base, const char *path,
                                 clpeft_dtype dtype, cl_command_queue queue)
{
    clpeft_status status = CLPEFT_OK;
    cl_command_queue own = NULL;
    merge x = { .adapter = adapter, .model = model, .dtype = dtype };

    TRY(clp_live(adapter, CLP_HANDLE_ADAPTER, "clpeft_merge_write"));
    TRY(clp_live(model, CLP_HANDLE_MODEL, "clpeft_merge_write"));
    REQUIRE(base && path, CLPEFT_INVALID_ARGUMENT, "clpeft_merge_write: base or path is NULL");
    if (!queue) TRY(clpeft_queue_create(&own, adapter->ctx));
    x.queue = queue ? queue : own;
    TRY(open_base(&x, base));
    status = merge_file(&x, path);
    if (status != CLPEFT_OK) clp_fail_in("%s", base);
out:
    for (size_t i = 0; x.merged && i < x.n; i++) free(x.merged[i]);
    free(x.merged);
    free(x.tensors);
    clp_paths_free(&x.paths);
    clpeft_file_close(x.file);
    clp_queue_end(own);
    return status;
}

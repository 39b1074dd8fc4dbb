/* pretrained.c - the pretrained tensors of a model's folder. */
#include "pretrained.h"

#include "file/names.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

static const uint64_t FNV_START = 14695981039346656037u;

/* FNV-1a over every step-th byte. */
static void hash_bytes(uint64_t *hash, const void *bytes, size_t n, size_t step)
{
    for (size_t i = 0; i < n; i += step) *hash = (*hash ^ ((const unsigned char *)bytes)[i]) * 1099511628211u;
}

void clp_pretrained_hash(clp_pretrained *w, const void *bytes, size_t n)
{
    hash_bytes(&w->hash, bytes, n, 1);
}

static clpeft_status open_folder(clp_pretrained *w, const char *path)
{
    clpeft_status status = CLPEFT_OK;
    const size_t size = strlen(path) + sizeof "/model.safetensors.index.json";
    char *name = malloc(size);
    struct stat info;

    REQUIRE(name, CLPEFT_OUT_OF_HOST_MEMORY, "out of memory");
    snprintf(name, size, "%s/config.json", path);
    TRY(clp_config_read(&w->config, name));
    status = clp_config_text(w->config, "model_type", NULL, &w->type);
    if (status != CLPEFT_OK) clp_fail_in("%s", name);
    TRY(status);
    snprintf(name, size, "%s/model.safetensors.index.json", path);
    REQUIRE(stat(name, &info) != 0, CLPEFT_UNSUPPORTED, "%s: a model in several files is not known; join them into one",
            name);
    snprintf(name, size, "%s/model.safetensors", path);
    TRY(clpeft_file_open(&w->file, name));
out:
    free(name);
    return status;
}

static clpeft_status open_gguf(clp_pretrained *w, const char *path)
{
    clpeft_status status = CLPEFT_OK;

    TRY(clpeft_file_open(&w->file, path));
    REQUIRE(clpeft_file_format(w->file) == CLPEFT_GGUF, CLPEFT_INVALID_FILE,
            "%s: not a GGUF file; of a safetensors model give the folder", path);
    const clpeft_meta *type = clpeft_file_meta_find(w->file, "general.architecture");
    REQUIRE(type && type->type == CLPEFT_META_STRING, CLPEFT_INVALID_FILE, "%s: general.architecture is missing", path);
    w->type = type->string;
out:
    return status;
}

clpeft_status clp_pretrained_open(clp_pretrained *w, const char *path)
{
    struct stat info;

    *w = (clp_pretrained){ .prefix = "", .hash = FNV_START };
    const int is_file = stat(path, &info) == 0 && S_ISREG(info.st_mode);
    const clpeft_status status = is_file ? open_gguf(w, path) : open_folder(w, path);
    if (status != CLPEFT_OK) clp_pretrained_close(w);
    return status;
}

void clp_pretrained_close(clp_pretrained *w)
{
    clpeft_file_close(w->file);
    json_decref(w->config);
    *w = (clp_pretrained){ 0 };
}

static const clpeft_file_tensor *find_prefixed(const clp_pretrained *w, const char *prefix, const char *name)
{
    char full[256];
    const int n = snprintf(full, sizeof full, "%s%s", prefix, name);
    return n > 0 && (size_t)n < sizeof full ? clpeft_file_find(w->file, full) : NULL;
}

int clp_pretrained_prefix(clp_pretrained *w, const char *const *prefixes, size_t n, const char *name)
{
    for (size_t i = 0; i < n; i++) {
        w->prefix = prefixes[i];
        if (find_prefixed(w, prefixes[i], name)) return 1;
    }
    return 0;
}

int clp_pretrained_has(const clp_pretrained *w, const char *name)
{
    return find_prefixed(w, w->prefix, name) != NULL;
}

clpeft_dtype clp_pretrained_dtype(const clp_pretrained *w, clpeft_dtype wanted)
{
    clpeft_dtype common = wanted;
    size_t seen = 0;

    for (size_t i = 0; i < clpeft_file_tensors(w->file); i++) {
        const clpeft_file_tensor *t = clpeft_file_tensor_at(w->file, i);
        if (t->n_dims != 2 || clpeft_dtype_block(t->dtype) != 1) continue;
        if ((t->dtype != CLPEFT_F16 && t->dtype != CLPEFT_BF16) || (seen++ > 0 && t->dtype != common)) return wanted;
        common = t->dtype;
    }
    return common;
}

/* "[2,3]" */
typedef struct {
    char text[64];
} shape_text;

static shape_text describe(size_t n_dims, const uint64_t *dims)
{
    shape_text shape = { "[" };
    size_t used = 1;

    for (size_t i = 0; i < n_dims && used < sizeof shape.text; i++)
        used += (size_t)snprintf(shape.text + used, sizeof shape.text - used, i ? ",%llu" : "%llu",
                                 (unsigned long long)dims[i]);
    if (used < sizeof shape.text) snprintf(shape.text + used, sizeof shape.text - used, "]");
    return shape;
}

clpeft_status clp_pretrained_shape(clp_pretrained *w, const char *name, size_t n_dims, const size_t *dims,
                                   const clpeft_file_tensor **tensor)
{
    const clpeft_file_tensor *t = find_prefixed(w, w->prefix, name);
    uint64_t wanted[4] = { 0 }, n = 1;
    clpeft_status status = CLPEFT_OK;

    REQUIRE(t, CLPEFT_INVALID_FILE, "tensor %s%s is missing", w->prefix, name);
    int same = t->n_dims == n_dims;
    for (size_t i = 0; i < n_dims; i++) {
        wanted[i] = dims[i], n *= dims[i];
        same = same && t->dims[i] == dims[i];
    }
    REQUIRE(same, CLPEFT_INVALID_FILE, "tensor %s%s is %s, the model needs %s", w->prefix, name,
            describe(t->n_dims, t->dims).text, describe(n_dims, wanted).text);
    REQUIRE(t->elements == n && clpeft_dtype_block(t->dtype) > 0, CLPEFT_UNSUPPORTED,
            "tensor %s%s is of type %s, not a float type", w->prefix, name, t->dtype_name);
    clp_pretrained_hash(w, name, strlen(name));
    clp_pretrained_hash(w, wanted, (n_dims > 2 ? n_dims : 2) * sizeof *wanted);
    hash_bytes(&w->hash, t->data, (size_t)t->bytes,
               (size_t)t->bytes / 4096 | 1); /* odd: every byte of an element has its turn */
    *tensor = t;
out:
    return status;
}

clpeft_status clp_pretrained_find(clp_pretrained *w, const char *name, size_t rows, size_t cols,
                                  const clpeft_file_tensor **tensor)
{
    const size_t dims[] = { rows, cols };
    return clp_pretrained_shape(w, name, cols > 0 ? 2 : 1, dims, tensor);
}

clpeft_status clp_pretrained_vector(clp_pretrained *w, const char *name, size_t n, float *out)
{
    clpeft_status status = CLPEFT_OK;
    const clpeft_file_tensor *tensor = NULL;

    TRY(clp_pretrained_find(w, name, n, 0, &tensor));
    status = clpeft_file_read_f32(tensor, 0, n, out);
out:
    return status;
}

/* A slice at a time: the table is not held twice. */
clpeft_status clp_pretrained_table(clp_pretrained *w, clpeft_context *ctx, const char *name, size_t rows, size_t cols,
                                   clpeft_view *table)
{
    enum { SLICE = 1 << 18 }; /* elements; a multiple of every block */
    clpeft_status status = CLPEFT_OK;
    const clpeft_file_tensor *tensor;
    cl_command_queue queue = NULL;
    float *slice = malloc(SLICE * sizeof *slice);
    cl_mem buf = NULL;

    REQUIRE(slice, CLPEFT_OUT_OF_HOST_MEMORY, "out of memory");
    TRY(clp_pretrained_find(w, name, rows, cols, &tensor));
    TRY(clp_buffer(ctx, rows * cols * sizeof *slice, NULL, &buf));
    TRY(clpeft_queue_create(&queue, ctx));
    for (size_t at = 0; at < rows * cols; at += SLICE) {
        const size_t n = rows * cols - at < SLICE ? rows * cols - at : SLICE;
        TRY(clpeft_file_read_f32(tensor, at, n, slice));
        TRY(clp_write(ctx, queue, buf, at * sizeof *slice, n * sizeof *slice, slice));
    }
    *table = (clpeft_view){ buf, 0, cols };
    buf = NULL;
out:
    if (buf) clReleaseMemObject(buf);
    clp_queue_end(queue);
    free(slice);
    return status;
}

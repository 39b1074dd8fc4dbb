/* peft-forward.c - peft-forward MODEL_DIR ADAPTER_DIR EXPECTED.safetensors
 *
 * Loads an adapter of PEFT onto a model and prints the largest error of its last hidden states, with the adapter
 * beside the weights and merged into them, against what PEFT computed:
 *
 *     input_ids, attention_mask                      I64 [B,S]      padding on the right
 *     last_hidden_state, last_hidden_state_merged    F32 [B,S,D]    compared at all tokens that are no padding
 *
 * Exit status: 0 both within 2e-4, 1 not, 2 an error. */
#include "clpeft.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static const double BOUND = 2e-4;

static void check(clpeft_status status, const char *what)
{
    if (status == CLPEFT_OK) return;
    fprintf(stderr, "peft-forward: %s: %s\n", what, clpeft_error_message());
    exit(2);
}

static void require(int holds, const char *what)
{
    if (holds) return;
    fprintf(stderr, "peft-forward: %s\n", what);
    exit(2);
}

typedef struct {
    clpeft_file *file;
    size_t B, S; /* rows and columns of input_ids */
    int32_t *row_start, *tokens;
    clpeft_batch batch;
} expected;

static int64_t integer(const clpeft_file_tensor *t, size_t i)
{
    int64_t value;
    memcpy(&value, (const char *)t->data + i * sizeof value, sizeof value);
    return value;
}

static void read_expected(expected *e, const char *path)
{
    size_t T = 0;

    check(clpeft_file_open(&e->file, path), "EXPECTED");
    const clpeft_file_tensor *ids = clpeft_file_find(e->file, "input_ids"),
                             *mask = clpeft_file_find(e->file, "attention_mask");
    require(ids && mask && ids->dtype == CLPEFT_I64 && mask->dtype == CLPEFT_I64 && ids->n_dims == 2 &&
                mask->n_dims == 2 && ids->elements > 0 && ids->dims[0] == mask->dims[0] &&
                ids->dims[1] == mask->dims[1],
            "input_ids and attention_mask are not both I64 [B,S]");
    e->B = (size_t)ids->dims[0], e->S = (size_t)ids->dims[1];
    e->row_start = calloc(e->B + 1, sizeof *e->row_start);
    e->tokens = calloc(e->B * e->S, sizeof *e->tokens);
    for (size_t b = 0; b < e->B; b++) {
        for (size_t s = 0; s < e->S; s++) {
            const size_t i = b * e->S + s;
            require(s == 0 || integer(mask, i) <= integer(mask, i - 1), "padding that is not on the right");
            if (integer(mask, i) != 0) e->tokens[T++] = (int32_t)integer(ids, i);
        }
        e->row_start[b + 1] = (int32_t)T;
    }
    e->batch = (clpeft_batch){ .S = e->B, .row_start = e->row_start, .tokens = e->tokens };
}

/* Last hidden states of the batch against a tensor [B,S,D]. */
static double largest_error(const expected *e, const char *name, clpeft_model *model, clpeft_adapter *adapter,
                            cl_command_queue queue)
{
    const clpeft_file_tensor *want = clpeft_file_find(e->file, name);
    const size_t T = (size_t)e->row_start[e->B];
    clpeft_model_info info;
    clpeft_view y;
    double largest = 0;

    clpeft_model_get_info(model, &info);
    const size_t D = info.width;
    require(want && want->n_dims == 3 && want->dims[0] == e->B && want->dims[1] == e->S && want->dims[2] == D, name);
    float *have = malloc(T * D * sizeof *have), *row = malloc(D * sizeof *row);
    check(clpeft_model_forward(model, adapter, &e->batch, 0, &y, queue, 0, NULL, NULL), "forward");
    for (size_t t = 0; t < T; t++)
        check(clEnqueueReadBuffer(queue, y.buf, CL_TRUE, (y.off + t * y.ld) * sizeof *have, D * sizeof *have,
                                  have + t * D, 0, NULL, NULL),
              "clEnqueueReadBuffer");
    for (size_t b = 0; b < e->B; b++)
        for (size_t t = (size_t)e->row_start[b]; t < (size_t)e->row_start[b + 1]; t++) {
            check(clpeft_file_read_f32(want, (b * e->S + t - (size_t)e->row_start[b]) * D, D, row), name);
            for (size_t d = 0; d < D; d++) {
                const double error = fabs((double)have[t * D + d] - (double)row[d]);
                if (!(error <= largest)) largest = error; /* NaN too, and then it stays */
            }
        }
    free(have);
    free(row);
    return largest;
}

static clpeft_model *load(clpeft_context *ctx, const expected *e, const char *path)
{
    const clpeft_model_options options = { .max_tokens = (size_t)e->row_start[e->B], .max_sequences = e->B };
    clpeft_model *model;
    check(clpeft_model_load(&model, ctx, path, &options), "MODEL_DIR");
    return model;
}

static void copy_config(const char *from, const char *to)
{
    static char text[1 << 16];
    char path[4096];
    snprintf(path, sizeof path, "%s/config.json", from);
    FILE *file = fopen(path, "rb");
    const size_t n = file ? fread(text, 1, sizeof text, file) : 0;
    if (file) fclose(file);
    require(n > 0 && n < sizeof text, "config.json of the model cannot be read");
    snprintf(path, sizeof path, "%s/config.json", to);
    check(clpeft_file_replace(path, text, n), "config.json");
}

/* A copy of the model with the adapter in its weights, loaded again. */
static clpeft_model *load_merged(clpeft_context *ctx, const expected *e, clpeft_adapter *adapter,
                                 const clpeft_model *model, const char *base)
{
    char dir[] = "/tmp/clpeft-merged-XXXXXX", path[64];

    require(mkdtemp(dir) != NULL, "no temporary folder");
    copy_config(base, dir);
    snprintf(path, sizeof path, "%s/model.safetensors", dir);
    check(clpeft_merge_write(adapter, model, base, path, CLPEFT_OTHER, NULL), "merge");
    clpeft_model *merged = load(ctx, e, dir);
    unlink(path);
    snprintf(path, sizeof path, "%s/config.json", dir);
    unlink(path);
    rmdir(dir);
    return merged;
}

int main(int argc, char **argv)
{
    expected e;
    clpeft_context *ctx;
    cl_command_queue queue;
    clpeft_peft *peft;
    clpeft_peft_info info;
    clpeft_site *sites;
    size_t n;
    clpeft_params *params;
    clpeft_adapter *adapter;

    require(argc == 4, "usage: peft-forward MODEL_DIR ADAPTER_DIR EXPECTED.safetensors");
    read_expected(&e, argv[3]);
    check(clpeft_context_create(&ctx, NULL), "device");
    check(clpeft_queue_create(&queue, ctx), "device");
    clpeft_model *model = load(ctx, &e, argv[1]);
    check(clpeft_peft_open(&peft, model, argv[2]), "ADAPTER_DIR");
    clpeft_peft_get_info(peft, &info);
    check(clpeft_model_sites(model, info.sites, &sites, &n), "sites");
    check(clpeft_params_create(&params, ctx), "adapter");
    check(clpeft_adapter_create(&adapter, params, sites, n, &info.adapter), "adapter");
    check(clpeft_params_allocate(params), "adapter");
    check(clpeft_peft_load(peft, adapter, 0, queue), "adapter");
    check(clpeft_adapter_materialize(adapter, 0, 0, queue, 0, NULL, NULL), "adapter");
    const double error = largest_error(&e, "last_hidden_state", model, adapter, queue);
    clpeft_model *merged = load_merged(ctx, &e, adapter, model, argv[1]);
    const double error_merged = largest_error(&e, "last_hidden_state_merged", merged, NULL, queue);
    printf("adapter: largest error %.3g\nmerged: largest error %.3g\n", error, error_merged);

    clpeft_adapter_destroy(adapter);
    clpeft_params_destroy(params);
    clpeft_peft_close(peft);
    clpeft_model_destroy(merged);
    clpeft_model_destroy(model);
    clReleaseCommandQueue(queue);
    clpeft_context_destroy(ctx);
    clpeft_file_close(e.file);
    free(sites), free(e.row_start), free(e.tokens);
    return error <= BOUND && error_merged <= BOUND ? 0 : 1;
}

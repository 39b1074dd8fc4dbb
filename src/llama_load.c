/* llama_load.c - a decoder of LLaMA's kind from a Hugging Face folder or a GGUF file: weights, memory for activations.
 *
 * Matrices of blocks (Q4_1, ...) are kept as they are where all that lie in one linear layer, in all blocks of the model, have one
 * type; otherwise they are widened to the type that dense weights are kept in. */
#include "llama.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* ---- matrices of the blocks ------------------------------------------------------------------------------------- */

/* A matrix of the file: rows [row, row + N) of linear layer `layer` of a block. turned: its rows are heads that GGUF stores
 * with rotary pairs side by side. */
typedef struct {
    const char *path, *gguf;
    size_t layer, row, N, K;
    int turned;
} dense;
enum { DENSES = 7 };

static void list_denses(const clpeft_model_info *i, dense *list)
{
    const size_t D = i->width, F = i->ffn, Q = i->heads * i->head_size, K = i->kv_heads * i->head_size;
    const dense all[DENSES] = {
        { "self_attn.q_proj", "attn_q", LLAMA_QKV, 0, Q, D, 1 },
        { "self_attn.k_proj", "attn_k", LLAMA_QKV, Q, K, D, 1 },
        { "self_attn.v_proj", "attn_v", LLAMA_QKV, Q + K, K, D, 0 },
        { "self_attn.o_proj", "attn_output", LLAMA_OUTPUT, 0, D, Q, 0 },
        { "mlp.gate_proj", "ffn_gate", LLAMA_GATE_UP, 0, F, D, 0 },
        { "mlp.up_proj", "ffn_up", LLAMA_GATE_UP, F, F, D, 0 },
        { "mlp.down_proj", "ffn_down", LLAMA_DOWN, 0, D, F, 0 },
    };
    memcpy(list, all, sizeof all);
}

/* "layers.0.PATH.weight" or "blk.0.GGUF.weight" */
static void block_name(const clp_pretrained *w, size_t b, const char *path, const char *gguf, char name[96])
{
    snprintf(name, 96, w->config ? "layers.%zu.%s.weight" : "blk.%zu.%s.weight", b, w->config ? path : gguf);
}

/* All matrices, [layers][DENSES]. */
static clpeft_status find_denses(const clpeft_model *model, clp_pretrained *w, const dense *list,
                                 const clpeft_file_tensor **found)
{
    clpeft_status status = CLPEFT_OK;
    char name[96];

    for (size_t i = 0; i < model->info.layers * DENSES; i++) {
        const dense *d = &list[i % DENSES];
        block_name(w, i / DENSES, d->path, d->gguf, name);
        TRY(clp_pretrained_find(w, name, d->N, d->K, &found[i]));
    }
out:
    return status;
}

static clpeft_dtype kept_type(const clpeft_model *model, const clp_pretrained *w, size_t layer, const dense *list,
                              const clpeft_file_tensor *const *found)
{
    clpeft_dtype type = CLPEFT_OTHER;

    for (size_t i = 0; i < model->info.layers * DENSES; i++) {
        if (list[i % DENSES].layer != layer) continue;
        if (clpeft_dtype_block(found[i]->dtype) == 1 || (type != CLPEFT_OTHER && type != found[i]->dtype))
            return clp_pretrained_dtype(w, model->options.weights);
        type = found[i]->dtype;
    }
    return type;
}

/* Rows from GGUF's order to Hugging Face's: in a head of size d, row 2 j + t goes to row t d / 2 + j. */
static void turn_rows(const char *from, size_t N, size_t d, size_t row_bytes, char *to)
{
    for (size_t i = 0; i < N; i++) {
        const size_t head = i / d * d, j = i % d / 2, t = i % 2;
        memcpy(to + (head + t * (d / 2) + j) * row_bytes, from + i * row_bytes, row_bytes);
    }
}

static clpeft_status load_dense(clpeft_model *model, const clp_pretrained *w, size_t b, const dense *d,
                                const clpeft_file_tensor *weight, clpeft_dtype kept, cl_command_queue queue)
{
    const size_t n = d->N * d->K, row_bytes = (size_t)weight->bytes / d->N;
    clpeft_linear *linear = model->layers[b * LLAMA_LAYERS + d->layer].linear;
    clpeft_status status = CLPEFT_OK;
    const void *data = weight->data;
    clpeft_dtype dtype = weight->dtype;
    char *turned = NULL;
    float *wide = NULL;

    if (d->turned && !w->config) {
        turned = malloc((size_t)weight->bytes);
        REQUIRE(turned, CLPEFT_OUT_OF_HOST_MEMORY, "out of memory: tensor %s", weight->name);
        turn_rows(data, d->N, model->info.head_size, row_bytes, turned);
        data = turned;
    }
    if (clpeft_dtype_block(dtype) > 1 && dtype != kept) {
        wide = malloc(n * sizeof *wide);
        REQUIRE(wide, CLPEFT_OUT_OF_HOST_MEMORY, "out of memory: tensor %s", weight->name);
        TRY(clpeft_dtype_to_f32(dtype, data, n, wide));
        data = wide, dtype = CLPEFT_F32;
    }
    TRY(clpeft_linear_load(linear, d->row, d->N, data, dtype, NULL, queue));
out:
    free(wide);
    free(turned);
    return status;
}

static clpeft_status load_blocks(clpeft_model *model, clp_pretrained *w)
{
    const size_t D = model->info.width, F = model->info.ffn, n = model->info.layers * DENSES;
    const size_t Q = model->info.heads * model->info.head_size, K = model->info.kv_heads * model->info.head_size;
    const size_t rows[] = { [LLAMA_QKV] = Q + 2 * K, [LLAMA_OUTPUT] = D, [LLAMA_GATE_UP] = 2 * F, [LLAMA_DOWN] = D };
    const size_t columns[] = { [LLAMA_QKV] = D, [LLAMA_OUTPUT] = Q, [LLAMA_GATE_UP] = D, [LLAMA_DOWN] = F };
    const clpeft_file_tensor **found = calloc(n, sizeof *found);
    clpeft_linear_options block[LLAMA_LAYERS];
    clpeft_status status = CLPEFT_OK;
    cl_command_queue queue = NULL;
    dense list[DENSES];

    REQUIRE(found, CLPEFT_OUT_OF_HOST_MEMORY, "out of memory");
    list_denses(&model->info, list);
    TRY(find_denses(model, w, list, found));
    for (size_t i = 0; i < LLAMA_LAYERS; i++)
        block[i] = (clpeft_linear_options){ .N = rows[i],
                                            .K = columns[i],
                                            .dtype = kept_type(model, w, i, list, found),
                                            .forward_only = model->options.forward_only,
                                            .one_copy = model->options.one_copy };
    TRY(clp_model_make_layers(model, block));
    TRY(clpeft_queue_create(&queue, model->ctx));
    for (size_t i = 0; i < n; i++) {
        const dense *d = &list[i % DENSES];
        TRY(load_dense(model, w, i / DENSES, d, found[i], block[d->layer].dtype, queue));
    }
out:
    clp_queue_end(queue);
    free(found);
    return status;
}

/* ---- tables and norms ------------------------------------------------------------------------------------------- */

static clpeft_status load_table(const clpeft_model *model, clp_pretrained *w, const char *name, clp_table *table)
{
    clpeft_status status = CLPEFT_OK;
    const clpeft_file_tensor *tensor;

    TRY(clp_pretrained_find(w, name, model->info.vocab, model->info.width, &tensor));
    TRY(clp_table_create(table, model->ctx, tensor));
out:
    return status;
}

/* lm_head stands beside the model in a Hugging Face file, without its prefix. */
static clpeft_status load_tables(clpeft_model *model, clp_pretrained *w)
{
    clp_llama_net *net = model->net;
    const char *prefix = w->prefix;
    clpeft_status status = CLPEFT_OK;

    TRY(load_table(model, w, w->config ? "embed_tokens.weight" : "token_embd.weight", &net->embed));
    model->output = &net->embed;
    if (net->tied) goto out;
    w->prefix = "";
    TRY(load_table(model, w, w->config ? "lm_head.weight" : "output.weight", &net->output));
    model->output = &net->output;
out:
    w->prefix = prefix;
    return status;
}

static clpeft_status load_norms(clpeft_model *model, clp_pretrained *w)
{
    clp_llama_net *net = model->net;
    const size_t D = model->info.width, n = 2 * model->info.layers;
    float *host = malloc((n + 1) * D * sizeof *host);
    clpeft_status status = CLPEFT_OK;
    char name[96];

    net->norm = calloc(n + 1, sizeof *net->norm);
    REQUIRE(host && net->norm, CLPEFT_OUT_OF_HOST_MEMORY, "out of memory");
    for (size_t i = 0; i < n; i++) {
        if (i % 2 == 0)
            block_name(w, i / 2, "input_layernorm", "attn_norm", name);
        else
            block_name(w, i / 2, "post_attention_layernorm", "ffn_norm", name);
        TRY(clp_pretrained_vector(w, name, D, host + i * D));
    }
    TRY(clp_pretrained_vector(w, w->config ? "norm.weight" : "output_norm.weight", D, host + n * D));
    TRY(clp_buffer(model->ctx, (n + 1) * D * sizeof *host, host, &net->norms));
    for (size_t i = 0; i <= n; i++) net->norm[i] = (clpeft_view){ net->norms, i * D, 1 };
out:
    free(host);
    return status;
}

/* ---- memory ----------------------------------------------------------------------------------------------------- */

static clpeft_status make_buffer(clpeft_model *model, size_t n, cl_mem *buf)
{
    return clp_buffer(model->ctx, n * sizeof(float), NULL, buf);
}

static size_t lay_out_acts(const clpeft_model *model, clp_llama_acts *a, cl_mem buf)
{
    const clpeft_model_info *i = &model->info;
    const size_t T = model->options.max_tokens;
    clpeft_view at = { buf, 0, 1 };

    a->stat1 = clp_carve(&at, T, 1);
    a->qkv = clp_carve(&at, T, (i->heads + 2 * i->kv_heads) * i->head_size);
    a->o = clp_carve(&at, T, i->heads * i->head_size);
    a->lse = clp_carve(&at, T, i->heads);
    a->x1 = clp_carve(&at, T, i->width);
    a->stat2 = clp_carve(&at, T, 1);
    a->gate_up = clp_carve(&at, T, 2 * i->ffn);
    return at.off;
}

static size_t lay_out_scratch(const clpeft_model *model, cl_mem buf)
{
    const clpeft_model_info *i = &model->info;
    clp_llama_net *net = model->net;
    const size_t T = model->options.max_tokens;
    clpeft_view at = { buf, 0, 1 }, again;

    net->y = clp_carve(&at, T, i->width);
    net->stat = clp_carve(&at, T, 1);
    net->n = clp_carve(&at, T, i->width);
    again = at;
    net->s = clp_carve(&at, T, i->ffn);
    if (model->options.forward_only) return at.off;
    net->ds = clp_carve(&at, T, i->ffn);
    net->dqkv = clp_carve(&again, T, (i->heads + 2 * i->kv_heads) * i->head_size);
    net->d_o = clp_carve(&again, T, i->heads * i->head_size);
    if (again.off > at.off) at = again;
    net->dn = clp_carve(&at, T, i->width);
    net->dsum = clp_carve(&at, T, i->heads);
    return at.off;
}

/* Without a backward one buffer is every block's input and output. */
static size_t lay_out_stream(const clpeft_model *model, cl_mem buf)
{
    clp_llama_net *net = model->net;
    clpeft_view at = { buf, 0, 1 };

    for (size_t b = 0; b <= model->info.layers; b++)
        net->x[b] = b > 0 && model->options.forward_only ? net->x[0]
                                                         : clp_carve(&at, model->options.max_tokens, model->info.width);
    return at.off;
}

static clpeft_status make_memory(clpeft_model *model)
{
    clp_llama_net *net = model->net;
    clpeft_status status = CLPEFT_OK;

    net->n_acts = model->options.forward_only || model->options.recompute ? 1 : model->info.layers;
    net->acts = calloc(net->n_acts, sizeof *net->acts);
    net->memory = calloc(net->n_acts, sizeof(cl_mem));
    net->x = calloc(model->info.layers + 1, sizeof *net->x);
    REQUIRE(net->acts && net->memory && net->x, CLPEFT_OUT_OF_HOST_MEMORY, "out of memory");
    for (size_t b = 0; b < net->n_acts; b++) {
        TRY(make_buffer(model, lay_out_acts(model, &net->acts[b], NULL), &net->memory[b]));
        lay_out_acts(model, &net->acts[b], net->memory[b]);
    }
    TRY(make_buffer(model, lay_out_stream(model, NULL), &net->stream));
    lay_out_stream(model, net->stream);
    TRY(make_buffer(model, lay_out_scratch(model, NULL), &net->scratch));
    lay_out_scratch(model, net->scratch);
out:
    if (status != CLPEFT_OK) clp_fail_in("activations of %zu tokens", model->options.max_tokens);
    return status;
}

/* ---- all of it -------------------------------------------------------------------------------------------------- */

static void list_modules(clpeft_model *model)
{
    const clpeft_model_info *i = &model->info;
    const size_t D = i->width, F = i->ffn, H = i->heads, Hk = i->kv_heads, d = i->head_size;
    const clp_module all[] = {
        { "q_proj", "query", "self_attn.q_proj", NULL, LLAMA_QKV, 0, H, d },
        { "k_proj", "key", "self_attn.k_proj", NULL, LLAMA_QKV, H * d, Hk, d },
        { "v_proj", "value", "self_attn.v_proj", NULL, LLAMA_QKV, (H + Hk) * d, Hk, d },
        { "o_proj", "output", "self_attn.o_proj", NULL, LLAMA_OUTPUT, 0, 1, D },
        { "gate_proj", "gate", "mlp.gate_proj", NULL, LLAMA_GATE_UP, 0, 1, F },
        { "up_proj", "up", "mlp.up_proj", NULL, LLAMA_GATE_UP, F, 1, F },
        { "down_proj", "down", "mlp.down_proj", NULL, LLAMA_DOWN, 0, 1, D },
    };
    memcpy(model->modules, all, sizeof all);
    model->n_modules = LENGTH(all);
    model->per_block = LLAMA_LAYERS;
}

clpeft_status clp_llama_load(clpeft_model *model, clp_pretrained *w)
{
    static const char *const prefixes[] = { "model.", "" };
    const char *embed = w->config ? "embed_tokens.weight" : "token_embd.weight";
    clpeft_status status = CLPEFT_OK;

    model->net = calloc(1, sizeof(clp_llama_net));
    REQUIRE(model->net, CLPEFT_OUT_OF_HOST_MEMORY, "out of memory");
    TRY(clp_llama_configure(model, w));
    REQUIRE(clp_pretrained_prefix(w, prefixes, LENGTH(prefixes), embed), CLPEFT_INVALID_FILE,
            "tensor %s is missing, also with model. before it", embed);
    list_modules(model);
    TRY(load_tables(model, w));
    TRY(load_norms(model, w));
    TRY(load_blocks(model, w));
    TRY(make_memory(model));
out:
    return status;
}

static void release(cl_mem buf)
{
    if (buf) clReleaseMemObject(buf);
}

void clp_llama_destroy(clpeft_model *model)
{
    clp_llama_net *net = model->net;

    for (size_t b = 0; net->memory && b < net->n_acts; b++) release(net->memory[b]);
    release(net->stream);
    release(net->scratch);
    release(net->norms);
    clp_table_destroy(&net->embed);
    clp_table_destroy(&net->output);
    free(net->memory);
    free(net->acts);
    free(net->x);
    free(net->norm);
    free(net);
}

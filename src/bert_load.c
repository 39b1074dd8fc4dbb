/* bert_load.c - a BERT or RoBERTa encoder from a Hugging Face folder: configuration, weights, memory for activations. */
#include "bert.h"

#include "file/names.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* ---- configuration ---------------------------------------------------------------------------------------------- */

/* What would make the network another one. */
static clpeft_status refuse_unknown(const json_t *config)
{
    clpeft_status status = CLPEFT_OK;
    const char *positions;
    int decoder, cross;

    TRY(clp_config_text(config, "position_embedding_type", "absolute", &positions));
    REQUIRE(strcmp(positions, "absolute") == 0, CLPEFT_UNSUPPORTED,
            "position_embedding_type \"%s\": only absolute is known", clp_quote(positions, strlen(positions)).text);
    TRY(clp_config_flag(config, "is_decoder", 0, &decoder));
    TRY(clp_config_flag(config, "add_cross_attention", 0, &cross));
    REQUIRE(!decoder && !cross, CLPEFT_UNSUPPORTED,
            "is_decoder or add_cross_attention is true: only encoders are known");
out:
    return status;
}

/* RoBERTa counts positions from the padding token's id + 1. */
static clpeft_status read_positions(const clp_pretrained *w, clp_bert_net *net, clpeft_model_info *info)
{
    clpeft_status status = CLPEFT_OK;
    size_t padding;

    TRY(clp_config_size(w->config, "max_position_embeddings", 512, 1, 1 << 24, &net->P));
    if (strcmp(w->type, "bert") != 0) {
        TRY(clp_config_size(w->config, "pad_token_id", 1, 0, 1 << 24, &padding));
        net->first = padding + 1;
    }
    REQUIRE(net->first < net->P, CLPEFT_INVALID_FILE, "max_position_embeddings is %zu, the first position %zu", net->P,
            net->first);
    info->positions = net->P - net->first;
out:
    return status;
}

/* Defaults of absent keys are those of transformers' BertConfig. */
static clpeft_status read_config(clpeft_model *model, clp_pretrained *w)
{
    clp_bert_net *net = model->net;
    clpeft_model_info *info = &model->info;
    const json_t *config = w->config;
    clpeft_status status = CLPEFT_OK;
    double eps;

    REQUIRE(config, CLPEFT_UNSUPPORTED, "BERT from GGUF is not known");
    info->family = CLPEFT_BERT;
    TRY(clp_config_size(config, "hidden_size", 768, 1, 1 << 16, &info->width));
    TRY(clp_config_size(config, "num_hidden_layers", 12, 1, 1 << 10, &info->layers));
    TRY(clp_config_size(config, "num_attention_heads", 12, 1, 1 << 16, &info->heads));
    TRY(clp_config_size(config, "intermediate_size", 3072, 1, 1 << 18, &info->ffn));
    TRY(clp_config_size(config, "vocab_size", 30522, 1, 1 << 24, &info->vocab));
    TRY(clp_config_number(config, "layer_norm_eps", 1e-12, &eps));
    TRY(refuse_unknown(config));
    TRY(clp_config_activation(config, "hidden_act", &net->act));
    TRY(read_positions(w, net, info));
    REQUIRE(info->width % info->heads == 0 && info->width / info->heads <= 256, CLPEFT_UNSUPPORTED,
            "hidden_size %zu in %zu heads: a head is a whole number of columns, at most 256", info->width, info->heads);
    REQUIRE(eps > 0 && eps < 1, CLPEFT_INVALID_FILE, "layer_norm_eps is %g, not between 0 and 1", eps);
    info->head_size = info->width / info->heads;
    info->kv_heads = info->heads;
    info->eps = (float)eps;
    net->V = info->vocab;
    const uint64_t facts[] = { info->heads, (uint64_t)net->act, net->first };
    clp_pretrained_hash(w, facts, sizeof facts);
    clp_pretrained_hash(w, &info->eps, sizeof info->eps);
out:
    return status;
}

/* ---- weights ---------------------------------------------------------------------------------------------------- */

static clpeft_status load_tables(clpeft_model *model, clp_pretrained *w)
{
    clp_bert_net *net = model->net;
    const size_t D = model->info.width;
    clpeft_status status = CLPEFT_OK;
    size_t types;

    TRY(clp_config_size(w->config, "type_vocab_size", 2, 1, 1 << 24, &types));
    TRY(clp_pretrained_table(w, model->ctx, "embeddings.word_embeddings.weight", net->V, D, &net->word));
    TRY(clp_pretrained_table(w, model->ctx, "embeddings.position_embeddings.weight", net->P, D, &net->position));
    TRY(clp_pretrained_table(w, model->ctx, "embeddings.token_type_embeddings.weight", types, D, &net->type));
out:
    return status;
}

/* weight and bias of a layer norm; older files call them gamma and beta. */
static clpeft_status load_norm(clp_pretrained *w, const char *path, size_t D, float *gamma, float *beta)
{
    static const char *const names[][2] = { { "weight", "bias" }, { "gamma", "beta" } };
    clpeft_status status = CLPEFT_OK;
    char name[128];

    snprintf(name, sizeof name, "%s.gamma", path);
    const char *const *pair = names[clp_pretrained_has(w, name)];
    snprintf(name, sizeof name, "%s.%s", path, pair[0]);
    TRY(clp_pretrained_vector(w, name, D, gamma));
    snprintf(name, sizeof name, "%s.%s", path, pair[1]);
    TRY(clp_pretrained_vector(w, name, D, beta));
out:
    return status;
}

static clpeft_status load_norms(clpeft_model *model, clp_pretrained *w)
{
    clp_bert_net *net = model->net;
    const size_t D = model->info.width, n = 1 + 2 * model->info.layers;
    float *host = malloc(n * 2 * D * sizeof *host);
    clpeft_status status = CLPEFT_OK;
    char path[96];

    net->norm = calloc(n - 1, sizeof *net->norm);
    REQUIRE(host && net->norm, CLPEFT_OUT_OF_HOST_MEMORY, "out of memory");
    TRY(load_norm(w, "embeddings.LayerNorm", D, host, host + D));
    for (size_t i = 1; i < n; i++) {
        const char *side = i % 2 ? "attention.output" : "output";
        snprintf(path, sizeof path, "encoder.layer.%zu.%s.LayerNorm", (i - 1) / 2, side);
        TRY(load_norm(w, path, D, host + 2 * i * D, host + (2 * i + 1) * D));
    }
    TRY(clp_buffer(model->ctx, n * 2 * D * sizeof *host, host, &net->norms));
    for (size_t i = 0; i < n; i++)
        *(i ? &net->norm[i - 1] : &net->embed) =
            (clp_bert_norm){ { net->norms, 2 * i * D, 1 }, { net->norms, (2 * i + 1) * D, 1 } };
out:
    free(host);
    return status;
}

/* A dense layer of the file: rows [row, row + N) of linear layer `layer` of a block. */
typedef struct {
    const char *path;
    size_t layer, row, N, K;
} dense;
enum { DENSES = 6 };

static void list_denses(const clpeft_model_info *i, dense *list)
{
    const size_t D = i->width, F = i->ffn;
    const dense all[DENSES] = {
        { "attention.self.query", QKV, 0, D, D },     { "attention.self.key", QKV, D, D, D },
        { "attention.self.value", QKV, 2 * D, D, D }, { "attention.output.dense", OUTPUT, 0, D, D },
        { "intermediate.dense", UP, 0, F, D },        { "output.dense", DOWN, 0, D, F },
    };
    memcpy(list, all, sizeof all);
}

static clpeft_status load_dense(clpeft_model *model, clp_pretrained *w, size_t b, const dense *d, float *bias,
                                cl_command_queue queue)
{
    clpeft_status status = CLPEFT_OK;
    const clpeft_file_tensor *weight;
    char name[128];

    snprintf(name, sizeof name, "encoder.layer.%zu.%s.weight", b, d->path);
    TRY(clp_pretrained_find(w, name, d->N, d->K, &weight));
    snprintf(name, sizeof name, "encoder.layer.%zu.%s.bias", b, d->path);
    TRY(clp_pretrained_vector(w, name, d->N, bias));
    TRY(clpeft_linear_load(model->layers[b * PER_BLOCK + d->layer].linear, d->row, d->N, weight->data, weight->dtype,
                           bias, queue));
out:
    return status;
}

static clpeft_status load_blocks(clpeft_model *model, clp_pretrained *w)
{
    const size_t D = model->info.width, F = model->info.ffn;
    const clpeft_model_options *o = &model->options;
    clpeft_linear_options block[PER_BLOCK];
    const clpeft_dtype dtype = clp_pretrained_dtype(w, o->weights);
    clpeft_status status = CLPEFT_OK;
    cl_command_queue queue = NULL;
    dense list[DENSES];
    float *bias = malloc((D > F ? D : F) * sizeof *bias);

    REQUIRE(bias, CLPEFT_OUT_OF_HOST_MEMORY, "out of memory");
    list_denses(&model->info, list);
    for (size_t i = 0; i < PER_BLOCK; i++)
        block[i] = (clpeft_linear_options){ .N = i == QKV  ? 3 * D
                                                 : i == UP ? F
                                                           : D,
                                            .K = i == DOWN ? F : D,
                                            .dtype = dtype,
                                            .has_bias = 1,
                                            .forward_only = o->forward_only,
                                            .one_copy = o->one_copy };
    TRY(clp_model_make_layers(model, block));
    TRY(clpeft_queue_create(&queue, model->ctx));
    for (size_t b = 0; b < model->info.layers; b++)
        for (size_t i = 0; i < DENSES; i++) TRY(load_dense(model, w, b, &list[i], bias, queue));
out:
    clp_queue_end(queue);
    free(bias);
    return status;
}

/* ---- memory ----------------------------------------------------------------------------------------------------- */

/* A buffer of n elements that a layout asked for. */
static clpeft_status make_buffer(clpeft_model *model, size_t n, cl_mem *buf)
{
    return clp_buffer(model->ctx, n * sizeof(float), NULL, buf);
}

static size_t lay_out_acts(const clpeft_model *model, clp_bert_acts *a, cl_mem buf)
{
    const clpeft_model_info *i = &model->info;
    const size_t T = model->options.max_tokens, D = i->width;
    clpeft_view at = { buf, 0, 1 }, again;

    a->qkv = clp_carve(&at, T, 3 * D);
    a->o = clp_carve(&at, T, D);
    a->lse = clp_carve(&at, T, i->heads);
    a->sum1 = clp_carve(&at, T, D);
    a->stat1 = clp_carve(&at, T, 2);
    a->sum2 = clp_carve(&at, T, D);
    a->stat2 = clp_carve(&at, T, 2);
    if (model->options.forward_only) return at.off;
    again = at;
    a->p = clp_carve(&at, T, i->ffn);
    a->dqkv = clp_carve(&again, T, 3 * D);
    a->d_o = clp_carve(&again, T, D);
    return at.off > again.off ? at.off : again.off;
}

static size_t lay_out_scratch(const clpeft_model *model, cl_mem buf)
{
    clp_bert_net *net = model->net;
    const size_t T = model->options.max_tokens, D = model->info.width;
    clpeft_view at = { buf, 0, 1 };

    net->x1 = clp_carve(&at, T, D);
    net->fp = clp_carve_operand(&at, T, model->info.ffn);
    if (model->options.forward_only) return at.off;
    net->dsum = clp_carve(&at, T, model->info.heads);
    return at.off;
}

/* A block's output may take the place of its input. The first input is kept, which takes longer to make again than a norm;
 * recompute keeps them all. */
static size_t lay_out_stream(const clpeft_model *model, cl_mem buf)
{
    const clpeft_model_options *o = &model->options;
    clp_bert_net *net = model->net;
    clpeft_view at = { buf, 0, 1 };

    for (size_t b = 0; b <= model->info.layers; b++) {
        const int own = b == 0 || o->recompute || (b == 1 && !o->forward_only);
        net->x[b] = own ? clp_carve(&at, o->max_tokens, model->info.width) : net->x[b - 1];
    }
    return at.off;
}

static clpeft_status make_memory(clpeft_model *model)
{
    clp_bert_net *net = model->net;
    clpeft_status status = CLPEFT_OK;

    net->n_acts = model->options.forward_only || model->options.recompute ? 1 : model->info.layers;
    net->acts = calloc(net->n_acts, sizeof *net->acts);
    net->memory = calloc(net->n_acts, sizeof *net->memory);
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
    const size_t D = i->width, F = i->ffn, H = i->heads, d = i->head_size;
    const clp_module all[] = {
        { "query", NULL, "attention.self.query", NULL, QKV, 0, H, d },
        { "key", NULL, "attention.self.key", NULL, QKV, D, H, d },
        { "value", NULL, "attention.self.value", NULL, QKV, 2 * D, H, d },
        { "output", NULL, "attention.output.dense", NULL, OUTPUT, 0, 1, D },
        { "up", NULL, "intermediate.dense", NULL, UP, 0, 1, F },
        { "down", NULL, "output.dense", NULL, DOWN, 0, 1, D },
    };
    memcpy(model->modules, all, sizeof all);
    model->n_modules = LENGTH(all);
    model->per_block = PER_BLOCK;
}

clpeft_status clp_bert_load(clpeft_model *model, clp_pretrained *w)
{
    static const char *const prefixes[] = { "", "bert.", "roberta." };
    clpeft_status status = CLPEFT_OK;

    model->net = calloc(1, sizeof(clp_bert_net));
    REQUIRE(model->net, CLPEFT_OUT_OF_HOST_MEMORY, "out of memory");
    TRY(read_config(model, w));
    REQUIRE(clp_pretrained_prefix(w, prefixes, LENGTH(prefixes), "embeddings.word_embeddings.weight"),
            CLPEFT_INVALID_FILE,
            "tensor embeddings.word_embeddings.weight is missing, also with bert. or roberta. before it");
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

void clp_bert_destroy(clpeft_model *model)
{
    clp_bert_net *net = model->net;

    for (size_t b = 0; net->memory && b < net->n_acts; b++) release(net->memory[b]);
    release(net->stream);
    release(net->scratch);
    release(net->norms);
    release(net->word.buf);
    release(net->position.buf);
    release(net->type.buf);
    free(net->memory);
    free(net->acts);
    free(net->x);
    free(net->norm);
    free(net);
}

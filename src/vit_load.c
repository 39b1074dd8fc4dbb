/* vit_load.c - a vision transformer from a Hugging Face folder: configuration, weights, memory for activations. Two
 * namings are known: that of ViTModel, and that of Dinov2Model, which has LayerScale. */
#include "vit.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Of the modules of a block that the two name differently; and before a block's number in the object of transformers 5. */
typedef struct {
    const char *norm[2], *scale[2], *up, *down, *object_block;
} naming;

static const naming *naming_of(const clp_pretrained *w)
{
    static const naming vit = { { "layernorm_before", "layernorm_after" },
                                { NULL, NULL },
                                "intermediate.dense",
                                "output.dense",
                                "layers." },
                        dinov2 = { { "norm1", "norm2" },
                                   { "layer_scale1.lambda1", "layer_scale2.lambda1" },
                                   "mlp.fc1",
                                   "mlp.fc2",
                                   NULL };
    return strcmp(w->type, "vit") == 0 ? &vit : &dinov2;
}

/* ---- configuration ---------------------------------------------------------------------------------------------- */

/* The pretraining's image size, and the one that is asked for. */
static clpeft_status read_image(clpeft_model *model, const json_t *config, int dinov2)
{
    clp_vit_net *net = model->net;
    clpeft_model_info *i = &model->info;
    clpeft_status status = CLPEFT_OK;
    size_t pretrained;

    TRY(clp_config_size(config, "image_size", 224, 1, 1 << 14, &pretrained));
    TRY(clp_config_size(config, "patch_size", dinov2 ? 14 : 16, 1, 1 << 10, &i->patch_size));
    TRY(clp_config_size(config, "num_channels", 3, 1, 1 << 10, &i->channels));
    REQUIRE(i->patch_size <= pretrained, CLPEFT_INVALID_FILE, "image_size is %zu, patch_size %zu", pretrained,
            i->patch_size);
    i->image_size = model->options.image_size ? model->options.image_size : pretrained;
    REQUIRE(i->image_size <= 1 << 14 && i->image_size % i->patch_size == 0, CLPEFT_INVALID_SIZE,
            "image size %zu: a multiple of the patch size %zu, at most %d", i->image_size, i->patch_size, 1 << 14);
    net->pretrained_side = pretrained / i->patch_size;
    net->K = i->channels * i->patch_size * i->patch_size;
    i->positions = 1 + (i->image_size / i->patch_size) * (i->image_size / i->patch_size);
    REQUIRE(i->positions <= model->options.max_tokens, CLPEFT_INVALID_SIZE,
            "max_tokens is %zu: an image of %zu pixels has %zu tokens", model->options.max_tokens, i->image_size,
            i->positions);
out:
    return status;
}

static clpeft_status read_ffn(const json_t *config, int dinov2, clpeft_model_info *info)
{
    clpeft_status status = CLPEFT_OK;
    size_t ratio;
    int swiglu;

    if (!dinov2) return clp_config_size(config, "intermediate_size", 3072, 1, 1 << 18, &info->ffn);
    TRY(clp_config_flag(config, "use_swiglu_ffn", 0, &swiglu));
    REQUIRE(!swiglu, CLPEFT_UNSUPPORTED, "use_swiglu_ffn is true: only the plain feed-forward layer is known");
    TRY(clp_config_size(config, "mlp_ratio", 4, 1, 64, &ratio));
    info->ffn = ratio * info->width;
out:
    return status;
}

/* Defaults of absent keys are those of transformers' ViTConfig and Dinov2Config. */
static clpeft_status read_config(clpeft_model *model, clp_pretrained *w)
{
    const int dinov2 = strcmp(w->type, "dinov2") == 0;
    clp_vit_net *net = model->net;
    clpeft_model_info *info = &model->info;
    const json_t *config = w->config;
    clpeft_status status = CLPEFT_OK;
    double eps;

    REQUIRE(config, CLPEFT_UNSUPPORTED, "a vision transformer from GGUF is not known");
    info->family = CLPEFT_VIT;
    TRY(clp_config_size(config, "hidden_size", 768, 1, 1 << 16, &info->width));
    TRY(clp_config_size(config, "num_hidden_layers", 12, 1, 1 << 10, &info->layers));
    TRY(clp_config_size(config, "num_attention_heads", 12, 1, 1 << 16, &info->heads));
    TRY(clp_config_number(config, "layer_norm_eps", dinov2 ? 1e-6 : 1e-12, &eps));
    TRY(clp_config_activation(config, "hidden_act", &net->act));
    TRY(read_ffn(config, dinov2, info));
    TRY(read_image(model, config, dinov2));
    REQUIRE(info->width % info->heads == 0 && info->width / info->heads <= 256, CLPEFT_UNSUPPORTED,
            "hidden_size %zu in %zu heads: a head is a whole number of columns, at most 256", info->width, info->heads);
    REQUIRE(eps > 0 && eps < 1, CLPEFT_INVALID_FILE, "layer_norm_eps is %g, not between 0 and 1", eps);
    info->head_size = info->width / info->heads;
    info->kv_heads = info->heads;
    info->eps = (float)eps;
    const uint64_t facts[] = { info->heads, (uint64_t)net->act, info->patch_size };
    clp_pretrained_hash(w, facts, sizeof facts);
    clp_pretrained_hash(w, &info->eps, sizeof info->eps);
out:
    return status;
}

/* ---- embedding -------------------------------------------------------------------------------------------------- */

/* A tensor of any shape as f32 in new host memory. */
static clpeft_status read_shape(clp_pretrained *w, const char *name, size_t n_dims, const size_t *dims, float **values)
{
    clpeft_status status = CLPEFT_OK;
    const clpeft_file_tensor *tensor;

    TRY(clp_pretrained_shape(w, name, n_dims, dims, &tensor));
    *values = malloc((size_t)tensor->elements * sizeof **values);
    REQUIRE(*values, CLPEFT_OUT_OF_HOST_MEMORY, "out of memory");
    TRY(clpeft_file_read_f32(tensor, 0, (size_t)tensor->elements, *values));
out:
    return status;
}

/* The first image's rows of start, [positions,D]. */
static clpeft_status load_start(const clpeft_model *model, clp_pretrained *w, float *start)
{
    const clp_vit_net *net = model->net;
    const clpeft_model_info *i = &model->info;
    const size_t D = i->width, from = net->pretrained_side, to = i->image_size / i->patch_size;
    const size_t token[] = { 1, 1, D }, table[] = { 1, 1 + from * from, D };
    float *class_token = NULL, *position = NULL, *bias = malloc(D * sizeof *bias);
    clpeft_status status = CLPEFT_OK;

    REQUIRE(bias, CLPEFT_OUT_OF_HOST_MEMORY, "out of memory");
    TRY(read_shape(w, "embeddings.cls_token", 3, token, &class_token));
    TRY(read_shape(w, "embeddings.position_embeddings", 3, table, &position));
    TRY(clp_pretrained_vector(w, "embeddings.patch_embeddings.projection.bias", D, bias));
    for (size_t d = 0; d < D; d++) start[d] = class_token[d] + position[d];
    if (from == to)
        memcpy(start + D, position + D, to * to * D * sizeof *start);
    else
        clp_vit_resize(D, from, position + D, to, start + D);
    for (size_t n = D; n < i->positions * D; n++) start[n] += bias[n % D];
out:
    free(class_token);
    free(position);
    free(bias);
    return status;
}

/* As many whole images as a batch takes. */
static clpeft_status load_embedding(clpeft_model *model, clp_pretrained *w, cl_command_queue queue)
{
    clp_vit_net *net = model->net;
    const clpeft_model_info *i = &model->info;
    const clpeft_model_options *o = &model->options;
    const size_t fit = o->max_tokens / i->positions, images = fit < o->max_sequences ? fit : o->max_sequences;
    const size_t T = images * i->positions, one = i->positions * i->width;
    const size_t kernel[] = { i->width, i->channels, i->patch_size, i->patch_size };
    const clpeft_linear_options layer = {
        .N = i->width, .K = net->K, .dtype = clp_pretrained_dtype(w, o->weights), .forward_only = 1
    };
    const clpeft_file_tensor *weight;
    clpeft_status status = CLPEFT_OK;
    float *start = malloc(images * one * sizeof *start);

    REQUIRE(start, CLPEFT_OUT_OF_HOST_MEMORY, "out of memory");
    TRY(load_start(model, w, start));
    for (size_t q = 1; q < images; q++) memcpy(start + q * one, start, one * sizeof *start);
    TRY(clp_buffer(model->ctx, images * one * sizeof *start, start, &net->start.buf));
    net->start.ld = i->width;
    TRY(clp_pretrained_shape(w, "embeddings.patch_embeddings.projection.weight", 4, kernel, &weight));
    TRY(clpeft_linear_create(&net->embed, model->ctx, &layer));
    TRY(clpeft_linear_load(net->embed, 0, i->width, weight->data, weight->dtype, NULL, queue));
    const size_t bytes = clpeft_linear_workspace(net->embed, NULL, T);
    if (bytes > 0) TRY(clpeft_workspace_create(&net->embed_ws, model->ctx, bytes));
    TRY(clp_staging_create(&net->patches, model->ctx, T * net->K));
out:
    free(start);
    return status;
}

/* ---- blocks ----------------------------------------------------------------------------------------------------- */

static clpeft_status load_norm(clp_pretrained *w, const char *path, size_t D, float *values)
{
    clpeft_status status = CLPEFT_OK;
    char name[128];

    snprintf(name, sizeof name, "%s.weight", path);
    TRY(clp_pretrained_vector(w, name, D, values));
    snprintf(name, sizeof name, "%s.bias", path);
    TRY(clp_pretrained_vector(w, name, D, values + D));
out:
    return status;
}

/* Rows of D: gamma and beta of every norm, then LayerScale. */
static clpeft_status load_vectors(clpeft_model *model, clp_pretrained *w)
{
    clp_vit_net *net = model->net;
    const naming *names = naming_of(w);
    const size_t D = model->info.width, halves = 2 * model->info.layers, scales = 2 * (halves + 1);
    float *host = malloc((scales + halves) * D * sizeof *host);
    clpeft_status status = CLPEFT_OK;
    char path[96];

    net->norm = calloc(halves + 1, sizeof *net->norm);
    net->scale = calloc(halves, sizeof *net->scale);
    REQUIRE(host && net->norm && net->scale, CLPEFT_OUT_OF_HOST_MEMORY, "out of memory");
    for (size_t i = 0; i < halves; i++) {
        snprintf(path, sizeof path, "encoder.layer.%zu.%s", i / 2, names->norm[i % 2]);
        TRY(load_norm(w, path, D, host + 2 * i * D));
        if (!names->scale[i % 2]) continue;
        snprintf(path, sizeof path, "encoder.layer.%zu.%s", i / 2, names->scale[i % 2]);
        TRY(clp_pretrained_vector(w, path, D, host + (scales + i) * D));
    }
    TRY(load_norm(w, "layernorm", D, host + 2 * halves * D));
    TRY(clp_buffer(model->ctx, (names->scale[0] ? scales + halves : scales) * D * sizeof *host, host, &net->vectors));
    for (size_t i = 0; i <= halves; i++)
        net->norm[i] = (clp_vit_norm){ { net->vectors, 2 * i * D, 1 }, { net->vectors, (2 * i + 1) * D, 1 } };
    for (size_t i = 0; names->scale[0] && i < halves; i++)
        net->scale[i] = (clpeft_view){ net->vectors, (scales + i) * D, 1 };
out:
    free(host);
    return status;
}

/* Query, key and value of a block may be one tensor of the file, in this order. Its path in all blocks, or NULL. */
static const char *find_fused(const clp_pretrained *w)
{
    static const char *const paths[] = { "attention.attention.qkv", "attention.qkv", "attn.qkv" };
    char name[128];

    for (size_t i = 0; i < LENGTH(paths); i++) {
        snprintf(name, sizeof name, "encoder.layer.0.%s.weight", paths[i]);
        if (clp_pretrained_has(w, name)) return paths[i];
    }
    return NULL;
}

/* A dense layer of the file: rows [row, row + N) of linear layer `layer` of a block. */
static clpeft_status load_dense(clpeft_model *model, clp_pretrained *w, size_t b, const clp_module *d, int has_bias,
                                cl_command_queue queue)
{
    clpeft_linear *linear = model->layers[b * VIT_LAYERS + d->layer].linear;
    const size_t N = d->heads * d->head_size;
    clpeft_status status = CLPEFT_OK;
    const clpeft_file_tensor *weight;
    float *bias = calloc(N, sizeof *bias);
    char name[128];

    REQUIRE(bias, CLPEFT_OUT_OF_HOST_MEMORY, "out of memory");
    snprintf(name, sizeof name, "encoder.layer.%zu.%s.weight", b, d->path);
    TRY(clp_pretrained_find(w, name, N, clpeft_linear_columns(linear), &weight));
    snprintf(name, sizeof name, "encoder.layer.%zu.%s.bias", b, d->path);
    if (has_bias) TRY(clp_pretrained_vector(w, name, N, bias));
    TRY(clpeft_linear_load(linear, d->row, N, weight->data, weight->dtype, bias, queue));
out:
    free(bias);
    return status;
}

static clpeft_status load_blocks(clpeft_model *model, clp_pretrained *w, cl_command_queue queue)
{
    const size_t D = model->info.width, F = model->info.ffn;
    const size_t rows[VIT_LAYERS] = { 3 * D, D, F, D }, columns[VIT_LAYERS] = { D, D, D, F };
    const clpeft_model_options *o = &model->options;
    const clp_module fused = { .path = find_fused(w), .layer = VIT_QKV, .heads = 3, .head_size = D };
    clpeft_linear_options block[VIT_LAYERS];
    clpeft_status status = CLPEFT_OK;
    int qkv_bias;

    TRY(clp_config_flag(w->config, "qkv_bias", 1, &qkv_bias));
    for (size_t i = 0; i < VIT_LAYERS; i++)
        block[i] = (clpeft_linear_options){ .N = rows[i],
                                            .K = columns[i],
                                            .dtype = clp_pretrained_dtype(w, o->weights),
                                            .has_bias = 1,
                                            .forward_only = o->forward_only,
                                            .one_copy = o->one_copy };
    TRY(clp_model_make_layers(model, block));
    model->fused_path = fused.path;
    for (size_t b = 0; b < model->info.layers; b++) {
        if (fused.path) TRY(load_dense(model, w, b, &fused, qkv_bias, queue));
        for (size_t i = 0; i < model->n_modules; i++) {
            const clp_module *d = &model->modules[i];
            if (d->layer == VIT_QKV && fused.path) continue;
            TRY(load_dense(model, w, b, d, d->layer != VIT_QKV || qkv_bias, queue));
        }
    }
out:
    return status;
}

/* ---- all of it -------------------------------------------------------------------------------------------------- */

static void list_modules(clpeft_model *model, const naming *names)
{
    const clpeft_model_info *i = &model->info;
    const size_t D = i->width, F = i->ffn, H = i->heads, d = i->head_size;
    const clp_module all[] = {
        { "query", NULL, "attention.attention.query", "attention.q_proj", VIT_QKV, 0, H, d },
        { "key", NULL, "attention.attention.key", "attention.k_proj", VIT_QKV, D, H, d },
        { "value", NULL, "attention.attention.value", "attention.v_proj", VIT_QKV, 2 * D, H, d },
        { "output", NULL, "attention.output.dense", "attention.o_proj", VIT_OUTPUT, 0, 1, D },
        { "up", NULL, names->up, "mlp.fc1", VIT_UP, 0, 1, F },
        { "down", NULL, names->down, "mlp.fc2", VIT_DOWN, 0, 1, D },
    };
    model->object_block_path = names->object_block;
    memcpy(model->modules, all, sizeof all);
    model->n_modules = LENGTH(all);
    model->per_block = VIT_LAYERS;
}

clpeft_status clp_vit_load(clpeft_model *model, clp_pretrained *w)
{
    static const char *const prefixes[] = { "", "vit.", "dinov2." };
    clpeft_status status = CLPEFT_OK;
    cl_command_queue queue = NULL;

    model->net = calloc(1, sizeof(clp_vit_net));
    REQUIRE(model->net, CLPEFT_OUT_OF_HOST_MEMORY, "out of memory");
    TRY(read_config(model, w));
    REQUIRE(clp_pretrained_prefix(w, prefixes, LENGTH(prefixes), "embeddings.cls_token"), CLPEFT_INVALID_FILE,
            "tensor embeddings.cls_token is missing, also with vit. or dinov2. before it");
    list_modules(model, naming_of(w));
    TRY(clpeft_queue_create(&queue, model->ctx));
    TRY(load_embedding(model, w, queue));
    TRY(load_vectors(model, w));
    TRY(load_blocks(model, w, queue));
    TRY(clp_vit_make_memory(model));
out:
    clp_queue_end(queue);
    return status;
}

/* generate.c - a language model token after token: the cache of keys and values, and the logits of the next token. */
#include "backbone.h"
#include "linear.h"

#include <stdlib.h>

clpeft_status clpeft_model_cache_create(clpeft_model_cache **result, clpeft_model *model, size_t positions)
{
    clpeft_status status = CLPEFT_OK;
    clpeft_model_cache *cache = NULL;
    size_t size;

    REQUIRE(result, CLPEFT_INVALID_ARGUMENT, "clpeft_model_cache_create: cache is NULL");
    TRY(clp_live(model, CLP_HANDLE_MODEL, "clpeft_model_cache_create"));
    const clpeft_model_info *i = &model->info;
    REQUIRE(model->output, CLPEFT_UNSUPPORTED, "clpeft_model_cache_create: %s is not a language model", i->name);
    if (positions == 0) positions = i->positions;
    REQUIRE(positions <= i->positions, CLPEFT_INVALID_SIZE,
            "clpeft_model_cache_create: %zu positions: the model has %zu", positions, i->positions);
    REQUIRE(!clp_mul(positions, 2 * sizeof(float) * i->kv_heads * i->head_size, &size), CLPEFT_INVALID_SIZE,
            "clpeft_model_cache_create: %zu positions: too many", positions);
    cache = clp_handle_create(sizeof *cache, CLP_HANDLE_CACHE);
    REQUIRE(cache, CLPEFT_OUT_OF_HOST_MEMORY, "clpeft_model_cache_create: out of memory");
    cache->model = model;
    cache->positions = positions;
    cache->blocks = calloc(i->layers, sizeof *cache->blocks);
    REQUIRE(cache->blocks, CLPEFT_OUT_OF_HOST_MEMORY, "clpeft_model_cache_create: out of memory");
    cache->n_blocks = i->layers;
    for (size_t b = 0; b < i->layers; b++) TRY(clp_buffer(model->ctx, size, NULL, &cache->blocks[b]));
    TRY(clp_buffer(model->ctx, sizeof(float) * i->vocab, NULL, &cache->logits));
    *result = cache;
    cache = NULL;
out:
    clpeft_model_cache_destroy(cache);
    return status;
}

void clpeft_model_cache_destroy(clpeft_model_cache *cache)
{
    if (!clp_handle_end(cache, CLP_HANDLE_CACHE)) return;
    for (size_t b = 0; b < cache->n_blocks; b++)
        if (cache->blocks[b]) clReleaseMemObject(cache->blocks[b]);
    if (cache->logits) clReleaseMemObject(cache->logits);
    free(cache->blocks);
    free(cache);
}

size_t clpeft_model_cache_length(const clpeft_model_cache *cache)
{
    return clp_is_live(cache, CLP_HANDLE_CACHE) ? cache->length : 0;
}

void clpeft_model_cache_cut(clpeft_model_cache *cache, size_t length)
{
    if (clp_is_live(cache, CLP_HANDLE_CACHE) && length < cache->length) cache->length = length;
}

/* ---- the next token --------------------------------------------------------------------------------------------- */

/* The model's forward of some tokens more, *last: the hidden state of the last one. */
static clpeft_status read_on(clpeft_model_cache *cache, const clpeft_adapter *adapter, size_t n, const int32_t *tokens,
                             clpeft_view *last, cl_command_queue queue)
{
    const int32_t row_start[] = { 0, (int32_t)n };
    const clpeft_batch batch = { .S = 1, .row_start = row_start, .tokens = tokens };
    clpeft_model *model = cache->model;
    clpeft_view y;

    model->cache = cache;
    const clpeft_status status = clpeft_model_forward(model, adapter, &batch, 0, &y, queue, 0, NULL, NULL);
    model->cache = NULL;
    if (status != CLPEFT_OK) return status;
    cache->length += n;
    *last = (clpeft_view){ y.buf, y.off + (n - 1) * y.ld, y.ld };
    return CLPEFT_OK;
}

static clpeft_status read_logits(const clpeft_model_cache *cache, clpeft_view last, float *logits,
                                 cl_command_queue queue)
{
    const clp_table *table = cache->model->output;
    const clpeft_view none = { NULL, 0, 0 };
    clpeft_status status = CLPEFT_OK;

    for (size_t first = 0, n; first < table->V; first += n) {
        n = table->V - first < CLP_SLICE ? table->V - first : CLP_SLICE;
        const clpeft_linear slice = clp_table_slice(table, first, n);
        const clpeft_view part = { cache->logits, first, n };
        clp_layer_call call = { .linear = &slice, .T = 1, .x = last, .y = part };
        TRY(clp_linear_forward(&call, NULL, none, cache->model->ws, queue, 0, NULL, NULL));
    }
    status = clp_read(table->ctx, queue, cache->logits, 0, table->V * sizeof *logits, logits);
out:
    return status;
}

clpeft_status clpeft_model_next_logits(clpeft_model_cache *cache, const clpeft_adapter *adapter, size_t n,
                                       const int32_t *tokens, float *logits, cl_command_queue queue)
{
    clpeft_status status = CLPEFT_OK;
    clpeft_view last = { NULL, 0, 0 };

    TRY(clp_live(cache, CLP_HANDLE_CACHE, "clpeft_model_next_logits"));
    TRY(clp_live(cache->model, CLP_HANDLE_MODEL, "clpeft_model_next_logits"));
    REQUIRE(tokens && n > 0, CLPEFT_INVALID_ARGUMENT, "clpeft_model_next_logits: tokens is NULL, or n is 0");
    REQUIRE(n <= cache->positions - cache->length, CLPEFT_INVALID_SIZE,
            "clpeft_model_next_logits: %zu tokens after %zu: the cache has %zu positions", n, cache->length,
            cache->positions);
    const size_t most = cache->model->options.max_length, before = cache->length;
    for (size_t at = 0, some; at < n && status == CLPEFT_OK; at += some) {
        some = n - at < most ? n - at : most;
        status = read_on(cache, adapter, some, tokens + at, &last, queue);
    }
    if (status != CLPEFT_OK) cache->length = before;
    TRY(status);
    if (logits) TRY(read_logits(cache, last, logits, queue));
out:
    return status;
}

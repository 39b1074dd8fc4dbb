/* model.c - a model of any family: load, batch, forward and backward. */
#include "model.h"

#include "bert.h"
#include "file/names.h"
#include "llama.h"
#include "vit.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const clp_family *const families[] = { &clp_bert, &clp_llama, &clp_vit };

static const clpeft_view none = { NULL, 0, 0 };

/* ---- load ------------------------------------------------------------------------------------------------------- */

static clpeft_status find_family(const clp_pretrained *w, const clp_family **family)
{
    char known[200] = "";

    for (size_t i = 0, used = 0; i < LENGTH(families); i++)
        for (const char *const *type = families[i]->types; *type; type++) {
            if (strcmp(*type, w->type) == 0) {
                *family = families[i];
                return CLPEFT_OK;
            }
            if (used < sizeof known)
                used += (size_t)snprintf(known + used, sizeof known - used, "%s%s", used ? ", " : "", *type);
        }
    return clp_fail(CLPEFT_UNSUPPORTED, "a model of type \"%s\" is not known; known are %s",
                    clp_quote(w->type, strlen(w->type)).text, known);
}

/* Options without zeros. max_length is the family's to limit further: it knows the positions. */
static clpeft_status set_options(clpeft_model *model, const clpeft_model_options *options)
{
    enum { MOST = 1 << 24 };
    clpeft_model_options *o = &model->options;

    if (options) *o = *options;
    if (o->max_tokens == 0) o->max_tokens = 4096;
    if (o->max_sequences == 0) o->max_sequences = o->max_tokens / 2 + o->max_tokens % 2;
    if (o->max_tokens > MOST || o->max_sequences > MOST)
        return clp_fail(CLPEFT_INVALID_SIZE, "max_tokens is %zu, max_sequences %zu: at most %d", o->max_tokens,
                        o->max_sequences, MOST);
    if (o->weights > CLPEFT_BF16) return clp_fail(CLPEFT_INVALID_ARGUMENT, "weights are kept as F32, F16 or BF16");
    if (o->forward_only) o->recompute = 0;
    return CLPEFT_OK;
}

static clpeft_status set_length(clpeft_model *model)
{
    clpeft_model_options *o = &model->options;

    if (o->max_length > model->info.positions)
        return clp_fail(CLPEFT_INVALID_SIZE, "max_length is %zu, the model has %zu positions", o->max_length,
                        model->info.positions);
    if (o->max_length == 0) o->max_length = model->info.positions;
    if (o->max_length > o->max_tokens) o->max_length = o->max_tokens;
    return CLPEFT_OK;
}

/* The last component of the path, and what of it can be printed. */
static void set_name(clpeft_model *model, const char *path)
{
    size_t end = strlen(path), start;
    while (end > 1 && path[end - 1] == '/') end--;
    for (start = end; start > 0 && path[start - 1] != '/';) start--;
    snprintf(model->info.name, sizeof model->info.name, "%.63s", clp_quote(path + start, end - start).text);
}

/* Metadata of files is UTF-8, and there the path goes. */
static clpeft_status set_path(clpeft_model *model, const char *path)
{
    char *whole = realpath(path, NULL);
    json_t *text = json_string(whole);

    model->path = text ? whole : strdup("");
    if (!text) free(whole);
    json_decref(text);
    return model->path ? CLPEFT_OK : clp_fail(CLPEFT_OUT_OF_HOST_MEMORY, "clpeft_model_load: out of memory");
}

clpeft_status clpeft_model_load(clpeft_model **result, clpeft_context *ctx, const char *path,
                                const clpeft_model_options *options)
{
    clpeft_status status = CLPEFT_OK;
    clpeft_model *model = NULL;
    clp_pretrained files = { 0 };

    REQUIRE(result && path, CLPEFT_INVALID_ARGUMENT, "clpeft_model_load: model or path is NULL");
    TRY(clp_live(ctx, CLP_HANDLE_CONTEXT, "clpeft_model_load"));
    model = clp_handle_create(sizeof *model, CLP_HANDLE_MODEL);
    REQUIRE(model, CLPEFT_OUT_OF_HOST_MEMORY, "clpeft_model_load: out of memory");
    model->ctx = ctx;
    TRY(set_options(model, options));
    TRY(clp_pretrained_open(&files, path));
    TRY(find_family(&files, &model->family));
    set_name(model, path);
    TRY(set_path(model, path));
    status = model->family->load(model, &files);
    if (status != CLPEFT_OK) clp_fail_in("%s", path);
    TRY(status);
    model->info.hash = files.hash;
    TRY(set_length(model));
    TRY(clp_staging_create(&model->staging, ctx, model->options.max_sequences + 1 + model->options.max_tokens));
    TRY(clp_model_prepare(model, NULL));
    *result = model;
    model = NULL;
out:
    clp_pretrained_close(&files);
    clpeft_model_destroy(model);
    return status;
}

void clpeft_model_destroy(clpeft_model *model)
{
    if (!clp_handle_end(model, CLP_HANDLE_MODEL)) return;
    if (model->net) model->family->destroy(model);
    for (size_t i = 0; i < model->n_layers; i++) {
        clpeft_linear_destroy(model->layers[i].linear);
        if (model->layers[i].tape) clReleaseMemObject(model->layers[i].tape);
    }
    for (size_t i = 0; i < model->n_storage; i++) clReleaseMemObject(model->storage[i]);
    clp_staging_destroy(&model->staging);
    clpeft_workspace_destroy(model->ws);
    if (model->queue) clReleaseCommandQueue(model->queue);
    free(model->layers);
    free(model->storage);
    free(model->path);
    free(model);
}

void clpeft_model_get_info(const clpeft_model *model, clpeft_model_info *info)
{
    if (info && clp_is_live(model, CLP_HANDLE_MODEL)) *info = model->info;
}

clpeft_view clpeft_model_row_start(const clpeft_model *model)
{
    return clp_is_live(model, CLP_HANDLE_MODEL) ? model->row_start : none;
}

/* ---- a batch ---------------------------------------------------------------------------------------------------- */

int32_t clp_batch_start(const clpeft_model *model, const clpeft_batch *batch, size_t q)
{
    return model->info.image_size > 0 ? (int32_t)(q * model->info.positions) : batch->row_start[q];
}

static clpeft_status check_images(const clpeft_model *model, const clpeft_batch *batch)
{
    clpeft_status status = CLPEFT_OK;

    REQUIRE(batch && batch->pixels, CLPEFT_INVALID_ARGUMENT, "batch or its pixels is NULL: the model reads images");
    REQUIRE(batch->S > 0 && batch->S <= INT32_MAX / model->info.positions, CLPEFT_INVALID_SIZE, "a batch of %zu images",
            batch->S);
out:
    return status;
}

clpeft_status clp_batch_check(const clpeft_model *model, const clpeft_batch *batch, size_t *longest)
{
    const size_t most = model->options.max_length;
    clpeft_status status = CLPEFT_OK;

    if (model->info.image_size > 0) {
        *longest = model->info.positions;
        return check_images(model, batch);
    }
    REQUIRE(batch && batch->row_start && batch->tokens, CLPEFT_INVALID_ARGUMENT,
            "batch, its row_start or its tokens is NULL");
    REQUIRE(batch->S > 0, CLPEFT_INVALID_SIZE, "a batch of 0 sequences");
    REQUIRE(batch->row_start[0] == 0, CLPEFT_INVALID_ARGUMENT, "row_start begins with %d, not 0", batch->row_start[0]);
    *longest = 0;
    for (size_t q = 0; q < batch->S; q++) {
        const int32_t start = batch->row_start[q], end = batch->row_start[q + 1];
        REQUIRE(end >= start, CLPEFT_INVALID_ARGUMENT, "row_start decreases at sequence %zu, from %d to %d", q, start,
                end);
        if ((size_t)(end - start) > *longest) *longest = (size_t)(end - start);
        REQUIRE(*longest <= most, CLPEFT_INVALID_SIZE, "sequence %zu has %zu tokens: the model is made for %zu", q,
                *longest, most);
    }
    const size_t T = (size_t)batch->row_start[batch->S];
    REQUIRE(T > 0, CLPEFT_INVALID_SIZE, "a batch of 0 tokens");
    for (size_t t = 0; t < T; t++)
        REQUIRE(batch->tokens[t] >= 0 && (size_t)batch->tokens[t] < model->info.vocab, CLPEFT_INVALID_ARGUMENT,
                "token %zu is %d: the vocabulary has %zu", t, batch->tokens[t], model->info.vocab);
out:
    return status;
}

/* Set T, S and longest of the model if the batch is one that it can take. */
static clpeft_status set_batch(clpeft_model *model, const clpeft_batch *batch)
{
    const clpeft_model_options *o = &model->options;
    clpeft_status status = CLPEFT_OK;
    size_t longest;

    TRY(clp_batch_check(model, batch, &longest));
    const size_t S = batch->S, T = (size_t)clp_batch_start(model, batch, S);
    REQUIRE(S <= o->max_sequences, CLPEFT_INVALID_SIZE, "a batch of %zu sequences: the model is made for %zu", S,
            o->max_sequences);
    REQUIRE(T <= o->max_tokens, CLPEFT_INVALID_SIZE, "a batch of %zu tokens: the model is made for %zu", T,
            o->max_tokens);
    model->T = T, model->S = S, model->longest = longest;
out:
    return status;
}

static clpeft_status send_batch(clpeft_model *model, const clpeft_batch *batch, clp_stream *s)
{
    clpeft_status status = CLPEFT_OK;
    const size_t n = model->S + 1;

    TRY(clp_staging_open(&model->staging));
    for (size_t q = 0; q < n; q++) model->staging.host[q] = clp_batch_start(model, batch, q);
    if (!model->family->send) memcpy(model->staging.host + n, batch->tokens, model->T * sizeof *batch->tokens);
    model->row_start = (clpeft_view){ model->staging.buf, 0, 1 };
    model->ids = (clpeft_view){ model->staging.buf, n, 1 };
    TRY(clp_staging_send(&model->staging, n + model->T, s));
    if (model->family->send) status = model->family->send(model, batch, s);
out:
    return status;
}

/* Several trainers may share a model, each with its queue: what the last one enqueued comes first. */
static clpeft_status take_turn(clpeft_model *model, cl_command_queue queue)
{
    clpeft_status status = CLPEFT_OK;
    cl_event last = NULL;

    if (model->queue == queue) return CLPEFT_OK;
    if (model->queue) {
        TRY_CL(clEnqueueMarkerWithWaitList(model->queue, 0, NULL, &last), "clpeft_model_forward");
        TRY_CL(clFlush(model->queue), "clpeft_model_forward");
        TRY_CL(clEnqueueBarrierWithWaitList(queue, 1, &last, NULL), "clpeft_model_forward");
        clReleaseCommandQueue(model->queue);
        model->queue = NULL;
    }
    TRY_CL(clRetainCommandQueue(queue), "clpeft_model_forward");
    model->queue = queue;
out:
    if (last) clReleaseEvent(last);
    return status;
}

clpeft_status clpeft_model_forward(clpeft_model *model, const clpeft_adapter *adapter, const clpeft_batch *batch,
                                   int keep, clpeft_view *y, CLPEFT_QUEUE)
{
    clpeft_status status = CLPEFT_OK;
    clp_stream s;

    TRY(clp_live(model, CLP_HANDLE_MODEL, "clpeft_model_forward"));
    if (adapter) TRY(clp_live(adapter, CLP_HANDLE_ADAPTER, "clpeft_model_forward"));
    REQUIRE(y, CLPEFT_INVALID_ARGUMENT, "clpeft_model_forward: y is NULL");
    TRY(clp_begin(&s, "clpeft_model_forward", model->ctx, queue, n_wait, wait));
    REQUIRE(!keep || (adapter && !model->options.forward_only), CLPEFT_INVALID_ARGUMENT,
            "clpeft_model_forward: keep needs an adapter, and a model that is not forward_only");
    status = set_batch(model, batch);
    if (status != CLPEFT_OK) clp_fail_in("clpeft_model_forward");
    TRY(status);
    model->kept = NULL;
    TRY(take_turn(model, queue));
    TRY(clp_model_prepare(model, adapter));
    TRY(send_batch(model, batch, &s));
    TRY(model->family->forward(model, adapter, keep, y, queue));
    if (keep) model->kept = adapter;
    status = clp_end(&s, event);
out:
    return status;
}

clpeft_status clpeft_model_backward(clpeft_model *model, clpeft_adapter *adapter, clpeft_view dy, CLPEFT_QUEUE)
{
    clpeft_status status = CLPEFT_OK;
    clp_stream s;

    TRY(clp_live(model, CLP_HANDLE_MODEL, "clpeft_model_backward"));
    TRY(clp_live(adapter, CLP_HANDLE_ADAPTER, "clpeft_model_backward"));
    TRY(clp_begin(&s, "clpeft_model_backward", model->ctx, queue, n_wait, wait));
    REQUIRE(model->kept == adapter, CLPEFT_INVALID_ARGUMENT,
            "clpeft_model_backward: the last forward was not one of this adapter with keep");
    TRY(clp_check(&s, "dy", dy, model->T, model->info.width));
    if (n_wait > 0) TRY_CL(clEnqueueBarrierWithWaitList(queue, n_wait, wait, NULL), s.what);
    s.n_wait = 0, s.wait = NULL;
    model->kept = NULL;
    if (model->lowest < model->n_layers) TRY(model->family->backward(model, adapter, dy, queue));
    status = clp_end(&s, event);
out:
    return status;
}

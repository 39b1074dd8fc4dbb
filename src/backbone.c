/* backbone.c - the frozen linear layers of a model: storage, tapes, forward and backward of one of them. */
#include "backbone.h"
#include "linear.h"

#include <stdlib.h>

static const clpeft_view none = { NULL, 0, 0 };

/* Layers [first, end) share one buffer of `bytes` bytes. */
static clpeft_status make_storage(clpeft_model *model, const clpeft_linear_options *block, size_t first, size_t end,
                                  size_t bytes)
{
    clpeft_status status = CLPEFT_OK;
    clpeft_view at = { NULL, 0, 1 };

    TRY(clp_buffer(model->ctx, bytes, NULL, &model->storage[model->n_storage]));
    at.buf = model->storage[model->n_storage++];
    for (size_t i = first; i < end; i++) {
        clpeft_linear_options options = block[i % model->per_block];
        options.storage = at;
        TRY(clpeft_linear_create(&model->layers[i].linear, model->ctx, &options));
        at.off += clpeft_linear_bytes(model->ctx, &options);
    }
out:
    return status;
}

/* One buffer, or as few as the device's limit of an allocation lets it be. */
clpeft_status clp_model_make_layers(clpeft_model *model, const clpeft_linear_options *block)
{
    clpeft_status status = CLPEFT_OK;
    size_t first = 0, bytes = 0;

    const size_t n = model->info.layers * model->per_block;
    model->layers = calloc(n, sizeof *model->layers);
    model->storage = calloc(n, sizeof *model->storage);
    REQUIRE(model->layers && model->storage, CLPEFT_OUT_OF_HOST_MEMORY, "out of memory: %zu layers", n);
    model->n_layers = n;
    for (size_t i = 0; i < n; i++) {
        const clpeft_linear_options *o = &block[i % model->per_block];
        const size_t more = clpeft_linear_bytes(model->ctx, o);
        REQUIRE(more > 0, CLPEFT_UNSUPPORTED, "a linear layer [%zu,%zu] of type %s", o->N, o->K,
                clpeft_dtype_name(o->dtype));
        if (bytes > 0 && more > model->ctx->info.max_alloc_bytes - bytes) {
            TRY(make_storage(model, block, first, i, bytes));
            first = i, bytes = 0;
        }
        bytes += more;
    }
    TRY(make_storage(model, block, first, n, bytes));
out:
    return status;
}

/* The slot of a layer's tape: one per layer, or with recompute one block's for all. */
static clp_layer *tape_slot(const clpeft_model *model, size_t layer)
{
    return &model->layers[model->options.recompute ? layer % model->per_block : layer];
}

clpeft_status clp_model_prepare(clpeft_model *model, const clpeft_adapter *adapter)
{
    clpeft_status status = CLPEFT_OK;
    const size_t T = model->options.max_tokens;
    const clp_lowrank_set *set = (const void *)adapter;
    size_t ws_bytes = 0, adapted = 0;

    for (size_t i = 0; i < model->n_layers; i++) adapted += clp_lowrank_find(adapter, model->layers[i].linear) != NULL;
    REQUIRE(!adapter || adapted == set->n, CLPEFT_INVALID_ARGUMENT,
            "clpeft_model_forward: %zu of the adapter's layers are of another model", set->n - adapted);
    model->lowest = model->n_layers;
    for (size_t i = model->n_layers; i-- > 0;) {
        const clpeft_linear *linear = model->layers[i].linear;
        const size_t bytes = clpeft_linear_workspace(linear, adapter, T);
        const size_t tape = model->options.forward_only ? 0 : clpeft_linear_tape(linear, adapter, T);
        clp_layer *slot = tape_slot(model, i);
        if (bytes > ws_bytes) ws_bytes = bytes;
        if (clp_lowrank_find(adapter, linear)) model->lowest = i;
        if (tape <= slot->tape_size) continue;
        if (slot->tape) clReleaseMemObject(slot->tape);
        slot->tape = NULL, slot->tape_size = 0;
        TRY(clp_buffer(model->ctx, tape * sizeof(float), NULL, &slot->tape));
        slot->tape_size = tape;
    }
    const size_t output = model->output ? clp_table_workspace(model->output, T) : 0;
    if (output > ws_bytes) ws_bytes = output;
    if (ws_bytes > model->ws_bytes) {
        clpeft_workspace_destroy(model->ws);
        model->ws = NULL, model->ws_bytes = 0;
        TRY(clpeft_workspace_create(&model->ws, model->ctx, ws_bytes));
        model->ws_bytes = ws_bytes;
    }
out:
    return status;
}

static clpeft_status project(clpeft_model *model, const clpeft_adapter *adapter, size_t layer, int keep,
                             clp_layer_call *call, cl_command_queue queue)
{
    const clpeft_view tape = { keep ? tape_slot(model, layer)->tape : NULL, 0, 1 };
    call->linear = model->layers[layer].linear, call->T = model->T;
    return clp_linear_forward(call, adapter, tape, model->ws, queue, 0, NULL, NULL);
}

clpeft_status clp_project(clpeft_model *model, const clpeft_adapter *adapter, size_t layer, int keep, clpeft_view x,
                          clpeft_view residual, clpeft_view y, cl_command_queue queue)
{
    clp_layer_call call = { .x = x, .residual = residual, .y = y };
    return project(model, adapter, layer, keep, &call, queue);
}

/* Of the activation before a layer its backward needs the slopes, and a site the value as well; products on packed weights
 * make the slopes beside the value, with little more work. */
static int slopes_do(const clpeft_model *model, const clpeft_adapter *adapter, size_t layer)
{
    return model->ctx->tuning.panel && !clp_lowrank_find(adapter, model->layers[layer].linear);
}

clpeft_status clp_project_activated(clpeft_model *model, const clpeft_adapter *adapter, size_t layer, int keep,
                                    clpeft_view x, clpeft_activation f, clpeft_view before, clpeft_view y,
                                    cl_command_queue queue)
{
    clp_layer_call call = { .x = x, .y = y, .activation = f, .before = keep ? before : none };
    call.slopes = slopes_do(model, adapter, layer + 1);
    return project(model, adapter, layer, keep, &call, queue);
}

clpeft_status clp_project_back(clpeft_model *model, clpeft_adapter *adapter, size_t layer, clpeft_activation f,
                               clpeft_view x, clpeft_view dy, int spent, float accumulate, clpeft_view dx,
                               cl_command_queue queue)
{
    const clpeft_view tape = { tape_slot(model, layer)->tape, 0, 1 };
    clp_layer_call call = { .linear = model->layers[layer].linear,
                            .T = model->T,
                            .f = f,
                            .x = x,
                            .y = dy,
                            .dx = layer == model->lowest ? none : dx,
                            .accumulate = accumulate,
                            .spent = spent };
    call.slopes = f != CLPEFT_IDENTITY && slopes_do(model, adapter, layer);
    return clp_linear_backward(&call, adapter, tape, model->ws, queue, 0, NULL, NULL);
}

clpeft_view clp_carve(clpeft_view *from, size_t rows, size_t cols)
{
    const clpeft_view view = { from->buf, from->off, cols };
    from->off += clp_round_up(rows * cols, 64);
    return view;
}

clpeft_view clp_carve_operand(clpeft_view *from, size_t rows, size_t cols)
{
    return clp_carve(from, rows, cols % 1024 == 0 ? cols + 16 : cols);
}

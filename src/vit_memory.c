/* vit_memory.c - memory for a vision transformer's activations, and the way it all goes again. */
#include "vit.h"

#include <stdlib.h>

static size_t lay_out_acts(const clpeft_model *model, clp_vit_acts *a, cl_mem buf)
{
    const clpeft_model_info *i = &model->info;
    const size_t T = model->options.max_tokens, D = i->width;
    clpeft_view at = { buf, 0, 1 }, again;

    a->stat1 = clp_carve(&at, T, 2);
    a->qkv = clp_carve(&at, T, 3 * D);
    a->o = clp_carve(&at, T, D);
    a->lse = clp_carve(&at, T, i->heads);
    a->x1 = clp_carve(&at, T, D);
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
    clp_vit_net *net = model->net;
    const size_t T = model->options.max_tokens, D = model->info.width;
    clpeft_view at = { buf, 0, 1 };

    net->y = clp_carve(&at, T, D);
    net->stat = clp_carve(&at, T, 2);
    net->n = clp_carve(&at, T, D);
    net->fp = clp_carve_operand(&at, T, model->info.ffn);
    if (model->options.forward_only) return at.off;
    net->dn = clp_carve(&at, T, D);
    net->dsum = clp_carve(&at, T, model->info.heads);
    return at.off;
}

/* Without a backward one buffer is every block's input and output. */
static size_t lay_out_stream(const clpeft_model *model, cl_mem buf)
{
    clp_vit_net *net = model->net;
    clpeft_view at = { buf, 0, 1 };

    for (size_t b = 0; b <= model->info.layers; b++)
        net->x[b] = b > 0 && model->options.forward_only ? net->x[0]
                                                         : clp_carve(&at, model->options.max_tokens, model->info.width);
    return at.off;
}

static clpeft_status make_buffer(const clpeft_model *model, size_t n, cl_mem *buf)
{
    return clp_buffer(model->ctx, n * sizeof(float), NULL, buf);
}

clpeft_status clp_vit_make_memory(clpeft_model *model)
{
    clp_vit_net *net = model->net;
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

static void release(cl_mem buf)
{
    if (buf) clReleaseMemObject(buf);
}

void clp_vit_destroy(clpeft_model *model)
{
    clp_vit_net *net = model->net;

    for (size_t b = 0; net->memory && b < net->n_acts; b++) release(net->memory[b]);
    release(net->stream);
    release(net->scratch);
    release(net->vectors);
    release(net->start.buf);
    clp_staging_destroy(&net->patches);
    clpeft_linear_destroy(net->embed);
    clpeft_workspace_destroy(net->embed_ws);
    free(net->memory);
    free(net->acts);
    free(net->x);
    free(net->norm);
    free(net->scale);
    free(net);
}

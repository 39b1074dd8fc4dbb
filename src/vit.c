/* vit.c - the layers of a vision transformer in their order, forward above backward.
 *
 *     x0 = patches W_embed + start        (start: class token or bias, and position)
 *     of every block:   q, k, v = norm1(x) W_qkv      x1 = x + l1 * (attention(q, k, v) W_output)
 *                       p = norm2(x1) W_up            x' = x1 + l2 * (f(p) W_down)
 *     y = norm(x)
 *
 * l1 and l2 [D] are LayerScale, in models that have it. Sources: arXiv 2010.11929 (ViT), arXiv 2304.07193 (DINOv2),
 * arXiv 2103.17239 (LayerScale). */
#include "vit.h"

#include <math.h>
#include <string.h>

static const clpeft_view none = { NULL, 0, 0 };

static const clp_vit_net *net_of(const clpeft_model *m)
{
    return m->net;
}

static clpeft_attention_shape attention_shape(const clpeft_model *m)
{
    const clpeft_model_info *i = &m->info;
    return (clpeft_attention_shape){ .T = m->T,
                                     .S = m->S,
                                     .H = i->heads,
                                     .Hk = i->heads,
                                     .d = i->head_size,
                                     .max_length = m->longest,
                                     .scale = 1.0f / sqrtf((float)i->head_size) };
}

/* Columns [part D, (part + 1) D) of qkv. */
static clpeft_view part_of(const clpeft_model *m, clpeft_view qkv, size_t part)
{
    return (clpeft_view){ qkv.buf, qkv.off + part * m->info.width, qkv.ld };
}

static clp_vit_acts *acts_of(const clpeft_model *m, size_t b)
{
    return &net_of(m)->acts[b % net_of(m)->n_acts];
}

static clpeft_status norm(const clpeft_model *m, size_t which, clpeft_view x, clpeft_view y, clpeft_view stat,
                          cl_command_queue queue)
{
    const clp_vit_norm *n = &net_of(m)->norm[which];
    return clpeft_layer_norm(m->ctx, m->T, m->info.width, m->info.eps, x, n->gamma, n->beta, y, stat, queue, 0, NULL,
                             NULL);
}

/* ---- the batch -------------------------------------------------------------------------------------------------- */

/* The patches of an image [C,size,size] as rows [(size / p)^2, C p p]. */
static void cut(const clpeft_model_info *i, const float *image, float *rows)
{
    const size_t size = i->image_size, p = i->patch_size, side = size / p;

    for (size_t top = 0; top < side; top++)
        for (size_t left = 0; left < side; left++)
            for (size_t c = 0; c < i->channels; c++)
                for (size_t line = 0; line < p; line++, rows += p)
                    memcpy(rows, image + (c * size + top * p + line) * size + left * p, p * sizeof *rows);
}

static clpeft_status send(clpeft_model *m, const clpeft_batch *batch, clp_stream *s)
{
    const clpeft_model_info *i = &m->info;
    const size_t pixels = i->channels * i->image_size * i->image_size;
    clp_vit_net *net = m->net;
    clpeft_status status = CLPEFT_OK;

    TRY(clp_staging_open(&net->patches));
    for (size_t q = 0; q < m->S; q++)
        cut(i, batch->pixels + q * pixels, (float *)net->patches.host + (q * i->positions + 1) * net->K);
    status = clp_staging_send(&net->patches, m->T * net->K, s);
out:
    return status;
}

/* ---- forward ---------------------------------------------------------------------------------------------------- */

static clpeft_status embed(const clpeft_model *m, clpeft_view x, cl_command_queue queue)
{
    const clp_vit_net *net = m->net;
    const clpeft_view patches = { net->patches.buf, 0, net->K };
    return clpeft_linear_forward(net->embed, NULL, m->T, CLPEFT_IDENTITY, patches, net->start, x, none, net->embed_ws,
                                 queue, 0, NULL, NULL);
}

/* y = residual + l * (x W) */
static clpeft_status branch(clpeft_model *m, const clpeft_adapter *adapter, size_t layer, int keep, clpeft_view x,
                            clpeft_view scale, clpeft_view residual, clpeft_view y, cl_command_queue queue)
{
    const size_t D = m->info.width;
    clpeft_status status = CLPEFT_OK;

    if (!scale.buf) return clp_project(m, adapter, layer, keep, x, residual, y, queue);
    TRY(clp_project(m, adapter, layer, keep, x, none, y, queue));
    TRY(clpeft_scale_columns(m->ctx, m->T, D, y, scale, y, queue, 0, NULL, NULL));
    TRY(clpeft_add(m->ctx, m->T, D, 1, y, 1, residual, y, queue, 0, NULL, NULL));
out:
    return status;
}

static clpeft_status block_forward(clpeft_model *m, const clpeft_adapter *adapter, size_t b, int keep, clpeft_view x,
                                   clpeft_view y, cl_command_queue queue)
{
    const clp_vit_net *net = m->net;
    const clp_vit_acts *a = acts_of(m, b);
    const clpeft_attention_shape shape = attention_shape(m);
    const clpeft_view q = part_of(m, a->qkv, 0), k = part_of(m, a->qkv, 1), v = part_of(m, a->qkv, 2);
    const size_t layer = b * VIT_LAYERS;
    clpeft_status status = CLPEFT_OK;

    TRY(norm(m, 2 * b, x, net->n, a->stat1, queue));
    TRY(clp_project(m, adapter, layer + VIT_QKV, keep, net->n, none, a->qkv, queue));
    TRY(clpeft_attention(m->ctx, &shape, m->row_start, q, k, v, a->o, a->lse, queue, 0, NULL, NULL));
    TRY(branch(m, adapter, layer + VIT_OUTPUT, keep, a->o, net->scale[2 * b], x, a->x1, queue));
    TRY(norm(m, 2 * b + 1, a->x1, net->n, a->stat2, queue));
    TRY(clp_project_activated(m, adapter, layer + VIT_UP, keep, net->n, net->act, a->p, net->fp, queue));
    TRY(branch(m, adapter, layer + VIT_DOWN, keep, net->fp, net->scale[2 * b + 1], a->x1, y, queue));
out:
    return status;
}

static clpeft_status forward(clpeft_model *m, const clpeft_adapter *adapter, int keep, clpeft_view *y,
                             cl_command_queue queue)
{
    const clp_vit_net *net = m->net;
    const size_t blocks = m->info.layers;
    clpeft_status status = CLPEFT_OK;

    TRY(embed(m, net->x[0], queue));
    for (size_t b = 0; b < blocks; b++) TRY(block_forward(m, adapter, b, keep, net->x[b], net->x[b + 1], queue));
    TRY(norm(m, 2 * blocks, net->x[blocks], net->y, net->stat, queue));
    *y = net->y;
out:
    return status;
}

/* ---- backward --------------------------------------------------------------------------------------------------- */

/* dx = accumulate dx + the gradient of a norm's input x, with dy that of its output. */
static clpeft_status norm_back(const clpeft_model *m, size_t which, clpeft_view x, clpeft_view stat, clpeft_view dy,
                               float accumulate, clpeft_view dx, cl_command_queue queue)
{
    return clpeft_layer_norm_backward(m->ctx, m->T, m->info.width, x, net_of(m)->norm[which].gamma, stat, dy,
                                      accumulate, dx, none, none, queue, 0, NULL, NULL);
}

/* A norm's output again, for the sites of the layer that read it. */
static clpeft_status norm_again(const clpeft_model *m, const clpeft_adapter *adapter, size_t layer, size_t which,
                                clpeft_view x, clpeft_view stat, cl_command_queue queue)
{
    if (!clp_lowrank_find(adapter, m->layers[layer].linear)) return CLPEFT_OK;
    return norm(m, which, x, net_of(m)->n, stat, queue);
}

/* dy = l * dx: of a branch's layer, with dx of its sum. */
static clpeft_status scale_back(const clpeft_model *m, clpeft_view scale, clpeft_view dx, clpeft_view *dy,
                                cl_command_queue queue)
{
    *dy = scale.buf ? net_of(m)->n : dx;
    if (!scale.buf) return CLPEFT_OK;
    return clpeft_scale_columns(m->ctx, m->T, m->info.width, dx, scale, *dy, queue, 0, NULL, NULL);
}

/* dx: of the block's output before, of x1 after. Ends at the lowest layer with a site. */
static clpeft_status ffn_backward(clpeft_model *m, clpeft_adapter *adapter, size_t b, clpeft_view dx,
                                  cl_command_queue queue)
{
    const clp_vit_net *net = m->net;
    const clp_vit_acts *a = acts_of(m, b);
    const size_t layer = b * VIT_LAYERS;
    clpeft_status status = CLPEFT_OK;
    clpeft_view dy;

    TRY(scale_back(m, net->scale[2 * b + 1], dx, &dy, queue));
    TRY(clp_project_back(m, adapter, layer + VIT_DOWN, net->act, a->p, dy, 0, 0.0f, a->p, queue));
    if (m->lowest == layer + VIT_DOWN) goto out;
    TRY(norm_again(m, adapter, layer + VIT_UP, 2 * b + 1, a->x1, a->stat2, queue));
    TRY(clp_project_back(m, adapter, layer + VIT_UP, CLPEFT_IDENTITY, net->n, a->p, 1, 0.0f, net->dn, queue));
    if (m->lowest == layer + VIT_UP) goto out;
    TRY(norm_back(m, 2 * b + 1, a->x1, a->stat2, net->dn, 1.0f, dx, queue));
out:
    return status;
}

/* dx: of x1 before, of the block's input after. */
static clpeft_status attention_backward(clpeft_model *m, clpeft_adapter *adapter, size_t b, clpeft_view dx,
                                        cl_command_queue queue)
{
    const clp_vit_net *net = m->net;
    const clp_vit_acts *a = acts_of(m, b);
    const clpeft_attention_shape shape = attention_shape(m);
    const clpeft_view q = part_of(m, a->qkv, 0), k = part_of(m, a->qkv, 1), v = part_of(m, a->qkv, 2);
    const clpeft_view dq = part_of(m, a->dqkv, 0), dk = part_of(m, a->dqkv, 1), dv = part_of(m, a->dqkv, 2);
    const size_t layer = b * VIT_LAYERS;
    clpeft_status status = CLPEFT_OK;
    clpeft_view dy;

    TRY(scale_back(m, net->scale[2 * b], dx, &dy, queue));
    TRY(clp_project_back(m, adapter, layer + VIT_OUTPUT, CLPEFT_IDENTITY, a->o, dy, 0, 0.0f, a->d_o, queue));
    if (m->lowest == layer + VIT_OUTPUT) goto out;
    TRY(clpeft_attention_backward(m->ctx, &shape, m->row_start, q, k, v, a->o, a->lse, a->d_o, net->dsum, dq, dk, dv,
                                  queue, 0, NULL, NULL));
    TRY(norm_again(m, adapter, layer + VIT_QKV, 2 * b, net->x[b], a->stat1, queue));
    TRY(clp_project_back(m, adapter, layer + VIT_QKV, CLPEFT_IDENTITY, net->n, a->dqkv, 1, 0.0f, net->dn, queue));
    if (m->lowest < layer + VIT_QKV) TRY(norm_back(m, 2 * b, net->x[b], a->stat1, net->dn, 1.0f, dx, queue));
out:
    return status;
}

static clpeft_status backward(clpeft_model *m, clpeft_adapter *adapter, clpeft_view dx, cl_command_queue queue)
{
    const clp_vit_net *net = m->net;
    const size_t blocks = m->info.layers;
    clpeft_status status = CLPEFT_OK;

    TRY(norm_back(m, 2 * blocks, net->x[blocks], net->stat, dx, 0.0f, dx, queue));
    for (size_t b = blocks; b-- > m->lowest / VIT_LAYERS;) {
        if (m->options.recompute && b + 1 < blocks) /* the last block's activations are still there */
            TRY(block_forward(m, adapter, b, 1, net->x[b], net->x[b + 1], queue));
        TRY(ffn_backward(m, adapter, b, dx, queue));
        if (m->lowest <= b * VIT_LAYERS + VIT_OUTPUT) TRY(attention_backward(m, adapter, b, dx, queue));
    }
out:
    return status;
}

static const char *const types[] = { "vit", "dinov2", NULL };

const clp_family clp_vit = {
    .types = types,
    .block_path = "encoder.layer.",
    .load = clp_vit_load,
    .destroy = clp_vit_destroy,
    .send = send,
    .forward = forward,
    .backward = backward,
};

/* bert.c - the layers of a BERT or RoBERTa encoder in their order, forward above backward.
 *
 *     x0 = norm(word + position + type)
 *     of every block:   o  = attention(x W_qkv)         x1 = norm1(x + o W_output)
 *                       p  = x1 W_up                    x' = norm2(x1 + f(p) W_down)
 *
 * Source: arXiv 1810.04805, arXiv 1907.11692. */
#include "bert.h"

#include <math.h>

static const clpeft_view none = { NULL, 0, 0 };

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

static clp_bert_acts *acts_of(const clpeft_model *m, size_t b)
{
    const clp_bert_net *net = m->net;
    return &net->acts[b % net->n_acts];
}

static clpeft_status norm(const clpeft_model *m, clp_bert_norm n, clpeft_view x, clpeft_view y, clpeft_view stat,
                          cl_command_queue queue)
{
    return clpeft_layer_norm(m->ctx, m->T, m->info.width, m->info.eps, x, n.gamma, n.beta, y, stat, queue, 0, NULL,
                             NULL);
}

/* ---- forward ---------------------------------------------------------------------------------------------------- */

/* The sum of word, position and type lies where the first block will put its own. */
static clpeft_status embed(clpeft_model *m, clpeft_view x, cl_command_queue queue)
{
    const clp_bert_net *net = m->net;
    const clp_bert_acts *a = acts_of(m, 0);
    clpeft_status status = CLPEFT_OK;

    TRY(clpeft_embedding(m->ctx, m->T, m->info.width, net->V, net->P, m->S, m->ids, m->row_start, net->word,
                         net->position, net->first, net->type, a->sum1, queue, 0, NULL, NULL));
    status = norm(m, net->embed, a->sum1, x, a->stat1, queue);
out:
    return status;
}

static clpeft_status block_forward(clpeft_model *m, const clpeft_adapter *adapter, size_t b, int keep, clpeft_view x,
                                   clpeft_view y, cl_command_queue queue)
{
    const clp_bert_net *net = m->net;
    const clp_bert_acts *a = acts_of(m, b);
    const clpeft_attention_shape shape = attention_shape(m);
    const clpeft_view q = part_of(m, a->qkv, 0), k = part_of(m, a->qkv, 1), v = part_of(m, a->qkv, 2);
    const size_t layer = b * PER_BLOCK;
    clpeft_status status = CLPEFT_OK;

    TRY(clp_project(m, adapter, layer + QKV, keep, x, none, a->qkv, queue));
    TRY(clpeft_attention(m->ctx, &shape, m->row_start, q, k, v, a->o, a->lse, queue, 0, NULL, NULL));
    TRY(clp_project(m, adapter, layer + OUTPUT, keep, a->o, x, a->sum1, queue));
    TRY(norm(m, net->norm[2 * b], a->sum1, net->x1, a->stat1, queue));
    TRY(clp_project_activated(m, adapter, layer + UP, keep, net->x1, net->act, a->p, net->fp, queue));
    TRY(clp_project(m, adapter, layer + DOWN, keep, net->fp, net->x1, a->sum2, queue));
    TRY(norm(m, net->norm[2 * b + 1], a->sum2, y, a->stat2, queue));
out:
    return status;
}

static clpeft_status forward(clpeft_model *m, const clpeft_adapter *adapter, int keep, clpeft_view *y,
                             cl_command_queue queue)
{
    const clp_bert_net *net = m->net;
    clpeft_status status = CLPEFT_OK;

    TRY(embed(m, net->x[0], queue));
    for (size_t b = 0; b < m->info.layers; b++)
        TRY(block_forward(m, adapter, b, keep, net->x[b], net->x[b + 1], queue));
    *y = net->x[m->info.layers];
out:
    return status;
}

/* ---- backward --------------------------------------------------------------------------------------------------- */

/* In place: dx is the gradient of the norm's output before and of its input after. */
static clpeft_status norm_back(const clpeft_model *m, clp_bert_norm n, clpeft_view x, clpeft_view stat, clpeft_view dx,
                               cl_command_queue queue)
{
    return clpeft_layer_norm_backward(m->ctx, m->T, m->info.width, x, n.gamma, stat, dx, 0.0f, dx, none, none, queue, 0,
                                      NULL, NULL);
}

/* The output of a norm, once more into x1: only a site on the layer above needs it. */
static clpeft_status norm_again(const clpeft_model *m, const clpeft_adapter *adapter, size_t layer, clp_bert_norm n,
                                clpeft_view x, clpeft_view stat, cl_command_queue queue)
{
    const clp_bert_net *net = m->net;
    if (!clp_lowrank_find(adapter, m->layers[layer].linear)) return CLPEFT_OK;
    return norm(m, n, x, net->x1, stat, queue);
}

/* dx: of the block's output before, of its input after. Ends at the lowest layer with a site. */
static clpeft_status block_backward(clpeft_model *m, clpeft_adapter *adapter, size_t b, clpeft_view dx,
                                    cl_command_queue queue)
{
    const clp_bert_net *net = m->net;
    const int again = b > 0 && !m->options.recompute; /* x[b] was overwritten */
    const clp_bert_acts *a = acts_of(m, b), *below = again ? acts_of(m, b - 1) : NULL;
    const clpeft_attention_shape shape = attention_shape(m);
    const clpeft_view q = part_of(m, a->qkv, 0), k = part_of(m, a->qkv, 1), v = part_of(m, a->qkv, 2);
    const clpeft_view dq = part_of(m, a->dqkv, 0), dk = part_of(m, a->dqkv, 1), dv = part_of(m, a->dqkv, 2);
    const size_t layer = b * PER_BLOCK;
    clpeft_status status = CLPEFT_OK;

    TRY(norm_back(m, net->norm[2 * b + 1], a->sum2, a->stat2, dx, queue));
    TRY(clp_project_back(m, adapter, layer + DOWN, net->act, a->p, dx, 0, 0.0f, a->p, queue));
    if (m->lowest == layer + DOWN) goto out;
    TRY(norm_again(m, adapter, layer + UP, net->norm[2 * b], a->sum1, a->stat1, queue));
    TRY(clp_project_back(m, adapter, layer + UP, CLPEFT_IDENTITY, net->x1, a->p, 1, 1.0f, dx, queue));
    if (m->lowest == layer + UP) goto out;
    TRY(norm_back(m, net->norm[2 * b], a->sum1, a->stat1, dx, queue));
    TRY(clp_project_back(m, adapter, layer + OUTPUT, CLPEFT_IDENTITY, a->o, dx, 0, 0.0f, a->d_o, queue));
    if (m->lowest == layer + OUTPUT) goto out;
    TRY(clpeft_attention_backward(m->ctx, &shape, m->row_start, q, k, v, a->o, a->lse, a->d_o, net->dsum, dq, dk, dv,
                                  queue, 0, NULL, NULL));
    if (again) TRY(norm_again(m, adapter, layer + QKV, net->norm[2 * b - 1], below->sum2, below->stat2, queue));
    TRY(clp_project_back(m, adapter, layer + QKV, CLPEFT_IDENTITY, again ? net->x1 : net->x[b], a->dqkv, 1, 1.0f, dx,
                         queue));
out:
    return status;
}

static clpeft_status backward(clpeft_model *m, clpeft_adapter *adapter, clpeft_view dx, cl_command_queue queue)
{
    const clp_bert_net *net = m->net;
    clpeft_status status = CLPEFT_OK;

    for (size_t b = m->info.layers; b-- > m->lowest / PER_BLOCK;) {
        if (m->options.recompute && b + 1 < m->info.layers) /* the last block's activations are still there */
            TRY(block_forward(m, adapter, b, 1, net->x[b], net->x[b + 1], queue));
        TRY(block_backward(m, adapter, b, dx, queue));
    }
out:
    return status;
}

static const char *const types[] = { "bert", "roberta", "xlm-roberta", NULL };

const clp_family clp_bert = {
    .types = types,
    .block_path = "encoder.layer.",
    .load = clp_bert_load,
    .destroy = clp_bert_destroy,
    .forward = forward,
    .backward = backward,
};

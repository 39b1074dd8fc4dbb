/* llama.c - the layers of a decoder of LLaMA's kind in their order, forward above backward.
 *
 *     x0 = embedding of the tokens
 *     of every block:   q, k, v = norm1(x) W_qkv, q and k rotated     x1 = x + attention(q, k, v) W_output
 *                       gate, up = norm2(x1) W_gate_up                x' = x1 + (silu(gate) up) W_down
 *     y = norm(x)
 *
 * Source: arXiv 2302.13971. */
#include "llama.h"

#include <math.h>

static const clpeft_view none = { NULL, 0, 0 };

static clpeft_attention_shape attention_shape(const clpeft_model *m)
{
    const clpeft_model_info *i = &m->info;
    return (clpeft_attention_shape){ .T = m->T,
                                     .S = m->S,
                                     .H = i->heads,
                                     .Hk = i->kv_heads,
                                     .d = i->head_size,
                                     .max_length = m->longest,
                                     .scale = 1.0f / sqrtf((float)i->head_size),
                                     .causal = 1 };
}

/* Of qkv, or its gradient: the columns from head `head` on. */
static clpeft_view from_head(const clpeft_model *m, clpeft_view qkv, size_t head)
{
    return (clpeft_view){ qkv.buf, qkv.off + head * m->info.head_size, qkv.ld };
}
static clpeft_view key_of(const clpeft_model *m, clpeft_view qkv)
{
    return from_head(m, qkv, m->info.heads);
}
static clpeft_view value_of(const clpeft_model *m, clpeft_view qkv)
{
    return from_head(m, qkv, m->info.heads + m->info.kv_heads);
}

/* The second half of gate_up. */
static clpeft_view up_of(const clpeft_model *m, clpeft_view gate_up)
{
    return (clpeft_view){ gate_up.buf, gate_up.off + m->info.ffn, gate_up.ld };
}

/* Memory for a block's activations; those that no backward follows share the first block's. */
static clp_llama_acts *acts_of(const clpeft_model *m, size_t b, int keep)
{
    return &clp_llama_of(m)->acts[keep ? b % clp_llama_of(m)->n_acts : 0];
}

static clpeft_status norm(const clpeft_model *m, size_t which, clpeft_view x, clpeft_view y, clpeft_view stat,
                          cl_command_queue queue)
{
    return clpeft_rms_norm(m->ctx, m->T, m->info.width, m->info.eps, x, clp_llama_of(m)->norm[which], y, stat, queue, 0,
                           NULL, NULL);
}

/* Query and key lie side by side: one call turns both. */
static clpeft_status rotate(const clpeft_model *m, clpeft_view qkv, int inverse, cl_command_queue queue)
{
    const clpeft_model_info *i = &m->info;
    return clpeft_rope(m->ctx, m->T, i->heads + i->kv_heads, i->head_size, clp_llama_of(m)->base, inverse, m->S,
                       m->row_start, m->cache ? m->cache->length : 0, qkv, queue, 0, NULL, NULL);
}

static clpeft_status swiglu(const clpeft_model *m, const clp_llama_acts *a, cl_command_queue queue)
{
    return clpeft_swiglu(m->ctx, m->T, m->info.ffn, a->gate_up, up_of(m, a->gate_up), clp_llama_of(m)->s, queue, 0,
                         NULL, NULL);
}

/* ---- forward ---------------------------------------------------------------------------------------------------- */

static clpeft_status embed(clpeft_model *m, clpeft_view x, cl_command_queue queue)
{
    clpeft_status status = CLPEFT_OK;
    clp_stream s;

    TRY(clp_begin(&s, "clpeft_model_forward", m->ctx, queue, 0, NULL));
    TRY(clp_table_look_up(&s, &clp_llama_of(m)->embed, m->T, m->ids, x));
    status = clp_end(&s, NULL);
out:
    return status;
}

/* Within the batch, or with a cache: keys and values go there, and the tokens see all that are there. */
static clpeft_status attend(const clpeft_model *m, const clp_llama_acts *a, size_t b, cl_command_queue queue)
{
    const clpeft_attention_shape shape = attention_shape(m);
    const clpeft_view q = a->qkv, k = key_of(m, q), v = value_of(m, q);
    const size_t columns = m->info.kv_heads * m->info.head_size;
    clpeft_status status = CLPEFT_OK;

    if (!m->cache) return clpeft_attention(m->ctx, &shape, m->row_start, q, k, v, a->o, a->lse, queue, 0, NULL, NULL);
    const clpeft_view keys = { m->cache->blocks[b], 0, 2 * columns },
                      values = { m->cache->blocks[b], columns, 2 * columns };
    const clpeft_view next = { keys.buf, m->cache->length * keys.ld, keys.ld };
    TRY(clpeft_add(m->ctx, m->T, 2 * columns, 1, k, 0, k, next, queue, 0, NULL, NULL)); /* values follow the keys */
    status = clpeft_attention_cached(m->ctx, &shape, m->cache->length, q, keys, values, a->o, queue, 0, NULL, NULL);
out:
    return status;
}

static clpeft_status block_forward(clpeft_model *m, const clpeft_adapter *adapter, size_t b, int keep, clpeft_view x,
                                   clpeft_view y, cl_command_queue queue)
{
    const clp_llama_net *net = m->net;
    const clp_llama_acts *a = acts_of(m, b, keep);
    const size_t layer = b * LLAMA_LAYERS;
    clpeft_status status = CLPEFT_OK;

    TRY(norm(m, 2 * b, x, net->n, a->stat1, queue));
    TRY(clp_project(m, adapter, layer + LLAMA_QKV, keep, net->n, none, a->qkv, queue));
    TRY(rotate(m, a->qkv, 0, queue));
    TRY(attend(m, a, b, queue));
    TRY(clp_project(m, adapter, layer + LLAMA_OUTPUT, keep, a->o, x, a->x1, queue));
    TRY(norm(m, 2 * b + 1, a->x1, net->n, a->stat2, queue));
    TRY(clp_project(m, adapter, layer + LLAMA_GATE_UP, keep, net->n, none, a->gate_up, queue));
    TRY(swiglu(m, a, queue));
    TRY(clp_project(m, adapter, layer + LLAMA_DOWN, keep, net->s, a->x1, y, queue));
out:
    return status;
}

static clpeft_status forward(clpeft_model *m, const clpeft_adapter *adapter, int keep, clpeft_view *y,
                             cl_command_queue queue)
{
    const clp_llama_net *net = m->net;
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
    return clpeft_rms_norm_backward(m->ctx, m->T, m->info.width, x, clp_llama_of(m)->norm[which], stat, dy, accumulate,
                                    dx, queue, 0, NULL, NULL);
}

/* A norm's output again, for the sites of the layer that read it. */
static clpeft_status norm_again(const clpeft_model *m, const clpeft_adapter *adapter, size_t layer, size_t which,
                                clpeft_view x, clpeft_view stat, cl_command_queue queue)
{
    if (!clp_lowrank_find(adapter, m->layers[layer].linear)) return CLPEFT_OK;
    return norm(m, which, x, clp_llama_of(m)->n, stat, queue);
}

/* dx: of the block's output before, of x1 after. Ends at the lowest layer with a site. */
static clpeft_status ffn_backward(clpeft_model *m, clpeft_adapter *adapter, size_t b, clpeft_view dx,
                                  cl_command_queue queue)
{
    const clp_llama_net *net = m->net;
    const clp_llama_acts *a = acts_of(m, b, 1);
    const size_t layer = b * LLAMA_LAYERS;
    const clpeft_view gate = a->gate_up, up = up_of(m, gate);
    clpeft_status status = CLPEFT_OK;

    if (clp_lowrank_find(adapter, m->layers[layer + LLAMA_DOWN].linear)) TRY(swiglu(m, a, queue));
    TRY(clp_project_back(m, adapter, layer + LLAMA_DOWN, CLPEFT_IDENTITY, net->s, dx, 0, 0.0f, net->ds, queue));
    if (m->lowest == layer + LLAMA_DOWN) goto out;
    TRY(clpeft_swiglu_backward(m->ctx, m->T, m->info.ffn, gate, up, net->ds, gate, up, queue, 0, NULL, NULL));
    TRY(norm_again(m, adapter, layer + LLAMA_GATE_UP, 2 * b + 1, a->x1, a->stat2, queue));
    TRY(clp_project_back(m, adapter, layer + LLAMA_GATE_UP, CLPEFT_IDENTITY, net->n, a->gate_up, 1, 0.0f, net->dn,
                         queue));
    if (m->lowest == layer + LLAMA_GATE_UP) goto out;
    TRY(norm_back(m, 2 * b + 1, a->x1, a->stat2, net->dn, 1.0f, dx, queue));
out:
    return status;
}

/* dx: of x1 before, of the block's input after. */
static clpeft_status attention_backward(clpeft_model *m, clpeft_adapter *adapter, size_t b, clpeft_view dx,
                                        cl_command_queue queue)
{
    const clp_llama_net *net = m->net;
    const clp_llama_acts *a = acts_of(m, b, 1);
    const clpeft_attention_shape shape = attention_shape(m);
    const clpeft_view q = a->qkv, k = key_of(m, q), v = value_of(m, q);
    const clpeft_view dq = net->dqkv, dk = key_of(m, dq), dv = value_of(m, dq);
    const size_t layer = b * LLAMA_LAYERS;
    clpeft_status status = CLPEFT_OK;

    TRY(clp_project_back(m, adapter, layer + LLAMA_OUTPUT, CLPEFT_IDENTITY, a->o, dx, 0, 0.0f, net->d_o, queue));
    if (m->lowest == layer + LLAMA_OUTPUT) goto out;
    TRY(clpeft_attention_backward(m->ctx, &shape, m->row_start, q, k, v, a->o, a->lse, net->d_o, net->dsum, dq, dk, dv,
                                  queue, 0, NULL, NULL));
    TRY(rotate(m, net->dqkv, 1, queue));
    TRY(norm_again(m, adapter, layer + LLAMA_QKV, 2 * b, net->x[b], a->stat1, queue));
    TRY(clp_project_back(m, adapter, layer + LLAMA_QKV, CLPEFT_IDENTITY, net->n, net->dqkv, 1, 0.0f, net->dn, queue));
    if (m->lowest < layer + LLAMA_QKV) TRY(norm_back(m, 2 * b, net->x[b], a->stat1, net->dn, 1.0f, dx, queue));
out:
    return status;
}

static clpeft_status backward(clpeft_model *m, clpeft_adapter *adapter, clpeft_view dx, cl_command_queue queue)
{
    const clp_llama_net *net = m->net;
    const size_t blocks = m->info.layers;
    clpeft_status status = CLPEFT_OK;

    TRY(norm_back(m, 2 * blocks, net->x[blocks], net->stat, dx, 0.0f, dx, queue));
    for (size_t b = blocks; b-- > m->lowest / LLAMA_LAYERS;) {
        if (m->options.recompute && b + 1 < blocks) /* the last block's activations are still there */
            TRY(block_forward(m, adapter, b, 1, net->x[b], net->x[b + 1], queue));
        TRY(ffn_backward(m, adapter, b, dx, queue));
        if (m->lowest <= b * LLAMA_LAYERS + LLAMA_OUTPUT) TRY(attention_backward(m, adapter, b, dx, queue));
    }
out:
    return status;
}

static const char *const types[] = { "llama", NULL };

const clp_family clp_llama = {
    .types = types,
    .block_path = "layers.",
    .load = clp_llama_load,
    .destroy = clp_llama_destroy,
    .forward = forward,
    .backward = backward,
};

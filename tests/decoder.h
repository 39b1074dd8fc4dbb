/* decoder.h - a small random decoder of LLaMA's kind: written as a Hugging Face folder or as a GGUF file, and computed in float64 from
 * the formulas. */
#ifndef TEST_DECODER_H
#define TEST_DECODER_H

#include "device.h"

#include <stdarg.h>
#include <unistd.h>

enum { Q_PROJ, K_PROJ, V_PROJ, O_PROJ, GATE_PROJ, UP_PROJ, DOWN_PROJ, PROJS, DECODER_TENSORS = 48 };

typedef struct {
    char name[96], gguf[64];
    size_t rows, cols; /* cols 0: a vector */
    float *data;
} decoder_tensor;

typedef struct {
    size_t V, D, H, Hk, d, F, L;
    int untied;
    clpeft_dtype dtype;     /* of the matrices in the file: their values are ones of this type */
    clpeft_gguf_meta extra; /* one more pair of a GGUF file, if it has a key */
    decoder_tensor tensor[DECODER_TENSORS];
    size_t n;
    char dir[64], path[80]; /* path: of the last file or folder written */
} decoder;

static const char *const proj_names[PROJS] = { "q_proj",    "k_proj",  "v_proj",   "o_proj",
                                               "gate_proj", "up_proj", "down_proj" };
static const char *const proj_groups[PROJS] = {
    "self_attn", "self_attn", "self_attn", "self_attn", "mlp", "mlp", "mlp"
};
static const char *const proj_ggufs[PROJS] = { "attn_q",   "attn_k", "attn_v",  "attn_output",
                                               "ffn_gate", "ffn_up", "ffn_down" };

static inline size_t proj_rows(const decoder *m, int proj)
{
    const size_t rows[PROJS] = { m->H * m->d, m->Hk * m->d, m->Hk * m->d, m->D, m->F, m->F, m->D };
    return rows[proj];
}

static inline size_t proj_columns(const decoder *m, int proj)
{
    return proj == O_PROJ ? m->H * m->d : proj == DOWN_PROJ ? m->F : m->D;
}

/* ---- make ------------------------------------------------------------------------------------------------------- */

/* Values around middle, as the file's type has them. */
static inline decoder_tensor *decoder_add(decoder *m, size_t rows, size_t cols, float middle, float spread)
{
    decoder_tensor *t = &m->tensor[m->n++];
    const size_t n = rows * (cols ? cols : 1);
    t->rows = rows, t->cols = cols, t->data = malloc(n * sizeof *t->data);
    for (size_t i = 0; i < n; i++) t->data[i] = middle + spread * random_float();
    if (cols && m->dtype != CLPEFT_F32) {
        void *narrow = malloc(n * 4);
        ck_ok(clpeft_dtype_from_f32(m->dtype, t->data, n, narrow));
        ck_ok(clpeft_dtype_to_f32(m->dtype, narrow, n, t->data));
        free(narrow);
    }
    return t;
}

__attribute__((format(printf, 2, 3))) static inline decoder_tensor *decoder_find(decoder *m, const char *format, ...)
{
    char name[80];
    va_list args;
    va_start(args, format);
    vsnprintf(name, sizeof name, format, args);
    va_end(args);
    for (size_t i = 0; i < m->n; i++)
        if (strcmp(m->tensor[i].name, name) == 0) return &m->tensor[i];
    ck_abort_msg("no tensor %s", name);
}

static inline void decoder_name(decoder_tensor *t, const char *name, const char *gguf)
{
    snprintf(t->name, sizeof t->name, "%s", name);
    snprintf(t->gguf, sizeof t->gguf, "%s", gguf);
}

static inline void decoder_block(decoder *m, size_t b)
{
    for (int i = 0; i < PROJS; i++) {
        decoder_tensor *t = decoder_add(m, proj_rows(m, i), proj_columns(m, i), 0, 0.35f);
        snprintf(t->name, sizeof t->name, "model.layers.%zu.%s.%s.weight", b, proj_groups[i], proj_names[i]);
        snprintf(t->gguf, sizeof t->gguf, "blk.%zu.%s.weight", b, proj_ggufs[i]);
    }
    for (int i = 0; i < 2; i++) {
        decoder_tensor *t = decoder_add(m, m->D, 0, 1, 0.3f);
        snprintf(t->name, sizeof t->name, "model.layers.%zu.%s.weight", b,
                 i ? "post_attention_layernorm" : "input_layernorm");
        snprintf(t->gguf, sizeof t->gguf, "blk.%zu.%s.weight", b, i ? "ffn_norm" : "attn_norm");
    }
}

/* The model, with what change leaves 0 filled in. */
static inline decoder decoder_make(decoder change)
{
    decoder m = change;
    if (!m.V) m.V = 70;
    if (!m.D) m.D = 64, m.H = 4, m.Hk = 2, m.d = 16, m.F = 96;
    if (!m.L) m.L = 3;
    random_state = 11;
    snprintf(m.dir, sizeof m.dir, "/tmp/clpeft-decoder-XXXXXX");
    ck_assert_ptr_nonnull(mkdtemp(m.dir));
    decoder_name(decoder_add(&m, m.V, m.D, 0, 0.8f), "model.embed_tokens.weight", "token_embd.weight");
    if (m.untied) decoder_name(decoder_add(&m, m.V, m.D, 0, 0.8f), "lm_head.weight", "output.weight");
    decoder_name(decoder_add(&m, m.D, 0, 1, 0.3f), "model.norm.weight", "output_norm.weight");
    for (size_t b = 0; b < m.L; b++) decoder_block(&m, b);
    return m;
}

static inline void decoder_free(decoder *m)
{
    static const char *const files[] = { "config.json", "model.safetensors", "model.gguf", "checkpoint" };
    char path[100];
    for (size_t i = 0; i < m->n; i++) free(m->tensor[i].data);
    for (size_t i = 0; i < sizeof files / sizeof *files; i++) {
        snprintf(path, sizeof path, "%s/%s", m->dir, files[i]);
        unlink(path);
    }
    ck_assert_int_eq(0, rmdir(m->dir));
}

/* ---- write ------------------------------------------------------------------------------------------------------ */

/* A tensor's bytes; matrices in dtype, the rows of query and key in GGUF's order if turned. */
static inline clpeft_write_tensor decoder_bytes(const decoder *m, const decoder_tensor *t, clpeft_dtype dtype,
                                                int turned)
{
    const size_t cols = t->cols ? t->cols : 1, n = t->rows * cols, half = m->d / 2;
    float *rows = malloc(n * sizeof *rows);
    void *data = malloc(4 * n);
    for (size_t i = 0; i < t->rows; i++) {
        const size_t in = i % m->d, from = turned ? i - in + in % 2 * half + in / 2 : i;
        memcpy(rows + i * cols, t->data + from * cols, cols * sizeof *rows);
    }
    if (!t->cols) dtype = CLPEFT_F32;
    ck_ok(clpeft_dtype_from_f32(dtype, rows, n, data));
    free(rows);
    return (
        clpeft_write_tensor){ .dtype = dtype, .n_dims = t->cols ? 2 : 1, .dims = { t->rows, t->cols }, .data = data };
}

/* more: further members of config.json, after a comma. */
static inline void decoder_write_folder(decoder *m, clpeft_dtype dtype, const char *more)
{
    clpeft_write_tensor list[DECODER_TENSORS];
    char name[100];
    snprintf(name, sizeof name, "%s/config.json", m->dir);
    FILE *config = fopen(name, "w");
    ck_assert_ptr_nonnull(config);
    fprintf(
        config,
        "{ \"model_type\": \"llama\", \"hidden_size\": %zu, \"num_hidden_layers\": %zu, \"num_attention_heads\": %zu, "
        "\"num_key_value_heads\": %zu, \"head_dim\": %zu, \"intermediate_size\": %zu, \"vocab_size\": %zu, "
        "\"tie_word_embeddings\": %s, \"max_position_embeddings\": 60, \"rms_norm_eps\": 1e-5%s }",
        m->D, m->L, m->H, m->Hk, m->d, m->F, m->V, m->untied ? "false" : "true", more);
    fclose(config);
    for (size_t i = 0; i < m->n; i++) {
        list[i] = decoder_bytes(m, &m->tensor[i], dtype, 0);
        list[i].name = m->tensor[i].name;
    }
    snprintf(name, sizeof name, "%s/model.safetensors", m->dir);
    ck_ok(clpeft_safetensors_write(name, NULL, 0, list, m->n));
    for (size_t i = 0; i < m->n; i++) free((void *)(uintptr_t)list[i].data);
    snprintf(m->path, sizeof m->path, "%s", m->dir);
}

/* odd: the index of a tensor that is F32 whatever dtype says; SIZE_MAX: none. */
static inline void decoder_write_gguf(decoder *m, clpeft_dtype dtype, size_t odd)
{
#define U32(k, v)                                                        \
    {                                                                    \
        .key = "llama." k, .type = CLPEFT_GGUF_U32, .u32 = (uint32_t)(v) \
    }
    const clpeft_gguf_meta metas[] = {
        { .key = "general.architecture", .type = CLPEFT_GGUF_STRING, .string = "llama" },
        U32("embedding_length", m->D),
        U32("block_count", m->L),
        U32("attention.head_count", m->H),
        U32("attention.head_count_kv", m->Hk),
        U32("attention.key_length", m->d),
        U32("attention.value_length", m->d),
        U32("rope.dimension_count", m->d),
        U32("feed_forward_length", m->F),
        U32("context_length", 60),
        { .key = "llama.attention.layer_norm_rms_epsilon", .type = CLPEFT_GGUF_F32, .f32 = 1e-5f },
        m->extra,
    };
    clpeft_write_tensor list[DECODER_TENSORS];
    for (size_t i = 0; i < m->n; i++) {
        const decoder_tensor *t = &m->tensor[i];
        list[i] = decoder_bytes(m, t, i == odd ? CLPEFT_F32 : dtype,
                                strstr(t->gguf, "attn_q.") || strstr(t->gguf, "attn_k."));
        list[i].name = t->gguf;
    }
    snprintf(m->path, sizeof m->path, "%s/model.gguf", m->dir);
    ck_ok(clpeft_gguf_write(m->path, metas, sizeof metas / sizeof *metas - !m->extra.key, list, m->n));
    for (size_t i = 0; i < m->n; i++) free((void *)(uintptr_t)list[i].data);
}

/* ---- in float64 ------------------------------------------------------------------------------------------------- */

/* The weights of the projections, [L][PROJS]: those of the file, or adapted ones in their place. */
typedef double *decoder_weights[4][PROJS];

static inline decoder_tensor *decoder_proj(decoder *m, size_t b, int proj)
{
    return decoder_find(m, "model.layers.%zu.%s.%s.weight", b, proj_groups[proj], proj_names[proj]);
}

static inline void decoder_weights_copy(decoder *m, decoder_weights w)
{
    for (size_t b = 0; b < m->L; b++)
        for (int i = 0; i < PROJS; i++) {
            const decoder_tensor *t = decoder_proj(m, b, i);
            w[b][i] = malloc(t->rows * t->cols * sizeof(double));
            for (size_t j = 0; j < t->rows * t->cols; j++) w[b][i][j] = t->data[j];
        }
}

static inline void decoder_weights_free(const decoder *m, decoder_weights w)
{
    for (size_t b = 0; b < m->L; b++)
        for (int i = 0; i < PROJS; i++) free(w[b][i]);
}

static inline void decoder_norm(const decoder *m, const float *gamma, size_t T, const double *x, double *y)
{
    for (size_t t = 0; t < T; t++) {
        double square = 0;
        for (size_t i = 0; i < m->D; i++) square += x[t * m->D + i] * x[t * m->D + i] / (double)m->D;
        for (size_t i = 0; i < m->D; i++) y[t * m->D + i] = x[t * m->D + i] / sqrt(square + 1e-5) * gamma[i];
    }
}

/* y [T,N] = x W^T, or added to y. */
static inline void decoder_dense(const decoder *m, decoder_weights w, size_t b, int proj, size_t T, const double *x,
                                 double *y, int add)
{
    const size_t N = proj_rows(m, proj), K = proj_columns(m, proj);
    for (size_t t = 0; t < T; t++)
        for (size_t n = 0; n < N; n++) {
            double sum = add ? y[t * N + n] : 0;
            for (size_t k = 0; k < K; k++) sum += x[t * K + k] * w[b][proj][n * K + k];
            y[t * N + n] = sum;
        }
}

static inline void decoder_rotate(const decoder *m, size_t heads, size_t length, double *x)
{
    const size_t half = m->d / 2;
    for (size_t t = 0; t < length; t++)
        for (size_t h = 0; h < heads; h++)
            for (size_t j = 0; j < half; j++) {
                const double angle = (double)t * pow(10000, -2.0 * (double)j / (double)m->d);
                double *p = x + (t * heads + h) * m->d + j, a = p[0], c = p[half];
                p[0] = a * cos(angle) - c * sin(angle), p[half] = c * cos(angle) + a * sin(angle);
            }
}

/* o of one sequence of `length` tokens: each sees itself and those before it. */
static inline void decoder_attention(const decoder *m, size_t length, const double *q, const double *k, const double *v,
                                     double *o)
{
    double p[64];
    for (size_t h = 0; h < m->H; h++)
        for (size_t t = 0; t < length; t++) {
            const size_t key_head = h * m->Hk / m->H;
            double total = 0, *out = o + (t * m->H + h) * m->d;
            for (size_t u = 0; u <= t; u++) {
                double dot = 0;
                for (size_t i = 0; i < m->d; i++)
                    dot += q[(t * m->H + h) * m->d + i] * k[(u * m->Hk + key_head) * m->d + i];
                total += p[u] = exp(dot / sqrt((double)m->d));
            }
            for (size_t i = 0; i < m->d; i++) {
                out[i] = 0;
                for (size_t u = 0; u <= t; u++) out[i] += p[u] / total * v[(u * m->Hk + key_head) * m->d + i];
            }
        }
}

/* One block of the T tokens of a batch, in place. */
static inline void decoder_block_forward(decoder *m, decoder_weights w, size_t b, const clpeft_batch *batch, double *x,
                                         double *part)
{
    const size_t T = (size_t)batch->row_start[batch->S], Q = m->H * m->d, K = m->Hk * m->d;
    double *n = part, *q = n + T * m->D, *k = q + T * Q, *v = k + T * K, *o = v + T * K, *gate = o + T * Q,
           *up = gate + T * m->F;
    decoder_norm(m, decoder_find(m, "model.layers.%zu.input_layernorm.weight", b)->data, T, x, n);
    decoder_dense(m, w, b, Q_PROJ, T, n, q, 0);
    decoder_dense(m, w, b, K_PROJ, T, n, k, 0);
    decoder_dense(m, w, b, V_PROJ, T, n, v, 0);
    for (size_t s = 0; s < batch->S; s++) {
        const size_t t = (size_t)batch->row_start[s], length = (size_t)batch->row_start[s + 1] - t;
        decoder_rotate(m, m->H, length, q + t * Q);
        decoder_rotate(m, m->Hk, length, k + t * K);
        decoder_attention(m, length, q + t * Q, k + t * K, v + t * K, o + t * Q);
    }
    decoder_dense(m, w, b, O_PROJ, T, o, x, 1);
    decoder_norm(m, decoder_find(m, "model.layers.%zu.post_attention_layernorm.weight", b)->data, T, x, n);
    decoder_dense(m, w, b, GATE_PROJ, T, n, gate, 0);
    decoder_dense(m, w, b, UP_PROJ, T, n, up, 0);
    for (size_t i = 0; i < T * m->F; i++) gate[i] *= up[i] / (1 + exp(-gate[i]));
    decoder_dense(m, w, b, DOWN_PROJ, T, gate, x, 1);
}

/* Last hidden states [T,D], to be freed. */
static inline double *decoder_forward(decoder *m, decoder_weights w, const clpeft_batch *batch)
{
    const size_t T = (size_t)batch->row_start[batch->S];
    const float *embed = decoder_find(m, "model.embed_tokens.weight")->data;
    double *x = malloc(T * m->D * sizeof *x),
           *part = malloc(T * (m->D + 2 * (m->H + m->Hk) * m->d + 2 * m->F) * sizeof *part);
    for (size_t t = 0; t < T; t++)
        for (size_t i = 0; i < m->D; i++) x[t * m->D + i] = embed[(size_t)batch->tokens[t] * m->D + i];
    for (size_t b = 0; b < m->L; b++) decoder_block_forward(m, w, b, batch, x, part);
    decoder_norm(m, decoder_find(m, "model.norm.weight")->data, T, x, x);
    free(part);
    return x;
}

/* Logits [T,V] of hidden states, to be freed. */
static inline double *decoder_logits(decoder *m, size_t T, const double *x)
{
    const float *table = decoder_find(m, m->untied ? "lm_head.weight" : "model.embed_tokens.weight")->data;
    double *logits = calloc(T * m->V, sizeof *logits);
    for (size_t t = 0; t < T; t++)
        for (size_t v = 0; v < m->V; v++)
            for (size_t i = 0; i < m->D; i++) logits[t * m->V + v] += x[t * m->D + i] * (double)table[v * m->D + i];
    return logits;
}

/* The loss of every token, 0 where labels are -1, to be freed. */
static inline double *decoder_losses(decoder *m, decoder_weights w, const clpeft_batch *batch)
{
    const size_t T = (size_t)batch->row_start[batch->S];
    double *x = decoder_forward(m, w, batch), *logits = decoder_logits(m, T, x), *losses = calloc(T, sizeof *losses);
    for (size_t t = 0; t < T; t++) {
        double total = 0;
        if (batch->labels[t] < 0) continue;
        for (size_t v = 0; v < m->V; v++) total += exp(logits[t * m->V + v]);
        losses[t] = log(total) - logits[t * m->V + (size_t)batch->labels[t]];
    }
    free(x), free(logits);
    return losses;
}

/* ---- a batch ---------------------------------------------------------------------------------------------------- */

/* One-token and empty sequences among longer ones. */
static const int32_t decoder_row_start[] = { 0, 1, 8, 8, 19, 20 };
static const int32_t decoder_tokens[20] = { 5, 1, 36, 0, 7, 7, 12, 3, 9, 30, 2, 4, 69, 18, 22, 25, 36, 11, 0, 8 };
static const int32_t decoder_labels[20] = { -1, 36, 0, 7, 7, 12, 3, -1, -1, 2, 4, 69, 18, 22, 25, 36, 11, 0, -1, -1 };
static const clpeft_batch decoder_batch = {
    .S = 5, .row_start = decoder_row_start, .tokens = decoder_tokens, .labels = decoder_labels
};
static const clpeft_model_options decoder_options = { .max_tokens = 23, .max_sequences = 6 };
enum { TOKENS = 20 };

/* Rows of a view in host memory. */
static inline void read_rows(clpeft_view view, size_t rows, size_t cols, float *host)
{
    for (size_t i = 0; i < rows; i++)
        ck_assert_int_eq(CL_SUCCESS, clEnqueueReadBuffer(dev.queue, view.buf, CL_TRUE, 4 * (view.off + i * view.ld),
                                                         4 * cols, host + i * cols, 0, NULL, NULL));
}

#endif

/* tiny.h - a small random BERT: written as a Hugging Face folder, and computed in float64 from the formulas. */
#ifndef TEST_TINY_H
#define TEST_TINY_H

#include "device.h"

#include <stdarg.h>
#include <unistd.h>

enum { TINY_TENSORS = 64, QUERY = 0, KEY, VALUE, OUTPUT, UP, DOWN, MODULES };

typedef struct {
    char name[80];
    size_t rows, cols; /* cols 0: a vector */
    float *data;
} tiny_tensor;

typedef struct {
    size_t V, P, D, H, F, L;
    const char *type, *prefix, *act, *norm_weight, *norm_bias;
    clpeft_dtype dtype; /* of the matrices in the file: F32, or F16, to which their values are then rounded */
    tiny_tensor tensor[TINY_TENSORS];
    size_t n;
    char dir[64];
} tiny;

static const char *const module_paths[MODULES] = { "attention.self.query", "attention.self.key",
                                                   "attention.self.value", "attention.output.dense",
                                                   "intermediate.dense",   "output.dense" };
static const char *const module_names[MODULES] = { "query", "key", "value", "output", "up", "down" };

static inline size_t module_rows(const tiny *m, int module)
{
    return module == UP ? m->F : m->D;
}

static inline size_t module_columns(const tiny *m, int module)
{
    return module == DOWN ? m->F : m->D;
}

/* Values around middle. */
__attribute__((format(printf, 6, 7))) static inline void tiny_add(tiny *m, size_t rows, size_t cols, float middle,
                                                                  float spread, const char *format, ...)
{
    tiny_tensor *t = &m->tensor[m->n++];
    const size_t n = rows * (cols ? cols : 1);
    va_list args;
    va_start(args, format);
    vsnprintf(t->name, sizeof t->name, format, args);
    va_end(args);
    t->rows = rows, t->cols = cols, t->data = malloc(n * sizeof *t->data);
    for (size_t i = 0; i < n; i++) t->data[i] = middle + spread * random_float();
    if (cols && m->dtype != CLPEFT_F32) {
        uint16_t *narrow = malloc(n * sizeof *narrow);
        ck_ok(clpeft_dtype_from_f32(m->dtype, t->data, n, narrow));
        ck_ok(clpeft_dtype_to_f32(m->dtype, narrow, n, t->data));
        free(narrow);
    }
}

__attribute__((format(printf, 2, 3))) static inline tiny_tensor *tiny_find(tiny *m, const char *format, ...)
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

static inline void tiny_norm(tiny *m, const char *path, size_t block)
{
    char full[100];
    snprintf(full, sizeof full, path, block);
    tiny_add(m, m->D, 0, 1, 0.3f, "%s.%s", full, m->norm_weight);
    tiny_add(m, m->D, 0, 0, 0.3f, "%s.%s", full, m->norm_bias);
}

/* Random weights. The fields before `tensor` that are 0 or NULL get defaults. */
static inline tiny tiny_make(tiny m)
{
    if (!m.V) m.V = 37, m.P = 19, m.D = 24, m.H = 3, m.F = 44, m.L = 3;
    if (!m.type) m.type = "bert";
    if (!m.prefix) m.prefix = "";
    if (!m.act) m.act = "gelu";
    if (!m.norm_weight) m.norm_weight = "weight", m.norm_bias = "bias";
    tiny_add(&m, m.V, m.D, 0, 1, "embeddings.word_embeddings.weight");
    tiny_add(&m, m.P, m.D, 0, 0.5f, "embeddings.position_embeddings.weight");
    tiny_add(&m, 2, m.D, 0, 0.5f, "embeddings.token_type_embeddings.weight");
    tiny_norm(&m, "embeddings.LayerNorm", 0);
    for (size_t b = 0; b < m.L; b++) {
        for (int i = 0; i < MODULES; i++) {
            tiny_add(&m, module_rows(&m, i), module_columns(&m, i), 0, 0.4f, "encoder.layer.%zu.%s.weight", b,
                     module_paths[i]);
            tiny_add(&m, module_rows(&m, i), 0, 0, 0.2f, "encoder.layer.%zu.%s.bias", b, module_paths[i]);
        }
        tiny_norm(&m, "encoder.layer.%zu.attention.output.LayerNorm", b);
        tiny_norm(&m, "encoder.layer.%zu.output.LayerNorm", b);
    }
    snprintf(m.dir, sizeof m.dir, "/tmp/clpeft-tiny-XXXXXX");
    ck_assert_ptr_nonnull(mkdtemp(m.dir));
    return m;
}

static inline void tiny_write_text(const tiny *m, const char *file, const char *text)
{
    char path[100];
    snprintf(path, sizeof path, "%s/%s", m->dir, file);
    ck_ok(clpeft_file_replace(path, text, strlen(text)));
}

/* config.json with `more` members at its end ("" or ", ...") and model.safetensors. */
static inline void tiny_write(const tiny *m, const char *more)
{
    static char names[TINY_TENSORS][100];
    clpeft_write_tensor list[TINY_TENSORS];
    void *narrow[TINY_TENSORS] = { 0 };
    char text[1000];

    snprintf(
        text, sizeof text,
        "{\"model_type\": \"%s\", \"hidden_size\": %zu, \"num_hidden_layers\": %zu, \"num_attention_heads\": %zu, "
        "\"intermediate_size\": %zu, \"vocab_size\": %zu, \"max_position_embeddings\": %zu, \"hidden_act\": \"%s\"%s}",
        m->type, m->D, m->L, m->H, m->F, m->V, m->P, m->act, more);
    tiny_write_text(m, "config.json", text);
    for (size_t i = 0; i < m->n; i++) {
        const tiny_tensor *t = &m->tensor[i];
        const size_t n = t->rows * (t->cols ? t->cols : 1);
        snprintf(names[i], sizeof names[i], "%s%s", m->prefix, t->name);
        list[i] = (clpeft_write_tensor){ .name = names[i],
                                         .dtype = CLPEFT_F32,
                                         .n_dims = t->cols ? 2 : 1,
                                         .dims = { t->rows, t->cols },
                                         .data = t->data };
        if (!t->cols || m->dtype == CLPEFT_F32) continue;
        list[i].data = narrow[i] = malloc(2 * n);
        list[i].dtype = m->dtype;
        ck_ok(clpeft_dtype_from_f32(m->dtype, t->data, n, narrow[i]));
    }
    snprintf(text, sizeof text, "%s/model.safetensors", m->dir);
    ck_ok(clpeft_safetensors_write(text, NULL, 0, list, m->n));
    for (size_t i = 0; i < m->n; i++) free(narrow[i]);
}

static inline void tiny_free(tiny *m)
{
    static const char *const files[] = { "config.json", "model.safetensors", "checkpoint" };
    char path[100];
    for (size_t i = 0; i < m->n; i++) free(m->tensor[i].data);
    for (size_t i = 0; i < sizeof files / sizeof *files; i++) {
        snprintf(path, sizeof path, "%s/%s", m->dir, files[i]);
        unlink(path);
    }
    ck_assert_int_eq(0, rmdir(m->dir));
}

/* ---- in float64 ------------------------------------------------------------------------------------------------- */

/* The weights of the modules, [L][MODULES]: those of the file, or adapted ones in their place. */
typedef double *tiny_weights[4][MODULES];

static inline void tiny_weights_copy(tiny *m, tiny_weights w)
{
    for (size_t b = 0; b < m->L; b++)
        for (int i = 0; i < MODULES; i++) {
            const tiny_tensor *t = tiny_find(m, "encoder.layer.%zu.%s.weight", b, module_paths[i]);
            w[b][i] = malloc(t->rows * t->cols * sizeof(double));
            for (size_t j = 0; j < t->rows * t->cols; j++) w[b][i][j] = t->data[j];
        }
}

static inline void tiny_weights_free(const tiny *m, tiny_weights w)
{
    for (size_t b = 0; b < m->L; b++)
        for (int i = 0; i < MODULES; i++) free(w[b][i]);
}

static inline double tiny_activate(const tiny *m, double x)
{
    if (strcmp(m->act, "gelu") == 0) return 0.5 * x * (1 + erf(x / sqrt(2)));
    if (strcmp(m->act, "relu") == 0) return x > 0 ? x : 0;
    if (strcmp(m->act, "silu") == 0) return x / (1 + exp(-x));
    return 0.5 * x * (1 + tanh(sqrt(2 / acos(-1.0)) * (x + 0.044715 * x * x * x)));
}

static inline void tiny_layer_norm(tiny *m, const char *path, size_t block, size_t T, double *x)
{
    char full[100];
    snprintf(full, sizeof full, path, block);
    const float *gamma = tiny_find(m, "%s.%s", full, m->norm_weight)->data,
                *beta = tiny_find(m, "%s.%s", full, m->norm_bias)->data;
    for (size_t t = 0; t < T; t++, x += m->D) {
        double mean = 0, var = 0;
        for (size_t d = 0; d < m->D; d++) mean += x[d] / (double)m->D;
        for (size_t d = 0; d < m->D; d++) var += (x[d] - mean) * (x[d] - mean) / (double)m->D;
        for (size_t d = 0; d < m->D; d++) x[d] = (x[d] - mean) / sqrt(var + 1e-12) * gamma[d] + beta[d];
    }
}

/* y [T,N] = x W^T + bias */
static inline void tiny_dense(tiny *m, tiny_weights w, size_t b, int module, size_t T, const double *x, double *y)
{
    const size_t N = module_rows(m, module), K = module_columns(m, module);
    const float *bias = tiny_find(m, "encoder.layer.%zu.%s.bias", b, module_paths[module])->data;
    for (size_t t = 0; t < T; t++)
        for (size_t n = 0; n < N; n++) {
            double sum = bias[n];
            for (size_t k = 0; k < K; k++) sum += x[t * K + k] * w[b][module][n * K + k];
            y[t * N + n] = sum;
        }
}

/* o of the tokens [start, end) */
static inline void tiny_attention(const tiny *m, size_t start, size_t end, const double *q, const double *k,
                                  const double *v, double *o)
{
    const size_t d = m->D / m->H;
    double p[64];
    for (size_t h = 0; h < m->H; h++)
        for (size_t t = start; t < end; t++) {
            double total = 0;
            for (size_t u = start; u < end; u++) {
                double dot = 0;
                for (size_t i = h * d; i < (h + 1) * d; i++) dot += q[t * m->D + i] * k[u * m->D + i];
                total += p[u - start] = exp(dot / sqrt((double)d));
            }
            for (size_t i = h * d; i < (h + 1) * d; i++) {
                o[t * m->D + i] = 0;
                for (size_t u = start; u < end; u++) o[t * m->D + i] += p[u - start] / total * v[u * m->D + i];
            }
        }
}

static inline void tiny_embed(tiny *m, const clpeft_batch *batch, double *x)
{
    const float *word = tiny_find(m, "embeddings.word_embeddings.weight")->data;
    const float *position = tiny_find(m, "embeddings.position_embeddings.weight")->data;
    const float *type = tiny_find(m, "embeddings.token_type_embeddings.weight")->data;
    const size_t first = strcmp(m->type, "bert") == 0 ? 0 : 2;
    for (size_t q = 0; q < batch->S; q++)
        for (int32_t t = batch->row_start[q]; t < batch->row_start[q + 1]; t++)
            for (size_t d = 0; d < m->D; d++)
                x[(size_t)t * m->D + d] = (double)word[(size_t)batch->tokens[t] * m->D + d] + (double)type[d] +
                                          (double)position[((size_t)(t - batch->row_start[q]) + first) * m->D + d];
}

/* Last hidden states [T,D], to be freed. */
static inline double *tiny_forward(tiny *m, tiny_weights w, const clpeft_batch *batch)
{
    const size_t T = (size_t)batch->row_start[batch->S], D = m->D, F = m->F;
    double *x = malloc(T * D * sizeof *x), *part = malloc(T * (4 * D + F) * sizeof *part), *q = part, *k = q + T * D,
           *v = k + T * D, *o = v + T * D, *p = o + T * D;

    tiny_embed(m, batch, x);
    tiny_layer_norm(m, "embeddings.LayerNorm", 0, T, x);
    for (size_t b = 0; b < m->L; b++) {
        tiny_dense(m, w, b, QUERY, T, x, q);
        tiny_dense(m, w, b, KEY, T, x, k);
        tiny_dense(m, w, b, VALUE, T, x, v);
        for (size_t s = 0; s < batch->S; s++)
            tiny_attention(m, (size_t)batch->row_start[s], (size_t)batch->row_start[s + 1], q, k, v, o);
        tiny_dense(m, w, b, OUTPUT, T, o, q);
        for (size_t i = 0; i < T * D; i++) x[i] += q[i];
        tiny_layer_norm(m, "encoder.layer.%zu.attention.output.LayerNorm", b, T, x);
        tiny_dense(m, w, b, UP, T, x, p);
        for (size_t i = 0; i < T * F; i++) p[i] = tiny_activate(m, p[i]);
        tiny_dense(m, w, b, DOWN, T, p, q);
        for (size_t i = 0; i < T * D; i++) x[i] += q[i];
        tiny_layer_norm(m, "encoder.layer.%zu.output.LayerNorm", b, T, x);
    }
    free(part);
    return x;
}

/* ---- a batch ---------------------------------------------------------------------------------------------------- */

/* One-token and empty sequences among longer ones. */
static const int32_t tiny_row_start[] = { 0, 1, 8, 8, 19, 20 };
static const int32_t tiny_tokens[20] = { 5, 1, 36, 0, 7, 7, 12, 3, 9, 30, 2, 4, 4, 18, 22, 25, 36, 11, 0, 8 };
static const clpeft_batch tiny_batch = { .S = 5, .row_start = tiny_row_start, .tokens = tiny_tokens };
static const clpeft_model_options tiny_options = { .max_tokens = 23, .max_sequences = 6 };
enum { T = 20 };

/* Rows of a view in host memory. */
static inline void read_view(clpeft_view view, size_t rows, size_t cols, float *host)
{
    for (size_t i = 0; i < rows; i++)
        ck_assert_int_eq(CL_SUCCESS, clEnqueueReadBuffer(dev.queue, view.buf, CL_TRUE, 4 * (view.off + i * view.ld),
                                                         4 * cols, host + i * cols, 0, NULL, NULL));
}

#endif

/* tiny_vit.h - a small random vision transformer of each naming: written as a Hugging Face folder, and computed in float64
 * from the formulas. */
#ifndef TEST_TINY_VIT_H
#define TEST_TINY_VIT_H

#include "tiny.h"

enum { IMAGES = 3, CHANNELS = 2, PATCH = 3, SIDE = 4, K = CHANNELS * PATCH * PATCH };

/* What the two namings call the parts of a block. */
static const struct {
    const char *type, *norm[2], *scale[2], *path[MODULES];
} naming[] = {
    { "vit",
      { "layernorm_before", "layernorm_after" },
      { NULL, NULL },
      { "attention.attention.query", "attention.attention.key", "attention.attention.value", "attention.output.dense",
        "intermediate.dense", "output.dense" } },
    { "dinov2",
      { "norm1", "norm2" },
      { "layer_scale1.lambda1", "layer_scale2.lambda1" },
      { "attention.attention.query", "attention.attention.key", "attention.attention.value", "attention.output.dense",
        "mlp.fc1", "mlp.fc2" } },
};

typedef struct {
    tiny t;
    int named;
    size_t side; /* patches along an edge of the images */
    float pixels[IMAGES * CHANNELS * PATCH * PATCH * 36];
} tiny_vit;

static inline void add_norm(tiny *t, const char *path)
{
    tiny_add(t, t->D, 0, 1, 0.3f, "%s.weight", path);
    tiny_add(t, t->D, 0, 0, 0.3f, "%s.bias", path);
}

static inline tiny_vit *make(int named, size_t side)
{
    tiny_vit *v = calloc(1, sizeof *v);
    tiny *t = &v->t;
    char path[90];

    *t = (tiny){
        .D = 24, .H = 3, .F = 48, .L = 2, .type = naming[named].type, .prefix = named ? "dinov2." : "", .act = "gelu"
    };
    v->named = named, v->side = side;
    random_state = 5;
    for (size_t i = 0; i < sizeof v->pixels / sizeof *v->pixels; i++) v->pixels[i] = random_float();
    tiny_add(t, t->D, 0, 0, 1, "embeddings.cls_token");
    tiny_add(t, 1 + SIDE * SIDE, t->D, 0, 1, "embeddings.position_embeddings");
    tiny_add(t, t->D, K, 0, 0.4f, "embeddings.patch_embeddings.projection.weight");
    tiny_add(t, t->D, 0, 0, 0.3f, "embeddings.patch_embeddings.projection.bias");
    add_norm(t, "layernorm");
    for (size_t b = 0; b < t->L; b++) {
        for (int i = 0; i < MODULES; i++) {
            tiny_add(t, module_rows(t, i), module_columns(t, i), 0, 0.4f, "encoder.layer.%zu.%s.weight", b,
                     naming[named].path[i]);
            tiny_add(t, module_rows(t, i), 0, 0, 0.2f, "encoder.layer.%zu.%s.bias", b, naming[named].path[i]);
        }
        for (int i = 0; i < 2; i++) {
            snprintf(path, sizeof path, "encoder.layer.%zu.%s", b, naming[named].norm[i]);
            add_norm(t, path);
            if (naming[named].scale[i]) tiny_add(t, t->D, 0, 0, 1, "encoder.layer.%zu.%s", b, naming[named].scale[i]);
        }
    }
    snprintf(t->dir, sizeof t->dir, "/tmp/clpeft-vit-XXXXXX");
    ck_assert_ptr_nonnull(mkdtemp(t->dir));
    return v;
}

static inline void write_model(const tiny_vit *v, const char *more)
{
    static char names[TINY_TENSORS][100];
    clpeft_write_tensor list[TINY_TENSORS];
    const tiny *t = &v->t;
    char text[1000];

    snprintf(text, sizeof text,
             "{\"model_type\": \"%s\", \"hidden_size\": %zu, \"num_hidden_layers\": %zu, \"num_attention_heads\": %zu, "
             "\"intermediate_size\": %zu, \"mlp_ratio\": 2, \"image_size\": %d, \"patch_size\": %d, "
             "\"num_channels\": %d, \"layer_norm_eps\": 1e-12%s}",
             t->type, t->D, t->L, t->H, t->F, SIDE * PATCH, PATCH, CHANNELS, more);
    tiny_write_text(t, "config.json", text);
    for (size_t i = 0; i < t->n; i++) {
        const tiny_tensor *a = &t->tensor[i];
        snprintf(names[i], sizeof names[i], "%s%s", t->prefix, a->name);
        list[i] = (clpeft_write_tensor){ .name = names[i], .dtype = CLPEFT_F32, .data = a->data };
        list[i].n_dims = a->cols ? 2 : 1, list[i].dims[0] = a->rows, list[i].dims[1] = a->cols;
        const size_t token[] = { 1, 1, t->D }, table[] = { 1, a->rows, t->D },
                     kernel[] = { t->D, CHANNELS, PATCH, PATCH };
        const size_t *dims = strstr(a->name, "cls_token")      ? token
                             : strstr(a->name, "position")     ? table
                             : strstr(a->name, "projection.w") ? kernel
                                                               : NULL;
        if (dims) list[i].n_dims = dims == kernel ? 4 : 3;
        for (size_t d = 0; dims && d < list[i].n_dims; d++) list[i].dims[d] = dims[d];
    }
    snprintf(text, sizeof text, "%s/model.safetensors", t->dir);
    ck_ok(clpeft_safetensors_write(text, NULL, 0, list, t->n));
}

static inline void destroy(tiny_vit *v)
{
    tiny_free(&v->t);
    free(v);
}

/* Query, key and value of every block become one tensor. */
static inline void fuse(tiny_vit *v, const char *path)
{
    tiny *t = &v->t;

    for (size_t b = 0; b < t->L; b++)
        for (int bias = 0; bias < 2; bias++) {
            const char *end = bias ? "bias" : "weight";
            tiny_tensor *part[3];
            for (int i = 0; i < 3; i++)
                part[i] = tiny_find(t, "encoder.layer.%zu.%s.%s", b, naming[v->named].path[i], end);
            const size_t n = part[0]->rows * (bias ? 1 : part[0]->cols);
            float *all = malloc(3 * n * sizeof *all);
            for (int i = 0; i < 3; i++)
                memcpy(all + (size_t)i * n, part[i]->data, n * sizeof *all), free(part[i]->data);
            snprintf(part[0]->name, sizeof part[0]->name, "encoder.layer.%zu.%s.%s", b, path, end);
            part[0]->data = all, part[0]->rows *= 3;
            for (int i = 1; i < 3; i++) { /* the last tensor takes its place */
                const size_t last = --t->n;
                tiny_tensor *gone = tiny_find(t, "encoder.layer.%zu.%s.%s", b, naming[v->named].path[i], end);
                if (gone != &t->tensor[last]) *gone = t->tensor[last];
            }
        }
}

static inline clpeft_model_options options_for(const tiny_vit *v, int recompute, int forward_only)
{
    return (clpeft_model_options){ .image_size = v->side * PATCH,
                                   .max_tokens = IMAGES * (1 + v->side * v->side) + 5,
                                   .recompute = recompute,
                                   .forward_only = forward_only };
}

static inline clpeft_batch batch_of(const tiny_vit *v)
{
    return (clpeft_batch){ .S = IMAGES, .pixels = v->pixels };
}

/* ---- in float64 ------------------------------------------------------------------------------------------------- */

/* The kernel of cubic convolution with a = -0.75. */
static inline double cubic(double x)
{
    const double a = -0.75;
    x = fabs(x);
    if (x <= 1) return (a + 2) * x * x * x - (a + 3) * x * x + 1;
    return x < 2 ? a * (x * x * x - 5 * x * x + 8 * x - 4) : 0;
}

/* Column d of the position of patch (i, j): all points of the plane in reach, edges repeated. */
static inline double position_at(tiny_vit *v, size_t i, size_t j, size_t d)
{
    const float *table = tiny_find(&v->t, "embeddings.position_embeddings")->data;
    const double y = ((double)i + 0.5) * SIDE / (double)v->side - 0.5,
                 x = ((double)j + 0.5) * SIDE / (double)v->side - 0.5;
    double sum = 0;
    for (int r = -3; r < SIDE + 3; r++)
        for (int c = -3; c < SIDE + 3; c++) {
            const size_t row = (size_t)(r < 0       ? 0
                                        : r >= SIDE ? SIDE - 1
                                                    : r),
                         col = (size_t)(c < 0       ? 0
                                        : c >= SIDE ? SIDE - 1
                                                    : c);
            sum += cubic(y - r) * cubic(x - c) * (double)table[(1 + row * SIDE + col) * v->t.D + d];
        }
    return sum;
}

static inline void embed(tiny_vit *v, double *x)
{
    const float *w = tiny_find(&v->t, "embeddings.patch_embeddings.projection.weight")->data,
                *bias = tiny_find(&v->t, "embeddings.patch_embeddings.projection.bias")->data,
                *first = tiny_find(&v->t, "embeddings.cls_token")->data,
                *table = tiny_find(&v->t, "embeddings.position_embeddings")->data;
    const size_t D = v->t.D, n = v->side, size = n * PATCH;
    for (size_t q = 0; q < IMAGES; q++) {
        for (size_t d = 0; d < D; d++) *x++ = (double)first[d] + (double)table[d];
        for (size_t i = 0; i < n * n; i++)
            for (size_t d = 0; d < D; d++, x++) {
                *x = bias[d] + position_at(v, i / n, i % n, d);
                for (size_t k = 0; k < K; k++) {
                    const size_t c = k / (PATCH * PATCH), row = k / PATCH % PATCH + i / n * PATCH,
                                 col = k % PATCH + i % n * PATCH;
                    *x += (double)w[d * K + k] * (double)v->pixels[((q * CHANNELS + c) * size + row) * size + col];
                }
            }
    }
}

static inline void norm(tiny_vit *v, const char *path, size_t rows, const double *x, double *y)
{
    const float *gamma = tiny_find(&v->t, "%s.weight", path)->data, *beta = tiny_find(&v->t, "%s.bias", path)->data;
    const size_t D = v->t.D;
    for (size_t t = 0; t < rows; t++, x += D, y += D) {
        double mean = 0, var = 0;
        for (size_t d = 0; d < D; d++) mean += x[d] / (double)D;
        for (size_t d = 0; d < D; d++) var += (x[d] - mean) * (x[d] - mean) / (double)D;
        for (size_t d = 0; d < D; d++) y[d] = (x[d] - mean) / sqrt(var + 1e-12) * gamma[d] + beta[d];
    }
}

/* y = x W^T + bias */
static inline void dense(tiny_vit *v, tiny_weights w, size_t b, int module, size_t rows, const double *x, double *y)
{
    const size_t N = module_rows(&v->t, module), cols = module_columns(&v->t, module);
    const float *bias = tiny_find(&v->t, "encoder.layer.%zu.%s.bias", b, naming[v->named].path[module])->data;
    for (size_t t = 0; t < rows; t++)
        for (size_t n = 0; n < N; n++) {
            double sum = bias[n];
            for (size_t k = 0; k < cols; k++) sum += x[t * cols + k] * w[b][module][n * cols + k];
            y[t * N + n] = sum;
        }
}

/* x += l * y */
static inline void add_branch(tiny_vit *v, size_t b, int half, size_t rows, const double *y, double *x)
{
    const char *scale = naming[v->named].scale[half];
    const float *l = scale ? tiny_find(&v->t, "encoder.layer.%zu.%s", b, scale)->data : NULL;
    for (size_t i = 0; i < rows * v->t.D; i++) x[i] += (l ? (double)l[i % v->t.D] : 1) * y[i];
}

static inline void weights_copy(tiny_vit *v, tiny_weights w)
{
    for (size_t b = 0; b < v->t.L; b++)
        for (int i = 0; i < MODULES; i++) {
            const tiny_tensor *t = tiny_find(&v->t, "encoder.layer.%zu.%s.weight", b, naming[v->named].path[i]);
            w[b][i] = malloc(t->rows * t->cols * sizeof(double));
            for (size_t j = 0; j < t->rows * t->cols; j++) w[b][i][j] = t->data[j];
        }
}

/* Last hidden states, to be freed. */
static inline double *reference(tiny_vit *v, tiny_weights w)
{
    const size_t each = 1 + v->side * v->side, rows = IMAGES * each, D = v->t.D, F = v->t.F;
    double *x = malloc(rows * D * sizeof *x), *part = malloc(rows * (5 * D + F) * sizeof *part), *q = part,
           *k = q + rows * D, *val = k + rows * D, *o = val + rows * D, *n = o + rows * D, *p = n + rows * D;
    char path[90];

    embed(v, x);
    for (size_t b = 0; b < v->t.L; b++) {
        snprintf(path, sizeof path, "encoder.layer.%zu.%s", b, naming[v->named].norm[0]);
        norm(v, path, rows, x, n);
        dense(v, w, b, QUERY, rows, n, q);
        dense(v, w, b, KEY, rows, n, k);
        dense(v, w, b, VALUE, rows, n, val);
        for (size_t s = 0; s < IMAGES; s++) tiny_attention(&v->t, s * each, (s + 1) * each, q, k, val, o);
        dense(v, w, b, OUTPUT, rows, o, q);
        add_branch(v, b, 0, rows, q, x);
        snprintf(path, sizeof path, "encoder.layer.%zu.%s", b, naming[v->named].norm[1]);
        norm(v, path, rows, x, n);
        dense(v, w, b, UP, rows, n, p);
        for (size_t i = 0; i < rows * F; i++) p[i] = tiny_activate(&v->t, p[i]);
        dense(v, w, b, DOWN, rows, p, q);
        add_branch(v, b, 1, rows, q, x);
    }
    norm(v, "layernorm", rows, x, x);
    free(part);
    return x;
}

#endif

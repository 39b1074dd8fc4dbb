/* golden.h - a golden case as its file describes it: sizes, configuration, tensors. */
#ifndef GOLDEN_H
#define GOLDEN_H

#include "clpeft.h"

#include <jansson.h>
#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define MAX_SITES 16 /* of a block */

typedef struct {
    clpeft_linear *linear;
    char prefix[64]; /* "blocks.0.query." */
    size_t N;
    cl_mem x, y, dy, dx, tape;
    double *dy0; /* the file's dY */
} layer;

typedef struct {
    clpeft_context *ctx;
    cl_command_queue queue;
    clpeft_file *file;
    json_t *config;
    char reason[300]; /* why the case can't be replayed */
    char worst[140];
    double error, bound; /* of the worst tensor: largest error / bound */
    clpeft_adapter_config adapter_config;
    clpeft_adamw adamw;
    size_t blocks, n_names, heads[MAX_SITES], head_size, K, T;
    const char *names[MAX_SITES];
    layer *layers;
    clpeft_params *params;
    clpeft_adapter *adapter;
    clpeft_workspace *ws;
} golden;

/* Note the reason of a failure and return 0, so that `ok && ...` chains stop. */
__attribute__((format(printf, 2, 3))) static int fail(golden *g, const char *format, ...)
{
    va_list list;
    va_start(list, format);
    vsnprintf(g->reason, sizeof g->reason, format, list);
    va_end(list);
    return 0;
}

static int ok(golden *g, clpeft_status status)
{
    return status == CLPEFT_OK || fail(g, "%s", clpeft_error_message());
}

/* ---- the file --------------------------------------------------------------------------------------------------- */

static size_t get_size(golden *g, const char *key)
{
    const json_int_t value = json_integer_value(json_object_get(g->config, key));
    if (value < 1 || value > 1 << 20) return (size_t)fail(g, "config: %s is not an integer from 1 to 2^20", key);
    return (size_t)value;
}

static void get_number(golden *g, const json_t *object, const char *key, float *number)
{
    const json_t *value = json_object_get(object, key);
    *number = (float)json_number_value(value);
    if (!json_is_number(value)) fail(g, "config: %s is not a number", key);
}

static int get_bool(golden *g, const char *key)
{
    const json_t *value = json_object_get(g->config, key);
    if (!json_is_boolean(value)) fail(g, "config: %s is not true or false", key);
    return json_is_true(value);
}

/* Index of the config's word in a list that ends with NULL. */
static int get_word(golden *g, const char *key, const char *const *words)
{
    const char *word = json_string_value(json_object_get(g->config, key));
    for (int i = 0; word && words[i]; i++)
        if (!strcmp(word, words[i])) return i;
    fail(g, "config: %s is %.40s", key, word ? word : "missing");
    return 0;
}

static int read_sites(golden *g)
{
    json_t *heads = json_object_get(g->config, "heads"), *count;
    const char *name;

    json_object_foreach(heads, name, count)
    {
        if (g->n_names == MAX_SITES || json_integer_value(count) < 1 || json_integer_value(count) > 1 << 20 ||
            strlen(name) > 30)
            return fail(g, "config: heads");
        g->names[g->n_names] = name;
        g->heads[g->n_names++] = (size_t)json_integer_value(count);
    }
    g->blocks = get_size(g, "blocks"), g->head_size = get_size(g, "head_dim"), g->K = get_size(g, "K"),
    g->T = get_size(g, "T");
    return g->n_names > 0 ? !*g->reason : fail(g, "config: heads");
}

static int read_config(golden *g)
{
    static const char *const acts[] = {
        "identity", "gelu", "gelu_tanh", "silu", "relu", "tanh", NULL
    }; /* by clpeft_activation */
    static const char *const taus[] = { "none", "fixed", "learned", NULL }, *const shares[] = { "block", "model",
                                                                                                NULL };
    static const char *const w2bs[] = { "shared", "per_head", NULL };
    const clpeft_meta *meta = clpeft_file_meta_find(g->file, "config");
    clpeft_adapter_config *o = &g->adapter_config;
    json_error_t error;

    if (!meta || meta->type != CLPEFT_META_STRING) return fail(g, "no config in the metadata");
    g->config = json_loadb(meta->string, meta->string_bytes, JSON_REJECT_DUPLICATES, &error);
    if (!json_is_object(g->config)) return fail(g, "config: %s", error.text);
    *o = clpeft_adapter_defaults(CLPEFT_LORA);
    g->adamw = clpeft_adamw_defaults();
    o->generator = get_bool(g, "generator"), o->magnitude = get_bool(g, "magnitude");
    o->rslora = get_bool(g, "rslora"), o->norm_gradient = get_bool(g, "norm_gradient");
    o->tau = (clpeft_tau)get_word(g, "tau", taus), o->act = (clpeft_activation)get_word(g, "activation", acts);
    o->share = (clpeft_share)get_word(g, "share", shares), o->w2b = (clpeft_w2b)get_word(g, "w2b", w2bs);
    o->rank = get_size(g, "rank"), o->seed_width = get_size(g, "seed_dim"), o->hidden_width = get_size(g, "hidden");
    get_number(g, g->config, "alpha", &o->alpha), get_number(g, g->config, "tau0", &o->tau0);
    const json_t *adamw = json_object_get(g->config, "adamw");
    get_number(g, adamw, "lr", &g->adamw.lr), get_number(g, adamw, "eps", &g->adamw.eps);
    get_number(g, adamw, "beta1", &g->adamw.beta1), get_number(g, adamw, "beta2", &g->adamw.beta2);
    get_number(g, adamw, "weight_decay", &g->adamw.weight_decay), get_number(g, adamw, "max_norm", &g->adamw.max_norm);
    return read_sites(g);
}

/* A tensor of n values as f64, to be freed; NULL when it is missing or other. optional: then missing is no failure. */
static double *get(golden *g, const char *prefix, const char *name, size_t n, int optional)
{
    char full[200];
    snprintf(full, sizeof full, "%s%s", prefix, name);
    const clpeft_file_tensor *t = clpeft_file_find(g->file, full);
    if (!t && optional) return NULL;
    if (!t || t->dtype != CLPEFT_F64 || t->elements != n)
        return fail(g, "%s is %s; %zu values of F64 are expected", full, t ? "of other type or size" : "missing", n),
               NULL;
    double *values = malloc(n * sizeof *values);
    if (values)
        memcpy(values, t->data, n * sizeof *values);
    else
        fail(g, "out of memory");
    return values;
}

/* Room for n values, to be freed; NULL: noted. */
static float *room(golden *g, size_t n)
{
    float *values = malloc(n * sizeof *values);
    if (!values) fail(g, "out of memory");
    return values;
}

static float *narrow(golden *g, const double *values, size_t n)
{
    float *out = room(g, n);
    for (size_t i = 0; out && i < n; i++) out[i] = (float)values[i];
    return out;
}

#endif

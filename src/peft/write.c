/* write.c - an adapter as a PEFT folder. */
#include "peft/values.h"

#include "clpeft/file.h"
#include "clpeft/peft.h"
#include "peft/fields.h"

#include <errno.h>
#include <jansson.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

/* An export on its way. */
typedef struct {
    clpeft_adapter *adapter;
    const clpeft_model *model;
    clpeft_peft_options options; /* no NULL left but base_model; task_type "" is null */
    cl_command_queue queue;
    clp_paths paths;
    char *adapted; /* of every path */
    size_t n;      /* tensors so far; at most 3 a site and 2 of the head */
    char (*names)[CLP_KEY_SIZE];
    clpeft_write_tensor *tensors;
} export;

/* ---- tensors ---------------------------------------------------------------------------------------------------- */

/* A tensor [rows,cols], or with cols 0 [rows], under the name that stands in the next place of names. */
static clpeft_status add_tensor(export *x, const float *values, size_t rows, size_t cols)
{
    const char *name = x->names[x->n];
    clpeft_status status = CLPEFT_OK;
    void *data;

    TRY(clp_narrow(x->options.dtype, values, rows * (cols ? cols : 1), name, &data));
    x->tensors[x->n++] = (clpeft_write_tensor){
        .name = name, .dtype = x->options.dtype, .n_dims = cols ? 2 : 1, .dims = { rows, cols }, .data = data
    };
out:
    return status;
}

static clpeft_status add_site(export *x, size_t site)
{
    clpeft_status status = CLPEFT_OK;
    clp_values v = { 0 };
    size_t i;

    TRY(clp_values_path(&x->paths, &x->adapter->sites[site], &i));
    TRY(clp_values_read(&v, x->adapter, site, x->queue));
    x->adapted[i] = 1;
    clp_path_key(x->names[x->n], x->paths.paths[i], CLP_LORA_A);
    TRY(add_tensor(x, v.a, v.r, v.K));
    clp_path_key(x->names[x->n], x->paths.paths[i], CLP_LORA_B);
    TRY(add_tensor(x, v.b, v.N, v.r));
    if (!v.m) goto out;
    clp_path_key(x->names[x->n], x->paths.paths[i], CLP_MAGNITUDE);
    TRY(add_tensor(x, v.m, v.N, 0));
out:
    clp_values_free(&v);
    return status;
}

static clpeft_status add_head(export *x)
{
    const clpeft_params *params = x->adapter->params;
    const clpeft_tensor *w = clpeft_params_find(params, "head.weight"), *b = clpeft_params_find(params, "head.bias");
    clpeft_status status = CLPEFT_OK;
    float *values = NULL;

    REQUIRE(w && b && w->n_dims == 2 && b->n_dims == 1, CLPEFT_INVALID_ARGUMENT,
            "head_scale is given, but the arena has no head");
    values = malloc(w->size * sizeof *values);
    REQUIRE(values, CLPEFT_OUT_OF_HOST_MEMORY, "out of memory");
    TRY(clpeft_params_read(params, CLPEFT_THETA, w, values, x->queue));
    for (size_t i = 0; i < w->size; i++) values[i] *= x->options.head_scale;
    snprintf(x->names[x->n], CLP_KEY_SIZE, "base_model.model.classifier.weight");
    TRY(add_tensor(x, values, w->dims[0], w->dims[1]));
    TRY(clpeft_params_read(params, CLPEFT_THETA, b, values, x->queue));
    snprintf(x->names[x->n], CLP_KEY_SIZE, "base_model.model.classifier.bias");
    TRY(add_tensor(x, values, b->dims[0], 0));
out:
    free(values);
    return status;
}

static const char *method_name(const clpeft_adapter_config *c)
{
    if (c->generator) return !c->magnitude ? "hora" : c->tau == CLPEFT_TAU_NONE ? "hora with magnitude" : "doran";
    return !c->magnitude ? "lora" : c->tau == CLPEFT_TAU_NONE ? "dora" : "dora with tau";
}

static clpeft_status write_tensors(export *x, const char *path)
{
    const clpeft_write_meta meta = { "clpeft.method", method_name(&x->adapter->config) };
    clpeft_status status = CLPEFT_OK;

    for (size_t i = 0; i < x->adapter->n_sites; i++) TRY(add_site(x, i));
    if (x->options.head_scale != 0) TRY(add_head(x));
    status = clpeft_safetensors_write(path, &meta, 1, x->tensors, x->n);
out:
    return status;
}

/* ---- config ----------------------------------------------------------------------------------------------------- */

/* The shortest end of a module's path that selects it in every block, and no other module of the model; NULL: there
 * is none. */
static const char *short_name(const export *x, size_t module)
{
    const size_t modules = x->model->n_modules;
    const char *whole = clp_path_in_block(x->model, module, CLP_OBJECT);

    for (size_t i = module; i < x->paths.n; i += modules)
        if (!x->adapted[i]) return NULL;
    for (size_t at = strlen(whole); at-- > 0;) {
        size_t others = 0;
        if (at > 0 && whole[at - 1] != '.') continue;
        for (size_t i = 0; i < x->paths.n; i++)
            others += i % modules != module && clp_path_is_target(x->paths.paths[i], whole + at);
        if (others == 0) return whole + at;
    }
    return NULL;
}

static json_t *list_targets(const export *x)
{
    const size_t modules = x->model->n_modules;
    json_t *list = json_array();

    for (size_t m = 0; m < modules; m++) {
        const char *name = short_name(x, m);
        if (name) json_array_append_new(list, json_string(name));
        for (size_t i = m; !name && i < x->paths.n; i += modules)
            if (x->adapted[i]) json_array_append_new(list, json_string(x->paths.paths[i]));
    }
    return list;
}

/* Ranks or alphas of sites that have their own. */
static json_t *list_pattern(const export *x, int rank)
{
    json_t *pattern = json_object();
    size_t path;

    for (size_t i = 0; i < x->adapter->n_sites; i++) {
        const clpeft_site *s = &x->adapter->sites[i];
        const float value = rank ? (float)s->rank : s->alpha;
        const float common = rank ? (float)x->adapter->config.rank : x->adapter->config.alpha;
        if (value > 0 && value != common && clp_values_path(&x->paths, s, &path) == CLPEFT_OK)
            json_object_set_new(pattern, x->paths.paths[path], clp_peft_number(value));
    }
    return pattern;
}

static json_t *make_config(const export *x)
{
    const clpeft_adapter_config *a = &x->adapter->config;
    const clpeft_peft_options *o = &x->options;
    json_t *config = json_object();
    const struct {
        const char *key;
        json_t *value; /* NULL: out of memory, or text that is not UTF-8 */
    } fields[] = {
        { "alpha_pattern", list_pattern(x, 0) },
        { "auto_mapping", json_null() },
        { "base_model_name_or_path", o->base_model ? json_string(o->base_model) : json_null() },
        { "bias", json_string("none") },
        { "fan_in_fan_out", json_false() },
        { "inference_mode", json_true() },
        { "init_lora_weights", json_true() },
        { "lora_alpha", clp_peft_number(a->alpha) },
        { "lora_dropout", a->dropout > 0 ? clp_peft_number(a->dropout) : json_real(0) },
        { "modules_to_save", o->head_scale != 0 ? json_pack("[s]", "classifier") : json_null() },
        { "peft_type", json_string("LORA") },
        { "r", json_integer((json_int_t)a->rank) },
        { "rank_pattern", list_pattern(x, 1) },
        { "target_modules", list_targets(x) },
        { "task_type", *o->task_type ? json_string(o->task_type) : json_null() },
        { "use_dora", json_boolean(a->magnitude) },
        { "use_rslora", json_boolean(a->rslora) },
    };
    int failed = 0;

    for (size_t i = 0; i < LENGTH(fields); i++) failed |= json_object_set_new(config, fields[i].key, fields[i].value);
    if (!failed) return config;
    json_decref(config);
    return NULL;
}

static clpeft_status write_config(const export *x, const char *path)
{
    clpeft_status status = CLPEFT_OK;
    json_t *config = make_config(x);
    char *text = config ? json_dumps(config, JSON_INDENT(2) | JSON_SORT_KEYS | JSON_REAL_PRECISION(9)) : NULL;

    REQUIRE(text, CLPEFT_INVALID_ARGUMENT, "base_model, task_type or prefix is not UTF-8, or there is no memory");
    status = clpeft_file_replace(path, text, strlen(text));
out:
    free(text);
    json_decref(config);
    return status;
}

/* ---- all of it -------------------------------------------------------------------------------------------------- */

/* By family: the task, without and with a head, and what the wrapped object puts before a path of the model. */
static const struct {
    const char *task, *head_task, *prefix, *head_prefix;
} defaults[] = {
    [CLPEFT_BERT] = { "FEATURE_EXTRACTION", "SEQ_CLS", "", "bert." },
    [CLPEFT_LLAMA] = { "CAUSAL_LM", NULL, "model.", NULL },
    [CLPEFT_VIT] = { "", "", "", "vit." },
};

static const char *default_prefix(const clpeft_model *model, int head)
{
    const clpeft_family family = model->info.family;
    const int dinov2 = family == CLPEFT_VIT && strcmp(model->modules[model->n_modules - 2].path, "mlp.fc1") == 0;

    if (head && dinov2) return "dinov2.";
    return head ? defaults[family].head_prefix : defaults[family].prefix;
}

static clpeft_status set_options(export *x, const clpeft_peft_options *options)
{
    const clpeft_family family = x->model->info.family;
    clpeft_peft_options *o = &x->options;
    clpeft_status status = CLPEFT_OK;

    if (options) *o = *options;
    REQUIRE(o->dtype <= CLPEFT_BF16, CLPEFT_INVALID_ARGUMENT, "dtype %s is none of F32, F16 and BF16",
            clpeft_dtype_name(o->dtype));
    REQUIRE(isfinite(o->head_scale), CLPEFT_INVALID_ARGUMENT, "head_scale is %g", (double)o->head_scale);
    REQUIRE(o->head_scale == 0 || defaults[family].head_prefix, CLPEFT_UNSUPPORTED,
            "the head of a decoder has no bias in PEFT, this one has: export without head_scale");
    const int head = o->head_scale != 0;
    if (!o->task_type) o->task_type = head ? defaults[family].head_task : defaults[family].task;
    if (!o->prefix) o->prefix = default_prefix(x->model, head);
out:
    return status;
}

static clpeft_status write_folder(export *x, const char *folder)
{
    const size_t size = strlen(folder) + sizeof "/adapter_model.safetensors", most = 3 * x->adapter->n_sites + 2;
    clpeft_status status = CLPEFT_OK;
    char *path = malloc(size);

    TRY(clp_paths_create(&x->paths, x->model, CLP_OBJECT, x->options.prefix));
    x->adapted = calloc(x->paths.n, 1);
    x->names = calloc(most, sizeof *x->names);
    x->tensors = calloc(most, sizeof *x->tensors);
    REQUIRE(path && x->adapted && x->names && x->tensors, CLPEFT_OUT_OF_HOST_MEMORY, "out of memory");
    REQUIRE(mkdir(folder, 0777) == 0 || errno == EEXIST, CLPEFT_FILE_ERROR, "%s", strerror(errno));
    snprintf(path, size, "%s/adapter_model.safetensors", folder);
    TRY(write_tensors(x, path));
    snprintf(path, size, "%s/adapter_config.json", folder);
    TRY(write_config(x, path));
out:
    free(path);
    return status;
}

clpeft_status clpeft_peft_export(clpeft_adapter *adapter, const clpeft_model *model, const char *path,
                                 const clpeft_peft_options *options, cl_command_queue queue)
{
    clpeft_status status = CLPEFT_OK;
    cl_command_queue own = NULL;
    export x = { .adapter = adapter, .model = model };

    TRY(clp_live(adapter, CLP_HANDLE_ADAPTER, "clpeft_peft_export"));
    TRY(clp_live(model, CLP_HANDLE_MODEL, "clpeft_peft_export"));
    REQUIRE(path, CLPEFT_INVALID_ARGUMENT, "clpeft_peft_export: path is NULL");
    if (!queue) TRY(clpeft_queue_create(&own, adapter->ctx));
    x.queue = queue ? queue : own;
    if ((status = set_options(&x, options)) == CLPEFT_OK &&
        (status = clpeft_adapter_materialize(adapter, 0, 0, x.queue, 0, NULL, NULL)) == CLPEFT_OK)
        status = write_folder(&x, path);
    if (status != CLPEFT_OK) clp_fail_in("%s", path);
out:
    for (size_t i = 0; i < x.n; i++) free((void *)(uintptr_t)x.tensors[i].data);
    free(x.tensors);
    free(x.names);
    free(x.adapted);
    clp_paths_free(&x.paths);
    clp_queue_end(own);
    return status;
}

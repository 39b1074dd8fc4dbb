/* checkpoint.c - all that a trainer needs to go on to the same bits, in one safetensors file.
 *
 *     theta.<name>, moment1.<name>, moment2.<name>   f32, for every tensor of the arena
 *     metadata: clpeft = trainer, options (JSON), step, applied, skipped, model, model_path, model_width,
 *               model_layers, model_hash */
#include "trainer.h"

#include "file/names.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const struct {
    const char *prefix;
    clpeft_params_buffer which;
} parts[] = { { "theta.", CLPEFT_THETA }, { "moment1.", CLPEFT_MOMENT1 }, { "moment2.", CLPEFT_MOMENT2 } };
enum { PARTS = LENGTH(parts), NAME_SIZE = 128 };

/* ---- save ------------------------------------------------------------------------------------------------------- */

enum { OPTIONS, STEP, APPLIED, SKIPPED, MODEL, WIDTH, LAYERS, HASH, KIND, PATH, PAIRS };
static const char *const keys[PAIRS] = { "options",     "step",         "applied",    "skipped", "model",
                                         "model_width", "model_layers", "model_hash", "clpeft",  "model_path" };

/* The values of the metadata; values[OPTIONS] is to be freed. */
static clpeft_status list_values(const clpeft_trainer *t, char numbers[PAIRS][24], char *values[PAIRS])
{
    clpeft_status status = CLPEFT_OK;
    const clpeft_model_info *info = &t->model->info;
    clpeft_adamw_state state;

    TRY(clpeft_adamw_read_state(t->params, &state, t->queue));
    for (size_t i = 0; i < PAIRS; i++) values[i] = numbers[i];
    snprintf(numbers[STEP], sizeof numbers[0], "%" PRIu64, t->step);
    snprintf(numbers[APPLIED], sizeof numbers[0], "%" PRIu64, state.applied);
    snprintf(numbers[SKIPPED], sizeof numbers[0], "%" PRIu64, state.skipped);
    snprintf(numbers[WIDTH], sizeof numbers[0], "%zu", info->width);
    snprintf(numbers[LAYERS], sizeof numbers[0], "%zu", info->layers);
    snprintf(numbers[HASH], sizeof numbers[0], "%016" PRIx64, info->hash);
    snprintf(numbers[KIND], sizeof numbers[0], "trainer");
    values[MODEL] = t->model->info.name;
    values[PATH] = t->model->path;
    TRY(clp_options_write(&t->options, &values[OPTIONS]));
out:
    return status;
}

/* Entries of one part of the arena; host holds the whole buffer. */
static void list_tensors(const clpeft_params *params, size_t part, const float *host, char (*names)[NAME_SIZE],
                         clpeft_write_tensor *list)
{
    for (size_t i = 0; i < clpeft_params_count(params); i++) {
        const clpeft_tensor *t = clpeft_params_tensor(params, i);
        list[i] =
            (clpeft_write_tensor){ .name = names[i], .dtype = CLPEFT_F32, .n_dims = t->n_dims, .data = host + t->off };
        snprintf(names[i], NAME_SIZE, "%s%s", parts[part].prefix, t->name);
        for (size_t d = 0; d < t->n_dims; d++) list[i].dims[d] = t->dims[d];
    }
}

clpeft_status clpeft_trainer_save(const clpeft_trainer *t, const char *path, const clpeft_write_meta *extra,
                                  size_t n_extra)
{
    clpeft_status status = CLPEFT_OK;
    char numbers[PAIRS][24], *values[PAIRS] = { 0 }, (*names)[NAME_SIZE] = NULL;
    clpeft_write_meta *metas = NULL;
    clpeft_write_tensor *list = NULL;
    float *host = NULL;

    TRY(clp_live(t, CLP_HANDLE_TRAINER, "clpeft_trainer_save"));
    TRY(clp_live(t->model, CLP_HANDLE_MODEL, "clpeft_trainer_save"));
    REQUIRE(path && (extra || n_extra == 0), CLPEFT_INVALID_ARGUMENT, "clpeft_trainer_save: path or extra is NULL");
    REQUIRE(t->phase == CLP_IDLE, CLPEFT_INVALID_ARGUMENT,
            "clpeft_trainer_save: between clpeft_train_begin and clpeft_train_update");
    const size_t n = clpeft_params_count(t->params), size = clpeft_params_size(t->params);
    names = calloc(PARTS * n, sizeof *names);
    list = calloc(PARTS * n, sizeof *list);
    host = malloc(PARTS * size * sizeof *host);
    metas = calloc(PAIRS + n_extra, sizeof *metas);
    REQUIRE(names && list && host && metas, CLPEFT_OUT_OF_HOST_MEMORY, "clpeft_trainer_save: out of memory");
    TRY(list_values(t, numbers, values));
    for (size_t i = 0; i < PAIRS; i++) metas[i] = (clpeft_write_meta){ keys[i], values[i] };
    for (size_t i = 0; i < n_extra; i++) metas[PAIRS + i] = extra[i];
    for (size_t p = 0; p < PARTS; p++) {
        TRY(clpeft_params_read(t->params, parts[p].which, NULL, host + p * size, t->queue));
        list_tensors(t->params, p, host + p * size, names + p * n, list + p * n);
    }
    status = clpeft_safetensors_write(path, metas, PAIRS + n_extra, list, PARTS * n);
out:
    free(values[OPTIONS]);
    free(metas);
    free(host);
    free(list);
    free(names);
    return status;
}

/* ---- load ------------------------------------------------------------------------------------------------------- */

/* An open checkpoint. */
typedef struct {
    clpeft_file *file;
    json_t *config; /* behind options.sites */
    clpeft_trainer_options options;
    uint64_t step, applied, skipped, width, layers;
    const char *hash, *model;
} checkpoint;

static clpeft_status meta_text(const checkpoint *c, const char *key, const char **text)
{
    const clpeft_meta *meta = clpeft_file_meta_find(c->file, key);

    if (!meta || meta->type != CLPEFT_META_STRING)
        return clp_fail(CLPEFT_INVALID_FILE, "metadata \"%s\" is missing", key);
    *text = meta->string;
    return CLPEFT_OK;
}

static clpeft_status meta_number(const checkpoint *c, const char *key, uint64_t *value)
{
    clpeft_status status = CLPEFT_OK;
    const char *text = NULL;

    TRY(meta_text(c, key, &text));
    REQUIRE(clp_parse_u64(text, value), CLPEFT_INVALID_FILE, "metadata \"%s\" is not a whole number", key);
out:
    return status;
}

static void close_checkpoint(checkpoint *c)
{
    clpeft_file_close(c->file);
    json_decref(c->config);
}

static clpeft_status read_metadata(checkpoint *c)
{
    clpeft_status status = CLPEFT_OK;
    const char *text = NULL;

    REQUIRE(clpeft_file_format(c->file) == CLPEFT_SAFETENSORS, CLPEFT_INVALID_FILE,
            "not a checkpoint of a trainer: a GGUF file");
    const clpeft_meta *kind = clpeft_file_meta_find(c->file, keys[KIND]);
    REQUIRE(kind && strcmp(kind->string, "trainer") == 0, CLPEFT_INVALID_FILE, "not a checkpoint of a trainer");
    TRY(meta_text(c, keys[OPTIONS], &text));
    status = clp_options_read(&c->options, &c->config, text, strlen(text));
    if (status != CLPEFT_OK) clp_fail_in("options");
    TRY(status);
    TRY(meta_number(c, keys[STEP], &c->step));
    TRY(meta_number(c, keys[APPLIED], &c->applied));
    TRY(meta_number(c, keys[SKIPPED], &c->skipped));
    TRY(meta_number(c, keys[WIDTH], &c->width));
    TRY(meta_number(c, keys[LAYERS], &c->layers));
    TRY(meta_text(c, keys[MODEL], &c->model));
    TRY(meta_text(c, keys[HASH], &c->hash));
    REQUIRE(c->applied <= c->step && c->skipped == c->step - c->applied, CLPEFT_INVALID_FILE,
            "%" PRIu64 " steps are not %" PRIu64 " applied and %" PRIu64 " skipped", c->step, c->applied, c->skipped);
out:
    return status;
}

static clpeft_status open_checkpoint(checkpoint *c, const char *path)
{
    clpeft_status status = CLPEFT_OK;

    *c = (checkpoint){ 0 };
    TRY(clpeft_file_open(&c->file, path));
    status = read_metadata(c);
    if (status != CLPEFT_OK) clp_fail_in("%s", path);
out:
    return status;
}

/* Elements of A and B of all sites. */
static clpeft_status count_direct(const checkpoint *c, const clpeft_model *model, uint64_t *elements)
{
    clpeft_status status = CLPEFT_OK;
    clpeft_site *sites = NULL;
    size_t n = 0;

    TRY(clpeft_model_sites(model, c->options.sites, &sites, &n));
    *elements = 0;
    for (size_t i = 0; i < n; i++) {
        const uint64_t rank = sites[i].rank ? sites[i].rank : c->options.adapter.rank;
        *elements += rank * (sites[i].heads * sites[i].head_size + clpeft_linear_columns(sites[i].linear));
    }
out:
    free(sites);
    return status;
}

/* Before anything is allocated from the options' numbers: each is a dimension of a tensor that is in the file. */
static clpeft_status check_sizes(const checkpoint *c, const clpeft_model *model)
{
    const clpeft_adapter_config *a = &c->options.adapter;
    clpeft_status status = CLPEFT_OK;
    uint64_t elements = 0, direct = 0;

    for (size_t i = 0; i < clpeft_file_tensors(c->file); i++) {
        const clpeft_file_tensor *t = clpeft_file_tensor_at(c->file, i);
        if (strncmp(t->name, "theta.", 6) == 0) elements += t->bytes / 4;
    }
    if (!a->generator) TRY(count_direct(c, model, &direct));
    REQUIRE(direct <= elements && c->options.classes <= elements / c->width, CLPEFT_INVALID_FILE,
            "rank %zu and %zu classes, but %" PRIu64 " parameters in all", a->rank, c->options.classes, elements);
    REQUIRE(!a->generator ||
                (a->rank <= elements && a->seed_width <= elements && a->hidden_width <= elements / c->width),
            CLPEFT_INVALID_FILE, "rank %zu, seed_width %zu and hidden_width %zu, but %" PRIu64 " parameters in all",
            a->rank, a->seed_width, a->hidden_width, elements);
out:
    return status;
}

static clpeft_status check_model(const checkpoint *c, const clpeft_model *model)
{
    const clpeft_model_info *info = &model->info;
    clpeft_status status = CLPEFT_OK;
    char hash[24];

    REQUIRE(c->width == info->width && c->layers == info->layers, CLPEFT_UNSUPPORTED,
            "made for a model of width %" PRIu64 " with %" PRIu64 " layers, this one has width %zu and %zu layers",
            c->width, c->layers, info->width, info->layers);
    snprintf(hash, sizeof hash, "%016" PRIx64, info->hash);
    REQUIRE(strcmp(hash, c->hash) == 0, CLPEFT_UNSUPPORTED,
            "made for other weights than these (hash %s of \"%s\", here %s of \"%s\")",
            clp_quote(c->hash, strlen(c->hash)).text, clp_quote(c->model, strlen(c->model)).text, hash, info->name);
out:
    return status;
}

/* One tensor of one part of the arena, into its place in host. */
static clpeft_status read_tensor(const checkpoint *c, const clpeft_tensor *t, size_t part, float *host)
{
    clpeft_status status = CLPEFT_OK;
    char name[NAME_SIZE];

    snprintf(name, sizeof name, "%s%s", parts[part].prefix, t->name);
    const clpeft_file_tensor *f = clpeft_file_find(c->file, name);
    REQUIRE(f, CLPEFT_INVALID_FILE, "tensor %s is missing", name);
    REQUIRE(f->dtype == CLPEFT_F32, CLPEFT_INVALID_FILE, "tensor %s is of type %s, not F32", name, f->dtype_name);
    REQUIRE(f->n_dims == t->n_dims, CLPEFT_INVALID_FILE, "tensor %s has %zu dimensions, not %zu", name, f->n_dims,
            t->n_dims);
    for (size_t d = 0; d < t->n_dims; d++)
        REQUIRE(f->dims[d] == t->dims[d], CLPEFT_INVALID_FILE, "tensor %s: dimension %zu is %" PRIu64 ", not %zu", name,
                d, f->dims[d], t->dims[d]);
    TRY(clpeft_file_read_f32(f, 0, t->size, host + t->off));
    for (size_t i = 0; i < t->size; i++) {
        const float x = host[t->off + i];
        REQUIRE(isfinite(x) && (parts[part].which != CLPEFT_MOMENT2 || x >= 0), CLPEFT_INVALID_FILE,
                "tensor %s: value %zu is %g", name, i, (double)x);
    }
out:
    return status;
}

static clpeft_status read_parts(const checkpoint *c, clpeft_trainer *t)
{
    const size_t n = clpeft_params_count(t->params), size = clpeft_params_size(t->params);
    clpeft_status status = CLPEFT_OK;
    float *host = calloc(size, sizeof *host);

    REQUIRE(host, CLPEFT_OUT_OF_HOST_MEMORY, "out of memory");
    REQUIRE(clpeft_file_tensors(c->file) == PARTS * n, CLPEFT_INVALID_FILE, "%zu tensors, not the %zu of this trainer",
            clpeft_file_tensors(c->file), PARTS * n);
    for (size_t p = 0; p < PARTS; p++) {
        for (size_t i = 0; i < n; i++) TRY(read_tensor(c, clpeft_params_tensor(t->params, i), p, host));
        TRY(clpeft_params_write(t->params, parts[p].which, NULL, host, t->queue));
    }
    t->step = c->step;
    const clpeft_adamw_state state = { .applied = c->applied, .skipped = c->skipped, .finite = 1 };
    status = clpeft_adamw_write_state(t->params, &state, t->queue);
out:
    free(host);
    return status;
}

clpeft_status clpeft_trainer_load(clpeft_trainer **result, clpeft_model *model, const char *path)
{
    clpeft_status status = CLPEFT_OK;
    clpeft_trainer *t = NULL;
    checkpoint c = { 0 };

    REQUIRE(result && path, CLPEFT_INVALID_ARGUMENT, "clpeft_trainer_load: trainer or path is NULL");
    TRY(clp_live(model, CLP_HANDLE_MODEL, "clpeft_trainer_load"));
    TRY(open_checkpoint(&c, path));
    if ((status = check_model(&c, model)) == CLPEFT_OK && (status = check_sizes(&c, model)) == CLPEFT_OK &&
        (status = clpeft_trainer_create(&t, model, &c.options)) == CLPEFT_OK)
        status = read_parts(&c, t);
    if (status != CLPEFT_OK) clp_fail_in("%s", path);
    TRY(status);
    *result = t;
    t = NULL;
out:
    close_checkpoint(&c);
    clpeft_trainer_destroy(t);
    return status;
}

clpeft_status clpeft_trainer_peek(const char *path, clpeft_trainer_options *options, char *sites, size_t size)
{
    clpeft_status status = CLPEFT_OK;
    checkpoint c = { 0 };

    REQUIRE(path && options && sites, CLPEFT_INVALID_ARGUMENT, "clpeft_trainer_peek: path, options or sites is NULL");
    TRY(open_checkpoint(&c, path));
    REQUIRE(strlen(c.options.sites) < size, CLPEFT_INVALID_SIZE,
            "clpeft_trainer_peek: the list of sites needs %zu bytes", strlen(c.options.sites) + 1);
    strcpy(sites, c.options.sites);
    *options = c.options;
    options->sites = sites;
out:
    close_checkpoint(&c);
    return status;
}

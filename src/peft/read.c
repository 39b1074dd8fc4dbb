/* read.c - open a PEFT folder: config and tensors, checked against each other and against a model. */
#include "peft/folder.h"
#include "peft/pattern.h"
#include "peft/tensors.h"

#include "file/names.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* ---- layers ----------------------------------------------------------------------------------------------------- */

/* Tensors of the folder that belong to a path. */
static size_t count_parts(const clp_tensors *tensors, const char *path)
{
    char key[CLP_KEY_SIZE];
    size_t n = 0;

    for (int part = 0; part < CLP_PARTS; part++) {
        clp_path_key(key, path, (clp_part)part);
        n += clpeft_file_find(tensors->file, key) != NULL;
    }
    return n;
}

/* The paths in the first naming and with the first prefix by which the file names a layer of the model. */
static clpeft_status find_paths(clpeft_peft *peft, const clpeft_model *model, const clp_tensors *tensors)
{
    clpeft_status status = CLPEFT_OK;

    for (size_t p = 0; p < CLP_PREFIXES * CLP_NAMINGS; p++) {
        clp_paths_free(&peft->paths);
        TRY(clp_paths_create(&peft->paths, model, (clp_naming)(p / CLP_PREFIXES), clp_prefixes[p % CLP_PREFIXES]));
        for (size_t i = 0; i < peft->paths.n; i++)
            if (count_parts(tensors, peft->paths.paths[i]) > 0) return CLPEFT_OK;
    }
    TRY(clp_tensors_check_rest(tensors));
    status = clp_fail(CLPEFT_INVALID_FILE, "there is no tensor in it");
out:
    return status;
}

/* m, present or not as use_dora says. */
static clpeft_status read_magnitude(const clpeft_peft *peft, clp_peft_layer *layer, clp_tensors *tensors)
{
    clpeft_status status = CLPEFT_OK;
    const clpeft_file_tensor *found = NULL;
    char key[CLP_KEY_SIZE];

    for (int part = CLP_MAGNITUDE; part <= CLP_MAGNITUDE_WEIGHT && !found; part++) {
        clp_path_key(key, layer->path, (clp_part)part);
        found = clp_tensors_take(tensors, key);
    }
    REQUIRE(!found || peft->config.dora, CLPEFT_INVALID_FILE, "tensor %s is there, but use_dora is false", key);
    REQUIRE(found || !peft->config.dora, CLPEFT_INVALID_FILE, "%s has no lora_magnitude_vector, but use_dora is true",
            layer->path);
    if (found) status = clp_tensor_values(found, layer->N, 0, &layer->m);
out:
    return status;
}

static clpeft_status read_layer(const clpeft_peft *peft, clp_peft_layer *layer, clp_tensors *tensors)
{
    clpeft_status status = CLPEFT_OK;
    const clpeft_file_tensor *a, *b;
    char key[CLP_KEY_SIZE];

    clp_path_key(key, layer->path, CLP_LORA_A);
    a = clp_tensors_take(tensors, key);
    REQUIRE(a, CLPEFT_INVALID_FILE, "tensor %s is missing", key);
    clp_path_key(key, layer->path, CLP_LORA_B);
    b = clp_tensors_take(tensors, key);
    REQUIRE(b, CLPEFT_INVALID_FILE, "tensor %s is missing", key);
    REQUIRE(a->n_dims == 2 && a->dims[0] == layer->r, CLPEFT_INVALID_FILE,
            "tensor %s has %llu rows, but the config's rank for it is %zu", a->name,
            (unsigned long long)(a->n_dims > 0 ? a->dims[0] : 0), layer->r);
    TRY(clp_tensor_values(a, layer->r, layer->K, &layer->a));
    TRY(clp_tensor_values(b, layer->N, layer->r, &layer->b));
    status = read_magnitude(peft, layer, tensors);
out:
    return status;
}

/* Rank and alpha of every path, by the config. */
static clpeft_status list_values(const clpeft_peft *peft, double *ranks, double *alphas)
{
    clpeft_status status = CLPEFT_OK;

    for (size_t i = 0; i < peft->paths.n; i++) ranks[i] = (double)peft->config.r, alphas[i] = peft->config.alpha;
    if ((status = clp_pattern_values(peft->config.rank_pattern, peft->paths.n, peft->paths.paths, ranks)) != CLPEFT_OK)
        clp_fail_in("rank_pattern");
    else if ((status = clp_pattern_values(peft->config.alpha_pattern, peft->paths.n, peft->paths.paths, alphas)) !=
             CLPEFT_OK)
        clp_fail_in("alpha_pattern");
    return status;
}

static clpeft_status read_layers(clpeft_peft *peft, clp_tensors *tensors)
{
    const clp_paths *paths = &peft->paths;
    clpeft_status status = CLPEFT_OK;
    double *ranks = malloc(paths->n * sizeof *ranks), *alphas = malloc(paths->n * sizeof *alphas);

    peft->layers = calloc(paths->n, sizeof *peft->layers);
    REQUIRE(ranks && alphas && peft->layers, CLPEFT_OUT_OF_HOST_MEMORY, "out of memory");
    TRY(list_values(peft, ranks, alphas));
    for (size_t i = 0; i < paths->n; i++) {
        if (count_parts(tensors, paths->paths[i]) == 0) continue;
        clp_peft_layer *layer = &peft->layers[peft->n++];
        *layer = (clp_peft_layer){ .site = paths->sites[i], .path = paths->paths[i], .r = (size_t)ranks[i] };
        layer->N = layer->site.heads * layer->site.head_size;
        layer->K = clpeft_linear_columns(layer->site.linear);
        if (layer->r != peft->config.r) layer->site.rank = layer->r;
        if ((float)alphas[i] != (float)peft->config.alpha) layer->site.alpha = (float)alphas[i];
        TRY(read_layer(peft, layer, tensors));
    }
out:
    free(ranks);
    free(alphas);
    return status;
}

/* ---- head ------------------------------------------------------------------------------------------------------- */

static int lists(const json_t *list, const char *text)
{
    for (size_t i = 0; i < json_array_size(list); i++)
        if (strcmp(json_string_value(json_array_get(list, i)), text) == 0) return 1;
    return 0;
}

/* modules_to_save names heads only, and those that it names are there; SEQ_CLS names both by itself and needs none.
 * */
static clpeft_status check_saved(const clp_peft_config *c, const char *head)
{
    const int any = strcmp(c->task_type, "SEQ_CLS") == 0;
    clpeft_status status = CLPEFT_OK;

    REQUIRE(!head || any || lists(c->saved, head), CLPEFT_INVALID_FILE,
            "%s is there, but modules_to_save does not name it", head);
    for (size_t i = 0; i < json_array_size(c->saved); i++) {
        const char *name = json_string_value(json_array_get(c->saved, i));
        REQUIRE(strcmp(name, "classifier") == 0 || strcmp(name, "score") == 0, CLPEFT_UNSUPPORTED,
                "modules_to_save names \"%s\": only the heads classifier and score are supported",
                clp_quote(name, strlen(name)).text);
        REQUIRE(any || (head && strcmp(name, head) == 0), CLPEFT_INVALID_FILE,
                "modules_to_save names %s, but tensor base_model.model.%s.weight is missing", name, name);
    }
out:
    return status;
}

/* classifier.weight [labels,width] and .bias [labels]; or score.weight, the head of a decoder, which has no bias. */
static clpeft_status read_head(clpeft_peft *peft, clp_tensors *tensors)
{
    clpeft_status status = CLPEFT_OK;
    const clpeft_file_tensor *score = NULL, *w = clp_tensors_take(tensors, "base_model.model.classifier.weight");
    const clpeft_file_tensor *bias = clp_tensors_take(tensors, "base_model.model.classifier.bias");

    REQUIRE(!w == !bias, CLPEFT_INVALID_FILE, "tensor base_model.model.classifier.%s is missing",
            w ? "bias" : "weight");
    if (!w) w = score = clp_tensors_take(tensors, "base_model.model.score.weight");
    TRY(check_saved(&peft->config, score ? "score" : w ? "classifier" : NULL));
    if (!w) goto out;
    REQUIRE(w->n_dims == 2 && w->dims[0] > 0 && w->dims[0] <= INT32_MAX, CLPEFT_INVALID_FILE,
            "tensor %s is no matrix of labels", w->name);
    peft->classes = (size_t)w->dims[0];
    TRY(clp_tensor_values(w, peft->classes, peft->width, &peft->weight));
    if (bias)
        TRY(clp_tensor_values(bias, peft->classes, 0, &peft->bias));
    else
        peft->bias = calloc(peft->classes, sizeof *peft->bias);
    REQUIRE(peft->bias, CLPEFT_OUT_OF_HOST_MEMORY, "out of memory");
out:
    return status;
}

/* ---- targets ---------------------------------------------------------------------------------------------------- */

static int is_target(const json_t *targets, const char *path)
{
    for (size_t i = 0; i < json_array_size(targets); i++)
        if (clp_path_is_target(path, json_string_value(json_array_get(targets, i)))) return 1;
    return 0;
}

/* A list of targets and the tensors name the same layers, unless other fields leave some out. */
static clpeft_status check_targets(const clpeft_peft *peft)
{
    const json_t *targets = peft->config.targets;
    clpeft_status status = CLPEFT_OK;
    size_t next = 0;

    for (size_t i = 0; i < json_array_size(targets); i++) {
        const char *entry = json_string_value(json_array_get(targets, i));
        size_t p = 0;
        while (p < peft->paths.n && !clp_path_is_target(peft->paths.paths[p], entry)) p++;
        REQUIRE(p < peft->paths.n, CLPEFT_UNSUPPORTED,
                "target_modules names \"%s\", but the model has no linear layer of that name to adapt",
                clp_quote(entry, strlen(entry)).text);
    }
    for (size_t i = 0; targets && i < peft->paths.n; i++) {
        const char *path = peft->paths.paths[i];
        const int there = next < peft->n && peft->layers[next].path == path;
        const int wanted = is_target(targets, path);
        next += (size_t)there;
        REQUIRE(wanted || !there, CLPEFT_INVALID_FILE, "tensors of %s are there, but target_modules does not name it",
                path);
        REQUIRE(there || !wanted || peft->config.narrowed, CLPEFT_INVALID_FILE,
                "target_modules names %s, but its tensors are missing", path);
    }
out:
    return status;
}

/* ---- the list of sites ------------------------------------------------------------------------------------------ */

/* [BLOCK.]NAME[:RANK[:ALPHA]], as clpeft_model_sites takes it. An alpha goes through JSON, which no locale changes.
 * */
static clpeft_status add_entry(char *list, const clp_peft_layer *layer, int with_block)
{
    const clpeft_site *s = &layer->site;
    char *at = list + strlen(list);

    if (at > list) *at++ = ',';
    if (with_block) at += sprintf(at, "%zu.", s->block);
    at += sprintf(at, "%.60s", s->name);
    if (s->rank || s->alpha > 0) at += sprintf(at, ":%zu", layer->r);
    if (s->alpha > 0) {
        json_t *alpha = clp_peft_number(s->alpha);
        char *text = json_dumps(alpha, JSON_ENCODE_ANY | JSON_REAL_PRECISION(9));
        json_decref(alpha);
        if (!text) return clp_fail(CLPEFT_OUT_OF_HOST_MEMORY, "out of memory");
        sprintf(at, ":%.30s", text);
        free(text);
    }
    return CLPEFT_OK;
}

/* Whether a module is adapted in every block, and everywhere alike. */
static int is_uniform(const clpeft_peft *peft, const clp_peft_layer *layer, size_t blocks)
{
    size_t n = 0;

    for (size_t i = 0; i < peft->n; i++) {
        const clpeft_site *s = &peft->layers[i].site;
        n += strcmp(s->name, layer->site.name) == 0 && s->rank == layer->site.rank && s->alpha == layer->site.alpha;
    }
    return n == blocks;
}

static clpeft_status list_sites(clpeft_peft *peft, size_t blocks)
{
    enum { ENTRY = 160 }; /* the longest: a name, and numbers of 20, 20 and 30 digits */
    clpeft_status status = CLPEFT_OK;
    char *list = calloc(peft->n + 1, ENTRY);

    REQUIRE(list, CLPEFT_OUT_OF_HOST_MEMORY, "out of memory");
    for (size_t i = 0; i < peft->n; i++) {
        const int uniform = is_uniform(peft, &peft->layers[i], blocks);
        if (!uniform || peft->layers[i].site.block == 0) TRY(add_entry(list, &peft->layers[i], !uniform));
    }
    peft->sites = list;
    list = NULL;
out:
    free(list);
    return status;
}

/* ---- all of it -------------------------------------------------------------------------------------------------- */

static clpeft_status read_config(clpeft_peft *peft, const char *folder)
{
    const size_t size = strlen(folder) + sizeof "/adapter_config.json";
    clpeft_status status = CLPEFT_OK;
    char *path = malloc(size);

    REQUIRE(path, CLPEFT_OUT_OF_HOST_MEMORY, "out of memory");
    snprintf(path, size, "%s/adapter_config.json", folder);
    status = clp_peft_config_read(&peft->config, path);
out:
    free(path);
    return status;
}

static clpeft_status read_tensors(clpeft_peft *peft, const clpeft_model *model, clp_tensors *tensors)
{
    clpeft_status status = CLPEFT_OK;

    TRY(find_paths(peft, model, tensors));
    TRY(read_layers(peft, tensors));
    TRY(read_head(peft, tensors));
    TRY(clp_tensors_check_rest(tensors));
    TRY(check_targets(peft));
    status = list_sites(peft, model->info.layers);
out:
    return status;
}

clpeft_status clpeft_peft_open(clpeft_peft **result, const clpeft_model *model, const char *path)
{
    clpeft_status status = CLPEFT_OK;
    clpeft_peft *peft = NULL;
    clp_tensors tensors = { 0 };

    REQUIRE(result && path, CLPEFT_INVALID_ARGUMENT, "clpeft_peft_open: peft or path is NULL");
    TRY(clp_live(model, CLP_HANDLE_MODEL, "clpeft_peft_open"));
    peft = clp_handle_create(sizeof *peft, CLP_HANDLE_PEFT);
    REQUIRE(peft, CLPEFT_OUT_OF_HOST_MEMORY, "clpeft_peft_open: out of memory");
    peft->width = model->info.width;
    TRY(read_config(peft, path));
    TRY(clp_tensors_open(&tensors, path));
    status = read_tensors(peft, model, &tensors);
    if (status != CLPEFT_OK) clp_fail_in("%s", path);
    TRY(status);
    *result = peft;
    peft = NULL;
out:
    clp_tensors_close(&tensors);
    clpeft_peft_close(peft);
    return status;
}

void clpeft_peft_close(clpeft_peft *peft)
{
    if (!clp_handle_end(peft, CLP_HANDLE_PEFT)) return;
    for (size_t i = 0; i < peft->n; i++) {
        free(peft->layers[i].a);
        free(peft->layers[i].b);
        free(peft->layers[i].m);
    }
    free(peft->layers);
    free(peft->weight);
    free(peft->bias);
    free(peft->sites);
    clp_paths_free(&peft->paths);
    clp_peft_config_free(&peft->config);
    free(peft);
}

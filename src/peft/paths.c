/* paths.c - the linear layers of a model by their module paths in Hugging Face's naming. */
#include "peft/paths.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

const char *const clp_prefixes[CLP_PREFIXES] = { "", "bert.", "roberta.", "model.", "vit.", "dinov2." };

const char *clp_path_in_block(const clpeft_model *model, size_t module, clp_naming naming)
{
    const clp_module *m = &model->modules[module];
    return naming == CLP_OBJECT && m->object_path ? m->object_path : m->path;
}

clpeft_status clp_paths_create(clp_paths *paths, const clpeft_model *model, clp_naming naming, const char *prefix)
{
    const char *object_block = model->object_block_path, *block_path = model->family->block_path;
    const size_t before = strlen(prefix);
    clpeft_status status = CLPEFT_OK;
    clp_paths p = { 0 };

    if (naming == CLP_OBJECT && object_block) block_path = object_block;
    REQUIRE(before < CLP_PATH_SIZE / 2, CLPEFT_INVALID_ARGUMENT, "a prefix of %zu bytes", before);
    TRY(clpeft_model_sites(model, "all", &p.sites, &p.n));
    p.paths = calloc(p.n, sizeof *p.paths);
    REQUIRE(p.paths, CLPEFT_OUT_OF_HOST_MEMORY, "out of memory");
    for (size_t i = 0; i < p.n; i++) {
        p.paths[i] = malloc(CLP_PATH_SIZE);
        REQUIRE(p.paths[i], CLPEFT_OUT_OF_HOST_MEMORY, "out of memory");
        snprintf(p.paths[i], CLP_PATH_SIZE, "%s%s%zu.%s", prefix, block_path, i / model->n_modules,
                 clp_path_in_block(model, i % model->n_modules, naming));
    }
    *paths = p;
    p = (clp_paths){ 0 };
out:
    clp_paths_free(&p);
    return status;
}

void clp_paths_free(clp_paths *paths)
{
    for (size_t i = 0; paths->paths && i < paths->n; i++) free(paths->paths[i]);
    free(paths->paths);
    free(paths->sites);
    *paths = (clp_paths){ 0 };
}

int clp_path_is_target(const char *path, const char *entry)
{
    const size_t n = strlen(path), m = strlen(entry);
    return n >= m && strcmp(path + n - m, entry) == 0 && (n == m || path[n - m - 1] == '.');
}

void clp_path_key(char key[CLP_KEY_SIZE], const char *path, clp_part part)
{
    static const char *const parts[CLP_PARTS] = { "lora_A.weight", "lora_B.weight", "lora_magnitude_vector",
                                                  "lora_magnitude_vector.weight" };
    snprintf(key, CLP_KEY_SIZE, "base_model.model.%.*s.%s", CLP_PATH_SIZE, path, parts[part]);
}

/* site.c - which linear layers of a model are adapted: lists of module names, module paths. */
#include "backbone.h"

#include "file/names.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const clp_module *find_module(const clpeft_model *model, const char *name, size_t length)
{
    for (size_t i = 0; i < model->n_modules; i++) {
        const clp_module *m = &model->modules[i];
        if (strlen(m->name) == length && strncmp(m->name, name, length) == 0) return m;
        if (m->alias && strlen(m->alias) == length && strncmp(m->alias, name, length) == 0) return m;
    }
    return NULL;
}

static clpeft_status unknown_module(const clpeft_model *model, const char *name, size_t length)
{
    char known[200] = "";
    for (size_t i = 0, used = 0; i < model->n_modules && used < sizeof known; i++)
        used += (size_t)snprintf(known + used, sizeof known - used, "%s%s", i ? ", " : "", model->modules[i].name);
    return clp_fail(CLPEFT_INVALID_ARGUMENT, "no module \"%s\" in the model; there are %s, and all",
                    clp_quote(name, length).text, known);
}

/* Set chosen[i] for every module that the list names; spaces around a name do not count. */
static clpeft_status choose(const clpeft_model *model, const char *list, int *chosen)
{
    const int all = strcmp(list, "all") == 0;
    const char *next = list;

    for (size_t i = 0; i < model->n_modules; i++) chosen[i] = all;
    while (!all && next) {
        const char *name = next + strspn(next, " "), *comma = strchr(name, ',');
        size_t length = comma ? (size_t)(comma - name) : strlen(name);
        while (length > 0 && name[length - 1] == ' ') length--;
        const clp_module *m = find_module(model, name, length);
        if (!m) return unknown_module(model, name, length);
        if (chosen[m - model->modules]++)
            return clp_fail(CLPEFT_INVALID_ARGUMENT, "module \"%s\" stands twice in the list of sites", m->name);
        next = comma ? comma + 1 : NULL;
    }
    return CLPEFT_OK;
}

/* The order of the sites is the model's, whatever the list's: the same set gives the same arena. */
clpeft_status clpeft_model_sites(const clpeft_model *model, const char *list, clpeft_site **sites, size_t *n)
{
    clpeft_status status = CLPEFT_OK;
    int chosen[CLP_MAX_MODULES];
    size_t count = 0;

    REQUIRE(model && list && sites && n, CLPEFT_INVALID_ARGUMENT,
            "clpeft_model_sites: model, list, sites or n is NULL");
    TRY(choose(model, list, chosen));
    clpeft_site *made = calloc(model->info.layers * model->n_modules, sizeof *made);
    REQUIRE(made, CLPEFT_OUT_OF_HOST_MEMORY, "clpeft_model_sites: out of memory");
    for (size_t b = 0; b < model->info.layers; b++)
        for (size_t i = 0; i < model->n_modules; i++) {
            const clp_module *m = &model->modules[i];
            if (chosen[i])
                made[count++] = (clpeft_site){ .name = m->name,
                                               .block = b,
                                               .row = m->row,
                                               .heads = m->heads,
                                               .head_size = m->head_size,
                                               .linear = model->layers[b * model->per_block + m->layer].linear };
        }
    *sites = made, *n = count;
out:
    return status;
}

clpeft_status clpeft_model_site_path(const clpeft_model *model, const clpeft_site *site, char *path, size_t size)
{
    clpeft_status status = CLPEFT_OK;

    REQUIRE(model && site && site->name && path && size > 0, CLPEFT_INVALID_ARGUMENT,
            "clpeft_model_site_path: model, site or path is NULL, or size is 0");
    const clp_module *m = find_module(model, site->name, strlen(site->name));
    REQUIRE(m && site->block < model->info.layers, CLPEFT_INVALID_ARGUMENT,
            "clpeft_model_site_path: no \"%s\" in block %zu", clp_quote(site->name, strlen(site->name)).text,
            site->block);
    const int n = snprintf(path, size, "%s%zu.%s", model->family->block_path, site->block, m->path);
    REQUIRE(n > 0 && (size_t)n < size, CLPEFT_INVALID_SIZE, "clpeft_model_site_path: %d bytes are needed, size is %zu",
            n + 1, size);
out:
    return status;
}

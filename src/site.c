/* site.c - which linear layers of a model are adapted: lists of sites, module paths. */
#include "backbone.h"

#include "file/names.h"

#include <math.h>
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

/* An entry of a list, [BLOCK.]NAME[:RANK[:ALPHA]]. */
typedef struct {
    const char *name;
    size_t length, first, end; /* end: after the last block */
    size_t rank;               /* 0: none given */
    float alpha;               /* 0: none given */
} entry;

/* A whole number of at most 6 digits, which end at *end. Returns 0 if there is none. */
static int digits(const char *text, const char **end, size_t *value)
{
    const char *c = text;
    for (*value = 0; c < text + 6 && *c >= '0' && *c <= '9'; c++) *value = 10 * *value + (size_t)(*c - '0');
    *end = c;
    return c > text;
}

/* RANK[:ALPHA], up to end. The number is read as JSON, which no locale changes. Returns 0 for anything else. */
static int parse_scale(entry *e, const char *text, const char *end)
{
    const char *next;

    if (!digits(text, &next, &e->rank) || e->rank == 0) return 0;
    if (next == end) return 1;
    if (*next != ':') return 0;
    json_t *value = json_loadb(next + 1, (size_t)(end - next - 1), JSON_DECODE_ANY, NULL);
    e->alpha = json_is_number(value) ? (float)json_number_value(value) : 0;
    json_decref(value);
    return e->alpha > 0 && isfinite(e->alpha);
}

static clpeft_status parse_entry(const clpeft_model *model, const char *text, size_t length, entry *e)
{
    const char *colon = memchr(text, ':', length), *dot;
    clpeft_status status = CLPEFT_OK;

    *e = (entry){ .name = text, .length = colon ? (size_t)(colon - text) : length, .end = model->info.layers };
    REQUIRE(!colon || parse_scale(e, colon + 1, text + length), CLPEFT_INVALID_ARGUMENT,
            "\"%s\" in the list of sites: a rank, or a rank and an alpha, should follow the colon",
            clp_quote(text, length).text);
    if (digits(text, &dot, &e->first) && *dot == '.') {
        REQUIRE(e->first < model->info.layers, CLPEFT_INVALID_ARGUMENT,
                "\"%s\" in the list of sites: the model has %zu blocks", clp_quote(text, length).text,
                model->info.layers);
        e->end = e->first + 1;
        e->length -= (size_t)(dot + 1 - text);
        e->name = dot + 1;
    }
out:
    return status;
}

/* Give the sites that an entry names, in an array of all, their heads, and rank and alpha. */
static clpeft_status choose(const clpeft_model *model, const entry *e, clpeft_site *sites)
{
    const int all = e->length == 3 && strncmp(e->name, "all", 3) == 0;
    const clp_module *named = find_module(model, e->name, e->length);

    if (!all && !named) return unknown_module(model, e->name, e->length);
    for (size_t b = e->first; b < e->end; b++)
        for (size_t i = 0; i < model->n_modules; i++) {
            const clp_module *m = &model->modules[i];
            clpeft_site *s = &sites[b * model->n_modules + i];
            if (!all && m != named) continue;
            if (s->heads > 0)
                return clp_fail(CLPEFT_INVALID_ARGUMENT, "module \"%s\" stands twice in the list of sites", m->name);
            *s = (clpeft_site){ .name = m->name,
                                .block = b,
                                .linear = model->layers[b * model->per_block + m->layer].linear,
                                .row = m->row,
                                .heads = m->heads,
                                .head_size = m->head_size,
                                .rank = e->rank,
                                .alpha = e->alpha };
        }
    return CLPEFT_OK;
}

/* The order of the sites is the model's, whatever the list's: the same set gives the same arena. */
clpeft_status clpeft_model_sites(const clpeft_model *model, const char *list, clpeft_site **sites, size_t *n)
{
    clpeft_status status = CLPEFT_OK;
    clpeft_site *made = NULL;
    size_t count = 0;

    TRY(clp_live(model, CLP_HANDLE_MODEL, "clpeft_model_sites"));
    REQUIRE(list && sites && n, CLPEFT_INVALID_ARGUMENT, "clpeft_model_sites: list, sites or n is NULL");
    const size_t most = model->info.layers * model->n_modules;
    made = calloc(most, sizeof *made);
    REQUIRE(made, CLPEFT_OUT_OF_HOST_MEMORY, "clpeft_model_sites: out of memory");
    for (const char *next = list; next;) {
        const char *text = next + strspn(next, " "), *comma = strchr(text, ',');
        size_t length = comma ? (size_t)(comma - text) : strlen(text);
        entry e;
        while (length > 0 && text[length - 1] == ' ') length--;
        TRY(parse_entry(model, text, length, &e));
        TRY(choose(model, &e, made));
        next = comma ? comma + 1 : NULL;
    }
    for (size_t i = 0; i < most; i++)
        if (made[i].heads > 0) made[count++] = made[i];
    *sites = made, *n = count;
    made = NULL;
out:
    free(made);
    return status;
}

clpeft_status clpeft_model_site_path(const clpeft_model *model, const clpeft_site *site, char *path, size_t size)
{
    clpeft_status status = CLPEFT_OK;

    TRY(clp_live(model, CLP_HANDLE_MODEL, "clpeft_model_site_path"));
    REQUIRE(site && site->name && path && size > 0, CLPEFT_INVALID_ARGUMENT,
            "clpeft_model_site_path: site or path is NULL, or size is 0");
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

/* adapter_sites.c - which rows of which layers are adapted, and where everything lies.
 *
 * The sites of a layer stand by row; each takes its columns of R there. The table is by block, so that the sites of a
 * block, and the blocks, are consecutive. */
#include "adapter.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { MAX_BLOCKS = 65536 };

static clpeft_status check_site(const clpeft_adapter *adapter, const clpeft_site *site, size_t n, size_t *rank)
{
    const char *name = site->name;
    clpeft_status status = CLPEFT_OK;
    size_t rows, end;

    REQUIRE(name && *name, CLPEFT_INVALID_ARGUMENT, "clpeft_adapter_create: a site of block %zu has no name",
            site->block);
    TRY(clp_live(site->linear, CLP_HANDLE_LINEAR, "clpeft_adapter_create: a site"));
    REQUIRE(clp_linear_context(site->linear) == adapter->ctx, CLPEFT_INVALID_ARGUMENT,
            "clpeft_adapter_create: block %zu %.60s: its layer is of another context than params", site->block, name);
    REQUIRE(site->block < (adapter->config.generator ? n : MAX_BLOCKS), CLPEFT_INVALID_SIZE,
            "clpeft_adapter_create: %.60s is in block %zu, but blocks count from 0%s", name, site->block,
            adapter->config.generator ? " without gaps" : " to 65535");
    REQUIRE(site->heads > 0 && site->head_size > 0 && !clp_mul(site->heads, site->head_size, &rows) &&
                !clp_sum(rows, site->row, &end) && end <= clpeft_linear_rows(site->linear),
            CLPEFT_INVALID_SIZE,
            "clpeft_adapter_create: block %zu %.60s: %zu heads of %zu rows from row %zu; the layer has %zu",
            site->block, name, site->heads, site->head_size, site->row, clpeft_linear_rows(site->linear));
    *rank = site->rank ? site->rank : adapter->config.rank;
    REQUIRE(*rank <= 65536, CLPEFT_INVALID_ARGUMENT, "clpeft_adapter_create: block %zu %.60s: rank is %zu", site->block,
            name, *rank);
    REQUIRE(!adapter->config.generator || *rank == adapter->config.rank, CLPEFT_INVALID_ARGUMENT,
            "clpeft_adapter_create: block %zu %.60s: a generator has one rank for all sites", site->block, name);
    REQUIRE(isfinite(site->alpha) && site->alpha >= 0, CLPEFT_INVALID_ARGUMENT,
            "clpeft_adapter_create: block %zu %.60s: alpha is %g", site->block, name, (double)site->alpha);
out:
    return status;
}

/* Sites into the order of blocks; names differ within one. A generator is a block's: then every block has a site. */
static clpeft_status sort_by_block(clpeft_adapter *adapter)
{
    const clpeft_site *sites = adapter->sites;
    clpeft_status status = CLPEFT_OK;
    size_t place = 0;

    for (size_t i = 0; i < adapter->n_sites; i++)
        if (sites[i].block >= adapter->n_blocks) adapter->n_blocks = sites[i].block + 1;
    adapter->blocks = calloc(adapter->n_blocks, sizeof *adapter->blocks);
    REQUIRE(adapter->blocks, CLPEFT_OUT_OF_HOST_MEMORY, "clpeft_adapter_create: out of memory");
    for (size_t b = 0; b < adapter->n_blocks; b++) {
        clp_block *block = &adapter->blocks[b];
        block->first = place;
        for (size_t i = 0; i < adapter->n_sites; i++) {
            if (sites[i].block != b) continue;
            for (size_t p = block->first; p < place; p++)
                REQUIRE(strcmp(sites[adapter->order[p]].name, sites[i].name), CLPEFT_INVALID_ARGUMENT,
                        "clpeft_adapter_create: block %zu has two sites %.60s", b, sites[i].name);
            if (sites[i].heads > block->H) block->H = sites[i].heads;
            adapter->order[place++] = i;
        }
        block->count = place - block->first;
        REQUIRE(block->count > 0 || !adapter->config.generator, CLPEFT_INVALID_SIZE,
                "clpeft_adapter_create: block %zu has no site", b);
    }
out:
    return status;
}

/* Room for n elements; starts are 64 elements apart, so rows start alike for vector loads. */
static size_t take(size_t *size, size_t n)
{
    const size_t off = *size;
    *size += clp_round_up(n, 64);
    return off;
}

/* Offsets of a layer's matrices; leading dimensions as lowrank.h says. */
static void lay_out_layer(clpeft_adapter *adapter, clp_lowrank *layer)
{
    const size_t N = clpeft_linear_rows(layer->linear), K = clpeft_linear_columns(layer->linear), R = layer->R;
    const size_t wide_k = clp_round_up(K, 64) + 64, wide_n = clp_round_up(N, 64) + 64, wide_r = clp_round_up(R, 64);
    size_t *forms = &adapter->size.forms, *back = &adapter->size.back;

    layer->gain = adapter->config.magnitude;
    layer->a = (clpeft_view){ NULL, take(forms, R * wide_k), wide_k };
    layer->at = (clpeft_view){ NULL, take(forms, K * wide_r), wide_r };
    layer->bt = (clpeft_view){ NULL, take(forms, R * wide_n), wide_n };
    layer->gbt = layer->gain ? (clpeft_view){ NULL, take(forms, R * wide_n), wide_n } : layer->bt;
    layer->g = (clpeft_view){ NULL, take(forms, N), 1 };
    layer->da = (clpeft_view){ NULL, take(back, R * wide_k), wide_k };
    layer->dbt = (clpeft_view){ NULL, take(back, R * wide_n), wide_n };
    layer->dg = (clpeft_view){ NULL, take(back, N), 1 };
}

/* A site of a layer, by row, with the place it has in the table. */
typedef struct {
    size_t row, place;
} row_place;

static int by_row(const void *a, const void *b)
{
    const row_place *x = a, *y = b;
    return (x->row > y->row) - (x->row < y->row);
}

/* The sites of one layer, all of whose places are in found: columns, overlap, offsets into the table. */
static clpeft_status add_layer(clpeft_adapter *adapter, row_place *found, size_t n, clp_lowrank_site *list)
{
    const size_t index = adapter->set.n;
    clp_lowrank *layer = &adapter->set.layers[index];
    clpeft_status status = CLPEFT_OK;
    size_t end = 0;

    qsort(found, n, sizeof *found, by_row);
    *layer =
        (clp_lowrank){ .linear = adapter->sites[adapter->order[found[0].place]].linear, .n_sites = n, .sites = list };
    for (size_t i = 0; i < n; i++) {
        const clp_site *t = &adapter->table[found[i].place];
        REQUIRE(found[i].row >= end, CLPEFT_INVALID_SIZE, "clpeft_adapter_create: sites overlap at row %zu of a layer",
                found[i].row);
        list[i] = (clp_lowrank_site){ found[i].row, t->N, layer->R, t->r, adapter->config.magnitude };
        end = found[i].row + t->N;
        layer->R += t->r;
    }
    lay_out_layer(adapter, layer);
    for (size_t i = 0; i < n; i++) {
        clp_site *t = &adapter->table[found[i].place];
        const size_t row = list[i].row, column = list[i].column;
        adapter->layer_of[found[i].place] = index;
        t->a = layer->a.off + column * layer->a.ld, t->a_ld = layer->a.ld;
        t->at = layer->at.off + column, t->at_ld = layer->at.ld;
        t->bt = layer->bt.off + column * layer->bt.ld + row, t->bt_ld = layer->bt.ld;
        t->gbt = layer->gbt.off + column * layer->gbt.ld + row;
        t->g = layer->g.off + row;
        t->da = layer->da.off + column * layer->da.ld;
        t->dbt = layer->dbt.off + column * layer->dbt.ld + row;
        t->dg = layer->dg.off + row;
    }
    adapter->set.n++;
out:
    return status;
}

static clpeft_status make_layers(clpeft_adapter *adapter)
{
    const size_t n = adapter->n_sites;
    clpeft_status status = CLPEFT_OK;
    row_place *found = malloc(n * sizeof *found);
    size_t listed = 0;

    REQUIRE(found, CLPEFT_OUT_OF_HOST_MEMORY, "clpeft_adapter_create: out of memory");
    for (size_t place = 0; place < n; place++) {
        const clpeft_linear *linear = adapter->sites[adapter->order[place]].linear;
        size_t count = 0, seen = 0;
        while (seen < adapter->set.n && adapter->set.layers[seen].linear != linear) seen++;
        if (seen < adapter->set.n) continue;
        for (size_t p = place; p < n; p++) {
            const clpeft_site *site = &adapter->sites[adapter->order[p]];
            if (site->linear == linear) found[count++] = (row_place){ site->row, p };
        }
        TRY(add_layer(adapter, found, count, adapter->layer_sites + listed));
        listed += count;
    }
out:
    free(found);
    return status;
}

static void note_max(size_t *max, size_t value)
{
    if (value > *max) *max = value;
}

/* The table but for its offsets into layers and arena; sizes of what belongs to sites and blocks alone. */
static void fill_table(clpeft_adapter *adapter)
{
    const clpeft_adapter_config *o = &adapter->config;

    for (size_t p = 0; p < adapter->n_sites; p++) {
        const clpeft_site *site = &adapter->sites[adapter->order[p]];
        clp_site *t = &adapter->table[p];
        const double alpha = site->alpha > 0 ? site->alpha : o->alpha;
        t->block = site->block, t->H = site->heads, t->d = site->head_size, t->N = t->H * t->d;
        t->r = site->rank ? site->rank : o->rank;
        t->K = clpeft_linear_columns(site->linear);
        t->s = (float)(alpha / (o->rslora ? sqrt((double)t->r) : (double)t->r));
        t->w_b_head = o->generator && o->w2b == CLPEFT_W2B_PER_HEAD ? t->d * o->hidden_width : 0;
        t->c = take(&adapter->size.c, t->N);
        t->gram = take(&adapter->size.gram, 2 * t->r * t->r);
        note_max(&adapter->max.K, t->K), note_max(&adapter->max.N, t->N), note_max(&adapter->max.r, t->r);
        note_max(&adapter->max.H, t->H), note_max(&adapter->max.d, t->d);
    }
    for (size_t b = 0; b < adapter->n_blocks && o->generator; b++) {
        adapter->blocks[b].za = take(&adapter->size.plane, o->rank * o->hidden_width);
        adapter->blocks[b].zb = take(&adapter->size.plane, adapter->blocks[b].H * o->hidden_width * o->rank);
    }
}

clpeft_status clp_adapter_lay_out(clpeft_adapter *adapter, const clpeft_site *sites, size_t n)
{
    clpeft_status status = CLPEFT_OK;

    REQUIRE(n > 0 && n <= SIZE_MAX / 1024, CLPEFT_INVALID_SIZE, "clpeft_adapter_create: %zu sites", n);
    adapter->sites = calloc(n, sizeof *adapter->sites);
    adapter->order = calloc(n, sizeof *adapter->order);
    adapter->table = calloc(n, sizeof *adapter->table);
    adapter->layer_of = calloc(n, sizeof *adapter->layer_of);
    adapter->layer_sites = calloc(n, sizeof *adapter->layer_sites);
    adapter->set.layers = calloc(n, sizeof *adapter->set.layers);
    REQUIRE(adapter->sites && adapter->order && adapter->table && adapter->layer_of && adapter->layer_sites &&
                adapter->set.layers,
            CLPEFT_OUT_OF_HOST_MEMORY, "clpeft_adapter_create: out of memory");
    for (size_t i = 0; i < n; i++) {
        size_t rank;
        TRY(check_site(adapter, &sites[i], n, &rank));
        adapter->sites[i] = sites[i];
        adapter->sites[i].name = strdup(sites[i].name);
        adapter->n_sites = i + 1;
        REQUIRE(adapter->sites[i].name, CLPEFT_OUT_OF_HOST_MEMORY, "clpeft_adapter_create: out of memory");
    }
    TRY(sort_by_block(adapter));
    fill_table(adapter);
    TRY(make_layers(adapter));
out:
    return status;
}

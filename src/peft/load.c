/* load.c - from a PEFT folder in memory into the parameters of an adapter. */
#include "adapter.h"
#include "peft/folder.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

void clpeft_peft_get_info(const clpeft_peft *peft, clpeft_peft_info *info)
{
    const clp_peft_config *c;

    if (!clp_is_live(peft, CLP_HANDLE_PEFT) || !info) return;
    c = &peft->config;
    *info = (clpeft_peft_info){ .adapter = clpeft_adapter_defaults(c->dora ? CLPEFT_DORA : CLPEFT_LORA),
                                .sites = peft->sites,
                                .classes = peft->classes,
                                .task_type = c->task_type,
                                .base_model = c->base_model };
    info->adapter.rank = c->r;
    info->adapter.alpha = (float)c->alpha;
    info->adapter.rslora = c->rslora;
    info->adapter.dropout = (float)c->dropout;
}

/* The adapter's site for a layer: the same module in the same block, of the same rank and alpha. */
static clpeft_status check_site(const clpeft_adapter *adapter, const clp_peft_layer *layer)
{
    const float alpha = layer->site.alpha > 0 ? layer->site.alpha : adapter->config.alpha;

    for (size_t i = 0; i < adapter->n_sites; i++) {
        const clpeft_site *s = &adapter->sites[i];
        if (s->block == layer->site.block && strcmp(s->name, layer->site.name) == 0 &&
            s->linear == layer->site.linear && (s->rank ? s->rank : adapter->config.rank) == layer->r &&
            (s->alpha > 0 ? s->alpha : adapter->config.alpha) == alpha)
            return CLPEFT_OK;
    }
    return clp_fail(CLPEFT_INVALID_ARGUMENT,
                    "clpeft_peft_load: the adapter has no site %s in block %zu of rank %zu and alpha %g",
                    layer->site.name, layer->site.block, layer->r, (double)alpha);
}

static clpeft_status check_adapter(const clpeft_peft *peft, const clpeft_adapter *adapter)
{
    const clpeft_adapter_config *a = &adapter->config;
    clpeft_status status = CLPEFT_OK;

    REQUIRE(!a->generator && !a->magnitude == !peft->config.dora && a->tau == CLPEFT_TAU_NONE, CLPEFT_INVALID_ARGUMENT,
            "clpeft_peft_load: the folder holds %s, the adapter is of another method",
            peft->config.dora ? "DoRA" : "LoRA");
    REQUIRE(!a->rslora == !peft->config.rslora && a->alpha == (float)peft->config.alpha, CLPEFT_INVALID_ARGUMENT,
            "clpeft_peft_load: alpha or rslora of the adapter is not the folder's");
    REQUIRE(adapter->n_sites == peft->n, CLPEFT_INVALID_ARGUMENT,
            "clpeft_peft_load: the adapter has %zu sites, the folder %zu", adapter->n_sites, peft->n);
    for (size_t i = 0; i < peft->n; i++) TRY(check_site(adapter, &peft->layers[i]));
out:
    return status;
}

static clpeft_status check_head(const clpeft_peft *peft, const clpeft_params *params)
{
    const clpeft_tensor *w = clpeft_params_find(params, "head.weight"), *b = clpeft_params_find(params, "head.bias");

    if (peft->classes > 0 && w && b && w->n_dims == 2 && w->dims[0] == peft->classes && w->dims[1] == peft->width)
        return CLPEFT_OK;
    return clp_fail(CLPEFT_INVALID_ARGUMENT,
                    "clpeft_peft_load: head_scale is given, but the folder has %s, the arena %s",
                    peft->classes > 0 ? "a head" : "no head", w && b ? "one of another size" : "none");
}

static clpeft_status write_part(clpeft_adapter *adapter, const clpeft_site *site, const char *part, const float *values,
                                cl_command_queue queue)
{
    char name[CLP_KEY_SIZE];

    snprintf(name, sizeof name, "blocks.%zu.%.96s.%s", site->block, site->name, part);
    return clpeft_params_write(adapter->params, CLPEFT_THETA, clpeft_params_find(adapter->params, name), values, queue);
}

static clpeft_status write_head(const clpeft_peft *peft, clpeft_params *params, float head_scale,
                                cl_command_queue queue)
{
    const size_t n = peft->classes * peft->width;
    clpeft_status status = CLPEFT_OK;
    float *w = malloc(n * sizeof *w);

    REQUIRE(w, CLPEFT_OUT_OF_HOST_MEMORY, "clpeft_peft_load: out of memory");
    for (size_t i = 0; i < n; i++) w[i] = peft->weight[i] / head_scale;
    TRY(clpeft_params_write(params, CLPEFT_THETA, clpeft_params_find(params, "head.weight"), w, queue));
    TRY(clpeft_params_write(params, CLPEFT_THETA, clpeft_params_find(params, "head.bias"), peft->bias, queue));
out:
    free(w);
    return status;
}

clpeft_status clpeft_peft_load(const clpeft_peft *peft, clpeft_adapter *adapter, float head_scale,
                               cl_command_queue queue)
{
    clpeft_status status = CLPEFT_OK;

    TRY(clp_live(peft, CLP_HANDLE_PEFT, "clpeft_peft_load"));
    TRY(clp_live(adapter, CLP_HANDLE_ADAPTER, "clpeft_peft_load"));
    REQUIRE(isfinite(head_scale), CLPEFT_INVALID_ARGUMENT, "clpeft_peft_load: head_scale is %g", (double)head_scale);
    TRY(clp_params_ready(adapter->params, "clpeft_peft_load"));
    TRY(check_adapter(peft, adapter));
    if (head_scale != 0) TRY(check_head(peft, adapter->params));
    for (size_t i = 0; i < peft->n; i++) {
        const clp_peft_layer *l = &peft->layers[i];
        TRY(write_part(adapter, &l->site, "A", l->a, queue));
        TRY(write_part(adapter, &l->site, "B", l->b, queue));
        if (l->m) TRY(write_part(adapter, &l->site, "m", l->m, queue));
    }
    if (head_scale != 0) status = write_head(peft, adapter->params, head_scale, queue);
out:
    return status;
}

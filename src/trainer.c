/* trainer.c - make a trainer: sites, adapter and head on a model. */
#include "trainer.h"

#include <float.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

clpeft_trainer_options clpeft_trainer_defaults(clpeft_method method)
{
    clpeft_trainer_options o = { .adapter = clpeft_adapter_defaults(method),
                                 .sites = "query,value",
                                 .feature_scale = 4,
                                 .adamw = clpeft_adamw_defaults(),
                                 .warmup = 20,
                                 .decay = CLPEFT_DECAY_LINEAR };

    o.adapter.rank = 8, o.adapter.alpha = 16;
    o.adamw.lr = 1e-3f, o.adamw.max_norm = 1;
    o.adamw.multiplier[CLPEFT_KIND_HEAD] = o.adamw.multiplier[CLPEFT_KIND_HEAD_BIAS] = 10;
    return o;
}

static clpeft_status check_options(const clpeft_trainer_options *o)
{
    const clpeft_adamw *a = &o->adamw;
    clpeft_status status = CLPEFT_OK;

    REQUIRE(o->task <= CLPEFT_LANGUAGE_MODEL, CLPEFT_INVALID_ARGUMENT, "task is %d", (int)o->task);
    if (o->task == CLPEFT_LANGUAGE_MODEL)
        REQUIRE(o->classes == 0, CLPEFT_INVALID_ARGUMENT, "classes is %zu: a language model has none", o->classes);
    else
        REQUIRE(o->classes >= 2 && o->classes <= INT32_MAX, CLPEFT_INVALID_ARGUMENT, "classes is %zu: at least 2",
                o->classes);
    REQUIRE(o->pool <= CLPEFT_POOL_BOTH, CLPEFT_INVALID_ARGUMENT, "pool is %d", (int)o->pool);
    REQUIRE(isfinite(o->feature_scale), CLPEFT_INVALID_ARGUMENT, "feature_scale is %g", (double)o->feature_scale);
    REQUIRE(o->decay <= CLPEFT_DECAY_COSINE, CLPEFT_INVALID_ARGUMENT, "decay is %d", (int)o->decay);
    REQUIRE(o->total_steps > 0 || o->decay == CLPEFT_DECAY_NONE, CLPEFT_INVALID_ARGUMENT,
            "total_steps is 0: the learning rate decays to 0 in total_steps, or has CLPEFT_DECAY_NONE");
    REQUIRE(isfinite(a->lr) && a->lr > 0, CLPEFT_INVALID_ARGUMENT, "lr is %g: a number above 0", (double)a->lr);
    REQUIRE(a->beta1 >= 0 && a->beta1 < 1 && a->beta2 >= 0 && a->beta2 < 1, CLPEFT_INVALID_ARGUMENT,
            "beta1 is %g, beta2 %g: from 0 to below 1", (double)a->beta1, (double)a->beta2);
    REQUIRE(isfinite(a->eps) && a->eps >= FLT_MIN, CLPEFT_INVALID_ARGUMENT,
            "eps is %g: at least the smallest normal number", (double)a->eps);
    REQUIRE(isfinite(a->weight_decay) && a->weight_decay >= 0, CLPEFT_INVALID_ARGUMENT, "weight_decay is %g: 0 or more",
            (double)a->weight_decay);
    REQUIRE(isfinite(a->max_norm) && a->max_norm >= 0, CLPEFT_INVALID_ARGUMENT, "max_norm is %g: 0 or more",
            (double)a->max_norm);
    for (int k = 0; k < CLPEFT_KINDS; k++)
        REQUIRE(isfinite(a->multiplier[k]) && a->multiplier[k] >= 0, CLPEFT_INVALID_ARGUMENT,
                "multiplier %d is %g: 0 or more", k, (double)a->multiplier[k]);
out:
    return status;
}

/* The arena: the adapter's parameters, then the head's. */
static clpeft_status make_params(clpeft_trainer *t)
{
    clpeft_status status = CLPEFT_OK;
    clpeft_site *sites = NULL;
    size_t n = 0, bytes;

    TRY(clpeft_model_sites(t->model, t->sites, &sites, &n));
    TRY(clpeft_params_create(&t->params, t->model->ctx));
    TRY(clpeft_adapter_create(&t->adapter, t->params, sites, n, &t->options.adapter));
    if (t->options.task == CLPEFT_CLASSIFY)
        TRY(clp_head_add(t->params, t->options.classes,
                         t->model->info.width * (t->options.pool == CLPEFT_POOL_BOTH ? 2 : 1)));
    TRY(clpeft_params_allocate(t->params));
    bytes = clpeft_adapter_workspace(t->adapter);
    if (bytes > 0) TRY(clpeft_workspace_create(&t->ws, t->model->ctx, bytes));
out:
    free(sites);
    return status;
}

clpeft_status clpeft_trainer_create(clpeft_trainer **result, clpeft_model *model, const clpeft_trainer_options *options)
{
    clpeft_status status = CLPEFT_OK;
    clpeft_trainer *t = NULL;

    REQUIRE(result && options, CLPEFT_INVALID_ARGUMENT, "clpeft_trainer_create: trainer or options is NULL");
    TRY(clp_live(model, CLP_HANDLE_MODEL, "clpeft_trainer_create"));
    status = check_options(options);
    if (status != CLPEFT_OK) clp_fail_in("clpeft_trainer_create");
    TRY(status);
    REQUIRE(options->task == CLPEFT_CLASSIFY || model->output, CLPEFT_UNSUPPORTED,
            "clpeft_trainer_create: %s is not a language model", model->info.name);
    t = clp_handle_create(sizeof *t, CLP_HANDLE_TRAINER);
    REQUIRE(t, CLPEFT_OUT_OF_HOST_MEMORY, "clpeft_trainer_create: out of memory");
    t->model = model;
    t->options = *options;
    t->sites = strdup(options->sites ? options->sites : "query,value");
    REQUIRE(t->sites, CLPEFT_OUT_OF_HOST_MEMORY, "clpeft_trainer_create: out of memory");
    t->options.sites = t->sites;
    t->rows = calloc(model->options.max_sequences + 1, sizeof *t->rows);
    REQUIRE(t->rows, CLPEFT_OUT_OF_HOST_MEMORY, "clpeft_trainer_create: out of memory");
    if (t->options.feature_scale == 0) t->options.feature_scale = 1;
    TRY(clpeft_queue_create(&t->queue, model->ctx));
    TRY(make_params(t));
    if (t->options.task == CLPEFT_LANGUAGE_MODEL)
        TRY(clp_lm_head_create(&t->lm_head, model));
    else
        TRY(clp_head_create(&t->head, model->ctx, t->params, &t->options, model->options.max_sequences));
    *result = t;
    t = NULL;
out:
    clpeft_trainer_destroy(t);
    return status;
}

void clpeft_trainer_destroy(clpeft_trainer *t)
{
    if (!clp_handle_end(t, CLP_HANDLE_TRAINER)) return;
    if (t->queue) clFinish(t->queue);
    clp_head_destroy(&t->head);
    clp_lm_head_destroy(&t->lm_head);
    clpeft_workspace_destroy(t->ws);
    clpeft_adapter_destroy(t->adapter);
    clpeft_params_destroy(t->params);
    if (t->queue) clReleaseCommandQueue(t->queue);
    free(t->sites);
    free(t->rows);
    free(t);
}

clpeft_model *clpeft_trainer_model(const clpeft_trainer *t)
{
    return clp_is_live(t, CLP_HANDLE_TRAINER) ? t->model : NULL;
}

clpeft_adapter *clpeft_trainer_adapter(const clpeft_trainer *t)
{
    return clp_is_live(t, CLP_HANDLE_TRAINER) ? t->adapter : NULL;
}

clpeft_params *clpeft_trainer_params(const clpeft_trainer *t)
{
    return clp_is_live(t, CLP_HANDLE_TRAINER) ? t->params : NULL;
}

cl_command_queue clpeft_trainer_queue(const clpeft_trainer *t)
{
    return clp_is_live(t, CLP_HANDLE_TRAINER) ? t->queue : NULL;
}

const clpeft_trainer_options *clpeft_trainer_get_options(const clpeft_trainer *t)
{
    return clp_is_live(t, CLP_HANDLE_TRAINER) ? &t->options : NULL;
}

uint64_t clpeft_trainer_steps(const clpeft_trainer *t)
{
    return clp_is_live(t, CLP_HANDLE_TRAINER) ? t->step : 0;
}

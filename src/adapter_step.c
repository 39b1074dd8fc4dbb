/* adapter_step.c - an adapter in a training step: theta -> A, B, g of every site, and the way back. */
#include "adapter.h"
#include "random.h"

clpeft_status clpeft_adapter_materialize(clpeft_adapter *x, uint64_t step, int training, CLPEFT_QUEUE)
{
    clpeft_status status = CLPEFT_OK;
    clp_stream s;

    TRY(clp_live(x, CLP_HANDLE_ADAPTER, "clpeft_adapter_materialize"));
    TRY(clp_params_ready(x->params, "clpeft_adapter_materialize"));
    TRY(clp_begin(&s, "clpeft_adapter_materialize", x->ctx, queue, n_wait, wait));
    TRY(x->config.generator ? clp_generator_expand(x, &s) : clp_direct_expand(x, &s));
    if (x->config.magnitude) TRY(clp_gain(x, &s, step, training));
    TRY(clp_fill_zero(&s, x->back, 0, x->size.back));
    x->set.dropout = training ? x->config.dropout : 0;
    x->set.dropout_seed = clp_mix(x->config.seed, step), x->set.first_token = 0;
    status = clp_end(&s, event);
out:
    return status;
}

size_t clpeft_adapter_workspace(const clpeft_adapter *x)
{
    size_t bytes = 0;

    if (!clp_is_live(x, CLP_HANDLE_ADAPTER) || !x->config.magnitude || !x->config.norm_gradient) return 0;
    for (size_t i = 0; i < x->set.n; i++) {
        const size_t need = clpeft_linear_workspace(x->set.layers[i].linear, NULL, x->set.layers[i].R);
        if (need > bytes) bytes = need;
    }
    return bytes;
}

clpeft_status clpeft_adapter_backward(clpeft_adapter *x, clpeft_workspace *ws, CLPEFT_QUEUE)
{
    clpeft_status status = CLPEFT_OK;
    clp_stream s;

    TRY(clp_live(x, CLP_HANDLE_ADAPTER, "clpeft_adapter_backward"));
    TRY(clp_params_ready(x->params, "clpeft_adapter_backward"));
    TRY(clp_workspace_check(ws, clpeft_adapter_workspace(x), "clpeft_adapter_backward"));
    TRY(clp_begin(&s, "clpeft_adapter_backward", x->ctx, queue, n_wait, wait));
    if (x->config.magnitude) TRY(clp_gain_backward(x, &s, ws));
    TRY(x->config.generator ? clp_generator_backward(x, &s) : clp_direct_backward(x, &s));
    status = clp_end(&s, event);
out:
    return status;
}

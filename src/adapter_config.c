/* adapter_config.c - the methods' defaults, and what a configuration may hold. */
#include "adapter.h"

#include <math.h>

clpeft_adapter_config clpeft_adapter_defaults(clpeft_method method)
{
    return (clpeft_adapter_config){
        .generator = method == CLPEFT_HORA || method == CLPEFT_DORAN,
        .magnitude = method == CLPEFT_DORA || method == CLPEFT_DORAN,
        .tau = method == CLPEFT_DORAN ? CLPEFT_TAU_LEARNED : CLPEFT_TAU_NONE,
        .rank = 8,
        .alpha = 16,
        .seed_width = 16,
        .hidden_width = 16,
        .act = CLPEFT_SILU,
        .tau0 = 0.1f,
    };
}

#define MAX_WIDTH 65536 /* of rank, seeds and hidden layer: keeps products of sizes far from overflow */

static clpeft_status check_generator(const clpeft_adapter_config *o)
{
    static const clpeft_activation known[] = { CLPEFT_SILU, CLPEFT_GELU, CLPEFT_RELU, CLPEFT_TANH, CLPEFT_IDENTITY };
    clpeft_status status = CLPEFT_OK;
    size_t i = 0;

    REQUIRE(o->seed_width >= 1 && o->seed_width <= MAX_WIDTH, CLPEFT_INVALID_ARGUMENT,
            "adapter config: seed_width is %zu, not 1 to %d", o->seed_width, MAX_WIDTH);
    REQUIRE(o->hidden_width >= 1 && o->hidden_width <= MAX_WIDTH, CLPEFT_INVALID_ARGUMENT,
            "adapter config: hidden_width is %zu, not 1 to %d", o->hidden_width, MAX_WIDTH);
    while (i < LENGTH(known) && o->act != known[i]) i++;
    REQUIRE(i < LENGTH(known), CLPEFT_INVALID_ARGUMENT,
            "adapter config: act is %d, not silu, gelu, relu, tanh or identity", (int)o->act);
    REQUIRE(o->share == CLPEFT_SHARE_BLOCK || o->share == CLPEFT_SHARE_MODEL, CLPEFT_INVALID_ARGUMENT,
            "adapter config: share is %d", (int)o->share);
    REQUIRE(o->w2b == CLPEFT_W2B_SHARED || o->w2b == CLPEFT_W2B_PER_HEAD, CLPEFT_INVALID_ARGUMENT,
            "adapter config: w2b is %d", (int)o->w2b);
out:
    return status;
}

clpeft_status clp_adapter_check_config(const clpeft_adapter_config *o)
{
    clpeft_status status = CLPEFT_OK;

    REQUIRE(o->rank >= 1 && o->rank <= MAX_WIDTH, CLPEFT_INVALID_ARGUMENT, "adapter config: rank is %zu, not 1 to %d",
            o->rank, MAX_WIDTH);
    REQUIRE(isfinite(o->alpha) && o->alpha > 0, CLPEFT_INVALID_ARGUMENT, "adapter config: alpha is %g, not above 0",
            (double)o->alpha);
    REQUIRE((unsigned)o->tau <= CLPEFT_TAU_GAUSSIAN, CLPEFT_INVALID_ARGUMENT, "adapter config: tau is %d", (int)o->tau);
    REQUIRE(o->magnitude || o->tau == CLPEFT_TAU_NONE, CLPEFT_INVALID_ARGUMENT, "adapter config: tau needs magnitude");
    REQUIRE(o->tau == CLPEFT_TAU_NONE || (isfinite(o->tau0) && o->tau0 > 0), CLPEFT_INVALID_ARGUMENT,
            "adapter config: tau0 is %g, not above 0", (double)o->tau0);
    REQUIRE(o->dropout >= 0 && o->dropout < 1, CLPEFT_INVALID_ARGUMENT, "adapter config: dropout is %g, not in [0, 1)",
            (double)o->dropout);
    if (o->generator) TRY(check_generator(o));
out:
    return status;
}

/* adapter-config.c - the methods' defaults; bad configurations and sites are refused. */
#include "layers.h"

START_TEST(defaults_are_the_methods)
{
    static const struct {
        clpeft_method method;
        int generator, magnitude;
        clpeft_tau tau;
    } want[] = { { CLPEFT_LORA, 0, 0, CLPEFT_TAU_NONE },
                 { CLPEFT_DORA, 0, 1, CLPEFT_TAU_NONE },
                 { CLPEFT_HORA, 1, 0, CLPEFT_TAU_NONE },
                 { CLPEFT_DORAN, 1, 1, CLPEFT_TAU_LEARNED } };
    for (size_t i = 0; i < sizeof want / sizeof *want; i++) {
        const clpeft_adapter_config c = clpeft_adapter_defaults(want[i].method);
        ck_assert(c.generator == want[i].generator && c.magnitude == want[i].magnitude && c.tau == want[i].tau);
        ck_assert(c.rank == 8 && c.alpha == 16 && c.seed_width == 16 && c.hidden_width == 16 && c.act == CLPEFT_SILU &&
                  !c.rslora);
        ck_assert(c.share == CLPEFT_SHARE_BLOCK && c.w2b == CLPEFT_W2B_SHARED && c.tau0 == 0.1f && !c.norm_gradient &&
                  c.dropout == 0);
    }
}
END_TEST

START_TEST(configurations_are_checked)
{
    clpeft_linear *linear = make_linear(6, 5, -1, NULL);
    const clpeft_site site = { .name = "fc", .linear = linear, .heads = 2, .head_size = 3 };
    clpeft_params *params = NULL;
    clpeft_adapter *adapter = NULL;
    clpeft_adapter_config c;

    ck_ok(clpeft_params_create(&params, dev.ctx));
#define REFUSED(text, change)                                                                           \
    do {                                                                                                \
        c = clpeft_adapter_defaults(CLPEFT_DORAN), change;                                              \
        ck_fails(CLPEFT_INVALID_ARGUMENT, text, clpeft_adapter_create(&adapter, params, &site, 1, &c)); \
    } while (0)
    REFUSED("rank", c.rank = 0);
    REFUSED("rank", c.rank = SIZE_MAX);
    REFUSED("alpha", c.alpha = 0);
    REFUSED("alpha", c.alpha = NAN);
    REFUSED("seed_width", c.seed_width = 0);
    REFUSED("hidden_width", c.hidden_width = 1 << 20);
    REFUSED("act", c.act = CLPEFT_GELU_TANH);
    REFUSED("share", c.share = (clpeft_share)2);
    REFUSED("w2b", c.w2b = (clpeft_w2b)-1);
    REFUSED("tau is", c.tau = (clpeft_tau)4);
    REFUSED("tau needs magnitude", c.magnitude = 0);
    REFUSED("tau0", c.tau0 = 0);
    REFUSED("tau0", c.tau0 = INFINITY);
    REFUSED("dropout", c.dropout = 1);
    REFUSED("dropout", c.dropout = -0.5f);
    c = clpeft_adapter_defaults(CLPEFT_LORA);
    ck_fails(CLPEFT_INVALID_ARGUMENT, "NULL", clpeft_adapter_create(&adapter, params, NULL, 1, &c));
    ck_fails(CLPEFT_INVALID_ARGUMENT, "NULL", clpeft_adapter_create(&adapter, params, &site, 1, NULL));
    ck_fails(CLPEFT_INVALID_ARGUMENT, "NULL", clpeft_adapter_create(&adapter, NULL, &site, 1, &c));
    ck_fails(CLPEFT_INVALID_SIZE, "0 sites", clpeft_adapter_create(&adapter, params, &site, 0, &c));
    ck_assert_uint_eq(clpeft_params_count(params), 0);
    clpeft_params_destroy(params);
    clpeft_linear_destroy(linear);
}
END_TEST

START_TEST(sites_are_checked_and_a_failure_leaves_params_alone)
{
    clpeft_linear *linear = make_linear(12, 5, -1, NULL);
    const clpeft_site good = { .name = "query", .linear = linear, .row = 0, .heads = 2, .head_size = 2 };
    const clpeft_adapter_config hora = clpeft_adapter_defaults(CLPEFT_HORA),
                                lora = clpeft_adapter_defaults(CLPEFT_LORA);
    const size_t one = 1, many = 100;
    clpeft_params *params = NULL;
    clpeft_adapter *adapter = NULL;
    clpeft_site s[2];
    char longest[100];
    float zeros[100];

    memset(longest, 'n', 99), longest[99] = 0;
    ck_ok(clpeft_params_create(&params, dev.ctx));
    ck_ok(clpeft_params_add(params, "head", CLPEFT_KIND_HEAD, 1, &one, NULL, NULL));
    const size_t size = clpeft_params_size(params), trainable = clpeft_params_trainable(params);
#define REFUSED_SITE(code, text, config, change)                                     \
    do {                                                                             \
        s[0] = s[1] = good, s[1].name = "value", s[1].row = 4, change;               \
        ck_fails(code, text, clpeft_adapter_create(&adapter, params, s, 2, config)); \
    } while (0)
    REFUSED_SITE(CLPEFT_INVALID_ARGUMENT, "no name", &lora, s[1].name = NULL);
    REFUSED_SITE(CLPEFT_INVALID_ARGUMENT, "linear", &lora, s[1].linear = NULL);
    REFUSED_SITE(CLPEFT_INVALID_ARGUMENT, "two sites query", &lora, s[1].name = "query");
    REFUSED_SITE(CLPEFT_INVALID_SIZE, "without gaps", &hora, s[1].block = 7);
    REFUSED_SITE(CLPEFT_INVALID_SIZE, "to 65535", &lora, s[1].block = 65536);
    REFUSED_SITE(CLPEFT_INVALID_SIZE, "block 0 has no site", &hora, s[0].block = s[1].block = 1);
    REFUSED_SITE(CLPEFT_INVALID_SIZE, "the layer has 12", &lora, s[1].row = 9);
    REFUSED_SITE(CLPEFT_INVALID_SIZE, "the layer has 12", &lora, s[1].heads = 0);
    REFUSED_SITE(CLPEFT_INVALID_SIZE, "the layer has 12", &lora, s[1].head_size = SIZE_MAX);
    REFUSED_SITE(CLPEFT_INVALID_SIZE, "the layer has 12", &lora, s[1].row = SIZE_MAX);
    REFUSED_SITE(CLPEFT_INVALID_SIZE, "overlap at row 3", &lora, s[1].row = 3);
    REFUSED_SITE(CLPEFT_INVALID_ARGUMENT, "rank", &lora, s[1].rank = 1 << 20);
    REFUSED_SITE(CLPEFT_INVALID_ARGUMENT, "one rank for all", &hora, s[1].rank = 3);
    REFUSED_SITE(CLPEFT_INVALID_ARGUMENT, "alpha", &lora, s[1].alpha = -1);
    REFUSED_SITE(CLPEFT_INVALID_ARGUMENT, "longer", &hora, s[1].name = longest);
    ck_assert_uint_eq(clpeft_params_count(params), 1);
    ck_assert_uint_eq(clpeft_params_size(params), size);
    ck_assert_uint_eq(clpeft_params_trainable(params), trainable);
    /* Where the failed ones drew values. */
    ck_ok(clpeft_params_add(params, "zeros", CLPEFT_KIND_HEAD, 1, &many, NULL, NULL));
    s[0] = s[1] = good, s[1].name = "value", s[1].row = 4;
    s[0].block = 2, s[1].block = 7; /* without a generator, blocks may be left out */
    ck_ok(clpeft_adapter_create(&adapter, params, s, 2, &lora));
    ck_assert_ptr_nonnull(clpeft_params_find(params, "blocks.7.value.A"));
    ck_ok(clpeft_params_allocate(params));
    ck_ok(clpeft_params_read(params, CLPEFT_THETA, clpeft_params_find(params, "zeros"), zeros, dev.queue));
    for (size_t i = 0; i < many; i++) ck_assert_float_eq(zeros[i], 0);
    clpeft_adapter_destroy(adapter);
    clpeft_params_destroy(params);
    ck_ok(clpeft_params_create(&params, dev.ctx));
    s[0].block = s[1].block = 0;
    ck_ok(clpeft_adapter_create(&adapter, params, s, 2, &hora));
    ck_assert_uint_eq(clpeft_adapter_sites(adapter, NULL), 2);
    ck_fails(CLPEFT_INVALID_ARGUMENT, "not allocated",
             clpeft_adapter_materialize(adapter, 0, 1, dev.queue, 0, NULL, NULL));
    clpeft_adapter_destroy(adapter);
    clpeft_params_destroy(params);
    clpeft_linear_destroy(linear);
}
END_TEST

static void add(TCase *t)
{
    tcase_add_test(t, defaults_are_the_methods);
    tcase_add_test(t, configurations_are_checked);
    tcase_add_test(t, sites_are_checked_and_a_failure_leaves_params_alone);
}

int main(void)
{
    return run_suite("adapter-config", add, 120);
}

/* llama.c - a small random decoder against float64: hidden states from every file format, tokens one after another, refusals. */
#include "decoder.h"

/* ---- forward ---------------------------------------------------------------------------------------------------- */

static const decoder variants[] = {
    { .dtype = CLPEFT_F32 },
    { .dtype = CLPEFT_Q8_0 },
    { .dtype = CLPEFT_F16, .untied = 1 },
    { .dtype = CLPEFT_BF16 },
    { .dtype = CLPEFT_F32, .D = 20, .H = 3, .Hk = 1, .d = 6, .F = 13, .L = 1, .untied = 1 },
    { .dtype = CLPEFT_Q8_0, .D = 32, .H = 2, .Hk = 2, .d = 32, .F = 32, .L = 2 },
};

/* Last hidden states of the model at m->path. */
static float *hidden_states(const decoder *m, clpeft_model_options options)
{
    float *y = malloc(TOKENS * m->D * sizeof *y);
    clpeft_model *model;
    clpeft_view view;

    ck_ok(clpeft_model_load(&model, dev.ctx, m->path, &options));
    ck_ok(clpeft_model_forward(model, NULL, &decoder_batch, 0, &view, dev.queue, 0, NULL, NULL));
    read_rows(view, TOKENS, m->D, y);
    clpeft_model_destroy(model);
    return y;
}

START_TEST(hidden_states_match_float64)
{
    decoder m = decoder_make(variants[_i]);
    clpeft_model_options options = decoder_options;
    decoder_weights w;

    decoder_weights_copy(&m, w);
    double *want = decoder_forward(&m, w, &decoder_batch);
    for (int i = 0; i < 4; i++) {
        options.forward_only = i & 1, options.recompute = i == 2;
        if (i < 2)
            decoder_write_gguf(&m, m.dtype, SIZE_MAX);
        else
            decoder_write_folder(&m, m.dtype == CLPEFT_Q8_0 ? CLPEFT_F32 : m.dtype, "");
        float *y = hidden_states(&m, options);
        for (size_t j = 0; j < TOKENS * m.D; j++)
            expect_near(y[j], want[j], 2e-5, "variant %d, way %d, token %zu column %zu", _i, i, j / m.D, j % m.D);
        free(y);
    }
    free(want);
    decoder_weights_free(&m, w);
    decoder_free(&m);
}
END_TEST

/* Numbers of one type in other clothes: blocks in GGUF, f32 in GGUF, f32 in safetensors, blocks with one matrix in f32. */
START_TEST(every_file_format_gives_the_same_bits)
{
    decoder m = decoder_make((decoder){ .dtype = CLPEFT_Q8_0 });
    float *y[4];

    decoder_write_gguf(&m, CLPEFT_Q8_0, SIZE_MAX);
    y[0] = hidden_states(&m, decoder_options);
    decoder_write_gguf(&m, CLPEFT_F32, SIZE_MAX);
    y[1] = hidden_states(&m, decoder_options);
    decoder_write_folder(&m, CLPEFT_F32,
                         ", \"rope_parameters\": { \"rope_theta\": 10000.0, \"rope_type\": \"default\" }");
    y[2] = hidden_states(&m, decoder_options);
    decoder_write_gguf(&m, CLPEFT_Q8_0, 2); /* query of the first block */
    ck_assert_str_eq("blk.0.attn_q.weight", m.tensor[2].gguf);
    y[3] = hidden_states(&m, decoder_options);
    for (int i = 1; i < 4; i++) ck_assert_msg(memcmp(y[0], y[i], TOKENS * m.D * sizeof **y) == 0, "way %d", i);
    for (int i = 0; i < 4; i++) free(y[i]);
    decoder_free(&m);
}
END_TEST

/* ---- one token after another ------------------------------------------------------------------------------------ */

START_TEST(cached_tokens_give_the_logits_of_the_whole)
{
    static const size_t parts[] = { 1, 4, 1, 1, 13 };
    decoder m = decoder_make((decoder){ .V = 5000, .untied = _i });
    const int32_t row_start[] = { 0, TOKENS };
    const clpeft_batch batch = { .S = 1, .row_start = row_start, .tokens = decoder_tokens };
    const clpeft_model_options options = { .max_tokens = 7, .forward_only = _i };
    float *logits = malloc(m.V * sizeof *logits);
    clpeft_model_cache *cache;
    clpeft_model *model;
    decoder_weights w;

    decoder_write_gguf(&m, CLPEFT_F32, SIZE_MAX);
    decoder_weights_copy(&m, w);
    double *x = decoder_forward(&m, w, &batch), *want = decoder_logits(&m, TOKENS, x);
    ck_ok(clpeft_model_load(&model, dev.ctx, m.path, &options));
    ck_ok(clpeft_model_cache_create(&cache, model, 21));
    for (int again = 0; again < 2; again++) {
        size_t at = 0;
        for (size_t i = 0; i < sizeof parts / sizeof *parts; i++) {
            ck_ok(clpeft_model_next_logits(cache, NULL, parts[i], decoder_tokens + at, logits, dev.queue));
            at += parts[i];
            ck_assert_uint_eq(at, clpeft_model_cache_length(cache));
            for (size_t v = 0; v < m.V; v++)
                expect_near(logits[v], want[(at - 1) * m.V + v], 5e-5, "logit %zu after %zu tokens", v, at);
        }
        ck_fails(CLPEFT_INVALID_SIZE, "2 tokens after 20",
                 clpeft_model_next_logits(cache, NULL, 2, decoder_tokens, logits, dev.queue));
        ck_fails(CLPEFT_INVALID_ARGUMENT, "vocabulary",
                 clpeft_model_next_logits(cache, NULL, 1, &(int32_t){ 5000 }, logits, dev.queue));
        ck_assert_uint_eq(20, clpeft_model_cache_length(cache));
        clpeft_model_cache_cut(cache, 21);
        ck_assert_uint_eq(20, clpeft_model_cache_length(cache));
        clpeft_model_cache_cut(cache, 0);
    }
    ck_ok(clpeft_model_next_logits(cache, NULL, 20, decoder_tokens, NULL, dev.queue));
    clpeft_model_cache_destroy(cache);
    ck_fails(CLPEFT_INVALID_SIZE, "61 positions: the model has 60", clpeft_model_cache_create(&cache, model, 61));
    clpeft_model_destroy(model);
    free(x), free(want), free(logits);
    decoder_weights_free(&m, w);
    decoder_free(&m);
}
END_TEST

/* ---- sites ------------------------------------------------------------------------------------------------------ */

START_TEST(sites_are_named)
{
    decoder m = decoder_make((decoder){ 0 });
    clpeft_model *model;
    clpeft_site *sites;
    char path[80];
    size_t n;

    decoder_write_folder(&m, CLPEFT_F32, "");
    ck_ok(clpeft_model_load(&model, dev.ctx, m.path, &decoder_options));
    ck_ok(clpeft_model_sites(model, "value,q_proj", &sites, &n));
    ck_assert_uint_eq(2 * m.L, n);
    ck_assert_str_eq("q_proj", sites[0].name);
    ck_assert_uint_eq(m.H, sites[0].heads);
    ck_assert_uint_eq(m.d, sites[0].head_size);
    ck_assert_uint_eq((m.H + m.Hk) * m.d, sites[1].row);
    ck_assert_uint_eq(m.Hk, sites[1].heads);
    ck_assert_ptr_eq(sites[0].linear, sites[1].linear);
    ck_ok(clpeft_model_site_path(model, &sites[3], path, sizeof path));
    ck_assert_str_eq("layers.1.self_attn.v_proj", path);
    free(sites);
    ck_ok(clpeft_model_sites(model, "all", &sites, &n));
    ck_assert_uint_eq(PROJS * m.L, n);
    ck_assert_uint_eq(m.F, sites[5].row);
    ck_ok(clpeft_model_site_path(model, &sites[6], path, sizeof path));
    ck_assert_str_eq("layers.0.mlp.down_proj", path);
    free(sites);
    clpeft_model_destroy(model);
    decoder_free(&m);
}
END_TEST

/* ---- refusals --------------------------------------------------------------------------------------------------- */

static const struct {
    const char *more, *says;
    clpeft_status code;
} configs[] = {
    { ", \"hidden_act\": \"gelu\"", "hidden_act \"gelu\"", CLPEFT_UNSUPPORTED },
    { ", \"attention_bias\": true", "attention_bias", CLPEFT_UNSUPPORTED },
    { ", \"rope_scaling\": { \"type\": \"linear\", \"factor\": 2.0 }", "scaled rotary", CLPEFT_UNSUPPORTED },
    { ", \"rope_parameters\": { \"rope_type\": \"llama3\" }", "\"llama3\"", CLPEFT_UNSUPPORTED },
    { ", \"rope_theta\": 0", "rope_theta", CLPEFT_INVALID_FILE },
    { ", \"rope_theta\": \"large\"", "rope_theta", CLPEFT_INVALID_FILE },
    { ", \"num_experts\": 4", "experts", CLPEFT_UNSUPPORTED },
    { ", \"rotary_dim\": 8", "8 rotated", CLPEFT_UNSUPPORTED },
    { ", \"vocab_size\": 71", "duplicate", CLPEFT_INVALID_FILE },
};

START_TEST(bad_configurations_are_refused)
{
    decoder m = decoder_make((decoder){ 0 });
    clpeft_model *model = NULL;

    decoder_write_folder(&m, CLPEFT_F32, configs[_i].more);
    const clpeft_status status = clpeft_model_load(&model, dev.ctx, m.path, NULL);
    ck_assert_str_eq(clpeft_status_text(configs[_i].code), clpeft_status_text(status));
    ck_assert_msg(strstr(clpeft_error_message(), configs[_i].says), "%s", clpeft_error_message());
    ck_assert_ptr_null(model);
    decoder_free(&m);
}
END_TEST

/* A GGUF file with one thing changed. */
static void refuse(decoder change, size_t rename, const char *name, const char *says, clpeft_status code)
{
    decoder m = decoder_make(change);
    clpeft_model *model = NULL;

    if (rename < m.n) snprintf(m.tensor[rename].gguf, sizeof m.tensor[rename].gguf, "%s", name);
    decoder_write_gguf(&m, CLPEFT_F32, SIZE_MAX);
    const clpeft_status status = clpeft_model_load(&model, dev.ctx, m.path, &decoder_options);
    ck_assert_str_eq(clpeft_status_text(code), clpeft_status_text(status));
    ck_assert_msg(strstr(clpeft_error_message(), says), "%s", clpeft_error_message());
    ck_assert_ptr_null(model);
    decoder_free(&m);
}

START_TEST(bad_models_are_refused)
{
    refuse((decoder){ 0 }, 0, "x", "token_embd.weight is missing", CLPEFT_INVALID_FILE);
    refuse((decoder){ 0 }, 1, "x", "output_norm.weight is missing", CLPEFT_INVALID_FILE);
    refuse((decoder){ 0 }, 2, "x", "blk.0.attn_q.weight is missing", CLPEFT_INVALID_FILE);
    refuse((decoder){ 0 }, 2, "rope_freqs.weight", "scaled rotary", CLPEFT_UNSUPPORTED);
    refuse((decoder){ 0 }, 2, "blk.0.attn_q.bias", "biases", CLPEFT_UNSUPPORTED);
    const clpeft_gguf_meta yarn = { .key = "llama.rope.scaling.type", .type = CLPEFT_GGUF_STRING, .string = "yarn" };
    refuse((decoder){ .extra = yarn }, SIZE_MAX, "", "rope_type \"yarn\"", CLPEFT_UNSUPPORTED);
    const clpeft_gguf_meta flag = { .key = "llama.expert_count", .type = CLPEFT_GGUF_BOOL, .u32 = 1 };
    refuse((decoder){ .extra = flag }, SIZE_MAX, "", "num_experts", CLPEFT_INVALID_FILE);
    refuse((decoder){ .D = 20, .H = 3, .Hk = 2, .d = 6, .F = 12 }, SIZE_MAX, "", "3 query heads for 2",
           CLPEFT_INVALID_FILE);
    refuse((decoder){ .D = 20, .H = 2, .Hk = 2, .d = 5, .F = 12 }, SIZE_MAX, "", "heads of 5 columns",
           CLPEFT_UNSUPPORTED);
}
END_TEST

START_TEST(a_model_in_several_files_is_refused)
{
    decoder m = decoder_make((decoder){ 0 });
    clpeft_model *model = NULL;
    char name[100];

    decoder_write_folder(&m, CLPEFT_F32, "");
    snprintf(name, sizeof name, "%s/model.safetensors.index.json", m.dir);
    fclose(fopen(name, "w"));
    ck_fails(CLPEFT_UNSUPPORTED, "several files", clpeft_model_load(&model, dev.ctx, m.path, &decoder_options));
    unlink(name);
    decoder_free(&m);
}
END_TEST

static void add(TCase *t)
{
    tcase_add_loop_test(t, hidden_states_match_float64, 0, sizeof variants / sizeof *variants);
    tcase_add_test(t, every_file_format_gives_the_same_bits);
    tcase_add_loop_test(t, cached_tokens_give_the_logits_of_the_whole, 0, 2);
    tcase_add_test(t, sites_are_named);
    tcase_add_loop_test(t, bad_configurations_are_refused, 0, sizeof configs / sizeof *configs);
    tcase_add_test(t, bad_models_are_refused);
    tcase_add_test(t, a_model_in_several_files_is_refused);
}

int main(void)
{
    return run_suite("llama", add, 120);
}

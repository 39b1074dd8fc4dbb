/* model.c - a small random encoder against float64: hidden states, names of sites, refusals. */
#include "tiny.h"

/* ---- forward ---------------------------------------------------------------------------------------------------- */

static const tiny variants[] = {
    { .act = "gelu" },
    { .act = "gelu_new", .prefix = "bert.", .norm_weight = "gamma", .norm_bias = "beta" },
    { .act = "relu", .type = "roberta", .prefix = "roberta." },
    { .act = "silu", .dtype = CLPEFT_F16 },
    { .act = "gelu", .V = 37, .P = 12, .D = 64, .H = 1, .F = 16, .L = 1 },
    { .act = "silu", .V = 37, .P = 12, .D = 16, .H = 2, .F = 1024, .L = 1 }, /* rows of 4 KB */
};

START_TEST(hidden_states_match_float64)
{
    tiny m = tiny_make(variants[_i]);
    tiny_weights w;
    clpeft_model *model;
    clpeft_view view;
    float *y = malloc(T * m.D * sizeof *y);

    tiny_write(&m, "");
    tiny_weights_copy(&m, w);
    double *want = tiny_forward(&m, w, &tiny_batch);
    for (int forward_only = 0; forward_only < 2; forward_only++) {
        clpeft_model_options options = tiny_options;
        options.forward_only = forward_only;
        ck_ok(clpeft_model_load(&model, dev.ctx, m.dir, &options));
        for (int again = 0; again < 2; again++) {
            ck_ok(clpeft_model_forward(model, NULL, &tiny_batch, 0, &view, dev.queue, 0, NULL, NULL));
            read_view(view, T, m.D, y);
            for (size_t i = 0; i < T * m.D; i++)
                expect_near(y[i], want[i], 2e-5, "variant %d token %zu column %zu", _i, i / m.D, i % m.D);
        }
        clpeft_model_destroy(model);
    }
    free(want), free(y);
    tiny_weights_free(&m, w);
    tiny_free(&m);
}
END_TEST

START_TEST(narrow_weights_are_kept_narrow)
{
    static const clpeft_dtype types[] = { CLPEFT_F16, CLPEFT_BF16 };
    tiny m = tiny_make((tiny){ 0 });
    tiny_weights w;
    clpeft_view view;
    float *y = malloc(T * m.D * sizeof *y);

    tiny_write(&m, "");
    for (size_t i = 0; i < sizeof types / sizeof *types; i++) {
        clpeft_model_options options = tiny_options;
        clpeft_model *model;
        options.weights = types[i];
        tiny_weights_copy(&m, w);
        for (size_t b = 0; b < m.L; b++)
            for (int j = 0; j < MODULES; j++)
                for (size_t k = 0; k < module_rows(&m, j) * module_columns(&m, j); k++) {
                    uint16_t narrow;
                    float wide = (float)w[b][j][k];
                    ck_ok(clpeft_dtype_from_f32(types[i], &wide, 1, &narrow));
                    ck_ok(clpeft_dtype_to_f32(types[i], &narrow, 1, &wide));
                    w[b][j][k] = wide;
                }
        double *want = tiny_forward(&m, w, &tiny_batch);
        ck_ok(clpeft_model_load(&model, dev.ctx, m.dir, &options));
        ck_ok(clpeft_model_forward(model, NULL, &tiny_batch, 0, &view, dev.queue, 0, NULL, NULL));
        read_view(view, T, m.D, y);
        for (size_t j = 0; j < T * m.D; j++) expect_near(y[j], want[j], 2e-5, "type %zu element %zu", i, j);
        clpeft_model_destroy(model);
        free(want);
        tiny_weights_free(&m, w);
    }
    free(y);
    tiny_free(&m);
}
END_TEST

/* ---- sites ------------------------------------------------------------------------------------------------------ */

START_TEST(sites_are_named)
{
    static const char *const no_ranks[] = { "up:",   "up:0",   "up:-1",   "up:x",        "up:4x",    "up: 4",
                                            "up:4:", "up:4:0", "up:4:-1", "up:4:1e9999", "up:4:1:1", "up:4:nan" };
    tiny m = tiny_make((tiny){ 0 });
    clpeft_model *model;
    clpeft_site *sites;
    char path[80];
    size_t n;

    tiny_write(&m, "");
    ck_ok(clpeft_model_load(&model, dev.ctx, m.dir, &tiny_options));
    ck_ok(clpeft_model_sites(model, " value, query", &sites, &n));
    ck_assert_uint_eq(2 * m.L, n);
    ck_assert_str_eq("query", sites[2].name);
    ck_assert_str_eq("value", sites[3].name);
    ck_assert_uint_eq(1, sites[3].block);
    ck_assert_uint_eq(2 * m.D, sites[3].row);
    ck_assert_uint_eq(m.H, sites[3].heads);
    ck_assert_ptr_eq(sites[2].linear, sites[3].linear);
    ck_ok(clpeft_model_site_path(model, &sites[3], path, sizeof path));
    ck_assert_str_eq("encoder.layer.1.attention.self.value", path);
    ck_fails(CLPEFT_INVALID_SIZE, "37 bytes", clpeft_model_site_path(model, &sites[3], path, 10));
    free(sites);
    ck_ok(clpeft_model_sites(model, "all", &sites, &n));
    ck_assert_uint_eq(6 * m.L, n);
    free(sites);
    ck_fails(CLPEFT_INVALID_ARGUMENT, "there are query, key, value, output, up, down",
             clpeft_model_sites(model, "query,q_proj", &sites, &n));
    ck_fails(CLPEFT_INVALID_ARGUMENT, "twice", clpeft_model_sites(model, "up,query,up", &sites, &n));
    ck_fails(CLPEFT_INVALID_ARGUMENT, "no module \"\"", clpeft_model_sites(model, "", &sites, &n));
    ck_ok(clpeft_model_sites(model, "2.up:3, 0.up:4:0.5,value:7", &sites, &n));
    ck_assert_uint_eq(2 + m.L, n);
    ck_assert_str_eq("up", sites[1].name);
    ck_assert_uint_eq(4, sites[1].rank);
    ck_assert(sites[1].alpha == 0.5f && sites[0].rank == 7 && sites[0].alpha == 0);
    ck_assert_uint_eq(2, sites[4].block);
    ck_assert_uint_eq(3, sites[4].rank);
    free(sites);
    ck_fails(CLPEFT_INVALID_ARGUMENT, "twice", clpeft_model_sites(model, "1.up,up:3", &sites, &n));
    ck_fails(CLPEFT_INVALID_ARGUMENT, "the model has 3 blocks", clpeft_model_sites(model, "3.up", &sites, &n));
    for (size_t i = 0; i < sizeof no_ranks / sizeof *no_ranks; i++)
        ck_fails(CLPEFT_INVALID_ARGUMENT, "follow the colon", clpeft_model_sites(model, no_ranks[i], &sites, &n));
    clpeft_model_destroy(model);
    tiny_free(&m);
}
END_TEST

/* ---- refusals --------------------------------------------------------------------------------------------------- */

static const struct {
    const char *more, *says;
    clpeft_status code;
} configs[] = {
    { ", \"hidden_size\": 24", "duplicate", CLPEFT_INVALID_FILE },
    { ", \"position_embedding_type\": \"relative_key\"", "position_embedding_type", CLPEFT_UNSUPPORTED },
    { ", \"is_decoder\": true", "is_decoder", CLPEFT_UNSUPPORTED },
    { ", \"layer_norm_eps\": -1", "layer_norm_eps", CLPEFT_INVALID_FILE },
    { ", \"layer_norm_eps\": \"small\"", "layer_norm_eps", CLPEFT_INVALID_FILE },
    { ", \"type_vocab_size\": 3", "token_type_embeddings.weight is [2,24], the model needs [3,24]",
      CLPEFT_INVALID_FILE },
    { ", \"type_vocab_size\": 99999999999999999999", "line 1", CLPEFT_INVALID_FILE },
    { "} x", "not JSON", CLPEFT_INVALID_FILE },
};

START_TEST(bad_configurations_are_refused)
{
    tiny m = tiny_make((tiny){ 0 });
    clpeft_model *model = NULL;

    tiny_write(&m, configs[_i].more);
    const clpeft_status status = clpeft_model_load(&model, dev.ctx, m.dir, NULL);
    ck_assert_str_eq(clpeft_status_text(configs[_i].code), clpeft_status_text(status));
    ck_assert_msg(strstr(clpeft_error_message(), configs[_i].says), "%s", clpeft_error_message());
    ck_assert_msg(strstr(clpeft_error_message(), m.dir), "%s", clpeft_error_message());
    ck_assert_ptr_null(model);
    tiny_free(&m);
}
END_TEST

/* Change one thing of a good model, and see what is said. */
static void refuse(tiny change, size_t drop, const char *says, clpeft_status code)
{
    tiny m = tiny_make(change);
    clpeft_model *model = NULL;

    if (drop < m.n) m.tensor[drop].name[0] = 'x';
    tiny_write(&m, "");
    const clpeft_status status = clpeft_model_load(&model, dev.ctx, m.dir, &tiny_options);
    ck_assert_str_eq(clpeft_status_text(code), clpeft_status_text(status));
    ck_assert_msg(strstr(clpeft_error_message(), says), "%s", clpeft_error_message());
    ck_assert_ptr_null(model);
    tiny_free(&m);
}

START_TEST(bad_models_are_refused)
{
    clpeft_model *model = NULL;
    refuse((tiny){ .type = "gpt2" }, SIZE_MAX, "type \"gpt2\" is not known; known are bert, roberta",
           CLPEFT_UNSUPPORTED);
    refuse((tiny){ .act = "mish" }, SIZE_MAX, "hidden_act \"mish\"", CLPEFT_UNSUPPORTED);
    refuse((tiny){ .V = 9, .P = 9, .D = 10, .H = 3, .F = 8, .L = 1 }, SIZE_MAX, "3 heads", CLPEFT_UNSUPPORTED);
    refuse((tiny){ .type = "roberta", .V = 9, .P = 2, .D = 8, .H = 1, .F = 8, .L = 1 }, SIZE_MAX,
           "max_position_embeddings", CLPEFT_INVALID_FILE);
    refuse((tiny){ .prefix = "other." }, SIZE_MAX, "embeddings.word_embeddings.weight is missing", CLPEFT_INVALID_FILE);
    refuse((tiny){ 0 }, 3, "embeddings.LayerNorm.weight is missing", CLPEFT_INVALID_FILE);
    refuse((tiny){ .prefix = "bert." }, 5, "bert.encoder.layer.0.attention.self.query.weight is missing",
           CLPEFT_INVALID_FILE);
    refuse((tiny){ 0 }, 16, "encoder.layer.0.output.dense.bias is missing", CLPEFT_INVALID_FILE);
    ck_fails(CLPEFT_FILE_ERROR, "/no/such/folder/config.json: No such file",
             clpeft_model_load(&model, dev.ctx, "/no/such/folder", NULL));
    ck_fails(CLPEFT_INVALID_ARGUMENT, "NULL", clpeft_model_load(&model, dev.ctx, NULL, NULL));
}
END_TEST

START_TEST(bad_batches_are_refused)
{
    static const int32_t falling[] = { 0, 5, 3 }, late[] = { 1, 2 }, long_one[] = { 0, 20 }, empty[] = { 0, 0 },
                         two[] = { 0, 18, 19, 19 };
    static const int32_t negative[] = { 3, -1 }, large[] = { 37, 0 }, start[] = { 0, 2 };
    tiny m = tiny_make((tiny){ 0 });
    clpeft_model_options options = { .max_tokens = 18, .max_sequences = 2 };
    clpeft_model *model;
    clpeft_view y;

    tiny_write(&m, "");
    ck_ok(clpeft_model_load(&model, dev.ctx, m.dir, &options));
#define FORWARD(...) \
    clpeft_model_forward(model, NULL, &(clpeft_batch){ __VA_ARGS__, NULL, 0 }, 0, &y, dev.queue, 0, NULL, NULL)
    ck_fails(CLPEFT_INVALID_ARGUMENT, "NULL", FORWARD(1, start, NULL, NULL));
    ck_fails(CLPEFT_INVALID_SIZE, "0 sequences", FORWARD(0, start, tiny_tokens, NULL));
    ck_fails(CLPEFT_INVALID_SIZE, "3 sequences", FORWARD(3, two, tiny_tokens, NULL));
    ck_fails(CLPEFT_INVALID_SIZE, "0 tokens", FORWARD(1, empty, tiny_tokens, NULL));
    ck_fails(CLPEFT_INVALID_SIZE, "19 tokens", FORWARD(2, two, tiny_tokens, NULL));
    ck_fails(CLPEFT_INVALID_SIZE, "sequence 0 has 20 tokens", FORWARD(1, long_one, tiny_tokens, NULL));
    ck_fails(CLPEFT_INVALID_ARGUMENT, "decreases at sequence 1", FORWARD(2, falling, tiny_tokens, NULL));
    ck_fails(CLPEFT_INVALID_ARGUMENT, "begins with 1", FORWARD(1, late, tiny_tokens, NULL));
    ck_fails(CLPEFT_INVALID_ARGUMENT, "token 1 is -1", FORWARD(1, start, negative, NULL));
    ck_fails(CLPEFT_INVALID_ARGUMENT, "token 0 is 37", FORWARD(1, start, large, NULL));
    clpeft_model_destroy(model);
    options = (clpeft_model_options){ .max_length = 20 };
    ck_fails(CLPEFT_INVALID_SIZE, "19 positions", clpeft_model_load(&model, dev.ctx, m.dir, &options));
    tiny_free(&m);
}
END_TEST

START_TEST(the_hash_tells_models_apart)
{
    tiny m = tiny_make((tiny){ 0 }), other;
    uint64_t hash[4];
    for (int i = 0; i < 4; i++) { /* again; one value differs; named with a prefix */
        clpeft_model_info info;
        clpeft_model *model;
        other = m;
        if (i == 2) m.tensor[7].data[11] += 0.5f;
        if (i == 3) other.prefix = "bert.";
        tiny_write(&other, "");
        ck_ok(clpeft_model_load(&model, dev.ctx, m.dir, &tiny_options));
        clpeft_model_get_info(model, &info);
        ck_assert_uint_eq(m.D, info.width);
        hash[i] = info.hash;
        clpeft_model_destroy(model);
    }
    ck_assert(hash[0] == hash[1]);
    ck_assert(hash[1] != hash[2]);
    ck_assert(hash[2] == hash[3]);
    tiny_free(&m);
}
END_TEST

static void add(TCase *t)
{
    tcase_add_loop_test(t, hidden_states_match_float64, 0, sizeof variants / sizeof *variants);
    tcase_add_test(t, narrow_weights_are_kept_narrow);
    tcase_add_test(t, sites_are_named);
    tcase_add_loop_test(t, bad_configurations_are_refused, 0, sizeof configs / sizeof *configs);
    tcase_add_test(t, bad_models_are_refused);
    tcase_add_test(t, bad_batches_are_refused);
    tcase_add_test(t, the_hash_tells_models_apart);
}

int main(void)
{
    return run_suite("model", add, 120);
}

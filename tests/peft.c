/* peft.c - an adapter leaves as a PEFT folder and comes back. */
#include "exchange.h"

/* A trainer from the folder. */
static clpeft_trainer *import(const exchange *x)
{
    clpeft_trainer_options o = exchange_options(CLPEFT_LORA);
    clpeft_peft_info info;
    clpeft_trainer *t;
    clpeft_peft *peft;

    ck_ok(clpeft_peft_open(&peft, x->model, x->dir));
    clpeft_peft_get_info(peft, &info);
    ck_assert_str_eq("tiny/model", info.base_model);
    ck_assert_str_eq("SEQ_CLS", info.task_type);
    ck_assert_uint_eq(3, info.classes);
    o.adapter = info.adapter, o.sites = info.sites, o.classes = info.classes;
    ck_ok(clpeft_trainer_create(&t, x->model, &o));
    ck_ok(clpeft_peft_load(peft, clpeft_trainer_adapter(t), SCALE, clpeft_trainer_queue(t)));
    clpeft_peft_close(peft);
    return t;
}

static const struct {
    clpeft_method method;
    clpeft_tau tau;
    int magnitude, rslora, norm_gradient;
    const char *sites, *name; /* name: in the metadata */
} ways[] = {
    { CLPEFT_LORA, CLPEFT_TAU_NONE, 0, 0, 0, "query,value", "lora" },
    { CLPEFT_LORA, CLPEFT_TAU_NONE, 0, 1, 0, "query:3:0.1,1.down,2.key:1,output", "lora" },
    { CLPEFT_DORA, CLPEFT_TAU_NONE, 1, 0, 0, "all", "dora" },
    { CLPEFT_DORA, CLPEFT_TAU_LEARNED, 1, 0, 1, "value", "dora with tau" },
    { CLPEFT_HORA, CLPEFT_TAU_NONE, 0, 0, 0, "query,value", "hora" },
    { CLPEFT_HORA, CLPEFT_TAU_NONE, 1, 1, 0, "query,up", "hora with magnitude" },
    { CLPEFT_DORAN, CLPEFT_TAU_LEARNED, 1, 0, 0, "query,value,output", "doran" },
    { CLPEFT_DORAN, CLPEFT_TAU_FIXED, 1, 0, 0, "query", "doran" },
    { CLPEFT_DORAN, CLPEFT_TAU_GAUSSIAN, 1, 0, 0, "down", "doran" },
};

static exchange start_way(int i)
{
    clpeft_trainer_options o = exchange_options(ways[i].method);
    o.adapter.tau = ways[i].tau, o.adapter.magnitude = ways[i].magnitude, o.adapter.rslora = ways[i].rslora;
    o.adapter.norm_gradient = ways[i].norm_gradient, o.sites = ways[i].sites;
    return exchange_start(&o, (tiny){ 0 });
}

/* What came back computes the same; what has its own A, B and m comes back to the bit; and a second export has the bytes
 * of the first. */
START_TEST(what_leaves_comes_back)
{
    exchange x = start_way(_i);
    clpeft_params *before = clpeft_trainer_params(x.trainer), *after;
    float mine[15], theirs[15];
    size_t size[2][2];
    char *bytes[2][2];

    export(&x, CLPEFT_F32);
    bytes[0][0] = file_bytes(exchange_path(&x, MODEL), &size[0][0]);
    bytes[0][1] = file_bytes(exchange_path(&x, CONFIG), &size[0][1]);
    ck_assert_ptr_nonnull(strstr(bytes[0][0] + 8, "\"clpeft.method\":\""));
    ck_assert_int_eq(
        0, strncmp(strstr(bytes[0][0] + 8, "\"clpeft.method\":\"") + 17, ways[_i].name, strlen(ways[_i].name)));
    clpeft_trainer *t = import(&x);
    after = clpeft_trainer_params(t);
    logits_of(x.trainer, mine);
    logits_of(t, theirs);
    for (int i = 0; i < 15; i++) expect_near(theirs[i], mine[i], 2e-5, "logit %d", i);
    for (size_t i = 0; ways[_i].method <= CLPEFT_DORA && i < clpeft_params_count(after); i++) {
        const clpeft_tensor *b = clpeft_params_tensor(after, i), *a = clpeft_params_find(before, b->name);
        float *p = malloc(4 * b->size), *q = malloc(4 * b->size);
        ck_ok(clpeft_params_read(before, CLPEFT_THETA, a, p, clpeft_trainer_queue(x.trainer)));
        ck_ok(clpeft_params_read(after, CLPEFT_THETA, b, q, clpeft_trainer_queue(t)));
        if (ways[_i].tau == CLPEFT_TAU_NONE || strstr(b->name, ".m") == NULL)
            ck_assert_msg(memcmp(p, q, 4 * b->size) == 0, "%s", b->name);
        free(p), free(q);
    }
    clpeft_trainer *own = x.trainer;
    x.trainer = t;
    export(&x, CLPEFT_F32);
    bytes[1][0] = file_bytes(exchange_path(&x, MODEL), &size[1][0]);
    bytes[1][1] = file_bytes(exchange_path(&x, CONFIG), &size[1][1]);
    const size_t skip = 8 + *(const uint64_t *)(const void *)bytes[0][0],
                 skip_again = 8 + *(const uint64_t *)(const void *)bytes[1][0];
    ck_assert_uint_eq(size[0][0] - skip, size[1][0] - skip_again); /* the headers differ in the method's name */
    ck_assert_int_eq(0, memcmp(bytes[0][0] + skip, bytes[1][0] + skip_again, size[0][0] - skip));
    ck_assert_str_eq(bytes[0][1], bytes[1][1]);
    for (int i = 0; i < 4; i++) free(bytes[i / 2][i % 2]);
    clpeft_trainer_destroy(own);
    exchange_end(&x);
}
END_TEST

/* The same folder is trained on: a step is a step. */
START_TEST(what_came_in_trains_on)
{
    static const int32_t labels[] = { 0, 1, 2, 0, 1 };
    exchange x = start_way(6);
    clpeft_step_result first, last;
    clpeft_batch batch = tiny_batch;

    batch.labels = labels;
    export(&x, CLPEFT_F32);
    clpeft_trainer *t = import(&x);
    ck_ok(clpeft_train_step(t, &batch, &first));
    for (int i = 0; i < 10; i++) ck_ok(clpeft_train_step(t, &batch, &last));
    ck_assert(last.loss < first.loss);
    clpeft_trainer_destroy(t);
    exchange_end(&x);
}
END_TEST

/* Byte for byte what json.dumps(..., indent=2, sort_keys=True) makes of it; PEFT 0.21 reads it without a warning. */
START_TEST(the_config_is_what_peft_reads)
{
    static const char expected[] = "{\n"
                                   "  \"alpha_pattern\": {\n"
                                   "    \"bert.encoder.layer.0.attention.self.query\": 0.1,\n"
                                   "    \"bert.encoder.layer.1.attention.self.query\": 0.1,\n"
                                   "    \"bert.encoder.layer.2.attention.self.query\": 0.1\n"
                                   "  },\n"
                                   "  \"auto_mapping\": null,\n"
                                   "  \"base_model_name_or_path\": \"tiny/model\",\n"
                                   "  \"bias\": \"none\",\n"
                                   "  \"fan_in_fan_out\": false,\n"
                                   "  \"inference_mode\": true,\n"
                                   "  \"init_lora_weights\": true,\n"
                                   "  \"lora_alpha\": 6,\n"
                                   "  \"lora_dropout\": 0.0,\n"
                                   "  \"modules_to_save\": [\n"
                                   "    \"classifier\"\n"
                                   "  ],\n"
                                   "  \"peft_type\": \"LORA\",\n"
                                   "  \"r\": 2,\n"
                                   "  \"rank_pattern\": {\n"
                                   "    \"bert.encoder.layer.0.attention.self.query\": 3,\n"
                                   "    \"bert.encoder.layer.1.attention.self.query\": 3,\n"
                                   "    \"bert.encoder.layer.2.attention.self.key\": 1,\n"
                                   "    \"bert.encoder.layer.2.attention.self.query\": 3\n"
                                   "  },\n"
                                   "  \"target_modules\": [\n"
                                   "    \"query\",\n"
                                   "    \"bert.encoder.layer.2.attention.self.key\",\n"
                                   "    \"attention.output.dense\",\n"
                                   "    \"bert.encoder.layer.1.output.dense\"\n"
                                   "  ],\n"
                                   "  \"task_type\": \"SEQ_CLS\",\n"
                                   "  \"use_dora\": false,\n"
                                   "  \"use_rslora\": true\n"
                                   "}";
    exchange x = start_way(1);
    size_t size;

    export(&x, CLPEFT_F32);
    char *text = file_bytes(exchange_path(&x, CONFIG), &size);
    ck_assert_str_eq(expected, text);
    free(text);
    exchange_end(&x);
}
END_TEST

/* The prefix and task of each object that PEFT may wrap. */
START_TEST(the_prefix_is_chosen)
{
    exchange x = start_way(0);
    clpeft_adapter *adapter = clpeft_trainer_adapter(x.trainer);
    clpeft_peft *peft;
    clpeft_peft_info info;
    const struct {
        clpeft_peft_options options;
        const char *name, *task;
    } row[] = {
        { { 0 }, "base_model.model.encoder.layer.0.attention.self.query.lora_A.weight", "FEATURE_EXTRACTION" },
        { { .head_scale = 1 }, LAYER(0, "query.lora_A.weight"), "SEQ_CLS" },
        { { .prefix = "bert.", .task_type = "" }, LAYER(0, "query.lora_A.weight"), "" },
        { { .prefix = "", .head_scale = 1 },
          "base_model.model.encoder.layer.0.attention.self.query.lora_A.weight",
          "SEQ_CLS" },
        { { .prefix = "roberta.", .task_type = "TOKEN_CLS" },
          "base_model.model.roberta.encoder.layer.0.attention.self.query.lora_A.weight",
          "TOKEN_CLS" },
    };
    for (size_t i = 0; i < sizeof row / sizeof *row; i++) {
        clpeft_file *file;
        ck_ok(clpeft_peft_export(adapter, x.model, x.dir, &row[i].options, NULL));
        ck_ok(clpeft_file_open(&file, exchange_path(&x, MODEL)));
        ck_assert_msg(clpeft_file_find(file, row[i].name) != NULL, "%s", row[i].name);
        clpeft_file_close(file);
        ck_ok(clpeft_peft_open(&peft, x.model, x.dir));
        clpeft_peft_get_info(peft, &info);
        ck_assert_str_eq(row[i].task, info.task_type);
        ck_assert_str_eq("query,value", info.sites);
        ck_assert_uint_eq(row[i].options.head_scale != 0 ? 3 : 0, info.classes);
        clpeft_peft_close(peft);
    }
    exchange_end(&x);
}
END_TEST

/* F16 and BF16 hold what fits. */
START_TEST(narrow_types_are_written)
{
    static const clpeft_dtype types[] = { CLPEFT_F16, CLPEFT_BF16 };
    exchange x = start_way(2);
    clpeft_params *params = clpeft_trainer_params(x.trainer);
    uint16_t narrow[44 * 24];

    for (int k = 0; k < 2; k++) {
        parts p;
        export(&x, types[k]);
        parts_take(&p, exchange_path(&x, MODEL));
        for (size_t i = 0; i < p.n; i++) ck_assert_int_eq(types[k], p.tensor[i].dtype);
        clpeft_file_close(p.file);
        clpeft_trainer *t = import(&x);
        for (size_t i = 0; i < clpeft_params_count(clpeft_trainer_params(t)); i++) {
            const clpeft_tensor *b = clpeft_params_tensor(clpeft_trainer_params(t), i);
            float *p0 = malloc(4 * b->size), *q = malloc(4 * b->size);
            ck_ok(clpeft_params_read(params, CLPEFT_THETA, clpeft_params_find(params, b->name), p0, NULL));
            ck_ok(clpeft_params_read(clpeft_trainer_params(t), CLPEFT_THETA, b, q, NULL));
            ck_ok(clpeft_dtype_from_f32(types[k], p0, b->size, narrow));
            ck_ok(clpeft_dtype_to_f32(types[k], narrow, b->size, p0));
            ck_assert_msg(memcmp(p0, q, 4 * b->size) == 0, "%s", b->name);
            free(p0), free(q);
        }
        clpeft_trainer_destroy(t);
    }
    const clpeft_tensor *b = clpeft_params_find(params, "blocks.1.key.B");
    float *values = calloc(b->size, 4);
    values[5] = 65520;
    ck_ok(clpeft_params_write(params, CLPEFT_THETA, b, values, NULL));
    const clpeft_peft_options o = { .dtype = CLPEFT_F16 };
    ck_fails(CLPEFT_NOT_FINITE, "layer.1.attention.self.key.lora_B.weight: value 5 is 65520",
             clpeft_peft_export(clpeft_trainer_adapter(x.trainer), x.model, x.dir, &o, NULL));
    free(values);
    exchange_end(&x);
}
END_TEST

START_TEST(exports_are_checked)
{
    clpeft_trainer_options o = exchange_options(CLPEFT_DORA);
    tiny model = { 0 };
    exchange x = exchange_start(&o, model);
    clpeft_adapter *adapter = clpeft_trainer_adapter(x.trainer);
    clpeft_peft_options e = { .dtype = CLPEFT_F64 };
    clpeft_model *other;

    ck_fails(CLPEFT_INVALID_ARGUMENT, "dtype", clpeft_peft_export(adapter, x.model, x.dir, &e, NULL));
    e = (clpeft_peft_options){ .head_scale = NAN };
    ck_fails(CLPEFT_INVALID_ARGUMENT, "head_scale", clpeft_peft_export(adapter, x.model, x.dir, &e, NULL));
    e = (clpeft_peft_options){ .base_model = "\xff" };
    ck_fails(CLPEFT_INVALID_ARGUMENT, "not UTF-8", clpeft_peft_export(adapter, x.model, x.dir, &e, NULL));
    ck_fails(CLPEFT_INVALID_ARGUMENT, "NULL", clpeft_peft_export(NULL, x.model, x.dir, NULL, NULL));
    ck_fails(CLPEFT_FILE_ERROR, "No such file",
             clpeft_peft_export(adapter, x.model, exchange_path(&x, "a/b"), NULL, NULL));
    ck_ok(clpeft_model_load(&other, dev.ctx, x.files.dir, &tiny_options));
    ck_fails(CLPEFT_INVALID_ARGUMENT, "not a linear layer of this model",
             clpeft_peft_export(adapter, other, x.dir, NULL, NULL));
    clpeft_model_destroy(other);
    exchange_end(&x);
}
END_TEST

/* PEFT divides by a row's norm. */
START_TEST(a_row_of_zeros_has_no_magnitude)
{
    clpeft_trainer_options o = exchange_options(CLPEFT_DORA);
    exchange x = exchange_start(&o, (tiny){ 0 });
    tiny_tensor *w = tiny_find(&x.files, "encoder.layer.1.attention.self.value.weight");
    clpeft_model *model;
    clpeft_trainer *t;

    memset(w->data + 3 * w->cols, 0, w->cols * sizeof *w->data);
    tiny_write(&x.files, "");
    ck_ok(clpeft_model_load(&model, dev.ctx, x.files.dir, &tiny_options));
    ck_ok(clpeft_trainer_create(&t, model, &o)); /* B is 0, so that the row of V is too */
    ck_fails(CLPEFT_UNSUPPORTED, "block 1 value: row 3 is zero",
             clpeft_peft_export(clpeft_trainer_adapter(t), model, x.dir, NULL, NULL));
    clpeft_trainer_destroy(t);
    clpeft_model_destroy(model);
    exchange_end(&x);
}
END_TEST

static void add(TCase *t)
{
    tcase_add_loop_test(t, what_leaves_comes_back, 0, sizeof ways / sizeof *ways);
    tcase_add_test(t, what_came_in_trains_on);
    tcase_add_test(t, the_config_is_what_peft_reads);
    tcase_add_test(t, the_prefix_is_chosen);
    tcase_add_test(t, narrow_types_are_written);
    tcase_add_test(t, exports_are_checked);
    tcase_add_test(t, a_row_of_zeros_has_no_magnitude);
}

int main(void)
{
    return run_suite("peft", add, 120);
}

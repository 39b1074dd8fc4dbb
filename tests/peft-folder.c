/* peft-folder.c - PEFT folders that are read, and what makes one refused. */
#include "exchange.h"

static float zeros[24 * 64];
static float bad[] = { 0, NAN };

#define CLS   "\"task_type\":\"SEQ_CLS\""
#define SAVED "\"modules_to_save\":[\"classifier\"]"
#define QV    "\"target_modules\":[\"query\",\"value\"]"
#define DORA  "\"use_dora\":true,"
#define GOOD  DORA QV "," CLS
#define TWO                                       \
    {                                             \
        .n_dims = 1, .dims = { 2 }, .data = zeros \
    }
#define SHAPE(...)                                                                                         \
    {                                                                                                      \
        .n_dims = sizeof(size_t[]){ __VA_ARGS__ } / sizeof(size_t), .dims = { __VA_ARGS__ }, .data = zeros \
    }

/* A folder of DoRA on query and value, rank 2, with a head, one tensor changed (rename "": left out), and the config (r 2,
 * alpha 6, use_dora apart) replaced. The texts of messages; NULL: it is accepted. */
static const struct {
    const char *tensor, *rename;
    clpeft_write_tensor change;
    const char *config;
    clpeft_status status;
    const char *message;
} folder[] = {
    { NULL, NULL, { 0 }, GOOD, CLPEFT_OK, NULL },
    { NULL, NULL, { 0 }, DORA QV "," SAVED, CLPEFT_OK, NULL },
    { NULL, NULL, { 0 }, GOOD ",\"modules_to_save\":[\"classifier\",\"score\"]", CLPEFT_OK, NULL },
    { NULL, NULL, { 0 }, DORA "\"target_modules\":\".*(query|value)\"," CLS, CLPEFT_OK, NULL },
    { NULL, NULL, { 0 }, DORA "\"target_modules\":\"all-linear\"," CLS, CLPEFT_OK, NULL },
    { NULL, NULL, { 0 }, DORA "\"target_modules\":null," CLS, CLPEFT_OK, NULL },
    { NULL, NULL, { 0 }, DORA "\"target_modules\":[\"self.value\",\"attention.self.query\"]," CLS, CLPEFT_OK, NULL },
    { NULL, NULL, { 0 }, GOOD ",\"rank_pattern\":{\"nothing\":5},\"alpha_pattern\":{\"query\":1}", CLPEFT_OK, NULL },
    { LAYER(1, "query.lora_magnitude_vector"),
      LAYER(1, "query.lora_magnitude_vector.weight"),
      { 0 },
      GOOD,
      CLPEFT_OK,
      NULL },
    /* the tensors */
    { LAYER(1, "query.lora_A.weight"),
      "",
      { 0 },
      GOOD,
      CLPEFT_INVALID_FILE,
      "layer.1.attention.self.query.lora_A.weight is missing" },
    { LAYER(2, "value.lora_B.weight"),
      "",
      { 0 },
      GOOD,
      CLPEFT_INVALID_FILE,
      "layer.2.attention.self.value.lora_B.weight is missing" },
    { LAYER(0, "query.lora_magnitude_vector"),
      "",
      { 0 },
      GOOD,
      CLPEFT_INVALID_FILE,
      "layer.0.attention.self.query has no lora_magnitude_vector" },
    { NULL, NULL, { 0 }, QV "," CLS, CLPEFT_INVALID_FILE, "but use_dora is false" },
    { LAYER(0, "query.lora_A.weight"), NULL, SHAPE(3, 24), GOOD, CLPEFT_INVALID_FILE,
      "has 3 rows, but the config's rank for it is 2" },
    { LAYER(0, "query.lora_A.weight"), NULL, SHAPE(2, 23), GOOD, CLPEFT_INVALID_FILE, "is [2,23], not [2,24]" },
    { LAYER(0, "query.lora_A.weight"), NULL, SHAPE(48), GOOD, CLPEFT_INVALID_FILE, "rows, but the config's rank" },
    { LAYER(0, "query.lora_B.weight"), NULL, SHAPE(2, 24), GOOD, CLPEFT_INVALID_FILE, "is [2,24], not [24,2]" },
    { LAYER(0, "query.lora_magnitude_vector"), NULL, SHAPE(24, 1), GOOD, CLPEFT_INVALID_FILE, "is [24,1], not [24]" },
    { LAYER(0, "query.lora_A.weight"), NULL, SHAPE(0, 24), GOOD, CLPEFT_INVALID_FILE, "has 0 rows" },
    { LAYER(0, "query.lora_A.weight"),
      NULL,
      { .dtype = CLPEFT_I32, .n_dims = 2, .dims = { 2, 24 }, .data = zeros },
      GOOD,
      CLPEFT_UNSUPPORTED,
      "type I32" },
    { "base_model.model.classifier.bias",
      NULL,
      { .n_dims = 1, .dims = { 2 }, .data = bad },
      GOOD,
      CLPEFT_INVALID_FILE,
      "classifier.bias is [2], not [3]" },
    { "base_model.model.classifier.weight", "", { 0 }, GOOD, CLPEFT_INVALID_FILE, "classifier.weight is missing" },
    { "base_model.model.classifier.bias", "", { 0 }, GOOD, CLPEFT_INVALID_FILE, "classifier.bias is missing" },
    /* what has no place */
    { LAYER(0, "query.lora_A.weight"),
      "bert.encoder.layer.0.attention.self.query.lora_A.weight",
      { 0 },
      GOOD,
      CLPEFT_INVALID_FILE,
      "is missing" },
    { LAYER(0, "query.lora_A.weight"),
      LAYER(0, "query.lora_A.default.weight"),
      { 0 },
      GOOD,
      CLPEFT_INVALID_FILE,
      "is missing" },
    { "base_model.model.classifier.weight",
      "base_model.model.classifier.dense.weight",
      { 0 },
      GOOD,
      CLPEFT_INVALID_FILE,
      "classifier.weight is missing" },
    { NULL, "base_model.model.classifier.dense.weight", TWO, GOOD, CLPEFT_UNSUPPORTED, "a head of another form" },
    { NULL, "base_model.model.score.weight", TWO, GOOD, CLPEFT_UNSUPPORTED, "a second head" },
    { NULL, "base_model.model.bert.pooler.dense.lora_A.weight", TWO, GOOD, CLPEFT_UNSUPPORTED,
      "pooler.dense.lora_A.weight\" has no place: an adapter of a layer" },
    { NULL, LAYER(3, "query.lora_A.weight"), TWO, GOOD, CLPEFT_UNSUPPORTED, "an adapter of a layer" },
    { NULL, "base_model.model.encoder.layer.0.attention.self.query.lora_A.weight", TWO, GOOD, CLPEFT_INVALID_FILE,
      "is missing" },
    { NULL, "base_model.model.bert.embeddings.word_embeddings.lora_embedding_A", TWO, GOOD, CLPEFT_UNSUPPORTED,
      "an adapter of an embedding" },
    { NULL, LAYER(0, "query.lora_B.bias"), TWO, GOOD, CLPEFT_UNSUPPORTED, "a bias of B" },
    { NULL, LAYER(0, "query.base_layer.bias"), TWO, GOOD, CLPEFT_UNSUPPORTED, "a trained copy" },
    { NULL, "encoder", TWO, GOOD, CLPEFT_UNSUPPORTED, "without base_model.model. before it" },
    /* the config against them */
    { NULL, NULL, { 0 }, GOOD ",\"r\":3", CLPEFT_INVALID_FILE, "duplicate" },
    { NULL,
      NULL,
      { 0 },
      GOOD ",\"rank_pattern\":{\"layer.1.*\":4}",
      CLPEFT_INVALID_FILE,
      "layer.1.attention.self.query.lora_A.weight has 2 rows, but the config's rank for it is 4" },
    { NULL, NULL, { 0 }, GOOD ",\"rank_pattern\":{\"(?i)q\":4}", CLPEFT_UNSUPPORTED, "rank_pattern: \"(?i)q\"" },
    { NULL, NULL, { 0 }, GOOD ",\"alpha_pattern\":{\"(\":4}", CLPEFT_INVALID_FILE, "alpha_pattern: \"(\"" },
    { NULL,
      NULL,
      { 0 },
      DORA "\"target_modules\":[\"query\"]," CLS,
      CLPEFT_INVALID_FILE,
      "self.value are there, but target_modules does not name it" },
    { NULL,
      NULL,
      { 0 },
      DORA "\"target_modules\":[\"query\",\"value\",\"key\"]," CLS,
      CLPEFT_INVALID_FILE,
      "target_modules names bert.encoder.layer.0.attention.self.key, but its tensors are missing" },
    { NULL,
      NULL,
      { 0 },
      DORA "\"target_modules\":[\"query\",\"value\",\"key\"]," CLS ",\"exclude_modules\":[\"key\"]",
      CLPEFT_OK,
      NULL },
    { NULL,
      NULL,
      { 0 },
      DORA "\"target_modules\":[\"query\",\"value\",\"q_proj\"]," CLS,
      CLPEFT_UNSUPPORTED,
      "target_modules names \"q_proj\", but the model has no" },
    { NULL, NULL, { 0 }, DORA QV, CLPEFT_INVALID_FILE, "classifier is there, but modules_to_save does not name it" },
    { NULL,
      NULL,
      { 0 },
      GOOD ",\"modules_to_save\":[\"classifier\",\"pooler\"]",
      CLPEFT_UNSUPPORTED,
      "modules_to_save names \"pooler\"" },
    { NULL,
      NULL,
      { 0 },
      DORA QV ",\"modules_to_save\":[\"classifier\",\"score\"]",
      CLPEFT_INVALID_FILE,
      "modules_to_save names score" },
    { NULL, NULL, { 0 }, DORA "\"bias\":\"all\"," QV "," CLS, CLPEFT_UNSUPPORTED, "bias is \"all\"" },
};

START_TEST(folders_are_checked)
{
    const clpeft_trainer_options o = exchange_options(CLPEFT_DORA);
    exchange x = exchange_start(&o, (tiny){ 0 });
    clpeft_peft *peft = NULL;
    char text[600];
    parts p;

    export(&x, CLPEFT_F32);
    parts_take(&p, exchange_path(&x, MODEL));
    if (folder[_i].rename && !folder[_i].tensor) {
        p.tensor[p.n] = folder[_i].change;
        p.tensor[p.n++].name = folder[_i].rename;
    } else if (folder[_i].tensor) {
        clpeft_write_tensor *t = parts_find(&p, folder[_i].tensor);
        const char *name = t->name;
        if (folder[_i].change.data) *t = folder[_i].change, t->name = name;
        if (folder[_i].rename) t->name = folder[_i].rename;
        if (folder[_i].rename && !*folder[_i].rename) *t = p.tensor[--p.n];
    }
    parts_write(&p, exchange_path(&x, MODEL));
    snprintf(text, sizeof text, "{\"peft_type\":\"LORA\",\"r\":2,\"lora_alpha\":6,%s}", folder[_i].config);
    ck_ok(clpeft_file_replace(exchange_path(&x, CONFIG), text, strlen(text)));
    const clpeft_status status = clpeft_peft_open(&peft, x.model, x.dir);
    ck_assert_msg(status == folder[_i].status, "%s: %s", text,
                  status == CLPEFT_OK ? "accepted" : clpeft_error_message());
    if (status != CLPEFT_OK)
        ck_assert_msg(strstr(clpeft_error_message(), folder[_i].message), "\"%s\" lacks \"%s\"", clpeft_error_message(),
                      folder[_i].message);
    clpeft_peft_close(peft);
    exchange_end(&x);
}
END_TEST

/* Alphas by pattern; a head without bias; a value that is not finite; files that are not there. */
START_TEST(details_of_folders)
{
    const clpeft_trainer_options lora = exchange_options(CLPEFT_LORA);
    exchange x = exchange_start(&lora, (tiny){ 0 });
    clpeft_peft_info info;
    clpeft_peft *peft;
    parts p;
    const char config[] = "{\"peft_type\":\"LORA\",\"r\":2,\"lora_alpha\":6," QV "," CLS
                          ",\"alpha_pattern\":{\"layer.1.attention.self.query\":0.3,\"query\":12,\"value\":6}}";

    export(&x, CLPEFT_F32);
    ck_ok(clpeft_file_replace(exchange_path(&x, CONFIG), config, strlen(config)));
    ck_ok(clpeft_peft_open(&peft, x.model, x.dir));
    clpeft_peft_get_info(peft, &info);
    ck_assert_str_eq("0.query:2:12,value,1.query:2:0.3,2.query:2:12", info.sites);
    clpeft_peft_close(peft);

    const char scored[] = "{\"peft_type\":\"LORA\",\"r\":2,\"lora_alpha\":6," QV ",\"modules_to_save\":[\"score\"]}";
    parts_take(&p, exchange_path(&x, MODEL));
    parts_find(&p, "base_model.model.classifier.weight")->name = "base_model.model.score.weight";
    *parts_find(&p, "base_model.model.classifier.bias") = p.tensor[p.n - 1], p.n--;
    parts_write(&p, exchange_path(&x, MODEL));
    ck_ok(clpeft_file_replace(exchange_path(&x, CONFIG), scored, strlen(scored)));
    ck_ok(clpeft_peft_open(&peft, x.model, x.dir)); /* a head without bias */
    clpeft_peft_get_info(peft, &info);
    ck_assert_uint_eq(3, info.classes);
    clpeft_peft_close(peft);

    parts_take(&p, exchange_path(&x, MODEL));
    zeros[7] = INFINITY;
    parts_find(&p, LAYER(2, "value.lora_B.weight"))->data = zeros;
    parts_write(&p, exchange_path(&x, MODEL));
    ck_fails(CLPEFT_INVALID_FILE, "value 7 is inf", clpeft_peft_open(&peft, x.model, x.dir));

    ck_ok(clpeft_safetensors_write(exchange_path(&x, MODEL), NULL, 0, NULL, 0));
    ck_fails(CLPEFT_INVALID_FILE, "no tensor in it", clpeft_peft_open(&peft, x.model, x.dir));
    ck_ok(clpeft_gguf_write(exchange_path(&x, MODEL), NULL, 0, NULL, 0));
    ck_fails(CLPEFT_INVALID_FILE, "a GGUF file", clpeft_peft_open(&peft, x.model, x.dir));
    unlink(exchange_path(&x, MODEL));
    ck_fails(CLPEFT_FILE_ERROR, "adapter_model.safetensors", clpeft_peft_open(&peft, x.model, x.dir));
    ck_ok(clpeft_file_replace(exchange_path(&x, "adapter_model.bin"), "x", 1));
    ck_fails(CLPEFT_UNSUPPORTED, "a pickle", clpeft_peft_open(&peft, x.model, x.dir));
    unlink(exchange_path(&x, CONFIG));
    ck_fails(CLPEFT_FILE_ERROR, "adapter_config.json", clpeft_peft_open(&peft, x.model, x.dir));
    exchange_end(&x);
}
END_TEST

/* A folder goes into an adapter of its own form only; after a refusal the parameters are as they were. */
static const struct {
    clpeft_method method;
    size_t rank, classes;
    float alpha;
    int rslora;
    const char *sites, *message;
} other[] = {
    { CLPEFT_DORA, 2, 3, 6, 0, "query,value", "of another method" },
    { CLPEFT_HORA, 2, 3, 6, 0, "query,value", "of another method" },
    { CLPEFT_LORA, 3, 3, 6, 0, "query,value", "no site query in block 0 of rank 2" },
    { CLPEFT_LORA, 2, 3, 6, 0, "query:2:5,value", "no site query in block 0 of rank 2 and alpha 6" },
    { CLPEFT_LORA, 2, 3, 5, 0, "query,value", "alpha or rslora" },
    { CLPEFT_LORA, 2, 3, 6, 1, "query,value", "alpha or rslora" },
    { CLPEFT_LORA, 2, 3, 6, 0, "query", "has 3 sites, the folder 6" },
    { CLPEFT_LORA, 2, 3, 6, 0, "query,key", "no site value" },
    { CLPEFT_LORA, 2, 4, 6, 0, "query,value", "one of another size" },
};

START_TEST(adapters_are_checked)
{
    const clpeft_trainer_options lora = exchange_options(CLPEFT_LORA);
    exchange x = exchange_start(&lora, (tiny){ 0 });
    clpeft_trainer_options o = exchange_options(other[_i].method);
    clpeft_peft *peft;
    clpeft_trainer *t;

    export(&x, CLPEFT_F32);
    ck_ok(clpeft_peft_open(&peft, x.model, x.dir));
    o.adapter.rank = other[_i].rank, o.adapter.alpha = other[_i].alpha, o.adapter.rslora = other[_i].rslora;
    o.classes = other[_i].classes, o.sites = other[_i].sites;
    ck_ok(clpeft_trainer_create(&t, x.model, &o));
    const size_t size = clpeft_params_size(clpeft_trainer_params(t));
    float *before = malloc(4 * size), *after = malloc(4 * size);
    ck_ok(clpeft_params_read(clpeft_trainer_params(t), CLPEFT_THETA, NULL, before, NULL));
    ck_fails(CLPEFT_INVALID_ARGUMENT, other[_i].message, clpeft_peft_load(peft, clpeft_trainer_adapter(t), 1, NULL));
    ck_ok(clpeft_params_read(clpeft_trainer_params(t), CLPEFT_THETA, NULL, after, NULL));
    ck_assert_int_eq(0, memcmp(before, after, 4 * size));
    free(before), free(after);
    clpeft_trainer_destroy(t);
    clpeft_peft_close(peft);
    exchange_end(&x);
}
END_TEST

static void add(TCase *t)
{
    tcase_add_loop_test(t, folders_are_checked, 0, sizeof folder / sizeof *folder);
    tcase_add_test(t, details_of_folders);
    tcase_add_loop_test(t, adapters_are_checked, 0, sizeof other / sizeof *other);
}

int main(void)
{
    return run_suite("peft-folder", add, 120);
}

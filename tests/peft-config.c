/* peft-config.c - what is read from adapter_config.json, and what is refused; the patterns of ranks and alphas. */
#include "expect.h"

#include "peft/fields.h"
#include "peft/pattern.h"

#include <stdio.h>
#include <stdlib.h>

/* ---- fields ----------------------------------------------------------------------------------------------------- */

#define BASE   "\"peft_type\":\"LORA\",\"r\":4,\"lora_alpha\":6.5,\"target_modules\":[\"query\"]"
#define ENOUGH "\"peft_type\":\"LORA\""

static const struct {
    const char *json;
    clpeft_status status;
    const char *message;
} config[] = {
    /* accepted, and what is said there is not looked at */
    { "{" ENOUGH "}", CLPEFT_OK, NULL },
    { " {" BASE ",\"bias\":\"none\",\"fan_in_fan_out\":true,\"inference_mode\":false,\"peft_version\":\"9\"}\n",
      CLPEFT_OK, NULL },
    { "{" BASE ",\"target_parameters\":[],\"lora_bias\":false,\"use_bdlora\":null,\"layer_replication\":null}",
      CLPEFT_OK, NULL },
    { "{" BASE ",\"init_lora_weights\":\"gaussian\",\"loftq_config\":{},\"eva_config\":{\"rho\":2}}", CLPEFT_OK, NULL },
    { "{" BASE ",\"auto_mapping\":{\"base_model_class\":\"BertModel\"},\"megatron_core\":\"megatron.core\"}", CLPEFT_OK,
      NULL },
    { "{" BASE ",\"a_new_field\":\"x\",\"another\":3,\"third\":null,\"fourth\":false,\"fifth\":{}}", CLPEFT_OK, NULL },
    { "{" ENOUGH ",\"target_modules\":\".*query\",\"use_dora\":null}", CLPEFT_OK, NULL },
    { "{" ENOUGH ",\"target_modules\":null,\"modules_to_save\":null,\"task_type\":null}", CLPEFT_OK, NULL },
    /* not JSON, or not that of an adapter */
    { "", CLPEFT_INVALID_FILE, "not JSON" },
    { "[]", CLPEFT_INVALID_FILE, "not a JSON object" },
    { "{", CLPEFT_INVALID_FILE, "not JSON in line 1" },
    { "{" BASE ",\"r\":4}", CLPEFT_INVALID_FILE, "duplicate" },
    { "{" BASE ",\"x\":\"\\u0000\"}", CLPEFT_INVALID_FILE, "not JSON" },
    { "{\"r\":4}", CLPEFT_INVALID_FILE, "peft_type is missing" },
    { "{\"peft_type\":1}", CLPEFT_INVALID_FILE, "peft_type is not a string" },
    { "{\"peft_type\":\"lora\"}", CLPEFT_UNSUPPORTED, "peft_type is \"lora\", not LORA" },
    { "{\"peft_type\":\"IA3\"}", CLPEFT_UNSUPPORTED, "peft_type is \"IA3\"" },
    /* values */
    { "{" ENOUGH ",\"r\":null}", CLPEFT_INVALID_FILE, "r is null" },
    { "{" ENOUGH ",\"r\":0}", CLPEFT_INVALID_FILE, "r is 0" },
    { "{" ENOUGH ",\"r\":-8}", CLPEFT_INVALID_FILE, "r is not a whole number" },
    { "{" ENOUGH ",\"r\":8.0}", CLPEFT_INVALID_FILE, "r is not a whole number" },
    { "{" ENOUGH ",\"r\":65537}", CLPEFT_INVALID_FILE, "r is 65537" },
    { "{" ENOUGH ",\"r\":9223372036854775807}", CLPEFT_INVALID_FILE, "r is 9223372036854775807" },
    { "{" ENOUGH ",\"lora_alpha\":null}", CLPEFT_INVALID_FILE, "lora_alpha is null" },
    { "{" ENOUGH ",\"lora_alpha\":\"16\"}", CLPEFT_INVALID_FILE, "lora_alpha is not a number" },
    { "{" ENOUGH ",\"lora_alpha\":0}", CLPEFT_UNSUPPORTED, "lora_alpha is 0" },
    { "{" ENOUGH ",\"lora_alpha\":-1}", CLPEFT_UNSUPPORTED, "lora_alpha is -1" },
    { "{" ENOUGH ",\"lora_alpha\":1e300}", CLPEFT_UNSUPPORTED, "lora_alpha is 1e+300" },
    { "{" ENOUGH ",\"lora_dropout\":1}", CLPEFT_INVALID_FILE, "lora_dropout is 1" },
    { "{" ENOUGH ",\"lora_dropout\":-0.1}", CLPEFT_INVALID_FILE, "lora_dropout is -0.1" },
    { "{" ENOUGH ",\"use_dora\":1}", CLPEFT_INVALID_FILE, "use_dora is neither" },
    { "{" ENOUGH ",\"use_rslora\":\"no\"}", CLPEFT_INVALID_FILE, "use_rslora is neither" },
    { "{" ENOUGH ",\"target_modules\":{}}", CLPEFT_INVALID_FILE, "target_modules is no list" },
    { "{" ENOUGH ",\"target_modules\":[\"query\",7]}", CLPEFT_INVALID_FILE, "target_modules: entry 1" },
    { "{" ENOUGH ",\"modules_to_save\":\"classifier\"}", CLPEFT_INVALID_FILE, "modules_to_save is no list" },
    { "{" ENOUGH ",\"rank_pattern\":null}", CLPEFT_INVALID_FILE, "rank_pattern is no object" },
    { "{" ENOUGH ",\"rank_pattern\":[]}", CLPEFT_INVALID_FILE, "rank_pattern is no object" },
    { "{" ENOUGH ",\"rank_pattern\":{\"q\":0}}", CLPEFT_INVALID_FILE, "rank_pattern: the value of \"q\"" },
    { "{" ENOUGH ",\"rank_pattern\":{\"q\":2.5}}", CLPEFT_INVALID_FILE, "no whole number" },
    { "{" ENOUGH ",\"rank_pattern\":{\"q\":70000}}", CLPEFT_INVALID_FILE, "no whole number" },
    { "{" ENOUGH ",\"alpha_pattern\":{\"q\":\"1\"}}", CLPEFT_INVALID_FILE, "alpha_pattern: the value of \"q\"" },
    { "{" ENOUGH ",\"alpha_pattern\":{\"q\":-2}}", CLPEFT_INVALID_FILE, "alpha_pattern: the value of \"q\"" },
    { "{" ENOUGH ",\"alpha_pattern\":{\"q\":1e-60}}", CLPEFT_INVALID_FILE, "no number above 0" },
    { "{" ENOUGH ",\"task_type\":\"DANCE\"}", CLPEFT_INVALID_FILE, "task_type \"DANCE\"" },
    { "{" ENOUGH ",\"base_model_name_or_path\":[]}", CLPEFT_INVALID_FILE, "base_model_name_or_path is not a string" },
    /* what would change the mathematics or the tensors */
    { "{" ENOUGH ",\"bias\":\"all\"}", CLPEFT_UNSUPPORTED, "bias is \"all\"" },
    { "{" ENOUGH ",\"bias\":null}", CLPEFT_INVALID_FILE, "bias is null" },
    { "{" ENOUGH ",\"bias\":\"lora_only\"}", CLPEFT_UNSUPPORTED, "bias is \"lora_only\"" },
    { "{" ENOUGH ",\"init_lora_weights\":\"pissa_niter_4\"}", CLPEFT_UNSUPPORTED,
      "init_lora_weights is pissa_niter_4" },
    { "{" ENOUGH ",\"init_lora_weights\":7}", CLPEFT_UNSUPPORTED, "init_lora_weights is no text" },
    { "{" ENOUGH ",\"lora_bias\":true}", CLPEFT_UNSUPPORTED, "lora_bias is set" },
    { "{" ENOUGH ",\"use_qalora\":true}", CLPEFT_UNSUPPORTED, "use_qalora is set" },
    { "{" ENOUGH ",\"use_bdlora\":{\"n\":2}}", CLPEFT_UNSUPPORTED, "use_bdlora is set" },
    { "{" ENOUGH ",\"layer_replication\":[[0,4]]}", CLPEFT_UNSUPPORTED, "layer_replication is set" },
    { "{" ENOUGH ",\"alora_invocation_tokens\":[]}", CLPEFT_UNSUPPORTED, "alora_invocation_tokens is set" },
    { "{" ENOUGH ",\"arrow_config\":{\"k\":1}}", CLPEFT_UNSUPPORTED, "arrow_config is set" },
    { "{" ENOUGH ",\"kasa_config\":{\"k\":1}}", CLPEFT_UNSUPPORTED, "kasa_config is set" },
    { "{" ENOUGH ",\"velora_config\":{\"k\":1}}", CLPEFT_UNSUPPORTED, "velora_config is set" },
    { "{" ENOUGH ",\"monteclora_config\":{\"k\":1}}", CLPEFT_UNSUPPORTED, "monteclora_config is set" },
    { "{" ENOUGH ",\"megatron_config\":{\"k\":1}}", CLPEFT_UNSUPPORTED, "megatron_config is set" },
    { "{" ENOUGH ",\"target_parameters\":[\"w\"]}", CLPEFT_UNSUPPORTED, "target_parameters is set" },
    { "{" ENOUGH ",\"trainable_token_indices\":[1]}", CLPEFT_UNSUPPORTED, "trainable_token_indices is set" },
    { "{" ENOUGH ",\"use_something_new\":true}", CLPEFT_UNSUPPORTED, "use_something_new is on" },
    { "{" ENOUGH ",\"new_config\":{\"k\":1}}", CLPEFT_UNSUPPORTED, "new_config is on" },
};

START_TEST(fields_are_checked)
{
    clp_peft_config c = { 0 };
    const clpeft_status status = clp_peft_config_parse(&c, config[_i].json, strlen(config[_i].json));

    ck_assert_msg(status == config[_i].status, "%s: %s, %s", config[_i].json, clpeft_status_text(status),
                  clpeft_error_message());
    if (status != CLPEFT_OK) {
        ck_assert_msg(strstr(clpeft_error_message(), config[_i].message), "%s: \"%s\" lacks \"%s\"", config[_i].json,
                      clpeft_error_message(), config[_i].message);
        ck_assert_ptr_null(c.json);
    }
    clp_peft_config_free(&c);
}
END_TEST

START_TEST(fields_are_read)
{
    static const char json[] =
        "{" BASE ",\"use_dora\":true,\"use_rslora\":true,\"lora_dropout\":0.25,\"task_type\":\"SEQ_CLS\","
        "\"base_model_name_or_path\":\"some/model\",\"modules_to_save\":[\"classifier\"],"
        "\"rank_pattern\":{\"b\":3,\"a\":2},\"alpha_pattern\":{},\"layers_to_transform\":[1]}";
    clp_peft_config c;

    ck_ok(clp_peft_config_parse(&c, json, strlen(json)));
    ck_assert_uint_eq(4, c.r);
    ck_assert(c.alpha == 6.5 && c.dropout == 0.25 && c.dora == 1 && c.rslora == 1 && c.narrowed == 1);
    ck_assert_str_eq("SEQ_CLS", c.task_type);
    ck_assert_str_eq("some/model", c.base_model);
    ck_assert_uint_eq(1, json_array_size(c.targets));
    ck_assert_uint_eq(1, json_array_size(c.saved));
    ck_assert_str_eq("b", json_object_iter_key(json_object_iter((json_t *)(uintptr_t)c.rank_pattern)));
    clp_peft_config_free(&c);
    ck_ok(clp_peft_config_parse(&c, "{" ENOUGH "}", sizeof "{" ENOUGH "}" - 1)); /* PEFT's defaults */
    ck_assert_uint_eq(8, c.r);
    ck_assert(c.alpha == 8 && c.dropout == 0 && !c.dora && !c.rslora && !c.narrowed && !c.targets && !c.saved &&
              !c.rank_pattern);
    ck_assert_str_eq("", c.task_type);
    clp_peft_config_free(&c);
}
END_TEST

/* As few digits as give back the same f32. */
START_TEST(numbers_are_short_and_exact)
{
    static const struct {
        float value;
        const char *text;
    } numbers[] = {
        { 6, "6" }, { 0.3f, "0.29999999999999999" }, { 2.5f, "2.5" }, { 1e-30f, "1.0000000000000001e-30" }
    };
    for (size_t i = 0; i < sizeof numbers / sizeof *numbers; i++) {
        json_t *number = clp_peft_number(numbers[i].value);
        char *text = json_dumps(number, JSON_ENCODE_ANY);
        ck_assert_str_eq(numbers[i].text, text);
        json_decref(number), free(text);
    }
    json_t *nine = clp_peft_number(1000.00006f); /* 1000.0001 is the f32 after it */
    ck_assert_double_eq((double)1000.00006f, json_number_value(nine));
    json_decref(nine);
}
END_TEST

/* ---- patterns --------------------------------------------------------------------------------------------------- */

#define PATH "bert.encoder.layer.11.attention.self.query"

/* matches: what Python says of re.match(rf"(.*\.)?({pattern})$", PATH); refused: by us */
static const struct {
    const char *pattern;
    enum { NO, YES, REFUSED } matches;
} pattern[] = {
    { "query", YES },
    { "self.query", YES },
    { "uery", NO },
    { "elf.query", NO },
    { "key", NO },
    { PATH, YES },
    { "^" PATH "$", YES },
    { "^bert.*query", YES },
    { "^encoder.*", NO },
    { "encoder.*", YES },
    { "layer.1.attention.self.query", NO },
    { "layer.\\d+.attention.self.(query|key)", YES },
    { "layer\\.(?:11|12)\\..*", YES },
    { "layer.[0-9][0-9].*", YES },
    { "layer.[^0-9]+.*", NO },
    { "\\w+", YES },
    { "\\w+y", YES },
    { "(((que)+r)?y)*", YES },
    { "q.?.?.??ry", YES },
    { "q.{3}y", REFUSED },
    { "", NO },
    { "|query", YES },
    { ".*", YES },
    { "[]q]uery", YES },
    { "[^]q]uery", NO },
    { "\\.query", NO },
    { "self\\.query", YES },
    { "self\\-query", NO },
    { "([\\w]|\\w|\\,)*", REFUSED },
    { "(\\w|\\,)*", YES },
    { "sel\\f.query", REFUSED },
    { "query\\b", REFUSED },
    { "\\Aquery", REFUSED },
    { "(query", REFUSED },
    { "query)", REFUSED },
    { "*query", REFUSED },
    { "(*query)", REFUSED },
    { "que++ry", REFUSED },
    { "(?!key).*", REFUSED },
    { "(?P<x>query)", REFUSED },
    { "(q)\\1", REFUSED },
    { "[query", REFUSED },
    { "[\\d]", REFUSED },
    { "[[:alpha:]]*", REFUSED },
    { "quer\xc3\xbd", REFUSED },
    { "(((((query)))))", REFUSED },
    { "query\\", REFUSED },
};

START_TEST(patterns_match_as_in_python)
{
    char *paths[] = { PATH };
    double value = 1;
    json_t *patterns = json_object();

    ck_assert_int_eq(0, json_object_set_new(patterns, pattern[_i].pattern, json_integer(2)));
    const clpeft_status status = clp_pattern_values(patterns, 1, paths, &value);
    ck_assert_msg((status == CLPEFT_OK) == (pattern[_i].matches != REFUSED), "\"%s\": %s", pattern[_i].pattern,
                  clpeft_status_text(status));
    if (status == CLPEFT_OK)
        ck_assert_msg((value == 2) == (pattern[_i].matches == YES), "\"%s\": %g", pattern[_i].pattern, value);
    json_decref(patterns);
}
END_TEST

START_TEST(the_first_pattern_counts)
{
    char *paths[] = { "layer.0.query", "layer.1.query", "layer.1.key" };
    double values[] = { 9, 9, 9 };
    json_t *patterns = json_loads("{\"layer.1.*y\":1,\"query\":2,\"layer.1.query\":3}", 0, NULL);

    ck_ok(clp_pattern_values(patterns, 3, paths, values));
    ck_assert(values[0] == 2 && values[1] == 1 && values[2] == 1);
    json_decref(patterns);
    ck_ok(clp_pattern_values(NULL, 3, paths, values));
    ck_assert(values[0] == 2);
}
END_TEST

/* Patterns that would take a matcher without limits forever, or all memory. */
START_TEST(hostile_patterns_end)
{
    char long_one[300] = { 0 }, *path = calloc(1, 4096);
    json_t *patterns = json_object();
    double value = 0;

    memset(path, 'a', 4095);
    memset(long_one, 'a', 257);
    json_object_set_new(patterns, "((((a+)+)+)+)+b", json_integer(2));
    json_object_set_new(patterns, "(a|a|aa)*(a*a*a*a*a*a*a*)*c", json_integer(3));
    ck_ok(clp_pattern_values(patterns, 1, &path, &value));
    ck_assert(value == 0);
    json_object_set_new(patterns, long_one, json_integer(4));
    ck_fails(CLPEFT_UNSUPPORTED, "at most 256", clp_pattern_values(patterns, 1, &path, &value));
    json_object_clear(patterns);
    for (int i = 0; i < 4097; i++) {
        snprintf(long_one, sizeof long_one, "p%d", i);
        json_object_set_new(patterns, long_one, json_integer(1));
    }
    ck_fails(CLPEFT_UNSUPPORTED, "4097 patterns", clp_pattern_values(patterns, 1, &path, &value));
    json_decref(patterns);
    free(path);
}
END_TEST

static void add(TCase *t)
{
    tcase_add_test(t, numbers_are_short_and_exact);
    tcase_add_loop_test(t, fields_are_checked, 0, sizeof config / sizeof *config);
    tcase_add_test(t, fields_are_read);
    tcase_add_loop_test(t, patterns_match_as_in_python, 0, sizeof pattern / sizeof *pattern);
    tcase_add_test(t, the_first_pattern_counts);
    tcase_add_test(t, hostile_patterns_end);
}

int main(void)
{
    return run_tests("peft-config", add, 60, NULL, NULL);
}

/* fields.c - adapter_config.json, field by field.
 *
 * Fields that PEFT fills with a default may be absent. What changes the mathematics or the names of the tensors is
 * refused unless it is off; what does not matter after training is not looked at. PEFT ignores fields that it does
 * not know, which a newer one wrote; here a switch among them that is on is refused. */
#include "peft/fields.h"

#include "file/names.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { MAX_RANK = 65536 };

/* What becomes of a field. */
typedef enum { READ, IGNORE, OFF, NONE } treatment; /* OFF: null, false or empty; NONE: null only */
static const struct {
    const char *name;
    treatment treatment;
} fields[] = {
    { "peft_type", READ },
    { "r", READ },
    { "lora_alpha", READ },
    { "lora_dropout", READ },
    { "target_modules", READ },
    { "use_dora", READ },
    { "use_rslora", READ },
    { "rank_pattern", READ },
    { "alpha_pattern", READ },
    { "bias", READ },
    { "modules_to_save", READ },
    { "task_type", READ },
    { "base_model_name_or_path", READ },
    { "init_lora_weights", READ },
    { "exclude_modules", READ },
    { "layers_to_transform", READ },
    { "layers_pattern", IGNORE },
    { "fan_in_fan_out",
      IGNORE }, /* of layers that store W [in,out]; of a Linear, and there are no others, PEFT resets it */
    { "inference_mode", IGNORE },
    { "peft_version", IGNORE },
    { "auto_mapping", IGNORE },
    { "revision", IGNORE },
    { "runtime_config", IGNORE },
    { "loftq_config", IGNORE }, /* this and the next three: how training began */
    { "eva_config", IGNORE },
    { "corda_config", IGNORE },
    { "lora_ga_config", IGNORE },
    { "qalora_group_size", IGNORE },
    { "megatron_core", IGNORE },
    { "ensure_weight_tying", IGNORE },
    { "lora_bias", OFF },
    { "use_qalora", OFF },
    { "use_bdlora", OFF },
    { "layer_replication", OFF },
    { "arrow_config", OFF },
    { "kasa_config", OFF },
    { "velora_config", OFF },
    { "monteclora_config", OFF },
    { "target_parameters", OFF },
    { "trainable_token_indices", OFF },
    { "megatron_config", OFF },
    { "alora_invocation_tokens", NONE },
};

static int is_empty(const json_t *value)
{
    return (json_is_object(value) && json_object_size(value) == 0) ||
           (json_is_array(value) && json_array_size(value) == 0);
}

static clpeft_status check_fields(json_t *json)
{
    clpeft_status status = CLPEFT_OK;
    const char *name;
    json_t *value;

    json_object_foreach(json, name, value)
    {
        size_t i = 0;
        while (i < LENGTH(fields) && strcmp(fields[i].name, name) != 0) i++;
        if (i == LENGTH(fields)) {
            REQUIRE(!json_is_true(value) && (!json_is_object(value) || is_empty(value)), CLPEFT_UNSUPPORTED,
                    "%s is on, and what it does is not known", clp_quote(name, strlen(name)).text);
            continue;
        }
        const treatment t = fields[i].treatment;
        REQUIRE(t <= IGNORE || json_is_null(value) || (t == OFF && (json_is_false(value) || is_empty(value))),
                CLPEFT_UNSUPPORTED, "%s is set, which is not supported", name);
    }
out:
    return status;
}

/* A field that may be absent, but not null. */
static clpeft_status refuse_null(const json_t *json, const char *name)
{
    if (json_is_null(json_object_get(json, name))) return clp_fail(CLPEFT_INVALID_FILE, "%s is null", name);
    return CLPEFT_OK;
}

/* One of a list of texts. */
static int is_one_of(const char *text, const char *const *known)
{
    while (*known && strcmp(*known, text) != 0) known++;
    return *known != NULL;
}

static clpeft_status check_kind(const json_t *json)
{
    static const char *const tasks[] = { "",          "SEQ_CLS",      "SEQ_2_SEQ_LM",       "CAUSAL_LM",
                                         "TOKEN_CLS", "QUESTION_ANS", "FEATURE_EXTRACTION", NULL };
    clpeft_status status = CLPEFT_OK;
    const char *type, *bias, *task;

    TRY(clp_config_text(json, "peft_type", NULL, &type));
    REQUIRE(strcmp(type, "LORA") == 0, CLPEFT_UNSUPPORTED, "peft_type is \"%s\", not LORA",
            clp_quote(type, strlen(type)).text);
    TRY(refuse_null(json, "bias"));
    TRY(clp_config_text(json, "bias", "none", &bias));
    REQUIRE(strcmp(bias, "none") == 0, CLPEFT_UNSUPPORTED,
            "bias is \"%s\": trained biases are not supported, only \"none\"", clp_quote(bias, strlen(bias)).text);
    TRY(clp_config_text(json, "task_type", "", &task));
    REQUIRE(is_one_of(task, tasks), CLPEFT_INVALID_FILE, "task_type \"%s\" is not known",
            clp_quote(task, strlen(task)).text);
out:
    return status;
}

/* Starts that have changed the base weights or the layer. */
static clpeft_status check_start(const json_t *json)
{
    static const char *const harmless[] = { "gaussian", "orthogonal", "eva", NULL };
    const json_t *value = json_object_get(json, "init_lora_weights");
    const char *text = json_string_value(value);

    if (!value || json_is_boolean(value) || json_is_null(value) || (text && is_one_of(text, harmless)))
        return CLPEFT_OK;
    return clp_fail(CLPEFT_UNSUPPORTED,
                    "init_lora_weights is %s: a start that may have changed the base weights is not supported",
                    text ? clp_quote(text, strlen(text)).text : "no text");
}

static clpeft_status read_numbers(clp_peft_config *c)
{
    clpeft_status status = CLPEFT_OK;

    TRY(refuse_null(c->json, "r"));
    TRY(refuse_null(c->json, "lora_alpha"));
    TRY(clp_config_size(c->json, "r", 8, 1, MAX_RANK, &c->r));
    TRY(clp_config_number(c->json, "lora_alpha", 8, &c->alpha));
    REQUIRE(isfinite((float)c->alpha) && (float)c->alpha > 0, CLPEFT_UNSUPPORTED, "lora_alpha is %g, not above 0",
            c->alpha);
    TRY(clp_config_number(c->json, "lora_dropout", 0, &c->dropout));
    REQUIRE(c->dropout >= 0 && (float)c->dropout < 1, CLPEFT_INVALID_FILE, "lora_dropout is %g, not in [0, 1)",
            c->dropout);
    TRY(clp_config_flag(c->json, "use_dora", 0, &c->dora));
    TRY(clp_config_flag(c->json, "use_rslora", 0, &c->rslora));
out:
    return status;
}

static clpeft_status read_list(const json_t *json, const char *name, const json_t **list)
{
    const json_t *value = json_object_get(json, name);

    *list = json_is_array(value) ? value : NULL;
    if (value && !json_is_null(value) && !*list) return clp_fail(CLPEFT_INVALID_FILE, "%s is no list", name);
    for (size_t i = 0; i < json_array_size(*list); i++)
        if (!json_is_string(json_array_get(*list, i)))
            return clp_fail(CLPEFT_INVALID_FILE, "%s: entry %zu is no text", name, i);
    return CLPEFT_OK;
}

static clpeft_status read_pattern(json_t *json, const char *name, int whole, const json_t **pattern)
{
    json_t *values = json_object_get(json, name), *value;
    clpeft_status status = CLPEFT_OK;
    const char *key;

    REQUIRE(!values || json_is_object(values), CLPEFT_INVALID_FILE, "%s is no object", name);
    json_object_foreach(values, key, value)
    {
        const double number = json_number_value(value);
        REQUIRE(json_is_number(value) && number > 0 && (float)number > 0 && isfinite((float)number),
                CLPEFT_INVALID_FILE, "%s: the value of \"%s\" is no number above 0", name,
                clp_quote(key, strlen(key)).text);
        REQUIRE(!whole || (json_is_integer(value) && number <= MAX_RANK), CLPEFT_INVALID_FILE,
                "%s: the value of \"%s\" is no whole number up to %d", name, clp_quote(key, strlen(key)).text,
                MAX_RANK);
    }
    *pattern = values;
out:
    return status;
}

static clpeft_status read_targets(clp_peft_config *c)
{
    clpeft_status status = CLPEFT_OK;

    const json_t *narrow[] = { json_object_get(c->json, "exclude_modules"),
                               json_object_get(c->json, "layers_to_transform") };
    for (size_t i = 0; i < LENGTH(narrow); i++)
        c->narrowed |= narrow[i] && !json_is_null(narrow[i]) && !is_empty(narrow[i]);
    if (!json_is_string(json_object_get(c->json, "target_modules")))
        TRY(read_list(c->json, "target_modules", &c->targets));
    TRY(read_list(c->json, "modules_to_save", &c->saved));
    TRY(read_pattern(c->json, "rank_pattern", 1, &c->rank_pattern));
    TRY(read_pattern(c->json, "alpha_pattern", 0, &c->alpha_pattern));
out:
    return status;
}

/* Takes json over, also when it fails. */
static clpeft_status read_fields(clp_peft_config *config, json_t *json)
{
    clpeft_status status = CLPEFT_OK;
    clp_peft_config c = { .json = json };

    TRY(check_kind(json));
    TRY(check_fields(json));
    TRY(check_start(json));
    TRY(read_numbers(&c));
    TRY(read_targets(&c));
    TRY(clp_config_text(json, "task_type", "", &c.task_type));
    TRY(clp_config_text(json, "base_model_name_or_path", "", &c.base_model));
    *config = c;
    c.json = NULL;
out:
    clp_peft_config_free(&c);
    return status;
}

clpeft_status clp_peft_config_parse(clp_peft_config *config, const char *text, size_t size)
{
    clpeft_status status = CLPEFT_OK;
    json_t *json = NULL;

    TRY(clp_config_parse(&json, text, size));
    status = read_fields(config, json);
out:
    return status;
}

clpeft_status clp_peft_config_read(clp_peft_config *config, const char *path)
{
    clpeft_status status = CLPEFT_OK;
    json_t *json = NULL;

    TRY(clp_config_read(&json, path));
    status = read_fields(config, json);
    if (status != CLPEFT_OK) clp_fail_in("%s", path);
out:
    return status;
}

json_t *clp_peft_number(float value)
{
    char text[32];

    if (value == floorf(value) && fabsf(value) < 1e9f) return json_integer((json_int_t)value);
    for (int digits = 1; digits < 9; digits++) {
        snprintf(text, sizeof text, "%.*g", digits, (double)value);
        if (strtof(text, NULL) == value) return json_real(strtod(text, NULL));
    }
    return json_real((double)value);
}

void clp_peft_config_free(clp_peft_config *config)
{
    json_decref(config->json);
    *config = (clp_peft_config){ 0 };
}

/* options.c - a trainer's options as JSON, and back: one table of fields serves both. */
#include "trainer.h"

#include "file/names.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const char *const task_names[] = { "classify", "language_model", NULL };
static const char *const act_names[] = { "identity", "gelu", "gelu_tanh", "silu", "relu", "tanh", NULL };
static const char *const tau_names[] = { "none", "fixed", "learned", "gaussian", NULL };
static const char *const share_names[] = { "block", "model", NULL };
static const char *const w2b_names[] = { "shared", "per_head", NULL };
static const char *const pool_names[] = { "mean", "first", "rest", "both", NULL };
static const char *const decay_names[] = { "none", "linear", "cosine", NULL };

/* A field of clpeft_trainer_options. U64 is a decimal string: JSON's integers end at 2^63 - 1 in jansson. */
typedef struct {
    const char *name;
    size_t at;
    enum { FLAG, SIZE_T, U64, F32, NAME } type;
    const char *const *names; /* of an enumeration's values, from 0 */
} field;
#define AT(member) offsetof(clpeft_trainer_options, member)

static const field fields[] = {
    { "task", AT(task), NAME, task_names },
    { "generator", AT(adapter.generator), FLAG, NULL },
    { "magnitude", AT(adapter.magnitude), FLAG, NULL },
    { "tau", AT(adapter.tau), NAME, tau_names },
    { "rank", AT(adapter.rank), SIZE_T, NULL },
    { "alpha", AT(adapter.alpha), F32, NULL },
    { "rslora", AT(adapter.rslora), FLAG, NULL },
    { "seed_width", AT(adapter.seed_width), SIZE_T, NULL },
    { "hidden_width", AT(adapter.hidden_width), SIZE_T, NULL },
    { "act", AT(adapter.act), NAME, act_names },
    { "share", AT(adapter.share), NAME, share_names },
    { "w2b", AT(adapter.w2b), NAME, w2b_names },
    { "tau0", AT(adapter.tau0), F32, NULL },
    { "norm_gradient", AT(adapter.norm_gradient), FLAG, NULL },
    { "dropout", AT(adapter.dropout), F32, NULL },
    { "seed", AT(adapter.seed), U64, NULL },
    { "classes", AT(classes), SIZE_T, NULL },
    { "pool", AT(pool), NAME, pool_names },
    { "feature_scale", AT(feature_scale), F32, NULL },
    { "lr", AT(adamw.lr), F32, NULL },
    { "beta1", AT(adamw.beta1), F32, NULL },
    { "beta2", AT(adamw.beta2), F32, NULL },
    { "eps", AT(adamw.eps), F32, NULL },
    { "weight_decay", AT(adamw.weight_decay), F32, NULL },
    { "max_norm", AT(adamw.max_norm), F32, NULL },
    { "multiplier_a", AT(adamw.multiplier[CLPEFT_KIND_A]), F32, NULL },
    { "multiplier_b", AT(adamw.multiplier[CLPEFT_KIND_B]), F32, NULL },
    { "multiplier_seed", AT(adamw.multiplier[CLPEFT_KIND_SEED]), F32, NULL },
    { "multiplier_magnitude", AT(adamw.multiplier[CLPEFT_KIND_MAGNITUDE]), F32, NULL },
    { "multiplier_rho", AT(adamw.multiplier[CLPEFT_KIND_RHO]), F32, NULL },
    { "multiplier_head", AT(adamw.multiplier[CLPEFT_KIND_HEAD]), F32, NULL },
    { "multiplier_head_bias", AT(adamw.multiplier[CLPEFT_KIND_HEAD_BIAS]), F32, NULL },
    { "warmup", AT(warmup), U64, NULL },
    { "total_steps", AT(total_steps), U64, NULL },
    { "decay", AT(decay), NAME, decay_names },
};

static json_t *encode(const field *f, const void *value)
{
    char digits[24];

    switch (f->type) {
    case FLAG: return json_boolean(*(const int *)value);
    case SIZE_T: return json_integer((json_int_t) * (const size_t *)value);
    case F32: return json_real((double)*(const float *)value);
    case NAME: return json_string(f->names[*(const unsigned *)value]);
    case U64: break;
    }
    snprintf(digits, sizeof digits, "%" PRIu64, *(const uint64_t *)value);
    return json_string(digits);
}

clpeft_status clp_options_write(const clpeft_trainer_options *options, char **text)
{
    clpeft_status status = CLPEFT_OK;
    json_t *config = json_object();
    int failed = json_object_set_new(config, "sites", json_string(options->sites));

    for (size_t i = 0; i < LENGTH(fields); i++)
        failed |= json_object_set_new(config, fields[i].name, encode(&fields[i], (const char *)options + fields[i].at));
    *text = failed ? NULL : json_dumps(config, JSON_COMPACT);
    REQUIRE(*text, CLPEFT_OUT_OF_HOST_MEMORY, "out of memory for the options");
out:
    json_decref(config);
    return status;
}

int clp_parse_u64(const char *text, uint64_t *value)
{
    char *end;

    errno = 0;
    *value = strtoull(text, &end, 10);
    return text[0] >= '0' && text[0] <= '9' && *end == 0 && errno == 0;
}

static clpeft_status decode_name(const field *f, const char *text, unsigned *value)
{
    for (*value = 0; f->names[*value]; ++*value)
        if (strcmp(f->names[*value], text) == 0) return CLPEFT_OK;
    return clp_fail(CLPEFT_INVALID_FILE, "%s is \"%s\", not a known value", f->name,
                    clp_quote(text, strlen(text)).text);
}

static clpeft_status decode(const json_t *config, const field *f, void *value)
{
    clpeft_status status = CLPEFT_OK;
    const char *text;
    double number;

    REQUIRE(json_object_get(config, f->name), CLPEFT_INVALID_FILE, "%s is missing", f->name);
    switch (f->type) {
    case FLAG: return clp_config_flag(config, f->name, 0, value);
    case SIZE_T: return clp_config_size(config, f->name, CLP_REQUIRED, 0, INT32_MAX, value);
    case F32:
        TRY(clp_config_number(config, f->name, 0, &number));
        *(float *)value = (float)number;
        return CLPEFT_OK;
    case NAME: TRY(clp_config_text(config, f->name, NULL, &text)); return decode_name(f, text, value);
    case U64: break;
    }
    TRY(clp_config_text(config, f->name, NULL, &text));
    REQUIRE(clp_parse_u64(text, value), CLPEFT_INVALID_FILE, "%s is not a whole number", f->name);
out:
    return status;
}

clpeft_status clp_options_read(clpeft_trainer_options *options, json_t **config, const char *text, size_t size)
{
    clpeft_status status = CLPEFT_OK;
    json_t *root = NULL;

    *options = (clpeft_trainer_options){ 0 };
    options->adamw.multiplier[CLPEFT_KIND_FIXED] = 1;
    TRY(clp_config_parse(&root, text, size));
    TRY(clp_config_text(root, "sites", NULL, &options->sites));
    for (size_t i = 0; i < LENGTH(fields); i++) TRY(decode(root, &fields[i], (char *)options + fields[i].at));
    *config = root;
    root = NULL;
out:
    json_decref(root);
    return status;
}

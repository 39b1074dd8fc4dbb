/* llama_config.c - sizes and options of a decoder of LLaMA's kind, from config.json or the metadata of a GGUF file: the latter is
 * put into the former's words, so that one reader serves both. */
#include "llama.h"

#include "file/names.h"

#include <math.h>
#include <string.h>

/* ---- GGUF ------------------------------------------------------------------------------------------------------- */

static const struct {
    const char *gguf, *key;
} words[] = {
    { "llama.embedding_length", "hidden_size" },
    { "llama.block_count", "num_hidden_layers" },
    { "llama.attention.head_count", "num_attention_heads" },
    { "llama.attention.head_count_kv", "num_key_value_heads" },
    { "llama.attention.key_length", "head_dim" },
    { "llama.feed_forward_length", "intermediate_size" },
    { "llama.context_length", "max_position_embeddings" },
    { "llama.attention.layer_norm_rms_epsilon", "rms_norm_eps" },
    { "llama.rope.freq_base", "rope_theta" },
    { "llama.rope.dimension_count", "rotary_dim" },
    { "llama.attention.value_length", "value_dim" },
    { "llama.expert_count", "num_experts" },
    { "llama.rope.scaling.type", "rope_type" },
};

static json_t *value_of(const clpeft_meta *meta)
{
    switch (meta->type) {
    case CLPEFT_META_INT: return json_integer(meta->integer);
    case CLPEFT_META_FLOAT: return json_real(meta->number);
    case CLPEFT_META_STRING: return json_string(meta->string);
    default: return json_true(); /* no value of ours: its reader refuses it */
    }
}

/* The metadata as a configuration. The vocabulary is told by the embedding, tied tables by a missing output. */
static clpeft_status translate(const clp_pretrained *w, json_t **config)
{
    const clpeft_file_tensor *embed = clpeft_file_find(w->file, "token_embd.weight");
    clpeft_status status = CLPEFT_OK;
    json_t *made = json_object();
    int failed = 0;

    REQUIRE(embed && embed->n_dims == 2, CLPEFT_INVALID_FILE, "tensor token_embd.weight is missing, or no matrix");
    for (size_t i = 0; i < LENGTH(words); i++) {
        const clpeft_meta *meta = clpeft_file_meta_find(w->file, words[i].gguf);
        if (meta) failed |= json_object_set_new(made, words[i].key, value_of(meta));
    }
    failed |= json_object_set_new(made, "vocab_size", json_integer((json_int_t)embed->dims[0]));
    failed |= json_object_set_new(made, "tie_word_embeddings", json_boolean(!clp_pretrained_has(w, "output.weight")));
    REQUIRE(!failed, CLPEFT_INVALID_FILE, "metadata that is not UTF-8, or out of memory");
    REQUIRE(!clp_pretrained_has(w, "blk.0.attn_q.bias"), CLPEFT_UNSUPPORTED,
            "tensor blk.0.attn_q.bias: layers with biases are not known");
    REQUIRE(!clp_pretrained_has(w, "rope_freqs.weight"), CLPEFT_UNSUPPORTED,
            "tensor rope_freqs.weight: scaled rotary positions are not known");
    *config = made;
    made = NULL;
out:
    json_decref(made);
    return status;
}

/* ---- the configuration ------------------------------------------------------------------------------------------ */

static clpeft_status refuse(const json_t *config, const char *key)
{
    clpeft_status status = CLPEFT_OK;
    int on;

    TRY(clp_config_flag(config, key, 0, &on));
    REQUIRE(!on, CLPEFT_UNSUPPORTED, "%s is true: layers with biases are not known", key);
out:
    return status;
}

/* What would make the network another one. */
static clpeft_status refuse_unknown(const json_t *config)
{
    clpeft_status status = CLPEFT_OK;
    const char *act;
    size_t experts;

    TRY(clp_config_text(config, "hidden_act", "silu", &act));
    REQUIRE(strcmp(act, "silu") == 0, CLPEFT_UNSUPPORTED, "hidden_act \"%s\": only silu is known",
            clp_quote(act, strlen(act)).text);
    TRY(refuse(config, "attention_bias"));
    TRY(refuse(config, "mlp_bias"));
    TRY(clp_config_size(config, "num_experts", 0, 0, SIZE_MAX, &experts));
    REQUIRE(experts == 0, CLPEFT_UNSUPPORTED, "%zu experts: a mixture of experts is not known", experts);
out:
    return status;
}

/* rope_theta beside the other keys, or in rope_parameters; rope_type there, in rope_scaling, or (GGUF) beside them. */
static clpeft_status read_rope(const json_t *config, size_t d, float *base)
{
    const json_t *parameters = json_object_get(config, "rope_parameters"),
                 *scaling = json_object_get(config, "rope_scaling");
    clpeft_status status = CLPEFT_OK;
    double theta;

    TRY(clp_config_number(config, "rope_theta", 10000, &theta));
    if (json_is_object(parameters)) TRY(clp_config_number(parameters, "rope_theta", theta, &theta));
    REQUIRE(theta >= 1 && theta <= 1e30, CLPEFT_INVALID_FILE, "rope_theta is %g, not from 1 to 1e30", theta);
    const json_t *const places[] = { config, parameters, scaling };
    for (size_t i = 0; i < LENGTH(places); i++) {
        const char *type;
        if (!json_is_object(places[i])) continue;
        TRY(clp_config_text(places[i], "rope_type", i == 2 ? "scaled" : "default", &type));
        REQUIRE(strcmp(type, "default") == 0 || strcmp(type, "none") == 0, CLPEFT_UNSUPPORTED,
                "rope_type \"%s\": scaled rotary positions are not known", clp_quote(type, strlen(type)).text);
    }
    size_t rotary, value;
    TRY(clp_config_size(config, "rotary_dim", d, 1, 1 << 16, &rotary));
    TRY(clp_config_size(config, "value_dim", d, 1, 1 << 16, &value));
    REQUIRE(rotary == d && value == d, CLPEFT_UNSUPPORTED,
            "heads of %zu columns with %zu rotated and %zu of a value: all must be the same", d, rotary, value);
    *base = (float)theta;
out:
    return status;
}

static clpeft_status read_heads(const json_t *config, clpeft_model_info *info)
{
    clpeft_status status = CLPEFT_OK;

    TRY(clp_config_size(config, "num_attention_heads", CLP_REQUIRED, 1, 1 << 16, &info->heads));
    TRY(clp_config_size(config, "num_key_value_heads", info->heads, 1, 1 << 16, &info->kv_heads));
    TRY(clp_config_size(config, "head_dim", info->width / info->heads, 1, 256, &info->head_size));
    REQUIRE(info->heads % info->kv_heads == 0, CLPEFT_INVALID_FILE,
            "%zu query heads for %zu key heads: not a whole number for each", info->heads, info->kv_heads);
    REQUIRE(info->head_size % 2 == 0, CLPEFT_UNSUPPORTED, "heads of %zu columns: an even number can be rotated",
            info->head_size);
out:
    return status;
}

static clpeft_status read_config(clpeft_model *model, const json_t *config)
{
    clpeft_model_info *info = &model->info;
    clpeft_status status = CLPEFT_OK;
    double eps;

    info->family = CLPEFT_LLAMA;
    TRY(clp_config_size(config, "hidden_size", CLP_REQUIRED, 1, 1 << 16, &info->width));
    TRY(clp_config_size(config, "num_hidden_layers", CLP_REQUIRED, 1, 1 << 10, &info->layers));
    TRY(clp_config_size(config, "intermediate_size", CLP_REQUIRED, 1, 1 << 18, &info->ffn));
    TRY(clp_config_size(config, "vocab_size", CLP_REQUIRED, 1, 1 << 24, &info->vocab));
    TRY(clp_config_size(config, "max_position_embeddings", 2048, 1, 1 << 24, &info->positions));
    TRY(clp_config_number(config, "rms_norm_eps", 1e-6, &eps));
    REQUIRE(eps > 0 && eps < 1, CLPEFT_INVALID_FILE, "rms_norm_eps is %g, not between 0 and 1", eps);
    info->eps = (float)eps;
    TRY(read_heads(config, info));
    TRY(refuse_unknown(config));
    TRY(read_rope(config, info->head_size, &clp_llama_of(model)->base));
    TRY(clp_config_flag(config, "tie_word_embeddings", 0, &clp_llama_of(model)->tied));
out:
    return status;
}

clpeft_status clp_llama_configure(clpeft_model *model, clp_pretrained *w)
{
    clpeft_status status = CLPEFT_OK;
    json_t *translated = NULL;

    if (!w->config) TRY(translate(w, &translated));
    TRY(read_config(model, w->config ? w->config : translated));
    const uint64_t facts[] = { model->info.heads, model->info.kv_heads, (uint64_t)clp_llama_of(model)->tied };
    const float numbers[] = { model->info.eps, clp_llama_of(model)->base };
    clp_pretrained_hash(w, facts, sizeof facts);
    clp_pretrained_hash(w, numbers, sizeof numbers);
out:
    json_decref(translated);
    return status;
}

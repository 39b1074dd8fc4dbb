/* peft.c - libFuzzer: any bytes as an adapter_config.json, and its patterns against paths of a model. */
#include "peft/fields.h"
#include "peft/pattern.h"

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size)
{
    char *paths[] = { "encoder.layer.0.attention.self.query", "bert.encoder.layer.11.output.dense",
                      "model.layers.29.self_attn.q_proj" };
    double values[3] = { 0 };
    clp_peft_config config = { 0 };

    if (clp_peft_config_parse(&config, (const char *)bytes, size) == CLPEFT_OK) {
        clp_pattern_values(config.rank_pattern, 3, paths, values);
        clp_pattern_values(config.alpha_pattern, 3, paths, values);
    }
    clp_peft_config_free(&config);
    return 0;
}

/* layout.c - the linear layers of a model in a GGUF file. Source of the names: llama.cpp's gguf package. */
#include "peft/layout.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const struct {
    const char *path, *name;
    int rotary;
} layers[] = {
    { "self_attn.q_proj", "attn_q", 1 },
    { "self_attn.k_proj", "attn_k", 1 },
    { "self_attn.v_proj", "attn_v", 0 },
    { "self_attn.o_proj", "attn_output", 0 },
    { "mlp.gate_proj", "ffn_gate", 0 },
    { "mlp.up_proj", "ffn_up", 0 },
    { "mlp.down_proj", "ffn_down", 0 },
    { "attention.self.query", "attn_q", 0 },
    { "attention.self.key", "attn_k", 0 },
    { "attention.self.value", "attn_v", 0 },
    { "attention.output.dense", "attn_output", 0 },
    { "intermediate.dense", "ffn_up", 0 },
    { "output.dense", "ffn_down", 0 },
};

/* Place in the table; LENGTH(layers): it is not there. */
static size_t find(const clpeft_model *model, size_t index)
{
    const char *path = model->modules[index % model->n_modules].path;
    size_t i = 0;
    while (i < LENGTH(layers) && strcmp(layers[i].path, path) != 0) i++;
    return i;
}

clpeft_status clp_layout_name(const clpeft_model *model, size_t index, char name[CLP_GGUF_NAME_SIZE])
{
    const size_t i = find(model, index);

    if (i == LENGTH(layers) || !clp_layout_architecture(model))
        return clp_fail(CLPEFT_UNSUPPORTED, "GGUF has no name for %s of this model",
                        model->modules[index % model->n_modules].path);
    snprintf(name, CLP_GGUF_NAME_SIZE, "blk.%zu.%s.weight", index / model->n_modules, layers[i].name);
    return CLPEFT_OK;
}

const char *clp_layout_architecture(const clpeft_model *model)
{
    switch (model->info.family) {
    case CLPEFT_LLAMA: return "llama";
    case CLPEFT_BERT: return "bert";
    default: return NULL;
    }
}

static int is_rotary(const clpeft_model *model, size_t index)
{
    const size_t i = find(model, index);
    return i < LENGTH(layers) && layers[i].rotary;
}

size_t clp_layout_row(const clpeft_model *model, size_t index, size_t row)
{
    const size_t D = model->modules[index % model->n_modules].head_size;
    return is_rotary(model, index) ? row / D * D + row % 2 * (D / 2) + row % D / 2 : row;
}

clpeft_status clp_layout_rows(const clpeft_model *model, size_t index, size_t rows, size_t cols, float *values)
{
    clpeft_status status = CLPEFT_OK;
    float *from = NULL;

    if (!is_rotary(model, index)) return CLPEFT_OK;
    from = malloc(rows * cols * sizeof *from);
    REQUIRE(from, CLPEFT_OUT_OF_HOST_MEMORY, "out of memory");
    memcpy(from, values, rows * cols * sizeof *from);
    for (size_t i = 0; i < rows; i++)
        memcpy(values + i * cols, from + clp_layout_row(model, index, i) * cols, cols * sizeof *from);
out:
    free(from);
    return status;
}

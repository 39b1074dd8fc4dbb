/* peft-logits.c - peft-logits MODEL_DIR CHECKPOINT IDS.safetensors OUT.safetensors
 *
 * Writes what a trained classifier says of a batch: logits F32 [B,C] of input_ids and attention_mask I64 [B,S], padding on the
 * right. For peft_roundtrip.py. */
#include "clpeft.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static void check(clpeft_status status)
{
    if (status == CLPEFT_OK) return;
    fprintf(stderr, "peft-logits: %s\n", clpeft_error_message());
    exit(2);
}

static int64_t integer(const clpeft_file_tensor *t, size_t i)
{
    int64_t value;
    memcpy(&value, (const char *)t->data + i * sizeof value, sizeof value);
    return value;
}

int main(int argc, char **argv)
{
    clpeft_context *ctx;
    clpeft_model *model;
    clpeft_trainer *trainer;
    clpeft_file *file;

    if (argc != 5) return fprintf(stderr, "usage: peft-logits MODEL_DIR CHECKPOINT IDS OUT\n"), 2;
    check(clpeft_file_open(&file, argv[3]));
    const clpeft_file_tensor *ids = clpeft_file_find(file, "input_ids"),
                             *mask = clpeft_file_find(file, "attention_mask");
    if (!ids || !mask || ids->dtype != CLPEFT_I64 || mask->dtype != CLPEFT_I64 || ids->elements != mask->elements ||
        ids->n_dims != 2)
        return fprintf(stderr, "peft-logits: input_ids and attention_mask are not I64 [B,S]\n"), 2;
    const size_t B = (size_t)ids->dims[0], S = (size_t)ids->dims[1];
    int32_t *row_start = calloc(B + 1, sizeof *row_start), *tokens = calloc(B * S, sizeof *tokens);
    for (size_t b = 0; b < B; b++) {
        row_start[b + 1] = row_start[b];
        for (size_t i = b * S; i < (b + 1) * S; i++)
            if (integer(mask, i) != 0) tokens[row_start[b + 1]++] = (int32_t)integer(ids, i);
    }
    const clpeft_batch batch = { .S = B, .row_start = row_start, .tokens = tokens };
    const clpeft_model_options options = { .max_tokens = B * S, .max_sequences = B };

    check(clpeft_context_create(&ctx, NULL));
    check(clpeft_model_load(&model, ctx, argv[1], &options));
    check(clpeft_trainer_load(&trainer, model, argv[2]));
    const size_t C = clpeft_trainer_get_options(trainer)->classes;
    float *logits = malloc(B * C * sizeof *logits);
    check(clpeft_trainer_evaluate(trainer, &batch, logits, NULL, NULL));
    const clpeft_write_tensor out = {
        .name = "logits", .dtype = CLPEFT_F32, .n_dims = 2, .dims = { B, C }, .data = logits
    };
    check(clpeft_safetensors_write(argv[4], NULL, 0, &out, 1));

    clpeft_trainer_destroy(trainer);
    clpeft_model_destroy(model);
    clpeft_context_destroy(ctx);
    clpeft_file_close(file);
    free(logits), free(row_start), free(tokens);
    return 0;
}

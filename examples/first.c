/* first.c - the shortest whole program: first MODEL_DIR [OUT.safetensors] teaches MiniLM to tell animals from tools. */
#include <clpeft.h>
#include <stdio.h>

#define TRY(call) \
    if ((call) != CLPEFT_OK) return fprintf(stderr, "first: %s\n", clpeft_error_message()), 2

int main(int argc, char **argv)
{
    /* "[CLS] a small dog [SEP]", "[CLS] a hammer [SEP]", ... one after another, no padding: ids of vocab.txt */
    const int32_t tokens[] = { 101, 1037, 2235, 3899, 102, 101,  1037, 8691,  102,
                               101, 2023, 4937, 102,  101, 1037, 2312, 12913, 102 };
    const int32_t row_start[] = { 0, 5, 9, 13, 18 }, labels[] = { 0, 1, 0, 1 };
    const clpeft_batch batch = { .S = 4, .row_start = row_start, .tokens = tokens, .labels = labels };
    clpeft_context *ctx = NULL;
    clpeft_model *model = NULL;
    clpeft_trainer *trainer = NULL;
    clpeft_step_result step;
    float logits[4 * 2];

    if (argc < 2) return fprintf(stderr, "usage: first MODEL_DIR [OUT.safetensors]\n"), 2;
    TRY(clpeft_context_create(&ctx, NULL)); /* the first GPU, else a CPU; or adopt your own cl_context */
    TRY(clpeft_model_load(&model, ctx, argv[1], &(clpeft_model_options){ .max_tokens = 256 }));
    clpeft_trainer_options options = clpeft_trainer_defaults(CLPEFT_DORAN);
    options.classes = 2, options.total_steps = 60;
    TRY(clpeft_trainer_create(&trainer, model, &options));
    for (int i = 0; i < 60; i++) {
        TRY(clpeft_train_step(trainer, &batch, &step));
        if (i % 10 == 9) printf("step %2d  loss %.4f\n", i + 1, step.loss);
    }
    TRY(clpeft_trainer_evaluate(trainer, &batch, logits, NULL, NULL));
    for (int i = 0; i < 4; i++)
        printf("sentence %d is %s\n", i, logits[2 * i] > logits[2 * i + 1] ? "an animal" : "a tool");
    if (argc > 2) TRY(clpeft_trainer_save(trainer, argv[2], NULL, 0));
    clpeft_trainer_destroy(trainer);
    clpeft_model_destroy(model);
    clpeft_context_destroy(ctx);
    return 0;
}

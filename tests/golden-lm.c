/* golden-lm.c - golden-lm FILE.json: a real language model, the GGUF file in CLPEFT_TEST_GGUF, against transformers (made by
 * golden/make_lm_golden.py): the logits after a prompt within 2e-3 of the largest, and the greedy continuation token by token.
 * Exits with 77, skipped, without the variable. */
#include "clpeft.h"

#include <jansson.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

static struct {
    clpeft_context *ctx;
    cl_command_queue queue;
    clpeft_model *model;
    clpeft_model_info info;
    float *logits;
    int failed;
} run;

static void must(clpeft_status status)
{
    if (status == CLPEFT_OK) return;
    printf("%s\n", clpeft_error_message());
    exit(1);
}

/* The next token's logits after the ids of a list. */
static void read_list(clpeft_model_cache *cache, const json_t *ids)
{
    const size_t n = json_array_size(ids);
    int32_t *tokens = calloc(n, sizeof *tokens);

    for (size_t i = 0; i < n; i++) tokens[i] = (int32_t)json_integer_value(json_array_get(ids, i));
    must(clpeft_model_next_logits(cache, NULL, n, tokens, run.logits, run.queue));
    free(tokens);
}

/* The largest difference, over the largest logit. */
static double logits_error(const json_t *golden, size_t step)
{
    const json_t *top = json_object_get(golden, "top"), *sample = json_object_get(golden, "sample");
    double most = 0, norm = 0;

    for (size_t i = 0; i < json_array_size(top); i++) {
        const json_t *pair = json_array_get(top, i);
        const size_t id = (size_t)json_integer_value(json_array_get(pair, 0));
        most = fmax(most, fabs((double)run.logits[id] - json_real_value(json_array_get(pair, 1))));
    }
    for (size_t i = 0; i < json_array_size(sample); i++)
        most = fmax(most, fabs((double)run.logits[i * step] - json_real_value(json_array_get(sample, i))));
    for (size_t i = 0; i < run.info.vocab; i++) norm += (double)run.logits[i] * (double)run.logits[i];
    const double want = json_real_value(json_object_get(golden, "norm")),
                 largest = json_real_value(json_array_get(json_array_get(top, 0), 1));
    return fmax(most / fabs(largest), fabs(sqrt(norm) - want) / want);
}

/* Tokens of the greedy continuation that agree. */
static size_t follow(clpeft_model_cache *cache, const json_t *greedy)
{
    size_t n = 0;

    for (; n < json_array_size(greedy); n++) {
        int32_t best = 0;
        for (size_t i = 1; i < run.info.vocab; i++)
            if (run.logits[i] > run.logits[best]) best = (int32_t)i;
        if (best != json_integer_value(json_array_get(greedy, n))) break;
        must(clpeft_model_next_logits(cache, NULL, 1, &best, run.logits, run.queue));
    }
    return n;
}

static void replay(const json_t *golden, size_t step)
{
    const json_t *greedy = json_object_get(golden, "greedy");
    clpeft_model_cache *cache;

    must(clpeft_model_cache_create(&cache, run.model, 256));
    read_list(cache, json_object_get(golden, "ids"));
    const double error = logits_error(golden, step);
    const size_t agree = follow(cache, greedy);
    const int ok = error < 2e-3 && agree == json_array_size(greedy) && agree > 0;
    printf("%s: logits differ by %.2g of the largest, %zu of %zu greedy tokens agree\n", ok ? "ok" : "FAILED", error,
           agree, json_array_size(greedy));
    run.failed |= !ok;
    clpeft_model_cache_destroy(cache);
}

int main(int argc, char **argv)
{
    const clpeft_model_options options = { .max_tokens = 64, .forward_only = 1 };
    const char *model = getenv("CLPEFT_TEST_GGUF");
    json_t *golden = argc == 2 ? json_load_file(argv[1], 0, NULL) : NULL;
    const json_t *cases = json_object_get(golden, "cases");

    if (!model) return 77;
    if (json_array_size(cases) == 0) return printf("golden-lm FILE.json\n"), 2;
    must(clpeft_context_create(&run.ctx, NULL));
    must(clpeft_queue_create(&run.queue, run.ctx));
    must(clpeft_model_load(&run.model, run.ctx, model, &options));
    clpeft_model_get_info(run.model, &run.info);
    run.logits = calloc(run.info.vocab, sizeof *run.logits);
    for (size_t i = 0; i < json_array_size(cases); i++)
        replay(json_array_get(cases, i), (size_t)json_integer_value(json_object_get(golden, "step")));
    free(run.logits);
    clpeft_model_destroy(run.model);
    clReleaseCommandQueue(run.queue);
    clpeft_context_destroy(run.ctx);
    json_decref(golden);
    return run.failed;
}

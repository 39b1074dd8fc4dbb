#include "parallel.h"

#include "program.h"
#include "ranks.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static bool by_token(const clpeft_trainer *trainer)
{
    return clpeft_trainer_get_options(trainer)->task == CLPEFT_LANGUAGE_MODEL;
}

static size_t count_labels(const clpeft_batch *batch, bool tokens)
{
    const size_t n = tokens ? (size_t)batch->row_start[batch->S] : batch->S;
    size_t counted = 0;

    for (size_t i = 0; i < n; i++) counted += batch->labels[i] >= 0;
    return counted;
}

/* The sum of all ranks' gradients in the place of this one's. */
static void sum_gradients(clpeft_trainer *trainer, parallel_times *times)
{
    clpeft_params *params = clpeft_trainer_params(trainer);
    cl_command_queue queue = clpeft_trainer_queue(trainer);
    const size_t n = clpeft_params_size(params);
    float *gradient = allocate(n, sizeof *gradient);

    clFinish(queue);
    const double start = program_clock();
    ranks_wait();
    const double all_here = program_clock();
    must(clpeft_params_read(params, CLPEFT_GRAD, NULL, gradient, queue));
    ranks_sum_gradient(gradient, n);
    must(clpeft_params_write(params, CLPEFT_GRAD, NULL, gradient, queue));
    *times = (parallel_times){ all_here - start, program_clock() - all_here };
    free(gradient);
}

void parallel_step(clpeft_trainer *trainer, const clpeft_batch *batch, clpeft_step_result *result,
                   parallel_times *times)
{
    *times = (parallel_times){ 0 };
    if (ranks_count() == 1) {
        must(clpeft_train_step(trainer, batch, result));
        return;
    }
    const bool tokens = by_token(trainer);
    const size_t counted = count_labels(batch, tokens);
    int32_t *row_start = allocate(batch->S + 1, sizeof *row_start);
    const clpeft_batch share = ranks_share(batch, tokens, row_start);

    if (counted == 0) die("no row of the batch has a label");
    must(clpeft_train_begin(trainer));
    if (share.S > 0) must(clpeft_train_gradient(trainer, &share, 1.0f / (float)counted));
    must(clpeft_train_collect(trainer));
    sum_gradients(trainer, times);
    must(clpeft_train_update(trainer, result));
    double sums[] = { result->loss * (double)result->counted, (double)result->correct };
    ranks_sum(sums, 2);
    result->loss = sums[0] / (double)counted;
    result->correct = (size_t)sums[1];
    result->counted = counted;
    free(row_start);
}

/* ---- agreement ------------------------------------------------------------------------------------------------------ */

/* FNV-1a, 64 bits, of words. */
static uint64_t hash_words(uint64_t hash, const float *value, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        uint32_t word;
        memcpy(&word, value + i, sizeof word);
        hash = (hash ^ word) * 0x100000001b3u;
    }
    return hash;
}

uint64_t parallel_agree_parameters(const clpeft_trainer *trainer)
{
    static const clpeft_params_buffer parts[] = { CLPEFT_THETA, CLPEFT_MOMENT1, CLPEFT_MOMENT2 };
    const clpeft_params *params = clpeft_trainer_params(trainer);
    const size_t n = clpeft_params_size(params);
    float *host = allocate(n, sizeof *host);
    uint64_t hash = 0xcbf29ce484222325u ^ clpeft_trainer_steps(trainer);

    for (size_t i = 0; i < sizeof parts / sizeof *parts; i++) {
        must(clpeft_params_read(params, parts[i], NULL, host, clpeft_trainer_queue(trainer)));
        hash = hash_words(hash, host, n);
    }
    free(host);
    ranks_agree_number("the hash of parameters and moments", hash);
    return hash;
}

void parallel_agree(const clpeft_trainer *trainer, json_t *settings, uint64_t train_hash, uint64_t eval_hash)
{
    clpeft_model_info info;
    const char *key;
    json_t *value;
    char name[64];

    ranks_agree("the library's version", clpeft_version());
    clpeft_model_get_info(clpeft_trainer_model(trainer), &info);
    ranks_agree_number("the hash of the model", info.hash);
    json_object_foreach(settings, key, value)
    {
        char *text = json_dumps(value, JSON_ENCODE_ANY | JSON_COMPACT);
        snprintf(name, sizeof name, "--%s", key);
        ranks_agree(name, text ? text : "");
        free(text);
    }
    ranks_agree_number("the hash of the training rows", train_hash);
    ranks_agree_number("the hash of the evaluation rows", eval_hash);
    parallel_agree_parameters(trainer);
}

#include "parallel.h"

#include "program.h"
#include "ranks.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* ---- shares --------------------------------------------------------------------------------------------------------- */

/* Where a sequence begins; images are all of one size. */
static size_t start_of(const clpeft_batch *batch, const clpeft_model_info *info, size_t q)
{
    return info->image_size > 0 ? q * info->positions : (size_t)batch->row_start[q];
}

clpeft_batch parallel_share(const clpeft_batch *batch, const clpeft_model_info *info, bool by_token, size_t own,
                            size_t count, int32_t *row_start)
{
    const size_t T = start_of(batch, info, batch->S), pixels = info->channels * info->image_size * info->image_size;
    clpeft_batch share = *batch;
    size_t first = 0, end;

    while (first < batch->S && start_of(batch, info, first) * count / T < own) first++;
    const size_t from = start_of(batch, info, first);
    for (end = first; end < batch->S && start_of(batch, info, end) * count / T == own; end++)
        row_start[end + 1 - first] = (int32_t)(start_of(batch, info, end + 1) - from);
    row_start[0] = 0;
    share.S = end - first;
    share.row_start = row_start;
    share.labels += by_token ? from : first;
    share.first_token += from;
    if (batch->tokens) share.tokens += from;
    if (batch->pixels) share.pixels += first * pixels;
    return share;
}

size_t parallel_most_tokens(size_t tokens, size_t longest, size_t devices)
{
    const size_t count = ranks_count() * devices, share = (tokens + count - 1) / count + longest;
    return share < tokens ? share : tokens;
}

static size_t count_labels(const clpeft_batch *batch, bool tokens)
{
    const size_t n = tokens ? (size_t)batch->row_start[batch->S] : batch->S;
    size_t counted = 0;

    for (size_t i = 0; i < n; i++) counted += batch->labels[i] >= 0;
    return counted;
}

/* ---- a step --------------------------------------------------------------------------------------------------------- */

/* The gradients of this process's shares, begun on all devices before any is waited for. */
static void begin_gradients(clpeft_trainer *const *trainer, size_t n, const clpeft_batch *batch, bool tokens,
                            size_t counted)
{
    int32_t *row_start = allocate(batch->S + 1, sizeof *row_start);
    clpeft_model_info info;

    clpeft_model_get_info(clpeft_trainer_model(trainer[0]), &info);
    for (size_t i = 0; i < n; i++) {
        const clpeft_batch share =
            parallel_share(batch, &info, tokens, ranks_own() * n + i, ranks_count() * n, row_start);
        must(clpeft_train_begin(trainer[i]));
        if (share.S > 0) must(clpeft_train_gradient(trainer[i], &share, 1.0f / (float)counted));
        must(clpeft_train_collect(trainer[i]));
        clFlush(clpeft_trainer_queue(trainer[i]));
    }
    free(row_start);
}

/* The sum of all devices' gradients in the place of each. */
static void sum_gradients(clpeft_trainer *const *trainer, size_t n, parallel_times *times)
{
    const size_t size = clpeft_params_size(clpeft_trainer_params(trainer[0]));
    float *sum = allocate(size, sizeof *sum), *gradient = allocate(size, sizeof *gradient);

    for (size_t i = 0; i < n; i++) clFinish(clpeft_trainer_queue(trainer[i]));
    const double start = program_clock();
    ranks_wait();
    const double all_here = program_clock();
    for (size_t i = 0; i < n; i++) {
        must(clpeft_params_read(clpeft_trainer_params(trainer[i]), CLPEFT_GRAD, NULL, gradient,
                                clpeft_trainer_queue(trainer[i])));
        for (size_t k = 0; k < size; k++) sum[k] += gradient[k];
    }
    ranks_sum_gradient(sum, size);
    for (size_t i = 0; i < n; i++)
        must(clpeft_params_write(clpeft_trainer_params(trainer[i]), CLPEFT_GRAD, NULL, sum,
                                 clpeft_trainer_queue(trainer[i])));
    *times = (parallel_times){ all_here - start, program_clock() - all_here };
    free(sum);
    free(gradient);
}

void parallel_copy(const clpeft_trainer *from, clpeft_trainer *to, clpeft_params_buffer which)
{
    float *host = allocate(clpeft_params_size(clpeft_trainer_params(from)), sizeof *host);

    must(clpeft_params_read(clpeft_trainer_params(from), which, NULL, host, clpeft_trainer_queue(from)));
    must(clpeft_params_write(clpeft_trainer_params(to), which, NULL, host, clpeft_trainer_queue(to)));
    free(host);
}

void parallel_step(clpeft_trainer *const *trainer, size_t n, const clpeft_batch *batch, clpeft_step_result *result,
                   parallel_times *times)
{
    const bool tokens = clpeft_trainer_get_options(trainer[0])->task == CLPEFT_LANGUAGE_MODEL;
    double sums[2] = { 0 }; /* losses, correct ones */
    clpeft_step_result part;

    *times = (parallel_times){ 0 };
    if (ranks_count() * n == 1) {
        must(clpeft_train_step(trainer[0], batch, result));
        return;
    }
    const size_t counted = count_labels(batch, tokens);
    if (counted == 0) die("no row of the batch has a label");
    begin_gradients(trainer, n, batch, tokens, counted);
    sum_gradients(trainer, n, times);
    for (size_t i = 0; i < n; i++) {
        must(clpeft_train_update(trainer[i], &part));
        sums[0] += part.loss * (double)part.counted, sums[1] += (double)part.correct;
        if (i == 0) *result = part;
        if (i > 0) parallel_copy(trainer[0], trainer[i], CLPEFT_THETA);
    }
    ranks_sum(sums, 2);
    result->loss = sums[0] / (double)counted;
    result->correct = (size_t)sums[1];
    result->counted = counted;
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

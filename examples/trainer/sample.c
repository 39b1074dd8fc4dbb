#include "sample.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "interrupt.h"
#include "program.h"

typedef struct {
    float probability;
    int32_t id;
} candidate;

static int by_probability(const void *a, const void *b)
{
    const candidate *x = a, *y = b;
    if (x->probability != y->probability) return x->probability < y->probability ? 1 : -1;
    return (x->id > y->id) - (x->id < y->id);
}

/* Uniform in [0, 1): splitmix64. */
static double random_number(uint64_t *state)
{
    uint64_t z = *state += 0x9e3779b97f4a7c15u;

    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
    return (double)((z ^ (z >> 31)) >> 11) / 9007199254740992.0;
}

static int32_t largest(const float *logits, size_t vocab)
{
    size_t best = 0;

    for (size_t i = 1; i < vocab; i++)
        if (logits[i] > logits[best]) best = i;
    return (int32_t)best;
}

/* Of the tokens, most likely first, as many as have top_p together: one by its share. */
static int32_t draw(const float *logits, candidate *list, size_t vocab, const sample_options *o, uint64_t *state)
{
    const float most = logits[largest(logits, vocab)];
    double sum = 0, kept = 0;
    size_t n = 0;

    for (size_t i = 0; i < vocab; i++) {
        list[i] = (candidate){ expf((logits[i] - most) / o->temperature), (int32_t)i };
        sum += (double)list[i].probability;
    }
    qsort(list, vocab, sizeof *list, by_probability);
    while (n < vocab && (n == 0 || kept < (double)o->top_p * sum)) kept += (double)list[n++].probability;
    double left = random_number(state) * kept;
    for (size_t i = 0; i < n; i++)
        if ((left -= (double)list[i].probability) < 0) return list[i].id;
    return list[n - 1].id;
}

/* The bytes of a token behind those of the text so far. */
static char *append(char *text, size_t *room, size_t *length, const bpe *b, int32_t id)
{
    size_t bytes;
    const char *piece = bpe_decode(b, id, &bytes);

    if (!piece || bpe_is_control(b, id)) return text;
    text = grow(text, room, *length + bytes + 1, 1);
    memcpy(text + *length, piece, bytes);
    *length += bytes;
    return text;
}

char *sample_text(clpeft_model *model, const clpeft_adapter *adapter, const lm_tokenizer *tokenizer,
                  const int32_t *prompt, size_t n, const sample_options *options, cl_command_queue queue)
{
    clpeft_model_info info;
    clpeft_model_cache *cache;
    size_t room = 0, length = 0;
    uint64_t state = options->seed;
    char *text = grow(NULL, &room, 1, 1);

    clpeft_model_get_info(model, &info);
    if (n >= info.positions) die("a prompt of %zu tokens: the model reads %zu at most", n, info.positions);
    const size_t most = options->tokens < info.positions - n ? options->tokens : info.positions - n;
    float *logits = allocate(info.vocab, sizeof *logits);
    candidate *list = allocate(info.vocab, sizeof *list);
    must(clpeft_model_cache_create(&cache, model, n + most));
    must(clpeft_model_next_logits(cache, adapter, n, prompt, logits, queue));
    for (size_t i = 0; i < most && !interrupt_seen(); i++) {
        const int32_t id =
            options->temperature > 0 ? draw(logits, list, info.vocab, options, &state) : largest(logits, info.vocab);
        if (id == tokenizer->end) break;
        text = append(text, &room, &length, tokenizer->bpe, id);
        if (i + 1 < most) must(clpeft_model_next_logits(cache, adapter, 1, &id, logits, queue));
    }
    text[length] = '\0';
    clpeft_model_cache_destroy(cache);
    free(list);
    free(logits);
    return text;
}

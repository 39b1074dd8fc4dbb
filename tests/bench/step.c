/* step.c - how long does a training step take?  One model, several methods in turns, one line of JSON:
 *     {"device":, "tile":, "tokens":, "batches":, "train":{"lora":[ms, ...], ...}, "evaluate":{...}, "first":, "peak":}
 *   ms      per step: a pass over all batches of the work, divided by their number      tokens   of a batch, mean
 *   first   ms from --start to the end of the first step      peak   largest resident memory, kB
 * Usage: bench-step [--model DIR] [--work SxL | --work FILE.tsv] [--passes N] [--rank R] [--weights f32|f16|bf16] [--one-copy]
 *                   [--evaluate] [--start NANOSECONDS] METHOD...
 *   SxL       one batch of S sequences of L random tokens         FILE.tsv   eight batches of 32 texts, as they are, no padding
 *   --passes  turns of every method, each a step or pass that is not timed and timed ones for 0.4 s; 0: ends after the first step
 *   --start   the wall clock when the process was started (date +%s%N) */
#include "bench.h"
#include "wordpiece.h"

#include <getopt.h>

enum { BATCHES = 8, BATCH = 32, CLASSES = 26, LONGEST = 128, METHODS = 4 };

static const char *const method_name[METHODS] = { "lora", "dora", "hora", "doran" };

static struct {
    const char *path, *work;
    size_t passes, rank, n_methods;
    int evaluate, forward_only;
    double start; /* ms of the wall clock; 0: unknown */
    clpeft_method methods[METHODS];
    clpeft_model_options model;
} o = { .work = "32x32", .passes = 4, .rank = 8 };

static size_t n_batches;
static clpeft_batch batch[BATCHES];
static clpeft_model *model;
static clpeft_trainer *trainer[METHODS];

static void fail(const char *what, const char *why)
{
    fprintf(stderr, "bench-step: %s: %s\n", what, why);
    exit(2);
}

/* ---- work -------------------------------------------------------------------------------------------------------- */

/* Labels do not change the work. */
static void add_batch(size_t S, const int32_t *row_start, const int32_t *tokens)
{
    int32_t *labels = bench_alloc(4 * S);
    for (size_t q = 0; q < S; q++) labels[q] = (int32_t)(q % CLASSES);
    batch[n_batches++] = (clpeft_batch){ .S = S, .row_start = row_start, .tokens = tokens, .labels = labels };
}

static void make_dense(size_t S, size_t L, size_t vocab)
{
    int32_t *row_start = bench_alloc(4 * (S + 1)), *tokens = bench_alloc(4 * S * L);
    uint64_t state = 1;

    for (size_t q = 0; q <= S; q++) row_start[q] = (int32_t)(q * L);
    for (size_t t = 0; t < S * L; t++) {
        state = state * 6364136223846793005u + 1442695040888963407u;
        tokens[t] = (int32_t)((state >> 33) % vocab);
    }
    add_batch(S, row_start, tokens);
}

static void make_texts(const char *path)
{
    FILE *f = fopen(path, "r");
    char vocab[4096], error[256], *line = NULL;
    wordpiece *w;
    size_t size = 0;

    if (!f) fail(path, "cannot be opened");
    snprintf(vocab, sizeof vocab, "%s/vocab.txt", o.path);
    if (!wordpiece_create(&w, vocab, true, error, sizeof error)) fail(vocab, error);
    while (n_batches < BATCHES) {
        int32_t *row_start = bench_alloc(4 * (BATCH + 1)), *tokens = bench_alloc(4 * BATCH * LONGEST);
        for (size_t q = 0; q < BATCH; q++) {
            const ssize_t bytes = getline(&line, &size, f);
            const char *text = bytes > 0 ? strchr(line, '\t') : NULL;
            size_t n;
            if (!text) fail(path, "needs 256 rows LABEL<TAB>TEXT");
            text++;
            if (!wordpiece_encode(w, text, (size_t)(line + bytes - text), LONGEST, tokens + row_start[q], &n, error,
                                  sizeof error))
                fail(path, error);
            row_start[q + 1] = row_start[q] + (int32_t)n;
        }
        add_batch(BATCH, row_start, tokens);
    }
    wordpiece_destroy(w);
    free(line);
    fclose(f);
}

static void make_work(void)
{
    clpeft_model_info info;
    size_t S, L;

    clpeft_model_get_info(model, &info);
    if (sscanf(o.work, "%zux%zu", &S, &L) == 2)
        make_dense(S, L, info.vocab);
    else
        make_texts(o.work);
}

/* What the model must hold, before it is there. */
static void size_model(void)
{
    size_t S = BATCH, L = LONGEST;
    sscanf(o.work, "%zux%zu", &S, &L);
    o.model.max_tokens = S * L, o.model.max_sequences = S, o.model.max_length = L;
}

/* ---- run --------------------------------------------------------------------------------------------------------- */

static void make_trainer(size_t m)
{
    clpeft_trainer_options options = clpeft_trainer_defaults(o.methods[m]);
    options.adapter.rank = o.rank;
    options.classes = CLASSES;
    options.decay = CLPEFT_DECAY_NONE;
    CHECK(clpeft_trainer_create(&trainer[m], model, &options));
}

static void run_train(void *self)
{
    clpeft_trainer *t = *(clpeft_trainer **)self;
    clpeft_step_result result;

    for (size_t b = 0; b < n_batches; b++) CHECK(clpeft_train_step(t, &batch[b], &result));
    if (!result.applied) fail("training", "the gradient is not finite");
}

static void run_evaluate(void *self)
{
    int32_t predicted[1024];
    for (size_t b = 0; b < n_batches; b++)
        CHECK(clpeft_trainer_evaluate(*(clpeft_trainer **)self, &batch[b], NULL, batch[b].S <= 1024 ? predicted : NULL,
                                      NULL));
}

static double wall_clock(void) /* ms */
{
    struct timespec t;
    clock_gettime(CLOCK_REALTIME, &t);
    return 1e3 * (double)t.tv_sec + 1e-6 * (double)t.tv_nsec;
}

static long peak_memory(void) /* kB */
{
    FILE *f = fopen("/proc/self/status", "r");
    char line[256];
    long peak = 0;
    while (f && fgets(line, sizeof line, f))
        if (sscanf(line, "VmHWM: %ld", &peak) == 1) break;
    if (f) fclose(f);
    return peak;
}

static void print_times(const char *key, const contestant *c, size_t n)
{
    printf("\"%s\":{", key);
    for (size_t m = 0; m < n; m++) {
        printf("%s\"%s\":[", m ? "," : "", c[m].name);
        for (size_t i = 0; i < c[m].n; i++) printf("%s%.5g", i ? "," : "", c[m].ms[i] / (double)n_batches);
        printf("]");
    }
    printf("},");
}

static void run(void)
{
    contestant train[METHODS], evaluate[METHODS];
    size_t tokens = 0;
    double first;

    for (size_t m = 0; m < o.n_methods; m++) {
        const char *name = method_name[o.methods[m]];
        make_trainer(m);
        train[m] = (contestant){ .name = name, .run = run_train, .self = &trainer[m] };
        evaluate[m] = (contestant){ .name = name, .run = run_evaluate, .self = &trainer[m] };
    }
    for (size_t b = 0; b < n_batches; b++) tokens += (size_t)batch[b].row_start[batch[b].S];
    clpeft_step_result result;
    CHECK(clpeft_train_step(trainer[0], &batch[0], &result));
    first = wall_clock() - o.start;
    bench_turns(train, o.n_methods, o.passes, 400);
    bench_turns(evaluate, o.n_methods, o.evaluate ? o.passes : 0, 200);
    putchar('{');
    bench_text("device", dev.info.name);
    printf("\"tile\":\"%u x %u\",\"tokens\":%.6g,\"batches\":%zu,", dev.info.tile_rows, 2 * dev.info.vector,
           (double)tokens / (double)n_batches, n_batches);
    print_times("train", train, o.n_methods);
    print_times("evaluate", evaluate, o.n_methods);
    printf("\"first\":%.5g,\"peak\":%ld}\n", o.start > 0 ? first : 0.0, peak_memory());
    for (size_t m = 0; m < o.n_methods; m++)
        free(train[m].ms), free(evaluate[m].ms), clpeft_trainer_destroy(trainer[m]);
}

/* ---- options ----------------------------------------------------------------------------------------------------- */

static const struct option options[] = {
    { "model", 1, NULL, 'm' },    { "work", 1, NULL, 'w' },    { "passes", 1, NULL, 'p' },
    { "rank", 1, NULL, 'r' },     { "weights", 1, NULL, 't' }, { "one-copy", 0, NULL, '1' },
    { "evaluate", 0, NULL, 'e' }, { "start", 1, NULL, 's' },   { 0 }
};

static clpeft_dtype weights(const char *name)
{
    static const clpeft_dtype type[] = { CLPEFT_F32, CLPEFT_F16, CLPEFT_BF16 };
    static const char *const names[] = { "f32", "f16", "bf16" };
    for (size_t i = 0; i < 3; i++)
        if (!strcmp(name, names[i])) return type[i];
    fail(name, "--weights is f32, f16 or bf16");
    return CLPEFT_F32;
}

static void read_options(int argc, char **argv)
{
    o.path = getenv("CLPEFT_TEST_MODEL");
    for (int c; (c = getopt_long(argc, argv, "", options, NULL)) != -1;) {
        if (c == 'm')
            o.path = optarg;
        else if (c == 'w')
            o.work = optarg;
        else if (c == 'p')
            o.passes = strtoull(optarg, NULL, 10);
        else if (c == 'r')
            o.rank = strtoull(optarg, NULL, 10);
        else if (c == 't')
            o.model.weights = weights(optarg);
        else if (c == '1')
            o.model.one_copy = 1;
        else if (c == 'e')
            o.evaluate = 1;
        else if (c == 's')
            o.start = 1e-6 * strtod(optarg, NULL);
        else
            fail("usage", "see the top of tests/bench/step.c");
    }
    for (; optind < argc && o.n_methods < METHODS; optind++) {
        size_t m = 0;
        while (m < METHODS && strcmp(argv[optind], method_name[m]) != 0) m++;
        if (m == METHODS) fail(argv[optind], "no such method");
        o.methods[o.n_methods++] = (clpeft_method)m;
    }
    if (!o.path || o.n_methods == 0) fail("usage", "needs a model (--model or CLPEFT_TEST_MODEL) and a method");
}

int main(int argc, char **argv)
{
    read_options(argc, argv);
    size_model();
    bench_open();
    CHECK(clpeft_model_load(&model, dev.ctx, o.path, &o.model));
    make_work();
    run();
    clpeft_model_destroy(model);
    bench_close();
    for (size_t b = 0; b < n_batches; b++)
        free((void *)batch[b].row_start), free((void *)batch[b].tokens), free((void *)batch[b].labels);
    return 0;
}

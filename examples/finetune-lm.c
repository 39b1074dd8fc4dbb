/* finetune-lm.c - trains a language model: a pretrained decoder, quantized or not, and an adapter on it.
 *
 *     settings --> documents as tokens --> model, adapter --> trainer/run.c: full batch of rows --> step --> log, checkpoint
 *                                                             perplexity and sampled text before and after
 *
 * Read main, then run_training; the training is the loop in trainer/run.c. */
#include "clpeft.h"

#include "trainer/documents.h"
#include "trainer/interrupt.h"
#include "trainer/packing.h"
#include "trainer/perplexity.h"
#include "trainer/program.h"
#include "trainer/ranks.h"
#include "trainer/run.h"
#include "trainer/sample.h"
#include "trainer/settings.h"
#include "trainer/shuffle.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* ---- settings ---- */

static const char usage[] =
    "finetune-lm - trains a language model on an OpenCL device\n\n"
    "  finetune-lm --model FILE --train FILE --eval FILE [OPTION]...     train\n"
    "  finetune-lm eval --model FILE --adapter DIR --eval FILE           perplexity of what was trained\n"
    "  finetune-lm generate --model FILE --adapter DIR [PROMPT]          what follows; without PROMPT each line of stdin\n\n"
    "The model is a GGUF file of a LLaMA. Data in FILE.jsonl has {\"prompt\":\"...\",\"completion\":\"...\"} in each line, and the\n"
    "completion is learned; any other FILE is text in UTF-8, documents separated by empty lines. Ctrl-C ends the step, saves,\n"
    "and says how to resume; a second one kills. Defaults are in parentheses.";

static struct {
    const char *tokenizer, *prompt;
    size_t tokens, model_tokens, samples;
    int control;
    sample_options sample;
} lm;

static option files[16], schedule[24], generated[8]; /* rows chosen from those of all trainers */
static option own[] = {
    { .name = "tokens",
      .argument = "N",
      .help = "tokens per step: rows that fit whole",
      .type = OPTION_SIZE,
      .value = &lm.tokens,
      .low = 2,
      .high = 1 << 24,
      .saved = true },
    { .name = "model-tokens",
      .argument = "N",
      .help = "... that the model takes at once; fewer need less memory",
      .type = OPTION_SIZE,
      .value = &lm.model_tokens,
      .low = 2,
      .high = 1 << 24,
      .saved = true },
    { .name = "tokenizer",
      .argument = "FILE",
      .help = "the GGUF file that has the tokenizer; the model, unless given",
      .value = &lm.tokenizer },
    { .name = "control-tokens",
      .help = "<|...|> in the data are the model's special tokens",
      .type = OPTION_FLAG,
      .value = &lm.control,
      .saved = true },
    { 0 },
};
static option sampling[] = {
    { .name = "prompt",
      .argument = "TEXT",
      .help = "text to go on from, before and after; else prompts of the evaluation data",
      .value = &lm.prompt },
    { .name = "samples",
      .argument = "N",
      .help = "how many of those",
      .type = OPTION_SIZE,
      .value = &lm.samples,
      .high = 1e6 },
    { .name = "sample-tokens",
      .argument = "N",
      .help = "tokens of a sample, at most",
      .type = OPTION_SIZE,
      .value = &lm.sample.tokens,
      .low = 1,
      .high = 1e6 },
    { .name = "temperature",
      .argument = "X",
      .help = "0: the most likely token, higher: more variety",
      .type = OPTION_FLOAT,
      .value = &lm.sample.temperature,
      .high = 100 },
    { .name = "top-p",
      .argument = "X",
      .help = "choose from the likeliest tokens that have this probability together",
      .type = OPTION_FLOAT,
      .value = &lm.sample.top_p,
      .low = 1e-6,
      .high = 1 },
    { 0 },
};

static const option_group train_groups[] = {
    { "About", training_about },     { "Files", files },      { "Adapter", training_adapter },
    { "Training", schedule },        { "Tokens", own },       { "Memory", training_memory },
    { "Reports", training_reports }, { "Samples", sampling }, { 0 },
};
static const option_group trained_groups[] = {
    { "About", training_about },
    { "Files", generated },
    { "Samples", sampling },
    { 0 },
};

static void set_defaults(void)
{
    training.batch = 1; /* a step is one batch of `tokens` */
    training.max_length = 512;
    training.eval_every = 0;
    lm.tokens = 512, lm.model_tokens = 256, lm.samples = 3;
    lm.sample = (sample_options){ .temperature = 0.7f, .top_p = 0.9f, .tokens = 40 };
}
static const settings language = { usage, train_groups, trained_groups, set_defaults };

/* The rows of other trainers' tables that make sense here, in words that fit. */
static void choose_options(void)
{
    static const char *const no_head[] = { "head-lr", "batch", NULL }, *const none[] = { NULL };

    options_without(files, training_files, none);
    options_without(schedule, training_schedule, no_head);
    options_without(generated, settings_trained, none);
    for (option *o = files; o->name; o++)
        if (!strcmp(o->name, "model")) o->argument = "FILE", o->help = "the pretrained model: a GGUF file";
    for (option *o = schedule; o->name; o++)
        if (!strcmp(o->name, "lr")) o->help = "learning rate of the adapter";
}

/* ---- documents and model ---- */

typedef struct {
    lm_tokenizer tokenizer;
    documents train, eval;
    shuffle order;
    pack pack;
    uint64_t *plan; /* [total + 1]: where each step's rows begin in the shuffled order */
} texts;

static void read_documents(const texts *t, documents *d, const char *path)
{
    documents_read(d, path, &t->tokenizer, training.max_length);
    if (d->cut)
        note("%zu documents in %s are longer than %zu tokens and are cut (--max-length)", d->cut, path,
             training.max_length);
    if (d->out)
        note("%zu prompts in %s are longer than %zu tokens and are left out (--max-length)", d->out, path,
             training.max_length);
    if (d->longest > lm.tokens)
        die("%s: a row of %zu tokens is longer than a step of %zu (--tokens)", path, d->longest, lm.tokens);
}

/* With documents read: the model for parts of a batch, but for whole rows. */
static void open_model(run *r, texts *t, bool forward_only)
{
    const size_t longest = t->eval.longest > t->train.longest ? t->eval.longest : t->train.longest;
    size_t tokens = lm.model_tokens < lm.tokens ? lm.model_tokens : lm.tokens;
    clpeft_model_info info;

    if (tokens < longest) tokens = longest;
    r->ctx = training_device();
    r->model = training_model(r->ctx, CLPEFT_LLAMA, tokens, 0, 0, forward_only);
    clpeft_model_get_info(r->model, &info);
    if (longest > info.positions)
        die("--max-length %zu: the model reads %zu tokens at most", training.max_length, info.positions);
    if (bpe_size(t->tokenizer.bpe) > info.vocab)
        die("the tokenizer has %zu tokens, the model %zu", bpe_size(t->tokenizer.bpe), info.vocab);
    pack_init(&t->pack, lm.tokens, lm.tokens);
}

static void open_tokenizer(texts *t)
{
    lm_tokenizer_open(&t->tokenizer, lm.tokenizer ? lm.tokenizer : training.model, lm.control);
    lm.sample.seed = training.seed;
}

/* Everything that a training needs, checked before anything is written. state: of the checkpoint to resume, or NULL. */
static void open_training(run *r, texts *t, const json_t *state, const char *path)
{
    const uint64_t planned = run_take_labels(r, state, path);

    open_tokenizer(t);
    read_documents(t, &t->train, training.train);
    read_documents(t, &t->eval, training.eval);
    r->hash = documents_hash(&t->train), r->eval_hash = documents_hash(&t->eval);
    shuffle_init(&t->order, t->train.n, training.seed);
    open_model(r, t, false);
    r->total = training.steps = training_steps((size_t)pack_count(&t->pack, &t->train, &t->order, t->train.n), planned);
    t->plan = pack_plan(&t->pack, &t->train, &t->order, r->total);
    run_open_trainer(r, state, path);
}

static void close_all(run *r, texts *t)
{
    run_close(r);
    free(t->plan);
    pack_free(&t->pack);
    shuffle_free(&t->order);
    documents_free(&t->train);
    documents_free(&t->eval);
    lm_tokenizer_close(&t->tokenizer);
}

/* ---- what the loop asks for ---- */

static clpeft_batch batch_for(void *data, uint64_t step, size_t *units)
{
    texts *t = data;

    pack_fill(&t->pack, &t->train, &t->order, t->plan[step]);
    *units = (size_t)t->pack.row_start[t->pack.packed.S];
    return t->pack.packed;
}

static bool evaluate(run *r, run_score *score)
{
    texts *t = r->task.data;
    prediction result;

    if (!predict(&result, r->trainer, &t->eval, &t->pack)) return false;
    *score = (run_score){ result.perplexity, result.loss };
    return true;
}
static const run_measure perplexity = { .name = "perplexity", .scale = 1, .unit = "", .falls = true };

/* ---- samples ---- */

static char *continue_prompt(const run *r, const texts *t, const int32_t *ids, size_t n)
{
    clpeft_adapter *adapter = clpeft_trainer_adapter(r->trainer);
    const cl_command_queue queue = clpeft_trainer_queue(r->trainer);

    must(clpeft_adapter_materialize(adapter, clpeft_trainer_steps(r->trainer), 0, queue, 0, NULL, NULL));
    return sample_text(r->model, adapter, &t->tokenizer, ids, n, &lm.sample, queue);
}

/* A text's tokens behind the mark of the beginning; the caller frees them. */
static int32_t *encode_prompt(const texts *t, const char *text, size_t *n)
{
    int32_t *ids = allocate(strlen(text) + 1, sizeof *ids);

    *n = t->tokenizer.begin >= 0;
    if (*n) ids[0] = t->tokenizer.begin;
    *n += lm_tokenizer_encode(&t->tokenizer, text, strlen(text), ids + *n, "--prompt");
    if (*n == 0) die("the prompt is empty");
    return ids;
}

/* One line: what is no printable character becomes a space. */
static void print_sample(char *text)
{
    for (char *c = text; *c; c++)
        if ((unsigned char)*c < ' ' || *c == 0x7f) *c = ' ';
    note("  %s", text);
    free(text);
}

static char *joined(const texts *t, const int32_t *ids, size_t n, char *end)
{
    size_t room = 0, length = 0;
    char *text = grow(NULL, &room, strlen(end) + 1, 1);

    for (size_t i = 0; i < n; i++) {
        size_t bytes = 0;
        const char *piece = bpe_decode(t->tokenizer.bpe, ids[i], &bytes);
        text = grow(text, &room, length + bytes + strlen(end) + 1, 1);
        if (piece) memcpy(text + length, piece, bytes), length += bytes;
    }
    strcpy(text + length, end);
    free(end);
    return text;
}

/* when: "before", "after". Of prompts of one token, as texts have, there are no samples. */
static void show_samples(const run *r, const texts *t, const char *when)
{
    if (lm.prompt) {
        size_t n;
        int32_t *ids = encode_prompt(t, lm.prompt, &n);
        note("%s training:", when);
        print_sample(joined(t, ids, n, continue_prompt(r, t, ids, n)));
        free(ids);
        return;
    }
    for (size_t i = 0; i < lm.samples && i < t->eval.n && documents_prompt(&t->eval, i) > 1 && !interrupt_seen(); i++) {
        const int32_t *ids = t->eval.token + t->eval.start[i];
        const size_t n = documents_prompt(&t->eval, i);
        if (i == 0) note("%s training:", when);
        print_sample(joined(t, ids, n, continue_prompt(r, t, ids, n)));
    }
}

/* ---- the commands ---- */

static int run_training(int argc, char **argv)
{
    char path[PATH_SIZE];
    texts t = { 0 };
    run r = { .task = { &perplexity, train_groups + 1, "tokens", &t, batch_for, evaluate } };
    const json_t *state = settings_read_training(&language, argc, argv, path);

    ranks_start();
    interrupt_catch();
    open_training(&r, &t, state, path);
    if (r.first == 0 && ranks_first()) show_samples(&r, &t, "before");
    const int status = run_train(&r);
    if (status == EXIT_SUCCESS && ranks_first()) show_samples(&r, &t, "after");
    close_all(&r, &t);
    ranks_end();
    return status;
}

static int run_eval(int argc, char **argv)
{
    char path[PATH_SIZE];
    texts t = { 0 };
    run r = { .task.data = &t };
    int rest;

    settings_read_trained(&language, argc, argv, path, &rest);
    if (rest < argc || !training.eval) die("eval takes its documents from --eval FILE");
    open_tokenizer(&t);
    read_documents(&t, &t.eval, training.eval);
    open_model(&r, &t, true);
    must(clpeft_trainer_load(&r.trainer, r.model, path));
    evaluate(&r, &r.score);
    note("perplexity %.2f, loss %.4f, %zu tokens", r.score.value, r.score.loss, t.eval.counted);
    close_all(&r, &t);
    return EXIT_SUCCESS;
}

static void generate(const run *r, const texts *t, const char *prompt)
{
    size_t n;
    int32_t *ids = encode_prompt(t, prompt, &n);
    char *text = continue_prompt(r, t, ids, n);

    puts(text);
    free(text);
    free(ids);
}

static int run_generate(int argc, char **argv)
{
    char path[PATH_SIZE], *line = NULL;
    size_t room = 0;
    texts t = { 0 };
    run r = { .task.data = &t };
    int rest;

    settings_read_trained(&language, argc, argv, path, &rest);
    if (rest + 1 < argc) die("%s: one prompt only; put it in quotes", argv[rest + 1]);
    open_tokenizer(&t);
    open_model(&r, &t, true);
    must(clpeft_trainer_load(&r.trainer, r.model, path));
    if (rest < argc) generate(&r, &t, argv[rest]);
    while (rest == argc && getline(&line, &room, stdin) >= 0) {
        line[strcspn(line, "\n")] = '\0';
        if (*line) generate(&r, &t, line);
    }
    free(line);
    close_all(&r, &t);
    return EXIT_SUCCESS;
}

int main(int argc, char **argv)
{
    const char *command = argc > 1 ? argv[1] : "";
    const bool eval = !strcmp(command, "eval"), generated_text = !strcmp(command, "generate");
    int status;

    program_start("finetune-lm", argv);
    choose_options();
    if (eval || generated_text) {
        argv[1] = argv[0]; /* the options follow the command */
        argv++, argc--;
    }
    if (eval)
        status = run_eval(argc, argv);
    else if (generated_text)
        status = run_generate(argc, argv);
    else
        status = run_training(argc, argv);
    if (fflush(stdout) != 0 || ferror(stdout)) die("stdout: cannot be written");
    return status;
}

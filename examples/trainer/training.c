#include "training.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "program.h"

struct training training;

#define COUNT 1e15 /* more than any run has of anything */
static const char *const methods[] = { "lora", "dora", "hora", "doran", NULL };
static const char *const taus[] = { "none", "fixed", "learned", "gaussian", NULL };
static const char *const shares[] = { "block", "model", NULL };
static const char *const w2bs[] = { "shared", "per-head", NULL };
static const char *const activations[] = { "identity", "gelu", "gelu-tanh", "silu", "relu", "tanh", NULL };
static const char *const pools[] = { "mean", "first", "rest", "both", NULL };
static const char *const decays[] = { "none", "linear", "cosine", NULL };
static const char *const dtypes[] = { "f32", "f16", "bf16", NULL };

/* Rows of the tables. keep: it decides the bits of a training, so a checkpoint holds it. */
#define ROW(n, a, h, kind, variable, keep) \
    .name = n, .argument = a, .help = h, .type = kind, .value = &training.variable, .saved = keep
#define TEXT(name, argument, variable, keep, help) ROW(name, argument, help, OPTION_TEXT, variable, keep)
#define SIZE(name, variable, from, to, help)       ROW(name, "N", help, OPTION_SIZE, variable, true), .low = from, .high = to
#define U64(name, variable, from, keep, help) \
    ROW(name, "N", help, OPTION_U64, variable, keep), .low = from, .high = COUNT
#define FLOAT(name, variable, from, to, help) \
    ROW(name, "X", help, OPTION_FLOAT, variable, true), .low = from, .high = to
#define CHOICE(name, variable, words, help) ROW(name, "WORD", help, OPTION_CHOICE, variable, true), .choices = words
#define FLAG(name, variable, keep, help)    ROW(name, NULL, help, OPTION_FLAG, variable, keep)

static int help, version;

option training_about[] = {
    { .name = "help", .help = "print this", .type = OPTION_FLAG, .value = &help },
    { .name = "version", .help = "print the version", .type = OPTION_FLAG, .value = &version },
    { 0 },
};

option training_files[] = {
    { TEXT("model", "DIR", model, false, "the pretrained model: a Hugging Face folder") },
    { TEXT("train", "FILE", train, false, "training data") },
    { TEXT("eval", "FILE", eval, false, "evaluation data") },
    { TEXT("out", "DIR", out, false, "where checkpoint.safetensors, the last state, and best.safetensors go") },
    { TEXT("init", "DIR", init, false,
           "start from the adapter in DIR, of a training or of PEFT; method and sites are its own") },
    { TEXT("resume", "DIR", resume, false, "go on from the checkpoint in DIR, to the bits of an uninterrupted run") },
    { TEXT("device", "WORD", device, false,
           "OpenCL device: its number, or part of its name; see below. Several, as 0,1, share each step") },
    { 0 },
};

option training_adapter[] = {
    { CHOICE("method", method, methods, "kind of adapter") },
    { SIZE("rank", adapter.rank, 1, 65536, "rank r of B A") },
    { FLOAT("alpha", adapter.alpha, 0, 1e6, "the update is scaled by alpha / r") },
    { FLAG("rslora", adapter.rslora, true, "... by alpha / sqrt(r)") },
    { TEXT("sites", "LIST", sites, true, "layers that are adapted, or all") },
    { FLOAT("dropout", adapter.dropout, 0, 0.999, "on the input of the low-rank path, while training") },
    { FLAG("magnitude", adapter.magnitude, true, "train magnitudes too (dora and doran always do)") },
    { CHOICE("tau", adapter.tau, taus, "doran: what is added to the norm") },
    { FLOAT("tau0", adapter.tau0, 0, 1e6, "first tau, relative to the mean norm of the rows") },
    { FLAG("norm-gradient", adapter.norm_gradient, true, "differentiate the norm too") },
    { SIZE("seed-width", adapter.seed_width, 1, 65536, "hora, doran: columns e of the generator's seeds") },
    { SIZE("hidden-width", adapter.hidden_width, 1, 65536, "hora, doran: hidden width h of the generator") },
    { CHOICE("act", adapter.act, activations, "hora, doran: activation of the generator") },
    { CHOICE("share", adapter.share, shares, "hora, doran: one first generator layer per") },
    { CHOICE("w2b", adapter.w2b, w2bs, "hora, doran: last generator layer of B, for all heads or each") },
    { 0 },
};

option training_schedule[] = {
    { FLOAT("lr", lr, 0, 1e30, "learning rate of the adapter; 0 trains the head alone") },
    { FLOAT("head-lr", head_lr, 0, 1e30, "learning rate of the head") },
    { U64("steps", steps, 1, false, "steps of training (250, unless --epochs says)") },
    { U64("epochs", epochs, 1, false, "... as passes over the training data") },
    { SIZE("batch", batch, 1, 1 << 20, "rows per step") },
    { SIZE("max-length", max_length, 3, 1 << 20, "tokens of a row; the rest of it is not read") },
    { U64("warmup", warmup, 0, true, "steps in which the rates rise") },
    { CHOICE("decay", decay, decays, "how they fall to 0 after that") },
    { FLOAT("b-rate", adamw.multiplier[CLPEFT_KIND_B], 0, 1e6,
            "rate of B as a multiple of --lr; above 1 it is LoRA+") },
    { FLOAT("magnitude-rate", adamw.multiplier[CLPEFT_KIND_MAGNITUDE], 0, 1e6, "rate of the magnitudes, likewise") },
    { FLOAT("tau-rate", adamw.multiplier[CLPEFT_KIND_RHO], 0, 1e6, "doran: rate of log tau, likewise") },
    { FLOAT("weight-decay", adamw.weight_decay, 0, 1e3, "of AdamW, on matrices") },
    { FLOAT("clip", adamw.max_norm, 0, 1e30, "largest norm of the whole gradient; 0: any") },
    { U64("seed", seed, 0, true, "of first values, order of the rows, dropout") },
    { U64("max-skipped", max_skipped, 1, false, "stop after so many steps in a row that were not finite") },
    { U64("stop-at", stop_at, 0, false, "save and stop after this step, to resume later; 0: at the end") },
    { 0 },
};

option training_memory[] = {
    { CHOICE("weights", weights, dtypes, "type in which the frozen weights are kept") },
    { FLAG("recompute", recompute, false, "keep less for the backward pass and compute it again") },
    { ROW("copies", "N", "of the weights: 2, one for each direction, take more memory and less time", OPTION_SIZE,
          copies, false),
      .low = 1, .high = 2 },
    { 0 },
};

option training_reports[] = {
    { U64("eval-every", eval_every, 0, false, "evaluate after every N steps; 0: at the end only") },
    { U64("save-every", save_every, 0, false, "save after every N steps; 0: at the end only") },
    { TEXT("log", "FILE", log, false, "JSON lines: settings, steps, evaluations, result") },
    { TEXT("plot", "FILE", plot, false, "chart of loss and evaluations, .svg or .png; needs gnuplot") },
    { 0 },
};

option training_head[] = {
    { CHOICE("pool", pool, pools, "what the head sees of the last hidden states") },
    { FLOAT("feature-scale", feature_scale, 1e-6, 1e6, "what that is multiplied by") },
    { 0 },
};

option training_tables[] = {
    { FLAG("per-class", per_class, false, "print the accuracy of every class") },
    { FLAG("confusion", confusion, false, "print which class was taken for which") },
    { 0 },
};

static void print_devices(void)
{
    size_t devices = 0;
    char name[256];

    puts("\nOpenCL devices:");
    if (clpeft_device_count(&devices) != CLPEFT_OK || devices == 0) puts("  none");
    for (size_t i = 0; i < devices; i++)
        if (clpeft_device_name(i, name, sizeof name) == CLPEFT_OK) printf("  %zu  %s\n", i, name);
}

void training_about_done(const option_group *groups, const char *usage)
{
    if (options_given(groups, "version")) {
        printf("%s %s\n", program_name(), clpeft_version());
        exit(EXIT_SUCCESS);
    }
    if (!options_given(groups, "help")) return;
    puts(usage);
    options_help(groups);
    print_devices();
    printf(
        "\nExit status: 0 done, %d wrong arguments or files, %d too many steps that were not finite, %d interrupted.\n",
        EXIT_BAD_INPUT, EXIT_NOT_FINITE, EXIT_INTERRUPTED);
    exit(EXIT_SUCCESS);
}

void training_defaults(clpeft_method method)
{
    const clpeft_trainer_options d = clpeft_trainer_defaults(method);

    training = (struct training){
        .out = "finetune-out",
        .method = method,
        .adapter = d.adapter,
        .sites = "query,value",
        .adamw = d.adamw,
        .lr = d.adamw.lr,
        .head_lr = d.adamw.lr * d.adamw.multiplier[CLPEFT_KIND_HEAD],
        .warmup = d.warmup,
        .decay = d.decay,
        .seed = 1,
        .batch = 32,
        .max_length = 32,
        .weights = CLPEFT_F32,
        .copies = 2,
        .eval_every = 50,
        .save_every = 100,
        .max_skipped = 10,
        .pool = d.pool,
        .feature_scale = d.feature_scale,
    };
}

uint64_t training_steps(size_t rows, uint64_t planned)
{
    enum { DEFAULT_STEPS = 250 };
    uint64_t steps = training.steps;

    if (training.steps && training.epochs) die("--steps and --epochs: only one of them");
    if (training.epochs) steps = (uint64_t)ceil((double)training.epochs * (double)rows / (double)training.batch);
    if (!steps) steps = planned ? planned : DEFAULT_STEPS;
    if (planned && steps != planned && training.decay != CLPEFT_DECAY_NONE)
        die("%llu steps: the checkpoint's rates fall to 0 at step %llu; only a training with --decay none can be made "
            "longer or shorter",
            (unsigned long long)steps, (unsigned long long)planned);
    return steps;
}

clpeft_adamw training_adamw(void)
{
    clpeft_adamw adamw = training.adamw;

    adamw.lr = training.lr > 0 ? training.lr : training.head_lr;
    for (int kind = 0; kind < CLPEFT_KINDS && training.lr == 0; kind++) adamw.multiplier[kind] = 0;
    const float head = adamw.lr > 0 ? training.head_lr / adamw.lr : 0;
    adamw.multiplier[CLPEFT_KIND_HEAD] = adamw.multiplier[CLPEFT_KIND_HEAD_BIAS] = head;
    return adamw;
}

clpeft_trainer *training_trainer(clpeft_model *model, size_t classes, uint64_t total_steps)
{
    clpeft_trainer_options options = clpeft_trainer_defaults(training.method);
    clpeft_trainer *trainer;

    options.adapter = training.adapter;
    options.adapter.seed = training.seed;
    options.sites = training.sites;
    options.task = classes > 0 ? CLPEFT_CLASSIFY : CLPEFT_LANGUAGE_MODEL;
    options.classes = classes;
    options.pool = training.pool;
    options.feature_scale = training.feature_scale;
    options.adamw = training_adamw();
    options.warmup = training.warmup;
    options.decay = training.decay;
    options.total_steps = training.decay == CLPEFT_DECAY_NONE ? 0 : total_steps;
    must(clpeft_trainer_create(&trainer, model, &options));
    return trainer;
}

bool training_due(uint64_t step, uint64_t every, uint64_t total)
{
    return step == total || (every && step % every == 0);
}

size_t training_devices(void)
{
    size_t n = 1;

    for (const char *c = training.device; c && *c; c++) n += *c == ',';
    return n;
}

clpeft_context *training_other_device(size_t index)
{
    const char *word = training.device;
    char *select = NULL;
    clpeft_context *ctx;

    for (size_t i = 0; i < index; i++) word = strchr(word, ',') + 1;
    if (word && !(select = strndup(word, strcspn(word, ",")))) die("no memory for the name of a device");
    must(clpeft_context_create(&ctx, &(clpeft_context_options){ .select = select }));
    free(select);
    return ctx;
}

clpeft_context *training_device(void)
{
    return training_other_device(0);
}

static clpeft_model_options last_options;

clpeft_model *training_same_model(clpeft_context *ctx)
{
    clpeft_model *model;

    must(clpeft_model_load(&model, ctx, training.model, &last_options));
    return model;
}

clpeft_model *training_model(clpeft_context *ctx, clpeft_family family, size_t tokens, size_t sequences,
                             size_t image_size, bool forward_only)
{
    last_options = (clpeft_model_options){
        .max_tokens = tokens,
        .max_sequences = sequences,
        .image_size = image_size,
        .weights = training.weights,
        .forward_only = forward_only,
        .one_copy = training.copies == 1,
        .recompute = training.recompute,
    };
    clpeft_model_info info;
    clpeft_model *model = training_same_model(ctx);

    clpeft_model_get_info(model, &info);
    if (info.family != family)
        die("%s: %s is a model of another kind than this program trains", training.model, info.name);
    return model;
}

size_t training_patch_size(const char *model)
{
    char path[PATH_SIZE];
    json_error_t error;

    path_join(path, model, "config.json");
    json_t *config = json_load_file(path, 0, &error);
    const json_int_t size = json_integer_value(json_object_get(config, "patch_size"));
    json_decref(config);
    return size > 0 ? (size_t)size : 0;
}

const char *training_device_name(clpeft_context *ctx, char *text, size_t size)
{
    clpeft_device_info info;

    clpeft_context_info(ctx, &info);
    snprintf(text, size, "%s: %s", info.platform, info.name);
    return text;
}
